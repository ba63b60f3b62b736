//! Connections that go on over another way when an agent on theirs dies.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use adit_mesh::config::{RawForward, RawMesh};
use adit_mesh::{Mesh, MeshFolder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::{PATIENCE, TestMesh, Wanted, connect, echo, until};

/// a and d with b and c between: whichever of the two a connection goes through, the other one is left.
struct Diamond {
    a: Mesh,
    between: Vec<Mesh>,
    _d: Mesh,
}

impl Diamond {
    async fn start(mesh: &mut TestMesh, target: SocketAddr, resume_at: [bool; 2]) -> Diamond {
        let mut between = Vec::new();
        for name in ["b", "c"] {
            between.push(mesh.agent(Wanted::new(name, &[], "")).await);
        }
        let peers: Vec<SocketAddr> = between.iter().filter_map(Mesh::address).collect();
        let d = start(mesh, "d", &peers, &format!("endpoints: [{{key: web, target: '{target}'}}]"), resume_at[1]).await;
        let a = start(mesh, "a", &peers, "listeners: [{key: web, address: '127.0.0.1:0'}]", resume_at[0]).await;
        until(&a, "both ways known", |shown| shown.links.len() == 4 && !shown.forward_routes.is_empty()).await;
        Diamond { a, between, _d: d }
    }

    /// Ends the agent that connections go through now.
    async fn end_transit(&mut self) {
        let shown =
            until(&self.a, "a way", |shown| shown.forward_routes.iter().any(|way| way.hop_count == Some(2))).await;
        let on_way = &shown.forward_routes[0].path_display[1];
        self.between.retain(|agent| agent.name() != on_way);
    }
}

async fn start(mesh: &mut TestMesh, name: &str, peers: &[SocketAddr], forward: &str, resume: bool) -> Mesh {
    mesh.enrol(name, Wanted::new(name, &[], "").rights);
    let peers = Some(peers.iter().map(ToString::to_string).collect());
    let raw = RawMesh { listen: Some("127.0.0.1:0".to_owned()), peers, resume: Some(resume), ..RawMesh::default() };
    let forward: RawForward = serde_saphyr::from_str(forward).unwrap();
    Mesh::start(raw.check(&forward).unwrap(), MeshFolder::open(&mesh.folder_of(name)).unwrap()).await.unwrap()
}

fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Sends a pattern and reads it back, and ends the transit on the way when some of it is back. What came back right, and whether the end did.
async fn through_a_death(diamond: &mut Diamond, total: u64, death_at: u64) -> (u64, bool) {
    let back = AtomicU64::new(0);
    let mut client = connect(&diamond.a).await;
    let (mut read, mut write) = client.split();
    let sends = async {
        let mut sent = 0;
        while sent < total {
            let piece: Vec<u8> = (sent..(sent + 65_536).min(total)).map(byte_at).collect();
            if write.write_all(&piece).await.is_err() {
                return false;
            }
            sent += piece.len() as u64;
        }
        write.shutdown().await.is_ok()
    };
    let reads = async {
        let mut buffer = vec![0; 65_536];
        loop {
            let position = back.load(Ordering::Relaxed);
            match read.read(&mut buffer).await {
                Ok(0) => return true,
                Err(_) => return false,
                Ok(count) => {
                    let wrong = (0..count).find(|at| buffer[*at] != byte_at(position + *at as u64));
                    assert_eq!(wrong, None, "a byte behind {position} is another one");
                    back.fetch_add(count as u64, Ordering::Relaxed);
                }
            }
        }
    };
    let dies = async {
        while back.load(Ordering::Relaxed) < death_at {
            tokio::task::yield_now().await;
        }
        diamond.end_transit().await;
    };
    // A reset is told once, to whichever of the two asks first.
    let (sent, ended, ()) =
        tokio::time::timeout(3 * PATIENCE, async { tokio::join!(sends, reads, dies) }).await.unwrap();
    (back.into_inner(), sent && ended)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_survives_the_death_of_its_transit_byte_for_byte() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let mut diamond = Diamond::start(&mut mesh, echo.address, [true, true]).await;
    let total = 48 << 20;
    assert_eq!(through_a_death(&mut diamond, total, 16 << 20).await, (total, true));
    assert_eq!(diamond.a.stats().resumed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_end_does_not_keep_connections_the_client_is_reset() {
    let echo = echo().await;
    for resume_at in [[true, false], [false, true]] {
        let mut mesh = TestMesh::new();
        let mut diamond = Diamond::start(&mut mesh, echo.address, resume_at).await;
        let (back, ended) = through_a_death(&mut diamond, 48 << 20, 4 << 20).await;
        assert!(!ended && back < 48 << 20, "what was cut looked complete: {back} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_can_go_on_ends_in_each_direction_by_itself() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let diamond = Diamond::start(&mut mesh, echo.address, [true, true]).await;
    for size in [0, 1, 100_000, 3_000_000] {
        let sent: Vec<u8> = (0..size).map(byte_at).collect();
        assert_eq!(crate::net::exchange(&diamond.a, &sent).await.unwrap(), sent);
    }
    until(&diamond.a, "every connection gone", |shown| shown.agent.connections == 0).await;
}
