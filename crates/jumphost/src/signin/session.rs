//! Signing in with a password, signing out, and who the holder of a session or an API token is.
//!
//! A session is proved by two secrets. Browsers send a cookie to every port of its host, so also to the web service behind a
//! member's forward; what they keep for a page they keep for its port alone. So beside the cookie each request shows the session's
//! key, which the page is told once, where the session begins, and a cookie alone is nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::{AccountId, AccountName, Source};
use adit_store::{Account, AddWebSessionError, Credential, NewWebSession, StoreError, TokenHash, WebSession};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::attempts::TooManyAttempts;
use super::password::{HashError, Password, Verdict};
use super::right::{Member, Right};
use super::scope::Scopes;
use super::token::{NoRandomness, Token, same};
use super::{SESSION_IDLE, SESSION_LIFETIME, SignIn, Visit};
use crate::admin::{Fault, FaultKind, STORE_FAILED, unix_millis};
use crate::audit::{Fact, SignInRefusal, Subject};

/// A use is noted at most so often: a page that asks every second must not write every second.
const TOUCH_INTERVAL: Duration = Duration::from_secs(60);

/// How long somebody waits who came while too many passwords were being compared.
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// How somebody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// With the password of a local account, or a link.
    Password,
    /// With an OpenID provider.
    Oidc,
    /// With an API token; there is no session.
    Token,
}

impl Via {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Oidc => "oidc",
            Self::Token => "token",
        }
    }

    /// Reads what the store keeps of a session.
    fn of_session(name: &str) -> Self {
        if name == Self::Oidc.name() { Self::Oidc } else { Self::Password }
    }
}

/// A name and a password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordSignIn {
    /// The account's name as typed.
    pub account: String,
    /// Its password.
    pub password: Password,
}

/// What a page knows of its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebSessionView {
    /// Who is signed in.
    pub account: String,
    /// The account's tier.
    pub tier: String,
    /// Whether it administers this jump host.
    pub admin: bool,
    /// The session's key, to be sent with every request as `x-csrf-token`. Told once, in the answer that begins the session.
    pub csrf: Option<String>,
    /// When it ends at the latest; none for an API token without end.
    pub expires_at: Option<i64>,
    /// How it was signed in.
    pub via: Via,
}

/// Somebody has just signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// For the cookie, and for nothing else.
    pub token: Token,
    /// For the page, and for nothing else.
    pub key: Token,
    /// How long the browser may keep the cookie.
    pub lifetime: Duration,
    /// For the page.
    pub view: WebSessionView,
}

/// What a request shows of its session.
#[derive(Debug, Clone)]
pub struct SessionProof {
    /// The cookie's.
    pub token: Token,
    /// The page's; `None` where the request shows none.
    pub key: Option<Token>,
}

/// Why a request is nobody's.
#[derive(Debug, Error)]
pub enum SessionProofError {
    /// There is no session of this token, or not any more.
    #[error("there is no such session, or not any more")]
    NoSession,
    /// There is one, and the request does not show its key.
    #[error("this is not the key of the session")]
    OtherKey,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How somebody has just shown who they are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shown<'a> {
    /// They know the password of this hash. While they were asked it may have been changed.
    Password { phc: &'a str },
    /// An OpenID provider vouches for them.
    Provider,
}

impl Shown<'_> {
    fn via(self) -> Via {
        match self {
            Self::Password { .. } => Via::Password,
            Self::Provider => Via::Oidc,
        }
    }
}

/// Why nobody was signed in.
#[derive(Debug, Error)]
pub enum SignInError {
    /// No such account, no password, a wrong one, or locked out: nobody is told which.
    #[error("this account and password do not belong together; check both")]
    BadCredentials,
    /// Too many failures from here or for this account.
    #[error("too many failed attempts; try again in {} s", .wait.as_secs().max(1))]
    TooManyAttempts {
        /// How long to wait.
        wait: Duration,
    },
    /// Too many are signing in at this moment, or the password was changed while it was compared.
    #[error("too much is going on at once to sign in; try again in a moment")]
    Busy,
    /// A password could not be hashed, or a token not be made.
    #[error("this server could not compute what signing in needs; its log says more")]
    Failed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for SignInError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::BadCredentials => FaultKind::SignedOut,
            Self::TooManyAttempts { .. } | Self::Busy => FaultKind::TooMany,
            Self::Failed | Self::Store(_) => FaultKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::BadCredentials => "bad-credentials",
            Self::TooManyAttempts { .. } => "too-many-attempts",
            Self::Busy => "busy",
            Self::Failed => "sign-in-failed",
            Self::Store(_) => STORE_FAILED,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyAttempts { wait } => Some(*wait),
            Self::Busy => Some(BUSY_WAIT),
            Self::BadCredentials | Self::Failed | Self::Store(_) => None,
        }
    }
}

impl From<TooManyAttempts> for SignInError {
    fn from(refused: TooManyAttempts) -> Self {
        Self::TooManyAttempts { wait: refused.wait }
    }
}

impl From<HashError> for SignInError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => Self::Busy,
            HashError::Failed => Self::Failed,
        }
    }
}

impl From<NoRandomness> for SignInError {
    fn from(_: NoRandomness) -> Self {
        Self::Failed
    }
}

impl SignIn {
    /// Signs in with a password. A name that nobody has takes as long as a wrong password.
    ///
    /// # Errors
    /// [`SignInError`]; the browser's session, if it had one, goes on.
    pub async fn with_password(&self, question: PasswordSignIn, visit: Visit) -> Result<SignedIn, SignInError> {
        let name: Option<AccountName> = question.account.parse().ok();
        let source = Source::from(visit.client.ip());
        let attempt = self.shared.attempts().handle_attempt(name.clone(), source, Instant::now())?;
        let outcome = self.judge(name.as_ref(), &question.password, &visit).await;
        match &outcome {
            Ok(_) => self.shared.attempts().handle_success(&attempt),
            // Counted from its beginning.
            Err(SignInError::BadCredentials) => {}
            Err(_) => self.shared.attempts().handle_unjudged(&attempt),
        }
        outcome
    }

    /// Any error but [`SignInError::BadCredentials`] says nothing of the password.
    async fn judge(
        &self,
        name: Option<&AccountName>,
        password: &Password,
        visit: &Visit,
    ) -> Result<SignedIn, SignInError> {
        let credential = match name {
            Some(name) => self.shared.store.credential(name.as_str()).await?,
            None => None,
        };
        let phc = credential.as_ref().and_then(|credential| credential.phc.as_deref());
        let verdict = self.shared.hasher.verify(password, phc).await?;
        match (credential, verdict) {
            (Some(Credential { account, phc: Some(phc) }), Verdict::Right { needs_rehash }) if !account.disabled => {
                let id = account.id;
                let begun = self.begin_session(account, Shown::Password { phc: &phc }, visit).await?;
                if needs_rehash {
                    self.rehash(id, password, &phc).await;
                }
                Ok(begun)
            }
            (credential, verdict) => {
                let account = credential.map(|credential| credential.account);
                self.note_refused(account, verdict, visit.client);
                Err(SignInError::BadCredentials)
            }
        }
    }

    /// An account's hash is renewed at the one moment when its password is known. That it is not changes nothing for now.
    async fn rehash(&self, account: i64, password: &Password, old: &str) {
        let Ok(new) = self.shared.hasher.hash(password).await else { return };
        if let Err(error) = self.shared.store.rehash_password(account, old, &new).await {
            tracing::warn!(error = crate::error_chain(&error), "an old password hash stays for now");
        }
    }

    /// What was typed as a name is kept only if it is one that an account has: people type their password there.
    fn note_refused(&self, account: Option<Account>, verdict: Verdict, client: SocketAddr) {
        let name = account.as_ref().and_then(|account| account.name.parse().ok());
        let reason = match (&account, verdict) {
            (None, _) => SignInRefusal::NoSuchAccount,
            (Some(_), Verdict::Right { .. }) => SignInRefusal::Disabled,
            (Some(_), Verdict::Wrong) => SignInRefusal::WrongPassword,
        };
        let subject = match account.zip(name) {
            Some((account, name)) => Subject::account(AccountId(account.id), name).from(client),
            None => Subject::source(client),
        };
        self.shared.audit.record(subject, &Fact::SignInRefused { reason });
    }

    pub(super) async fn begin_session(
        &self,
        account: Account,
        shown: Shown<'_>,
        visit: &Visit,
    ) -> Result<SignedIn, SignInError> {
        let (token, key) = (Token::generate("")?, Token::generate("")?);
        let via = shown.via();
        let new = NewWebSession {
            token_hash: token.hash(),
            account: account.id,
            csrf: key.as_str().to_owned(),
            via: via.name().to_owned(),
            judged_by: match shown {
                Shown::Password { phc } => Some(phc.to_owned()),
                Shown::Provider => None,
            },
            source: Some(visit.client),
            lifetime: SESSION_LIFETIME,
        };
        let replaces = self.replaced_by(visit).await?;
        let expires_at = match self.shared.store.add_web_session(new, replaces).await {
            Ok(expires_at) => expires_at.0,
            // Removed in this very moment.
            Err(AddWebSessionError::NoSuchAccount { .. }) => return Err(SignInError::BadCredentials),
            // The next attempt is judged by the new one.
            Err(AddWebSessionError::PasswordChanged { .. }) => return Err(SignInError::Busy),
            Err(AddWebSessionError::Store(error)) => return Err(error.into()),
        };
        if replaces.is_some() {
            self.shared.registry.changes().note_sign_ins();
        }
        let right = Right::Session { token: token.hash(), via, expires_at };
        let member = Member::new(Arc::clone(&self.shared), account, visit.client, right);
        let member = member.ok_or(SignInError::BadCredentials)?;
        let source = Source::from(visit.client.ip());
        self.shared.attempts().handle_signed_in(member.name(), source, Instant::now());
        self.shared.audit.record(member.subject(), &Fact::SignedIn { via });
        Ok(SignedIn { token, key, lifetime: SESSION_LIFETIME, view: member.session_view() })
    }

    /// The session that ends with this sign-in. A cookie without its key is not enough to end somebody's session either.
    async fn replaced_by(&self, visit: &Visit) -> Result<Option<TokenHash>, StoreError> {
        let Some(proof) = &visit.replaces else { return Ok(None) };
        match self.session_of(proof).await {
            Ok(_) => Ok(Some(proof.token.hash())),
            Err(SessionProofError::NoSession | SessionProofError::OtherKey) => Ok(None),
            Err(SessionProofError::Store(error)) => Err(error),
        }
    }

    /// Whose session this is, if it lives. Counts as a use of the session.
    ///
    /// # Errors
    /// [`SessionProofError`].
    pub async fn member_of_session(
        &self,
        proof: &SessionProof,
        client: SocketAddr,
    ) -> Result<Member, SessionProofError> {
        let session = self.session_of(proof).await?;
        if session.seen_at.after(TOUCH_INTERVAL) <= session.now {
            self.shared.store.touch_web_session(proof.token.hash()).await?;
        }
        self.holder(proof, session, client)
    }

    /// Whose session this still is. Does not count as a use of it: a page that is only left open ends with its idle time.
    ///
    /// # Errors
    /// [`SessionProofError`].
    pub async fn still_member(&self, proof: &SessionProof, client: SocketAddr) -> Result<Member, SessionProofError> {
        let session = self.session_of(proof).await?;
        self.holder(proof, session, client)
    }

    async fn session_of(&self, proof: &SessionProof) -> Result<WebSession, SessionProofError> {
        let session = self.shared.store.web_session(proof.token.hash(), SESSION_IDLE).await?;
        let session = session.ok_or(SessionProofError::NoSession)?;
        if proof.key.as_ref().is_some_and(|key| same(&session.csrf, key.as_str())) {
            Ok(session)
        } else {
            Err(SessionProofError::OtherKey)
        }
    }

    fn holder(
        &self,
        proof: &SessionProof,
        session: WebSession,
        client: SocketAddr,
    ) -> Result<Member, SessionProofError> {
        let via = Via::of_session(&session.via);
        let right = Right::Session { token: proof.token.hash(), via, expires_at: session.expires_at.0 };
        Member::new(Arc::clone(&self.shared), session.account, client, right).ok_or(SessionProofError::NoSession)
    }

    /// Who the holder of an API token is, if the token is good.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub async fn member_of_token(&self, token: &Token, client: SocketAddr) -> Result<Option<Member>, StoreError> {
        let Some((stored, account)) = self.shared.store.api_token(token.hash()).await? else { return Ok(None) };
        let Some(scopes) = Scopes::from_text(&stored.scopes) else { return Ok(None) };
        let now = unix_millis(std::time::SystemTime::now());
        if stored.last_used_at.is_none_or(|last| last.after(TOUCH_INTERVAL).0 <= now) {
            self.shared.store.touch_api_token(&stored.id).await?;
        }
        let right = Right::Token { scopes, expires_at: stored.expires_at.map(|time| time.0) };
        Ok(Member::new(Arc::clone(&self.shared), account, client, right))
    }

    /// Ends the session of a token, on the server. Whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the session goes on.
    pub async fn sign_out(&self, token: &Token, client: SocketAddr) -> Result<bool, StoreError> {
        let session = self.shared.store.web_session(token.hash(), SESSION_IDLE).await?;
        let ended = self.shared.store.remove_web_session(token.hash()).await?;
        if let Some(account) = session.map(|session| session.account)
            && let Ok(name) = account.name.parse()
        {
            self.shared.audit.record(Subject::account(AccountId(account.id), name).from(client), &Fact::SignedOut);
        }
        self.shared.registry.changes().note_sign_ins();
        Ok(ended)
    }
}
