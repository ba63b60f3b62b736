//! L, D and R: what arrives, what is refused, and what ends when.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_agent::link::{ForwardError, Lane, LinkEnd, LinkEvent, LinkEvents, Traffic};
use adit_agent::listener::Towards;
use adit_core::{Port, RemoteListen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::desk::open;
use crate::services::{BlackHole, Service, ask, connect, eventually, listen, loopback, ping, soon};
use crate::sshd::{Setup, Sshd, dead_port, here};

/// A link, and one tunnel on it.
async fn tunnel(sshd: &Sshd) -> (Arc<Lane>, Arc<Traffic>, LinkEvents) {
    let (link, events) = open(&sshd.hop()).await;
    let traffic = Traffic::new();
    (Arc::new(link.lane(&traffic)), traffic, events)
}

/// On one address alone: for `localhost` sshd picks a port that is free on `::1` and then finds it held on 127.0.0.1.
fn any_port() -> RemoteListen {
    RemoteListen { address: RemoteListen::LOOPBACK.into(), port: None }
}

#[tokio::test]
async fn a_local_forward_carries_both_ways_and_each_way_ends_alone() {
    let (sshd, service) = (Sshd::start().await, Service::count().await);
    let (lane, traffic, _events) = tunnel(&sshd).await;
    let listener = listen(&Towards::Target(here(service.port)), &lane);
    let mut program = connect(listener.address()).await;
    let from = program.local_addr().unwrap();
    assert_eq!(ask(&mut program, &vec![7; 3_000_000]).await.unwrap(), b"3000000 bytes");
    assert_eq!((traffic.bytes_tx(), traffic.bytes_rx()), (3_000_000, 13));
    eventually("the connection is over", || traffic.connections_now() == 0).await;
    let originator = format!("originator 127.0.0.1 port {}", from.port());
    assert!(sshd.log().contains(&originator), "the server is told who it is");
}

#[tokio::test]
async fn a_target_that_refuses_closes_the_program_and_is_told() {
    let sshd = Sshd::start().await;
    let (lane, traffic, mut events) = tunnel(&sshd).await;
    let target = here(dead_port());
    let listener = listen(&Towards::Target(target.clone()), &lane);
    let mut program = connect(listener.address()).await;
    let answer = ask(&mut program, b"anybody?").await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.is_empty()));
    let Some(LinkEvent::Refused { lane: told, target: refused, why }) = soon("an event", events.next()).await else {
        panic!("it was not told")
    };
    assert_eq!((told, refused), (lane.id(), target));
    assert!(why.contains("refused"), "{why}");
    eventually("nothing is left", || traffic.connections_now() == 0).await;
}

/// A crowd at one port leaves room on the connection for the others.
#[tokio::test]
async fn one_tunnel_gets_half_of_a_link_and_the_next_one_its_share() {
    let (sshd, service) = (Sshd::start().await, Service::echo().await);
    let mut hop = sshd.hop();
    hop.settings.limits.channels = 16;
    let (link, _events) = open(&hop).await;
    let lanes = [Traffic::new(), Traffic::new()].map(|traffic| Arc::new(link.lane(&traffic)));
    let listeners = lanes.each_ref().map(|lane| listen(&Towards::Target(here(service.port)), lane));
    let mut held = Vec::new();
    for (listener, share) in listeners.iter().zip([8, 4]) {
        for _ in 0..share {
            let mut program = connect(listener.address()).await;
            ping(&mut program).await.unwrap();
            held.push(program);
        }
        let mut beyond = connect(listener.address()).await;
        assert!(ping(&mut beyond).await.is_err());
    }
    // What ends makes room again.
    held.truncate(11);
    soon("there is room", async { while ping(&mut connect(listeners[1].address()).await).await.is_err() {} }).await;
}

async fn socks_request(proxy: &mut TcpStream, host: &str, port: u16, early: &[u8]) -> u8 {
    let mut request = vec![5, 1, 0, 5, 1, 0, 3, host.len() as u8];
    request.extend_from_slice(host.as_bytes());
    request.extend_from_slice(&port.to_be_bytes());
    request.extend_from_slice(early);
    proxy.write_all(&request).await.unwrap();
    let mut reply = [0; 12];
    soon("a reply", proxy.read_exact(&mut reply)).await.unwrap();
    assert_eq!((&reply[..3], &reply[4..]), (&[5, 0, 5][..], &[0, 1, 0, 0, 0, 0, 0, 0][..]));
    reply[3]
}

#[tokio::test]
async fn socks_names_go_to_the_server_and_what_comes_early_is_kept() {
    let (sshd, service) = (Sshd::start().await, Service::count().await);
    let (lane, _, _events) = tunnel(&sshd).await;
    let listener = listen(&Towards::Socks, &lane);
    let mut program = connect(listener.address()).await;
    assert_eq!(socks_request(&mut program, "localhost", service.port, b"early and ").await, 0);
    assert_eq!(ask(&mut program, b"late").await.unwrap(), b"14 bytes");
    assert!(sshd.log().contains(&format!("target localhost port {}", service.port)), "the server looks the name up");
}

#[tokio::test]
async fn socks_clients_are_told_what_went_wrong() {
    let sshd = Sshd::start_with(Setup { config: "PermitOpen 127.0.0.1:*", ..Setup::default() }).await;
    let (lane, _, _events) = tunnel(&sshd).await;
    let listener = listen(&Towards::Socks, &lane);
    let mut refused = connect(listener.address()).await;
    assert_eq!(socks_request(&mut refused, "127.0.0.1", dead_port(), b"").await, 5);
    assert_eq!(ask(&mut refused, b"more").await.unwrap(), b"", "the reply is not overtaken by a reset");
    let mut prohibited = connect(listener.address()).await;
    assert_eq!(socks_request(&mut prohibited, "127.0.0.2", 80, b"").await, 2);
    let mut with_password = connect(listener.address()).await;
    assert_eq!(ask(&mut with_password, &[5, 1, 2]).await.unwrap(), [5, 0xff]);
}

#[tokio::test]
async fn a_remote_forward_reaches_here_until_it_is_taken_back() {
    let (sshd, service) = (Sshd::start().await, Service::count().await);
    let (lane, traffic, mut events) = tunnel(&sshd).await;
    let port = lane.request_forward(&any_port(), &here(service.port)).await.unwrap();
    let mut visitor = connect(loopback(port.get())).await;
    assert_eq!(ask(&mut visitor, &vec![9; 1_000_000]).await.unwrap(), b"1000000 bytes");
    assert_eq!((traffic.bytes_tx(), traffic.bytes_rx()), (13, 1_000_000));
    // Its port is held now, also for us.
    let again = RemoteListen { port: Some(port), ..any_port() };
    assert_eq!(lane.request_forward(&again, &here(service.port)).await, Err(ForwardError::Refused));
    lane.cancel_forwards().await.unwrap();
    let gone = TcpStream::connect(loopback(port.get())).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::ConnectionRefused);
    // And free again.
    assert_eq!(lane.request_forward(&again, &here(dead_port())).await, Ok(port));
    let mut visitor = connect(loopback(port.get())).await;
    let answer = ask(&mut visitor, b"anybody?").await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.is_empty()), "nothing listens here");
    let told = soon("an event", events.next()).await;
    assert!(matches!(told, Some(LinkEvent::Refused { why, .. }) if why.contains("refused")));
}

#[tokio::test]
async fn answers_about_several_remote_forwards_do_not_mix() {
    let sshd = Sshd::start().await;
    let (lane, _, _events) = tunnel(&sshd).await;
    let services = [Service::echo().await, Service::count().await];
    let held = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let held = RemoteListen { port: Port::new(held.local_addr().unwrap().port()), ..any_port() };
    let (any, echo_at, count_at) = (any_port(), here(services[0].port), here(services[1].port));
    let (echo, refused, count) = tokio::join!(
        lane.request_forward(&any, &echo_at),
        lane.request_forward(&held, &echo_at),
        lane.request_forward(&any, &count_at),
    );
    drop(held);
    assert_eq!(refused, Err(ForwardError::Refused));
    assert_eq!(ask(&mut connect(loopback(echo.unwrap().get())).await, b"hello").await.unwrap(), b"hello");
    assert_eq!(ask(&mut connect(loopback(count.unwrap().get())).await, b"hello").await.unwrap(), b"5 bytes");
}

#[tokio::test]
async fn a_tunnel_that_ends_takes_its_own_along_and_nothing_else() {
    let (sshd, service) = (Sshd::start().await, Service::echo().await);
    let (lane, traffic, mut events) = tunnel(&sshd).await;
    let other_traffic = Traffic::new();
    let other = Arc::new(lane.link().lane(&other_traffic));
    let towards = Towards::Target(here(service.port));
    let (listener, other_listener) = (listen(&towards, &lane), listen(&towards, &other));
    let remote = lane.request_forward(&any_port(), &here(service.port)).await.unwrap();
    let mut mine = connect(listener.address()).await;
    let mut others = connect(other_listener.address()).await;
    ping(&mut mine).await.unwrap();
    ping(&mut others).await.unwrap();

    let address = listener.address();
    listener.close().await;
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    ping(&mut mine).await.unwrap();
    lane.end();
    assert!(ping(&mut mine).await.is_err(), "its connections are cut");
    assert_eq!(traffic.connections_now(), 0);
    eventually("its remote forward is gone", || {
        std::net::TcpStream::connect(loopback(remote.get()))
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
    .await;
    ping(&mut others).await.unwrap();

    assert_eq!(sshd.logins(), 1);
    other.link().stop();
    assert_eq!(soon("the end", events.ended()).await, LinkEnd::Stopped);
    eventually("the server has nobody left", || sshd.connections() == 0).await;
}

#[tokio::test]
async fn a_connection_is_listed_and_can_be_cut() {
    let (sshd, service) = (Sshd::start().await, Service::echo().await);
    let (lane, traffic, _events) = tunnel(&sshd).await;
    let listener = listen(&Towards::Target(here(service.port)), &lane);
    let (mut one, mut other) = (connect(listener.address()).await, connect(listener.address()).await);
    ping(&mut one).await.unwrap();
    ping(&mut other).await.unwrap();
    let listed = traffic.connections();
    assert_eq!(listed.len(), 2);
    let first = listed.iter().find(|live| live.from == one.local_addr().ok()).unwrap();
    assert_eq!((first.bytes_tx, first.bytes_rx, first.is_open), (4, 4, true));
    assert_eq!(first.target, here(service.port));
    lane.close_connection(first.number);
    assert!(ping(&mut one).await.is_err());
    ping(&mut other).await.unwrap();
    assert_eq!(traffic.connections().len(), 1);
}

#[tokio::test]
async fn who_does_not_read_delays_nobody_else() {
    let (sshd, echo, stalled) = (Sshd::start().await, Service::echo().await, Service::stall().await);
    let (lane, traffic, _events) = tunnel(&sshd).await;
    let listener = listen(&Towards::Target(here(stalled.port)), &lane);
    let beside = listen(&Towards::Target(here(echo.port)), &lane);
    // One side that takes nothing, and one that sends and never reads what comes back.
    let mut to_stalled = connect(listener.address()).await;
    let stuffing = tokio::spawn(async move { to_stalled.write_all(&vec![1; 64 << 20]).await });
    let deaf = connect(beside.address()).await;
    let (deaf_reader, mut deaf_writer) = deaf.into_split();
    let echoing = tokio::spawn(async move { deaf_writer.write_all(&vec![2; 64 << 20]).await });
    eventually("both are stuck", {
        let mut last = (Instant::now(), 0);
        let traffic = traffic.clone();
        move || {
            let sum = traffic.bytes_tx() + traffic.bytes_rx();
            if sum != last.1 {
                last = (Instant::now(), sum);
            }
            sum > 4 << 20 && last.0.elapsed() > Duration::from_millis(300)
        }
    })
    .await;
    for _ in 0..20 {
        let asked = Instant::now();
        let mut program = connect(beside.address()).await;
        ping(&mut program).await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(1), "took {:?}", asked.elapsed());
    }
    assert!(!stuffing.is_finished() && !echoing.is_finished());
    drop(deaf_reader);
    stuffing.abort();
    echoing.abort();
}

#[tokio::test]
async fn a_port_without_a_link_turns_away_at_once() {
    let sshd = Sshd::start().await;
    let (lane, _, _events) = tunnel(&sshd).await;
    let listener = listen(&Towards::Socks, &lane);
    listener.set_lane(None);
    let mut program = connect(listener.address()).await;
    let answer = ask(&mut program, &[5, 1, 0]).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.is_empty()));
}

#[tokio::test]
async fn a_target_that_does_not_answer_delays_nobody_else() {
    let (sshd, echo, hole) = (Sshd::start().await, Service::echo().await, BlackHole::open());
    let mut hop = sshd.hop();
    hop.settings.link.open_time = Duration::from_secs(2);
    let (link, mut events) = open(&hop).await;
    let traffic = Traffic::new();
    let lane = Arc::new(link.lane(&traffic));
    let (socks, beside) = (listen(&Towards::Socks, &lane), listen(&Towards::Target(here(echo.port)), &lane));
    let mut waiting: Vec<TcpStream> = Vec::new();
    for _ in 0..20 {
        let mut program = connect(socks.address()).await;
        let port = hole.port.to_be_bytes();
        program.write_all(&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, port[0], port[1]]).await.unwrap();
        waiting.push(program);
    }
    eventually("all of them wait", || traffic.connections_now() == 20).await;
    for _ in 0..10 {
        let asked = Instant::now();
        ping(&mut connect(beside.address()).await).await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(1), "took {:?}", asked.elapsed());
    }
    for mut program in waiting {
        assert_eq!(ask(&mut program, b"").await.unwrap(), [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
    let told = soon("an event", events.next()).await;
    assert!(matches!(told, Some(LinkEvent::Refused { why, .. }) if why.contains("no answer")));
}

#[tokio::test]
async fn a_visitor_on_its_way_ends_with_its_tunnel() {
    let (sshd, hole) = (Sshd::start().await, BlackHole::open());
    let (lane, traffic, _events) = tunnel(&sshd).await;
    let port = lane.request_forward(&any_port(), &here(hole.port)).await.unwrap();
    let mut visitor = connect(loopback(port.get())).await;
    eventually("it is being connected", || traffic.connections_now() == 1).await;
    lane.end();
    // The local target answers too late.
    hole.make_room();
    let answer = ask(&mut visitor, b"anybody?").await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.is_empty()));
    eventually("nothing is left", || traffic.connections_now() == 0).await;
}
