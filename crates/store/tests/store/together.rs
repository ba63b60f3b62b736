//! Many at once, callers that go away, and the end.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use adit_store::{AuditQuery, NewAuditEvent, UnixMillis};

use crate::harness::{Database, LONG, ask, join, key, on_every_database};

on_every_database!(
    two_hundred_writers_lose_nothing,
    a_directory_is_of_one_moment,
    a_dropped_call_did_all_or_nothing,
    a_closed_store_says_so,
);

fn event(kind: String) -> NewAuditEvent {
    let detail = "{}".to_owned();
    NewAuditEvent { at: UnixMillis(1), kind, account: None, session: None, source: None, detail }
}

async fn two_hundred_writers_lose_nothing(database: Database) {
    let handles = [database.open().await, database.open().await];
    let before = handles[0].generation().await.unwrap();
    let writers: Vec<_> = (0..200_u16)
        .map(|n| {
            let store = handles[usize::from(n) % 2].clone();
            tokio::spawn(async move {
                let account = join(&store, &format!("account-{n}")).await;
                store.add_key(account.id, key(&format!("key-{n}"))).await.unwrap();
                store.acquire_lease(ask(&account, 10_000 + n, LONG)).await.unwrap();
                store.append_audit_event(event(format!("event-{n}"))).await.unwrap();
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for store in &handles {
        assert_eq!(store.generation().await.unwrap(), before + 400);
        let directory = store.load_directory().await.unwrap();
        assert_eq!((directory.accounts.len(), directory.keys.len()), (200, 200));
        let ports: Vec<u16> = store.list_leases().await.unwrap().into_iter().map(|lease| lease.port).collect();
        assert_eq!(ports, (10_000..10_200).collect::<Vec<_>>());
        let everything = AuditQuery { limit: 1_000, ..AuditQuery::default() };
        assert_eq!(store.list_audit_events(everything).await.unwrap().len(), 200);
    }
}

async fn a_directory_is_of_one_moment(database: Database) {
    let (writing, reading) = (database.open().await, database.open().await);
    let before = reading.generation().await.unwrap();
    let writer = tokio::spawn(async move {
        for n in 0..60 {
            let account = join(&writing, &format!("account-{n}")).await;
            writing.add_key(account.id, key(&format!("key-{n}"))).await.unwrap();
        }
    });
    loop {
        let directory = reading.load_directory().await.unwrap();
        // Each account and each key is one change, and they alternate.
        let changes = directory.accounts.len() + directory.keys.len();
        assert_eq!(directory.generation - before, changes as i64);
        assert!((0..=1).contains(&(directory.accounts.len() - directory.keys.len())));
        if changes == 120 {
            break;
        }
    }
    writer.await.unwrap();
}

/// More often than the removal of an account wakes.
const MOST_WAKES: usize = 20;

/// Drops `call` when it wakes for the `wakes`-th time; true if it ended before.
async fn dropped_at_wake(wakes: usize, call: impl Future) -> bool {
    let mut call = pin!(call);
    let mut polled = 0;
    poll_fn(|context| {
        if polled == wakes {
            return Poll::Ready(false);
        }
        polled += 1;
        call.as_mut().poll(context).map(|_| true)
    })
    .await
}

async fn a_dropped_call_did_all_or_nothing(database: Database) {
    let (store, watcher) = (database.open().await, database.open().await);
    // How often it wakes is for the database's threads to say: they may be done with several steps before it looks.
    let (mut dropped, mut ended) = (0, 0);
    for round in 0..50 * MOST_WAKES {
        let wakes = 1 + round % MOST_WAKES;
        let name = format!("account-{round}");
        let account = join(&store, &name).await;
        store.add_key(account.id, key(&name)).await.unwrap();
        let generation = watcher.generation().await.unwrap();

        let has_ended = dropped_at_wake(wakes, store.remove_account(&name)).await;

        // A commit that was on its way may still land, but only ahead of this next write of the same handle.
        join(&store, &format!("after-{round}")).await;
        let directory = watcher.load_directory().await.unwrap();
        let account_stayed = directory.accounts.iter().any(|one| one.id == account.id);
        let key_stayed = directory.keys.iter().any(|one| one.account == account.id);
        assert_eq!(account_stayed, key_stayed, "dropped at wake {wakes}");
        assert_eq!(directory.generation - generation, if account_stayed { 1 } else { 2 }, "dropped at wake {wakes}");
        if has_ended {
            assert!(!account_stayed);
            ended += 1;
        } else {
            dropped += 1;
        }
        if dropped >= 30 && ended >= 1 {
            return;
        }
    }
    panic!("of {} calls {dropped} were dropped under way and {ended} ended", 50 * MOST_WAKES);
}

async fn a_closed_store_says_so(database: Database) {
    let store = database.open().await;
    let clone = store.clone();
    join(&store, "alice").await;
    store.close().await;
    store.close().await;
    let refused = clone.generation().await.unwrap_err();
    assert!(refused.is_closed() && !refused.is_busy(), "{refused:?}");
    let refused = clone.append_audit_event(event("late".to_owned())).await.unwrap_err();
    assert!(refused.is_closed(), "{refused:?}");
}
