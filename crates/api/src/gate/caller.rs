//! Who asks. A handler names one of these types, and does not run for anybody else; what it can do, it can do only through the
//! value it gets. So no handler can forget to ask who is there.

use std::net::SocketAddr;

use adit_jumphost::admin::{Admin, ListError};
use adit_jumphost::signin::scope::Scope;
use adit_jumphost::signin::token::{API_TOKEN_PREFIX, Token};
use adit_jumphost::signin::{Member, SessionClaim, SessionProof, SessionProofError, SignIn, Visit};
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderName, ORIGIN};
use axum::http::request::Parts;

use super::cookie::Purpose;
use super::origin::Origin;
use super::{Passed, comes_from_our_page};
use crate::failure::Refusal;
use crate::web::App;

/// Brings the key of the page's session. The browser keeps it for our origin alone, while it sends the cookie also to what a member
/// serves at another port of this host; and a page of another origin cannot send this header.
const KEY: HeaderName = HeaderName::from_static("x-csrf-token");

/// Somebody of whom nothing is asked. Nothing is looked up for them either: no limit has counted them yet.
#[derive(Debug)]
pub(crate) struct Visitor {
    /// From where, and what the browser shows of a session, if anything.
    pub(crate) visit: Visit,
    /// The one of our origins that was asked.
    pub(crate) origin: Origin,
}

/// Somebody who is signed in, and asks in a way that another site's page cannot.
#[derive(Debug)]
pub(crate) struct SignedIn {
    /// What they may do.
    pub(crate) member: Member,
    /// What shows that they are signed in.
    pub(crate) credential: Credential,
}

/// What shows that somebody is signed in.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    /// The cookie of a session and, from its own page, the key that belongs to it.
    Session(SessionProof),
    /// `Authorization: Bearer`. No browser sends one by itself.
    ApiToken(Token),
}

/// Somebody who administers this jump host.
pub(crate) struct Administrator(pub(crate) Admin);

/// Somebody who administers this jump host, and is answered for so long that they may cease to.
pub(crate) struct WatchedAdministrator {
    sign_in: SignIn,
    client: SocketAddr,
    credential: Credential,
}

impl WatchedAdministrator {
    /// Their right, if they have it still.
    pub(crate) async fn still(&self) -> Result<Option<Admin>, ListError> {
        let member = self.credential.still_member(&self.sign_in, self.client).await?;
        Ok(member.and_then(|member| member.admin().ok()))
    }
}

/// What the head of a request shows, before anybody has looked whose it is.
enum Shown {
    /// Cookies without the page's key. Whose they are does not matter.
    CookiesAlone,
    /// The page's key, with each cookie that may belong to it.
    Session(SessionClaim),
    ApiToken(Token),
}

impl Shown {
    /// Where there are both, what somebody put there on purpose counts.
    fn of(headers: &HeaderMap, origin: &Origin) -> Option<Self> {
        match headers.get(AUTHORIZATION) {
            Some(value) => {
                let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
                let ours = scheme.eq_ignore_ascii_case("bearer") && token.starts_with(API_TOKEN_PREFIX);
                ours.then(|| Self::ApiToken(Token::from_text(token)))
            }
            None => {
                let tokens = session_tokens(headers, origin);
                if tokens.is_empty() {
                    return None;
                }
                let claim = page_key(headers).map(|key| Self::Session(SessionClaim { key, tokens }));
                Some(claim.unwrap_or(Self::CookiesAlone))
            }
        }
    }

    /// Whose it is, now. Counts as a use.
    async fn proven(self, sign_in: &SignIn, client: SocketAddr) -> Result<(Member, Credential), SessionProofError> {
        match self {
            Self::CookiesAlone => Err(SessionProofError::OtherKey),
            Self::Session(claim) => {
                let (member, proof) = proven(&claim, sign_in, client).await?;
                Ok((member, Credential::Session(proof)))
            }
            Self::ApiToken(token) => {
                let member = sign_in.member_of_token(&token, client).await?;
                Ok((member.ok_or(SessionProofError::NoSession)?, Credential::ApiToken(token)))
            }
        }
    }
}

impl Credential {
    /// Whose it still is. Does not count as a use of a session, which ends when nobody is there any more.
    pub(crate) async fn still_member(&self, sign_in: &SignIn, client: SocketAddr) -> Result<Option<Member>, ListError> {
        let member = match self {
            Self::Session(proof) => sign_in.still_member(proof, client).await,
            Self::ApiToken(token) => return Ok(sign_in.member_of_token(token, client).await?),
        };
        match member {
            Ok(member) => Ok(Some(member)),
            Err(SessionProofError::NoSession | SessionProofError::OtherKey) => Ok(None),
            Err(SessionProofError::Store(error)) => Err(error.into()),
        }
    }

    /// What it is told from others by.
    pub(crate) fn token(&self) -> &Token {
        match self {
            Self::Session(SessionProof { token, .. }) | Self::ApiToken(token) => token,
        }
    }
}

fn page_key(headers: &HeaderMap) -> Option<Token> {
    headers.get(KEY).and_then(|key| key.to_str().ok()).map(Token::from_text)
}

fn session_tokens(headers: &HeaderMap, origin: &Origin) -> Vec<Token> {
    Purpose::Session.read(origin, headers).into_iter().map(Token::from_text).collect()
}

/// The one of these that is a session's, and whose that is. Counts as a use.
async fn proven(
    claim: &SessionClaim,
    sign_in: &SignIn,
    client: SocketAddr,
) -> Result<(Member, SessionProof), SessionProofError> {
    let mut why = SessionProofError::NoSession;
    for proof in claim.proofs() {
        match sign_in.member_of_session(&proof, client).await {
            Ok(member) => return Ok((member, proof)),
            Err(error @ SessionProofError::Store(_)) => return Err(error),
            Err(error @ SessionProofError::OtherKey) => why = error,
            Err(SessionProofError::NoSession) => {}
        }
    }
    Err(why)
}

fn passed(parts: &Parts) -> Result<Passed, Refusal> {
    let told = "this request did not come through the gate";
    let passed = parts.extensions.get::<Passed>().cloned();
    passed.ok_or_else(|| Refusal::new(StatusCode::FORBIDDEN, told, "foreign-host"))
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Refusal> {
        let Passed { origin, client } = passed(parts)?;
        let replaces =
            page_key(&parts.headers).map(|key| SessionClaim { key, tokens: session_tokens(&parts.headers, &origin) });
        Ok(Self { visit: Visit { client, replaces }, origin })
    }
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let Passed { origin, client } = passed(parts)?;
        let signed_out = || Refusal::new(StatusCode::UNAUTHORIZED, "you are signed out; sign in again", "signed-out");
        let is_change = !parts.method.is_safe();
        let shown = Shown::of(&parts.headers, &origin).ok_or_else(signed_out)?;
        if is_change && matches!(shown, Shown::CookiesAlone | Shown::Session(_)) {
            check_origin(&parts.headers)?;
        }
        let (member, credential) = shown.proven(&app.sign_in, client).await.map_err(|error| match error {
            SessionProofError::OtherKey if is_change => Refusal::new(
                StatusCode::FORBIDDEN,
                "the x-csrf-token is missing or of another session; sign in again",
                "csrf",
            ),
            // A cookie alone is nobody.
            SessionProofError::OtherKey | SessionProofError::NoSession => signed_out(),
            SessionProofError::Store(error) => error.into(),
        })?;
        member.permit(if is_change { Scope::Write } else { Scope::Read })?;
        Ok(Self { member, credential })
    }
}

/// Whether our own page wants this change. A foreign origin has not come this far; one that is not said might be any.
fn check_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(ORIGIN) || comes_from_our_page(headers) {
        return Ok(());
    }
    let told = "a change with a cookie has to say its Origin; a program uses an API token";
    Err(Refusal::new(StatusCode::FORBIDDEN, told, "foreign-origin"))
}

impl FromRequestParts<App> for Administrator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let SignedIn { member, .. } = SignedIn::from_request_parts(parts, app).await?;
        Ok(Self(member.admin()?))
    }
}

impl FromRequestParts<App> for WatchedAdministrator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let SignedIn { member, credential } = SignedIn::from_request_parts(parts, app).await?;
        member.admin()?;
        Ok(Self { sign_in: app.sign_in.clone(), client: passed(parts)?.client, credential })
    }
}
