//! Stories about who gets a port, and when it moves.

use std::time::Instant;

use adit_core::{
    AccountId, ForwardRequest, Port, PortRules, PortTable, PortWish, RefuseReason, RequestId, SessionId, Takeover,
};

use crate::host::{ALICE, BOB, Peer, TestHost, port, range, seconds};

#[test]
fn the_range_includes_its_ends_and_nothing_beyond() {
    let mut host = TestHost::new();
    let alice = host.connect(ALICE);
    assert_eq!(host.forward(alice, 10_000), Ok(port(10_000)));
    assert_eq!(host.forward(alice, 60_000), Ok(port(60_000)));
    for outside in [80, 9_999, 60_001, 65_535] {
        let reason = RefuseReason::OutOfRange { range: range("10000-60000") };
        assert_eq!(host.forward(alice, outside), Err(reason));
    }
    assert!(host.is_listening(10_000), "a refused forward leaves the others alone");
}

#[test]
fn a_port_of_another_account_is_refused_without_a_probe() {
    let mut host = TestHost::with_takeover(Takeover::Always);
    let alice = host.connect(ALICE);
    let bob = host.connect(BOB);
    host.forward(alice, 10_080).unwrap();
    assert_eq!(host.forward(bob, 10_080), Err(RefuseReason::HeldByOtherAccount));
    assert_eq!(host.holder(10_080), Some(alice));
    assert!(host.probes.is_empty() && host.evictions.is_empty());
}

#[test]
fn a_cancelled_port_is_free_at_once() {
    let mut host = TestHost::new();
    let alice = host.connect(ALICE);
    let bob = host.connect(BOB);
    host.forward(alice, 10_080).unwrap();
    host.cancel(10_080);
    assert_eq!(host.forward(bob, 10_080), Ok(port(10_080)));
}

#[test]
fn a_session_that_ends_frees_all_its_ports() {
    let mut host = TestHost::new();
    let alice = host.connect(ALICE);
    for number in 10_001..=10_020 {
        host.forward(alice, number).unwrap();
    }
    assert_eq!(host.table.holdings().count(), 20);
    host.cut(alice);
    assert!(host.table.is_empty());
}

#[test]
fn the_same_port_twice_in_one_session_is_refused() {
    let mut host = TestHost::with_takeover(Takeover::Always);
    let alice = host.connect(ALICE);
    host.forward(alice, 10_080).unwrap();
    assert_eq!(host.forward(alice, 10_080), Err(RefuseReason::AlreadyYours));
    assert_eq!(host.holder(10_080), Some(alice));
}

#[test]
fn a_member_who_comes_back_gets_the_port_of_a_lost_session() {
    let mut host = TestHost::new();
    let lost = host.connect_peer(ALICE, Peer::Silent);
    host.forward(lost, 10_080).unwrap();
    host.advance(seconds(60));

    let back = host.connect(ALICE);
    let request = host.ask(back, 10_080);
    assert_eq!(host.probes, [(lost, port(10_080))]);
    host.advance(seconds(2));
    assert_eq!(host.answer(request), None);
    host.advance(seconds(1));
    assert_eq!(host.evictions, [(lost, port(10_080))]);
    assert_eq!(host.answer(request), Some(Ok(port(10_080))));

    let holding = host.table.holder(port(10_080)).unwrap();
    assert_eq!((holding.session, holding.account), (back, ALICE));
    assert_eq!(host.since_start(holding.since), seconds(63));
}

#[test]
fn a_living_session_keeps_its_port() {
    let mut host = TestHost::new();
    let first = host.connect(ALICE);
    host.forward(first, 10_080).unwrap();
    host.advance(seconds(60));
    let second = host.connect(ALICE);
    let Err(RefuseReason::HeldByYourSession { session, since }) = host.forward(second, 10_080) else {
        panic!("a living session lost its port");
    };
    assert_eq!((session, host.since_start(since)), (first, seconds(0)));
    assert_eq!(host.table.poll_timeout(), None, "the probe is over");
    host.advance(seconds(60));
    assert_eq!(host.holder(10_080), Some(first));
    assert!(host.evictions.is_empty());
}

#[test]
fn a_slow_sign_of_life_still_saves_the_port() {
    let mut host = TestHost::new();
    let slow = host.connect_peer(ALICE, Peer::Silent);
    host.forward(slow, 10_080).unwrap();
    let second = host.connect(ALICE);
    let request = host.ask(second, 10_080);
    host.advance(seconds(2));
    host.hear(slow);
    host.advance(seconds(60));
    assert!(matches!(host.answer(request), Some(Err(RefuseReason::HeldByYourSession { .. }))));
    assert_eq!(host.holder(10_080), Some(slow));
}

#[test]
fn a_holder_that_ends_while_it_is_probed_makes_way() {
    let mut host = TestHost::new();
    let lost = host.connect_peer(ALICE, Peer::Silent);
    host.forward(lost, 10_080).unwrap();
    let back = host.connect(ALICE);
    let request = host.ask(back, 10_080);
    host.cut(lost);
    assert_eq!(host.answer(request), Some(Ok(port(10_080))));
    assert!(host.evictions.is_empty());
    assert_eq!(host.table.poll_timeout(), None);
}

#[test]
fn a_port_whose_session_is_just_closing_is_worth_the_wait() {
    let mut host = TestHost::with_takeover(Takeover::Never);
    let first = host.connect(ALICE);
    host.forward(first, 10_080).unwrap();
    let second = host.connect(ALICE);
    assert!(matches!(host.forward(second, 10_080), Err(RefuseReason::HeldByYourSession { .. })));

    host.end_but_keep_listeners(first);
    let request = host.ask(second, 10_080);
    assert_eq!(host.answer(request), None);
    assert!(host.probes.is_empty(), "nobody is there to answer");
    host.close_listeners(first);
    assert_eq!(host.answer(request), Some(Ok(port(10_080))));
}

#[test]
fn a_newcomer_that_leaves_stops_the_probe() {
    let mut host = TestHost::new();
    let silent = host.connect_peer(ALICE, Peer::Silent);
    host.forward(silent, 10_080).unwrap();
    let hasty = host.connect(ALICE);
    host.ask(hasty, 10_080);
    host.cut(hasty);
    assert_eq!(host.table.poll_timeout(), None);
    host.advance(seconds(60));
    assert_eq!(host.holder(10_080), Some(silent), "nobody wants the port any more");
}

#[test]
fn of_two_that_wait_the_first_gets_the_port() {
    let mut host = TestHost::new();
    let lost = host.connect_peer(ALICE, Peer::Silent);
    host.forward(lost, 10_080).unwrap();
    let [second, third] = [host.connect(ALICE), host.connect(ALICE)];
    let from_second = host.ask(second, 10_080);
    host.advance(seconds(1));
    let from_third = host.ask(third, 10_080);
    assert_eq!(host.probes.len(), 1, "one probe serves both");
    host.advance(seconds(2));
    assert_eq!(host.answer(from_second), Some(Ok(port(10_080))));
    let Some(Err(RefuseReason::HeldByYourSession { session, .. })) = host.answer(from_third) else {
        panic!("the third session was not refused");
    };
    assert_eq!(session, second);
}

#[test]
fn when_the_first_that_waits_leaves_the_next_gets_the_port() {
    let mut host = TestHost::new();
    let lost = host.connect_peer(ALICE, Peer::Silent);
    host.forward(lost, 10_080).unwrap();
    let [second, third] = [host.connect(ALICE), host.connect(ALICE)];
    host.ask(second, 10_080);
    let from_third = host.ask(third, 10_080);
    host.cut(second);
    host.advance(seconds(3));
    assert_eq!(host.answer(from_third), Some(Ok(port(10_080))));
}

#[test]
fn always_means_at_once() {
    let mut host = TestHost::with_takeover(Takeover::Always);
    let first = host.connect(ALICE);
    host.forward(first, 10_080).unwrap();
    let second = host.connect(ALICE);
    assert_eq!(host.forward(second, 10_080), Ok(port(10_080)));
    assert_eq!(host.evictions, [(first, port(10_080))]);
    assert!(host.probes.is_empty());
}

#[test]
fn a_port_moves_once_in_ten_seconds() {
    let mut host = TestHost::with_takeover(Takeover::Always);
    let first = host.connect(ALICE);
    host.forward(first, 10_080).unwrap();
    let second = host.connect(ALICE);
    host.forward(second, 10_080).unwrap();
    host.advance(seconds(4));

    let third = host.connect(ALICE);
    let pause = RefuseReason::TakeoverPause { remaining: seconds(6) };
    assert_eq!(host.forward(third, 10_080), Err(pause));
    assert_eq!(pause.to_string(), "it has just moved to another of your sessions; try again in 6 s");
    host.advance(seconds(6));
    assert_eq!(host.forward(third, 10_080), Ok(port(10_080)));
}

#[test]
fn the_pause_outlives_a_release_in_between() {
    let mut host = TestHost::with_takeover(Takeover::Always);
    let first = host.connect(ALICE);
    host.forward(first, 10_080).unwrap();
    let second = host.connect(ALICE);
    host.forward(second, 10_080).unwrap();
    host.cut(second);
    let third = host.connect(ALICE);
    assert_eq!(host.forward(third, 10_080), Ok(port(10_080)), "a free port is no takeover");
    let fourth = host.connect(ALICE);
    assert_eq!(host.forward(fourth, 10_080), Err(RefuseReason::TakeoverPause { remaining: seconds(10) }));
}

#[test]
fn an_account_may_have_twenty_forwards() {
    let mut host = TestHost::new();
    let [one, two] = [host.connect(ALICE), host.connect(ALICE)];
    for number in 10_001..=10_010 {
        host.forward(one, number).unwrap();
        host.forward(two, number + 100).unwrap();
    }
    let full = RefuseReason::TooManyForwards { limit: 20 };
    assert_eq!(host.forward(one, 20_000), Err(full));
    assert_eq!(host.forward(two, 0), Err(full));
    let bob = host.connect(BOB);
    assert_eq!(host.forward(bob, 20_000), Ok(port(20_000)), "each account has its own");
    host.cancel(10_001);
    assert_eq!(host.forward(one, 20_001), Ok(port(20_001)));
}

#[test]
fn a_tier_has_its_own_limit_and_zero_is_none() {
    let mut host = TestHost::new();
    let alice = host.connect(ALICE);
    host.forward(alice, 10_001).unwrap();
    let request = host.ask_with(alice, 10_002, |request| request.limit = Some(1));
    assert_eq!(host.answer(request), Some(Err(RefuseReason::TooManyForwards { limit: 1 })));
    for number in 11_000..11_100 {
        let request = host.ask_with(alice, number, |request| request.limit = Some(0));
        assert_eq!(host.answer(request), Some(Ok(port(number))));
    }
}

#[test]
fn an_account_at_its_limit_can_still_come_back() {
    let mut host = TestHost::new();
    let lost = host.connect_peer(ALICE, Peer::Silent);
    for number in 10_001..=10_020 {
        host.forward(lost, number).unwrap();
    }
    let back = host.connect(ALICE);
    let requests: Vec<_> = (10_001..=10_020).map(|number| host.ask(back, number)).collect();
    host.advance(seconds(3));
    for (request, number) in requests.into_iter().zip(10_001..) {
        assert_eq!(host.answer(request), Some(Ok(port(number))));
    }
    assert_eq!(host.forward(back, 10_021), Err(RefuseReason::TooManyForwards { limit: 20 }));
}

#[test]
fn an_account_above_a_lowered_limit_may_not_move_its_ports() {
    let mut host = TestHost::with_takeover(Takeover::Always);
    let first = host.connect(ALICE);
    host.forward(first, 10_001).unwrap();
    host.forward(first, 10_002).unwrap();
    let second = host.connect(ALICE);
    let request = host.ask_with(second, 10_001, |request| request.limit = Some(1));
    assert_eq!(host.answer(request), Some(Err(RefuseReason::TooManyForwards { limit: 1 })));
    assert!(host.evictions.is_empty());
}

#[test]
fn a_key_can_be_confined() {
    let mut host = TestHost::new();
    let alice = host.connect(ALICE);
    let confined = |text: &str| {
        let allowed = Some(range(text));
        move |request: &mut ForwardRequest| request.allowed = allowed
    };
    let outside = host.ask_with(alice, 10_100, confined("10000-10099"));
    let reason = RefuseReason::OutsideKeyRange { range: range("10000-10099") };
    assert_eq!(host.answer(outside), Some(Err(reason)));
    let inside = host.ask_with(alice, 10_099, confined("10000-10099"));
    assert_eq!(host.answer(inside), Some(Ok(port(10_099))));
    let chosen = host.ask_with(alice, 0, confined("9000-10000"));
    assert_eq!(host.answer(chosen), Some(Ok(port(10_000))), "only where both ranges meet");
    let nowhere = host.ask_with(alice, 0, confined("1-9999"));
    assert_eq!(host.answer(nowhere), Some(Err(RefuseReason::OutsideKeyRange { range: range("1-9999") })));
    let beyond = host.ask_with(alice, 9_000, confined("9000-10000"));
    assert!(matches!(host.answer(beyond), Some(Err(RefuseReason::OutOfRange { .. }))));
}

#[test]
fn who_leaves_the_choice_to_us_finds_the_same_port_again() {
    let mut host = TestHost::new();
    let first = host.connect(ALICE);
    let chosen: Vec<Port> = (0..3).map(|_| host.forward(first, 0).unwrap()).collect();
    host.cut(first);
    let bob = host.connect(BOB);
    assert!(!chosen.contains(&host.forward(bob, 0).unwrap()));
    let back = host.connect(ALICE);
    let again: Vec<Port> = (0..3).map(|_| host.forward(back, 0).unwrap()).collect();
    assert_eq!(chosen, again);
}

#[test]
fn every_port_can_be_given_out() {
    let mut host = TestHost::with_ports("10000-10009");
    let alice = host.connect(ALICE);
    let mut chosen: Vec<Port> = (0..10).map(|_| host.forward(alice, 0).unwrap()).collect();
    chosen.sort();
    assert!(chosen.into_iter().eq(range("10000-10009").iter()));
    assert_eq!(host.forward(alice, 0), Err(RefuseReason::RangeFull));
    host.cancel(10_004);
    assert_eq!(host.forward(alice, 0), Ok(port(10_004)));
}

#[test]
fn the_last_free_port_of_fifty_thousand_is_found() {
    let rules = PortRules { forwards_per_account: 0, ..PortRules::default() };
    let mut host = TestHost::with_rules(rules);
    let session = host.connect(ALICE);
    for _ in 0..50_001 {
        host.forward(session, 0).unwrap();
    }
    for account in 2..1_000 {
        let stranger = host.connect(AccountId(account));
        assert_eq!(host.forward(stranger, 0), Err(RefuseReason::RangeFull));
    }
    host.cancel(33_333);
    let stranger = host.connect(BOB);
    assert_eq!(host.forward(stranger, 0), Ok(port(33_333)));
}

#[test]
fn a_port_that_another_program_holds_is_refused_and_free_again() {
    let mut host = TestHost::new();
    host.held_by_system.insert(port(10_080));
    let alice = host.connect(ALICE);
    assert_eq!(host.forward(alice, 10_080), Err(RefuseReason::InUseBySystem));
    assert!(host.table.is_empty());
    host.held_by_system.clear();
    assert_eq!(host.forward(alice, 10_080), Ok(port(10_080)));
}

#[test]
fn a_choice_of_ours_goes_around_other_programs() {
    for free in 10_000..=10_003 {
        let mut host = TestHost::with_ports("10000-10003");
        host.held_by_system.extend((10_000..=10_003).filter(|&number| number != free).map(port));
        let alice = host.connect(ALICE);
        assert_eq!(host.forward(alice, 0), Ok(port(free)));
        assert_eq!(host.table.holdings().count(), 1);
    }
}

#[test]
fn the_search_around_other_programs_is_bounded() {
    let mut host = TestHost::new();
    host.held_by_system.extend(range("10000-60000").iter());
    let alice = host.connect(ALICE);
    assert_eq!(host.forward(alice, 0), Err(RefuseReason::InUseBySystem));
    assert_eq!(host.binds_tried, 16);
    assert!(host.table.is_empty());
}

#[test]
fn a_lease_of_another_table_changes_nothing() {
    let [mut here, mut there] = [TestHost::new(), TestHost::new()];
    let [alice, stranger] = [here.connect(ALICE), there.connect(ALICE)];
    there.forward(stranger, 10_080).unwrap();
    there.cancel(10_080);
    there.forward(stranger, 10_080).unwrap();
    here.forward(alice, 10_080).unwrap();
    here.give_back(there.take_lease(10_080));
    assert_eq!(here.holder(10_080), Some(alice));
}

#[test]
fn fences_only_grow() {
    let mut host = TestHost::new();
    let alice = host.connect(ALICE);
    let mut last = 0;
    for _ in 0..5 {
        host.forward(alice, 10_080).unwrap();
        let fence = host.table.holder(port(10_080)).unwrap().fence;
        assert!(fence > last);
        last = fence;
        host.cancel(10_080);
    }
}

#[test]
fn every_reason_is_a_sentence_for_the_member() {
    let reasons = [
        RefuseReason::OutOfRange { range: range("10000-60000") },
        RefuseReason::OutsideKeyRange { range: range("10000-10099") },
        RefuseReason::TooManyForwards { limit: 20 },
        RefuseReason::HeldByYourSession { session: SessionId(7), since: Instant::now() },
    ];
    assert_eq!(
        reasons.map(|reason| reason.to_string()),
        [
            "this jump host gives out ports 10000-60000",
            "your key may only use ports 10000-10099",
            "your account has its 20 forwards in use; close one first",
            "your other session 7 holds it; end that session or choose another port",
        ]
    );
}

/// Ports of outgoing connections lie next to each other by the hundred.
#[test]
fn a_run_of_ports_that_others_use_is_left_behind() {
    let mut table = PortTable::new(PortRules::default());
    let now = Instant::now();
    let any = ForwardRequest {
        request: RequestId(1),
        session: SessionId(1),
        account: AccountId(1),
        port: None,
        allowed: None,
        limit: None,
    };
    table.handle_forward_request(any, now);
    let mut home = None;
    loop {
        let lease = match table.poll_output() {
            Some(PortWish::Listen { lease, .. }) => lease,
            other => unreachable!("it was given up: {other:?}"),
        };
        let port = lease.port().get();
        let home = *home.get_or_insert(port);
        if !(home..home + 100).contains(&port) {
            break;
        }
        table.handle_listen_failed(lease, now);
    }
}
