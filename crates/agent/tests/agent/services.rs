//! Targets and programs that the tests play themselves, and waiting with a bound.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adit_agent::link::Lane;
use adit_agent::listener::{LocalListener, Towards};
use adit_core::{LocalListen, LoopbackAddress, Port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::free_port::free_port;

/// Long enough for a machine that is busy with other tests.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// Waits until `condition` holds; fails the test if that takes too long.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let look = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(BOUND, look).await.is_ok(), "this did not come true: {what}");
}

/// Waits for a future; fails the test if that takes too long.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, future).await {
        Ok(value) => value,
        Err(_) => panic!("this took too long: {what}"),
    }
}

/// What nobody writes into: whoever opens it as a file waits for ever.
pub(crate) fn make_pipe(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
}

/// A service on a loopback port; gone when dropped.
pub(crate) struct Service {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    async fn start<F: Future<Output = io::Result<()>> + Send>(
        serve: impl Fn(TcpStream) -> F + Send + Copy + 'static,
    ) -> Service {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut visitors = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                visitors.spawn(async move { serve(stream).await });
            }
        });
        Service { port, task }
    }

    /// Sends back what it receives, and ends when its visitor has.
    pub(crate) async fn echo() -> Service {
        Self::start(|mut stream| async move {
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await?;
            writer.shutdown().await
        })
        .await
    }

    /// Hears its visitor to the end, and only then says how much that was.
    pub(crate) async fn count() -> Service {
        Self::start(|mut stream| async move {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await?;
            stream.write_all(format!("{} bytes", all.len()).as_bytes()).await
        })
        .await
    }

    /// Sends as much as is taken, without end.
    pub(crate) async fn flood() -> Service {
        Self::start(|mut stream| async move {
            loop {
                stream.write_all(&[0; 65_536]).await?;
            }
        })
        .await
    }

    /// Hangs up on whoever comes, and counts them.
    pub(crate) async fn hang_up() -> (Service, Arc<AtomicUsize>) {
        let callers = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, counted) = (listener.local_addr().unwrap().port(), callers.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                drop(stream);
            }
        });
        (Service { port, task }, callers)
    }

    /// Says the same to every HTTP request.
    pub(crate) async fn web() -> Service {
        Self::start(|mut stream| async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await?);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nwelcome").await
        })
        .await
    }

    /// Accepts, and does nothing else.
    pub(crate) async fn stall() -> Service {
        Self::start(|stream| async move {
            std::future::pending::<()>().await;
            drop(stream);
            Ok(())
        })
        .await
    }
}

/// A local port that a lane serves.
pub(crate) fn listen(towards: &Towards, lane: &Arc<Lane>) -> LocalListener {
    for _ in 0..10 {
        let listen = LocalListen { address: LoopbackAddress::DEFAULT, port: Port::new(free_port()).unwrap() };
        // Somebody else may have taken the port.
        if let Ok(listener) = LocalListener::bind(listen, towards.clone()) {
            listener.set_lane(Some(lane.clone()));
            return listener;
        }
    }
    panic!("no port is free")
}

pub(crate) async fn connect(to: impl Into<SocketAddr>) -> TcpStream {
    TcpStream::connect(to.into()).await.unwrap()
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Says something, ends its half, and hears the answer to the end.
pub(crate) async fn ask(stream: &mut TcpStream, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let conversation = async {
        stream.write_all(question).await?;
        stream.shutdown().await?;
        stream.read_to_end(&mut answer).await
    };
    soon("the answer", conversation).await?;
    Ok(answer)
}

/// Says something to an echo and hears it back, without ending.
pub(crate) async fn ping(stream: &mut TcpStream) -> io::Result<()> {
    let mut back = [0; 4];
    stream.write_all(b"ping").await?;
    soon("an echo", stream.read_exact(&mut back)).await?;
    assert_eq!(&back, b"ping");
    Ok(())
}

/// A target that does not answer: its queue is full, so that the system drops who knocks.
pub(crate) struct BlackHole {
    pub(crate) port: u16,
    listener: socket2::Socket,
    _queued: Vec<socket2::Socket>,
}

impl BlackHole {
    pub(crate) fn open() -> BlackHole {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&loopback(0).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        // Linux takes one more than it was told to.
        for _ in 0..16 {
            let knocks = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let full = knocks.connect_timeout(&address, Duration::from_millis(200)).is_err();
            queued.push(knocks);
            if full {
                return BlackHole { port: address.as_socket().unwrap().port(), listener, _queued: queued };
            }
        }
        panic!("the system takes whoever knocks")
    }

    /// Makes room in the queue: who knocks again, as TCP does after a second, is let in.
    pub(crate) fn make_room(&self) {
        self.listener.listen(16).unwrap();
    }
}
