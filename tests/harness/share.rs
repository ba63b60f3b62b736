//! The scene of most stories: alice shares a service through a jump host, and visitors come.

use std::net::SocketAddr;

use crate::jump_host::JumpHost;
use crate::member::Member;
use crate::openssh::OpenSsh;
use crate::process::Running;
use crate::services::ServiceAddress;

/// The master's socket, in the jump host's folder.
const MASTER: &str = "master";

/// A service of alice's at [`Share::PORT`] of a jump host of its own. Dropping it ends all of it, the client first.
pub struct Share<S> {
    /// Her `ssh`.
    pub tunnel: Running,
    /// What she shares.
    pub service: S,
    /// alice.
    pub alice: Member,
    /// The jump host.
    pub host: JumpHost,
}

impl<S: ServiceAddress> Share<S> {
    /// Where visitors find the service: the first port the documents suggest.
    pub const PORT: u16 = 10080;

    /// Shares `service` with `ssh -N -R` through a jump host with all defaults, and waits until the port is open.
    pub fn of(service: S) -> Share<S> {
        Share::with(JumpHost::start(), service, OpenSsh::no_session)
    }

    /// As [`Share::of`], through `host` and with what `more` makes of `ssh -R`.
    pub fn with(host: JumpHost, service: S, more: impl FnOnce(OpenSsh) -> OpenSsh) -> Share<S> {
        let alice = host.member("alice");
        let tunnel = more(OpenSsh::new(&host, &alice).forward(Self::PORT, service.port())).spawn();
        host.await_port(Self::PORT);
        Share { tunnel, service, alice, host }
    }

    /// As [`Share::of`], by the master of a shared connection (`-M`).
    pub fn by_master(service: S) -> Share<S> {
        let host = JumpHost::start();
        let socket = host.folder().join(MASTER);
        Share::with(host, service, |ssh| ssh.no_session().master(&socket))
    }

    /// Another `ssh` of alice's that goes through that connection.
    pub fn through_master(&self) -> OpenSsh {
        OpenSsh::new(&self.host, &self.alice).through(&self.host.folder().join(MASTER))
    }

    /// Where visitors find it.
    pub fn address(&self) -> SocketAddr {
        self.host.forwarded(Self::PORT)
    }
}
