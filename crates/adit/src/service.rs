//! Tunnels that survive reboots: `adit setup`, `adit status`, `adit remove`, and what their units run.
//!
//! Installing is `adit_service`'s; here is what it takes to know that a tunnel will work (a login of our own, `checks`), and the tunnel itself
//! (`keep`), for both of which the agent's engine is needed.

pub(crate) mod arguments;
mod checks;
mod keep;
mod pins;
pub(crate) mod remove;
pub(crate) mod set_up;
pub(crate) mod status;
mod tunnel;
pub(crate) mod variables;

use adit_core::Port;
use adit_service::{Folders, Installer, Place, TunnelReport};

pub(crate) use keep::{keep, supervise};
pub(crate) use remove::run as remove;
pub(crate) use set_up::run as set_up;
pub(crate) use status::run as status;

use crate::failure::Failure;

pub(crate) fn installer() -> Installer {
    let uid = rustix::process::geteuid().as_raw();
    Installer::new(Folders::of_user(uid, |name| std::env::var(name).ok()))
}

/// The tunnel of a port, where there is one and no doubt which.
async fn find(installer: &Installer, port: Port, place: Option<Place>) -> Result<TunnelReport, Failure> {
    let mut found = installer.find(port, place).await;
    match (found.pop(), found.is_empty()) {
        (Some(report), true) => Ok(report),
        (None, _) => Err(Failure::NoTunnel { port }),
        (Some(last), false) => {
            let places: Vec<String> = found.iter().chain([&last]).map(|report| report.scope.to_string()).collect();
            Err(Failure::InSeveralPlaces { port, places: places.join(", ") })
        }
    }
}
