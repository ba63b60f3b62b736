//! A line that is long and slow, as between a home and a data centre: what goes in comes out no faster than its rate, after its delay, in
//! order, in both directions; what has no room in its queue waits with the sender.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::failure::{Doing, Failure};

/// What is read at once: some packets.
const PIECE: usize = 8 * 1024;
/// What the kernel holds for the line, beside its own queue.
const KERNEL: usize = 32 * 1024;

/// How long and how slow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Bytes per second, in each direction.
    pub(crate) rate: u64,
    /// One way.
    pub(crate) delay: Duration,
    /// Bytes that may wait at its beginning.
    pub(crate) queue: usize,
}

/// A line to a server. Its threads end with the connections through it.
pub(crate) struct Line {
    address: SocketAddr,
}

impl Line {
    /// Lays it.
    pub(crate) fn start(kind: Kind, to: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("lay a line")?;
        // Inherited by what it accepts.
        set_socket_recv_buffer_size(&listener, KERNEL).doing("lay a line")?;
        let address = listener.local_addr().doing("lay a line")?;
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // Whoever finds the server away sees the connection end.
                let _ = join(kind, near, to);
            }
        });
        Ok(Self { address })
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn join(kind: Kind, near: TcpStream, to: SocketAddr) -> io::Result<()> {
    let far = TcpStream::connect(to)?;
    set_socket_recv_buffer_size(&far, KERNEL)?;
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        to.set_nodelay(true)?;
        // What flies is no queue: room for both.
        let flies = (kind.rate as f64 * kind.delay.as_secs_f64()) as usize;
        let (put, take) = sync_channel((kind.queue + flies) / PIECE + 2);
        thread::spawn(move || take_in(kind, from, &put));
        thread::spawn(move || {
            // Either end may have gone; then so does the other.
            let _ = give_out(&to, &take);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn take_in(kind: Kind, mut from: TcpStream, put: &SyncSender<(Instant, Vec<u8>)>) {
    let mut free_at = Instant::now();
    loop {
        let mut piece = vec![0; PIECE];
        let Ok(count @ 1..) = from.read(&mut piece) else { return };
        piece.truncate(count);
        free_at = free_at.max(Instant::now()) + Duration::from_secs_f64(count as f64 / kind.rate as f64);
        let waits = Duration::from_secs_f64(kind.queue as f64 / kind.rate as f64);
        thread::sleep((free_at - waits).saturating_duration_since(Instant::now()));
        if put.send((free_at + kind.delay, piece)).is_err() {
            return;
        }
    }
}

fn give_out(mut to: &TcpStream, take: &Receiver<(Instant, Vec<u8>)>) -> io::Result<()> {
    while let Ok((at, piece)) = take.recv() {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        to.write_all(&piece)?;
    }
    Ok(())
}
