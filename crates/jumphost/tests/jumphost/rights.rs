//! How far a right reaches, and when it ends: of links, of API tokens, of administrators.

use adit_jumphost::admin::{
    AccountAdd, AccountChange, AccountList, AccountRemove, AuditSearch, Fault, FaultKind, InvitationAdd,
    InvitationList, InvitationRemove, KeyAdd, PasswordLink,
};
use adit_jumphost::member::{AddKey, ChangePassword, Member, RegisterPort, TokenAdd, TokenList};
use adit_jumphost::signin::InvitationLook;
use adit_jumphost::signin::password::Password;
use adit_jumphost::signin::scope::Scope;
use adit_jumphost::signin::token::Token;
use adit_ssh::crypto::HostKey;

use crate::dashboard::{PASSWORD, acceptance, browser, visit};
use crate::host::{TestHost, eventually};

const DAY: u64 = 86_400_000;

/// What a person has who found the token, or the program it was made for.
async fn by_token(host: &TestHost, owner: &Member, scope: Scope) -> (Token, Member) {
    let ask = TokenAdd { name: "ci".into(), scopes: vec![scope], expires_in_ms: None };
    let token = owner.call(ask).await.unwrap().token;
    let member = host.sign_in.member_of_token(&token, browser()).await.unwrap().unwrap();
    (token, member)
}

fn add(name: &str, admin: bool) -> AccountAdd {
    AccountAdd { name: name.into(), tier: None, admin }
}

fn change(name: &str) -> AccountChange {
    AccountChange { name: name.into(), tier: None, admin: None, disabled: None }
}

fn register(port: u16) -> RegisterPort {
    RegisterPort { port, description: String::new(), shared: false }
}

#[tokio::test]
async fn a_token_makes_neither_a_session_nor_an_administrator() {
    let host = TestHost::start().await;
    let (root, _) = (host.newcomer("root", true).await, host.newcomer("other", true).await);
    host.newcomer("alice", false).await;
    host.newcomer("fallen", true).await;
    host.admin.call(AccountChange { disabled: Some(true), ..change("fallen") }).await.unwrap();
    let (_, program) = by_token(&host, &root, Scope::Admin).await;
    let admin = program.admin().unwrap();

    let mut refused = Vec::new();
    refused.push(admin.call(InvitationAdd::default()).await.map(drop).unwrap_err().code());
    refused.push(admin.call(PasswordLink { account: "other".into() }).await.map(drop).unwrap_err().code());
    refused.push(admin.call(add("mallory", true)).await.map(drop).unwrap_err().code());
    for change in [
        AccountChange { admin: Some(true), ..change("alice") },
        AccountChange { disabled: Some(false), ..change("fallen") },
        AccountChange { disabled: Some(true), ..change("other") },
        AccountChange { admin: Some(false), ..change("other") },
    ] {
        let error = admin.call(change).await.unwrap_err();
        assert_eq!(error.kind(), FaultKind::Forbidden);
        refused.push(error.code());
    }
    let removed = admin.call(AccountRemove { name: "other".into() }).await.unwrap_err();
    assert_eq!(removed.to_string(), "this is done signed in at the dashboard, not with an API token");
    refused.push(removed.code());
    assert_eq!(refused, ["scope"; 8]);
    assert_eq!(host.admin.call(InvitationList {}).await.unwrap(), []);

    admin.call(add("bob", false)).await.unwrap();
    for ordinary in [
        AccountChange { disabled: Some(true), ..change("bob") },
        AccountChange { disabled: Some(false), ..change("bob") },
        AccountChange { tier: Some("pro".into()), ..change("other") },
    ] {
        admin.call(ordinary).await.unwrap();
    }
    admin.call(AccountRemove { name: "bob".into() }).await.unwrap();
    let by_hand = root.admin().unwrap();
    by_hand.call(AccountChange { admin: Some(true), ..change("alice") }).await.unwrap();
    by_hand.call(PasswordLink { account: "alice".into() }).await.unwrap();
}

#[tokio::test]
async fn what_is_made_ends_within_bounds() {
    let host = TestHost::start().await;
    let root = host.newcomer("root", true).await;
    let admin = root.admin().unwrap();
    let token = |expires_in_ms| TokenAdd { name: "ci".into(), scopes: vec![Scope::Read], expires_in_ms };
    let link = |expires_in_ms| InvitationAdd { expires_in_ms, ..InvitationAdd::default() };
    let key = |expires_in_ms| KeyAdd {
        account: "root".into(),
        text: HostKey::generate_ed25519().unwrap().public_key().to_text(""),
        label: None,
        expires_in_ms,
        ports: None,
    };

    for beyond in [0, 366 * DAY + 1, u64::MAX] {
        assert_eq!(root.call(token(Some(beyond))).await.unwrap_err().code(), "bad-expiry");
    }
    for beyond in [0, 30 * DAY + 1, u64::MAX] {
        assert_eq!(admin.call(link(Some(beyond))).await.unwrap_err().code(), "bad-expiry");
    }
    for beyond in [0, 3_653 * DAY + 1, u64::MAX] {
        assert_eq!(admin.call(key(Some(beyond))).await.unwrap_err().code(), "bad-expiry");
    }
    let told = |error: &dyn std::error::Error| error.to_string();
    let tokens = told(&root.call(token(Some(367 * DAY))).await.unwrap_err());
    assert_eq!(tokens, "an API token lasts 366 days at most; name an earlier end");
    let links = told(&admin.call(link(Some(31 * DAY))).await.unwrap_err());
    assert_eq!(links, "a link lasts 30 days at most; name an earlier end");
    let keys = told(&admin.call(key(Some(3_700 * DAY))).await.unwrap_err());
    assert_eq!(keys, "a key lasts 10 years at most; name an earlier end");

    let usual = root.call(token(None)).await.unwrap().view;
    assert_eq!(usual.expires_at.unwrap() - usual.created_at, 90 * DAY as i64);
    let longest = root.call(token(Some(366 * DAY))).await.unwrap().view;
    assert_eq!(longest.expires_at.unwrap() - longest.created_at, 366 * DAY as i64);
    admin.call(link(Some(30 * DAY))).await.unwrap();
    assert_eq!(admin.call(key(None)).await.unwrap().expires_at, None, "a key has an end only where one is wanted");
    admin.call(key(Some(3_653 * DAY))).await.unwrap();
}

#[tokio::test]
async fn a_lost_password_ends_tokens_and_a_changed_one_keeps_them() {
    let host = TestHost::start().await;
    let alice = host.newcomer("alice", false).await;
    host.sign_in("alice", PASSWORD).await.unwrap();
    let (token, _) = by_token(&host, &alice, Scope::Read).await;
    let detail = async |kind: &str| {
        let search = || AuditSearch { kind: Some(kind.into()), ..AuditSearch::default() };
        let found = async || host.admin.call(search()).await.unwrap().items;
        eventually("it is in the audit log", || async { !found().await.is_empty() }).await;
        found().await.swap_remove(0).detail
    };

    let new = Password::new("three other words".into());
    alice.call(ChangePassword { current: Password::new(PASSWORD.into()), new }).await.unwrap();
    assert!(host.sign_in.member_of_token(&token, browser()).await.unwrap().is_some());
    assert_eq!(detail("password-changed").await["sessions_ended"], 1);

    let link = host.admin.call(PasswordLink { account: "alice".into() }).await.unwrap();
    assert!(host.sign_in.member_of_token(&token, browser()).await.unwrap().is_some(), "a link that nobody uses");
    host.sign_in.accept_invitation(acceptance(link.token, "alice", "some more new words"), visit()).await.unwrap();
    assert!(host.sign_in.member_of_token(&token, browser()).await.unwrap().is_none());
    assert_eq!(alice.call(TokenList {}).await.unwrap(), []);
    let reset = async || detail("invitation-accepted").await;
    eventually("the reset is in the audit log", || async { reset().await["kind"] == "password-reset" }).await;
    assert_eq!((&reset().await["sessions_ended"], &reset().await["tokens_ended"]), (&1.into(), &1.into()));
}

#[tokio::test]
async fn a_link_ends_with_its_makers_right() {
    let host = TestHost::start().await;
    host.newcomer("root", true).await;
    let losses = [
        ("demoted", Some(AccountChange { admin: Some(false), ..change("demoted") })),
        ("locked", Some(AccountChange { disabled: Some(true), ..change("locked") })),
        ("removed", None),
    ];
    for (name, loss) in losses {
        let maker = host.newcomer(name, true).await;
        let admin = maker.admin().unwrap();
        let made = admin.call(InvitationAdd { admin: true, ..InvitationAdd::default() }).await.unwrap();
        let look = async || host.sign_in.look_at_invitation(&InvitationLook { token: made.token.clone() }).await;
        assert!(look().await.unwrap().admin);
        match loss {
            Some(loss) => drop(host.admin.call(loss).await.unwrap()),
            None => drop(host.admin.call(AccountRemove { name: name.into() }).await.unwrap()),
        }
        assert_eq!(look().await.unwrap_err().code(), "no-such-invitation", "{name}");
    }
    assert_eq!(host.admin.call(InvitationList {}).await.unwrap(), []);
}

#[tokio::test]
async fn a_right_that_ends_before_the_change_is_written_changes_nothing() {
    let host = TestHost::start().await;
    host.newcomer("root", true).await;
    let losses = [
        ("demoted", Some(AccountChange { admin: Some(false), ..change("demoted") })),
        ("locked", Some(AccountChange { disabled: Some(true), ..change("locked") })),
        ("removed", None),
    ];
    for (name, loss) in losses {
        let by_session = host.newcomer(name, true).await;
        let (_, by_token) = by_token(&host, &by_session, Scope::Admin).await;
        let [by_hand, by_program] = [&by_session, &by_token].map(|member| member.admin().unwrap());
        // Both requests were judged; now their right goes.
        match loss {
            Some(loss) => drop(host.admin.call(loss).await.unwrap()),
            None => drop(host.admin.call(AccountRemove { name: name.into() }).await.unwrap()),
        }
        let mut late = Vec::new();
        for admin in [&by_hand, &by_program] {
            late.push(admin.call(add("mallory", false)).await.map(drop).unwrap_err().code());
            late.push(
                admin.call(AccountChange { tier: Some("pro".into()), ..change("root") }).await.unwrap_err().code(),
            );
            late.push(admin.call(InvitationRemove { id: "any".into() }).await.map(drop).unwrap_err().code());
        }
        late.push(by_hand.call(InvitationAdd::default()).await.map(drop).unwrap_err().code());
        let token = TokenAdd { name: "late".into(), scopes: vec![Scope::Read], expires_in_ms: None };
        let refused = by_session.call(token).await.map(drop).unwrap_err();
        assert_eq!(refused.kind(), FaultKind::SignedOut, "{refused}");
        late.push(refused.code());
        assert_eq!(late, ["signed-out"; 8], "{name}");
    }
    let accounts = host.admin.call(AccountList {}).await.unwrap();
    assert!(accounts.iter().all(|account| account.name != "mallory" && account.tier == "community"), "{accounts:?}");
}

#[tokio::test]
async fn whoever_signs_out_has_nothing_written_any_more() {
    let host = TestHost::start().await;
    let alice = host.newcomer("alice", false).await;
    let session = host.sign_in("alice", PASSWORD).await.unwrap();
    let late = host.member(&session).await.unwrap();
    host.sign_in.sign_out(&session.token, browser()).await.unwrap();
    let text = HostKey::generate_ed25519().unwrap().public_key().to_text("");
    let key = || AddKey { text: text.clone(), label: None, expires_in_ms: None, ports: None };
    let refused = late.call(key()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (FaultKind::SignedOut, "signed-out"));
    alice.call(key()).await.expect("another session of hers goes on");
}

#[tokio::test]
async fn a_reset_of_a_locked_account_is_refused_and_not_used_up() {
    let host = TestHost::start().await;
    host.newcomer("alice", false).await;
    let link = host.admin.call(PasswordLink { account: "alice".into() }).await.unwrap();
    host.admin.call(AccountChange { disabled: Some(true), ..change("alice") }).await.unwrap();
    let accept = || acceptance(link.token.clone(), "alice", "three other words");
    let refused = host.sign_in.accept_invitation(accept(), visit()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (FaultKind::Forbidden, "account-disabled"));
    assert!(refused.to_string().starts_with("the account alice is locked; ask an administrator"), "{refused}");
    host.admin.call(AccountChange { disabled: Some(false), ..change("alice") }).await.unwrap();
    host.sign_in("alice", PASSWORD).await.unwrap();
    host.sign_in.accept_invitation(accept(), visit()).await.unwrap();
}

#[tokio::test]
async fn nobody_piles_things_up() {
    let host = TestHost::with(|config| config.ports.range = "10000-60000".parse().unwrap()).await;
    let root = host.newcomer("root", true).await;
    let token = || TokenAdd { name: "ci".into(), scopes: vec![Scope::Read], expires_in_ms: None };
    for _ in 0..50 {
        root.call(token()).await.unwrap();
    }
    let full = root.call(token()).await.unwrap_err();
    assert_eq!((full.kind(), full.code()), (FaultKind::Conflict, "too-many-tokens"));
    for port in 10_000..11_000 {
        root.call(register(port)).await.unwrap();
    }
    let full = root.call(register(11_000)).await.unwrap_err();
    assert_eq!((full.kind(), full.code()), (FaultKind::Conflict, "too-many-ports"));
    let admin = root.admin().unwrap();
    for _ in 0..1_000 {
        admin.call(InvitationAdd::default()).await.unwrap();
    }
    let full = admin.call(InvitationAdd::default()).await.unwrap_err();
    assert_eq!((full.kind(), full.code()), (FaultKind::Conflict, "too-many-links"));
    host.admin.call(InvitationAdd::default()).await.unwrap();
}

#[tokio::test]
async fn an_account_that_was_removed_meanwhile_is_signed_out() {
    let host = TestHost::start().await;
    let alice = host.newcomer("alice", false).await;
    let port = host.key_for("alice").await.connect().await.forward(0).await.unwrap().unwrap();
    host.admin.call(AccountRemove { name: "alice".into() }).await.unwrap();
    let signed_out = (FaultKind::SignedOut, "signed-out");
    let refused = alice.call(register(port)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), signed_out);
    let token = TokenAdd { name: "ci".into(), scopes: vec![Scope::Read], expires_in_ms: None };
    let refused = alice.call(token).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), signed_out);
    let (current, new) = (Password::new(PASSWORD.into()), Password::new("three other words".into()));
    let refused = alice.call(ChangePassword { current, new }).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), signed_out);
}
