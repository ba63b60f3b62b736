//! What one member, or one stranger, may take.

use std::time::Duration;

use adit_core::VisitorRules;
use adit_ssh::ForwardDenied;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::host::{PATIENCE, TestHost, eventually};

#[tokio::test]
async fn an_account_has_twenty_forwards_and_may_replace_one() {
    let host = TestHost::start().await;
    let mut client = host.account("alice").await.connect().await;
    let mut ports = Vec::new();
    for _ in 0..20 {
        ports.push(client.forward(0).await.unwrap().unwrap());
    }
    assert_eq!(client.forward(0).await.unwrap(), Err(ForwardDenied));
    client.cancel(ports[7]).await;
    assert!(client.forward(0).await.unwrap().is_ok());
}

#[tokio::test]
async fn each_of_twenty_forwards_takes_visitors() {
    let host = TestHost::start().await;
    let mut client = host.account("alice").await.connect().await;
    let mut ports = Vec::new();
    for _ in 0..20 {
        ports.push(client.forward(0).await.unwrap().unwrap());
    }
    let _serving = client.echo();
    for port in ports {
        assert!(greeted(port).await.is_some(), "port {port} takes nobody");
    }
}

#[tokio::test]
async fn a_session_without_a_forward_is_closed_with_a_reason() {
    let host = TestHost::with(|config| config.idle_without_forward = Some(Duration::from_millis(200))).await;
    let alice = host.account("alice").await;
    let idle = alice.connect().await;
    let mut holding = alice.connect().await;
    holding.forward(0).await.unwrap().unwrap();
    let gone = timeout(PATIENCE, idle.echo()).await.unwrap().unwrap();
    assert_eq!(gone.0, "No remote forward was open for too long.");
    assert_eq!(host.session_count().await, 1);
}

#[tokio::test]
async fn a_port_takes_its_visitors_and_no_more() {
    let host = TestHost::with(|config| config.visitors = VisitorRules { per_port: 3, per_account: 0 }).await;
    let mut client = host.account("alice").await.connect().await;
    let port = client.forward(0).await.unwrap().unwrap();
    let _serving = client.echo();
    let mut visitors = Vec::new();
    for _ in 0..3 {
        visitors.push(greeted(port).await.unwrap());
    }
    assert!(greeted(port).await.is_none(), "a fourth visitor was served");
    visitors.pop();
    eventually("a place is free again", || async { greeted(port).await.is_some() }).await;
}

/// A visitor who got an answer.
async fn greeted(port: u16) -> Option<TcpStream> {
    let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    visitor.write_all(b"?").await.ok()?;
    let mut answer = [0];
    let answered = timeout(PATIENCE, visitor.read_exact(&mut answer)).await.unwrap();
    answered.ok().map(|_| visitor)
}

#[tokio::test]
async fn strangers_from_one_address_are_bounded_and_those_logged_in_do_not_count() {
    let host = TestHost::with(|config| config.login.per_source = 4).await;
    let alice = host.account("alice").await;
    let mut members = Vec::new();
    for _ in 0..8 {
        members.push(alice.connect().await);
    }
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(banner(&host).await.expect("a place for a stranger"));
    }
    assert!(banner(&host).await.is_none(), "a fifth stranger was served");
    drop(silent.pop());
    eventually("a place is free again", || async { banner(&host).await.is_some() }).await;
}

#[tokio::test]
async fn a_full_gate_makes_room_for_a_source_that_comes_alone() {
    let host = TestHost::with(|config| {
        (config.ssh, config.login.total) = ("0.0.0.0:0".parse().unwrap(), 6);
    })
    .await;
    let mut flood = Vec::new();
    for _ in 0..6 {
        flood.push(banner(&host).await.expect("a place for a stranger"));
    }
    assert!(banner(&host).await.is_none(), "the flood's source was given a seventh place");
    let alone = tokio::net::TcpSocket::new_v4().unwrap();
    alone.bind("127.0.0.77:0".parse().unwrap()).unwrap();
    let mut alone = alone.connect(host.reachable()).await.unwrap();
    let mut version = [0; 8];
    timeout(PATIENCE, alone.read_exact(&mut version)).await.unwrap().unwrap();
    let mut rest = Vec::new();
    let oldest = &mut flood[0];
    assert!(timeout(PATIENCE, oldest.read_to_end(&mut rest)).await.is_ok(), "the oldest was left in its place");
}

/// A stranger who was sent the server's version.
async fn banner(host: &TestHost) -> Option<TcpStream> {
    let mut stranger = TcpStream::connect(host.reachable()).await.ok()?;
    let mut version = [0; 8];
    let read = timeout(PATIENCE, stranger.read_exact(&mut version)).await.unwrap();
    read.ok().map(|_| stranger)
}

#[tokio::test]
async fn nobody_stays_beyond_the_login_grace() {
    let host = TestHost::with(|config| config.login_grace = Duration::from_millis(300)).await;
    let mut silent = banner(&host).await.unwrap();
    let mut dripping = banner(&host).await.unwrap();
    let drip = async {
        // A byte at a time does not buy time.
        while dripping.write_all(b"S").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, async { tokio::join!(drip, silent.read_to_end(&mut rest)) });
    assert!(end.await.is_ok(), "somebody was left");
}
