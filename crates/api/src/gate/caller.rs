//! Who asks. A handler names one of these types, and does not run for anybody else; what it can do, it can do only through the
//! value it gets. So no handler can forget to ask who is there.

use adit_jumphost::admin::{Admin, ListError};
use adit_jumphost::signin::scope::Scope;
use adit_jumphost::signin::token::{API_TOKEN_PREFIX, Token};
use adit_jumphost::signin::{Member, SignIn, Visit};
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderName, ORIGIN};
use axum::http::request::Parts;

use super::cookie::Purpose;
use super::origin::Origin;
use super::{Passed, comes_from_our_page};
use crate::connections::Ends;
use crate::failure::Refusal;
use crate::web::App;

const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// Somebody of whom nothing is asked.
#[derive(Debug)]
pub(crate) struct Visitor {
    /// From where, and with which session, if any.
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
    /// The cookie of a session.
    Session(Token),
    /// `Authorization: Bearer`. No browser sends one by itself.
    ApiToken(Token),
}

/// Somebody who administers this jump host.
pub(crate) struct Administrator(pub(crate) Admin);

impl Credential {
    /// The token in the head of a request. Where there are two, the one that somebody put there on purpose counts.
    fn of(headers: &HeaderMap, origin: &Origin) -> Option<Self> {
        match headers.get(AUTHORIZATION) {
            Some(value) => {
                let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
                let ours = scheme.eq_ignore_ascii_case("bearer") && token.starts_with(API_TOKEN_PREFIX);
                ours.then(|| Self::ApiToken(Token::from_text(token)))
            }
            None => Purpose::Session.read(origin, headers).map(|token| Self::Session(Token::from_text(&token))),
        }
    }

    /// Whose it is, now. Counts as a use.
    async fn member(&self, sign_in: &SignIn, ends: Ends) -> Result<Option<Member>, ListError> {
        Ok(match self {
            Self::Session(token) => sign_in.member_of_session(token, ends.peer).await?,
            Self::ApiToken(token) => sign_in.member_of_token(token, ends.peer).await?,
        })
    }

    /// Whose it still is. Does not count as a use of a session, which ends when nobody is there any more.
    pub(crate) async fn still_member(&self, sign_in: &SignIn, ends: Ends) -> Result<Option<Member>, ListError> {
        Ok(match self {
            Self::Session(token) => sign_in.still_member(token, ends.peer).await?,
            Self::ApiToken(token) => sign_in.member_of_token(token, ends.peer).await?,
        })
    }
}

fn passed(parts: &Parts) -> Result<(Origin, Ends), Refusal> {
    match (parts.extensions.get::<Passed>(), parts.extensions.get::<Ends>()) {
        (Some(Passed(origin)), Some(ends)) => Ok((origin.clone(), *ends)),
        _ => Err(Refusal::new(StatusCode::FORBIDDEN, "this request did not come through the gate", "foreign-host")),
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Refusal> {
        let (origin, ends) = passed(parts)?;
        let replaces = Purpose::Session.read(&origin, &parts.headers).map(|token| Token::from_text(&token));
        Ok(Self { visit: Visit { client: ends.peer, replaces }, origin })
    }
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let (origin, ends) = passed(parts)?;
        let signed_out = || Refusal::new(StatusCode::UNAUTHORIZED, "you are signed out; sign in again", "signed-out");
        let credential = Credential::of(&parts.headers, &origin).ok_or_else(signed_out)?;
        let member = credential.member(&app.sign_in, ends).await?.ok_or_else(signed_out)?;
        if parts.method.is_safe() {
            member.permit(Scope::Read)?;
        } else {
            member.permit(Scope::Write)?;
            check_intent(&parts.headers, &credential, &member)?;
        }
        Ok(Self { member, credential })
    }
}

/// Whether our own page wants this change: its origin is ours (a foreign one has not come this far), and it knows the session's
/// token, which no other page can read.
fn check_intent(headers: &HeaderMap, credential: &Credential, member: &Member) -> Result<(), Refusal> {
    let refuse = |error: &str, code| Err(Refusal::new(StatusCode::FORBIDDEN, error, code));
    let from_our_page = headers.contains_key(ORIGIN) || comes_from_our_page(headers);
    if matches!(credential, Credential::Session(_)) && !from_our_page {
        return refuse("a change with a cookie has to say its Origin; a program uses an API token", "foreign-origin");
    }
    if !member.may_change_with(headers.get(CSRF).and_then(|token| token.to_str().ok())) {
        return refuse("the x-csrf-token is missing or of another session; load the page again", "csrf");
    }
    Ok(())
}

impl FromRequestParts<App> for Administrator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let SignedIn { member, .. } = SignedIn::from_request_parts(parts, app).await?;
        Ok(Self(member.admin()?))
    }
}
