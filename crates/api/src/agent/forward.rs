//! A forward as JSON: the five fields that tunnels and the forwards of sessions have in common, and the two that name a jump.

use adit_core::{ForwardSpec, LoopbackAddress, Port};
use adit_store::agent::{Forward, JumpRef};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::names::ForwardKind;

/// Where a listener stands when nobody says otherwise.
pub(super) fn loopback() -> String {
    LoopbackAddress::DEFAULT.to_string()
}

/// A forward.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ForwardView {
    /// Which way it goes.
    pub forward_type: ForwardKind,
    /// Where it listens on this machine; of a remote forward, what it leads to.
    pub local_port: u16,
    /// The address that goes with `local_port`.
    pub bind_address: String,
    /// Of a local forward, what it leads to; of a remote one, where the server listens: 127.0.0.1 if null, everywhere if `*`.
    pub remote_host: Option<String>,
    /// Of a local forward, what it leads to; of a remote one, where the server listens, which chooses if this is null or 0.
    pub remote_port: Option<u16>,
}

impl From<Forward> for ForwardView {
    fn from(forward: Forward) -> Self {
        let Forward { forward_type, local_port, bind_address, remote_host, remote_port } = forward;
        Self { forward_type: forward_type.into(), local_port, bind_address, remote_host, remote_port }
    }
}

/// As it runs.
impl From<&ForwardSpec> for ForwardView {
    fn from(spec: &ForwardSpec) -> Self {
        let (forward_type, local_port, bind_address) = match spec {
            ForwardSpec::Local { listen, .. } => (ForwardKind::Local, listen.port, listen.address.to_string()),
            ForwardSpec::Dynamic { listen } => (ForwardKind::Dynamic, listen.port, listen.address.to_string()),
            ForwardSpec::Remote { target, .. } => (ForwardKind::Remote, target.port(), target.host().to_owned()),
        };
        let (remote_host, remote_port) = match spec {
            ForwardSpec::Local { target, .. } => (Some(target.host().to_owned()), Some(target.port())),
            ForwardSpec::Dynamic { .. } => (None, None),
            ForwardSpec::Remote { listen, .. } => {
                let host = if listen.address.is_empty() { "*" } else { &listen.address };
                (Some(host.to_owned()), listen.port)
            }
        };
        let (local_port, remote_port) = (local_port.get(), remote_port.map(Port::get));
        Self { forward_type, local_port, bind_address, remote_host, remote_port }
    }
}

/// The jump on the way to a server: one of the two at most. Both null: the profile's.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct JumpView {
    /// The jump host.
    pub jump_host_id: Option<String>,
    /// The session whose host it is.
    pub jump_session_id: Option<String>,
}

impl From<Option<JumpRef>> for JumpView {
    fn from(jump: Option<JumpRef>) -> Self {
        match jump {
            Some(JumpRef::Host(id)) => Self { jump_host_id: Some(id), jump_session_id: None },
            Some(JumpRef::Session(id)) => Self { jump_host_id: None, jump_session_id: Some(id) },
            None => Self { jump_host_id: None, jump_session_id: None },
        }
    }
}
