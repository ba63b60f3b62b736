//! Traffic by the minute.

use adit_store::{Carried, PortTraffic, TrafficMinute, UnixMillis};

use crate::harness::{Database, join, on_every_database};

on_every_database!(a_minute_adds_up, a_port_is_its_accounts, the_old_is_pruned, who_is_gone_is_passed_over);

fn carried(bytes_in: u64, bytes_out: u64, visitors: u64) -> Carried {
    Carried { bytes_in, bytes_out, visitors }
}

fn of(account: i64, port: u16, carried: Carried) -> PortTraffic {
    PortTraffic { account, port, carried }
}

fn minute(at: i64, carried: Carried) -> TrafficMinute {
    TrafficMinute { minute: UnixMillis(at), carried }
}

async fn a_minute_adds_up(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    store.add_traffic(UnixMillis(60_000), &[of(alice.id, 10_080, carried(1, 2, 3))]).await.unwrap();
    store.add_traffic(UnixMillis(0), &[of(alice.id, 10_080, carried(7, 7, 7))]).await.unwrap();
    store.add_traffic(UnixMillis(60_000), &[of(alice.id, 10_080, carried(10, 20, 30))]).await.unwrap();
    store.add_traffic(UnixMillis(120_000), &[]).await.unwrap();
    let store = database.open().await;
    let listed = async |since| store.list_traffic(alice.id, 10_080, UnixMillis(since)).await.unwrap();
    assert_eq!(listed(0).await, [minute(0, carried(7, 7, 7)), minute(60_000, carried(11, 22, 33))]);
    assert_eq!(listed(1).await, [minute(60_000, carried(11, 22, 33))]);
}

async fn a_port_is_its_accounts(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let rows = [
        of(alice.id, 10_080, carried(1, 1, 1)),
        of(bob.id, 10_080, carried(2, 2, 2)),
        of(alice.id, 1, carried(3, 3, 3)),
    ];
    store.add_traffic(UnixMillis(0), &rows).await.unwrap();
    assert_eq!(store.list_traffic(bob.id, 10_080, UnixMillis(0)).await.unwrap(), [minute(0, carried(2, 2, 2))]);
    assert_eq!(store.list_traffic(alice.id, 1, UnixMillis(0)).await.unwrap(), [minute(0, carried(3, 3, 3))]);
    assert!(store.list_traffic(bob.id, 1, UnixMillis(0)).await.unwrap().is_empty());
}

async fn the_old_is_pruned(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    for at in [0, 60_000, 120_000] {
        store.add_traffic(UnixMillis(at), &[of(alice.id, 1, carried(1, 1, 1))]).await.unwrap();
    }
    assert_eq!(store.prune_traffic(UnixMillis(120_000)).await.unwrap(), 2);
    assert_eq!(store.list_traffic(alice.id, 1, UnixMillis(0)).await.unwrap().len(), 1);
}

async fn who_is_gone_is_passed_over(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    store.add_traffic(UnixMillis(0), &[of(bob.id, 1, carried(5, 5, 5))]).await.unwrap();
    store.remove_account("bob").await.unwrap();
    let rows = [of(bob.id, 1, carried(1, 1, 1)), of(alice.id, 1, carried(2, 2, 2))];
    store.add_traffic(UnixMillis(0), &rows).await.unwrap();
    assert!(store.list_traffic(bob.id, 1, UnixMillis(0)).await.unwrap().is_empty());
    assert_eq!(store.list_traffic(alice.id, 1, UnixMillis(0)).await.unwrap(), [minute(0, carried(2, 2, 2))]);
}
