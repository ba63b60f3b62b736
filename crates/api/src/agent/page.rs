//! A browser's way in: the token of the agent in exchange for a code that is good once. The token itself never travels in an address,
//! which browsers keep in their history; what they keep there of us is a code that nobody can use any more.
//!
//! Who may use a code is decided by whoever hands it out: a program that has the token. `adit open` is one.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_net::kernel_sockets;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use super::Door;
use super::gate::{AccessToken, Brought, CurrentToken, missing_token, random_text};
use super::question::{Asked, Secret};
use super::refusal::Denied;
use super::whereabouts::{KeptToken, exchange_token};
use crate::connections::Ends;
use crate::failure::Refusal;

/// For a browser that has to be started first, and a person who copies an address from one machine to another.
const CODE_LIFETIME: Duration = Duration::from_secs(600);

/// More than anybody has use for at a time. Codes that nobody uses are not kept for longer than this many others.
const MOST_CODES: usize = 16;

/// What needs the token.
pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(make_code)).routes(routes!(exchange))
}

/// What brings it.
pub(super) fn open_routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(enter))
}

/// What the door knows of itself, and who may come in. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    token_file: PathBuf,
    url: String,
    started_at: i64,
    current: CurrentToken,
    codes: Arc<Mutex<Codes>>,
    /// Tokens are exchanged one after the other.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Entry {
    pub(super) fn new(KeptToken { token, file }: KeptToken, url: String) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            token_file: file,
            url,
            started_at: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            current: CurrentToken::new(token),
            codes: Arc::default(),
            turn: Arc::default(),
        }
    }

    pub(super) fn current(&self) -> &CurrentToken {
        &self.current
    }

    fn codes(&self) -> MutexGuard<'_, Codes> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a new token in the place of the one that was brought.
    async fn exchange(&self, brought: &AccessToken) -> Result<AccessToken, Denied> {
        let _turn = self.turn.lock().await;
        // Whoever came first has made it one of yesterday.
        if !self.current.is(brought) {
            return Err(missing_token());
        }
        let file = self.token_file.clone();
        let made = tokio::task::spawn_blocking(move || exchange_token(file)).await;
        let token = made.map_err(|error| Denied::internal(&error))??;
        self.current.exchange(token.clone());
        Ok(token)
    }
}

/// The codes that were handed out. Each stands for the token it was asked for with, and is worth nothing once that is exchanged: a token
/// that somebody stole gives them no way to the next one.
#[derive(Default)]
struct Codes {
    /// The oldest first.
    waiting: VecDeque<Code>,
}

struct Code {
    text: Zeroizing<String>,
    token: AccessToken,
    until: Instant,
}

impl Codes {
    fn add(&mut self, text: Zeroizing<String>, token: AccessToken, now: Instant) {
        if self.waiting.len() == MOST_CODES {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Code { text, token, until: now + CODE_LIFETIME });
    }

    /// Whether a code is good. How long that takes tells nothing of the codes there are.
    fn has(&self, text: &str, now: Instant) -> bool {
        self.waiting.iter().any(|code| now < code.until && code.is(text))
    }

    /// Uses up a code. How long that takes tells nothing of the codes there are.
    fn take(&mut self, text: &str, now: Instant) -> Option<AccessToken> {
        self.waiting.retain(|code| now < code.until);
        let found = self.waiting.iter().position(|code| code.is(text))?;
        self.waiting.remove(found).map(|code| code.token)
    }
}

impl Code {
    fn is(&self, text: &str) -> bool {
        verify_slices_are_equal(self.text.as_bytes(), text.as_bytes()).is_ok()
    }
}

/// Whether the other end of a connection is another user's. Where the system does not say whose it is, nobody is kept out.
async fn belongs_to_another(Ends { peer, local }: Ends) -> bool {
    let asked = tokio::task::spawn_blocking(move || kernel_sockets::has_one_owner(local, peer)).await;
    asked.is_ok_and(|one_owner| one_owner == Some(false))
}

impl fmt::Debug for Codes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} codes", self.waiting.len())
    }
}

// ── what is asked and answered ──────────────────────────────────────────────────────────────────────────────────────

/// A code for a browser: `URL/#/enter?code=CODE` opens the page with it. What stands after the `#` is sent to no server.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct PageCode {
    /// Good once.
    pub code: String,
    /// For how long it is good.
    pub expires_in_secs: u64,
}

/// The token, for whoever may have it.
#[derive(Serialize, ToSchema)]
struct PageToken {
    token: String,
}

impl From<&AccessToken> for PageToken {
    fn from(token: &AccessToken) -> Self {
        Self { token: token.reveal().to_owned() }
    }
}

/// What the page says of the agent it belongs to.
#[derive(Debug, Serialize, ToSchema)]
struct PageView {
    /// Where the token is kept.
    token_file: String,
    /// Where the agent answers.
    url: String,
    /// Its version of adit.
    version: &'static str,
    /// When it opened its door.
    started_at: i64,
}

/// A code that somebody was given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Enter {
    code: Secret,
}

/// What the page says of the agent it belongs to.
#[utoipa::path(get, path = "/page", tag = "page", responses((status = 200, body = PageView)))]
async fn show(State(Door { entry, .. }): State<Door>) -> Json<PageView> {
    let Entry { token_file, url, started_at, .. } = entry;
    let token_file = token_file.to_string_lossy().into_owned();
    Json(PageView { token_file, url, version: env!("CARGO_PKG_VERSION"), started_at })
}

/// Makes a code with which a browser gets the token, once and within ten minutes. There are 16 at a time; one more takes the place of
/// the oldest.
#[utoipa::path(post, path = "/page/codes", tag = "page", responses((status = 201, body = PageCode)))]
async fn make_code(
    State(Door { entry, .. }): State<Door>,
    Extension(Brought(token)): Extension<Brought>,
) -> Result<(StatusCode, Json<PageCode>), Denied> {
    let text = random_text().map_err(|error| Denied::internal(&error))?;
    let code = PageCode { code: text.as_str().to_owned(), expires_in_secs: CODE_LIFETIME.as_secs() };
    entry.codes().add(text, token, Instant::now());
    Ok((StatusCode::CREATED, Json(code)))
}

/// Gives the token for a code, which is used up then. It is asked without the token, by the user that runs the agent.
#[utoipa::path(post, path = "/page/enter", tag = "page", request_body = Enter, responses((status = 200, body = PageToken)))]
async fn enter(
    State(Door { entry, .. }): State<Door>,
    Extension(ends): Extension<Ends>,
    Asked(Enter { code }): Asked<Enter>,
) -> Result<Json<PageToken>, Denied> {
    let code = code.reveal();
    // Whoever opens addresses is told them in its arguments, which every user of the machine can read.
    if entry.codes().has(&code, Instant::now()) && belongs_to_another(ends).await {
        tracing::warn!("another user of this machine tried to enter with a code of `adit open`");
        return Err(Denied::new(StatusCode::FORBIDDEN, "the page is for the user that runs the agent"));
    }
    let token = entry.codes().take(&code, Instant::now());
    match token.filter(|token| entry.current.is(token)) {
        Some(token) => Ok(Json(PageToken::from(&token))),
        None => {
            let told = "this code is not good any more: each opens the page once, within ten minutes. Run `adit open` again, or paste \
                        the agent's token";
            Err(Denied::Plain(Refusal::new(StatusCode::UNAUTHORIZED, told, "BAD_CODE")))
        }
    }
}

/// Makes a new token, writes it to its file, and ends the old one: whoever has that, and every event stream begun with it, is out.
#[utoipa::path(put, path = "/page/token", tag = "page", responses((status = 200, body = PageToken)))]
async fn exchange(
    State(Door { entry, .. }): State<Door>,
    Extension(Brought(token)): Extension<Brought>,
) -> Result<Json<PageToken>, Denied> {
    Ok(Json(PageToken::from(&entry.exchange(&token).await?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> AccessToken {
        AccessToken::from_text(&random_text().unwrap()).unwrap()
    }

    fn add(codes: &mut Codes, text: &str, now: Instant) {
        codes.add(Zeroizing::new(text.to_owned()), token(), now);
    }

    #[test]
    fn a_code_is_good_once_and_for_its_time() {
        let (mut codes, now) = (Codes::default(), Instant::now());
        add(&mut codes, "early", now);
        add(&mut codes, "late", now + Duration::from_secs(1));
        for wrong in ["", "earl", "early ", "EARLY", "other"] {
            assert!(codes.take(wrong, now).is_none(), "{wrong:?}");
        }
        assert!(codes.take("early", now + CODE_LIFETIME).is_none(), "its last moment has passed");
        assert!(codes.take("late", now + CODE_LIFETIME).is_some());
        assert!(codes.take("late", now + CODE_LIFETIME).is_none(), "it was used");
    }

    #[test]
    fn one_code_too_many_pushes_out_the_oldest() {
        let (mut codes, now) = (Codes::default(), Instant::now());
        for number in 0..=MOST_CODES {
            add(&mut codes, &number.to_string(), now);
        }
        assert!(codes.take("0", now).is_none());
        for number in 1..=MOST_CODES {
            assert!(codes.take(&number.to_string(), now).is_some(), "{number}");
        }
    }

    #[test]
    fn a_code_stands_for_the_token_it_was_asked_for_with() {
        let (mut codes, now, token) = (Codes::default(), Instant::now(), token());
        codes.add(Zeroizing::new("code".to_owned()), token.clone(), now);
        let taken = codes.take("code", now).unwrap();
        let current = CurrentToken::new(token);
        assert!(current.is(&taken));
        current.exchange(self::token());
        assert!(!current.is(&taken), "it opens nothing any more");
    }
}
