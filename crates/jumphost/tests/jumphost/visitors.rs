//! Many visitors, and visitors that do not behave.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use adit_jumphost::admin::PortList;

use crate::host::{PATIENCE, TestHost, eventually};

/// Sends and gets back.
async fn echo(visitor: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    visitor.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    visitor.read_exact(&mut back).await?;
    assert_eq!(back, bytes);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_visitors_at_once_each_get_their_own_bytes() {
    let host = TestHost::start().await;
    let mut client = host.account("alice").await.connect().await;
    let port = client.forward(0).await.unwrap().unwrap();
    let _serving = client.echo();
    let mut visitors = JoinSet::new();
    for number in 0..200u32 {
        visitors.spawn(async move {
            let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            for round in 0..20u32 {
                let bytes: Vec<u8> = (0..1_000).map(|at: u32| (number ^ round ^ at) as u8).collect();
                echo(&mut visitor, &bytes).await.unwrap();
            }
        });
    }
    timeout(PATIENCE, visitors.join_all()).await.unwrap();
    eventually("nobody is left", || async { host.admin.call(PortList {}).await.unwrap()[0].visitors == 0 }).await;
    assert_eq!(host.admin.call(PortList {}).await.unwrap()[0].visitors_total, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visitors_one_after_the_other_leave_nothing_behind() {
    let host = TestHost::start().await;
    let mut client = host.account("alice").await.connect().await;
    let port = client.forward(0).await.unwrap().unwrap();
    let _serving = client.echo();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..1_000 {
        let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        echo(&mut visitor, b"x").await.unwrap();
    }
    eventually("all descriptors are closed", || async { open() <= before }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_that_stops_reading_delays_nobody() {
    let host = TestHost::start().await;
    let mut client = host.account("alice").await.connect().await;
    let port = client.forward(0).await.unwrap().unwrap();
    let _serving = client.echo();
    let stalled = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // It sends until nothing moves any more, and never reads the echo.
    let chunk = [7; 64 * 1024];
    let mut sent = 0;
    while let Ok(wrote) = timeout(Duration::from_millis(500), stalled.writable()).await {
        wrote.unwrap();
        match stalled.try_write(&chunk) {
            Ok(count) => sent += count,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    assert!(sent > 2 * 1024 * 1024, "the window alone takes more than {sent} bytes");
    let mut worst = Duration::ZERO;
    let mut working = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    for _ in 0..100 {
        let began = Instant::now();
        timeout(PATIENCE, echo(&mut working, b"still here")).await.unwrap().unwrap();
        worst = worst.max(began.elapsed());
    }
    assert!(worst < Duration::from_secs(1), "an echo took {worst:?}");
}

/// Telnet and FTP interrupt with urgent data, whose mark ends a read (RFC 9293 §3.8.5): what lies behind it is not forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_behind_urgent_data_arrive() {
    let host = TestHost::start().await;
    let mut client = host.account("alice").await.connect().await;
    let port = client.forward(0).await.unwrap().unwrap();
    let _serving = client.echo();
    for _ in 0..50 {
        let visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let socket = socket2::SockRef::from(&visitor);
        socket.send(b"abc").unwrap();
        socket.send_out_of_band(b"!").unwrap();
        socket.send(b"DEF").unwrap();
        let mut visitor = visitor;
        let mut back = [0; 6];
        let read = timeout(PATIENCE, visitor.read_exact(&mut back)).await;
        assert!(read.is_ok(), "what lay behind the mark never came");
        assert_eq!(&back, b"abcDEF");
    }
}

#[tokio::test]
async fn a_client_that_never_answers_loses_its_visitor_and_stays() {
    let host = TestHost::start().await;
    let mut client = host.account("alice").await.connect().await;
    let port = client.forward(0).await.unwrap().unwrap();
    let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // The client reads everything and answers no channel open.
    let deaf = tokio::spawn(async move { while client.next().await.is_ok() {} });
    let began = Instant::now();
    let end = timeout(PATIENCE, visitor.read(&mut [0])).await.unwrap();
    assert_eq!(end.unwrap_or(0), 0);
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(!deaf.is_finished());
    assert_eq!(host.ports().await, [port]);
}
