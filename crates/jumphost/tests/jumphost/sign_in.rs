//! Signing in at the dashboard: links, passwords, sessions, tokens, and people whom somebody else vouches for.

use std::time::Duration;

use adit_jumphost::admin::{
    AccountAdd, AccountChange, AccountList, AccountRemove, AuditSearch, Fault, FaultKind, FirstAdministrator,
    InvitationAdd, InvitationList, InvitationRemove, PasswordLink,
};
use adit_jumphost::config::OidcConfig;
use adit_jumphost::member::{ChangePassword, Overview, RegisterPort, TokenAdd, TokenList, TokenRemove};
use adit_jumphost::signin::password::Password;
use adit_jumphost::signin::scope::Scope;
use adit_jumphost::signin::token::Token;
use adit_jumphost::signin::{
    InvitationKindView, InvitationLook, OidcClaims, OidcSignInError, SessionClaim, SessionProof, SessionProofError,
    SignInError, Via, Visit,
};

use crate::dashboard::{PASSWORD, acceptance, browser, proof, question, visit};
use crate::host::{TestHost, eventually};

#[tokio::test]
async fn the_first_administrator_comes_in_by_a_link_that_works_once() {
    let host = TestHost::start().await;
    assert!(host.sign_in.view().await.unwrap().first_run);
    let revoked = host.admin.call(FirstAdministrator {}).await.unwrap().unwrap();
    let link = host.admin.call(FirstAdministrator {}).await.unwrap().unwrap();
    assert!(link.url.as_str().ends_with(&format!("/#/invite/{}", link.token.as_str())), "{}", link.url.as_str());
    assert!(link.url.as_str().starts_with("http://127.0.0.1:"));
    let look = async |token| host.sign_in.look_at_invitation(&InvitationLook { token }).await;
    assert_eq!(look(revoked.token).await.unwrap_err().code(), "no-such-invitation");
    let shown = look(link.token.clone()).await.unwrap();
    assert_eq!((shown.kind, shown.account, shown.admin), (InvitationKindView::FirstAdministrator, None, true));

    let token = link.token;
    let accept = |name, password| host.sign_in.accept_invitation(acceptance(token.clone(), name, password), visit());
    let weak = accept("root", "password1234").await.unwrap_err();
    assert_eq!((weak.kind(), weak.code()), (FaultKind::BadInput, "weak-password"));
    assert_eq!(accept("Root", PASSWORD).await.unwrap_err().code(), "bad-account-name");
    let signed_in = accept("root", PASSWORD).await.unwrap();
    assert_eq!(
        (signed_in.view.account.as_str(), signed_in.view.admin, signed_in.view.via),
        ("root", true, Via::Password)
    );
    assert_eq!(accept("mallory", PASSWORD).await.unwrap_err().code(), "no-such-invitation");

    let root = host.member(&signed_in).await.unwrap();
    assert_eq!(root.admin().unwrap().call(AccountList {}).await.unwrap().len(), 1);
    assert!(!host.sign_in.view().await.unwrap().first_run);
    assert!(host.admin.call(FirstAdministrator {}).await.unwrap().is_none(), "an administrator can sign in");
}

#[tokio::test]
async fn an_invitation_names_what_it_gives() {
    let host = TestHost::start().await;
    let root = host.newcomer("root", true).await;
    let invitation = InvitationAdd {
        account: Some("alice".into()),
        tier: Some("pro".into()),
        admin: false,
        expires_in_ms: Some(60_000),
    };
    let made = root.admin().unwrap().call(invitation.clone()).await.unwrap();
    let listed = host.admin.call(InvitationList {}).await.unwrap();
    assert_eq!((listed[0].created_by.as_deref(), listed[0].account.as_deref()), (Some("root"), Some("alice")));
    let other = host.sign_in.accept_invitation(acceptance(made.token.clone(), "bob", PASSWORD), visit()).await;
    assert_eq!(other.unwrap_err().to_string(), "this link is for the account alice");
    host.admin.call(InvitationRemove { id: made.id.clone() }).await.unwrap();
    let gone = host.admin.call(InvitationRemove { id: made.id }).await.unwrap_err();
    assert_eq!(gone.kind(), FaultKind::NotFound);
    let revoked = host.sign_in.accept_invitation(acceptance(made.token, "alice", PASSWORD), visit()).await;
    assert_eq!(revoked.unwrap_err().code(), "no-such-invitation");

    let again = host.admin.call(invitation.clone()).await.unwrap();
    let signed_in = host.sign_in.accept_invitation(acceptance(again.token, "alice", PASSWORD), visit()).await.unwrap();
    assert_eq!((signed_in.view.tier.as_str(), signed_in.view.admin), ("pro", false));
    assert_eq!(host.admin.call(invitation).await.unwrap_err().code(), "account-exists");
    let gold = InvitationAdd { tier: Some("gold".into()), ..InvitationAdd::default() };
    assert_eq!(host.admin.call(gold).await.unwrap_err().code(), "no-such-tier");
}

#[tokio::test]
async fn whatever_is_wrong_is_told_alike_and_what_was_typed_is_kept_nowhere() {
    let host = TestHost::start().await;
    host.newcomer("alice", false).await;
    host.newcomer("bob", false).await;
    host.admin.call(AccountAdd { name: "carol".into(), tier: None, admin: false }).await.unwrap();
    let locked = AccountChange { name: "bob".into(), tier: None, admin: None, disabled: Some(true) };
    host.admin.call(locked).await.unwrap();
    let typed = [
        ("alice", "not her password"),
        ("bob", PASSWORD),
        ("carol", PASSWORD),
        ("mallory", PASSWORD),
        (PASSWORD, "alice"),
    ];
    for (account, password) in typed {
        let refused = host.sign_in(account, password).await.unwrap_err();
        assert!(matches!(refused, SignInError::BadCredentials), "{account}: {refused}");
        assert_eq!((refused.kind(), refused.code()), (FaultKind::SignedOut, "bad-credentials"));
    }
    let refused = || async {
        let search = AuditSearch { kind: Some("sign-in-refused".into()), ..AuditSearch::default() };
        host.admin.call(search).await.unwrap().items
    };
    eventually("all are in the audit log", || async { refused().await.len() == typed.len() }).await;
    let reasons: Vec<_> = refused().await.iter().rev().map(|event| event.detail["reason"].clone()).collect();
    assert_eq!(reasons, ["wrong_password", "disabled", "wrong_password", "no_such_account", "no_such_account"]);
    for event in host.admin.call(AuditSearch::default()).await.unwrap().items {
        let told = format!("{event:?}");
        assert!(!told.contains(PASSWORD) && !told.contains("not her password") && !told.contains("mallory"), "{told}");
    }
    host.sign_in("alice", PASSWORD).await.unwrap();
}

fn from(address: &str) -> Visit {
    Visit { client: format!("{address}:50000").parse().unwrap(), replaces: None }
}

#[tokio::test]
async fn ten_failures_make_their_source_wait() {
    let host = TestHost::start().await;
    host.newcomer("alice", false).await;
    for _ in 0..10 {
        assert!(matches!(host.sign_in("alice", "not her password").await, Err(SignInError::BadCredentials)));
    }
    let refused = host.sign_in("alice", PASSWORD).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (FaultKind::TooMany, "too-many-attempts"));
    let wait = refused.retry_after().unwrap();
    assert!(wait > Duration::from_secs(14 * 60) && wait <= Duration::from_secs(15 * 60), "{wait:?}");
    host.sign_in.with_password(question("alice", PASSWORD), from("198.51.100.1")).await.unwrap();

    let link = host.admin.call(PasswordLink { account: "alice".into() }).await.unwrap();
    let renewed = acceptance(link.token, "alice", "three other words");
    host.sign_in.accept_invitation(renewed, from("198.51.100.1")).await.unwrap();
    host.sign_in("alice", "three other words").await.unwrap();
}

#[tokio::test]
async fn strangers_who_fail_keep_nobody_from_where_they_have_been() {
    let host = TestHost::start().await;
    host.newcomer("alice", false).await;
    for machine in 0..100 {
        let refused = host.sign_in.with_password(question("alice", "not hers"), from(&format!("198.51.100.{machine}")));
        assert_eq!(refused.await.unwrap_err().code(), "bad-credentials");
    }
    let elsewhere = host.sign_in.with_password(question("alice", PASSWORD), from("203.0.113.1")).await;
    assert_eq!(elsewhere.unwrap_err().code(), "too-many-attempts", "the account is guarded, wherever from");
    host.sign_in("alice", PASSWORD).await.expect("a link was accepted from there");
}

#[tokio::test]
async fn where_somebody_has_been_is_known_after_a_restart() {
    let host = TestHost::start().await;
    for name in ["alice", "removed"] {
        host.newcomer(name, false).await;
    }
    host.admin.call(AccountRemove { name: "removed".into() }).await.unwrap();
    let host = TestHost::again(host.stop().await, |_| {}).await;
    let removed = host.admin.call(InvitationAdd::default()).await.unwrap();
    let again = acceptance(removed.token, "removed", PASSWORD);
    host.sign_in.accept_invitation(again, from("203.0.113.1")).await.unwrap();
    for account in ["alice", "removed"] {
        for machine in 0..100 {
            let stranger = from(&format!("198.51.100.{machine}"));
            let refused = host.sign_in.with_password(question(account, "not theirs"), stranger).await;
            assert_eq!(refused.unwrap_err().code(), "bad-credentials");
        }
    }
    eventually("her desk is known", || async { host.sign_in("alice", PASSWORD).await.is_ok() }).await;
    let other = host.sign_in("removed", PASSWORD).await;
    assert_eq!(other.unwrap_err().code(), "too-many-attempts", "somebody else had the name there");
}

#[tokio::test]
async fn a_store_that_fails_says_nothing_of_a_password() {
    let host = TestHost::start().await;
    host.newcomer("alice", false).await;
    let sign_in = host.sign_in.clone();
    drop(host.stop().await);
    for _ in 0..11 {
        let failed = sign_in.with_password(question("alice", PASSWORD), visit()).await.unwrap_err();
        assert!(matches!(failed, SignInError::Store(_)), "{failed}");
    }
}

#[tokio::test]
async fn a_session_is_new_at_each_sign_in_and_ends_on_the_server() {
    let host = TestHost::start().await;
    host.newcomer("alice", false).await;
    let first = host.sign_in("alice", PASSWORD).await.unwrap();
    let over = |replaces| host.sign_in.with_password(question("alice", PASSWORD), Visit { replaces, ..visit() });
    let planted = || Token::from_text("a cookie that somebody planted");
    let claim = |key: &Token, tokens: Vec<Token>| Some(SessionClaim { key: key.clone(), tokens });
    over(claim(&first.token, vec![first.token.clone()])).await.unwrap();
    assert!(host.member(&first).await.is_some(), "a cookie alone ends nothing");
    let second = over(claim(&first.key, vec![planted(), first.token.clone(), planted()])).await.unwrap();
    assert_ne!(first.token.as_str(), second.token.as_str());
    assert_ne!(first.key.as_str(), second.key.as_str());
    assert!(host.member(&first).await.is_none(), "replaced");

    let alice = host.member(&second).await.unwrap();
    assert_eq!(alice.session_view(), second.view);
    assert_eq!(second.view.csrf, None, "the key is beside it, for the one answer that tells it");
    assert_eq!(alice.admin().err().map(|refused| refused.code()), Some("not-admin"));

    let mut ended = host.sign_in.changes().sign_ins();
    assert!(host.sign_in.still_member(&proof(&second), browser()).await.is_ok());
    assert!(host.sign_in.sign_out(&second.token, browser()).await.unwrap());
    ended.changed().await.unwrap();
    let over = host.sign_in.still_member(&proof(&second), browser()).await.unwrap_err();
    assert!(matches!(over, SessionProofError::NoSession), "{over}");
    assert!(host.member(&second).await.is_none());
    assert!(!host.sign_in.sign_out(&second.token, browser()).await.unwrap());
}

#[tokio::test]
async fn a_session_is_proved_by_its_token_and_its_key_together() {
    let host = TestHost::start().await;
    host.newcomer("alice", false).await;
    let (one, other) = (host.sign_in("alice", PASSWORD).await.unwrap(), host.sign_in("alice", PASSWORD).await.unwrap());
    let planted = SessionProof { token: Token::from_text("a cookie that somebody planted"), ..proof(&one) };
    let no_session = host.sign_in.member_of_session(&planted, browser()).await.unwrap_err();
    assert!(matches!(no_session, SessionProofError::NoSession), "{no_session}");
    for key in [None, Some(other.key.clone()), Some(one.token.clone()), Some(Token::from_text(""))] {
        let shown = SessionProof { key, ..proof(&one) };
        for refused in [
            host.sign_in.member_of_session(&shown, browser()).await.unwrap_err(),
            host.sign_in.still_member(&shown, browser()).await.unwrap_err(),
        ] {
            assert!(matches!(refused, SessionProofError::OtherKey), "{refused}");
        }
    }
    assert!(host.member(&one).await.is_some() && host.member(&other).await.is_some());
}

#[tokio::test]
async fn a_cookie_without_a_key_is_not_looked_up() {
    let host = TestHost::start().await;
    host.newcomer("alice", false).await;
    let shown = proof(&host.sign_in("alice", PASSWORD).await.unwrap());
    let sign_in = host.sign_in.clone();
    drop(host.stop().await);
    let looked_up = sign_in.member_of_session(&shown, browser()).await.unwrap_err();
    assert!(matches!(looked_up, SessionProofError::Store(_)), "{looked_up}");
    let keyless = SessionProof { key: None, ..shown };
    for refused in [
        sign_in.member_of_session(&keyless, browser()).await.unwrap_err(),
        sign_in.still_member(&keyless, browser()).await.unwrap_err(),
    ] {
        assert!(matches!(refused, SessionProofError::OtherKey), "{refused}");
    }
}

#[tokio::test]
async fn the_audit_log_has_the_end_of_a_session_that_was_replaced() {
    let host = TestHost::start().await;
    host.newcomer("alice", false).await;
    host.newcomer("bob", false).await;
    let (older, newer) = (host.sign_in("alice", PASSWORD).await.unwrap(), host.sign_in("bob", PASSWORD).await.unwrap());
    let bob = host.member(&newer).await.unwrap();
    for key in [&newer.key, &older.token, &older.key, &older.key] {
        host.sign_in.end_replaced(&bob, key).await.unwrap();
    }
    assert!(host.member(&older).await.is_none() && host.member(&newer).await.is_some());
    host.sign_in.sign_out(&newer.token, browser()).await.unwrap();
    let signed_out = || async {
        let search = AuditSearch { kind: Some("signed-out".into()), ..AuditSearch::default() };
        let events = host.admin.call(search).await.unwrap().items;
        events.into_iter().rev().map(|event| event.account.unwrap()).collect::<Vec<_>>()
    };
    eventually("the last one is told", || async { signed_out().await.contains(&"bob".to_owned()) }).await;
    assert_eq!(signed_out().await, ["alice", "bob"], "whose it was, and once");
}

#[tokio::test]
async fn no_session_outlives_the_password_it_was_judged_by() {
    let host = TestHost::start().await;
    let alice = host.newcomer("alice", false).await;
    let new = Password::new("three other words".into());
    let change = alice.call(ChangePassword { current: Password::new(PASSWORD.into()), new });
    // Each compares again and again, so that one is always under way when the password changes.
    let old_password = async |machine: u8| {
        let mut begun = Vec::new();
        loop {
            let visit = from(&format!("198.51.100.{machine}"));
            match host.sign_in.with_password(question("alice", PASSWORD), visit).await {
                Ok(session) => begun.push(session),
                Err(SignInError::Busy) => {}
                Err(_) => return begun,
            }
        }
    };
    let (changed, one, two, three) = tokio::join!(change, old_password(1), old_password(2), old_password(3));
    changed.unwrap();
    for session in one.iter().chain(&two).chain(&three) {
        assert!(host.member(session).await.is_none(), "it began with a password that is no more");
    }
}

#[tokio::test]
async fn whoever_is_locked_out_is_out() {
    let host = TestHost::start().await;
    host.newcomer("alice", false).await;
    let session = host.sign_in("alice", PASSWORD).await.unwrap();
    let alice = host.member(&session).await.unwrap().account_id();
    let mut changed = host.sign_in.changes().account(alice);
    let locked = AccountChange { name: "alice".into(), tier: None, admin: None, disabled: Some(true) };
    host.admin.call(locked).await.unwrap();
    changed.changed().await.unwrap();
    assert!(host.member(&session).await.is_none());
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let host = TestHost::start().await;
    host.newcomer("alice", false).await;
    let (here, there) =
        (host.sign_in("alice", PASSWORD).await.unwrap(), host.sign_in("alice", PASSWORD).await.unwrap());
    let alice = host.member(&here).await.unwrap();
    let change = |current: &str, new: &str| {
        alice.call(ChangePassword { current: Password::new(current.into()), new: Password::new(new.into()) })
    };
    assert_eq!(change("not her password", "three other words").await.unwrap_err().code(), "wrong-password");
    assert_eq!(change(PASSWORD, "short").await.unwrap_err().code(), "weak-password");
    assert_eq!(change(PASSWORD, "alice and others").await.unwrap_err().code(), "weak-password");
    change(PASSWORD, "three other words").await.unwrap();
    assert!(host.member(&here).await.is_some() && host.member(&there).await.is_none());
    assert!(host.sign_in("alice", PASSWORD).await.is_err());
    host.sign_in("alice", "three other words").await.unwrap();
}

#[tokio::test]
async fn a_token_does_what_its_scopes_say() {
    let host = TestHost::start().await;
    let (root, alice) = (host.newcomer("root", true).await, host.newcomer("alice", false).await);
    let ask = |scopes: &[Scope]| TokenAdd { name: "ci".into(), scopes: scopes.to_vec(), expires_in_ms: None };
    let bearer = async |token: &Token| host.sign_in.member_of_token(token, browser()).await.unwrap();
    let port = || RegisterPort { port: 1, description: String::new(), shared: false };

    let reading = alice.call(ask(&[Scope::Read])).await.unwrap();
    assert!(reading.token.as_str().starts_with("adit_"));
    let reader = bearer(&reading.token).await.unwrap();
    assert_eq!(reader.session_view().via, Via::Token);
    assert_eq!(reader.call(Overview {}).await.unwrap().account, "alice");
    let refused = reader.call(port()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (FaultKind::Forbidden, "scope"));
    assert!(alice.call(TokenList {}).await.unwrap()[0].last_used_at.is_some());

    let writing = alice.call(ask(&[Scope::Write])).await.unwrap();
    let writer = bearer(&writing.token).await.unwrap();
    assert_eq!(writer.call(port()).await.unwrap_err().code(), "out-of-range", "it was heard");
    assert_eq!(writer.call(ask(&[Scope::Read])).await.unwrap_err().code(), "scope", "a token makes no token");
    assert_eq!(alice.call(ask(&[Scope::Admin])).await.unwrap_err().code(), "not-admin");
    assert_eq!(alice.call(ask(&[])).await.unwrap_err().code(), "no-scope");

    let ruling = root.call(ask(&[Scope::Admin])).await.unwrap();
    bearer(&ruling.token).await.unwrap().admin().unwrap().call(AccountList {}).await.unwrap();
    let looking = root.call(ask(&[Scope::Write])).await.unwrap();
    assert_eq!(bearer(&looking.token).await.unwrap().admin().err().map(|refused| refused.code()), Some("scope"));

    let others = root.call(TokenRemove { id: writing.view.id.clone() }).await.unwrap_err();
    assert_eq!(others.kind(), FaultKind::NotFound, "another account's id");
    alice.call(TokenRemove { id: writing.view.id }).await.unwrap();
    assert!(bearer(&writing.token).await.is_none());
    let over = TokenAdd { expires_in_ms: Some(1), ..ask(&[Scope::Read]) };
    let over = alice.call(over).await.unwrap();
    eventually("its time is over", || async { bearer(&over.token).await.is_none() }).await;
}

fn claims(subject: &str, name: &str) -> OidcClaims {
    OidcClaims { issuer: "https://id.example".into(), subject: subject.into(), suggested_name: Some(name.into()) }
}

fn provider(sign_up: bool) -> Option<OidcConfig> {
    Some(OidcConfig {
        issuer: "https://id.example".into(),
        client_id: "adit".into(),
        client_secret_file: None,
        label: "Example".into(),
        sign_up,
        tier: "plus".into(),
    })
}

#[tokio::test]
async fn a_person_whom_a_provider_knows_gets_one_account_where_that_is_wanted() {
    let closed = TestHost::with(|config| config.oidc = provider(false)).await;
    let refused = closed.sign_in.with_oidc(&claims("1", "alice"), browser()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (FaultKind::Forbidden, "no-account"));

    let host = TestHost::with(|config| config.oidc = provider(true)).await;
    host.newcomer("alice", true).await;
    let first = host.sign_in.with_oidc(&claims("1", "Alice@example.org"), browser()).await.unwrap();
    assert_eq!((first.view.account.as_str(), first.view.admin), ("alice-2", false), "a name proves nothing");
    assert_eq!((first.view.tier.as_str(), first.view.via), ("plus", Via::Oidc));
    let again = host.sign_in.with_oidc(&claims("1", "renamed"), browser()).await.unwrap();
    assert_eq!(again.view.account, "alice-2");
    assert_eq!(host.sign_in.with_oidc(&claims("2", "alice"), browser()).await.unwrap().view.account, "alice-3");
    let carol = claims("3", "carol");
    let (one, other) =
        tokio::join!(host.sign_in.with_oidc(&carol, browser()), host.sign_in.with_oidc(&carol, browser()));
    let (one, other) = (one.unwrap().view.account, other.unwrap().view.account);
    assert_eq!((one.as_str(), other.as_str()), ("carol", "carol"), "two windows at once");
    let locked = AccountChange { name: "alice-2".into(), tier: None, admin: None, disabled: Some(true) };
    host.admin.call(locked).await.unwrap();
    let refused = host.sign_in.with_oidc(&claims("1", "alice"), browser()).await.unwrap_err();
    assert!(matches!(refused, OidcSignInError::Disabled), "{refused}");
}
