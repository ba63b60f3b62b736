//! Whether the services of a user run while the user is not logged in (loginctl(1), `enable-linger`).

use serde::Serialize;

use crate::command::Run;

/// Whether a user's manager starts with the machine, and outlives a logout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Linger {
    /// It does.
    Enabled,
    /// It begins with the user's first login and ends with the last.
    Disabled,
}

/// Asks for it, which the rules of a machine may leave to an administrator. Whether that has changed something.
pub(crate) async fn enable(uid: u32) -> bool {
    if of(uid).await == Linger::Enabled {
        return false;
    }
    if let Err(error) = Run::new("loginctl", ["--no-ask-password", "enable-linger", &uid.to_string()]).output().await {
        tracing::debug!(%error, "lingering stays as it is");
    }
    of(uid).await == Linger::Enabled
}

/// How it is. What nobody knows is not promised.
pub(crate) async fn of(uid: u32) -> Linger {
    let uid = uid.to_string();
    let shown = Run::new("loginctl", ["show-user", "--property=Linger", "--value", &uid]).output().await;
    match shown {
        Ok(shown) if shown.trim() == "yes" => Linger::Enabled,
        _ => Linger::Disabled,
    }
}
