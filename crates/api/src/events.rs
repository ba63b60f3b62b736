//! What a page shows, while it changes: server-sent events (WHATWG HTML §9.2).
//!
//! A stream is one `async fn` that looks when something changed and hands on one event at a time, and is asked for the next only
//! when the peer has taken the last: what happened meanwhile is one change, and a slow reader costs no memory. Before it
//! tells what was changed of an account, and every few seconds, it is asked again whose the session is: nothing of that is told to
//! anybody who was signed out.
//!
//! A change of an account wakes the streams of that account only, and the first of them to look has looked for all of them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_core::AccountId;
use adit_jumphost::admin::ListError;
use adit_jumphost::changes::Version;
use adit_jumphost::member::{MeView, MemberError, Overview, Tunnels, TunnelsView};
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

/// The streams of each session and of each account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    /// How many, by the hash of the session's token: nobody can sign in with that.
    sessions: HashMap<[u8; 32], usize>,
    accounts: HashMap<AccountId, OfAccount>,
}

#[derive(Debug)]
struct OfAccount {
    streams: usize,
    look: Arc<Look>,
}

/// A stream that is counted; dropped, it is not any more.
struct Place {
    streams: Streams,
    session: [u8; 32],
    account: AccountId,
    look: Arc<Look>,
}

impl Streams {
    fn take(&self, credential: &Credential, member: &Member) -> Option<Place> {
        let mut session = [0; 32];
        session.copy_from_slice(digest(&SHA256, credential.token().as_str().as_bytes()).as_ref());
        let account = member.account_id();
        let mut held = self.lock();
        if held.sessions.get(&session).is_some_and(|streams| *streams >= PER_SESSION)
            || held.accounts.get(&account).is_some_and(|of| of.streams >= PER_ACCOUNT)
        {
            return None;
        }
        *held.sessions.entry(session).or_default() += 1;
        let new = || OfAccount { streams: 0, look: Arc::new(Look::new(member.changes().account(account))) };
        let of = held.accounts.entry(account).or_insert_with(new);
        of.streams += 1;
        Some(Place { streams: self.clone(), session, account, look: Arc::clone(&of.look) })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.streams.lock();
        if let Entry::Occupied(mut streams) = held.sessions.entry(self.session) {
            *streams.get_mut() -= 1;
            if *streams.get() == 0 {
                streams.remove();
            }
        }
        if let Entry::Occupied(mut of) = held.accounts.entry(self.account) {
            of.get_mut().streams -= 1;
            if of.get().streams == 0 {
                of.remove();
            }
        }
    }
}

/// What the streams of one account have seen of it together.
#[derive(Debug)]
struct Look(tokio::sync::Mutex<Looked>);

#[derive(Debug)]
struct Looked {
    account: Version,
    last: Option<Arc<MeView>>,
}

impl Look {
    fn new(account: Version) -> Self {
        Self(tokio::sync::Mutex::new(Looked { account, last: None }))
    }

    /// The account as it is since its last change, of which the caller has heard. `member` is of this account; each of its rights
    /// reaches as far as looking at it.
    async fn at(&self, member: &Member) -> Result<Arc<MeView>, MemberError<ListError>> {
        let mut looked = self.0.lock().await;
        if let Some(last) = &looked.last
            && looked.account.has_changed().is_ok_and(|has_changed| !has_changed)
        {
            return Ok(Arc::clone(last));
        }
        // Before the look: what changes while we look is another change.
        looked.account.mark_unchanged();
        looked.last = None;
        let now = Arc::new(member.call(Overview {}).await?);
        looked.last = Some(Arc::clone(&now));
        Ok(now)
    }
}

/// Changes as they happen: events `me` (MeView), `tunnels` (TunnelsView), `ports` and `directory` (`{}`: fetch `/me/ports` or
/// `/directory` again; also when other ports than before are live) and, as the last one, `signed-out` (`{}`). `me` and `tunnels` come at
/// the beginning too.
#[utoipa::path(
    get, path = "/events", tag = "account", responses((status = 200, body = String, content_type = "text/event-stream"))
)]
pub(crate) async fn stream(
    State(app): State<App>,
    Extension(Passed { client, .. }): Extension<Passed>,
    SignedIn { member, credential }: SignedIn,
) -> Result<Response, Refusal> {
    let place = app.streams.take(&credential, &member).ok_or_else(|| {
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
    Ok(answer(events, COMMENT_INTERVAL))
}

/// Hands on events as the peer takes them, and a comment where there was none for `silence`.
pub(crate) fn answer(
    events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static,
    silence: Duration,
) -> Response {
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(silence));
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
    place: Place,
}

/// What tells that there may be something new.
struct Changes {
    account: Version,
    ports: Version,
    listing: Version,
    live: Version,
    sign_ins: Version,
    pace: Interval,
}

/// Which of them did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Account,
    Ports,
    Listing,
    Live,
    SignIns,
    Pace,
}

/// What the page knows.
#[derive(Default)]
struct Told {
    me: Option<Arc<MeView>>,
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
            account: hear.account(member.account_id()),
            ports: hear.ports(member.account_id()),
            listing: hear.listing(),
            live: hear.live(member.account_id()),
            sign_ins: hear.sign_ins(),
            pace,
        };
        let (told, waiting, checked) = (Told::default(), VecDeque::new(), Instant::now());
        Self { app, client, member, credential, changes, told, waiting, checked, over: false, place }
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
                None => Cause::Account,
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
        // Moving bytes and others' ports come too often to ask each time.
        if !matches!(cause, Cause::Pace | Cause::Listing) || self.checked.elapsed() >= CHECK_INTERVAL {
            let member = self.credential.still_member(&self.app.sign_in, self.client).await.map_err(|_| Failed)?;
            let Some(member) = member else { return Ok(Err(SignedOut)) };
            (self.member, self.checked) = (member, Instant::now());
        }
        match cause {
            Cause::Account => self.look_at_me().await?,
            Cause::Ports => self.tell("ports", &Empty {}),
            // What all members share. Whoever was signed out a moment ago may hear that it is another, and nothing of the account.
            Cause::Listing => {
                self.tell("directory", &Empty {});
                return Ok(Ok(()));
            }
            Cause::Live | Cause::SignIns | Cause::Pace => {}
        }
        self.look_at_tunnels().await?;
        Ok(Ok(()))
    }

    async fn look_at_me(&mut self) -> Result<(), Failed> {
        let me = self.place.look.at(&self.member).await.map_err(Failed::from)?;
        if self.told.me.as_ref() != Some(&me) {
            self.tell("me", &*me);
            self.told.me = Some(me);
        }
        Ok(())
    }

    async fn look_at_tunnels(&mut self) -> Result<(), Failed> {
        let tunnels = self.member.call(Tunnels {}).await.map_err(Failed::from)?;
        // A registered port that came to life, or lost it, is shown so.
        if self.told.tunnels.as_ref().is_some_and(|told| !open_ports(told).eq(open_ports(&tunnels))) {
            self.tell("ports", &Empty {});
        }
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
            // The end of a session goes before all that would be told to it.
            biased;
            _ = self.sign_ins.changed() => Cause::SignIns,
            _ = self.account.changed() => Cause::Account,
            _ = self.ports.changed() => Cause::Ports,
            _ = self.listing.changed() => Cause::Listing,
            _ = self.live.changed() => Cause::Live,
            _ = self.pace.tick() => Cause::Pace,
        };
        if matches!(cause, Cause::Account | Cause::Ports | Cause::Live) {
            sleep(SETTLE).await;
        }
        cause
    }
}

fn open_ports(view: &TunnelsView) -> impl Iterator<Item = u16> {
    view.tunnels.iter().map(|tunnel| tunnel.port)
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
