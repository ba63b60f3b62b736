//! The agent, as its front doors see it: records that are saved and followed, tunnels and sessions that start and stop, and a board
//! that shows how everything stands.

mod error;
mod secrets;
mod trial;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_core::RecordId;
use adit_net::network::NetworkChanges;
use adit_store::StoreError;
use adit_store::agent::{
    AgentStore, ChangeRecordError, RecordKind, RemoveRecordError, Saved, Settings, SettingsChange,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

pub use crate::supervisor::{
    Board, Carried, JournalEntry, SessionStatus, StartError, StopError, StrangeHost, TunnelView,
};
pub use error::{AddError, NotShown, SecretChangeError, TrialError, TrustError};

use crate::dial::{Desk, Person};
use crate::known_hosts::{HostKeys, Policy};
use crate::link::{ConnectionNumber, LiveConnection};
use crate::records::{Checked, InvalidRecord, Places};
use crate::supervisor::{Begin, Done, Journal, Means, Order, Supervisor, Which};
use crate::vault::Vault;

/// How long goodbyes to servers may take when the agent ends; one that does not listen is not waited for.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// What an agent is made of.
#[derive(Clone)]
pub struct AgentSetup {
    /// Its records.
    pub store: AgentStore,
    /// Its secrets.
    pub vault: Vault,
    /// Who can be asked while a login is under way.
    pub person: Arc<dyn Person>,
    /// Where this person's files are.
    pub places: Places,
}

/// Speaks to an agent. Cloning is cheap.
///
/// Calls that change something are done when they return, and go on when their caller does not wait for them.
#[derive(Clone)]
pub struct Agent {
    store: AgentStore,
    vault: Vault,
    desk: Desk,
    places: Places,
    orders: mpsc::UnboundedSender<Order>,
    board: watch::Receiver<Board>,
    journal: Journal,
}

/// Owns an agent's task: dropping it cuts everything, [`end`](Self::end) says goodbye first.
#[derive(Debug)]
pub struct AgentTask {
    orders: mpsc::UnboundedSender<Order>,
    task: AbortOnDropHandle<()>,
    _watch: AbortOnDropHandle<((), ())>,
}

impl AgentTask {
    /// Stops all tunnels, says goodbye to the servers, and returns when that is done: two seconds at most.
    pub async fn end(self) {
        // A task that is over has nothing to end.
        drop(self.orders.send(Order::End));
        if tokio::time::timeout(FAREWELL_TIME, self.task).await.is_err() {
            tracing::debug!("a server did not hear our goodbye");
        }
    }
}

impl Agent {
    /// Starts an agent, and the tunnels that start with it.
    ///
    /// # Errors
    /// The records cannot be read.
    pub async fn start(setup: AgentSetup) -> Result<(Agent, AgentTask), StoreError> {
        let AgentSetup { store, vault, person, places } = setup;
        let desk = Desk { secrets: Arc::new(vault.clone()), person };
        let records = store.snapshot().await?;
        let (orders, taken) = mpsc::unbounded_channel();
        let journal = Journal::default();
        let means =
            Means { store: store.clone(), desk: desk.clone(), places: places.clone(), journal: journal.clone() };
        let (supervisor, board) = Supervisor::new(means, records, taken);
        let task = AbortOnDropHandle::new(tokio::spawn(supervisor.run()));
        let agent = Agent { store, vault, desk, places, orders: orders.clone(), board, journal };
        let keyring_was_shut = agent.keyring_is_shut().await;
        agent.start_all().await;
        let watched = agent.clone();
        let keyring = async move |agent: &Agent| {
            if keyring_was_shut {
                agent.await_keyring().await
            }
        };
        let watch = tokio::spawn(async move { tokio::join!(watch_network(&watched), keyring(&watched)) });
        Ok((agent, AgentTask { orders, task, _watch: AbortOnDropHandle::new(watch) }))
    }

    /// The records, to be read. What is to be changed goes through the agent, which follows the change.
    pub fn store(&self) -> &AgentStore {
        &self.store
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// How everything stands; changes are told by the channel. Reading locks the board shortly: look, copy, let go.
    pub fn board(&self) -> watch::Receiver<Board> {
        self.board.clone()
    }

    // ── records ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Saves a new record.
    ///
    /// # Errors
    /// [`AddError`]; nothing was saved.
    pub async fn add<R: Checked>(&self, record: R) -> Result<Saved<R>, AddError> {
        record.check()?;
        let saved = self.store.add(record).await?;
        self.follow().await;
        Ok(saved)
    }

    /// Changes fields of a record. What runs by it goes on where it can, and is made anew where it must be: another forward
    /// or another way. A profile's new login name is used from the next login on.
    ///
    /// # Errors
    /// [`ChangeRecordError`]; nothing was changed.
    pub async fn change<R: Checked>(
        &self,
        id: &str,
        change: R::Change,
    ) -> Result<Saved<R>, ChangeRecordError<InvalidRecord>> {
        let saved = self.store.change(id, change, R::check).await?;
        self.follow().await;
        Ok(saved)
    }

    /// Removes a record that nothing refers to. A tunnel is stopped and its port is free, a session disconnected, and of a profile
    /// the secrets are forgotten.
    ///
    /// # Errors
    /// [`RemoveRecordError`]; nothing was removed.
    pub async fn remove<R: Checked>(&self, id: &str) -> Result<Saved<R>, RemoveRecordError> {
        let saved = self.store.remove::<R>(id).await?;
        match R::KIND {
            // That it does not run is as good.
            RecordKind::Tunnel => drop(self.stop(id).await),
            RecordKind::Session => drop(self.disconnect(id).await),
            RecordKind::Profile => self.forget_secrets(id).await,
            RecordKind::JumpHost => {}
        }
        self.follow().await;
        Ok(saved)
    }

    /// Changes settings. A host key policy holds from the next login on.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn change_settings(&self, change: SettingsChange) -> Result<Settings, StoreError> {
        let settings = self.store.change_settings(change).await?;
        self.follow().await;
        Ok(settings)
    }

    // ── tunnels ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Starts a tunnel; returns when its port is bound, while its login goes on. A remote forward is not waited for.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_tunnel(&self, id: &str) -> Result<(), StartError> {
        self.begin(id, Begin::Start).await
    }

    /// Gives a tunnel a fresh connection at once, whether it runs or not; returns as [`start_tunnel`](Self::start_tunnel) does.
    /// A connection that others share stays theirs, and is asked for a sign of life.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn reconnect(&self, id: &str) -> Result<(), StartError> {
        self.begin(id, Begin::Reconnect).await
    }

    /// Stops a tunnel, whatever it waits for; returns when its port is free. One that does not run is stopped already.
    ///
    /// # Errors
    /// [`StopError`].
    pub async fn stop(&self, id: &str) -> Result<(), StopError> {
        let tunnel = RecordId::from(id);
        self.end(|done, answer| Order::Stop { tunnel, done, answer }).await
    }

    /// Starts every tunnel that starts with the agent and does not run; how many those were. Their logins, and what comes of
    /// their ports, are told by the board.
    pub async fn start_all(&self) -> usize {
        self.start_some(Which::Idle).await
    }

    /// Stops every tunnel and disconnects every session; returns when their ports are free.
    pub async fn stop_all(&self) {
        let (done, mut ended) = mpsc::channel(1);
        self.order(Order::StopAll { done });
        ended.recv().await;
    }

    /// Somebody is tired of waiting: pauses end, and every connection is asked for a sign of life. A sleep of the machine and a change
    /// of its network do the same by themselves.
    pub fn check_all(&self) {
        self.order(Order::Disturb);
    }

    /// The connections a tunnel carries at this moment, the oldest first; `None` where there is no such tunnel.
    pub fn connections(&self, id: &str) -> Option<Vec<LiveConnection>> {
        let traffic = self.board.borrow().tunnels.get(&RecordId::from(id)).map(|tunnel| tunnel.traffic.clone());
        traffic.map(|traffic| traffic.connections())
    }

    /// What has happened to tunnels after the entry of this number, the oldest first; 0 is before all that is still known. An entry is
    /// there when the board shows what it tells.
    pub fn journal(&self, after: u64) -> Vec<JournalEntry> {
        self.journal.after(after)
    }

    /// Cuts one of a tunnel's connections. One that has ended by itself is fine too.
    pub fn close_connection(&self, id: &str, number: ConnectionNumber) {
        self.order(Order::CloseConnection { tunnel: RecordId::from(id), number });
    }

    /// Returns when the agent has come to this question; never, where it does nothing any more. What a watchdog wants to know.
    pub async fn answers(&self) {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Answer { answer });
        if answered.await.is_err() {
            // An agent that has ended does not live.
            std::future::pending().await
        }
    }

    // ── sessions ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Connects a session, and starts its enabled forwards; returns while the login goes on. One that has failed is connected anew.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn connect(&self, id: &str) -> Result<(), StartError> {
        let secrets_locked = self.prepare().await?;
        let (answer, answered) = oneshot::channel();
        self.order(Order::Connect { session: RecordId::from(id), secrets_locked, answer });
        answered.await.unwrap_or(Err(StartError::Ending))
    }

    /// Disconnects a session and stops its tunnels; returns when their ports are free.
    ///
    /// # Errors
    /// [`StopError`].
    pub async fn disconnect(&self, id: &str) -> Result<(), StopError> {
        let session = RecordId::from(id);
        self.end(|done, answer| Order::Disconnect { session, done, answer }).await
    }

    // ── hosts ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes the key that a [`StrangeHost`] of the board showed as right, from now on. The fingerprint is the one a person has
    /// read, so that a key which was changed meanwhile is not the one that is taken. Where the host is known by other keys, `replace`
    /// says that this person has read those too: it comes into their place.
    ///
    /// # Errors
    /// [`TrustError`]; nothing was remembered.
    pub async fn trust_host(&self, host: &str, fingerprint: &str, replace: bool) -> Result<(), TrustError> {
        let stranger = self.stranger(host, fingerprint).ok_or(NotShown)?;
        let Places { known_hosts, other_known_hosts, .. } = self.places.clone();
        let host_keys = HostKeys { policy: Policy::Ask, file: known_hosts, others: other_known_hosts };
        match replace {
            true => host_keys.replace(&stranger.host, &stranger.key, &stranger.known).await?,
            false => host_keys.remember(&stranger.host, &stranger.key).await?,
        }
        self.forget_stranger(stranger).await;
        Ok(())
    }

    /// Takes a host off the board whose key is not right. A login that meets it again puts it there again.
    ///
    /// # Errors
    /// [`NotShown`], where no host has shown this key and still waits.
    pub async fn reject_host(&self, host: &str, fingerprint: &str) -> Result<(), NotShown> {
        let stranger = self.stranger(host, fingerprint).ok_or(NotShown)?;
        self.forget_stranger(stranger).await;
        Ok(())
    }

    fn stranger(&self, host: &str, fingerprint: &str) -> Option<StrangeHost> {
        let is_meant = |stranger: &&StrangeHost| {
            stranger.host.as_str() == host && stranger.key.fingerprint().to_string() == fingerprint
        };
        self.board.borrow().strange_hosts.iter().find(is_meant).cloned()
    }

    async fn forget_stranger(&self, stranger: StrangeHost) {
        let (forgotten, was_forgotten) = oneshot::channel();
        self.order(Order::ForgetStranger { stranger, forgotten });
        // An agent that is ending shows nobody to anybody.
        let _ = was_forgotten.await;
    }

    // ── how it is done ──────────────────────────────────────────────────────────────────────────────────────────

    async fn begin(&self, id: &str, how: Begin) -> Result<(), StartError> {
        let secrets_locked = self.prepare().await?;
        let (answer, answered) = oneshot::channel();
        self.order(Order::Start { tunnel: RecordId::from(id), how, secrets_locked, answer });
        answered.await.unwrap_or(Err(StartError::Ending))
    }

    async fn start_some(&self, which: Which) -> usize {
        let (answer, answered) = oneshot::channel();
        self.order(Order::StartAll { which, answer });
        answered.await.unwrap_or(0)
    }

    /// Before something starts: the records are followed, and it is known whether the secrets are locked. Secrets that cannot be
    /// read are told by the login that needs one.
    async fn prepare(&self) -> Result<bool, StartError> {
        self.refresh().await?;
        Ok(self.vault.is_locked().await.unwrap_or(false))
    }

    async fn refresh(&self) -> Result<(), StartError> {
        let (asked, answered) = oneshot::channel();
        self.order(Order::Refresh(asked));
        match answered.await {
            Ok(outcome) => outcome.map_err(StartError::Store),
            Err(_) => Err(StartError::Ending),
        }
    }

    /// After a change that has been saved, whatever comes of this.
    async fn follow(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "what was saved is followed later");
        }
    }

    async fn end(
        &self,
        order: impl FnOnce(Done, oneshot::Sender<Result<(), StopError>>) -> Order,
    ) -> Result<(), StopError> {
        let (done, mut ended) = mpsc::channel(1);
        let (answer, answered) = oneshot::channel();
        self.order(order(done, answer));
        answered.await.unwrap_or(Err(StopError::Ending))?;
        // Nothing is ever sent: it hears that the last port is free.
        ended.recv().await;
        Ok(())
    }

    fn order(&self, order: Order) {
        // An agent that has ended drops the answer, which its reader takes for one.
        drop(self.orders.send(order));
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("store", &self.store).finish_non_exhaustive()
    }
}

/// An agent that cannot hear of changes works without.
async fn watch_network(agent: &Agent) {
    let heard = async {
        let mut changes = NetworkChanges::open()?;
        loop {
            changes.next().await?;
            tracing::info!("the network of this machine changed");
            agent.check_all();
        }
    };
    let Err::<Infallible, io::Error>(error) = heard.await;
    tracing::warn!(%error, "changes of the network are not heard of; connections are asked every 30 s");
}
