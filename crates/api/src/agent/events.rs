//! The board, while it changes, as server-sent events. As with the jump host's, a stream is asked for the next event only when the
//! peer has taken the last.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use adit_agent::agent::Board;
use adit_core::RecordId;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::stream::{Stream, unfold};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::Door;
use super::hosts::UnknownHost;
use super::running::TunnelState;
use super::sessions::SessionState;
use crate::events::{self, LOOK_INTERVAL, SETTLE};
use crate::failure::Refusal;

/// Streams at a time: a page or two, and one of each command that waits for its tunnel, of which a script may run a hundred at once.
/// They are half of the door's connections, so that whoever asks for a moment, as `stop` does, always finds one of the others.
const STREAMS: usize = 128;

/// The page takes 12 s of silence for an agent that hangs: one comment may be late.
const COMMENT_INTERVAL: Duration = Duration::from_secs(5);

/// The places of event streams. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS)))
    }
}

/// Changes as they happen: events `tunnels` (as `GET /tunnels/status`, also each second while bytes move), `sessions` (by id, those
/// that somebody connected), `hosts` (as `GET /hosts/unknown`) and `records` (`{"version": N}`: a saved record, a setting or the lock of
/// the secrets changed, so what was fetched is to be fetched again). All come at the beginning too, and a comment every 5 s.
#[utoipa::path(
    get, path = "/events", tag = "tunnels", responses((status = 200, body = String, content_type = "text/event-stream"))
)]
pub(super) async fn stream(State(Door { agent, stopping, streams, .. }): State<Door>) -> Result<Response, Refusal> {
    let place = streams.0.try_acquire_owned().map_err(|_| {
        let told = format!("there are {STREAMS} event streams already; try again when one of them has ended");
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, told, "TOO_MANY_STREAMS")
    })?;
    let mut pace = interval(LOOK_INTERVAL);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch =
        Watch { board: agent.board(), pace, stopping, told: Told::default(), waiting: VecDeque::new(), _place: place };
    Ok(answer(unfold(watch, async |mut watch| {
        let event = watch.next().await?;
        Some((Ok::<_, Infallible>(event), watch))
    })))
}

/// Hands on events to whoever watches the agent.
pub(super) fn answer(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    events::answer(events, COMMENT_INTERVAL)
}

/// One page that watches.
struct Watch {
    board: watch::Receiver<Board>,
    pace: Interval,
    stopping: CancellationToken,
    told: Told,
    /// What was found and not yet taken.
    waiting: VecDeque<Event>,
    /// Free again when nobody watches any more.
    _place: OwnedSemaphorePermit,
}

/// What a page knows, without the times that go on by themselves.
#[derive(Default)]
struct Told {
    tunnels: Option<Vec<TunnelState>>,
    sessions: Option<BTreeMap<String, SessionState>>,
    hosts: Option<Vec<UnknownHost>>,
    records: Option<u64>,
}

/// The saved records, by the number of their last change.
#[derive(Serialize)]
struct RecordsChanged {
    version: u64,
}

impl Watch {
    /// The next event; `None` ends the stream. Dropped while it waits, it has lost nothing.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            // At the beginning there is nothing to wait for.
            if self.told.tunnels.is_some() {
                tokio::select! {
                    going_on = Self::changed(&mut self.board, &mut self.pace) => going_on?,
                    () = self.stopping.cancelled() => return None,
                }
            }
            self.look();
        }
    }

    /// Until there may be something new; `None`: there will not be.
    async fn changed(board: &mut watch::Receiver<Board>, pace: &mut Interval) -> Option<()> {
        tokio::select! {
            changed = board.changed() => {
                changed.ok()?;
                sleep(SETTLE).await;
            }
            _ = pace.tick() => {}
        }
        Some(())
    }

    fn look(&mut self) {
        let (tunnels, sessions, hosts, version) = {
            let board = self.board.borrow_and_update();
            let session = |(id, status): (&RecordId, _)| (id.to_string(), SessionState::from(Some(status)));
            let sessions: BTreeMap<_, _> = board.sessions.iter().map(session).collect();
            (TunnelState::all(&board), sessions, UnknownHost::all(&board.strange_hosts), board.records)
        };
        let Self { told, waiting, .. } = self;
        let timeless = tunnels.iter().map(TunnelState::timeless).collect();
        tell(waiting, "tunnels", &tunnels, &mut told.tunnels, timeless);
        let timeless = sessions.iter().map(|(id, state)| (id.clone(), state.timeless())).collect();
        tell(waiting, "sessions", &sessions, &mut told.sessions, timeless);
        tell(waiting, "hosts", &hosts, &mut told.hosts, hosts.clone());
        tell(waiting, "records", &RecordsChanged { version }, &mut told.records, version);
    }
}

/// Tells it if it is news.
fn tell<K: PartialEq>(waiting: &mut VecDeque<Event>, name: &str, data: &impl Serialize, told: &mut Option<K>, now: K) {
    if told.as_ref() == Some(&now) {
        return;
    }
    *told = Some(now);
    match Event::default().event(name).json_data(data) {
        Ok(event) => waiting.push_back(event),
        Err(error) => tracing::error!(%error, name, "an event cannot be written"),
    }
}
