//! What is live of a member's account: tunnels, what was refused lately, and the traffic of the last day.

use std::convert::Infallible;
use std::time::SystemTime;

use adit_core::{Printable, SessionId};
use adit_store::UnixMillis;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Member, MemberOperation};
use crate::admin::{Kick, KickError, Kicked, ListError, Operation, escaped, unix_millis};
use crate::refusals::Refusal;
use crate::registry::{LiveForward, LiveSession};
use crate::signin::scope::Scope;
use crate::traffic::SHOWN;

/// Lists the live tunnels and the last refusals.
#[derive(Debug, Clone, Deserialize)]
pub struct Tunnels {}

/// Ends one of the account's sessions.
#[derive(Debug, Clone, Deserialize)]
pub struct CloseSession {
    /// Its number.
    pub session: u64,
}

/// Asks for the traffic of one port.
#[derive(Debug, Clone, Deserialize)]
pub struct PortTraffic {
    /// The port.
    pub port: u16,
}

/// What is live, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TunnelsView {
    /// The open ports, by number.
    pub tunnels: Vec<TunnelView>,
    /// The last refused forwards, the newest first.
    pub refusals: Vec<RefusalView>,
    /// The moment.
    pub at: i64,
}

/// An open port and the session that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TunnelView {
    /// The session's number, for closing it.
    pub session: u64,
    /// The port.
    pub port: u16,
    /// The address where visitors connect.
    pub listen: String,
    /// The address that the client asked for.
    pub asked: String,
    /// The key it logged in with.
    pub fingerprint: String,
    /// What the owner calls that key.
    pub label: String,
    /// Where the client connects from.
    pub client: String,
    /// The client's version line.
    pub client_version: String,
    /// When the port was opened.
    pub since: i64,
    /// Connected now.
    pub visitors: u64,
    /// Connected since it was opened.
    pub visitors_total: u64,
    /// From visitors to the service.
    pub bytes_in: u64,
    /// From the service to visitors.
    pub bytes_out: u64,
}

/// A forward that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusalView {
    /// When.
    pub at: i64,
    /// The port asked for; 0 is any.
    pub port: u32,
    /// Why, as a stable name.
    pub reason: String,
    /// Why, and what to do, in sentences.
    pub message: String,
    /// The session that asked.
    pub session: u64,
    /// The key it logged in with.
    pub fingerprint: String,
    /// What the owner calls that key.
    pub label: String,
}

/// The traffic of a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrafficView {
    /// The port.
    pub port: u16,
    /// The minutes of the last day that carried something, the oldest first.
    pub minutes: Vec<TrafficMinuteView>,
}

/// What a port carried in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrafficMinuteView {
    /// When the minute began.
    pub at: i64,
    /// From visitors to the service.
    pub bytes_in: u64,
    /// From the service to visitors.
    pub bytes_out: u64,
    /// Visitors that came in it.
    pub visitors: u64,
}

impl MemberOperation for Tunnels {
    const NEEDS: Scope = Scope::Read;
    type Answer = TunnelsView;
    type Error = Infallible;

    async fn run(self, member: &Member) -> Result<TunnelsView, Infallible> {
        let (shared, account) = (member.shared(), member.account_id());
        let sessions = shared.registry.of_account(account);
        let mut tunnels: Vec<_> = sessions
            .iter()
            .flat_map(|session| session.forwards().into_iter().map(|forward| tunnel(session, &forward)))
            .collect();
        tunnels.sort_by_key(|tunnel| tunnel.port);
        let refusals = shared.refusals.of(account).into_iter().map(refusal).collect();
        Ok(TunnelsView { tunnels, refusals, at: unix_millis(SystemTime::now()) })
    }
}

impl MemberOperation for CloseSession {
    const NEEDS: Scope = Scope::Write;
    type Answer = Kicked;
    type Error = KickError;

    async fn run(self, member: &Member) -> Result<Kicked, KickError> {
        let own = member.shared().registry.of_account(member.account_id());
        if !own.iter().any(|session| session.id() == SessionId(self.session)) {
            return Err(KickError::NoSuchSession { session: self.session });
        }
        Kick { session: self.session }.run(&member.own()).await
    }
}

impl MemberOperation for PortTraffic {
    const NEEDS: Scope = Scope::Read;
    type Answer = TrafficView;
    type Error = ListError;

    async fn run(self, member: &Member) -> Result<TrafficView, ListError> {
        let since = UnixMillis::from(SystemTime::now()).before(SHOWN);
        let minutes = member.shared().store.list_traffic(member.account_id().0, self.port, since).await?;
        let minutes = minutes.into_iter().map(|minute| TrafficMinuteView {
            at: minute.minute.0,
            bytes_in: minute.carried.bytes_in,
            bytes_out: minute.carried.bytes_out,
            visitors: minute.carried.visitors,
        });
        Ok(TrafficView { port: self.port, minutes: minutes.collect() })
    }
}

fn tunnel(session: &LiveSession, forward: &LiveForward) -> TunnelView {
    let (login, traffic) = (session.login(), forward.traffic());
    TunnelView {
        session: session.id().0,
        port: forward.port().get(),
        listen: forward.listen().to_string(),
        asked: Printable(forward.asked()).to_string(),
        fingerprint: login.identity.fingerprint.to_string(),
        label: escaped(&login.identity.label),
        client: login.client.to_string(),
        client_version: escaped(&login.client_version),
        since: unix_millis(forward.since()),
        visitors: traffic.visitors_now(),
        visitors_total: traffic.visitors_total(),
        bytes_in: traffic.bytes_in(),
        bytes_out: traffic.bytes_out(),
    }
}

fn refusal(refusal: Refusal) -> RefusalView {
    RefusalView {
        at: unix_millis(refusal.at),
        port: refusal.port,
        reason: refusal.reason.name().to_owned(),
        message: refusal.message,
        session: refusal.session.0,
        fingerprint: refusal.fingerprint.to_string(),
        label: escaped(&refusal.label),
    }
}
