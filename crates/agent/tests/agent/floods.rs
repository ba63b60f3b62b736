//! Programs that come to a SOCKS port by the hundred and say nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use adit_agent::link::{LinkEvents, Traffic};
use adit_agent::listener::{LocalListener, Towards};
use adit_net::descriptors;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::desk::open;
use crate::services::{Service, ask, connect, listen, soon};
use crate::sshd::Sshd;

/// As many as a port bears that have not said what they want.
const PLACES: usize = 512;

/// Comes and greets, so that it is known to have a place, and says no more.
async fn silent(proxy: SocketAddr) -> TcpStream {
    let mut program = connect(proxy).await;
    program.write_all(&[5, 1, 0]).await.unwrap();
    let mut reply = [0; 2];
    soon("a greeting", program.read_exact(&mut reply)).await.unwrap();
    assert_eq!(reply, [5, 0]);
    program
}

/// Says what it wants, and has it.
async fn is_served(mut program: TcpStream, service: &Service) {
    let mut request = vec![5, 1, 0, 1, 127, 0, 0, 1];
    request.extend_from_slice(&service.port.to_be_bytes());
    program.write_all(&request).await.unwrap();
    let mut reply = [0; 10];
    soon("a reply", program.read_exact(&mut reply)).await.unwrap();
    assert_eq!(reply[..2], [5, 0]);
    assert_eq!(ask(&mut program, b"hello").await.unwrap(), b"5 bytes");
}

/// A SOCKS port all of whose places are taken by programs that say nothing, the oldest first.
struct Flood {
    listener: LocalListener,
    service: Service,
    crowd: Vec<TcpStream>,
    _events: LinkEvents,
    _sshd: Sshd,
}

impl Flood {
    async fn start() -> Flood {
        // Both ends of all connections are this process's.
        descriptors::raise_limit();
        let (sshd, service) = (Sshd::start().await, Service::count().await);
        let (link, events) = open(&sshd.hop()).await;
        let listener = listen(&Towards::Socks, &Arc::new(link.lane(&Traffic::new())));
        let mut crowd = Vec::new();
        for _ in 0..PLACES {
            crowd.push(silent(listener.address()).await);
        }
        Flood { listener, service, crowd, _events: events, _sshd: sshd }
    }
}

#[tokio::test]
async fn the_oldest_that_says_nothing_makes_room_for_who_comes() {
    let mut flood = Flood::start().await;
    let Flood { listener, service, crowd, .. } = &mut flood;
    is_served(silent(listener.address()).await, service).await;
    let mut oldest = crowd.remove(0);
    let rest = soon("the end of the oldest", oldest.read(&mut [0])).await;
    assert!(matches!(rest, Ok(0) | Err(_)), "{rest:?}");
    // The others have kept their places: none of them had to go for the one that is served by now.
    is_served(crowd.remove(0), service).await;
    is_served(crowd.pop().unwrap(), service).await;
}

#[tokio::test]
async fn a_crowd_that_has_gone_is_in_nobodys_way() {
    let mut flood = Flood::start().await;
    let Flood { listener, service, crowd, .. } = &mut flood;
    // Each hears that the other end is closed as well, so that nobody is there any more.
    for program in crowd {
        program.shutdown().await.unwrap();
        let rest = soon("the end", program.read(&mut [0])).await;
        assert!(matches!(rest, Ok(0) | Err(_)), "{rest:?}");
    }
    is_served(silent(listener.address()).await, service).await;
}
