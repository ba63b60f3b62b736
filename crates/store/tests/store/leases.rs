//! Leases and fences. A lease of no length has run out when it is granted, so no story waits for the clock.

use std::time::Duration;

use adit_store::{AcquireError, LeaseRequest, RenewError};

use crate::harness::{Database, LONG, ask, join, on_every_database};

on_every_database!(
    a_free_port_is_granted_for_the_time_asked,
    a_held_port_is_refused_and_the_holder_named,
    a_lease_that_ran_out_can_be_taken,
    fences_rise_over_every_way_to_get_a_port,
    a_refusal_spends_no_fence,
    an_old_fence_moves_nothing,
    a_lease_nobody_took_can_be_renewed,
    a_lost_sessions_port_passes_on_in_one_step,
    a_node_that_starts_clears_what_it_left,
    a_node_renews_all_it_has_at_once,
    a_lease_needs_an_account,
    the_largest_numbers_survive,
    of_a_hundred_who_ask_one_is_granted,
    racing_grants_never_share_a_fence,
);

async fn a_free_port_is_granted_for_the_time_asked(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let before = store.now().await.unwrap();
    let lease = store.acquire_lease(ask(&alice, 10_000, LONG)).await.unwrap();
    assert_eq!((lease.port, lease.account, lease.node.as_str(), lease.session), (10_000, alice.id, "node-a", 7));
    assert!(before <= lease.acquired_at && lease.acquired_at <= store.now().await.unwrap());
    assert_eq!(lease.expires_at, lease.acquired_at.after(LONG));
    assert_eq!(database.open().await.list_leases().await.unwrap(), [lease]);
}

async fn a_held_port_is_refused_and_the_holder_named(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let lease = store.acquire_lease(ask(&alice, 10_000, LONG)).await.unwrap();
    for who in [&bob, &alice] {
        let refused = store.acquire_lease(ask(who, 10_000, LONG)).await.unwrap_err();
        assert!(matches!(&refused, AcquireError::HeldBy { held_by } if *held_by == lease), "{refused:?}");
    }
    store.acquire_lease(ask(&bob, 10_001, LONG)).await.unwrap();
}

async fn a_lease_that_ran_out_can_be_taken(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let short = store.acquire_lease(ask(&alice, 10_000, Duration::ZERO)).await.unwrap();
    assert!(store.list_leases().await.unwrap().is_empty(), "it has run out");
    let taken = store.acquire_lease(ask(&bob, 10_000, LONG)).await.unwrap();
    assert!(taken.account == bob.id && taken.fence > short.fence);
    let lost = store.renew_lease(short.fence, LONG).await.unwrap_err();
    assert!(matches!(lost, RenewError::Lost { fence } if fence == short.fence), "{lost:?}");
    assert_eq!(store.list_leases().await.unwrap(), [taken]);
}

async fn fences_rise_over_every_way_to_get_a_port(database: Database) {
    let (store, other) = (database.open().await, database.open().await);
    let alice = join(&store, "alice").await;
    let mut fences = Vec::new();
    for round in 0..10 {
        let through = if round % 2 == 0 { &store } else { &other };
        let free = through.acquire_lease(ask(&alice, 10_000 + round, LONG)).await.unwrap();
        let replacing = LeaseRequest { replacing: Some(free.fence), ..ask(&alice, 10_000 + round, LONG) };
        let replaced = other.acquire_lease(replacing).await.unwrap();
        assert!(store.release_lease(replaced.fence).await.unwrap());
        let released = other.acquire_lease(ask(&alice, 10_000 + round, Duration::ZERO)).await.unwrap();
        let ran_out = store.acquire_lease(ask(&alice, 10_000 + round, LONG)).await.unwrap();
        fences.extend([free.fence, replaced.fence, released.fence, ran_out.fence]);
        store.release_node_leases("node-a").await.unwrap();
    }
    assert!(fences.is_sorted_by(|earlier, later| earlier < later), "{fences:?}");
}

async fn a_refusal_spends_no_fence(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let first = store.acquire_lease(ask(&alice, 10_000, LONG)).await.unwrap();
    for _ in 0..5 {
        store.acquire_lease(ask(&alice, 10_000, LONG)).await.unwrap_err();
    }
    let second = store.acquire_lease(ask(&alice, 10_001, LONG)).await.unwrap();
    assert_eq!(second.fence.get(), first.fence.get() + 1);
}

async fn an_old_fence_moves_nothing(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let old = store.acquire_lease(ask(&alice, 10_000, Duration::ZERO)).await.unwrap();
    let held = store.acquire_lease(ask(&bob, 10_000, LONG)).await.unwrap();

    assert!(!store.release_lease(old.fence).await.unwrap());
    store.renew_lease(old.fence, LONG).await.unwrap_err();
    let replacing = LeaseRequest { replacing: Some(old.fence), ..ask(&alice, 10_000, LONG) };
    let refused = store.acquire_lease(replacing).await.unwrap_err();
    assert!(matches!(&refused, AcquireError::HeldBy { held_by } if *held_by == held), "{refused:?}");
    assert_eq!(store.list_leases().await.unwrap(), std::slice::from_ref(&held));

    assert!(store.release_lease(held.fence).await.unwrap());
    assert!(!store.release_lease(held.fence).await.unwrap(), "a second time there is nothing to release");
    assert!(store.list_leases().await.unwrap().is_empty());
}

async fn a_lease_nobody_took_can_be_renewed(database: Database) {
    let store = database.open().await;
    let (alice, bob) = (join(&store, "alice").await, join(&store, "bob").await);
    let lease = store.acquire_lease(ask(&alice, 10_000, Duration::ZERO)).await.unwrap();
    let before = store.now().await.unwrap();
    let until = store.renew_lease(lease.fence, LONG).await.unwrap();
    assert!(before.after(LONG) <= until);
    let expected = adit_store::Lease { expires_at: until, ..lease };
    assert_eq!(store.list_leases().await.unwrap(), std::slice::from_ref(&expected));
    let refused = store.acquire_lease(ask(&bob, 10_000, LONG)).await.unwrap_err();
    assert!(matches!(&refused, AcquireError::HeldBy { held_by } if *held_by == expected), "{refused:?}");
}

async fn a_lost_sessions_port_passes_on_in_one_step(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let lost = store.acquire_lease(ask(&alice, 10_000, LONG)).await.unwrap();
    let elsewhere = store.acquire_lease(ask(&alice, 10_001, LONG)).await.unwrap();

    let wrong = LeaseRequest { replacing: Some(elsewhere.fence), ..ask(&alice, 10_000, LONG) };
    store.acquire_lease(wrong).await.expect_err("a fence opens its own port only");
    let right = LeaseRequest { session: 8, replacing: Some(lost.fence), ..ask(&alice, 10_000, LONG) };
    let passed = store.acquire_lease(right).await.unwrap();
    assert!(passed.session == 8 && passed.fence > elsewhere.fence);
    assert_eq!(store.list_leases().await.unwrap(), [passed, elsewhere]);
}

async fn a_node_that_starts_clears_what_it_left(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    store.acquire_lease(ask(&alice, 10_000, LONG)).await.unwrap();
    store.acquire_lease(ask(&alice, 10_001, Duration::ZERO)).await.unwrap();
    let elsewhere = LeaseRequest { node: "node-b".to_owned(), ..ask(&alice, 10_002, LONG) };
    let elsewhere = store.acquire_lease(elsewhere).await.unwrap();
    assert_eq!(store.release_node_leases("node-a").await.unwrap(), 2);
    assert_eq!(store.release_node_leases("node-a").await.unwrap(), 0);
    assert_eq!(store.list_leases().await.unwrap(), [elsewhere]);
}

async fn a_node_renews_all_it_has_at_once(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let second = store.acquire_lease(ask(&alice, 10_001, Duration::ZERO)).await.unwrap();
    let first = store.acquire_lease(ask(&alice, 10_000, Duration::ZERO)).await.unwrap();
    let elsewhere = LeaseRequest { node: "node-b".to_owned(), ..ask(&alice, 10_002, Duration::ZERO) };
    store.acquire_lease(elsewhere).await.unwrap();

    let renewed = store.renew_node_leases("node-a", LONG).await.unwrap();
    let fences: Vec<_> = renewed.iter().map(|lease| lease.fence).collect();
    assert_eq!(fences, [first.fence, second.fence]);
    assert_eq!(store.list_leases().await.unwrap(), renewed, "those of the other node have run out");
    assert!(store.renew_node_leases("node-c", LONG).await.unwrap().is_empty());
}

async fn a_lease_needs_an_account(database: Database) {
    let store = database.open().await;
    let mut nobody = join(&store, "alice").await;
    nobody.id += 1;
    let refused = store.acquire_lease(ask(&nobody, 10_000, LONG)).await.unwrap_err();
    assert!(matches!(refused, AcquireError::NoSuchAccount { account } if account == nobody.id), "{refused:?}");
    assert!(store.list_leases().await.unwrap().is_empty());
}

async fn the_largest_numbers_survive(database: Database) {
    let store = database.open().await;
    let alice = join(&store, "alice").await;
    let largest = LeaseRequest { session: u64::MAX, ..ask(&alice, u16::MAX, Duration::MAX) };
    let lease = store.acquire_lease(largest).await.unwrap();
    assert_eq!((lease.session, lease.port), (u64::MAX, u16::MAX));
    assert_eq!(store.list_leases().await.unwrap(), [lease]);
}

async fn of_a_hundred_who_ask_one_is_granted(database: Database) {
    let handles = [database.open().await, database.open().await];
    let alice = join(&handles[0], "alice").await;
    for port in 10_000..10_005 {
        let asking: Vec<_> = (0..100_u64)
            .map(|session| {
                let (store, request) =
                    (handles[session as usize % 2].clone(), LeaseRequest { session, ..ask(&alice, port, LONG) });
                tokio::spawn(async move { store.acquire_lease(request).await })
            })
            .collect();
        let (mut granted, mut refused) = (Vec::new(), Vec::new());
        for answer in asking {
            match answer.await.unwrap() {
                Ok(lease) => granted.push(lease),
                Err(AcquireError::HeldBy { held_by }) => refused.push(held_by),
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!((granted.len(), refused.len()), (1, 99));
        assert!(refused.iter().all(|holder| *holder == granted[0]), "all were told the same holder");
    }
}

async fn racing_grants_never_share_a_fence(database: Database) {
    let handles = [database.open().await, database.open().await];
    let alice = join(&handles[0], "alice").await;
    let asking: Vec<_> = (0..100_usize)
        .map(|turn| {
            let (store, request) = (handles[turn % 2].clone(), ask(&alice, 10_000, Duration::ZERO));
            tokio::spawn(async move { store.acquire_lease(request).await.unwrap() })
        })
        .collect();
    let mut granted = Vec::new();
    for answer in asking {
        granted.push(answer.await.unwrap());
    }
    granted.sort_by_key(|lease| lease.fence);
    assert!(granted.is_sorted_by(|earlier, later| earlier.fence < later.fence));
    assert!(granted.is_sorted_by_key(|lease| lease.acquired_at), "a later fence has a later time");
    let last = handles[0].remove_account("alice").await.unwrap().leases;
    assert_eq!(last, granted[99..], "the highest fence has the port");
}
