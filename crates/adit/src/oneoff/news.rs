//! What is told of a forward: where it listens, when it is lost, when it is back. Each thing once.

use std::time::Instant;

use adit_agent::agent::TunnelView;
use adit_core::{ForwardSpec, Port, TunnelStatus};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;

/// What was told of one forward.
pub(super) struct News {
    output: Output,
    up_since: Option<Instant>,
    trouble: Option<String>,
    refusal: Option<String>,
}

/// A change, as JSON.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Change {
    /// It listens, and its connection is there.
    Listening { forward: String, listen: String, via: String },
    /// It does not, and is tried again.
    Lost { forward: String, error: String },
    /// A visitor did not reach the target.
    Refused { forward: String, error: String },
    /// The server does not let this key in yet.
    Waiting { public_key: String, fingerprint: String },
    /// Nothing listens where visitors are to be led.
    NoService { service: String },
}

impl News {
    pub(super) fn new(output: Output) -> Self {
        Self { output, up_since: None, trouble: None, refusal: None }
    }

    /// Tells what is new; `up` makes the sentence for a forward that listens now.
    pub(super) fn tell(
        &mut self,
        tunnel: &TunnelView,
        up: impl FnOnce(&TunnelView, Option<Port>) -> String,
    ) -> Result<(), Failure> {
        match &tunnel.status {
            TunnelStatus::Connected { since, remote_port } if self.up_since != Some(*since) => {
                self.up_since = Some(*since);
                self.trouble = None;
                let change = Change::Listening {
                    forward: tunnel.spec(),
                    listen: listen(tunnel, *remote_port),
                    via: tunnel.via.to_string(),
                };
                self.output.answer(&change, |_| up(tunnel, *remote_port))?;
            }
            TunnelStatus::Reconnecting { last_error, .. } => {
                let error = last_error.to_string();
                if self.trouble.as_ref() != Some(&error) {
                    let told = format!("{}: {error}; it is tried again", tunnel.spec());
                    self.say(&Change::Lost { forward: tunnel.spec(), error: error.clone() }, &told)?;
                    self.trouble = Some(error);
                }
            }
            _ => {}
        }
        if let Some(error) = tunnel.last_refusal.as_deref().filter(|error| self.refusal.as_deref() != Some(*error)) {
            let told = format!("{}: a visitor was turned away: {error}", tunnel.spec());
            self.say(&Change::Refused { forward: tunnel.spec(), error: error.to_owned() }, &told)?;
            self.refusal = Some(error.to_owned());
        }
        Ok(())
    }

    /// Troubles are for whoever watches: on stderr, or among the other changes for a program.
    pub(super) fn say(&self, change: &Change, told: &str) -> Result<(), Failure> {
        self.output.notice(change, told)
    }
}

/// Where visitors come in.
pub(super) fn listen(tunnel: &TunnelView, remote_port: Option<Port>) -> String {
    match &tunnel.forward {
        ForwardSpec::Local { listen, .. } | ForwardSpec::Dynamic { listen } => {
            listen.address.with_port(listen.port).to_string()
        }
        ForwardSpec::Remote { listen, .. } => {
            let port = remote_port.or(listen.port).map_or(0, Port::get);
            if tunnel.via.contains(':') { format!("[{}]:{port}", tunnel.via) } else { format!("{}:{port}", tunnel.via) }
        }
    }
}
