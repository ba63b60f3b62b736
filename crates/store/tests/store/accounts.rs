//! Accounts, tiers, the generation and the directory.

use std::time::SystemTime;

use adit_store::{
    AccountChange, AccountQuery, AddAccountError, ChangeAccountError, NewAccount, NewPort, PortQuery,
    RemoveAccountError, RemoveTierError, RenewError, Tier, TierLimits, UnixMillis,
};

use crate::harness::{Database, LONG, an_hour_ago, ask, in_an_hour, join, key, on_every_database};

on_every_database!(
    an_account_is_found_as_it_was_added,
    a_second_account_of_a_name_is_refused,
    an_account_needs_an_existing_tier,
    a_change_leaves_the_rest_alone,
    removing_an_account_takes_all_it_had_and_nothing_else,
    an_id_is_never_given_twice,
    accounts_are_searched_in_pages,
    the_last_administrator_stays,
    a_new_store_knows_three_tiers,
    a_tier_in_use_stays,
    every_change_raises_the_generation_and_nothing_else_does,
    the_directory_holds_who_may_log_in,
    the_clock_is_the_clock,
);

async fn an_account_is_found_as_it_was_added(database: Database) {
    let store = database.open().await;
    let before = store.now().await.unwrap();
    let new = NewAccount { name: "Zoë; DROP TABLE keys".to_owned(), tier: "pro".to_owned(), is_admin: true };
    let added = store.add_account(new.clone()).await.unwrap();
    assert_eq!((&added.name, &added.tier, added.is_admin, added.disabled), (&new.name, &new.tier, true, false));
    assert!(before <= added.created_at && added.created_at <= store.now().await.unwrap());

    join(&store, "alice").await;
    store.add_key(added.id, key("one")).await.unwrap();
    store.add_key(added.id, key("two")).await.unwrap();
    let again = database.open().await;
    assert_eq!(again.account(&new.name).await.unwrap(), Some(added));
    assert_eq!(again.account("nobody").await.unwrap(), None);
    let listed: Vec<(String, u64)> =
        again.list_accounts().await.unwrap().into_iter().map(|one| (one.account.name, one.key_count)).collect();
    assert_eq!(listed, [(new.name, 2), ("alice".to_owned(), 0)]);
}

async fn a_second_account_of_a_name_is_refused(database: Database) {
    let store = database.open().await;
    let first = join(&store, "alice").await;
    let new = NewAccount { name: "alice".to_owned(), tier: "pro".to_owned(), is_admin: true };
    let refused = store.add_account(new).await.unwrap_err();
    assert!(matches!(&refused, AddAccountError::AccountExists { name } if name == "alice"), "{refused:?}");
    assert_eq!(store.account("alice").await.unwrap(), Some(first));
    join(&store, "Alice").await;
}

async fn an_account_needs_an_existing_tier(database: Database) {
    let store = database.open().await;
    let new = NewAccount { name: "alice".to_owned(), tier: "gold".to_owned(), is_admin: false };
    let refused = store.add_account(new).await.unwrap_err();
    assert!(matches!(&refused, AddAccountError::NoSuchTier { tier } if tier == "gold"), "{refused:?}");
    assert!(store.list_accounts().await.unwrap().is_empty());

    let alice = join(&store, "alice").await;
    let change = AccountChange { tier: Some("gold".to_owned()), is_admin: Some(true), disabled: None };
    let refused = store.change_account("alice", change).await.unwrap_err();
    assert!(matches!(&refused, ChangeAccountError::NoSuchTier { tier } if tier == "gold"), "{refused:?}");
    assert_eq!(store.account("alice").await.unwrap(), Some(alice));
}

async fn a_change_leaves_the_rest_alone(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let bob = join(&store, "bob").await;

    let change = AccountChange { tier: Some("plus".to_owned()), ..AccountChange::default() };
    let mut expected = alice.clone();
    expected.tier = "plus".to_owned();
    assert_eq!(store.change_account("alice", change).await.unwrap(), expected);

    let change = AccountChange { is_admin: Some(true), disabled: Some(true), tier: None };
    (expected.is_admin, expected.disabled) = (true, true);
    assert_eq!(store.change_account("alice", change).await.unwrap(), expected);
    assert_eq!(store.account("alice").await.unwrap(), Some(expected));
    assert_eq!(store.account("bob").await.unwrap(), Some(bob));

    let refused = store.change_account("carol", AccountChange::default()).await.unwrap_err();
    assert!(matches!(&refused, ChangeAccountError::NoSuchAccount { name } if name == "carol"), "{refused:?}");
}

async fn removing_an_account_takes_all_it_had_and_nothing_else(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let keys =
        vec![store.add_key(alice.id, key("one")).await.unwrap(), store.add_key(alice.id, key("two")).await.unwrap()];
    let bobs_key = store.add_key(bob.id, key("three")).await.unwrap();
    let web = NewPort { port: 10_080, description: "web".to_owned(), shared: true };
    let port = store.add_port(alice.id, web.clone(), 9).await.unwrap();
    let bobs_port = store.add_port(bob.id, web, 9).await.unwrap();
    let lease = store.acquire_lease(ask(&alice, 10_080, LONG)).await.unwrap();
    let bobs_lease = store.acquire_lease(ask(&bob, 10_081, LONG)).await.unwrap();

    let removed = store.remove_account("alice").await.unwrap();
    assert_eq!((removed.account, removed.keys, removed.ports), (alice.clone(), keys, vec![port]));
    assert_eq!(removed.leases, std::slice::from_ref(&lease));

    assert_eq!(store.account("alice").await.unwrap(), None);
    assert_eq!(store.list_keys(None).await.unwrap(), [bobs_key]);
    let left =
        async |account| store.search_ports(account, &PortQuery { limit: 9, ..PortQuery::default() }).await.unwrap();
    assert_eq!(left(alice.id).await.ports, []);
    assert_eq!(left(bob.id).await.ports, [bobs_port]);
    assert_eq!(store.list_leases().await.unwrap(), [bobs_lease]);
    let lost = store.renew_lease(lease.fence, LONG).await.unwrap_err();
    assert!(matches!(lost, RenewError::Lost { fence } if fence == lease.fence), "{lost:?}");

    let refused = store.remove_account("alice").await.unwrap_err();
    assert!(matches!(&refused, RemoveAccountError::NoSuchAccount { name } if name == "alice"), "{refused:?}");
}

async fn an_id_is_never_given_twice(database: Database) {
    let store = database.open().await;
    let first = join(&store, "alice").await;
    let first_key = store.add_key(first.id, key("one")).await.unwrap();
    store.remove_account("alice").await.unwrap();
    let second = join(&store, "alice").await;
    let second_key = store.add_key(second.id, key("one")).await.unwrap();
    assert!(second.id > first.id);
    assert!(second_key.id > first_key.id);
}

async fn a_new_store_knows_three_tiers(database: Database) {
    let store = database.open().await;
    let tier = |name: &str| Tier { name: name.to_owned(), limits: TierLimits::default() };
    assert_eq!(store.list_tiers().await.unwrap(), [tier("community"), tier("plus"), tier("pro")]);

    let basic = Tier {
        name: "basic".to_owned(),
        limits: TierLimits {
            forwards_per_account: Some(20),
            visitors_per_port: Some(0),
            visitors_per_account: None,
            bytes_per_second_to_owner: Some(1 << 40),
            bytes_per_second_to_visitors: Some(i64::MAX as u64),
        },
    };
    store.upsert_tier(&basic).await.unwrap();
    let mut plus = tier("plus");
    plus.limits.visitors_per_account = Some(u32::MAX);
    store.upsert_tier(&plus).await.unwrap();
    assert_eq!(store.list_tiers().await.unwrap(), [basic.clone(), tier("community"), plus, tier("pro")]);

    store.upsert_tier(&tier("basic")).await.unwrap();
    assert_eq!(store.list_tiers().await.unwrap()[0], tier("basic"), "None takes a limit back");
}

async fn a_tier_in_use_stays(database: Database) {
    let store = database.open().await;
    join(&store, "alice").await;
    let refused = store.remove_tier("community").await.unwrap_err();
    assert!(matches!(&refused, RemoveTierError::InUse { name } if name == "community"), "{refused:?}");
    let change = AccountChange { tier: Some("pro".to_owned()), ..AccountChange::default() };
    store.change_account("alice", change).await.unwrap();
    store.remove_tier("community").await.unwrap();
    let refused = store.remove_tier("community").await.unwrap_err();
    assert!(matches!(&refused, RemoveTierError::NoSuchTier { name } if name == "community"), "{refused:?}");
    assert_eq!(store.list_tiers().await.unwrap().len(), 2);
}

async fn every_change_raises_the_generation_and_nothing_else_does(database: Database) {
    let store = database.open().await;
    let watcher = database.open().await;
    let mut last = watcher.generation().await.unwrap();
    macro_rules! raised {
        ($by:expr, $what:expr) => {{
            $what;
            let now = watcher.generation().await.unwrap();
            assert_eq!(now - last, $by, stringify!($what));
            last = now;
        }};
    }
    let plus = Tier { name: "plus".to_owned(), limits: TierLimits::default() };
    raised!(1, store.upsert_tier(&plus).await.unwrap());
    raised!(1, join(&store, "alice").await);
    let alice = store.account("alice").await.unwrap().unwrap();
    raised!(1, store.add_key(alice.id, key("one")).await.unwrap());
    raised!(1, store.add_key(alice.id, key("two")).await.unwrap());
    raised!(1, store.remove_key(alice.id, "SHA256:two").await.unwrap());
    raised!(1, store.change_account("alice", AccountChange::default()).await.unwrap());
    raised!(1, store.remove_tier("plus").await.unwrap());

    raised!(0, store.add_key(alice.id, key("one")).await.unwrap_err());
    raised!(0, store.remove_key(alice.id, "SHA256:two").await.unwrap_err());
    raised!(0, store.remove_account("bob").await.unwrap_err());
    raised!(0, store.remove_tier("plus").await.unwrap_err());
    let held = store.list_keys(None).await.unwrap()[0].id;
    raised!(0, store.touch_keys(&[(held, UnixMillis(5))]).await.unwrap());
    raised!(0, store.acquire_lease(ask(&alice, 10_000, LONG)).await.unwrap());
    raised!(0, store.load_directory().await.unwrap());

    raised!(1, store.remove_account("alice").await.unwrap());
    assert_eq!(store.load_directory().await.unwrap().generation, last);
}

async fn the_directory_holds_who_may_log_in(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let (past, future) = (an_hour_ago(&store).await, in_an_hour(&store).await);
    let lasting = store.add_key(alice.id, key("lasting")).await.unwrap();
    let expiring = key("expiring");
    let expiring = store.add_key(alice.id, adit_store::NewKey { expires_at: Some(future), ..expiring }).await.unwrap();
    let expired = adit_store::NewKey { expires_at: Some(past), ..key("expired") };
    let expired = store.add_key(alice.id, expired).await.unwrap();
    store.add_key(bob.id, key("locked out")).await.unwrap();
    let lock = AccountChange { disabled: Some(true), ..AccountChange::default() };
    store.change_account("bob", lock).await.unwrap();

    let directory = store.load_directory().await.unwrap();
    assert_eq!(directory.accounts, [alice]);
    assert_eq!(directory.keys, [lasting, expiring, expired], "whoever looks a key up compares its time");
    assert_eq!(directory.tiers, store.list_tiers().await.unwrap());
    assert_eq!(directory.generation, store.generation().await.unwrap());
}

async fn the_clock_is_the_clock(database: Database) {
    let store = database.open().await;
    let before = UnixMillis::from(SystemTime::now());
    let told = store.now().await.unwrap();
    let after = UnixMillis::from(SystemTime::now());
    // One more on both sides: the database may round where we cut.
    assert!(before.0 - 1 <= told.0 && told.0 <= after.0 + 1, "{before:?} {told:?} {after:?}");
}

async fn accounts_are_searched_in_pages(database: Database) {
    let store = database.open().await;
    for name in ["alice", "bob_1", "bob_2", "bobx3", "carol"] {
        join(&store, name).await;
    }
    let carol = store.account("carol").await.unwrap().unwrap();
    store.set_password(carol.id, None, "$one", None).await.unwrap();
    let search = async |text: Option<&str>, offset, limit| {
        let query = AccountQuery { text: text.map(str::to_owned), offset, limit };
        let page = store.search_accounts(&query).await.unwrap();
        let names: Vec<_> = page.accounts.into_iter().map(|row| (row.account.name, row.has_password)).collect();
        (page.total, names)
    };
    let without = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), false)).collect::<Vec<_>>();
    assert_eq!(search(None, 0, 2).await, (5, without(&["alice", "bob_1"])));
    assert_eq!(search(None, 4, 2).await, (5, vec![("carol".to_owned(), true)]));
    assert_eq!(search(Some("bob"), 1, 9).await, (3, without(&["bob_2", "bobx3"])));
    assert_eq!(search(Some("b_"), 0, 9).await, (2, without(&["bob_1", "bob_2"])), "no pattern of its own");
    assert_eq!(search(Some("%"), 0, 9).await, (0, without(&[])));
}

async fn the_last_administrator_stays(database: Database) {
    let store = database.open().await;
    let admin = |name: &str| NewAccount { name: name.to_owned(), tier: "pro".to_owned(), is_admin: true };
    store.add_account(admin("root")).await.unwrap();
    join(&store, "alice").await;
    let demote = || AccountChange { is_admin: Some(false), ..AccountChange::default() };
    let disable = || AccountChange { disabled: Some(true), ..AccountChange::default() };
    for change in [demote(), disable()] {
        let refused = store.change_account("root", change).await.unwrap_err();
        assert!(matches!(refused, ChangeAccountError::LastAdministrator { .. }), "{refused:?}");
    }
    let refused = store.remove_account("root").await.unwrap_err();
    assert!(matches!(refused, RemoveAccountError::LastAdministrator { .. }), "{refused:?}");
    let root = store.account("root").await.unwrap().unwrap();
    assert!(root.is_admin && !root.disabled);
    store.change_account("alice", disable()).await.unwrap();

    store.add_account(admin("other")).await.unwrap();
    store.change_account("root", disable()).await.unwrap();
    store.remove_account("root").await.unwrap();
    let refused = store.remove_account("other").await.unwrap_err();
    assert!(matches!(refused, RemoveAccountError::LastAdministrator { .. }), "{refused:?}");
}
