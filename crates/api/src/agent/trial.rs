//! A trial of a tunnel's way, stage by stage: as one answer, or as it goes on for whoever asks for events.

use std::borrow::Cow;
use std::convert::Infallible;
use std::time::Duration;

use adit_agent::agent::TrialError;
use adit_agent::credentials::{CredentialError, SecretError};
use adit_agent::dial::{DialError, DialFailure, Stage, Step};
use adit_jumphost::error_chain;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Door;
use super::events::answer;
use super::question::At;
use super::refusal::Denied;
use crate::failure::Failure;

pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(test))
}

/// A stage of a tunnel's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// Whose: `user@host:port`.
    pub hop: String,
    /// `credentials`, `resolve`, `connect`, `host_key`, `login` or `target`.
    pub stage: Cow<'static, str>,
    /// How long it took.
    pub took_ms: u64,
}

/// A tunnel's way is free.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TrialView {
    /// The stages, in their order.
    pub steps: Vec<StepView>,
}

/// A tunnel's way is not free.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TrialFailed {
    /// Why.
    #[serde(flatten)]
    pub failure: Failure,
    /// The stages that are through.
    pub steps: Vec<StepView>,
    /// The one that is not.
    pub failed: StepView,
}

impl StepView {
    fn new(hop: &str, stage: Stage, took: Duration) -> Self {
        let stage = match stage {
            Stage::Credentials => "credentials",
            Stage::Resolve => "resolve",
            Stage::Connect => "connect",
            Stage::HostKey => "host_key",
            Stage::Login => "login",
            Stage::Target => "target",
        };
        Self { hop: hop.to_owned(), stage: stage.into(), took_ms: took.as_millis().try_into().unwrap_or(u64::MAX) }
    }
}

impl From<Step> for StepView {
    fn from(Step { hop, stage, took }: Step) -> Self {
        Self::new(&hop, stage, took)
    }
}

/// Goes a tunnel's way with a login of its own, stage by stage; nothing stays open. Where a stage fails, the answer is 502 with the
/// stages before it. With `Accept: text/event-stream` the stages come as they are through: an event `step` for each, and at last `through`
/// or `stopped`, with what the answer would have been. Whoever hangs up gives the trial up.
#[utoipa::path(
    post, path = "/tunnels/{id}/test", tag = "tunnels", params(("id" = String, Path)),
    responses((status = 200, body = TrialView), (status = 502, body = TrialFailed))
)]
async fn test(State(door): State<Door>, At(id): At<String>, headers: HeaderMap) -> Response {
    let wants_events = |accepted: &[u8]| accepted.starts_with(b"text/event-stream");
    if headers.get(ACCEPT).is_some_and(|accepted| wants_events(accepted.as_bytes())) {
        return live(door, id);
    }
    match go(&door, &id, |_| {}).await {
        Ok(trial) => Json(trial).into_response(),
        Err(denied) => denied.into_response(),
    }
}

async fn go(door: &Door, id: &str, mut told: impl FnMut(&StepView) + Send) -> Result<TrialView, Denied> {
    let mut steps = Vec::new();
    let mut through = |step: Step| {
        let step = StepView::from(step);
        told(&step);
        steps.push(step);
    };
    match door.agent.try_tunnel(id, &mut through).await {
        Ok(()) => Ok(TrialView { steps }),
        Err(TrialError::NoWay(error)) => Err(error.into()),
        Err(TrialError::Dial(error)) => Err(stopped_at(error, steps)),
    }
}

fn stopped_at(error: DialError, steps: Vec<StepView>) -> Denied {
    let told = error_chain(&error);
    if let DialFailure::Credentials(CredentialError::Secrets { source: SecretError::Locked, .. }) = &*error.why {
        return Denied::vault_locked(told);
    }
    let failed = StepView::new(&error.hop, error.stage, error.took);
    Denied::Trial(Box::new(TrialFailed { failure: Failure::new(told, "SSH_REFUSED"), steps, failed }))
}

fn live(door: Door, id: String) -> Response {
    // A way has some stages for each of its few hops.
    let (told, events) = mpsc::unbounded_channel();
    let trial = tokio::spawn(async move {
        let outcome = tokio::select! {
            outcome = go(&door, &id, |step| drop(told.send(event("step", step)))) => outcome,
            // The agent ends.
            () = door.stopping.cancelled() => return,
        };
        let last = match outcome {
            Ok(trial) => event("through", &trial),
            Err(denied) => event("stopped", &denied),
        };
        // Who does not listen any more need not know.
        drop(told.send(last));
    });
    answer(unfold((events, AbortOnDropHandle::new(trial)), async |(mut events, trial)| {
        let event: Event = events.recv().await?;
        Some((Ok::<_, Infallible>(event), (events, trial)))
    }))
}

fn event(name: &str, data: &impl Serialize) -> Event {
    // Text, numbers and lists are always written.
    Event::default().event(name).json_data(data).unwrap_or_default()
}
