//! Public keys.

use adit_store::{AccountChange, AddKeyError, ClaimKeyError, KEYS_PER_ACCOUNT, NewKey, RemoveKeyError, UnixMillis};

use crate::harness::{Database, in_an_hour, join, key, on_every_database};

on_every_database!(
    a_key_is_found_as_it_was_added,
    a_key_belongs_to_one_account,
    a_key_needs_an_account,
    an_account_has_a_thousand_keys_and_no_more,
    a_key_is_removed_by_its_owner_only,
    a_claimed_key_changes_hands,
    a_key_that_is_not_anothers_is_not_claimed,
    a_failed_claim_leaves_the_key_where_it_was,
    last_use_only_moves_forward,
    a_range_that_is_empty_is_not_kept,
    debug_shows_the_fingerprint_not_the_bytes,
);

async fn a_key_is_found_as_it_was_added(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let new = NewKey {
        blob: (0..=255).collect(),
        label: String::new(),
        expires_at: Some(in_an_hour(&store).await),
        ports: Some(0..=u16::MAX),
        ..key("odd")
    };
    let before = store.now().await.unwrap();
    let odd = store.add_key(alice.id, new.clone()).await.unwrap();
    assert_eq!(
        (&odd.blob, &odd.fingerprint, &odd.key_type, &odd.label, odd.expires_at, &odd.ports, odd.last_used_at),
        (&new.blob, &new.fingerprint, &new.key_type, &new.label, new.expires_at, &new.ports, None)
    );
    assert!(before <= odd.added_at && odd.account == alice.id);

    let plain = store.add_key(bob.id, key("plain")).await.unwrap();
    assert_eq!((plain.expires_at, &plain.ports), (None, &None));
    let again = database.open().await;
    assert_eq!(again.list_keys(None).await.unwrap(), [odd.clone(), plain.clone()]);
    assert_eq!(again.list_keys(Some(alice.id)).await.unwrap(), [odd]);
    assert_eq!(again.list_keys(Some(bob.id)).await.unwrap(), [plain]);
    assert!(again.list_keys(Some(bob.id + 1)).await.unwrap().is_empty());
}

async fn a_key_belongs_to_one_account(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let held = store.add_key(alice.id, key("one")).await.unwrap();

    let relabelled = NewKey { label: "again".to_owned(), ..key("one") };
    let refused = store.add_key(alice.id, relabelled.clone()).await.unwrap_err();
    assert!(matches!(&refused, AddKeyError::KeyAlreadyYours { fingerprint } if *fingerprint == held.fingerprint));
    let refused = store.add_key(bob.id, relabelled).await.unwrap_err();
    assert!(matches!(refused, AddKeyError::KeyHeldByOther { holder, .. } if holder == alice.id), "{refused:?}");
    assert!(!refused.to_string().contains("alice"), "the refusal does not tell whose key it is");
    assert_eq!(store.list_keys(None).await.unwrap(), [held]);

    store.remove_key(alice.id, "SHA256:one").await.unwrap();
    store.add_key(bob.id, key("one")).await.unwrap();
}

async fn a_key_needs_an_account(database: Database) {
    let store = database.open().await;
    let refused = store.add_key(4711, key("one")).await.unwrap_err();
    assert!(matches!(refused, AddKeyError::NoSuchAccount { account: 4711 }), "{refused:?}");
    assert!(store.list_keys(None).await.unwrap().is_empty());
}

async fn a_key_is_removed_by_its_owner_only(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let one = store.add_key(alice.id, key("one")).await.unwrap();
    let two = store.add_key(alice.id, key("two")).await.unwrap();
    for (account, fingerprint) in [(bob.id, "SHA256:one"), (alice.id, "SHA256:three"), (alice.id, "")] {
        let refused = store.remove_key(account, fingerprint).await.unwrap_err();
        assert!(matches!(&refused, RemoveKeyError::NoSuchKey { fingerprint: told } if told == fingerprint));
    }
    assert_eq!(store.remove_key(alice.id, "SHA256:one").await.unwrap(), one);
    assert_eq!(store.list_keys(None).await.unwrap(), [two]);
}

async fn a_claimed_key_changes_hands(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let held = store.add_key(alice.id, NewKey { ports: Some(10_000..=10_009), ..key("one") }).await.unwrap();
    let kept = store.add_key(alice.id, key("two")).await.unwrap();
    store.touch_keys(&[(held.id, UnixMillis(50))]).await.unwrap();
    // A holder that is locked out holds the key all the same, and cannot keep it.
    let locked_out = AccountChange { disabled: Some(true), ..AccountChange::default() };
    let alice = store.change_account("alice", locked_out).await.unwrap();
    let before = store.generation().await.unwrap();

    let terms = NewKey { label: "bob's now".to_owned(), expires_at: Some(in_an_hour(&store).await), ..key("one") };
    let claimed = store.claim_key(bob.id, held.id, terms.clone()).await.unwrap();
    assert_eq!(claimed.holder, alice);
    assert_eq!((claimed.former.id, claimed.former.last_used_at), (held.id, Some(UnixMillis(50))));
    let now = &claimed.key;
    assert_eq!(
        (now.account, &now.blob, &now.label, now.expires_at),
        (bob.id, &held.blob, &terms.label, terms.expires_at)
    );
    assert_eq!((now.last_used_at, &now.ports), (None, &None), "nothing of the holder's terms and past is left");
    assert!(now.id > kept.id && now.added_at >= held.added_at);
    assert_eq!(store.key_by_blob(&held.blob).await.unwrap().as_ref(), Some(now));
    assert_eq!(store.list_keys(None).await.unwrap(), [kept, claimed.key]);
    assert!(store.generation().await.unwrap() > before, "whoever follows the directory hears of it");
}

async fn a_key_that_is_not_anothers_is_not_claimed(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let refused = store.claim_key(alice.id, 1, key("one")).await.unwrap_err();
    assert!(matches!(&refused, ClaimKeyError::NotHeld { fingerprint } if fingerprint == "SHA256:one"), "{refused:?}");
    assert_eq!(store.key_by_blob(&key("one").blob).await.unwrap(), None);
    let held = store.add_key(alice.id, key("one")).await.unwrap();
    let refused = store.claim_key(alice.id, held.id, key("one")).await.unwrap_err();
    assert!(matches!(refused, ClaimKeyError::KeyAlreadyYours { .. }), "{refused:?}");
    assert_eq!(store.list_keys(None).await.unwrap(), [held]);
}

async fn a_failed_claim_leaves_the_key_where_it_was(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let held = store.add_key(alice.id, key("one")).await.unwrap();
    let refused = store.claim_key(4711, held.id, key("one")).await.unwrap_err();
    assert!(matches!(refused, ClaimKeyError::NoSuchAccount { account: 4711 }), "{refused:?}");
    #[allow(clippy::reversed_empty_ranges)] // what a caller must not send
    let backwards = NewKey { ports: Some(10_010..=10_000), ..key("one") };
    let refused = store.claim_key(bob.id, held.id, backwards).await.unwrap_err();
    assert!(matches!(refused, ClaimKeyError::Store(_)), "{refused:?}");
    let refused = store.claim_key(bob.id, held.id + 1, key("one")).await.unwrap_err();
    assert!(
        matches!(refused, ClaimKeyError::ChangedHands { .. }),
        "what was looked at is not there any more: {refused:?}"
    );
    assert_eq!(database.open().await.list_keys(None).await.unwrap(), [held]);
}

async fn last_use_only_moves_forward(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let one = store.add_key(alice.id, key("one")).await.unwrap().id;
    let two = store.add_key(alice.id, key("two")).await.unwrap().id;
    let gone = two + 1;
    store.touch_keys(&[]).await.unwrap();
    store.touch_keys(&[(one, UnixMillis(50)), (gone, UnixMillis(60)), (two, UnixMillis(70))]).await.unwrap();
    store.touch_keys(&[(one, UnixMillis(40)), (two, UnixMillis(80))]).await.unwrap();
    let used: Vec<_> = store.list_keys(None).await.unwrap().into_iter().map(|key| key.last_used_at).collect();
    assert_eq!(used, [Some(UnixMillis(50)), Some(UnixMillis(80))]);
}

async fn a_range_that_is_empty_is_not_kept(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    #[allow(clippy::reversed_empty_ranges)] // what a caller must not send
    let backwards = NewKey { ports: Some(10_010..=10_000), ..key("one") };
    let refused = store.add_key(alice.id, backwards).await.unwrap_err();
    assert!(matches!(refused, AddKeyError::Store(_)), "{refused:?}");
    assert!(store.list_keys(None).await.unwrap().is_empty());
}

async fn debug_shows_the_fingerprint_not_the_bytes(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let new = NewKey { blob: vec![222; 64], ..key("one") };
    let shown = format!("{new:?} {:?}", store.add_key(alice.id, new.clone()).await.unwrap());
    assert!(shown.contains("SHA256:one") && !shown.contains("222"), "{shown}");
}

async fn an_account_has_a_thousand_keys_and_no_more(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    for number in 0..KEYS_PER_ACCOUNT {
        store.add_key(alice.id, key(&format!("key {number}"))).await.unwrap();
    }
    let refused = store.add_key(alice.id, key("one more")).await.unwrap_err();
    assert!(matches!(refused, AddKeyError::TooMany), "{refused:?}");
    // Nothing was added, and others have room.
    store.add_key(bob.id, key("one more")).await.unwrap();
}
