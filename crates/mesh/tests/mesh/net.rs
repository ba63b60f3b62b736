//! A mesh for a story: a root, and agents that are invited, join and run in this process, each with its own folder.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use adit_core::mesh::{Invitation, Rights, SignedInvitation};
use adit_mesh::config::{Forward, RawForward, RawMesh};
use adit_mesh::enrolment::{Grant, RootFolder, Token, join};
use adit_mesh::keys::SigningKey;
use adit_mesh::view::{Dashboard, ForwardState};
use adit_mesh::{Mesh, MeshError, MeshFolder};
use socket2::SockRef;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

#[path = "../../../../tests/free_port.rs"]
mod free_port;

/// No step of a story takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A root with a folder for each agent.
pub(crate) struct TestMesh {
    pub(crate) folder: TempDir,
    pub(crate) root: RootFolder,
}

/// What an agent is to be.
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    /// The agents that it dials.
    pub(crate) peers: &'a [SocketAddr],
    /// The `forward:` map.
    pub(crate) forward: &'a str,
    pub(crate) rights: Rights,
}

impl<'a> Wanted<'a> {
    /// One that may do everything.
    pub(crate) fn new(name: &'a str, peers: &'a [SocketAddr], forward: &'a str) -> Wanted<'a> {
        Wanted { name, peers, forward, rights: every_right() }
    }
}

pub(crate) fn every_right() -> Rights {
    rights(&["*"], &["*"], true)
}

pub(crate) fn rights(publish: &[&str], listen: &[&str], transit: bool) -> Rights {
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Rights { publish: patterns(publish), listen: patterns(listen), transit }
}

/// A listener for a key, at a port that the system gives.
pub(crate) fn listener(key: &str) -> String {
    format!("listeners: [{{key: {key}, address: '127.0.0.1:0'}}]")
}

/// An endpoint of a key.
pub(crate) fn endpoint(key: &str, target: SocketAddr) -> String {
    format!("endpoints: [{{key: {key}, target: '{target}'}}]")
}

impl TestMesh {
    pub(crate) fn new() -> TestMesh {
        let folder = TempDir::new().unwrap();
        let root = RootFolder::init(&folder.path().join("root")).unwrap();
        TestMesh { folder, root }
    }

    pub(crate) fn folder_of(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Invites an agent, which joins.
    pub(crate) fn enrol(&mut self, name: &str, rights: Rights) {
        let token = self.invite(name, rights);
        let folder = MeshFolder::open(&self.folder_of(name)).unwrap();
        folder.enrol(&join(&token, None).unwrap()).unwrap();
    }

    /// What an agent joins with.
    pub(crate) fn invite(&mut self, name: &str, rights: Rights) -> Token {
        let grant = Grant { name: name.parse().unwrap(), rights, redeem_within: DAY, lasts: DAY, peers: Vec::new() };
        self.root.invite(grant).unwrap()
    }

    /// A token like this one, of a membership that ends at another time (seconds of Unix): the root's people would sign none that is over.
    pub(crate) fn with_expiry(&self, token: &Token, expires: u64) -> Token {
        let written = std::fs::read_to_string(self.folder.path().join("root/root.json")).unwrap();
        let seed = written.split('"').nth(3).unwrap();
        let seed: Vec<u8> =
            (0..32).map(|index| u8::from_str_radix(&seed[2 * index..2 * index + 2], 16).unwrap()).collect();
        let root = SigningKey::from_seed(Zeroizing::new(seed.try_into().unwrap())).unwrap();
        assert_eq!(*root.public(), token.root);
        let invitation = Invitation { expires, ..token.invitation.invitation.clone() };
        let signature = root.sign(&invitation.to_sign());
        let key = SigningKey::from_seed(Zeroizing::new(*token.key.seed())).unwrap();
        Token { root: token.root, invitation: SignedInvitation { invitation, signature }, key, peers: Vec::new() }
    }

    /// Starts an agent that has joined.
    pub(crate) async fn start(&self, name: &str, peers: &[SocketAddr], forward: &str) -> Result<Mesh, MeshError> {
        start_in(&self.folder_of(name), peers, forward).await
    }

    /// Invites and starts an agent.
    pub(crate) async fn agent(&mut self, wanted: Wanted<'_>) -> Mesh {
        self.enrol(wanted.name, wanted.rights);
        self.start(wanted.name, wanted.peers, wanted.forward).await.unwrap()
    }

    /// Agents in a row, each with a link to the one before: the first listens for the key `web`, the last publishes it.
    pub(crate) async fn line(&mut self, names: &[&str], target: SocketAddr) -> Vec<Mesh> {
        let mut agents: Vec<Mesh> = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let before: Vec<SocketAddr> = agents.last().and_then(Mesh::address).into_iter().collect();
            let mut forward = String::new();
            if index + 1 == names.len() {
                forward.push_str(&format!("endpoints: [{{key: web, target: '{target}'}}]\n"));
            }
            if index == 0 {
                forward.push_str("listeners: [{key: web, address: '127.0.0.1:0'}]\n");
            }
            agents.push(self.agent(Wanted::new(name, &before, &forward)).await);
        }
        agents
    }
}

/// Starts the agent whose folder this is.
pub(crate) async fn start_in(folder: &Path, peers: &[SocketAddr], forward: &str) -> Result<Mesh, MeshError> {
    start_at(folder, "127.0.0.1:0".parse().unwrap(), peers, forward).await
}

/// Starts it where others know it to be.
pub(crate) async fn start_at(
    folder: &Path,
    listen: SocketAddr,
    peers: &[SocketAddr],
    forward: &str,
) -> Result<Mesh, MeshError> {
    let peers = peers.iter().map(ToString::to_string).collect();
    let raw = RawMesh { listen: Some(listen.to_string()), peers: Some(peers), ..RawMesh::default() };
    Mesh::start(raw.check(&raw_forward(forward))?, MeshFolder::open(folder)?).await
}

fn raw_forward(forward: &str) -> RawForward {
    match forward {
        "" => RawForward::default(),
        text => serde_saphyr::from_str(text).unwrap(),
    }
}

/// A `forward:` map, as an agent runs on it.
pub(crate) fn forward(text: &str) -> Forward {
    raw_forward(text).check().unwrap()
}

/// Starts an agent again as soon as its run before has let go of its folder and its port.
pub(crate) async fn restart(folder: &Path, listen: SocketAddr, peers: &[SocketAddr], forward: &str) -> Mesh {
    let again = async {
        loop {
            if let Ok(mesh) = start_at(folder, listen, peers, forward).await {
                return mesh;
            }
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, "a start", again).await
}

/// A port at which nobody is.
pub(crate) fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port::free_port()).into()
}

/// What is to happen happens in time.
pub(crate) async fn within<T>(time: Duration, what: &str, happens: impl Future<Output = T>) -> T {
    match tokio::time::timeout(time, happens).await {
        Ok(happened) => happened,
        Err(_) => panic!("no {what} within {time:?}"),
    }
}

/// Waits until what an agent shows is as the story wants it.
pub(crate) async fn until(mesh: &Mesh, what: &str, is_so: impl Fn(&Dashboard) -> bool) -> Dashboard {
    let mut changes = mesh.revisions();
    let wait = async {
        loop {
            let shown = mesh.dashboard();
            if is_so(&shown) {
                return shown;
            }
            // Links and counters change without a revision.
            let _ = tokio::time::timeout(Duration::from_millis(50), changes.changed()).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(shown) => shown,
        Err(_) => panic!("{}: never {what}: {:#?}", mesh.name(), mesh.dashboard()),
    }
}

/// Waits until connections for a key find their way.
pub(crate) async fn until_up(mesh: &Mesh, key: &str) -> Dashboard {
    let is_up = |shown: &Dashboard| {
        shown.forward_routes.iter().any(|route| route.key == key && route.state == ForwardState::Up)
    };
    until(mesh, "a way for the key", is_up).await
}

/// A service, until it is dropped.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Service {
    /// Serves each connection by itself.
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Service
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Service::start_at("127.0.0.1:0".parse().unwrap(), serve).await
    }

    /// At an address that is known before.
    pub(crate) async fn start_at<F>(address: SocketAddr, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Service
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let socket = TcpListener::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = socket.accept().await {
                tokio::spawn(serve(client));
            }
        });
        Service { address, _task: AbortOnDropHandle::new(task) }
    }
}

/// A service that sends back what it gets.
pub(crate) async fn echo() -> Service {
    Service::start(send_back).await
}

/// What such a service does with a connection.
pub(crate) async fn send_back(mut client: TcpStream) {
    let (mut read, mut write) = client.split();
    let _ = tokio::io::copy(&mut read, &mut write).await;
}

/// A service that says who it is to everybody, and ends.
pub(crate) async fn named(name: &'static str) -> Service {
    Service::start(move |mut client| async move {
        let _ = client.write_all(name.as_bytes()).await;
    })
    .await
}

/// A service whose other side the story plays itself.
pub(crate) async fn played() -> (Service, mpsc::UnboundedReceiver<TcpStream>) {
    let (put, connections) = mpsc::unbounded_channel();
    let service = Service::start(move |client| {
        let _ = put.send(client);
        async {}
    });
    (service.await, connections)
}

/// Where an agent listens for a key.
pub(crate) fn listens_at(mesh: &Mesh, key: &str) -> SocketAddr {
    mesh.listeners().into_iter().find(|at| at.key.as_str() == key).unwrap().address
}

/// A connection to the first listener of an agent.
pub(crate) async fn connect(mesh: &Mesh) -> TcpStream {
    TcpStream::connect(mesh.listeners()[0].address).await.unwrap()
}

/// A connection through the mesh, with its other end at a service that the story plays.
pub(crate) async fn pair(mesh: &Mesh, connections: &mut mpsc::UnboundedReceiver<TcpStream>) -> (TcpStream, TcpStream) {
    let client = connect(mesh).await;
    let server = within(PATIENCE, "connection at the target", connections.recv()).await.unwrap();
    (client, server)
}

/// Sends a text, ends, and reads all that comes back.
pub(crate) async fn exchange(mesh: &Mesh, text: &[u8]) -> io::Result<Vec<u8>> {
    exchange_over(TcpStream::connect(mesh.listeners()[0].address).await?, text).await
}

/// [`exchange`], over a connection that is there.
pub(crate) async fn exchange_over(mut client: TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
    let (mut read, mut write) = client.split();
    let sends = async {
        write.write_all(text).await?;
        write.shutdown().await
    };
    let mut back = Vec::new();
    let both = async { tokio::try_join!(sends, read.read_to_end(&mut back)) };
    within(PATIENCE, "answer", both).await?;
    Ok(back)
}

/// What the service behind an agent's first listener says.
pub(crate) async fn ask(mesh: &Mesh) -> String {
    said(mesh).await.unwrap()
}

async fn said(mesh: &Mesh) -> io::Result<String> {
    let mut client = TcpStream::connect(mesh.listeners()[0].address).await?;
    let mut said = String::new();
    within(PATIENCE, "answer", client.read_to_string(&mut said)).await?;
    Ok(said)
}

/// Asks until the answer is the wanted one, and says how long that took.
pub(crate) async fn until_answers(mesh: &Mesh, wanted: &str) -> Duration {
    let started = Instant::now();
    let asks = async { while said(mesh).await.ok().as_deref() != Some(wanted) {} };
    within(PATIENCE, wanted, asks).await;
    started.elapsed()
}

/// Cuts a connection, so that its other end is told of no honest end.
pub(crate) fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Waits until a connection is reset; answers what came before.
pub(crate) async fn until_reset(socket: &mut TcpStream) -> Vec<u8> {
    let mut before = Vec::new();
    let ended = within(PATIENCE, "end of the connection", socket.read_to_end(&mut before)).await;
    let kind = ended.map_err(|error| error.kind());
    assert_eq!(kind, Err(io::ErrorKind::ConnectionReset), "after {} bytes", before.len());
    before
}

/// A new connection is reset, also where that happens before it is of use.
pub(crate) async fn until_refused(mesh: &Mesh) {
    match TcpStream::connect(mesh.listeners()[0].address).await {
        Ok(mut client) => drop(until_reset(&mut client).await),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

/// Sends a word and waits for its echo.
pub(crate) async fn ping(client: &mut TcpStream) {
    client.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    within(PATIENCE, "echo", client.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"ping");
}

/// Bytes of which no part looks like another.
pub(crate) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}
