//! Audit events.

use adit_store::{Account, AuditAccount, AuditQuery, NewAuditEvent, Store, UnixMillis};

use crate::harness::{Database, join, on_every_database};

on_every_database!(
    an_event_is_found_as_it_was_appended,
    the_newest_come_first,
    filters_narrow_and_combine,
    a_text_is_found_wherever_it_stands,
    pages_join_without_gap_or_overlap,
    an_event_outlives_its_account,
    pruning_takes_the_old_and_leaves_the_rest,
    many_are_pruned_in_steps,
);

fn event(at: i64, kind: &str) -> NewAuditEvent {
    NewAuditEvent {
        at: UnixMillis(at),
        kind: kind.to_owned(),
        account: None,
        session: None,
        source: None,
        detail: "{}".to_owned(),
    }
}

fn of(account: &Account, event: NewAuditEvent) -> NewAuditEvent {
    NewAuditEvent { account: Some(AuditAccount { id: account.id, name: account.name.clone() }), ..event }
}

async fn times(store: &Store, query: AuditQuery) -> Vec<i64> {
    store.list_audit_events(query).await.unwrap().into_iter().map(|one| one.event.at.0).collect()
}

async fn an_event_is_found_as_it_was_appended(database: Database) {
    let store = database.open().await;
    let full = NewAuditEvent {
        at: UnixMillis(1_700_000_000_123),
        kind: "login-refused".to_owned(),
        account: Some(AuditAccount { id: 12, name: "alice".to_owned() }),
        session: Some(u64::MAX),
        source: Some("[2001:db8::1]:50022".parse().unwrap()),
        detail: r#"{"user":"\u001b[31m"}"#.to_owned(),
    };
    let first = store.append_audit_event(full.clone()).await.unwrap();
    let bare = event(1_700_000_000_124, "");
    let second = store.append_audit_event(bare.clone()).await.unwrap();
    assert!(second > first);
    let listed = database.open().await.list_audit_events(AuditQuery::default()).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|one| (one.id, one.event)).collect();
    assert_eq!(listed, [(second, bare), (first, full)]);
}

async fn the_newest_come_first(database: Database) {
    let store = database.open().await;
    store.append_audit_events(vec![]).await.unwrap();
    store.append_audit_events(vec![event(30, "a"), event(10, "b"), event(30, "c")]).await.unwrap();
    store.append_audit_event(event(20, "d")).await.unwrap();
    let listed = store.list_audit_events(AuditQuery::default()).await.unwrap();
    let kinds: Vec<_> = listed.iter().map(|one| one.event.kind.as_str()).collect();
    assert_eq!(kinds, ["c", "a", "d", "b"], "by time; of one time, the later appended first");
}

async fn filters_narrow_and_combine(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    store
        .append_audit_events(vec![
            of(&alice, event(1, "login")),
            of(&bob, event(2, "login")),
            of(&alice, event(3, "kick")),
            event(4, "login"),
            of(&alice, event(5, "login")),
        ])
        .await
        .unwrap();
    let all = AuditQuery::default;
    let login = || Some("login".to_owned());
    assert_eq!(times(&store, all()).await, [5, 4, 3, 2, 1]);
    assert_eq!(times(&store, AuditQuery { limit: 2, ..all() }).await, [5, 4]);
    assert_eq!(times(&store, AuditQuery { limit: 0, ..all() }).await, [0; 0]);
    assert_eq!(times(&store, AuditQuery { account: Some(alice.id), ..all() }).await, [5, 3, 1]);
    assert_eq!(times(&store, AuditQuery { kind: login(), ..all() }).await, [5, 4, 2, 1]);
    assert_eq!(times(&store, AuditQuery { since: Some(UnixMillis(3)), ..all() }).await, [5, 4, 3]);
    let named = |name: &str| AuditQuery { account_name: Some(name.to_owned()), ..all() };
    assert_eq!(times(&store, named("alice")).await, [5, 3, 1]);
    assert_eq!(times(&store, AuditQuery { kind: login(), ..named("bob") }).await, [2]);
    assert_eq!(times(&store, AuditQuery { account: Some(alice.id), ..named("bob") }).await, [0; 0]);
    let both = AuditQuery { account: Some(alice.id), kind: login(), ..all() };
    assert_eq!(times(&store, both.clone()).await, [5, 1]);
    assert_eq!(times(&store, AuditQuery { since: Some(UnixMillis(2)), ..both }).await, [5]);
    assert_eq!(times(&store, AuditQuery { kind: Some("log%".to_owned()), ..all() }).await, [0; 0]);
}

async fn a_text_is_found_wherever_it_stands(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let from = NewAuditEvent { source: Some("192.0.2.7:5000".parse().unwrap()), ..event(2, "login") };
    let told = NewAuditEvent { detail: r#"{"port":10080,"rate":"5%"}"#.to_owned(), ..event(3, "kick") };
    store.append_audit_events(vec![of(&alice, event(1, "login")), from, told]).await.unwrap();
    let text = |text: &str| AuditQuery { text: Some(text.to_owned()), ..AuditQuery::default() };
    assert_eq!(times(&store, text("lic")).await, [1]);
    assert_eq!(times(&store, text("192.0.2.7")).await, [2]);
    assert_eq!(times(&store, text("10080")).await, [3]);
    assert_eq!(times(&store, text("5%")).await, [3]);
    assert_eq!(times(&store, text("1%0")).await, [0; 0], "no pattern of its own");
    assert_eq!(times(&store, AuditQuery { kind: Some("login".to_owned()), ..text("10080") }).await, [0; 0]);
    assert_eq!(times(&store, text("")).await, [3, 2, 1]);
}

async fn pages_join_without_gap_or_overlap(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    // Many of one time, and appended out of order: the page border must fall right all the same.
    let events = (0..50).map(|n| {
        let one = event([7, 3, 7, 9, 3][n % 5], "login");
        if n % 3 == 0 { of(&alice, one) } else { one }
    });
    store.append_audit_events(events.collect()).await.unwrap();
    for account in [None, Some(alice.id)] {
        let whole = store.list_audit_events(AuditQuery { account, ..AuditQuery::default() }).await.unwrap();
        let mut joined = Vec::new();
        loop {
            let before = joined.last().map(|last: &adit_store::AuditEvent| last.id);
            let query = AuditQuery { account, before, limit: 7, ..AuditQuery::default() };
            let page = store.list_audit_events(query).await.unwrap();
            if page.is_empty() {
                break;
            }
            joined.extend(page);
        }
        assert_eq!(joined, whole);
        assert_eq!(whole.len(), if account.is_some() { 17 } else { 50 });
    }
    let unknown = AuditQuery { before: Some(i64::MAX), ..AuditQuery::default() };
    assert_eq!(times(&store, unknown).await, [0; 0]);
}

async fn an_event_outlives_its_account(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    store.append_audit_event(of(&alice, event(1, "login"))).await.unwrap();
    store.remove_account("alice").await.unwrap();
    let newcomer = join(&store, "alice").await;
    let listed = store.list_audit_events(AuditQuery { account: Some(alice.id), ..AuditQuery::default() }).await;
    assert_eq!(listed.unwrap()[0].event.account, Some(AuditAccount { id: alice.id, name: "alice".to_owned() }));
    assert_eq!(times(&store, AuditQuery { account: Some(newcomer.id), ..AuditQuery::default() }).await, [0; 0]);
}

async fn pruning_takes_the_old_and_leaves_the_rest(database: Database) {
    let store = database.open().await;
    store.append_audit_events(vec![event(5, "a"), event(1, "b"), event(3, "c"), event(2, "d")]).await.unwrap();
    let highest = store.append_audit_event(event(0, "e")).await.unwrap();
    assert_eq!(store.prune_audit_events(UnixMillis(3)).await.unwrap(), 3);
    assert_eq!(times(&store, AuditQuery::default()).await, [5, 3]);
    assert_eq!(store.prune_audit_events(UnixMillis(3)).await.unwrap(), 0);
    assert!(store.append_audit_event(event(6, "f")).await.unwrap() > highest, "a pruned id does not come back");
}

async fn many_are_pruned_in_steps(database: Database) {
    let store = database.open().await;
    store.append_audit_events((0..4_500).map(|at| event(at, "login")).collect()).await.unwrap();
    assert_eq!(store.prune_audit_events(UnixMillis(4_499)).await.unwrap(), 4_499);
    assert_eq!(times(&store, AuditQuery::default()).await, [4_499]);
}
