//! A change is made only while the right to it lasts.

use std::time::Duration;

use adit_store::{AccountChange, AddAccountError, Authority, NewAccount, NewApiToken, NewWebSession, Store, TokenHash};

use crate::harness::{Database, LONG, join, on_every_database};

on_every_database!(
    what_was_judged_before_a_right_ended_is_not_written,
    every_loss_of_a_right_counts,
    a_right_that_lasts_is_not_in_the_way,
    whoever_ends_their_own_right_has_done_it,
    a_right_ends_with_its_time,
);

const SESSION: TokenHash = TokenHash([1; 32]);
const TOKEN: TokenHash = TokenHash([2; 32]);

/// Of alice, who administers and has a session and an API token.
async fn rights(store: &Store) -> [Store; 2] {
    rights_for(store, LONG).await
}

async fn rights_for(store: &Store, lifetime: Duration) -> [Store; 2] {
    let admin = |name: &str| NewAccount { name: name.to_owned(), tier: "pro".to_owned(), is_admin: true };
    store.add_account(admin("root")).await.ok();
    let alice = store.add_account(admin("alice")).await.unwrap();
    let session = NewWebSession {
        token_hash: SESSION,
        account: alice.id,
        csrf: "key".to_owned(),
        via: "password".to_owned(),
        judged_by: None,
        source: None,
        lifetime,
    };
    store.add_web_session(session, None).await.unwrap();
    let token = NewApiToken { token_hash: TOKEN, name: "ci".to_owned(), scopes: "admin".to_owned(), lifetime };
    store.add_api_token(alice.id, token, 9).await.unwrap();
    [Authority::WebSession(SESSION), Authority::ApiToken(TOKEN)].map(|authority| store.acting_by(authority))
}

async fn add(store: &Store, name: &str) -> Result<(), AddAccountError> {
    let new = NewAccount { name: name.to_owned(), tier: "pro".to_owned(), is_admin: false };
    store.add_account(new).await.map(drop)
}

async fn what_was_judged_before_a_right_ended_is_not_written(database: Database) {
    let store = database.open().await;
    let acting = rights(&store).await;
    let root = store.account("root").await.unwrap().unwrap();
    let demoted = AccountChange { is_admin: Some(false), ..AccountChange::default() };
    // As another process does.
    database.open().await.change_account("alice", demoted).await.unwrap();
    for acting in &acting {
        let refused = add(acting, "mallory").await.unwrap_err();
        assert!(matches!(&refused, AddAccountError::Store(error) if error.is_right_ended()), "{refused:?}");
        assert!(acting.remove_invitation("none").await.unwrap_err().is_right_ended());
        assert_eq!(acting.account("root").await.unwrap(), Some(root.clone()), "a look is let in");
    }
    assert_eq!(store.account("mallory").await.unwrap(), None);
    add(&store, "bob").await.unwrap();
}

async fn every_loss_of_a_right_counts(database: Database) {
    let store = database.open().await;
    let locked = AccountChange { disabled: Some(true), ..AccountChange::default() };
    for loss in [Some(locked), None] {
        let acting = rights(&store).await;
        match loss {
            Some(loss) => drop(store.change_account("alice", loss).await.unwrap()),
            None => drop(store.remove_account("alice").await.unwrap()),
        }
        for acting in &acting {
            assert!(acting.remove_invitation("none").await.unwrap_err().is_right_ended());
        }
        store.remove_account("alice").await.ok();
    }
}

async fn a_right_that_lasts_is_not_in_the_way(database: Database) {
    let store = database.open().await;
    let [by_session, by_token] = rights(&store).await;
    add(&by_session, "bob").await.unwrap();
    add(&by_token, "carol").await.unwrap();
    join(&store, "dave").await;
    store.remove_web_session(SESSION).await.unwrap();
    assert!(add(&by_session, "mallory").await.is_err());
    add(&by_token, "erin").await.unwrap();
}

async fn whoever_ends_their_own_right_has_done_it(database: Database) {
    let store = database.open().await;
    let [by_session, _] = rights(&store).await;
    by_session.remove_account("alice").await.unwrap();
    assert!(store.account("alice").await.unwrap().is_none());
    assert!(add(&by_session, "mallory").await.is_err());
}

/// The rows are there until they are pruned.
async fn a_right_ends_with_its_time(database: Database) {
    let store = database.open().await;
    for acting in rights_for(&store, Duration::ZERO).await {
        let refused = add(&acting, "mallory").await.unwrap_err();
        assert!(matches!(&refused, AddAccountError::Store(error) if error.is_right_ended()), "{refused:?}");
    }
    assert_eq!(store.account("mallory").await.unwrap(), None);
}
