//! Brings a link up, stage by stage: the name, the TCP connection, the host key, the login; and behind a jump the same again,
//! carried by the link before.
//!
//! A hop beyond the first is a link like any other: its bytes travel in a `direct-tcpip` channel of the link before, through a
//! pipe inside this process. So each hop has its own credentials, its own host key check and its own end-to-end encryption, at
//! any depth, and there is no second kind of link. A pair of sockets instead of the pipe would do the same for two descriptors
//! and two system calls per turn.

mod login;
mod reach;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::{LoginFailure, Obstacle, Port, Target};
use adit_net::stream::Stream;
use adit_ssh::crypto::PublicKey;
use adit_ssh::{Algorithms, ClientSettings, Limits, Prompts};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::credentials::{CredentialError, Credentials, SecretSource};
use crate::known_hosts::{HostKeyError, HostKeys, HostName};
use crate::link::{Carrier, ConnectError, Link, LinkEnd, LinkEvents, LinkSettings, Peer, Transport};
pub use reach::{ReachError, reach};

/// Channels of one link at a time, of which one tunnel may have half. It bounds what a hostile server can make us hold: a window each.
const CHANNELS: usize = 4096;

/// One SSH server on the way, and who we are there.
#[derive(Debug, Clone)]
pub struct Hop {
    /// Its name or address. Of hops beyond the first, the hop before looks it up.
    pub host: String,
    /// Its port.
    pub port: Port,
    /// The login name.
    pub user: String,
    /// What to log in with.
    pub credentials: Credentials,
    /// Which host keys are right.
    pub host_keys: HostKeys,
    /// How to speak with it.
    pub settings: HopSettings,
}

/// What may differ from one server to another.
#[derive(Debug, Clone)]
pub struct HopSettings {
    /// How long TCP, or the hop before, may take to connect.
    pub connect_time: Duration,
    /// What is offered; [`Algorithms::with_old`] for machines that know nothing newer.
    pub algorithms: Algorithms,
    /// What is borne. `login_grace` is for each step of the server in a login.
    pub limits: Limits,
    /// What the link waits for.
    pub link: LinkSettings,
}

impl Default for HopSettings {
    fn default() -> Self {
        Self {
            connect_time: Duration::from_secs(10),
            algorithms: Algorithms::default(),
            limits: Limits { channels: CHANNELS, ..Limits::default() },
            link: LinkSettings::default(),
        }
    }
}

/// `user@host:port`
impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}@[{}]:{}", self.user, self.host, self.port)
        } else {
            write!(f, "{}@{}:{}", self.user, self.host, self.port)
        }
    }
}

/// Something answered later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Somebody who can be asked while a link comes up. All text from the server is raw: escape it before it is shown.
pub trait Person: Send + Sync {
    /// A host that is not known shows this key: is it the right one? `None` where nobody is there to say.
    fn confirm_host_key<'a>(&'a self, host: &'a HostName, key: &'a PublicKey) -> Later<'a, Option<bool>>;

    /// The server asks, and no stored password is the answer. `None` where nobody is there to say.
    fn answer_prompts<'a>(&'a self, hop: &'a Hop, prompts: &'a Prompts) -> Later<'a, Option<Vec<Zeroizing<String>>>>;
}

/// Nobody: what would be asked is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Person for Nobody {
    fn confirm_host_key<'a>(&'a self, _: &'a HostName, _: &'a PublicKey) -> Later<'a, Option<bool>> {
        Box::pin(std::future::ready(None))
    }

    fn answer_prompts<'a>(&'a self, _: &'a Hop, _: &'a Prompts) -> Later<'a, Option<Vec<Zeroizing<String>>>> {
        Box::pin(std::future::ready(None))
    }
}

/// Where secrets come from and who may be asked.
#[derive(Clone)]
pub struct Desk {
    /// Passwords and passphrases.
    pub secrets: Arc<dyn SecretSource>,
    /// Somebody, or [`Nobody`].
    pub person: Arc<dyn Person>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk")
    }
}

/// A stage of bringing a link up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The profile's secrets are at hand.
    Credentials,
    /// The name has addresses. Not for hops beyond the first.
    Resolve,
    /// TCP is connected, or the hop before has connected us.
    Connect,
    /// The server has proved who it is, and it is the right one.
    HostKey,
    /// It let us in.
    Login,
    /// The server reaches the target.
    Target,
}

/// A stage that is through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whose: `user@host:port`.
    pub hop: Arc<str>,
    /// Which.
    pub stage: Stage,
    /// How long it took.
    pub took: Duration,
}

/// A link did not come up.
#[derive(Debug, Error)]
#[error("{hop}: {why}")]
pub struct DialError {
    /// Which server it was about: `user@host:port`.
    pub hop: Arc<str>,
    /// The stage that failed.
    pub stage: Stage,
    /// How long it took to.
    pub took: Duration,
    /// Why.
    #[source]
    pub why: Box<DialFailure>,
}

/// Why a stage failed.
#[derive(Debug, Error)]
pub enum DialFailure {
    /// No TCP connection.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The hop before could not connect us.
    #[error("{via} cannot connect there: {why}")]
    Jump {
        /// The hop before.
        via: Arc<str>,
        /// What it said.
        why: ConnectError,
    },
    /// The connection ended on the way.
    #[error(transparent)]
    Ended(#[from] LinkEnd),
    /// The host key is not accepted.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// The profile's credentials are not at hand, or nobody let us in with them.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The target is not reached from the server.
    #[error(transparent)]
    Target(#[from] ConnectError),
}

impl DialError {
    /// What somebody has to act on before another try makes sense, if it is that: trying on would lock an account out, or ask the same
    /// again.
    pub fn obstacle(&self) -> Option<Obstacle> {
        match &*self.why {
            DialFailure::HostKey(_) => Some(Obstacle::HostKey),
            DialFailure::Credentials(why) => why.is_lasting().then_some(Obstacle::Credentials),
            DialFailure::Reach(_) | DialFailure::Jump { .. } | DialFailure::Ended(_) | DialFailure::Target(_) => None,
        }
    }
}

impl From<&DialError> for LoginFailure {
    fn from(error: &DialError) -> Self {
        let why = error.to_string().into();
        match error.obstacle() {
            Some(obstacle) => Self::Lasting(obstacle, why),
            None => Self::Passing(why),
        }
    }
}

/// Hears of each stage that is through.
pub type Progress<'a> = &'a mut (dyn FnMut(Step) + Send);

/// Which way the first byte goes.
#[derive(Debug, Clone)]
pub enum Way {
    /// TCP from this machine.
    Direct,
    /// Through a link that is there; it stays for as long as the new one needs it.
    Through(Link),
}

/// Brings up a link to `hop`. Cancelling leaves nothing behind.
///
/// # Errors
/// [`DialError`], with the stage that failed.
pub async fn open(hop: &Hop, way: Way, desk: &Desk, progress: Progress<'_>) -> Result<(Link, LinkEvents), DialError> {
    let carrier = match way {
        Way::Direct => None,
        Way::Through(link) => Some(Carrier { link, events: None }),
    };
    open_over(hop, carrier, desk, progress).await
}

/// Brings up a link through all of `hops`, the last of which is where it leads. Those before it serve this link alone and go
/// with it. `None` where there are no hops.
///
/// # Errors
/// [`DialError`], with the hop and the stage that failed.
pub async fn open_chain(
    hops: &[Hop],
    desk: &Desk,
    progress: Progress<'_>,
) -> Result<Option<(Link, LinkEvents)>, DialError> {
    let mut reached: Option<(Link, LinkEvents)> = None;
    for hop in hops {
        let carrier = reached.map(|(link, events)| Carrier { link, events: Some(events) });
        reached = Some(open_over(hop, carrier, desk, progress).await?);
    }
    Ok(reached)
}

/// Asks the server of a link whether it reaches a target, and ends that connection at once.
///
/// # Errors
/// [`DialError`] in [`Stage::Target`].
pub async fn check_target(link: &Link, target: &Target, progress: Progress<'_>) -> Result<(), DialError> {
    let mut stages = Stages { hop: link.peer().name.clone(), since: Instant::now(), progress };
    let reached = link.connect(target).await.map(drop);
    stages.end(Stage::Target, reached.map_err(DialFailure::from))
}

/// Times the stages of one hop.
struct Stages<'a> {
    hop: Arc<str>,
    since: Instant,
    progress: Progress<'a>,
}

impl Stages<'_> {
    fn end<T>(&mut self, stage: Stage, outcome: Result<T, impl Into<DialFailure>>) -> Result<T, DialError> {
        let took = self.since.elapsed();
        self.since = Instant::now();
        match outcome {
            Ok(value) => {
                (self.progress)(Step { hop: self.hop.clone(), stage, took });
                Ok(value)
            }
            Err(why) => Err(DialError { hop: self.hop.clone(), stage, took, why: Box::new(why.into()) }),
        }
    }
}

async fn open_over(
    hop: &Hop,
    carrier: Option<Carrier>,
    desk: &Desk,
    progress: Progress<'_>,
) -> Result<(Link, LinkEvents), DialError> {
    let name: Arc<str> = hop.to_string().into();
    let mut stages = Stages { hop: name.clone(), since: Instant::now(), progress };
    let prepared = stages.end(Stage::Credentials, hop.credentials.prepare(&*desk.secrets).await)?;
    let stream: Stream = match &carrier {
        None => {
            let addresses = stages.end(Stage::Resolve, reach::resolve(&hop.host, hop.port).await)?;
            let stream = reach::connect(&addresses, hop.settings.connect_time).await;
            let stream = stages.end(Stage::Connect, stream)?;
            adit_net::socket::set_nodelay(&stream);
            stream.into()
        }
        Some(carrier) => stages.end(Stage::Connect, connect_through(&carrier.link, hop).await)?,
    };
    let host = HostName::new(&hop.host, hop.port);
    let greeted = greet(stream, hop, &host, desk).await;
    let (mut transport, host_key) = stages.end(Stage::HostKey, greeted)?;
    stages.end(Stage::Login, login::log_in(&mut transport, hop, prepared, &*desk.person).await)?;
    tracing::info!(hop = %name, host_key = %host_key.fingerprint(), "SSH link is up");
    let keeper = hop.host_keys.keeper(host, host_key.clone());
    let peer = Peer { name, host_key };
    Ok(Link::start(transport, peer, hop.settings.link.clone(), carrier, keeper))
}

/// Exchanges keys with the server and judges the one it shows.
async fn greet(stream: Stream, hop: &Hop, host: &HostName, desk: &Desk) -> Result<(Transport, PublicKey), DialFailure> {
    let known = hop.host_keys.load().await?;
    let mut algorithms = hop.settings.algorithms.clone();
    algorithms.prefer_host_keys(&known.keys_of(host));
    let settings = ClientSettings { user: hop.user.clone(), algorithms, limits: hop.settings.limits.clone() };
    let mut transport = Transport::new(stream, &Arc::new(settings));
    let host_key = login::check_host_key(&mut transport, hop, host, &known, &*desk.person).await?;
    Ok((transport, host_key))
}

async fn connect_through(link: &Link, hop: &Hop) -> Result<Stream, DialFailure> {
    let jump = |why| DialFailure::Jump { via: link.peer().name.clone(), why };
    let target = Target::new(&hop.host, hop.port).map_err(|bad| ReachError::BadHost(bad.to_string()))?;
    match tokio::time::timeout(hop.settings.connect_time, link.connect(&target)).await {
        Ok(connected) => connected.map_err(jump),
        Err(_) => Err(jump(ConnectError::Unanswered)),
    }
}
