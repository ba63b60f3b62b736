//! `adit keep`, which a unit runs, and `adit supervise`, which watches it where there is no systemd: the tunnel itself, for as long as
//! nobody stops it.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_agent::dial::Nobody;
use adit_core::{Obstacle, Setback, TunnelStatus};
use adit_service::live::{self, Teller};
use adit_service::settings::KEY_CREDENTIAL;
use adit_service::{TunnelState, supervised};
use adit_store::agent::HostKeyPolicy;

use super::arguments::{Keep, Supervise};
use super::pins;
use super::tunnel::Tunnel;
use crate::failure::Failure;
use crate::oneoff::{Login, OneOff, SSH};
use crate::signals::Signals;

/// How long to wait after a failure that somebody has to do something about, such as a key that is not let in any more, before all begins
/// anew, with the files as they are then. Servers lock out who knocks faster.
const LASTING_PAUSE: Duration = Duration::from_secs(60);

/// Keeps the tunnel up until somebody ends it. A lasting failure is told at once, and ends it after a pause: whoever started it starts it
/// anew.
pub(crate) async fn keep(arguments: Keep) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    if arguments.folder.as_deref().is_some_and(|folder| !supervised::end_with_watcher(folder)) {
        return Ok(());
    }
    let mut teller = Teller::new(arguments.folder.clone());
    let Err(failure) = keep_up(&arguments, &mut signals, &mut teller).await else {
        teller.tell_end();
        return Ok(());
    };
    let told = failure.sentence();
    tracing::error!(error = told, "the tunnel cannot come up; somebody has to act");
    teller.tell(TunnelState::Failed, Some(told));
    tokio::select! {
        () = tokio::time::sleep(LASTING_PAUSE) => {}
        never = show_life(async || {}) => match never {},
        () = signals.stop() => {
            teller.tell_end();
            return Ok(());
        }
    }
    Err(failure)
}

/// Tells how the tunnel is, until somebody ends it or it cannot come up.
async fn keep_up(arguments: &Keep, signals: &mut Signals, teller: &mut Teller) -> Result<(), Failure> {
    let Keep { bastion, target, .. } = arguments;
    let folder = tempfile::Builder::new().prefix("adit-").tempdir().map_err(Failure::Runtime)?;
    let places = pins::write(folder.path(), &bastion.host, bastion.port.unwrap_or(SSH), &arguments.host_key)?;
    let own = OneOff::start(places, HostKeyPolicy::Strict, Arc::new(Nobody), Arc::default()).await?;
    let mut target = *target;
    // Of the two addresses that `localhost` may be, the one at which the service is; it may be started after the tunnel.
    target.look().await;
    let login = Login::key(&key(arguments.key.as_deref())?, None)?;
    let id = Tunnel { port: arguments.port, bastion, bind: &arguments.bind, target }.add_to(&own, &login).await?;
    own.agent.start_tunnel(&id).await?;
    let outcome = tokio::select! {
        outcome = watch(&own, arguments, teller) => outcome,
        never = show_life(async || own.agent.answers().await) => match never {},
        () = signals.stop() => Ok(()),
    };
    own.end().await;
    outcome
}

async fn watch(own: &OneOff, arguments: &Keep, teller: &mut Teller) -> Result<(), Failure> {
    let mut board = own.agent.board();
    loop {
        let status = board.borrow_and_update().tunnels.values().next().map(|tunnel| tunnel.status.clone());
        match status {
            Some(TunnelStatus::Connected { .. }) => teller.tell(TunnelState::Connected, None),
            Some(TunnelStatus::Reconnecting { last_error, .. }) => {
                teller.tell(TunnelState::Reconnecting, Some(last_error.to_string()));
            }
            Some(TunnelStatus::Failed { last_error }) => return Err(lasting(&last_error, arguments)),
            Some(TunnelStatus::Connecting | TunnelStatus::Disconnected) | None => {}
        }
        if board.changed().await.is_err() {
            return Err(Failure::AgentEnded);
        }
    }
}

/// What keeps it from coming up. Of a host key it is told what this tunnel trusts: the file in which that stands now is of this process
/// alone.
fn lasting(last_error: &Setback, Keep { port, bastion, .. }: &Keep) -> Failure {
    match last_error.obstacle() {
        Some(Obstacle::HostKey) => Failure::PinnedHostKey { host: bastion.host.clone(), port: *port },
        obstacle => Failure::NotConnected { why: last_error.to_string(), obstacle },
    }
}

/// A sign of life for systemd, as long as there is an answer. Without it systemd begins anew.
async fn show_life(answers: impl AsyncFn()) -> Infallible {
    let Some(period) = live::watchdog_period() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(period);
    loop {
        ticks.tick().await;
        answers().await;
        live::tell_alive();
    }
}

/// The key that was named, or the one that systemd hands over.
fn key(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let path = named.map(Path::to_owned).or_else(|| Some(credentials?.join(KEY_CREDENTIAL)));
    let (flag, variable) = ("--key FILE", "CREDENTIALS_DIRECTORY");
    path.ok_or(Failure::Missing { what: "private key", flag, variable })
}

/// Watches the tunnel of a folder until somebody ends it.
pub(crate) async fn supervise(arguments: Supervise) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    Ok(supervised::supervise(&arguments.folder, signals.stop()).await?)
}
