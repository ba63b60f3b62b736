//! What can be counted, and the text in which Prometheus reads it.
//! Gauges follow the guards of the [registry](crate::registry), so they cannot drift from what is live; counters are bumped
//! where the fact happens. All of them are atomics: a session never waits to count.

use adit_core::{ForwardRefused, Outcome, RefuseReason, Turned, VisitorRefused};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::registry::CutReason;

/// An enum whose values are label values: each with the name that Prometheus, the audit log and the JSON answers show.
macro_rules! reasons {
    ($($(#[$doc:meta])* pub enum $name:ident { $($(#[$of:meta])* $value:ident = $text:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$of])* $value,)+ }

        impl $name {
            /// Every value there is.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// The value's stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }
    )+};
}
pub(crate) use reasons;

reasons! {
    /// Why a connection was dropped at the door.
    pub enum TurnedAway {
        /// Its address is in no network of the allow-list.
        Network = "network",
        /// Its source has too many connections that have not logged in.
        SourceFull = "source_full",
        /// All sources together have too many.
        Full = "full",
        /// Its source's earlier connections ended badly.
        Penalised = "penalised",
    }

    /// Why a remote forward was refused.
    pub enum RefusedForward {
        /// Outside the range of this jump host.
        OutOfRange = "out_of_range",
        /// Outside the range of the key.
        OutsideKeyRange = "outside_key_range",
        /// Another account holds the port.
        OtherAccount = "other_account",
        /// Another session of the same account holds it and is alive.
        OwnSession = "own_session",
        /// The session has asked for it before.
        Repeated = "repeated",
        /// The account has as many forwards as it may.
        TooMany = "too_many",
        /// No port of the range is free.
        RangeFull = "range_full",
        /// Another program on this machine uses the port.
        InUse = "in_use",
        /// This process or machine has no descriptor or memory for another socket.
        Exhausted = "exhausted",
        /// The port has just moved between two sessions of the account.
        TakeoverPause = "takeover_pause",
        /// An address of another machine.
        OtherAddress = "other_address",
        /// Of a kind that this server does not have, such as `streamlocal-forward@openssh.com`.
        Kind = "kind",
    }

    /// Why a visitor was closed without reaching the service.
    pub enum RefusedVisitor {
        /// Its address is in no network of the allow-list.
        Network = "network",
        /// The port has as many visitors as it may.
        PortFull = "port_full",
        /// The account has as many visitors as it may.
        AccountFull = "account_full",
        /// The client refused the channel: mostly, nothing listens at the service's address.
        Service = "service",
        /// The client did not answer the channel open in time.
        Unanswered = "unanswered",
    }
}

impl From<Turned> for TurnedAway {
    fn from(turned: Turned) -> Self {
        match turned {
            Turned::SourceFull { .. } => Self::SourceFull,
            Turned::Full { .. } => Self::Full,
            Turned::Penalised { .. } => Self::Penalised,
        }
    }
}

impl From<RefuseReason> for RefusedForward {
    fn from(reason: RefuseReason) -> Self {
        match reason {
            RefuseReason::OutOfRange { .. } => Self::OutOfRange,
            RefuseReason::OutsideKeyRange { .. } => Self::OutsideKeyRange,
            RefuseReason::HeldByOtherAccount => Self::OtherAccount,
            RefuseReason::HeldByYourSession { .. } => Self::OwnSession,
            RefuseReason::AlreadyYours => Self::Repeated,
            RefuseReason::TooManyForwards { .. } => Self::TooMany,
            RefuseReason::RangeFull => Self::RangeFull,
            RefuseReason::InUseBySystem => Self::InUse,
            RefuseReason::TakeoverPause { .. } => Self::TakeoverPause,
        }
    }
}

impl From<&ForwardRefused> for RefusedForward {
    fn from(refused: &ForwardRefused) -> Self {
        match refused {
            ForwardRefused::OtherAddress { .. } => Self::OtherAddress,
            ForwardRefused::PortTooLarge { .. } => Self::OutOfRange,
        }
    }
}

impl From<VisitorRefused> for RefusedVisitor {
    fn from(refused: VisitorRefused) -> Self {
        match refused {
            VisitorRefused::PortFull { .. } => Self::PortFull,
            VisitorRefused::AccountFull { .. } => Self::AccountFull,
        }
    }
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::LoggedIn => "logged_in",
        Outcome::GaveUp => "gave_up",
        Outcome::FailedLogin => "failed",
        Outcome::GraceExceeded => "grace_exceeded",
        Outcome::Violation => "violation",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    outcome: &'static str,
}

/// `in` is from visitors to services, `out` the way back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Towards {
    direction: &'static str,
}

type ByReason = Family<Reason, Counter>;

/// The counters and gauges of one jump host.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub(crate) sessions: Gauge,
    pub(crate) forwards: Gauge,
    pub(crate) visitors: Gauge,
    pub(crate) visitors_total: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) takeovers: Counter,
    pub(crate) audit_lost: Counter,
    logins: Family<Ended, Counter>,
    turned_away: ByReason,
    forwards_refused: ByReason,
    visitors_refused: ByReason,
    cuts: ByReason,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let bytes = Family::<Towards, Counter>::default();
        let bytes_in = bytes.get_or_create_owned(&Towards { direction: "in" });
        let bytes_out = bytes.get_or_create_owned(&Towards { direction: "out" });
        let mut metrics = Self {
            registry: Registry::with_prefix("adit_jumphost"),
            sessions: Gauge::default(),
            forwards: Gauge::default(),
            visitors: Gauge::default(),
            visitors_total: Counter::default(),
            bytes_in,
            bytes_out,
            takeovers: Counter::default(),
            audit_lost: Counter::default(),
            logins: Family::default(),
            turned_away: Family::default(),
            forwards_refused: Family::default(),
            visitors_refused: Family::default(),
            cuts: Family::default(),
        };
        metrics.register(bytes);
        metrics
    }

    fn register(&mut self, bytes: Family<Towards, Counter>) {
        let registry = &mut self.registry;
        registry.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("sessions", "SSH sessions that are logged in", self.sessions.clone());
        registry.register("forwards", "Remote forwards that are open", self.forwards.clone());
        registry.register("visitors", "Visitors that are connected to a forward", self.visitors.clone());
        registry.register("visitors_accepted", "Visitors since the start", self.visitors_total.clone());
        registry.register_with_unit("relayed", "Bytes relayed: in is visitor to service", Unit::Bytes, bytes);
        registry.register("takeovers", "Ports moved to a newer session of their account", self.takeovers.clone());
        registry.register("audit_lost", "Audit events dropped because the store was too slow", self.audit_lost.clone());
        registry.register("logins", "Connections admitted to log in, by how that ended", self.logins.clone());
        registry.register("turned_away", "Connections dropped at the door, by reason", self.turned_away.clone());
        registry.register("forwards_refused", "Remote forwards refused, by reason", self.forwards_refused.clone());
        registry.register("visitors_refused", "Visitors that did not reach the service", self.visitors_refused.clone());
        registry.register("cuts", "Sessions ended by the server, by reason", self.cuts.clone());
    }

    /// Counts one connection that was admitted to log in, by how that ended.
    pub fn login(&self, outcome: Outcome) {
        self.logins.get_or_create(&Ended { outcome: outcome_name(outcome) }).inc();
    }

    /// Counts one connection that was dropped at the door.
    pub fn turned_away(&self, reason: TurnedAway) {
        self.turned_away.get_or_create(&Reason { reason: reason.name() }).inc();
    }

    /// Counts one refused remote forward.
    pub fn forward_refused(&self, reason: RefusedForward) {
        self.forwards_refused.get_or_create(&Reason { reason: reason.name() }).inc();
    }

    /// Counts one visitor that did not reach the service.
    pub fn visitor_refused(&self, reason: RefusedVisitor) {
        self.visitors_refused.get_or_create(&Reason { reason: reason.name() }).inc();
    }

    /// Counts one port that moved to a newer session of its account.
    pub fn takeover(&self) {
        self.takeovers.inc();
    }

    pub(crate) fn cut(&self, reason: CutReason) {
        self.cuts.get_or_create(&Reason { reason: reason.name() }).inc();
    }

    /// All values in the OpenMetrics text format.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // A `String` takes every write, so there is no error to report.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_what_happened() {
        let metrics = Metrics::new();
        metrics.sessions.inc();
        metrics.login(Outcome::LoggedIn);
        metrics.turned_away(TurnedAway::SourceFull);
        metrics.bytes_in.inc_by(1_500);
        let text = metrics.to_text();
        for line in [
            "adit_jumphost_sessions 1",
            "adit_jumphost_logins_total{outcome=\"logged_in\"} 1",
            "adit_jumphost_turned_away_total{reason=\"source_full\"} 1",
            "adit_jumphost_relayed_bytes_total{direction=\"in\"} 1500",
            "adit_jumphost_relayed_bytes_total{direction=\"out\"} 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
    }
}
