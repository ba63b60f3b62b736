//! The tunnel as the agent's engine has it: one remote forward. `checks` tries what `keep` keeps up, so both have it from here.

use adit_agent::records::remote_record;
use adit_core::{Port, RemoteListen};

use crate::failure::Failure;
use crate::oneoff::{LocalService, Login, OneOff, Route, SSH, ServerAddress, Usual, login_name};

/// Which port of which bastion leads to what.
pub(super) struct Tunnel<'a> {
    pub(super) port: Port,
    pub(super) bastion: &'a ServerAddress,
    /// Where the bastion is to listen; `*` is everywhere.
    pub(super) bind: &'a str,
    pub(super) target: LocalService,
}

impl Tunnel<'_> {
    /// Adds it to an agent of this process; its id there. It is not started.
    pub(super) async fn add_to(&self, own: &OneOff, login: &Login) -> Result<String, Failure> {
        // Everywhere is an empty address on the wire (RFC 4254 §7.1).
        let bind = if self.bind == "*" { "" } else { self.bind };
        let listen = RemoteListen { address: bind.into(), port: Some(self.port) };
        let record = remote_record(&listen, self.target.address(), self.target.port);
        let route = Route { via: self.bastion, jumps: &[] };
        let ids = own.add(vec![record], route, &Usual { user: login_name(), port: SSH }, login).await?;
        ids.into_iter().next().ok_or(Failure::AgentEnded)
    }
}
