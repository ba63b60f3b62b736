//! What is set for the agent as a whole.

use super::names::{self, named};
use crate::db::{Tx, args};
use crate::error::StoreError;

/// What to do about a host key that is not known. A known one that has changed is refused in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostKeyPolicy {
    /// Refuse.
    Strict,
    /// Ask a person.
    Ask,
    /// Remember it.
    AcceptNew,
}

named!(HostKeyPolicy, { Strict => "strict", Ask => "ask", AcceptNew => "accept-new" });

/// The agent's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Something else is the way out: the page shows neither the tunnels' button nor the choice of a jump.
    pub controller_mode: bool,
    /// What to do about unknown host keys.
    pub host_key_policy: HostKeyPolicy,
}

/// What to change of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// See [`Settings::controller_mode`].
    pub controller_mode: Option<bool>,
    /// See [`Settings::host_key_policy`].
    pub host_key_policy: Option<HostKeyPolicy>,
}

pub(super) async fn load(tx: &mut Tx) -> Result<Settings, StoreError> {
    let row = tx.fetch_one("SELECT controller_mode, host_key_policy FROM settings", vec![]).await?;
    Ok(Settings {
        controller_mode: row.get("controller_mode")?,
        host_key_policy: names::read(&row, "host_key_policy")?,
    })
}

pub(super) async fn change(tx: &mut Tx, change: SettingsChange) -> Result<Settings, StoreError> {
    let policy = change.host_key_policy.map(|policy| policy.name().to_owned());
    tx.execute(
        "UPDATE settings SET controller_mode = COALESCE($1, controller_mode),
                             host_key_policy = COALESCE($2, host_key_policy)",
        args![change.controller_mode, policy],
    )
    .await?;
    load(tx).await
}
