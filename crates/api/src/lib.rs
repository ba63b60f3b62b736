//! Front doors. The only room that speaks HTTP and JSON over it; what is asked and answered is decided in the roles.
//!
//! * [`control`]: the administrator's commands, over a socket in the data folder that only its owner can open.
//! * `web`: `/health` and `/metrics`, over TCP.
//!
//! Every error has one shape, `{"error": "a sentence", "code": "a-stable-name"}`.

pub mod control;
mod failure;
mod web;

use std::time::Duration;

use adit_jumphost::JumpHost;
use adit_jumphost::server::Doors;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use failure::Failure;

/// A request under way is answered in this time; one that is not may go with the process.
const STOP_TIME: Duration = Duration::from_secs(1);

/// The doors, being served.
#[derive(Debug)]
#[must_use = "the doors are to be stopped"]
pub struct Serving {
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Serves the doors of a jump host until [`Serving::stop`].
pub fn serve(host: &JumpHost, doors: Doors) -> Serving {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(control::serve(doors.control, host.admin(), stop.clone()));
    let state = web::State { metrics: host.metrics(), stopping: host.stopping() };
    tasks.spawn(web::serve(doors.web, doors.allow_networks, state, stop.clone()));
    Serving { tasks, stop }
}

impl Serving {
    /// Answers the requests under way, takes no new ones, and returns when the sockets are closed.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(STOP_TIME, self.tasks.wait()).await.is_err() {
            tracing::debug!("an idle HTTP connection goes with the process");
        }
    }
}
