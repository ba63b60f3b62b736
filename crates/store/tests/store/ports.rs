//! The inventory of registered ports.

use std::collections::HashSet;

use adit_store::{
    AccountChange, AddPortError, ChangePortError, NewPort, PortChange, RegisteredPort, RemovePortError, SharedPort,
};

use crate::harness::{Database, LONG, ask, join, on_every_database};

on_every_database!(
    an_entry_is_seen_by_its_owner,
    a_shared_entry_is_seen_by_all,
    another_accounts_entry_is_out_of_reach,
    a_change_leaves_the_rest_alone,
    one_account_lists_a_port_once,
    an_entry_needs_an_account,
    a_list_has_room_for_so_many,
    ids_are_long_and_differ,
    the_inventory_and_the_leases_do_not_meet,
);

fn entry(port: u16, shared: bool) -> NewPort {
    NewPort { port, description: format!("what serves {port}"), shared }
}

async fn an_entry_is_seen_by_its_owner(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let high = store.add_port(alice.id, entry(u16::MAX, false), 9).await.unwrap();
    let low = store.add_port(alice.id, entry(10_000, false), 9).await.unwrap();
    assert_eq!(
        (low.account, low.port, low.description.as_str(), low.shared),
        (alice.id, 10_000, "what serves 10000", false)
    );
    let again = database.open().await;
    assert_eq!(again.list_ports(alice.id).await.unwrap(), [low, high]);
    assert!(again.list_ports(bob.id).await.unwrap().is_empty());
    assert!(again.list_shared_ports().await.unwrap().is_empty(), "private unless shared");
}

async fn a_shared_entry_is_seen_by_all(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let bobs = store.add_port(bob.id, entry(10_080, true), 9).await.unwrap();
    let alices = store.add_port(alice.id, entry(10_080, true), 9).await.unwrap();
    let first = store.add_port(bob.id, entry(10_022, true), 9).await.unwrap();
    store.add_port(alice.id, entry(10_001, false), 9).await.unwrap();
    let shared = |owner: &str, port: &RegisteredPort| SharedPort { owner: owner.to_owned(), port: port.clone() };
    assert_eq!(
        store.list_shared_ports().await.unwrap(),
        [shared("bob", &first), shared("alice", &alices), shared("bob", &bobs)]
    );

    let lock = AccountChange { disabled: Some(true), ..AccountChange::default() };
    store.change_account("bob", lock).await.unwrap();
    assert_eq!(store.list_shared_ports().await.unwrap(), [shared("alice", &alices)]);
}

async fn another_accounts_entry_is_out_of_reach(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let alices = store.add_port(alice.id, entry(10_080, true), 9).await.unwrap();
    let change = PortChange { shared: Some(false), description: Some("mine now".to_owned()) };
    let refused = store.change_port(bob.id, &alices.id, change.clone()).await.unwrap_err();
    assert!(matches!(refused, ChangePortError::NoSuchPort), "{refused:?}");
    let refused = store.remove_port(bob.id, &alices.id).await.unwrap_err();
    assert!(matches!(refused, RemovePortError::NoSuchPort), "{refused:?}");
    let unknown = store.change_port(bob.id, "no such id", change).await.unwrap_err();
    assert!(matches!(unknown, ChangePortError::NoSuchPort), "{unknown:?}");
    assert_eq!(store.list_ports(alice.id).await.unwrap(), std::slice::from_ref(&alices));

    assert_eq!(store.remove_port(alice.id, &alices.id).await.unwrap(), alices);
    assert!(store.list_ports(alice.id).await.unwrap().is_empty());
}

async fn a_change_leaves_the_rest_alone(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let mut expected = store.add_port(alice.id, entry(10_080, false), 9).await.unwrap();
    let other = store.add_port(alice.id, entry(10_081, false), 9).await.unwrap();

    let change = PortChange { shared: Some(true), description: None };
    expected.shared = true;
    assert_eq!(store.change_port(alice.id, &expected.id, change).await.unwrap(), expected);
    let change = PortChange { shared: None, description: Some("\u{1b}[31mred".to_owned()) };
    expected.description = "\u{1b}[31mred".to_owned();
    assert_eq!(store.change_port(alice.id, &expected.id, change).await.unwrap(), expected);
    assert_eq!(store.list_ports(alice.id).await.unwrap(), [expected, other]);
}

async fn one_account_lists_a_port_once(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let first = store.add_port(alice.id, entry(10_080, false), 9).await.unwrap();
    let refused = store.add_port(alice.id, entry(10_080, true), 9).await.unwrap_err();
    assert!(matches!(refused, AddPortError::AlreadyRegistered { port: 10_080 }), "{refused:?}");
    assert_eq!(store.list_ports(alice.id).await.unwrap(), [first]);
    store.add_port(bob.id, entry(10_080, true), 9).await.unwrap();
}

async fn an_entry_needs_an_account(database: Database) {
    let store = database.open().await;
    let refused = store.add_port(4711, entry(10_080, false), 9).await.unwrap_err();
    assert!(matches!(refused, AddPortError::NoSuchAccount { account: 4711 }), "{refused:?}");
}

async fn a_list_has_room_for_so_many(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let first = store.add_port(alice.id, entry(10_000, false), 2).await.unwrap();
    store.add_port(alice.id, entry(10_001, true), 2).await.unwrap();
    store.add_port(bob.id, entry(10_002, true), 2).await.unwrap();
    let full = store.add_port(alice.id, entry(10_003, false), 2).await.unwrap_err();
    assert!(matches!(full, AddPortError::TooMany { limit: 2 }), "{full:?}");
    let again = store.add_port(alice.id, entry(10_001, false), 2).await.unwrap_err();
    assert!(matches!(again, AddPortError::AlreadyRegistered { port: 10_001 }), "{again:?}");
    assert_eq!(store.list_ports(alice.id).await.unwrap().len(), 2);
    store.remove_port(alice.id, &first.id).await.unwrap();
    store.add_port(alice.id, entry(10_003, false), 2).await.unwrap();
}

async fn ids_are_long_and_differ(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let mut ids = HashSet::new();
    for port in 10_000..10_050 {
        let id = store.add_port(alice.id, entry(port, false), 50).await.unwrap().id;
        assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
        assert!(ids.insert(id));
    }
}

async fn the_inventory_and_the_leases_do_not_meet(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    store.add_port(alice.id, entry(10_080, false), 9).await.unwrap();
    store.acquire_lease(ask(&bob, 10_080, LONG)).await.unwrap();
    store.acquire_lease(ask(&alice, 10_081, LONG)).await.unwrap();
    store.add_port(bob.id, entry(10_081, false), 9).await.unwrap();
}
