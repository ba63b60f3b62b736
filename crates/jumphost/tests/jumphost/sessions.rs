//! Logging in, holding ports, being cut.

use std::time::{Duration, Instant};

use adit_core::Takeover;
use adit_jumphost::admin::{KeyRemove, Kick, SessionList};
use adit_ssh::ForwardDenied;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::host::{PATIENCE, TestHost, eventually};

/// A port outside what other tests of this machine hold is found by asking for any.
async fn any_port(client: &mut crate::client::Client) -> u16 {
    client.forward(0).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_visitor_reaches_the_service_and_the_answer_comes_back_whole() {
    let host = TestHost::start().await;
    let mut client = host.account("alice").await.connect().await;
    let port = any_port(&mut client).await;
    let serving = client.echo();
    let sent: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    let (mut read, mut write) = TcpStream::connect(("127.0.0.1", port)).await.unwrap().into_split();
    let upload = sent.clone();
    let writing = tokio::spawn(async move {
        write.write_all(&upload).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    timeout(PATIENCE, read.read_to_end(&mut received)).await.unwrap().unwrap();
    writing.await.unwrap();
    assert!(received == sent, "{} bytes came back of {}", received.len(), sent.len());
    assert!(!serving.is_finished());
    host.stop().await;
}

#[tokio::test]
async fn a_port_is_free_as_soon_as_its_session_ends() {
    let host = TestHost::start().await;
    let mut first = host.account("alice").await.connect().await;
    let port = any_port(&mut first).await;
    let mut second = host.account("bob").await.connect().await;
    assert_eq!(second.forward(port).await.unwrap(), Err(ForwardDenied));
    drop(first);
    eventually("the port is free", || async { host.ports().await.is_empty() }).await;
    assert_eq!(second.forward(port).await.unwrap(), Ok(port));
}

#[tokio::test]
async fn a_cancelled_forward_frees_its_port_and_the_session_goes_on() {
    let host = TestHost::start().await;
    let mut client = host.account("alice").await.connect().await;
    let port = any_port(&mut client).await;
    client.cancel(port).await;
    eventually("the port is free", || async { host.ports().await.is_empty() }).await;
    assert_eq!(client.forward(port).await.unwrap(), Ok(port));
}

#[tokio::test]
async fn an_answering_session_keeps_its_port_and_a_silent_one_loses_it() {
    let host = TestHost::with(|config| config.ports.probe_silence = Duration::from_millis(300)).await;
    let alice = host.account("alice").await;
    let mut first = alice.connect().await;
    let port = any_port(&mut first).await;
    let answering = first.echo();
    let mut second = alice.connect().await;
    assert_eq!(second.forward(port).await.unwrap(), Err(ForwardDenied));
    answering.abort();
    drop(second);
    eventually("the first sessions are gone", || async { host.ports().await.is_empty() }).await;

    let mut silent = alice.connect().await;
    assert_eq!(silent.forward(port).await.unwrap(), Ok(port));
    // Nobody reads `silent` from here on, as if its machine were asleep.
    let mut returning = alice.connect().await;
    assert_eq!(timeout(PATIENCE, returning.forward(port)).await.unwrap().unwrap(), Ok(port));
    eventually("the silent session is gone", || async { host.session_count().await == 1 }).await;
    drop(silent);
}

#[tokio::test]
async fn takeover_never_leaves_the_port_with_a_silent_session() {
    let host = TestHost::with(|config| config.ports.takeover = Takeover::Never).await;
    let alice = host.account("alice").await;
    let mut silent = alice.connect().await;
    let port = any_port(&mut silent).await;
    assert_eq!(alice.connect().await.forward(port).await.unwrap(), Err(ForwardDenied));
}

#[tokio::test]
async fn a_removed_key_cuts_its_sessions_and_no_others() {
    let host = TestHost::start().await;
    let (laptop, desk) = (host.account("alice").await, host.key_for("alice").await);
    let (mut cut, mut lives) = (laptop.connect().await, desk.connect().await);
    let port = any_port(&mut cut).await;
    let kept = any_port(&mut lives).await;
    let serving = cut.echo();
    let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    visitor.write_all(b"hello").await.unwrap();
    let mut echoed = [0; 5];
    visitor.read_exact(&mut echoed).await.unwrap();

    let began = Instant::now();
    let remove = KeyRemove { account: "alice".into(), fingerprint: laptop.fingerprint() };
    assert_eq!(host.admin.call(remove).await.unwrap().sessions_cut, 1);
    let gone = timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert_eq!(gone.0, "This key was removed from its account.");
    assert_eq!(timeout(PATIENCE, visitor.read(&mut echoed)).await.unwrap().unwrap_or(0), 0);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(host.ports().await, [kept]);
    let mut refused = laptop.dial().await;
    assert!(refused.login().await.is_err());
}

#[tokio::test]
async fn a_kicked_session_is_told_why() {
    let host = TestHost::start().await;
    let client = host.account("alice").await.connect().await;
    let session = host.admin.call(SessionList {}).await.unwrap()[0].id;
    host.admin.call(Kick { session }).await.unwrap();
    let gone = timeout(PATIENCE, client.echo()).await.unwrap().unwrap();
    assert_eq!(gone.0, "An administrator ended this session.");
    eventually("nobody is left", || async { host.session_count().await == 0 }).await;
}

#[tokio::test]
async fn while_it_stops_visitors_finish_and_nobody_new_comes() {
    let mut host = TestHost::with(|config| config.drain_grace = PATIENCE).await;
    let mut client = host.account("alice").await.connect().await;
    let port = any_port(&mut client).await;
    let _serving = client.echo();
    let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    visitor.write_all(b"one").await.unwrap();
    let mut echoed = [0; 3];
    visitor.read_exact(&mut echoed).await.unwrap();
    host.begin_stop();
    eventually("the port takes nobody", || async { TcpStream::connect(("127.0.0.1", port)).await.is_err() }).await;
    visitor.write_all(b"two").await.unwrap();
    timeout(PATIENCE, visitor.read_exact(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(&echoed, b"two");
    drop(visitor);
    host.stop().await;
}

/// RFC 4254 §7.1: what is open when a forward is cancelled goes on.
#[tokio::test]
async fn a_visitor_outlives_the_forward_it_came_through() {
    let host = TestHost::with(|config| config.idle_without_forward = Some(Duration::from_millis(200))).await;
    let mut client = host.account("alice").await.connect().await;
    let port = any_port(&mut client).await;
    let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.await_visitor().await;
    client.cancel(port).await;
    let serving = client.echo();
    for _ in 0..10 {
        visitor.write_all(b"x").await.unwrap();
        timeout(PATIENCE, visitor.read_exact(&mut [0])).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(visitor);
    let gone = timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert_eq!(gone.0, "No remote forward was open for too long.");
}

#[tokio::test]
async fn stopping_cuts_everybody_with_a_reason() {
    let host = TestHost::start().await;
    let client = host.account("alice").await.connect().await;
    host.stop().await;
    assert_eq!(timeout(PATIENCE, client.echo()).await.unwrap().unwrap().0, "The jump host is stopping.");
}
