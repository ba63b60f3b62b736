//! Many flows at once, with new keys in between: every byte arrives, in order, where it belongs.

use std::sync::Arc;

use adit_agent::link::Traffic;
use adit_agent::listener::Towards;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::desk::open;
use crate::services::{Service, ask, connect, eventually, listen, ping};
use crate::sshd::{Setup, Sshd, here};

const FLOWS: usize = 16;
const EACH: usize = 4 << 20;

/// The byte at a place of a flow; no two flows look alike anywhere for long.
fn byte(flow: usize, at: usize) -> u8 {
    let mixed = (at as u64 ^ ((flow as u64) << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_flows_are_exact_while_keys_change() {
    let config = "RekeyLimit 4M";
    let (sshd, service) = (Sshd::start_with(Setup { config, ..Setup::default() }).await, Service::echo().await);
    let mut hop = sshd.hop();
    hop.settings.limits.rekey_bytes = 3 << 20;
    let (link, _events) = open(&hop).await;
    let traffic = Traffic::new();
    let lane = Arc::new(link.lane(&traffic));
    let listener = listen(&Towards::Target(here(service.port)), &lane);
    let flows: Vec<_> = (0..FLOWS)
        .map(|flow| {
            let address = listener.address();
            tokio::spawn(async move {
                let (mut reader, mut writer) = connect(address).await.into_split();
                let sent: Vec<u8> = (0..EACH).map(|at| byte(flow, at)).collect();
                let expected = sent.clone();
                let writing = tokio::spawn(async move {
                    writer.write_all(&sent).await?;
                    writer.shutdown().await
                });
                let mut back = Vec::with_capacity(EACH);
                reader.read_to_end(&mut back).await.unwrap();
                writing.await.unwrap().unwrap();
                assert!(back == expected, "flow {flow}: {} bytes came back", back.len());
            })
        })
        .collect();
    for flow in flows {
        flow.await.unwrap();
    }
    assert_eq!((traffic.bytes_tx(), traffic.bytes_rx()), ((FLOWS * EACH) as u64, (FLOWS * EACH) as u64));
    eventually("all are over", || traffic.connections_now() == 0).await;
    assert!(sshd.log().matches("rekey").count() > 10, "keys did change");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_comes_through_one_tunnel_and_none_is_lost() {
    let (sshd, service) = (Sshd::start().await, Service::echo().await);
    let (link, _events) = open(&sshd.hop()).await;
    let traffic = Traffic::new();
    let lane = Arc::new(link.lane(&traffic));
    let listener = listen(&Towards::Target(here(service.port)), &lane);
    let crowd: Vec<_> = (0..500).map(|_| tokio::spawn(connect(listener.address()))).collect();
    let mut programs = Vec::new();
    for program in crowd {
        programs.push(program.await.unwrap());
    }
    for program in &mut programs {
        ping(program).await.unwrap();
    }
    assert_eq!(traffic.connections_now(), 500);
    drop(programs);
    eventually("all are over", || traffic.connections_now() == 0).await;
    for _ in 0..1000 {
        assert_eq!(ask(&mut connect(listener.address()).await, b"one by one").await.unwrap(), b"one by one");
    }
    assert_eq!(traffic.connections_total(), 1500);
}
