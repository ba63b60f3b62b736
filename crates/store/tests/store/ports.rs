//! The inventory of registered ports.

use std::collections::HashSet;

use adit_store::{
    AccountChange, AddPortError, ChangePortError, ChangedPort, NewPort, PortChange, PortQuery, RegisteredPort,
    RegisteredPortPage, RemovePortError, SharedPort, SharedPortPage, Store,
};

use crate::harness::{Database, LONG, ask, join, on_every_database};

on_every_database!(
    an_entry_is_seen_by_its_owner,
    a_shared_entry_is_seen_by_all,
    a_list_is_read_by_the_page,
    what_is_shared_is_read_by_the_page,
    one_port_is_found_among_all,
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

const ALL: PortQuery = PortQuery { text: None, port: None, offset: 0, limit: u32::MAX };

fn containing(text: &str) -> PortQuery {
    PortQuery { text: Some(text.to_owned()), ..ALL }
}

async fn listed(store: &Store, account: i64) -> Vec<RegisteredPort> {
    store.search_ports(account, &ALL).await.unwrap().ports
}

async fn shared(store: &Store) -> Vec<SharedPort> {
    store.search_shared_ports(&ALL).await.unwrap().ports
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
    assert_eq!(listed(&again, alice.id).await, [low, high]);
    assert!(listed(&again, bob.id).await.is_empty());
    assert!(shared(&again).await.is_empty(), "private unless shared");
}

async fn a_shared_entry_is_seen_by_all(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let bobs = store.add_port(bob.id, entry(10_080, true), 9).await.unwrap();
    let alices = store.add_port(alice.id, entry(10_080, true), 9).await.unwrap();
    let first = store.add_port(bob.id, entry(10_022, true), 9).await.unwrap();
    store.add_port(alice.id, entry(10_001, false), 9).await.unwrap();
    let of = |owner: &str, port: &RegisteredPort| SharedPort { owner: owner.to_owned(), port: port.clone() };
    assert_eq!(shared(&store).await, [of("bob", &first), of("alice", &alices), of("bob", &bobs)]);

    let lock = AccountChange { disabled: Some(true), ..AccountChange::default() };
    store.change_account("bob", lock).await.unwrap();
    assert_eq!(shared(&store).await, [of("alice", &alices)]);
}

async fn a_list_is_read_by_the_page(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    for port in 10_000..10_005 {
        store.add_port(alice.id, entry(port, false), 9).await.unwrap();
    }
    let page = async |query: PortQuery| {
        let RegisteredPortPage { total, ports } = store.search_ports(alice.id, &query).await.unwrap();
        (total, ports.iter().map(|port| port.port).collect::<Vec<_>>())
    };
    assert_eq!(page(PortQuery { offset: 0, limit: 2, ..ALL }).await, (5, vec![10_000, 10_001]));
    assert_eq!(page(PortQuery { offset: 4, limit: 2, ..ALL }).await, (5, vec![10_004]), "the last is not full");
    assert_eq!(page(PortQuery { offset: 5, limit: 2, ..ALL }).await, (5, vec![]), "and there is none after it");
    assert_eq!(page(PortQuery { limit: 0, ..ALL }).await, (5, vec![]));
    assert_eq!(page(PortQuery { limit: 1, ..containing("serves") }).await, (5, vec![10_000]), "of the description");
    assert_eq!(page(containing("0003")).await, (1, vec![10_003]), "of the port's digits");
    for wild in ["%", "_", "!"] {
        assert_eq!(page(containing(wild)).await, (0, vec![]), "{wild} is a character like others");
    }
}

async fn what_is_shared_is_read_by_the_page(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    for (account, port, is_shared) in
        [(&alice, 10_001, true), (&bob, 10_001, true), (&alice, 10_000, true), (&bob, 10_000, false)]
    {
        store.add_port(account.id, entry(port, is_shared), 9).await.unwrap();
    }
    let page = async |query: PortQuery| {
        let SharedPortPage { total, ports } = store.search_shared_ports(&query).await.unwrap();
        (total, ports.into_iter().map(|shared| (shared.owner, shared.port.port)).collect::<Vec<_>>())
    };
    let of = |owner: &str, port: u16| (owner.to_owned(), port);
    assert_eq!(page(PortQuery { offset: 1, limit: 1, ..ALL }).await, (3, vec![of("alice", 10_001)]));
    assert_eq!(page(PortQuery { offset: 3, limit: 1, ..ALL }).await, (3, vec![]));
    assert_eq!(page(containing("bo")).await, (1, vec![of("bob", 10_001)]), "of the owner's name");
    assert_eq!(page(containing("10000")).await, (1, vec![of("alice", 10_000)]), "and nothing private");
    assert_eq!(page(PortQuery { port: Some(10_001), ..ALL }).await.0, 2);
}

async fn one_port_is_found_among_all(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let one = store.add_port(alice.id, entry(10_080, true), 9).await.unwrap();
    let described = NewPort { port: 10_081, description: "beside 10080".to_owned(), shared: false };
    store.add_port(alice.id, described, 9).await.unwrap();
    let found = store.search_ports(alice.id, &PortQuery { port: Some(10_080), ..ALL }).await.unwrap();
    assert_eq!(found, RegisteredPortPage { total: 1, ports: vec![one] });
    for (ports, expected) in [
        (vec![(alice.id, Some(10_081)), (bob.id, Some(10_080))], false),
        (vec![(alice.id, Some(10_081)), (alice.id, Some(10_080))], true),
        (vec![(bob.id, None)], false),
        (vec![(bob.id, None), (alice.id, None)], true),
        (vec![], false),
    ] {
        assert_eq!(store.is_any_shared(&ports).await.unwrap(), expected, "{ports:?}");
    }
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
    assert_eq!(listed(&store, alice.id).await, std::slice::from_ref(&alices));

    assert_eq!(store.remove_port(alice.id, &alices.id).await.unwrap(), alices);
    assert!(listed(&store, alice.id).await.is_empty());
}

async fn a_change_leaves_the_rest_alone(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let before = store.add_port(alice.id, entry(10_080, false), 9).await.unwrap();
    let other = store.add_port(alice.id, entry(10_081, false), 9).await.unwrap();

    let change = PortChange { shared: Some(true), description: None };
    let shared = RegisteredPort { shared: true, ..before.clone() };
    let changed = ChangedPort { before, after: shared.clone() };
    assert_eq!(store.change_port(alice.id, &shared.id, change).await.unwrap(), changed);
    let change = PortChange { shared: None, description: Some("\u{1b}[31mred".to_owned()) };
    let expected = RegisteredPort { description: "\u{1b}[31mred".to_owned(), ..shared.clone() };
    let changed = ChangedPort { before: shared, after: expected.clone() };
    assert_eq!(store.change_port(alice.id, &expected.id, change).await.unwrap(), changed);
    assert_eq!(listed(&store, alice.id).await, [expected, other]);
}

async fn one_account_lists_a_port_once(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let first = store.add_port(alice.id, entry(10_080, false), 9).await.unwrap();
    let refused = store.add_port(alice.id, entry(10_080, true), 9).await.unwrap_err();
    assert!(matches!(refused, AddPortError::AlreadyRegistered { port: 10_080 }), "{refused:?}");
    assert_eq!(listed(&store, alice.id).await, [first]);
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
    assert_eq!(listed(&store, alice.id).await.len(), 2);
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
