//! Stories in which somebody does not do what agents do: a transit that changes what goes through it, a member that asks for what it has
//! no right to, strangers at the door. Whoever is on the other side of them is a whole agent.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adit_core::mesh::{
    AgentId, Answer, CircuitId, CircuitRefused, Frame, Hello, LinkRefused, MAX_FRAME, Node, Open, Protocol, Purpose,
    Request, Rights, Root, UnixTime,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::enrolment::{join, unix_millis, unix_time};
use crate::handshake::{self, NoLink, Side, greet};
use crate::hub::{Hub, Link};
use crate::keys::{Provider, SigningKey, random};
use crate::noise::{Initiator, LENGTH};
use crate::stream::{Receiver, Sender};
use crate::test_net::{
    PATIENCE, Service, TestMesh, Wanted, connect, echo, endpoint, every_right, exchange, listener, pattern, ping,
    rights, until, until_refused, until_up, within,
};
use crate::transport::{MAX_STREAMS, Transport, quic, tcp};
use crate::{Mesh, MeshFolder, tls};

/// A member of the mesh whose links and circuits are in the story's hands.
struct Hostile {
    hub: Arc<Hub>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

async fn dial(identity: &SigningKey, agent: &Mesh) -> Transport {
    let endpoint = quic::endpoint(identity, &[7; 32], None).unwrap();
    Transport::quic(endpoint.connect(agent.address().unwrap(), tls::NAME).unwrap().await.unwrap())
}

async fn dial_over_tcp(identity: &SigningKey, agent: &Mesh) -> Transport {
    Transport::Tcp(tcp::Tls::new(identity).unwrap().connect(agent.address().unwrap()).await.unwrap())
}

impl Hostile {
    /// Has joined the mesh, and lives at this time.
    fn at(mesh: &TestMesh, name: &str, unix: UnixTime) -> Hostile {
        let folder = MeshFolder::open(&mesh.folder_of(name)).unwrap();
        let (enrolled, kept) = (folder.enrolled().unwrap(), folder.kept().unwrap());
        let root = Root::new(&Provider, enrolled.root);
        let (keys, certificate) = (enrolled.keys.clone(), &enrolled.certificate);
        let node = Node::new(keys.clone(), root, certificate, kept, Instant::now(), unix).unwrap();
        Hostile { hub: Arc::new(Hub::new(node, keys, false)), _tasks: Vec::new() }
    }

    /// Joins the mesh and has a link with each of these agents.
    async fn join(mesh: &mut TestMesh, name: &str, rights: Rights, agents: &[&Mesh]) -> Hostile {
        mesh.enrol(name, rights);
        let Hostile { hub, .. } = Hostile::at(mesh, name, unix_time());
        let running = Arc::clone(&hub);
        let mut tasks = vec![spawn(async move { running.run().await })];
        for agent in agents {
            let transport = dial(&hub.keys.identity, agent).await;
            let greeted = greet(&hub, transport, Side::Dialled).await.unwrap();
            tasks.push(spawn(tell(Arc::clone(&hub), Arc::clone(&greeted.link), greeted.send)));
            tasks.push(spawn(hear(Arc::clone(&hub), greeted.link, greeted.recv)));
        }
        Hostile { hub, _tasks: tasks }
    }

    fn id(&self) -> AgentId {
        self.hub.me.id()
    }

    fn link(&self, agent: &Mesh) -> Arc<Link> {
        self.hub.link(agent.id().parse().unwrap()).unwrap()
    }

    /// The beginning of a circuit that this member makes up.
    fn open(&self, endpoint: &Mesh, key: &str, origin: AgentId, purpose: Purpose) -> (Initiator, Open) {
        let mut open = Open {
            circuit: CircuitId(random().unwrap()),
            origin,
            key: key.parse().unwrap(),
            protocol: Protocol::Tcp,
            hops: Vec::new(),
            handshake: Vec::new(),
        };
        let certificate = self.hub.me.certificate().clone();
        let request = Request { made_at: unix_millis(), purpose, certificate };
        let state = self.hub.state();
        let prologue = open.prologue(state.node.membership().root().mesh());
        let session_key = *state.node.membership().get(endpoint.id().parse().unwrap()).unwrap().session_key();
        let (initiator, handshake) =
            Initiator::start(&self.hub.keys.session, &session_key, &prologue, &request.encode()).unwrap();
        open.handshake = handshake;
        (initiator, open)
    }

    /// Sends it over the link with an agent.
    async fn ask(&self, agent: &Mesh, open: &Open) -> Answer {
        let (mut send, mut recv) = self.link(agent).transport.open().await.unwrap();
        send.write_all(&open.encode()).await.unwrap();
        let answer = within(PATIENCE, "answer", recv.read_block(Answer::MAX_LENGTH)).await.unwrap();
        Answer::decode(&answer).unwrap()
    }

    /// Waits until it knows an agent.
    async fn until_known(&self, agent: &Mesh) {
        let mut changes = self.hub.revisions();
        let id = agent.id().parse().unwrap();
        within(PATIENCE, "acquaintance", async {
            while self.hub.state().node.membership().get(id).is_none() {
                changes.changed().await.unwrap();
            }
        })
        .await;
    }
}

/// Tells what there is to tell on a link.
async fn tell(hub: Arc<Hub>, link: Arc<Link>, mut send: Sender) {
    loop {
        while let Some(frame) = hub.next_frame(&link) {
            if send.write_all(&frame.encode()).await.is_err() {
                return;
            }
        }
        link.wake.notified().await;
    }
}

async fn hear(hub: Arc<Hub>, link: Arc<Link>, mut recv: Receiver) {
    while let Ok(frame) = handshake::read(&mut recv, MAX_FRAME).await {
        hub.handle_frame(&link, frame);
    }
}

/// What the transit does to a circuit.
#[derive(Debug, Clone, Copy)]
enum Trick {
    Nothing,
    /// Another key stands in the opening.
    Key,
    Origin,
    Circuit,
    /// A bit of the handshake's first message, at this byte.
    FlipRequest(usize),
    /// A bit of the handshake's second.
    FlipAnswer(usize),
    /// The opening of an earlier circuit comes once more.
    Replay,
    /// Something happens to the messages of one direction.
    Message(Toward, Change),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Toward {
    Endpoint,
    Listener,
}

/// What happens at the message with this number.
#[derive(Debug, Clone, Copy)]
enum Change {
    LeaveOut(usize),
    Repeat(usize),
    SwapWithNext(usize),
    /// A bit at this byte, the length included.
    Flip(usize, usize),
    /// The last byte is missing, as the length says.
    Shorten(usize),
    /// The message of the other direction comes in its place.
    Reflect(usize),
    /// The transport's honest end comes in its place.
    End(usize),
    /// It ends within the message.
    EndWithin(usize),
}

/// Passes circuits from one agent on to another, with a trick.
struct Transit {
    _hostile: Hostile,
    trick: Arc<Mutex<Trick>>,
    /// All that circuits which came to an honest end have said.
    heard: Arc<Mutex<Vec<u8>>>,
    _task: AbortOnDropHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transit {
    async fn between(mesh: &mut TestMesh, ingress: &Mesh, exit: &Mesh) -> Transit {
        let hostile = Hostile::join(mesh, "transit", every_right(), &[ingress, exit]).await;
        let trick = Arc::new(Mutex::new(Trick::Nothing));
        let (from, to, me) = (hostile.link(ingress), hostile.link(exit), hostile.id());
        let (played, recorded, heard) = (Arc::clone(&trick), Arc::new(Mutex::new(None)), Arc::default());
        let hears = Arc::clone(&heard);
        let task = spawn(async move {
            while let Ok((send, recv)) = from.transport.accept().await {
                let (trick, recorded, to) = (*lock(&played), Arc::clone(&recorded), Arc::clone(&to));
                let heard: Arc<Mutex<Vec<u8>>> = Arc::clone(&hears);
                tokio::spawn(async move {
                    // What breaks here breaks for both.
                    if let Ok(passed) = pass_on(trick, me, &recorded, &to, send, recv).await {
                        lock(&heard).extend(passed);
                    }
                });
            }
        });
        Transit { _hostile: hostile, trick, heard, _task: task }
    }
}

/// Answers what it has passed on, in both directions.
async fn pass_on(
    trick: Trick,
    me: AgentId,
    recorded: &Mutex<Option<Vec<u8>>>,
    to: &Link,
    mut back: Sender,
    mut recv: Receiver,
) -> std::io::Result<Vec<u8>> {
    let mut open = Open::decode(&recv.read_block(Open::MAX_LENGTH).await?).unwrap();
    open.hops.remove(0);
    match trick {
        Trick::Key => open.key = "other".parse().unwrap(),
        Trick::Origin => open.origin = me,
        Trick::Circuit => open.circuit.0[15] ^= 1,
        Trick::FlipRequest(byte) => flip(&mut open.handshake, byte),
        _ => {}
    }
    let (mut on, mut answers) = to.transport.open().await?;
    let opening = open.encode();
    let opening = match (trick, &mut *lock(recorded)) {
        (Trick::Replay, Some(earlier)) => earlier.clone(),
        (_, recorded) => recorded.insert(opening).clone(),
    };
    on.write_all(&opening).await?;
    let mut answer = answers.read_block(Answer::MAX_LENGTH).await?;
    if let Trick::FlipAnswer(byte) = trick {
        flip(&mut answer[1..], byte);
    }
    back.write_all(&framed(&answer)).await?;
    let (there, and_back) = match trick {
        Trick::Message(Toward::Endpoint, change) => (Some(change), None),
        Trick::Message(Toward::Listener, change) => (None, Some(change)),
        _ => (None, None),
    };
    let (up, down) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    tokio::try_join!(carry(recv, on, there, &up, &down), carry(answers, back, and_back, &down, &up))?;
    let said = [lock(&up).concat(), lock(&down).concat()].concat();
    Ok([opening, answer, said].concat())
}

fn flip(bytes: &mut [u8], at: usize) {
    let at = at % bytes.len();
    bytes[at] ^= 0x10;
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// Passes messages on in one direction, up to the honest end. `seen` is what it has passed on, `others` what came the other way.
async fn carry(
    mut from: Receiver,
    mut to: Sender,
    change: Option<Change>,
    seen: &Mutex<Vec<Vec<u8>>>,
    others: &Mutex<Vec<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut held: Option<Vec<u8>> = None;
    for number in 0.. {
        let mut message = match read_message(&mut from).await? {
            Some(message) => message,
            None => break,
        };
        lock(seen).push(message.clone());
        match change {
            Some(Change::LeaveOut(at)) if at == number => continue,
            Some(Change::Repeat(at)) if at == number => to.write_all(&message).await?,
            Some(Change::SwapWithNext(at)) if at == number => {
                held = Some(message);
                continue;
            }
            Some(Change::Flip(at, byte)) if at == number => flip(&mut message, byte),
            Some(Change::Shorten(at)) if at == number => message = framed(&message[LENGTH..message.len() - 1]),
            Some(Change::Reflect(at)) if at == number => message = lock(others).last().cloned().unwrap_or_default(),
            Some(Change::End(at)) if at == number => break,
            Some(Change::EndWithin(at)) if at == number => {
                to.write_all(&message[..message.len() - 1]).await?;
                break;
            }
            _ => {}
        }
        to.write_all(&message).await?;
        if let Some(held) = held.take() {
            to.write_all(&held).await?;
        }
    }
    to.finish().await?;
    // Who is cut while the other one still talks would be known by its silence alone.
    while let Some(_unheard) = read_message(&mut from).await? {}
    Ok(())
}

/// A message with its length, or the end.
async fn read_message(from: &mut Receiver) -> std::io::Result<Option<Vec<u8>>> {
    match from.read_block(usize::MAX).await {
        Ok(message) => Ok(Some(framed(&message))),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a service was told, which it sends back as well.
async fn recording() -> (Service, Arc<Mutex<Vec<Vec<u8>>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&told);
    let service = Service::start(move |mut client| {
        let record = Arc::clone(&record);
        async move {
            let number = {
                let mut told = lock(&record);
                told.push(Vec::new());
                told.len() - 1
            };
            let mut piece = vec![0; 40_000];
            while let Ok(read @ 1..) = client.read(&mut piece).await {
                lock(&record)[number].extend_from_slice(&piece[..read]);
                if client.write_all(&piece[..read]).await.is_err() {
                    return;
                }
            }
        }
    });
    (service.await, told)
}

struct Stage {
    _mesh: TestMesh,
    ingress: Mesh,
    exit: Mesh,
    transit: Transit,
    /// What the service was told, by connection.
    told: Arc<Mutex<Vec<Vec<u8>>>>,
    _service: Service,
}

async fn stage() -> Stage {
    let mut mesh = TestMesh::new();
    let (service, told) = recording().await;
    let ingress = mesh.agent(Wanted::new("ingress", &[], &listener("web"))).await;
    let endpoints = format!("endpoints: [{{key: web, target: '{0}'}}, {{key: other, target: '{0}'}}]", service.address);
    let exit = mesh.agent(Wanted::new("exit", &[], &endpoints)).await;
    let transit = Transit::between(&mut mesh, &ingress, &exit).await;
    until_up(&ingress, "web").await;
    Stage { _mesh: mesh, ingress, exit, transit, told, _service: service }
}

impl Stage {
    fn tampered(&self) -> u64 {
        self.ingress.stats().tampered + self.exit.stats().tampered
    }

    /// Sends all of it while the transit plays a trick, and checks that nobody was fooled. What came back.
    async fn play(&self, trick: Trick, sent: &[u8]) -> (Vec<u8>, Result<(), std::io::ErrorKind>) {
        *lock(&self.transit.trick) = trick;
        let before = lock(&self.told).len();
        let (mut back, mut ended) = (Vec::new(), Err(std::io::ErrorKind::ConnectionReset));
        if let Ok(mut client) = TcpStream::connect(self.ingress.listeners()[0].address).await {
            let (mut read, mut write) = client.split();
            let sends = async {
                let wrote = write.write_all(sent).await;
                // Whoever is reset hears it otherwise.
                let _ = write.shutdown().await;
                wrote
            };
            let (wrote, read) = within(PATIENCE, &format!("end of {trick:?}"), async {
                tokio::join!(sends, read.read_to_end(&mut back))
            })
            .await;
            // The system says once that a connection was reset: to who writes or to who reads.
            ended = read.map(drop).and(wrote).map_err(|error| error.kind());
        }
        for told in &lock(&self.told)[before..] {
            assert!(sent.starts_with(told), "{trick:?}: the service was told what nobody sent");
        }
        assert!(sent.starts_with(&back), "{trick:?}: the client was told what nobody sent");
        (back, ended)
    }

    /// The same, of a trick that has to be seen through.
    async fn play_in_vain(&self, trick: Trick, sent: &[u8]) {
        let tampered = self.tampered();
        let (back, ended) = self.play(trick, sent).await;
        assert_eq!(ended, Err(std::io::ErrorKind::ConnectionReset), "{trick:?} after {} bytes", back.len());
        until(&self.ingress, &format!("{trick:?} counted"), |_| self.tampered() > tampered).await;
    }

    async fn until_idle(&self) {
        for mesh in [&self.ingress, &self.exit] {
            until(mesh, "no connection", |shown| shown.agent.connections == 0).await;
        }
    }
}

fn refused(mesh: &Mesh, why: CircuitRefused) -> u64 {
    mesh.stats().refused.iter().find(|refused| refused.reason == why.label()).map_or(0, |refused| refused.count)
}

/// Some messages in each direction.
const LENGTH_OF_TALK: usize = 300_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_changed_in_a_handshake_reaches_nobody() {
    let stage = stage().await;
    let sent = pattern(1, LENGTH_OF_TALK);
    assert_eq!(stage.play(Trick::Nothing, &sent).await, (sent.clone(), Ok(())));
    stage.until_idle().await;
    assert_eq!(stage.tampered(), 0);
    let connections = lock(&stage.told).len();
    for trick in [Trick::Key, Trick::Origin, Trick::Circuit] {
        stage.play_in_vain(trick, &sent).await;
    }
    let length = 300;
    for byte in (0..length).step_by(3) {
        stage.play_in_vain(Trick::FlipRequest(byte), &sent).await;
    }
    assert!(refused(&stage.exit, CircuitRefused::BadHandshake) > 100);
    let before = stage.ingress.stats().keys[0].failed;
    for byte in 0..48 {
        stage.play_in_vain(Trick::FlipAnswer(byte), &sent).await;
    }
    assert_eq!(stage.ingress.stats().keys[0].failed, before + 48);
    assert!(
        lock(&stage.told)[connections..].iter().all(Vec::is_empty),
        "no byte of a client before the session stands"
    );
    // Of these the endpoint's agent knew nothing wrong.
    let connections = connections + 48;
    until(&stage.exit, "all of them at the target", |_| lock(&stage.told).len() == connections).await;
    let (_, ended) = stage.play(Trick::Replay, &sent).await;
    assert_eq!(ended, Err(std::io::ErrorKind::ConnectionReset));
    assert_eq!(refused(&stage.exit, CircuitRefused::Replayed), 1);
    assert_eq!(lock(&stage.told).len(), connections, "the target is not even dialled");
    assert_eq!(stage.play(Trick::Nothing, &sent).await, (sent.clone(), Ok(())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transit_reads_nothing_of_what_it_passes_on() {
    const PIECE: usize = 16;
    let stage = stage().await;
    let sent = pattern(4, LENGTH_OF_TALK);
    assert_eq!(stage.play(Trick::Nothing, &sent).await, (sent.clone(), Ok(())));
    // It came back as well.
    until(&stage.exit, "all of it heard", |_| lock(&stage.transit.heard).len() > 2 * sent.len()).await;
    let pieces: HashSet<&[u8]> = sent.windows(PIECE).collect();
    let heard = lock(&stage.transit.heard).clone();
    assert!(!heard.windows(PIECE).any(|piece| pieces.contains(piece)), "a piece of it is to be read at the transit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_changed_in_a_session_is_seen_and_ends_it() {
    let stage = stage().await;
    let sent = pattern(2, LENGTH_OF_TALK);
    for toward in [Toward::Endpoint, Toward::Listener] {
        for change in [
            Change::LeaveOut(1),
            Change::Repeat(1),
            Change::SwapWithNext(1),
            Change::Shorten(1),
            Change::Reflect(2),
            Change::End(2),
            Change::EndWithin(2),
        ] {
            stage.play_in_vain(Trick::Message(toward, change), &sent).await;
        }
        // The length, the first bytes, the middle, the tag.
        for byte in [0, 1, 2, 3, 17, 1000, 20_000, usize::MAX - 3, usize::MAX] {
            for message in [1, 3] {
                stage.play_in_vain(Trick::Message(toward, Change::Flip(message, byte)), &sent).await;
            }
        }
    }
    // What the endpoint says first.
    for change in [Change::Flip(0, 5), Change::Repeat(0)] {
        stage.play_in_vain(Trick::Message(Toward::Listener, change), &sent).await;
    }
    let (_, ended) = stage.play(Trick::Message(Toward::Listener, Change::End(0)), &sent).await;
    assert_eq!(ended, Err(std::io::ErrorKind::ConnectionReset));
    assert_eq!(stage.play(Trick::Nothing, &sent).await, (sent.clone(), Ok(())));
    stage.until_idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_gets_no_circuit_that_it_has_no_right_to() {
    let mut mesh = TestMesh::new();
    let (service, told) = recording().await;
    let target = service.address;
    let exit = mesh.agent(Wanted::new("exit", &[], &endpoint("web", target))).await;
    let no_transit = Wanted { rights: rights(&["*"], &["*"], false), ..Wanted::new("no-transit", &[], "") };
    let no_transit = mesh.agent(no_transit).await;
    let narrow = rights(&[], &["db"], false);
    let hostile = Hostile::join(&mut mesh, "hostile", narrow, &[&exit, &no_transit]).await;
    hostile.until_known(&exit).await;
    let by = |agent: &Mesh, why| Answer::Refused { by: agent.id().parse().unwrap(), why };
    let open = |key: &str, origin| hostile.open(&exit, key, origin, Purpose::Connect).1;
    assert_eq!(hostile.ask(&exit, &open("web", hostile.id())).await, by(&exit, CircuitRefused::NoRight));
    assert_eq!(hostile.ask(&exit, &open("db", hostile.id())).await, by(&exit, CircuitRefused::UnknownKey));
    let in_anothers_name = open("web", no_transit.id().parse().unwrap());
    assert_eq!(hostile.ask(&exit, &in_anothers_name).await, by(&exit, CircuitRefused::BadHandshake));
    let mut farther = open("web", hostile.id());
    farther.hops = vec![exit.id().parse().unwrap()];
    assert_eq!(hostile.ask(&no_transit, &farther).await, by(&no_transit, CircuitRefused::NoTransit));
    farther.hops = vec![AgentId([9; 16])];
    assert_eq!(hostile.ask(&exit, &farther).await, by(&exit, CircuitRefused::NoLink));
    let counted =
        [CircuitRefused::NoRight, CircuitRefused::UnknownKey, CircuitRefused::BadHandshake, CircuitRefused::NoLink];
    assert_eq!(counted.map(|why| refused(&exit, why)), [1; 4]);
    assert_eq!(refused(&no_transit, CircuitRefused::NoTransit), 1);
    assert!(lock(&told).is_empty(), "no target was dialled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_is_good_once() {
    let mut mesh = TestMesh::new();
    let (service, told) = recording().await;
    let exit = mesh.agent(Wanted::new("exit", &[], &endpoint("web", service.address))).await;
    let member = Hostile::join(&mut mesh, "member", every_right(), &[&exit]).await;
    member.until_known(&exit).await;
    let (_, open) = member.open(&exit, "web", member.id(), Purpose::Connect);
    assert!(matches!(member.ask(&exit, &open).await, Answer::Accepted(_)));
    until(&exit, "one connection", |_| lock(&told).len() == 1).await;
    let again = member.ask(&exit, &open).await;
    assert_eq!(again, Answer::Refused { by: exit.id().parse().unwrap(), why: CircuitRefused::Replayed });
    assert_eq!((lock(&told).len(), refused(&exit, CircuitRefused::Replayed)), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_revoked_while_it_knocked_gets_no_link() {
    let mut mesh = TestMesh::new();
    let agent = mesh.agent(Wanted::new("agent", &[], "")).await;
    let member = Hostile::join(&mut mesh, "member", every_right(), &[&agent]).await;
    member.until_known(&agent).await;
    let peer = member.link(&agent).peer.clone();
    let list = mesh.root.revoke("agent").unwrap();
    let told = member.hub.change(|state| state.node.handle_record(None, &list, Instant::now(), unix_time()));
    assert_eq!(told, Ok(true));
    let again = dial(&member.hub.keys.identity, &agent).await;
    assert_eq!(member.hub.adopt(peer, again, u64::MAX).err(), Some(LinkRefused::NoMember));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_or_something_else_gets_no_link() {
    let mut mesh = TestMesh::new();
    let agent = mesh.agent(Wanted::new("agent", &[], "")).await;
    let member = Hostile::join(&mut mesh, "member", every_right(), &[&agent]).await;
    let stranger = SigningKey::generate().unwrap();
    let certificate = member.hub.me.certificate().clone();
    let hello = |certificate| Frame::Hello(Box::new(Hello { mesh: mesh.root.mesh(), certificate })).encode();
    let mut forged = certificate.clone();
    forged.identity = *stranger.public();
    let first_messages = [
        Frame::Ping(1).encode(),
        Frame::Digest(Vec::new()).encode(),
        Frame::Welcome(u64::MAX).encode(),
        hello(certificate),
        hello(forged),
        vec![0xff; 64],
        vec![0, 0, 0, 0],
        vec![0, 0, 0, 200, 1],
        Vec::new(),
    ];
    let mut knocks = tokio::task::JoinSet::new();
    let started = Instant::now();
    for first in first_messages {
        for transport in [dial(&stranger, &agent).await, dial_over_tcp(&stranger, &agent).await] {
            let first = first.clone();
            knocks.spawn(async move {
                let (mut send, _recv) = transport.open().await.unwrap();
                let _ = send.write_all(&first).await;
                within(PATIENCE, "end of the connection", transport.closed()).await;
            });
        }
    }
    within(PATIENCE, "all ends", knocks.join_all()).await;
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    let shown = agent.dashboard();
    assert_eq!((shown.peers.len(), shown.routes.len()), (1, 2), "the member alone");
    assert!(shown.stats.links_refused >= 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_has_one_stream() {
    let mut mesh = TestMesh::new();
    let agent = mesh.agent(Wanted::new("agent", &[], "")).await;
    let stranger = SigningKey::generate().unwrap();
    let over_udp = dial(&stranger, &agent).await;
    let _first = over_udp.open().await.unwrap();
    assert!(within(PATIENCE, "end", over_udp.open()).await.is_err(), "a stranger has a second stream");
    let over_tcp = dial_over_tcp(&stranger, &agent).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let Ok((mut send, recv)) = over_tcp.open().await else { break };
        // Too little to be judged by.
        let _ = send.write_all(&[0]).await;
        held.push((send, recv));
    }
    within(Duration::from_secs(3), "end of who opens many", over_tcp.closed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_hundred_silent_strangers_keep_no_member_out() {
    let mut mesh = TestMesh::new();
    let (service, _told) = recording().await;
    let agent = mesh.agent(Wanted::new("agent", &[], &endpoint("web", service.address))).await;
    let mut strangers = Vec::new();
    for _ in 0..600 {
        strangers.push(TcpStream::connect(agent.address().unwrap()).await.unwrap());
    }
    let member = mesh.agent(Wanted::new("member", &[agent.address().unwrap()], &listener("web"))).await;
    until_up(&member, "web").await;
    assert_eq!(exchange(&member, b"hello").await.unwrap(), b"hello");
    for mut stranger in strangers {
        let ended = within(PATIENCE, "end of a stranger", stranger.read(&mut [0; 1])).await;
        assert!(!matches!(ended, Ok(1..)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_come_again_and_again_keep_no_member_out() {
    let mut mesh = TestMesh::new();
    let agent = mesh.agent(Wanted::new("agent", &[], "")).await;
    let address = agent.address().unwrap();
    let from_elsewhere = move || async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(address).await.unwrap()
    };
    // Many times as many as have a place.
    let mut crowd = Vec::new();
    for _ in 0..640 {
        let mut stranger = from_elsewhere().await;
        crowd.push(spawn(async move {
            loop {
                let _ = stranger.read(&mut [0; 1]).await;
                stranger = from_elsewhere().await;
            }
        }));
    }
    let member = Hostile::join(&mut mesh, "member", every_right(), &[]).await;
    for _ in 0..10 {
        let transport = dial_over_tcp(&member.hub.keys.identity, &agent).await;
        // The agent has answered, also where a link is there already.
        let greeted = within(PATIENCE, "answer", greet(&member.hub, transport, Side::Dialled)).await;
        assert!(matches!(greeted, Ok(_) | Err(NoLink::Linked(_))), "{:?}", greeted.err().map(|why| why.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circuit_that_nobody_answers_is_given_up() {
    let mut mesh = TestMesh::new();
    let transit = mesh.agent(Wanted::new("transit", &[], "")).await;
    let silent = Hostile::join(&mut mesh, "silent", every_right(), &[&transit]).await;
    let asker = Hostile::join(&mut mesh, "asker", every_right(), &[&transit]).await;
    asker.until_known(&transit).await;
    let (_, mut open) = asker.open(&transit, "web", asker.id(), Purpose::Connect);
    open.hops = vec![silent.id()];
    let (mut send, mut recv) = asker.link(&transit).transport.open().await.unwrap();
    send.write_all(&open.encode()).await.unwrap();
    until(&transit, "a circuit", |shown| shown.stats.transits == 1).await;
    assert!(within(PATIENCE, "end", recv.read_exact(&mut [0; 1])).await.is_err());
    until(&transit, "no circuit", |shown| shown.stats.transits == 0).await;
    // One whose asker gives up ends at once.
    let (mut send, recv) = asker.link(&transit).transport.open().await.unwrap();
    open.circuit = CircuitId(random().unwrap());
    send.write_all(&open.encode()).await.unwrap();
    until(&transit, "another circuit", |shown| shown.stats.transits == 1).await;
    let given_up = Instant::now();
    drop((send, recv));
    until(&transit, "no circuit", |shown| shown.stats.transits == 0).await;
    assert!(given_up.elapsed() < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_ends_connections_of_whom_nobody_else_knows() {
    let mut mesh = TestMesh::new();
    let agent = Hostile::join(&mut mesh, "agent", every_right(), &[]).await;
    let hidden = Hostile::join(&mut mesh, "hidden", every_right(), &[]).await;
    let honest = Hostile::join(&mut mesh, "honest", every_right(), &[]).await;
    let place = |of: &Hostile| agent.hub.take_place(of.id(), Some(of.hub.me.invitation())).unwrap();
    let (cut, stays) = (place(&hidden), place(&honest));
    let list = mesh.root.revoke("hidden").unwrap();
    let told = agent.hub.change(|state| state.node.handle_record(None, &list, Instant::now(), unix_time()));
    assert_eq!(told, Ok(true));
    within(PATIENCE, "end of the connection", cut.cut.cancelled()).await;
    assert!(!stays.cut.is_cancelled());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_membership_is_over_gets_neither_a_link_nor_a_circuit() {
    let mut mesh = TestMesh::new();
    let (service, told) = recording().await;
    let agent = mesh.agent(Wanted::new("agent", &[], &endpoint("web", service.address))).await;
    let friend = Hostile::join(&mut mesh, "friend", every_right(), &[&agent]).await;
    friend.until_known(&agent).await;
    let token = mesh.invite("old", every_right());
    // Clocks may differ by five minutes.
    let expired = unix_time() - 301;
    let folder = MeshFolder::open(&mesh.folder_of("old")).unwrap();
    folder.enrol(&join(&mesh.with_expiry(&token, expired), None).unwrap()).unwrap();
    drop(folder);
    for refusals in 1..=2 {
        // One that has the smaller id believes in its link until it hears otherwise.
        let old = Hostile::at(&mesh, "old", expired);
        let identity = &old.hub.keys.identity;
        let transport =
            if refusals == 1 { dial(identity, &agent).await } else { dial_over_tcp(identity, &agent).await };
        let _greeted = within(PATIENCE, "answer", greet(&old.hub, transport.clone(), Side::Dialled)).await;
        until(&agent, "a link refused", |shown| shown.stats.links_refused == refusals).await;
        within(PATIENCE, "end of the connection", transport.closed()).await;
    }
    assert!(agent.dashboard().peers.iter().all(|peer| peer.name.as_deref() == Some("friend")));
    // It knows whom to ask, and a member passes it on.
    let old = Hostile::at(&mesh, "old", expired);
    let known = friend.hub.state().node.membership().get(agent.id().parse().unwrap()).unwrap().certificate().clone();
    old.hub.change(|state| state.node.handle_certificate(&known, unix_time())).unwrap();
    let (_, open) = old.open(&agent, "web", old.id(), Purpose::Connect);
    let answer = friend.ask(&agent, &open).await;
    assert!(matches!(answer, Answer::Refused { why: CircuitRefused::NoRight, .. }), "{answer:?}");
    assert!(lock(&told).is_empty(), "the target is not even dialled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_has_all_its_streams_refuses_one_more_with_a_reason() {
    // Four for each connection: everybody is in this process.
    adit_net::descriptors::raise_limit();
    let mut mesh = TestMesh::new();
    let echo = echo().await;
    let exit = mesh.agent(Wanted::new("exit", &[], &endpoint("web", echo.address))).await;
    let transit = mesh.agent(Wanted::new("transit", &[exit.address().unwrap()], "")).await;
    let to_transit = [transit.address().unwrap()];
    let one = mesh.agent(Wanted::new("one", &to_transit, &listener("web"))).await;
    let other = mesh.agent(Wanted::new("other", &to_transit, &listener("web"))).await;
    until_up(&one, "web").await;
    until_up(&other, "web").await;
    let mut clients = Vec::new();
    // One is the control stream.
    for _ in 1..MAX_STREAMS {
        let mut client = connect(&one).await;
        ping(&mut client).await;
        clients.push(client);
    }
    for (ingress, full) in [(&one, "one refused: it has as many"), (&other, "transit refused: it has as many")] {
        until_refused(ingress).await;
        let why = ingress.stats().keys[0].last_failure.clone().unwrap_or_default();
        assert!(why.contains(full), "{why}");
    }
    assert_eq!((refused(&one, CircuitRefused::Full), refused(&transit, CircuitRefused::Full)), (1, 1));
    // quinn tells of places that are free again when they are more than an eighth.
    clients.truncate(MAX_STREAMS as usize * 3 / 4);
    within(PATIENCE, "place", async { while exchange(&other, b"hello").await.ok().as_deref() != Some(b"hello") {} })
        .await;
    for client in &mut clients {
        ping(client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_link_to_the_next_agent_any_more_blames_nobody_behind_it() {
    let mut mesh = TestMesh::new();
    let echo = echo().await;
    let agents = mesh.line(&["ingress", "transit", "exit"], echo.address).await;
    until_up(&agents[0], "web").await;
    // Others hear of its end later than the agent itself.
    let transit = agents[1].id().parse().unwrap();
    assert!(agents[0].hub.state().links.remove(&transit).is_some());
    until_refused(&agents[0]).await;
    let why = agents[0].stats().keys[0].last_failure.clone().unwrap_or_default();
    assert!(why.contains("ingress refused: the next agent on the way is not its neighbour"), "{why}");
    assert_eq!(refused(&agents[0], CircuitRefused::NoLink), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_over_tcp_have_a_bound_that_costs_no_link() {
    let key = SigningKey::generate().unwrap();
    let tls = tcp::Tls::new(&key).unwrap();
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let accepted = async { tls.accept(socket.accept().await.unwrap().0, address).await };
    let (dialled, accepted) = tokio::join!(tls.connect(address), accepted);
    let (dialled, accepted) = (Transport::Tcp(dialled.unwrap()), Transport::Tcp(accepted.unwrap()));
    accepted.trust();
    let _answers = spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut send, recv)) = accepted.accept().await {
            // Of one that is given up at once.
            let _ = send.write_all(&[1]).await;
            held.push((send, recv));
        }
    });
    let mut held = Vec::new();
    for _ in 0..MAX_STREAMS {
        let (mut send, mut recv) = within(PATIENCE, "stream", dialled.open()).await.unwrap();
        send.write_all(&[0]).await.unwrap();
        recv.read_exact(&mut [0; 1]).await.unwrap();
        held.push((send, recv));
    }
    let one_more = tokio::time::timeout(Duration::from_millis(200), dialled.open()).await;
    assert!(one_more.is_err(), "a stream beyond the bound");
    held.pop();
    let (mut send, mut recv) = within(PATIENCE, "stream in its place", dialled.open()).await.unwrap();
    send.write_all(&[0]).await.unwrap();
    within(PATIENCE, "answer", recv.read_exact(&mut [0; 1])).await.unwrap();
}
