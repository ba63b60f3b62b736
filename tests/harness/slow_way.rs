//! A way to an address on which everything takes its time, over UDP and TCP alike: the kernel of the test machine has
//! no netem.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::jump_host::own_loopback_address;
use crate::wait::until;

/// A datagram socket cannot be shut down: those who wait at one look this often whether the way still exists.
const LOOK: Duration = Duration::from_millis(200);
/// What a queue holds at most; TCP waits then, and UDP loses, as on a real way.
const QUEUE: usize = 4096;

/// A way that hands on what it is given, `delay` later and in order. It belongs to the namespace in which it was made.
pub struct SlowWay {
    address: SocketAddr,
    listener: TcpListener,
    is_over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl SlowWay {
    /// Makes one to `target`; it begins at a loopback address of its own.
    pub fn to(target: SocketAddr, delay: Duration) -> SlowWay {
        let address = SocketAddr::new(own_loopback_address().into(), target.port());
        let (listener, socket) = (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap());
        let is_over = Arc::new(AtomicBool::new(false));
        let over_udp = {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || carry_datagrams(Arc::new(socket), target, delay, &is_over))
        };
        let over_tcp = {
            let listener = listener.try_clone().unwrap();
            // A listener that was shut down accepts nothing more: that ends the loop.
            thread::spawn(move || {
                while let Ok((near, _)) = listener.accept() {
                    if let Ok(far) = TcpStream::connect(target) {
                        carry_stream(near.try_clone().unwrap(), far.try_clone().unwrap(), delay);
                        carry_stream(far, near, delay);
                    }
                }
            })
        };
        SlowWay { address, listener, is_over, tasks: vec![over_udp, over_tcp] }
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SlowWay {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        for task in self.tasks.drain(..) {
            let _ = task.join();
        }
    }
}

/// Does what it is given, `delay` later and in order, until its sender is dropped.
fn queue<T: Send + 'static>(delay: Duration, mut work: impl FnMut(T) + Send + 'static) -> SyncSender<(Instant, T)> {
    let (put, take) = sync_channel::<(Instant, T)>(QUEUE);
    thread::spawn(move || {
        for (came, item) in take {
            until(came + delay);
            work(item);
        }
    });
    put
}

/// There through one socket for each sender, and back through the one that they have sent to.
fn carry_datagrams(near: Arc<UdpSocket>, target: SocketAddr, delay: Duration, is_over: &Arc<AtomicBool>) {
    let mut far_sockets: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let there = queue(delay, |(far, datagram): (Arc<UdpSocket>, Vec<u8>)| {
        // The target may be away for now; then what it is sent is lost.
        let _ = far.send(&datagram);
    });
    let receiving = Arc::clone(&near);
    receive_datagrams(&receiving, is_over, |from, datagram| {
        let far = far_sockets.entry(from).or_insert_with(|| {
            let far = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
            far.connect(target).unwrap();
            let (near, returning, is_over) = (Arc::clone(&near), Arc::clone(&far), Arc::clone(is_over));
            let back = queue(delay, move |datagram: Vec<u8>| {
                let _ = near.send_to(&datagram, from);
            });
            thread::spawn(move || {
                receive_datagrams(&returning, &is_over, |_, datagram| drop(back.try_send((Instant::now(), datagram))));
            });
            far
        });
        let _ = there.try_send((Instant::now(), (Arc::clone(far), datagram)));
    });
}

fn receive_datagrams(socket: &UdpSocket, is_over: &AtomicBool, mut take: impl FnMut(SocketAddr, Vec<u8>)) {
    socket.set_read_timeout(Some(LOOK)).unwrap();
    let mut buffer = vec![0; 65_536];
    while !is_over.load(Ordering::SeqCst) {
        // An error is the timeout, or one that was sent back (ICMP) for a datagram of ours.
        if let Ok((count, from)) = socket.recv_from(&mut buffer) {
            take(from, buffer[..count].to_vec());
        }
    }
}

/// One direction of a TCP connection.
fn carry_stream(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    thread::spawn(move || {
        let _ = to.set_nodelay(true);
        let put = queue(delay, move |bytes: Vec<u8>| {
            let _ = if bytes.is_empty() { to.shutdown(Shutdown::Write) } else { to.write_all(&bytes) };
        });
        let mut buffer = vec![0; 65_536];
        loop {
            let count = from.read(&mut buffer).unwrap_or(0);
            // No bytes are the end, for the queue as for the reader.
            if put.send((Instant::now(), buffer[..count].to_vec())).is_err() || count == 0 {
                return;
            }
        }
    });
}
