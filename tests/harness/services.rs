//! The private services that members share: they listen on a loopback address and are stopped when dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use crate::pattern::{receive_pattern, send_pattern};
use crate::wait::{eventually, within};

/// Where a service listens, as `ssh -R` wants to hear it.
pub trait ServiceAddress {
    /// The loopback port.
    fn port(&self) -> u16;
}

/// A service that the test plays itself.
impl ServiceAddress for TcpListener {
    fn port(&self) -> u16 {
        self.local_addr().expect("it listens").port()
    }
}

/// Sends back what it receives, and closes when its visitor has closed.
pub struct EchoService(Acceptor);

/// A target that nobody must reach: it counts who did.
pub struct CountingCanary(Acceptor);

/// Answers every request with `body` and hands the request's head back to the test.
pub struct HttpService {
    acceptor: Acceptor,
    requests: Arc<Mutex<Vec<String>>>,
}

/// Receives one stream and sends another of the same length, comparing every byte (see [`crate::exchange`]).
pub struct PatternService {
    acceptor: Acceptor,
    trouble: Arc<Mutex<Vec<Trouble>>>,
}

/// What came of a stream that did not end as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    Cut(String),
    Differs(String),
}

impl EchoService {
    /// Listens on a free loopback port.
    pub fn start() -> EchoService {
        EchoService(Acceptor::start(0, echo))
    }

    /// How many visitors came so far.
    pub fn visitors(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }
}

impl CountingCanary {
    /// Listens on a free loopback port.
    pub fn start() -> CountingCanary {
        CountingCanary(Acceptor::start(0, drop))
    }

    /// How many connections were made. A connection still in the backlog counts too: the canary is asked to accept
    /// one of our own, which stands behind all earlier ones.
    pub fn connections(&self) -> usize {
        let ours = TcpStream::connect((Ipv4Addr::LOCALHOST, self.0.port)).unwrap();
        let mut end = [0];
        // The canary closes every connection, so this read ends once ours was accepted and counted.
        let _ = (&ours).read(&mut end);
        self.0.count.fetch_sub(1, Ordering::SeqCst) - 1
    }
}

impl HttpService {
    /// Serves `body` on a free loopback port.
    pub fn start(body: &str) -> HttpService {
        HttpService::start_on(0, body)
    }

    /// Serves `body` on the given loopback port.
    pub fn start_on(port: u16, body: &str) -> HttpService {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let acceptor = Acceptor::start(port, move |mut stream| {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            seen.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            let _ = stream.write_all(answer.as_bytes());
        });
        HttpService { acceptor, requests }
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl PatternService {
    /// Listens on a free loopback port.
    pub fn start() -> PatternService {
        let trouble = Arc::new(Mutex::new(Vec::new()));
        let report = Arc::clone(&trouble);
        let acceptor = Acceptor::start(0, move |stream| {
            let outcome = std::panic::catch_unwind(|| answer_with_pattern(&stream));
            let trouble = match outcome {
                Ok(Ok(())) => return,
                Ok(Err(error)) => Trouble::Cut(error.to_string()),
                Err(panic) => Trouble::Differs(panic.downcast_ref::<String>().cloned().unwrap_or_default()),
            };
            report.lock().unwrap().push(trouble);
        });
        PatternService { acceptor, trouble }
    }

    /// Waits until every visitor so far is through; fails the test if any stream was cut or differed.
    pub fn assert_no_failure(&self) {
        assert_eq!(self.trouble_when_idle(), [], "at the service's end");
    }

    /// The same where streams may be cut: none differed, and none that was cut looked complete.
    pub fn assert_no_difference(&self) {
        let mut trouble = self.trouble_when_idle();
        trouble.retain(|trouble| matches!(trouble, Trouble::Differs(_)));
        assert_eq!(trouble, [], "at the service's end");
    }

    /// A visitor is done when its last byte is sent, which is before the service has received it.
    fn trouble_when_idle(&self) -> Vec<Trouble> {
        let patience = Duration::from_secs(20);
        eventually(patience, "the service is through with all visitors", || self.acceptor.is_idle());
        self.trouble.lock().unwrap().clone()
    }
}

fn answer_with_pattern(stream: &TcpStream) -> std::io::Result<()> {
    let mut word = [0; 8];
    let mut stream_ref = stream;
    // Who leaves without a word was no visitor: somebody has looked whether the service is there.
    if !stream.peek(&mut word).is_ok_and(|count| count > 0) {
        return Ok(());
    }
    stream_ref.read_exact(&mut word)?;
    let seed = u64::from_be_bytes(word);
    stream_ref.read_exact(&mut word)?;
    let total = u64::from_be_bytes(word);
    thread::scope(|scope| {
        let sender = scope.spawn(|| send_pattern(stream, !seed, total));
        let received = receive_pattern(stream, seed)?;
        assert_eq!(received, total, "bytes to the service");
        sender.join().expect("the sender does not panic")
    })
}

/// The next visitor of a service that the test plays itself.
pub fn next_visitor(listener: &TcpListener, bound: Duration) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let visitor = within(bound, "a visitor comes", || listener.accept().ok()).0;
    visitor.set_read_timeout(Some(bound)).unwrap();
    visitor
}

/// Connects to `address`, says `text` and returns whether the same text came back within `bound`.
pub fn asks_and_hears(address: SocketAddr, text: &str, bound: Duration) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, bound) else { return false };
    stream.set_read_timeout(Some(bound)).unwrap();
    let mut heard = vec![0; text.len()];
    stream.write_all(text.as_bytes()).is_ok() && stream.read_exact(&mut heard).is_ok() && heard == text.as_bytes()
}

fn echo(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

macro_rules! service_address {
    ($($service:ty => $acceptor:tt),*) => {
        $(impl ServiceAddress for $service {
            fn port(&self) -> u16 {
                self.$acceptor.port
            }
        })*
    };
}
service_address!(EchoService => 0, CountingCanary => 0, HttpService => acceptor, PatternService => acceptor);

/// A listening socket with one thread that accepts and one per visitor.
struct Acceptor {
    port: u16,
    count: Arc<AtomicUsize>,
    served: Arc<AtomicUsize>,
    listener: TcpListener,
    visitors: Arc<Mutex<Vec<TcpStream>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Acceptor {
    fn start(port: u16, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Acceptor {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a loopback port");
        let port = listener.local_addr().unwrap().port();
        let (count, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let visitors = Arc::new(Mutex::new(Vec::new()));
        let accepting = thread::spawn({
            let (count, served, visitors) = (Arc::clone(&count), Arc::clone(&served), Arc::clone(&visitors));
            let (listener, serve) = (listener.try_clone().unwrap(), Arc::new(serve));
            move || {
                // A listener that was shut down accepts nothing more: that ends the loop.
                while let Ok((stream, visitor)) = listener.accept() {
                    count.fetch_add(1, Ordering::SeqCst);
                    visitors.lock().unwrap().extend(stream.try_clone());
                    let (serve, served, visitors) = (Arc::clone(&serve), Arc::clone(&served), Arc::clone(&visitors));
                    thread::spawn(move || {
                        serve(stream);
                        served.fetch_add(1, Ordering::SeqCst);
                        visitors.lock().unwrap().retain(|open| open.peer_addr().is_ok_and(|other| other != visitor));
                    });
                }
            }
        });
        Acceptor { port, count, served, listener, visitors, accepting: Some(accepting) }
    }

    /// Whether every visitor that was accepted has been served to the end.
    fn is_idle(&self) -> bool {
        self.served.load(Ordering::SeqCst) == self.count.load(Ordering::SeqCst)
    }
}

impl Drop for Acceptor {
    /// Stops as a killed server does: no listener, and every visitor is cut.
    fn drop(&mut self) {
        // Not by a connection of our own: the listener may live in another network namespace than this thread.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for visitor in self.visitors.lock().unwrap().drain(..) {
            let _ = visitor.shutdown(Shutdown::Both);
        }
    }
}
