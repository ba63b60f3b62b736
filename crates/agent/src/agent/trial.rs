//! Tries a tunnel's way, stage by stage, beside whatever runs.

use adit_core::{ForwardSpec, RecordId};
use tokio::sync::oneshot;

use super::{Agent, StartError, StrangeHost, TrialError};
use crate::dial::{self, DialError, Progress};
use crate::supervisor::Order;

impl Agent {
    /// Goes the way of a tunnel with a login of its own, whether it runs or not: each hop's name, connection, host key and login, and
    /// at the end a local forward's target. Nothing stays open. A host whose key nobody
    /// has judged is on the board then.
    ///
    /// # Errors
    /// [`TrialError`], with the hop and the stage that failed.
    pub async fn try_tunnel(&self, id: &str, progress: Progress<'_>) -> Result<(), TrialError> {
        self.refresh().await?;
        let (answer, answered) = oneshot::channel();
        self.order(Order::ShowWay { tunnel: RecordId::from(id), answer });
        let (hops, forward) = answered.await.unwrap_or(Err(StartError::Ending))?;
        let opened = match Box::pin(dial::open_chain(&hops, &self.desk, progress)).await {
            Ok(opened) => opened,
            Err(error) => {
                self.note_stranger(&error).await;
                return Err(error.into());
            }
        };
        let Some((link, mut events)) = opened else { return Ok(()) };
        let outcome = match forward {
            ForwardSpec::Local { target, .. } => dial::check_target(&link, &target, progress).await,
            ForwardSpec::Dynamic { .. } | ForwardSpec::Remote { .. } => Ok(()),
        };
        link.stop();
        events.ended().await;
        Ok(outcome?)
    }

    /// Whoever hears of a failed trial can judge the host's key at once.
    async fn note_stranger(&self, error: &DialError) {
        if let Some(stranger) = StrangeHost::of(error, &self.places.known_hosts) {
            let (noted, was_noted) = oneshot::channel();
            self.order(Order::NoteStranger { stranger, noted });
            // An agent that is ending shows nobody to anybody.
            let _ = was_noted.await;
        }
    }
}
