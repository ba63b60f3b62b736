//! Who may sign in at the dashboard: passwords, sessions, links, tokens, identities of elsewhere.

use std::time::Duration;

use adit_store::{
    AcceptInvitationError, Account, AccountChange, AddApiTokenError, AddInvitationError, AddWebSessionError, Authority,
    Invitation, InvitationKind, Maker, NewAccount, NewApiToken, NewInvitation, NewWebSession, SetPasswordError, Store,
    TokenHash,
};

use crate::harness::{Database, LONG, join, on_every_database};

on_every_database!(
    a_password_is_found_by_the_name_and_ends_other_sessions,
    a_hash_is_renewed_only_while_the_password_is_the_same,
    somebody_who_can_sign_in_is_enabled_and_has_a_way,
    a_session_lives_until_its_time_or_its_account_ends,
    a_new_session_replaces_the_old_one,
    a_session_begins_only_with_the_password_of_now,
    nobody_signs_in_to_an_account_that_was_just_locked_or_removed,
    a_key_ends_its_session_and_no_other,
    an_account_has_a_bounded_number_of_sessions,
    an_invitation_makes_one_account,
    an_invitation_for_a_name_is_for_that_name,
    a_refused_invitation_can_be_used_still,
    a_reset_sets_the_password_and_revokes_what_was_before,
    one_first_administrator_link_is_good_at_a_time,
    an_invitation_goes_with_its_tier_and_a_reset_with_its_account,
    an_invitation_over_is_nothing,
    an_invitation_ends_with_its_makers_right,
    who_may_not_make_an_invitation_makes_none,
    a_reset_of_a_locked_account_can_be_used_later,
    a_first_administrator_makes_the_link_for_one_worthless,
    a_password_is_changed_only_from_the_one_that_was_judged,
    a_token_is_good_until_it_is_removed_or_over,
    another_accounts_token_is_out_of_reach,
    an_identity_has_one_account,
    what_is_over_is_pruned,
    all_of_it_goes_with_the_account,
);

const IDLE: Duration = Duration::from_secs(600);

fn hash(seed: u8) -> TokenHash {
    TokenHash([seed; 32])
}

fn session(account: &Account, seed: u8) -> NewWebSession {
    NewWebSession {
        token_hash: hash(seed),
        account: account.id,
        csrf: format!("csrf {seed}"),
        via: "password".to_owned(),
        judged_by: None,
        source: Some("[2001:db8::1]:50022".parse().unwrap()),
        lifetime: LONG,
    }
}

async fn sign_in(store: &Store, account: &Account, seed: u8) {
    store.add_web_session(session(account, seed), None).await.unwrap();
}

async fn is_signed_in(store: &Store, seed: u8) -> bool {
    store.web_session(hash(seed), IDLE).await.unwrap().is_some()
}

fn for_account(name: Option<&str>, tier: &str) -> InvitationKind {
    InvitationKind::Account { name: name.map(str::to_owned), tier: tier.to_owned(), is_admin: false }
}

async fn invite_by(
    store: &Store,
    created_by: Option<Maker>,
    seed: u8,
    kind: InvitationKind,
) -> Result<Invitation, AddInvitationError> {
    store.add_invitation(NewInvitation { token_hash: hash(seed), kind, created_by, lifetime: LONG }).await
}

async fn invite(store: &Store, seed: u8, kind: InvitationKind) -> Result<Invitation, AddInvitationError> {
    invite_by(store, None, seed, kind).await
}

fn token(seed: u8, lifetime: Duration) -> NewApiToken {
    NewApiToken { token_hash: hash(seed), name: format!("token {seed}"), scopes: "read write".to_owned(), lifetime }
}

async fn a_password_is_found_by_the_name_and_ends_other_sessions(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    assert_eq!(store.credential("nobody").await.unwrap(), None);
    assert_eq!(store.credential("alice").await.unwrap().unwrap().phc, None);
    for (account, seed) in [(&alice, 1), (&alice, 2), (&bob, 3)] {
        sign_in(&store, account, seed).await;
    }
    assert_eq!(store.set_password(alice.id, None, "$one", Some(hash(2))).await.unwrap(), 1);
    let found = database.open().await.credential("alice").await.unwrap().unwrap();
    assert_eq!((found.account.id, found.phc.as_deref()), (alice.id, Some("$one")));
    assert!(!is_signed_in(&store, 1).await && is_signed_in(&store, 2).await && is_signed_in(&store, 3).await);
    assert!(!format!("{found:?}").contains("$one"));

    assert_eq!(store.set_password(alice.id, Some("$one"), "$two", None).await.unwrap(), 1);
    assert_eq!(store.credential("alice").await.unwrap().unwrap().phc.as_deref(), Some("$two"));
    let refused = store.set_password(4711, None, "$one", None).await.unwrap_err();
    assert!(matches!(refused, SetPasswordError::NoSuchAccount { account: 4711 }), "{refused:?}");
}

async fn a_hash_is_renewed_only_while_the_password_is_the_same(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let phc = async || store.credential("alice").await.unwrap().unwrap().phc;
    store.set_password(alice.id, None, "$one", None).await.unwrap();
    store.rehash_password(alice.id, "$one", "$one again").await.unwrap();
    assert_eq!(phc().await.as_deref(), Some("$one again"));
    store.rehash_password(alice.id, "$one", "$late").await.unwrap();
    assert_eq!(phc().await.as_deref(), Some("$one again"));
}

async fn somebody_who_can_sign_in_is_enabled_and_has_a_way(database: Database) {
    let store = database.open().await;
    let can = async |administrators| store.anybody_can_sign_in(administrators).await.unwrap();
    let admin = |name: &str| NewAccount { name: name.to_owned(), tier: "pro".to_owned(), is_admin: true };
    let alice = join(&store, "alice").await;
    let root = store.add_account(admin("root")).await.unwrap();
    assert!(!can(false).await && !can(true).await);
    store.set_password(alice.id, None, "$one", None).await.unwrap();
    assert!(can(false).await && !can(true).await);
    store.set_password(root.id, None, "$two", None).await.unwrap();
    assert!(can(true).await);

    store.add_account(admin("other")).await.unwrap();
    let lock = AccountChange { disabled: Some(true), ..AccountChange::default() };
    store.change_account("root", lock).await.unwrap();
    assert!(can(false).await && !can(true).await);
    store.add_account_with_identity(admin("oidc"), "https://id.example", "42").await.unwrap();
    assert!(can(true).await);
}

async fn a_session_lives_until_its_time_or_its_account_ends(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    sign_in(&store, &alice, 1).await;
    let found = database.open().await.web_session(hash(1), IDLE).await.unwrap().unwrap();
    assert_eq!((found.account.clone(), found.csrf.as_str(), found.via.as_str()), (alice.clone(), "csrf 1", "password"));
    assert_eq!(found.source, Some("[2001:db8::1]:50022".parse().unwrap()));
    assert_eq!(found.expires_at, found.created_at.after(LONG));
    assert!(!format!("{found:?}").contains("csrf 1"));
    assert!(!is_signed_in(&store, 2).await);

    assert_eq!(store.web_session(hash(1), Duration::ZERO).await.unwrap(), None, "not used for so long");
    store.touch_web_session(hash(1)).await.unwrap();
    assert!(store.web_session(hash(1), IDLE).await.unwrap().unwrap().seen_at >= found.seen_at);

    store.add_web_session(NewWebSession { lifetime: Duration::ZERO, ..session(&alice, 3) }, None).await.unwrap();
    assert!(!is_signed_in(&store, 3).await, "over at once");
    let disable = |disabled| AccountChange { disabled: Some(disabled), ..AccountChange::default() };
    store.change_account("alice", disable(true)).await.unwrap();
    assert!(!is_signed_in(&store, 1).await);
    store.change_account("alice", disable(false)).await.unwrap();
    assert!(!is_signed_in(&store, 1).await, "who is let in again signs in anew");
    sign_in(&store, &alice, 1).await;
    assert!(is_signed_in(&store, 1).await);
    assert!(store.remove_web_session(hash(1)).await.unwrap());
    assert!(!store.remove_web_session(hash(1)).await.unwrap());
    assert!(!is_signed_in(&store, 1).await);
}

async fn a_new_session_replaces_the_old_one(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    sign_in(&store, &bob, 1).await;
    store.add_web_session(session(&alice, 2), Some(hash(1))).await.unwrap();
    assert!(!is_signed_in(&store, 1).await && is_signed_in(&store, 2).await);
    let gone = Account { id: 4711, ..alice };
    let refused = store.add_web_session(session(&gone, 3), Some(hash(2))).await.unwrap_err();
    assert!(matches!(refused, AddWebSessionError::NoSuchAccount { account: 4711 }), "{refused:?}");
    assert!(is_signed_in(&store, 2).await, "nothing ended");
}

async fn a_session_begins_only_with_the_password_of_now(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    store.set_password(alice.id, None, "first", None).await.unwrap();
    store.set_password(bob.id, None, "second", None).await.unwrap();
    let judged_by = |phc: &str, seed| NewWebSession { judged_by: Some(phc.to_owned()), ..session(&alice, seed) };
    store.add_web_session(judged_by("first", 1), None).await.unwrap();
    store.set_password(alice.id, Some("first"), "third", None).await.unwrap();
    sign_in(&store, &bob, 2).await;
    for (old, seed) in [("first", 3), ("second", 4), ("", 5)] {
        let refused = store.add_web_session(judged_by(old, seed), Some(hash(2))).await.unwrap_err();
        assert!(matches!(refused, AddWebSessionError::PasswordChanged { .. }), "{old}: {refused:?}");
        assert!(!is_signed_in(&store, seed).await && is_signed_in(&store, 2).await, "nothing begun, nothing ended");
    }
    store.add_web_session(judged_by("third", 6), None).await.unwrap();
    assert!(is_signed_in(&store, 6).await);
}

async fn nobody_signs_in_to_an_account_that_was_just_locked_or_removed(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    store.set_password(alice.id, None, "first", None).await.unwrap();
    let lock = |disabled| AccountChange { disabled: Some(disabled), ..AccountChange::default() };
    store.change_account("alice", lock(true)).await.unwrap();
    let ways = |seed| {
        let judged = NewWebSession { judged_by: Some("first".to_owned()), ..session(&alice, seed) };
        [session(&alice, seed), judged]
    };
    for new in ways(1) {
        let refused = store.add_web_session(new, None).await.unwrap_err();
        assert!(matches!(refused, AddWebSessionError::Disabled { .. }), "{refused:?}");
    }
    store.change_account("alice", lock(false)).await.unwrap();
    assert!(!is_signed_in(&store, 1).await, "nothing waits to be let in again");
    store.remove_account("alice").await.unwrap();
    for new in ways(2) {
        let refused = store.add_web_session(new, None).await.unwrap_err();
        assert!(matches!(refused, AddWebSessionError::NoSuchAccount { .. }), "{refused:?}");
    }
}

async fn a_key_ends_its_session_and_no_other(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    sign_in(&store, &alice, 1).await;
    sign_in(&store, &bob, 2).await;
    let ended_by = async |key: &str| store.remove_web_session_with_key(key, hash(2)).await.unwrap();
    assert_eq!(ended_by("csrf").await, None);
    assert_eq!(ended_by("csrf 2").await, None, "not the one that asks");
    assert_eq!(ended_by("csrf 1").await, Some(alice));
    assert_eq!(ended_by("csrf 1").await, None);
    assert!(!is_signed_in(&store, 1).await && is_signed_in(&store, 2).await);

    // Whose right is over may not write, and a key that is none asks for no write.
    let late = store.acting_by(Authority::WebSession(hash(3)));
    assert_eq!(late.remove_web_session_with_key("csrf 1", hash(3)).await.unwrap(), None);
    assert!(late.remove_web_session_with_key("csrf 2", hash(3)).await.unwrap_err().is_right_ended());
    assert!(is_signed_in(&store, 2).await);
}

async fn an_account_has_a_bounded_number_of_sessions(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    sign_in(&store, &bob, 200).await;
    for seed in 0..40 {
        sign_in(&store, &alice, seed).await;
    }
    let mut living = 0;
    for seed in 0..40 {
        living += u32::from(is_signed_in(&store, seed).await);
    }
    assert_eq!(living, 32);
    assert!(is_signed_in(&store, 39).await && is_signed_in(&store, 200).await);
}

async fn an_invitation_makes_one_account(database: Database) {
    let store = database.open().await;
    let made = invite(&store, 1, for_account(None, "plus")).await.unwrap();
    assert_eq!(store.invitation(hash(1)).await.unwrap(), Some(made.clone()));
    assert_eq!(store.list_invitations().await.unwrap(), std::slice::from_ref(&made));
    assert_eq!((made.created_by.as_deref(), made.expires_at), (None, made.created_at.after(LONG)));
    let generation = store.generation().await.unwrap();

    let accepted = store.accept_invitation(hash(1), "carol", "$one").await.unwrap();
    assert_eq!((accepted.account.name.as_str(), accepted.account.tier.as_str()), ("carol", "plus"));
    assert!(!accepted.account.is_admin);
    assert_eq!(store.credential("carol").await.unwrap().unwrap().phc.as_deref(), Some("$one"));
    assert!(store.generation().await.unwrap() > generation);
    let again = store.accept_invitation(hash(1), "mallory", "$two").await.unwrap_err();
    assert!(matches!(again, AcceptInvitationError::NoSuchInvitation), "{again:?}");
    assert_eq!(store.account("mallory").await.unwrap(), None);
    assert_eq!(store.list_invitations().await.unwrap(), []);
}

async fn an_invitation_for_a_name_is_for_that_name(database: Database) {
    let store = database.open().await;
    join(&store, "alice").await;
    let refused = invite(&store, 1, for_account(Some("alice"), "plus")).await.unwrap_err();
    assert!(matches!(refused, AddInvitationError::AccountExists { .. }), "{refused:?}");
    let refused = invite(&store, 1, for_account(None, "gold")).await.unwrap_err();
    assert!(matches!(refused, AddInvitationError::NoSuchTarget), "{refused:?}");
    invite(&store, 1, for_account(Some("carol"), "plus")).await.unwrap();
    let other = store.accept_invitation(hash(1), "mallory", "$one").await.unwrap_err();
    assert!(matches!(other, AcceptInvitationError::OtherName), "{other:?}");
    store.accept_invitation(hash(1), "carol", "$one").await.unwrap();
}

async fn a_refused_invitation_can_be_used_still(database: Database) {
    let store = database.open().await;
    join(&store, "alice").await;
    invite(&store, 1, for_account(None, "plus")).await.unwrap();
    let taken = store.accept_invitation(hash(1), "alice", "$one").await.unwrap_err();
    assert!(matches!(taken, AcceptInvitationError::AccountExists { .. }), "{taken:?}");
    assert_eq!(store.credential("alice").await.unwrap().unwrap().phc, None, "alice's password was not set");
    store.accept_invitation(hash(1), "carol", "$one").await.unwrap();
}

async fn a_reset_sets_the_password_and_revokes_what_was_before(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    sign_in(&store, &alice, 9).await;
    store.add_api_token(alice.id, token(9, LONG), 9).await.unwrap();
    let reset = || InvitationKind::PasswordReset { account: alice.clone() };
    invite(&store, 1, reset()).await.unwrap();
    invite(&store, 2, reset()).await.unwrap();
    assert_eq!(store.invitation(hash(1)).await.unwrap(), None, "a newer link revokes it");
    assert_eq!(store.invitation(hash(2)).await.unwrap().unwrap().kind, reset());
    let other = store.accept_invitation(hash(2), "bob", "$one").await.unwrap_err();
    assert!(matches!(other, AcceptInvitationError::OtherName), "{other:?}");
    let accepted = store.accept_invitation(hash(2), "alice", "$one").await.unwrap();
    assert_eq!((accepted.account, accepted.sessions_ended, accepted.tokens_ended), (alice, 1, 1));
    assert_eq!(store.credential("alice").await.unwrap().unwrap().phc.as_deref(), Some("$one"));
    assert!(!is_signed_in(&store, 9).await, "whoever was signed in has to show the new password");
    assert_eq!(store.api_token(hash(9)).await.unwrap(), None, "and so has whoever made tokens");
    assert_eq!(store.invitation(hash(2)).await.unwrap(), None);
}

async fn one_first_administrator_link_is_good_at_a_time(database: Database) {
    let store = database.open().await;
    let first = || InvitationKind::FirstAdministrator { tier: "community".to_owned() };
    invite(&store, 1, first()).await.unwrap();
    invite(&store, 2, first()).await.unwrap();
    invite(&store, 3, for_account(None, "plus")).await.unwrap();
    assert_eq!(store.invitation(hash(1)).await.unwrap(), None);
    let root = store.accept_invitation(hash(2), "root", "$one").await.unwrap().account;
    assert!(root.is_admin);
    invite(&store, 4, first()).await.unwrap();
    invite(&store, 5, InvitationKind::PasswordReset { account: root }).await.unwrap();
    store.accept_invitation(hash(5), "root", "$two").await.unwrap();
    assert_eq!(store.invitation(hash(4)).await.unwrap(), None, "an administrator can sign in by another way now");
    invite(&store, 6, first()).await.unwrap();
    assert_eq!(store.remove_first_administrator_invitations().await.unwrap(), 1);
    let left = store.list_invitations().await.unwrap();
    assert_eq!(left.len(), 1);
    assert!(store.remove_invitation(&left[0].id).await.unwrap());
    assert!(!store.remove_invitation(&left[0].id).await.unwrap());
}

async fn an_invitation_goes_with_its_tier_and_a_reset_with_its_account(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    invite(&store, 1, for_account(None, "plus")).await.unwrap();
    invite(&store, 2, InvitationKind::PasswordReset { account: alice }).await.unwrap();
    store.remove_tier("plus").await.unwrap();
    store.remove_account("alice").await.unwrap();
    assert_eq!(store.list_invitations().await.unwrap(), []);
}

async fn an_invitation_over_is_nothing(database: Database) {
    let store = database.open().await;
    let kind = for_account(None, "plus");
    let over = NewInvitation { token_hash: hash(1), kind, created_by: None, lifetime: Duration::ZERO };
    store.add_invitation(over).await.unwrap();
    assert_eq!(store.invitation(hash(1)).await.unwrap(), None);
    assert_eq!(store.list_invitations().await.unwrap(), []);
    let late = store.accept_invitation(hash(1), "carol", "$one").await.unwrap_err();
    assert!(matches!(late, AcceptInvitationError::NoSuchInvitation), "{late:?}");
}

async fn administrator(store: &Store, name: &str) -> (Account, Option<Maker>) {
    let new = NewAccount { name: name.to_owned(), tier: "community".to_owned(), is_admin: true };
    let account = store.add_account(new).await.unwrap();
    let maker = Maker { account: account.id, name: account.name.clone(), limit: 2 };
    (account, Some(maker))
}

async fn an_invitation_ends_with_its_makers_right(database: Database) {
    let store = database.open().await;
    administrator(&store, "root").await;
    let demoted = AccountChange { is_admin: Some(false), ..AccountChange::default() };
    let locked = AccountChange { disabled: Some(true), ..AccountChange::default() };
    for (name, loss) in [("demoted", Some(demoted)), ("locked", Some(locked)), ("removed", None)] {
        let (_, maker) = administrator(&store, name).await;
        let made = invite_by(&store, maker, 1, for_account(None, "plus")).await.unwrap();
        assert_eq!(made.created_by.as_deref(), Some(name));
        let other = AccountChange { tier: Some("pro".to_owned()), ..AccountChange::default() };
        store.change_account(name, other).await.unwrap();
        assert_eq!(store.invitation(hash(1)).await.unwrap(), Some(made), "the right goes on");
        match loss {
            Some(loss) => drop(store.change_account(name, loss).await.unwrap()),
            None => drop(store.remove_account(name).await.unwrap()),
        }
        assert_eq!(store.invitation(hash(1)).await.unwrap(), None, "{name}");
    }
    let root = store.account("root").await.unwrap().unwrap();
    let maker = Maker { account: root.id, name: root.name, limit: 2 };
    invite_by(&store, Some(maker), 1, for_account(None, "plus")).await.unwrap();
    invite(&store, 2, for_account(None, "plus")).await.unwrap();
    join(&store, "alice").await;
    store.change_account("alice", AccountChange { disabled: Some(true), ..AccountChange::default() }).await.unwrap();
    assert_eq!(store.list_invitations().await.unwrap().len(), 2, "of others, and of the server");
}

async fn who_may_not_make_an_invitation_makes_none(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let maker = Some(Maker { account: alice.id, name: alice.name, limit: 2 });
    let refused = invite_by(&store, maker, 1, for_account(None, "plus")).await.unwrap_err();
    assert!(matches!(refused, AddInvitationError::MakerHasNoRight { .. }), "{refused:?}");
    let (_, root) = administrator(&store, "root").await;
    for seed in [1, 2] {
        invite_by(&store, root.clone(), seed, for_account(None, "plus")).await.unwrap();
    }
    let refused = invite_by(&store, root.clone(), 3, for_account(None, "plus")).await.unwrap_err();
    assert!(matches!(refused, AddInvitationError::TooMany { limit: 2 }), "{refused:?}");
    store.accept_invitation(hash(1), "bob", "$one").await.unwrap();
    invite_by(&store, root, 3, for_account(None, "plus")).await.unwrap();
}

async fn a_reset_of_a_locked_account_can_be_used_later(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    invite(&store, 1, InvitationKind::PasswordReset { account: alice }).await.unwrap();
    let disable = |disabled| AccountChange { disabled: Some(disabled), ..AccountChange::default() };
    store.change_account("alice", disable(true)).await.unwrap();
    let refused = store.accept_invitation(hash(1), "alice", "$one").await.unwrap_err();
    assert!(matches!(refused, AcceptInvitationError::Disabled { .. }), "{refused:?}");
    assert_eq!(store.credential("alice").await.unwrap().unwrap().phc, None);
    store.change_account("alice", disable(false)).await.unwrap();
    store.accept_invitation(hash(1), "alice", "$one").await.unwrap();
}

async fn a_first_administrator_makes_the_link_for_one_worthless(database: Database) {
    let store = database.open().await;
    invite(&store, 1, InvitationKind::FirstAdministrator { tier: "community".to_owned() }).await.unwrap();
    let alice = join(&store, "alice").await;
    store.set_password(alice.id, None, "$one", None).await.unwrap();
    assert!(store.invitation(hash(1)).await.unwrap().is_some(), "she administers nothing");
    store.change_account("alice", AccountChange { is_admin: Some(true), ..AccountChange::default() }).await.unwrap();
    assert_eq!((store.invitation(hash(1)).await.unwrap(), store.list_invitations().await.unwrap()), (None, vec![]));
    let late = store.accept_invitation(hash(1), "mallory", "$two").await.unwrap_err();
    assert!(matches!(late, AcceptInvitationError::NoSuchInvitation), "{late:?}");
}

async fn a_password_is_changed_only_from_the_one_that_was_judged(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    store.set_password(alice.id, None, "$one", None).await.unwrap();
    sign_in(&store, &alice, 1).await;
    for judged in [None, Some("$zero")] {
        let refused = store.set_password(alice.id, judged, "$two", None).await.unwrap_err();
        assert!(matches!(refused, SetPasswordError::Changed), "{refused:?}");
    }
    assert_eq!(store.credential("alice").await.unwrap().unwrap().phc.as_deref(), Some("$one"));
    assert!(is_signed_in(&store, 1).await);
}

async fn a_token_is_good_until_it_is_removed_or_over(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let made = store.add_api_token(alice.id, token(1, LONG), 3).await.unwrap();
    store.add_api_token(alice.id, token(2, Duration::ZERO), 3).await.unwrap();
    let timed = store.add_api_token(alice.id, token(3, LONG), 3).await.unwrap();
    assert_eq!(timed.expires_at, Some(timed.created_at.after(LONG)));
    let full = store.add_api_token(alice.id, token(4, LONG), 3).await.unwrap_err();
    assert!(matches!(full, AddApiTokenError::TooMany { limit: 3 }), "{full:?}");
    let nobody = store.add_api_token(4711, token(5, LONG), 3).await.unwrap_err();
    assert!(matches!(nobody, AddApiTokenError::NoSuchAccount { account: 4711 }), "{nobody:?}");

    let (found, account) = database.open().await.api_token(hash(1)).await.unwrap().unwrap();
    assert_eq!((found, account), (made.clone(), alice.clone()));
    assert_eq!(store.api_token(hash(2)).await.unwrap(), None, "over");
    assert_eq!(store.api_token(hash(9)).await.unwrap(), None, "never there");
    store.touch_api_token(&made.id).await.unwrap();
    assert!(store.api_token(hash(1)).await.unwrap().unwrap().0.last_used_at.is_some());

    let lock = AccountChange { disabled: Some(true), ..AccountChange::default() };
    store.change_account("alice", lock).await.unwrap();
    assert_eq!(store.api_token(hash(1)).await.unwrap(), None);
}

async fn another_accounts_token_is_out_of_reach(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let alices = store.add_api_token(alice.id, token(1, LONG), 9).await.unwrap();
    assert_eq!(store.remove_api_token(bob.id, &alices.id).await.unwrap(), None);
    assert!(store.list_api_tokens(bob.id).await.unwrap().is_empty());
    assert_eq!(store.list_api_tokens(alice.id).await.unwrap(), std::slice::from_ref(&alices));
    assert_eq!(store.remove_api_token(alice.id, &alices.id).await.unwrap(), Some(alices));
    assert_eq!(store.api_token(hash(1)).await.unwrap(), None);
}

async fn an_identity_has_one_account(database: Database) {
    let store = database.open().await;
    let new = |name: &str| NewAccount { name: name.to_owned(), tier: "plus".to_owned(), is_admin: false };
    let (issuer, other) = ("https://id.example", "https://other.example");
    let alice = store.add_account_with_identity(new("alice"), issuer, "42").await.unwrap();
    assert_eq!(store.account_of_identity(issuer, "42").await.unwrap(), Some(alice));
    assert_eq!(store.account_of_identity(other, "42").await.unwrap(), None, "a subject is its issuer's");
    assert!(store.add_account_with_identity(new("mallory"), issuer, "42").await.is_err());
    assert_eq!(store.account("mallory").await.unwrap(), None, "all or nothing");
    store.add_account_with_identity(new("bob"), other, "42").await.unwrap();
}

async fn what_is_over_is_pruned(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    store.add_web_session(NewWebSession { lifetime: Duration::ZERO, ..session(&alice, 1) }, None).await.unwrap();
    sign_in(&store, &alice, 2).await;
    store.add_api_token(alice.id, token(1, Duration::ZERO), 9).await.unwrap();
    store.add_api_token(alice.id, token(2, LONG), 9).await.unwrap();
    invite(&store, 1, for_account(None, "plus")).await.unwrap();
    let over = NewInvitation {
        token_hash: hash(2),
        kind: for_account(None, "plus"),
        created_by: None,
        lifetime: Duration::ZERO,
    };
    store.add_invitation(over).await.unwrap();
    assert_eq!(store.prune_sign_ins(IDLE).await.unwrap(), 3);
    assert!(is_signed_in(&store, 2).await);
    assert_eq!(store.list_api_tokens(alice.id).await.unwrap().len(), 1);
    assert_eq!(store.list_invitations().await.unwrap().len(), 1);
    assert_eq!(store.prune_sign_ins(Duration::ZERO).await.unwrap(), 1, "a session that nobody uses");
}

async fn all_of_it_goes_with_the_account(database: Database) {
    let store = database.open().await;
    let new = NewAccount { name: "alice".to_owned(), tier: "plus".to_owned(), is_admin: false };
    let alice = store.add_account_with_identity(new, "https://id.example", "42").await.unwrap();
    sign_in(&store, &alice, 1).await;
    store.set_password(alice.id, None, "$one", Some(hash(1))).await.unwrap();
    store.add_api_token(alice.id, token(1, LONG), 9).await.unwrap();
    store.remove_account("alice").await.unwrap();
    let newcomer = join(&store, "alice").await;
    assert!(!is_signed_in(&store, 1).await);
    assert_eq!(store.credential("alice").await.unwrap().unwrap().phc, None);
    assert_eq!(store.api_token(hash(1)).await.unwrap(), None);
    assert!(store.list_api_tokens(newcomer.id).await.unwrap().is_empty());
    assert_eq!(store.account_of_identity("https://id.example", "42").await.unwrap(), None);
}
