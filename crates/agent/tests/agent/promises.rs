//! Promises that only a server with particular habits can put to the test: keys on hardware, equipment from another time, a peer that
//! falls silent beside one that is never there.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use adit_agent::credentials::Method;
use adit_agent::dial::{DialError, Hop, Stage};
use adit_agent::link::{Link, LinkEvents};
use adit_core::{Obstacle, RecordId};
use adit_ssh::crypto::{PrivateKey, PublicKey};
use adit_store::agent::{JumpHost, Profile, ProfileChange, Session, SessionForward, Tunnel};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::desk::{empty, try_open};
use crate::home::{Home, dynamic, local, profile, tunnel};
use crate::services::{BlackHole, Service, ask, connect, eventually, loopback, ping};
use crate::sshd::{Setup, Sshd, make_key};

// ── keys on hardware ────────────────────────────────────────────────────────────────────────────────────────────────

const SK_ED25519: &str = "sk-ssh-ed25519@openssh.com";
const SK_ECDSA: &str = "sk-ecdsa-sha2-nistp256@openssh.com";
const APPLICATION: &[u8] = b"ssh:";
/// `PROTOCOL.u2f`: somebody touched the device.
const TOUCHED: u8 = 1;

/// What a security key does, in software.
enum Device {
    Ed25519(PrivateKey),
    Ecdsa(EcdsaKeyPair),
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The first string of some bytes (RFC 4251 §5), and what is behind it.
fn take(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (len, rest) = bytes.split_first_chunk::<4>().unwrap();
    rest.split_at(u32::from_be_bytes(*len) as usize)
}

/// The second string of a key or signature of Ed25519.
fn raw(blob: &[u8]) -> Vec<u8> {
    take(take(blob).1).0.to_vec()
}

impl Device {
    fn ed25519() -> Device {
        Device::Ed25519(PrivateKey::generate_ed25519().unwrap())
    }

    fn ecdsa() -> Device {
        Device::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn key_type(&self) -> &'static str {
        match self {
            Device::Ed25519(_) => SK_ED25519,
            Device::Ecdsa(_) => SK_ECDSA,
        }
    }

    fn public_key(&self) -> PublicKey {
        let mut blob = Vec::new();
        put(&mut blob, self.key_type().as_bytes());
        match self {
            Device::Ed25519(key) => put(&mut blob, &raw(key.public_key().blob())),
            Device::Ecdsa(pair) => {
                put(&mut blob, b"nistp256");
                put(&mut blob, pair.public_key().as_ref());
            }
        }
        put(&mut blob, APPLICATION);
        PublicKey::from_blob(&blob).unwrap()
    }

    /// The signature in wire form: around the message, the application, the flags and a counter are signed.
    fn sign(&self, message: &[u8], flags: u8) -> Vec<u8> {
        let tail = [flags, 0, 0, 0, 7];
        let hash = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
        let signed = [hash(APPLICATION), tail.to_vec(), hash(message)].concat();
        let mut signature = Vec::new();
        put(&mut signature, self.key_type().as_bytes());
        match self {
            Device::Ed25519(key) => put(&mut signature, &raw(&key.sign("ssh-ed25519", &signed).unwrap())),
            Device::Ecdsa(pair) => {
                let der = pair.sign(&SystemRandom::new(), &signed).unwrap();
                put(&mut signature, &two_integers(der.as_ref()));
            }
        }
        [signature, tail.to_vec()].concat()
    }
}

/// r and s, as SSH writes them (RFC 5656 §3.1.2), of a short DER sequence, where they stand with the same sign bytes.
fn two_integers(der: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = &der[2..];
    while let [2, len, after @ ..] = rest {
        let (integer, behind) = after.split_at(usize::from(*len));
        put(&mut out, integer);
        rest = behind;
    }
    out
}

/// An ssh-agent that holds one such key; gone when dropped.
struct DeviceAgent {
    socket: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for DeviceAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DeviceAgent {
    fn start(sshd: &Sshd, device: Device, flags: u8) -> DeviceAgent {
        let socket = sshd.path("device-agent");
        let listener = UnixListener::bind(&socket).unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer(stream, &device, flags).await;
            }
        });
        DeviceAgent { socket, task }
    }
}

/// One question: which keys are there, or a signature (draft-ietf-sshm-ssh-agent §3).
async fn answer(mut stream: UnixStream, device: &Device, flags: u8) {
    let len = stream.read_u32().await.unwrap();
    let mut question = vec![0; len as usize];
    stream.read_exact(&mut question).await.unwrap();
    let mut body = Vec::new();
    match question[0] {
        11 => {
            body.extend([12, 0, 0, 0, 1]);
            put(&mut body, device.public_key().blob());
            put(&mut body, b"on hardware");
        }
        13 => {
            let (key, rest) = take(&question[1..]);
            assert_eq!(key, device.public_key().blob());
            body.push(14);
            put(&mut body, &device.sign(take(rest).0, flags));
        }
        _ => body.push(5),
    }
    let mut framed = Vec::new();
    put(&mut framed, &body);
    stream.write_all(&framed).await.unwrap();
}

async fn log_in_with_device(sshd: &Sshd, device: Device, flags: u8) -> Result<(Link, LinkEvents), DialError> {
    sshd.authorize(&device.public_key().to_text("on hardware"));
    let agent = DeviceAgent::start(sshd, device, flags);
    let methods = vec![Method::SshAgent { socket: Some(agent.socket.clone()), only: None }];
    try_open(&Hop { credentials: sshd.credentials(methods), ..sshd.hop() }, &empty()).await
}

#[tokio::test]
async fn a_key_on_hardware_logs_in_through_the_ssh_agent() {
    for (device, told) in [(Device::ed25519(), "ED25519-SK"), (Device::ecdsa(), "ECDSA-SK")] {
        let sshd = Sshd::start().await;
        log_in_with_device(&sshd, device, TOUCHED).await.unwrap();
        assert!(sshd.log().contains(&format!("ssh2: {told} ")) && sshd.logins() == 1, "{}", sshd.log());
    }
}

#[tokio::test]
async fn a_key_that_nobody_touched_does_not_log_in() {
    let sshd = Sshd::start().await;
    let refused = log_in_with_device(&sshd, Device::ed25519(), 0).await.unwrap_err();
    assert_eq!(refused.stage, Stage::Login);
    assert!(
        refused.to_string().contains("does not let") && refused.obstacle() == Some(Obstacle::Credentials),
        "{refused}"
    );
    assert_eq!(sshd.logins(), 0);
}

// ── equipment from another time ─────────────────────────────────────────────────────────────────────────────────────

/// All that such a machine can.
const OLD: &str =
    "KexAlgorithms diffie-hellman-group14-sha1\nHostKeyAlgorithms ssh-rsa\nMACs hmac-sha1\nCiphers aes128-ctr";

#[tokio::test]
async fn old_algorithms_are_spoken_only_where_the_profile_allows_them() {
    let (folder, home, service) = (tempfile::tempdir().unwrap(), Home::new().await, Service::count().await);
    make_key(folder.path(), "rsa", "rsa", "");
    let config = format!("{OLD}\nHostKey {}", folder.path().join("rsa").display());
    let sshd = Sshd::start_with(Setup { config: &config, ..Setup::default() }).await;
    let id = home.profile(&sshd).await;
    let forward = local(service.port);
    let tunnel = home.add(Tunnel { auto_reconnect: false, ..tunnel(&sshd, &id, forward.clone()) }).await;
    home.agent.start_tunnel(&tunnel).await.unwrap();
    home.becomes(&tunnel, "failed").await;
    eventually("the server has said why", || sshd.log().contains("Their offer: ")).await;
    let offer = sshd.log();
    let offer = offer.lines().find(|line| line.contains("Their offer: ")).unwrap();
    assert!(!offer.contains("sha1") && !offer.contains("group14"), "{offer}");
    assert!(!sshd.log().contains("userauth-request"));

    let allow = ProfileChange { legacy_algorithms: Some(true), ..ProfileChange::default() };
    home.agent.change::<Profile>(&id, allow).await.unwrap();
    home.agent.start_tunnel(&tunnel).await.unwrap();
    home.becomes(&tunnel, "connected").await;
    for spoken in ["kex: algorithm: diffie-hellman-group14-sha1", "kex: host key algorithm: ssh-rsa", "MAC: hmac-sha1"]
    {
        assert!(sshd.log().contains(spoken), "{spoken}: {}", sshd.log());
    }
    assert_eq!(ask(&mut connect(loopback(forward.local_port)).await, &[7; 100_000]).await.unwrap(), b"100000 bytes");

    // With a machine of today the same profile speaks as others do.
    let modern = Sshd::start().await;
    modern.authorize(&fs::read_to_string(sshd.path("authorized_keys")).unwrap());
    let mut today =
        Tunnel { name: "Today".to_owned(), port: modern.port().get(), ..self::tunnel(&modern, &id, dynamic()) };
    today.auto_reconnect = false;
    let today = home.start(today).await;
    home.becomes(&today, "connected").await;
    let chosen = modern.log();
    let chosen = chosen.lines().find(|line| line.contains("kex: algorithm: ")).unwrap();
    assert!(!chosen.contains("sha1") && !chosen.contains("group14"), "{chosen}");
}

// ── sessions ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Line 22. The session names no jump: its profile does.
#[tokio::test]
async fn a_session_inherits_the_jump_of_its_profile_and_shares_the_login() {
    let (edge, core, home) = (Sshd::start().await, Sshd::start().await, Home::new().await);
    let service = Service::count().await;
    let at_edge = home.profile(&edge).await;
    let jump = JumpHost {
        name: "edge".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: edge.port().get(),
        profile_id: at_edge,
        enabled: true,
    };
    let jump = home.agent.add(jump).await.unwrap().id;
    let inherits = Profile { jump: Some(adit_store::agent::JumpRef::Host(jump)), ..profile(&core) };
    let at_core = home.agent.add(inherits).await.unwrap().id;
    let saved = home.start(tunnel(&core, &at_core, dynamic())).await;
    home.becomes(&saved, "connected").await;
    let forward = local(service.port);
    let session = Session {
        name: "core".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: core.port().get(),
        profile_id: at_core,
        jump: None,
        forwards: vec![SessionForward { forward: forward.clone(), enabled: true }],
        enabled: true,
    };
    let session = home.agent.add(session).await.unwrap().id;
    home.agent.connect(&session).await.unwrap();
    home.becomes(&format!("session:{session}:0"), "connected").await;
    assert_eq!(ask(&mut connect(loopback(forward.local_port)).await, b"hello").await.unwrap(), b"5 bytes");
    assert_eq!((edge.logins(), core.logins()), (1, 1));
    assert_eq!(home.agent.board().borrow().sessions[&RecordId::from(&*session)].name(), "connected");
}

// ── nobody waits for another ────────────────────────────────────────────────────────────────────────────────────────

/// The bound of line 27.
const PROMISED: Duration = Duration::from_secs(1);

/// All on one login: a target that does not answer, one that takes nothing, one that sends what nobody reads. What others do
/// meanwhile takes no second: a new connection, and the start and the stop of a tunnel.
#[tokio::test]
async fn nobody_on_a_connection_waits_for_another() {
    let (sshd, home, echo) = (Sshd::start().await, Home::new().await, Service::echo().await);
    let (hole, deaf, flood) = (BlackHole::open(), Service::stall().await, Service::flood().await);
    let profile = home.profile(&sshd).await;
    let mut ports = Vec::new();
    for target in [hole.port, deaf.port, flood.port, echo.port] {
        let forward = local(target);
        ports.push(forward.local_port);
        let id = home.start(tunnel(&sshd, &profile, forward)).await;
        home.becomes(&id, "connected").await;
    }
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(connect(loopback(ports[0])).await);
    }
    let mut stuffed = connect(loopback(ports[1])).await;
    let stuffing = tokio::spawn(async move { stuffed.write_all(&vec![1; 256 << 20]).await });
    let mut unread = connect(loopback(ports[2])).await;
    unread.read_u8().await.unwrap();
    let carried = || -> u64 {
        let board = home.agent.board();
        let board = board.borrow();
        board.tunnels.values().map(|tunnel| tunnel.traffic.bytes_tx() + tunnel.traffic.bytes_rx()).sum()
    };
    let mut last = (Instant::now(), 0);
    eventually("both are stuck", || {
        if carried() != last.1 {
            last = (Instant::now(), carried());
        }
        carried() > 2 << 20 && last.0.elapsed() > Duration::from_millis(300)
    })
    .await;
    for turn in 0..20 {
        let asked = Instant::now();
        ping(&mut connect(loopback(ports[3])).await).await.unwrap();
        assert!(asked.elapsed() < PROMISED, "turn {turn} took {:?}", asked.elapsed());
        let started = Instant::now();
        let one_more = home.start(tunnel(&sshd, &profile, dynamic())).await;
        home.becomes(&one_more, "connected").await;
        home.agent.stop(&one_more).await.unwrap();
        assert!(started.elapsed() < PROMISED, "start and stop {turn} took {:?}", started.elapsed());
    }
    assert!(!stuffing.is_finished());
    assert_eq!(sshd.logins(), 1);
    stuffing.abort();
}

/// Faults c and g of the page: a server that is never there is tried for ever, another swallows all it is sent, and a third falls silent
/// all the same within its time.
#[tokio::test]
async fn who_is_tried_for_ever_does_not_hide_who_falls_silent() {
    let (sshd, well, home) = (Sshd::start().await, Sshd::start().await, Home::new().await);
    let (hang_up, _callers) = Service::hang_up().await;
    let (swallows, echo) = (Service::stall().await, Service::echo().await);
    let profile = home.profile(&sshd).await;
    let at_well = home.profile(&well).await;
    let endless = |port| Tunnel { port, max_retries: 0, ..tunnel(&sshd, &profile, dynamic()) };
    let hopeless = home.start(endless(hang_up.port)).await;
    let unanswered = home.start(endless(swallows.port)).await;
    let forward = local(echo.port);
    let fine = home.start(tunnel(&well, &at_well, forward.clone())).await;
    let frozen = home.start(Tunnel { auto_reconnect: false, ..tunnel(&sshd, &profile, dynamic()) }).await;
    home.becomes(&fine, "connected").await;
    home.becomes(&frozen, "connected").await;
    home.becomes(&hopeless, "reconnecting").await;
    sshd.freeze();
    let since = Instant::now();
    let mut board = home.agent.board();
    let noticed = async {
        while home.status(&frozen) == "connected" {
            board.changed().await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(45), noticed).await.is_ok(), "{:?}", since.elapsed());
    assert_eq!((home.status(&frozen), home.status(&fine)), ("failed", "connected"));
    assert_eq!(home.last_error(&frozen), "Connection lost (auto_reconnect disabled)");
    assert!(["connecting", "reconnecting"].contains(&home.status(&unanswered)), "{}", home.status(&unanswered));
    assert!(home.view(&hopeless).retry_count() >= 4, "it went on meanwhile");
    let asked = Instant::now();
    ping(&mut connect(loopback(forward.local_port)).await).await.unwrap();
    assert!(asked.elapsed() < PROMISED);
    assert_eq!(well.logins(), 1);
}

/// Lines 21 and 26: who waits for nobody's goodbye stops in time, whether the server is frozen behind a login or before it.
#[tokio::test]
async fn a_frozen_server_does_not_hold_up_a_stop() {
    let (sshd, silent, home) = (Sshd::start().await, Service::stall().await, Home::new().await);
    let profile = home.profile(&sshd).await;
    let (forward, other) = (dynamic(), dynamic());
    let session = Session {
        name: "core".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: sshd.port().get(),
        profile_id: profile.clone(),
        jump: None,
        forwards: vec![SessionForward { forward: forward.clone(), enabled: true }],
        enabled: true,
    };
    let session = home.agent.add(session).await.unwrap().id;
    home.agent.connect(&session).await.unwrap();
    home.becomes(&format!("session:{session}:0"), "connected").await;
    let running = home.start(tunnel(&sshd, &profile, other.clone())).await;
    home.becomes(&running, "connected").await;
    let logging_in = home.start(Tunnel { port: silent.port, ..tunnel(&sshd, &profile, dynamic()) }).await;
    assert_eq!(home.status(&logging_in), "connecting");
    sshd.freeze();
    let asked = Instant::now();
    home.agent.disconnect(&session).await.unwrap();
    home.agent.stop(&running).await.unwrap();
    home.agent.stop(&logging_in).await.unwrap();
    assert!(asked.elapsed() < PROMISED, "{:?}", asked.elapsed());
    for port in [forward.local_port, other.local_port] {
        drop(std::net::TcpListener::bind(loopback(port)).unwrap());
    }
    for id in [&running, &logging_in] {
        assert_eq!((home.status(id), home.last_error(id)), ("disconnected", String::new()));
    }
}
