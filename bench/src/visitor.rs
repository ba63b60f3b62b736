//! Visitors: those who connect to a forwarded port.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::failure::{Doing, Failure};
use crate::service::{CHUNK, MESSAGE, Request};
use crate::stats::Latencies;

/// A tunnel that lets a visitor wait this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which way bulk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the service to the visitor: the server decrypts.
    Down,
    /// From the visitor to the service: the server encrypts.
    Up,
}

impl Direction {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Down, Self::Up];

    /// In a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
        }
    }
}

/// Where a visitor enters.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Door {
    /// A port on loopback that leads to the service.
    Port(u16),
    /// A SOCKS5 proxy on loopback that is asked for the service.
    Socks { proxy: u16, service: SocketAddr },
}

impl From<u16> for Door {
    fn from(port: u16) -> Self {
        Self::Port(port)
    }
}

impl Door {
    /// A connection to the service, which waits no longer than `patience` for anything.
    fn enter(self, patience: Duration) -> io::Result<TcpStream> {
        let (Self::Port(port) | Self::Socks { proxy: port, .. }) = self;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        if let Self::Socks { service, .. } = self {
            ask_proxy(&mut stream, service)?;
        }
        Ok(stream)
    }
}

/// RFC 1928 §3 to §6, without authentication, as a client does it that waits for each answer.
fn ask_proxy(stream: &mut TcpStream, service: SocketAddr) -> io::Result<()> {
    let SocketAddr::V4(service) = service else { return Err(io::Error::other("services have IPv4 addresses here")) };
    stream.write_all(&[5, 1, 0])?;
    stream.read_exact(&mut [0; 2])?;
    let [a, b, c, d] = service.ip().octets();
    let [high, low] = service.port().to_be_bytes();
    stream.write_all(&[5, 1, 0, 1, a, b, c, d, high, low])?;
    let mut answer = [0; 10];
    stream.read_exact(&mut answer)?;
    if answer[1] == 0 { Ok(()) } else { Err(io::Error::other(format!("the proxy refused: {}", answer[1]))) }
}

/// Goes in and asks for something.
pub(crate) fn visit(door: impl Into<Door>, request: Request) -> Result<TcpStream, Failure> {
    let door = door.into();
    let asked = door.enter(PATIENCE).and_then(|mut stream| stream.write_all(&request.encode()).map(|()| stream));
    asked.doing(format!("visit {door:?}"))
}

/// Carries `bytes` in one direction, over `flows` connections at once. Returns how long it took, connecting included.
pub(crate) fn carry(door: impl Into<Door>, direction: Direction, bytes: u64, flows: u64) -> Result<Duration, Failure> {
    let (door, began) = (door.into(), Instant::now());
    thread::scope(|scope| {
        let carriers: Vec<_> = (0..flows)
            .map(|_| {
                scope.spawn(move || match direction {
                    Direction::Down => download(door, bytes / flows),
                    Direction::Up => upload(door, bytes / flows),
                })
            })
            .collect();
        carriers
            .into_iter()
            .try_for_each(|carrier| carrier.join().unwrap_or_else(|_| Err(Failure::new("a visitor panicked"))))
    })?;
    Ok(began.elapsed())
}

fn download(door: Door, bytes: u64) -> Result<(), Failure> {
    let mut stream = visit(door, Request::Download(bytes))?;
    let mut chunk = vec![0; CHUNK];
    let mut came = 0;
    loop {
        match stream.read(&mut chunk).doing("download")? {
            0 if came == bytes => return Ok(()),
            0 => return Err(Failure::new(format!("the tunnel ended a download after {came} of {bytes} bytes"))),
            count => came += count as u64,
        }
    }
}

fn upload(door: Door, bytes: u64) -> Result<(), Failure> {
    let mut stream = visit(door, Request::Upload)?;
    let chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let len = left.min(CHUNK as u64);
        stream.write_all(&chunk[..len as usize]).doing("upload")?;
        left -= len;
    }
    stream.shutdown(Shutdown::Write).doing("end an upload")?;
    let mut arrived = [0; 8];
    stream.read_exact(&mut arrived).doing("hear that an upload arrived")?;
    match u64::from_be_bytes(arrived) {
        arrived if arrived == bytes => Ok(()),
        arrived => Err(Failure::new(format!("of {bytes} bytes uploaded {arrived} arrived"))),
    }
}

/// Asks and is answered on a connection of its own, to its end.
pub(crate) fn ask_once(door: impl Into<Door>) -> Result<(), Failure> {
    let mut stream = visit(door, Request::Reply)?;
    stream.write_all(&[0; MESSAGE]).doing("ask")?;
    let mut answer = Vec::with_capacity(MESSAGE);
    stream.read_to_end(&mut answer).doing("hear the answer")?;
    if answer.len() == MESSAGE { Ok(()) } else { Err(Failure::new(format!("the answer had {} bytes", answer.len()))) }
}

/// Whether somebody who comes now is answered within `patience`.
pub(crate) fn is_served(door: Door, patience: Duration) -> bool {
    let ask = || {
        let mut stream = door.enter(patience)?;
        stream.write_all(&Request::Reply.encode())?;
        stream.write_all(&[0; MESSAGE])?;
        stream.read_exact(&mut [0; MESSAGE])
    };
    ask().is_ok()
}

/// Sends small messages to and fro on one connection.
pub(crate) struct Pinger {
    stream: TcpStream,
}

impl Pinger {
    /// Connects, and waits for a first answer, so that the way is open end to end.
    pub(crate) fn start(door: impl Into<Door>) -> Result<Self, Failure> {
        let mut pinger = Self { stream: visit(door, Request::Echo)? };
        pinger.ping()?;
        Ok(pinger)
    }

    /// One message there and back.
    pub(crate) fn ping(&mut self) -> Result<Duration, Failure> {
        let began = Instant::now();
        let mut message = [0; MESSAGE];
        self.stream.write_all(&message).doing("send a ping")?;
        self.stream.read_exact(&mut message).doing("hear a ping's answer")?;
        Ok(began.elapsed())
    }

    /// One after the other, until the time is over.
    pub(crate) fn ping_for(&mut self, time: Duration) -> Result<Latencies, Failure> {
        let over = Instant::now() + time;
        let mut latencies = Latencies::default();
        while Instant::now() < over {
            latencies.push(self.ping()?);
        }
        Ok(latencies)
    }

    /// The same beside bulk, which must flow all the while; with the rate of that in 10^6 bytes per second.
    pub(crate) fn ping_beside(&mut self, bulk: &Bulk, time: Duration) -> Result<(Latencies, f64), Failure> {
        let (before, began) = (bulk.bytes(), Instant::now());
        let latencies = self.ping_for(time)?;
        let rate = (bulk.bytes() - before) as f64 / 1e6 / began.elapsed().as_secs_f64();
        if bulk.flows() { Ok((latencies, rate)) } else { Err(Failure::new("the bulk beside the pings ended")) }
    }
}

/// Bulk in the background, until it is dropped.
pub(crate) struct Bulk {
    stream: TcpStream,
    progress: Arc<Progress>,
    carrier: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Progress {
    stop: AtomicBool,
    bytes: AtomicU64,
}

impl Bulk {
    /// Starts it, and waits until the first bytes have gone through.
    pub(crate) fn start(door: impl Into<Door>, direction: Direction) -> Result<Self, Failure> {
        let request = match direction {
            Direction::Down => Request::Download(u64::MAX),
            Direction::Up => Request::Upload,
        };
        let mut stream = visit(door, request)?;
        let mut chunk = vec![0; CHUNK];
        let mut step = move |stream: &mut TcpStream| match direction {
            Direction::Down => stream.read(&mut chunk),
            Direction::Up => stream.write(&chunk),
        };
        // More than all the buffers on the way hold together, so that it flows.
        let mut begun = 0;
        while begun < 32 << 20 {
            begun += step(&mut stream).doing("begin bulk")?;
        }
        let progress = Arc::new(Progress::default());
        let (mut moving, shared) = (stream.try_clone().doing("share a socket")?, progress.clone());
        let carrier = thread::spawn(move || {
            while !shared.stop.load(Ordering::Relaxed) {
                match step(&mut moving) {
                    Ok(count @ 1..) => shared.bytes.fetch_add(count as u64, Ordering::Relaxed),
                    Ok(0) | Err(_) => return,
                };
            }
        });
        Ok(Self { stream, progress, carrier: Some(carrier) })
    }

    /// Whether it still flows, or was ended by the tunnel.
    fn flows(&self) -> bool {
        self.carrier.as_ref().is_some_and(|carrier| !carrier.is_finished())
    }

    /// Bytes so far, on this end.
    fn bytes(&self) -> u64 {
        self.progress.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        self.progress.stop.store(true, Ordering::Relaxed);
        // It may be closed already; then the thread has ended.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.carrier.take().map(JoinHandle::join);
    }
}
