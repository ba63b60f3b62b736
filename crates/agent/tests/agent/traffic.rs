//! What tunnels carry, and who does not hold up whom.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::free_port::free_port;
use crate::home::{Home, dynamic, local, remote, tunnel};
use crate::services::{BlackHole, Service, ask, connect, eventually, loopback, ping, soon};
use crate::sshd::Sshd;

#[tokio::test]
async fn each_way_of_a_connection_ends_alone_in_both_directions() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let (here, there) = (local(service.port), remote(free_port(), service.port));
    let ports = [here.local_port, there.remote_port.unwrap()];
    for (forward, port) in [here, there].into_iter().zip(ports) {
        let id = home.start(tunnel(&sshd, &profile, forward)).await;
        home.becomes(&id, "connected").await;
        assert_eq!(ask(&mut connect(loopback(port)).await, &vec![7; 2_000_000]).await.unwrap(), b"2000000 bytes");
        let traffic = home.view(&id).traffic;
        let carried = [traffic.bytes_tx(), traffic.bytes_rx()];
        assert!(carried == [2_000_000, 13] || carried == [13, 2_000_000], "{carried:?}");
        // What was carried stays counted, whatever becomes of the tunnel.
        home.agent.stop(&id).await.unwrap();
        home.agent.start_tunnel(&id).await.unwrap();
        home.becomes(&id, "connected").await;
        assert_eq!(home.view(&id).traffic.bytes_tx(), carried[0]);
    }
}

#[tokio::test]
async fn curl_goes_through_a_dynamic_tunnel_and_names_are_looked_up_at_the_server() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::web().await);
    let profile = home.profile(&sshd).await;
    let forward = dynamic();
    let id = home.start(tunnel(&sshd, &profile, forward.clone())).await;
    home.becomes(&id, "connected").await;
    assert_eq!(home.view(&id).spec(), format!("D :{} SOCKS5", forward.local_port));
    let fetch = async |url: String| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "--socks5-hostname"]).arg(loopback(forward.local_port).to_string());
        let ran = tokio::task::spawn_blocking(move || curl.arg(url).env_remove("ALL_PROXY").output());
        soon("curl", ran).await.unwrap().expect("curl is installed")
    };
    let fetched = fetch(format!("http://localhost:{}/", service.port)).await;
    assert_eq!(String::from_utf8_lossy(&fetched.stdout), "welcome", "{fetched:?}");
    assert!(sshd.log().contains(&format!("target localhost port {}", service.port)), "the server looks the name up");
    let fetched = fetch(format!("http://127.0.0.1:{}/", free_port())).await;
    assert!(!fetched.status.success());
    // 5: refused.
    assert!(String::from_utf8_lossy(&fetched.stderr).contains("(5)"), "{fetched:?}");
}

#[tokio::test]
async fn a_black_hole_and_a_slow_reader_hold_up_nobody_else() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::echo().await);
    let (hole, flood) = (BlackHole::open(), Service::flood().await);
    let profile = home.profile(&sshd).await;
    let mut ports = Vec::new();
    for target in [hole.port, flood.port, service.port] {
        let forward = local(target);
        ports.push(forward.local_port);
        let id = home.start(tunnel(&sshd, &profile, forward)).await;
        home.becomes(&id, "connected").await;
    }
    assert_eq!(sshd.logins(), 1);
    let mut waits = connect(loopback(ports[0])).await;
    waits.write_all(b"anybody?").await.unwrap();
    // Reads one byte and no more; the rest stands in every buffer there is.
    let mut slow = connect(loopback(ports[1])).await;
    slow.read_u8().await.unwrap();
    let mut works = connect(loopback(ports[2])).await;
    ping(&mut works).await.unwrap();
    let begun = Instant::now();
    for _ in 0..200 {
        ping(&mut works).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for port in [ports[2], ports[2]] {
        assert_eq!(ask(&mut connect(loopback(port)).await, b"hello").await.unwrap(), b"hello");
    }
}

#[tokio::test]
async fn live_connections_are_listed_and_can_be_cut() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::echo().await);
    let profile = home.profile(&sshd).await;
    let forward = local(service.port);
    let id = home.start(tunnel(&sshd, &profile, forward.clone())).await;
    home.becomes(&id, "connected").await;
    let (mut first, mut second) =
        (connect(loopback(forward.local_port)).await, connect(loopback(forward.local_port)).await);
    ping(&mut first).await.unwrap();
    ping(&mut second).await.unwrap();
    let live = home.agent.connections(&id).unwrap();
    assert_eq!(live.len(), 2);
    let of_first = live.iter().find(|live| live.from == first.local_addr().ok()).unwrap();
    assert_eq!((of_first.target.port().get(), of_first.bytes_tx, of_first.bytes_rx), (service.port, 4, 4));
    home.agent.close_connection(&id, of_first.number);
    let mut rest = Vec::new();
    let cut = soon("the cut", first.read_to_end(&mut rest)).await;
    assert!(cut.is_err() || rest.is_empty());
    ping(&mut second).await.unwrap();
    eventually("it is gone from the list", || home.agent.connections(&id).unwrap().len() == 1).await;
    assert!(home.agent.connections("tun_none").is_none());
}

#[tokio::test]
async fn a_target_that_refuses_is_told_and_the_tunnel_stays() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    let profile = home.profile(&sshd).await;
    let forward = local(free_port());
    let id = home.start(tunnel(&sshd, &profile, forward.clone())).await;
    home.becomes(&id, "connected").await;
    let answer = ask(&mut connect(loopback(forward.local_port)).await, b"anybody?").await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.is_empty()));
    eventually("it is told", || home.view(&id).last_refusal.is_some_and(|why| why.contains("refused"))).await;
    assert_eq!((home.status(&id), home.last_error(&id)), ("connected", String::new()));
}
