//! What a page shows, while it changes: server-sent events (WHATWG HTML §9.2).
//!
//! A stream is one `async fn` that looks when something changed and hands on one event at a time, and is asked for the next only
//! when the peer has taken the last: what happened meanwhile is one change, and a slow reader costs no memory. Before each look it is
//! asked again whose the session is, so nothing is told to anybody who was signed out.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_core::AccountId;
use adit_jumphost::changes::Version;
use adit_jumphost::member::{MeView, Overview, Tunnels, TunnelsView};
use adit_jumphost::signin::Member;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, unfold};
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use crate::failure::{Failure, Refusal};
use crate::gate::Passed;
use crate::gate::caller::{Credential, SignedIn};
use crate::web::App;

/// Streams of one session at a time: some tabs, and those that the server has not yet seen closing.
const PER_SESSION: usize = 8;

/// Streams of one account at a time, so that a few accounts do not hold all connections of the web address.
const PER_ACCOUNT: usize = 32;

/// A change is told after this time, together with what came meanwhile: a client that opens 20 forwards is one change. We promise
/// 500 ms.
pub(crate) const SETTLE: Duration = Duration::from_millis(200);

/// The pace of moving bytes.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A session that ends by its time alone tells nobody, so it is looked for. We promise 5 s.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// Less than the minute after which proxies give up a silent connection.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);

/// Told to nginx, which would otherwise hold events back.
const NO_BUFFERING: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// How many streams each session and each account has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<Holder, usize>>>);

/// Who has streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    /// By the hash of its token: nobody can sign in with that.
    Session([u8; 32]),
    Account(AccountId),
}

impl Holder {
    const fn bound(self) -> usize {
        match self {
            Self::Session(_) => PER_SESSION,
            Self::Account(_) => PER_ACCOUNT,
        }
    }
}

/// A stream that is counted; dropped, it is not any more.
struct Place {
    streams: Streams,
    holders: [Holder; 2],
}

impl Streams {
    fn take(&self, credential: &Credential, account: AccountId) -> Option<Place> {
        let mut session = [0; 32];
        session.copy_from_slice(digest(&SHA256, credential.token().as_str().as_bytes()).as_ref());
        let holders = [Holder::Session(session), Holder::Account(account)];
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.iter().any(|holder| held.get(holder).is_some_and(|streams| *streams >= holder.bound())) {
            return None;
        }
        for holder in holders {
            *held.entry(holder).or_default() += 1;
        }
        Some(Place { streams: self.clone(), holders })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        for holder in self.holders {
            if let Some(streams) = held.get_mut(&holder) {
                *streams -= 1;
                if *streams == 0 {
                    held.remove(&holder);
                }
            }
        }
    }
}

/// Changes as they happen: events `me` (MeView), `tunnels` (TunnelsView), `directory` (`{}`: fetch it again) and, as the last one,
/// `signed-out` (`{}`). `me` and `tunnels` come at the beginning too.
#[utoipa::path(
    get, path = "/events", tag = "account", responses((status = 200, body = String, content_type = "text/event-stream"))
)]
pub(crate) async fn stream(
    State(app): State<App>,
    Extension(Passed { client, .. }): Extension<Passed>,
    SignedIn { member, credential }: SignedIn,
) -> Result<Response, Refusal> {
    let place = app.streams.take(&credential, member.account_id()).ok_or_else(|| {
        let told = format!(
            "there are {PER_SESSION} event streams of this session or {PER_ACCOUNT} of this account; close one"
        );
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, told, "too-many-streams")
    })?;
    let watch = Watch::new(app, client, member, credential, place);
    let events = unfold(watch, async |mut watch| {
        let event = watch.next().await?;
        Some((Ok::<_, Infallible>(event), watch))
    });
    Ok(answer(events))
}

/// Hands on events as the peer takes them, and a comment where there was none for a while.
pub(crate) fn answer(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(COMMENT_INTERVAL));
    ([NO_BUFFERING], sse).into_response()
}

/// One page that watches.
struct Watch {
    app: App,
    client: SocketAddr,
    member: Member,
    credential: Credential,
    changes: Changes,
    told: Told,
    /// What was found and not yet taken.
    waiting: VecDeque<Event>,
    checked: Instant,
    over: bool,
    _place: Place,
}

/// What tells that there may be something new.
struct Changes {
    directory: Version,
    listing: Version,
    live: Version,
    sign_ins: Version,
    pace: Interval,
}

/// Which of them did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Directory,
    Listing,
    Live,
    SignIns,
    Pace,
}

/// What the page knows.
#[derive(Default)]
struct Told {
    me: Option<MeView>,
    tunnels: Option<TunnelsView>,
}

/// The session is over.
struct SignedOut;

impl Watch {
    fn new(app: App, client: SocketAddr, member: Member, credential: Credential, place: Place) -> Self {
        let mut pace = interval(LOOK_INTERVAL);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hear = app.sign_in.changes();
        let changes = Changes {
            directory: hear.directory(),
            listing: hear.listing(),
            live: hear.live(member.account_id()),
            sign_ins: hear.sign_ins(),
            pace,
        };
        let (told, waiting, checked) = (Told::default(), VecDeque::new(), Instant::now());
        Self { app, client, member, credential, changes, told, waiting, checked, over: false, _place: place }
    }

    /// The next event; `None` ends the stream. Dropped while it waits, it has lost nothing.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            // At the beginning there is nothing to wait for.
            let cause = match self.told.me {
                Some(_) => tokio::select! {
                    cause = self.changes.next() => cause,
                    () = self.app.stopping.cancelled() => return None,
                },
                None => Cause::Directory,
            };
            match self.look(cause).await {
                Ok(Ok(())) => {}
                Ok(Err(SignedOut)) => {
                    self.over = true;
                    self.tell("signed-out", &Empty {});
                }
                // The page comes back by itself, and hears then what is wrong.
                Err(Failed) => return None,
            }
        }
    }

    async fn look(&mut self, cause: Cause) -> Result<Result<(), SignedOut>, Failed> {
        if cause != Cause::Pace || self.checked.elapsed() >= CHECK_INTERVAL {
            let member = self.credential.still_member(&self.app.sign_in, self.client).await.map_err(|_| Failed)?;
            let Some(member) = member else { return Ok(Err(SignedOut)) };
            (self.member, self.checked) = (member, Instant::now());
        }
        match cause {
            // Which of the registered ports are live stands there too.
            Cause::Directory | Cause::Live => self.look_at_me().await?,
            Cause::Listing => self.tell("directory", &Empty {}),
            Cause::SignIns | Cause::Pace => {}
        }
        self.look_at_tunnels().await?;
        Ok(Ok(()))
    }

    async fn look_at_me(&mut self) -> Result<(), Failed> {
        let me = self.member.call(Overview {}).await.map_err(Failed::from)?;
        if self.told.me.as_ref() != Some(&me) {
            self.tell("me", &me);
            self.told.me = Some(me);
        }
        Ok(())
    }

    async fn look_at_tunnels(&mut self) -> Result<(), Failed> {
        let tunnels = self.member.call(Tunnels {}).await.map_err(Failed::from)?;
        let is_news = |told: &TunnelsView| (&told.tunnels, &told.refusals) != (&tunnels.tunnels, &tunnels.refusals);
        if self.told.tunnels.as_ref().is_none_or(is_news) {
            self.tell("tunnels", &tunnels);
            self.told.tunnels = Some(tunnels);
        }
        Ok(())
    }

    fn tell(&mut self, name: &str, data: &impl Serialize) {
        match Event::default().event(name).json_data(data) {
            Ok(event) => self.waiting.push_back(event),
            Err(error) => tracing::error!(%error, name, "an event cannot be written"),
        }
    }
}

impl Changes {
    async fn next(&mut self) -> Cause {
        // Senders live as long as the jump host; a closed one would only make us look once more.
        let cause = tokio::select! {
            _ = self.sign_ins.changed() => Cause::SignIns,
            _ = self.directory.changed() => Cause::Directory,
            _ = self.listing.changed() => Cause::Listing,
            _ = self.live.changed() => Cause::Live,
            _ = self.pace.tick() => Cause::Pace,
        };
        if matches!(cause, Cause::Directory | Cause::Live) {
            sleep(SETTLE).await;
        }
        cause
    }
}

#[derive(Serialize)]
struct Empty {}

/// The store failed; the log says how.
struct Failed;

impl<F: adit_jumphost::admin::Fault> From<F> for Failed {
    fn from(fault: F) -> Self {
        tracing::error!(error = Failure::from_fault(&fault).error, "an event stream ends");
        Self
    }
}
