//! Signing in with a password, signing out, and who the holder of a cookie or an API token is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::{AccountId, AccountName, Source};
use adit_store::{Account, AddWebSessionError, Credential, NewWebSession, StoreError};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::attempts::TooManyAttempts;
use super::password::{HashError, Password, Verdict};
use super::right::{Member, Right};
use super::scope::Scopes;
use super::token::{NoRandomness, Token};
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
    /// To be sent along with every change; none with an API token, which needs none.
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
    /// How long the browser may keep the cookie.
    pub lifetime: Duration,
    /// For the page.
    pub view: WebSessionView,
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
    /// Too many are signing in at this moment.
    #[error("too many people are signing in at once; try again in a moment")]
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
        let credential = match &name {
            Some(name) => self.shared.store.credential(name.as_str()).await?,
            None => None,
        };
        let phc = credential.as_ref().and_then(|credential| credential.phc.as_deref());
        let verdict = self.shared.hasher.verify(&question.password, phc).await.inspect_err(|_| {
            self.shared.attempts().handle_unjudged(&attempt);
        })?;
        match (credential, verdict) {
            (Some(Credential { account, phc }), Verdict::Right { needs_rehash }) if !account.disabled => {
                self.shared.attempts().handle_success(&attempt);
                if let (true, Some(old)) = (needs_rehash, phc) {
                    self.rehash(&account, &question.password, &old).await;
                }
                self.begin_session(account, Via::Password, &visit).await
            }
            (credential, verdict) => {
                let account = credential.map(|credential| credential.account);
                self.note_refused(account, verdict, visit.client);
                Err(SignInError::BadCredentials)
            }
        }
    }

    /// An account's hash is renewed at the one moment when its password is known. That it is not changes nothing for now.
    async fn rehash(&self, account: &Account, password: &Password, old: &str) {
        let Ok(new) = self.shared.hasher.hash(password).await else { return };
        if let Err(error) = self.shared.store.rehash_password(account.id, old, &new).await {
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
        via: Via,
        visit: &Visit,
    ) -> Result<SignedIn, SignInError> {
        let (token, csrf) = (Token::generate("")?, Token::generate("")?);
        let new = NewWebSession {
            token_hash: token.hash(),
            account: account.id,
            csrf: csrf.as_str().to_owned(),
            via: via.name().to_owned(),
            source: Some(visit.client),
            lifetime: SESSION_LIFETIME,
        };
        let replaces = visit.replaces.as_ref().map(Token::hash);
        let expires_at = match self.shared.store.add_web_session(new, replaces).await {
            Ok(expires_at) => expires_at.0,
            // Removed in this very moment.
            Err(AddWebSessionError::NoSuchAccount { .. }) => return Err(SignInError::BadCredentials),
            Err(AddWebSessionError::Store(error)) => return Err(error.into()),
        };
        if replaces.is_some() {
            self.shared.registry.changes().note_sign_ins();
        }
        let right = Right::Session { token: token.hash(), csrf: csrf.as_str().to_owned(), via, expires_at };
        let member = Member::new(Arc::clone(&self.shared), account, visit.client, right);
        let member = member.ok_or(SignInError::BadCredentials)?;
        self.shared.audit.record(member.subject(), &Fact::SignedIn { via });
        Ok(SignedIn { token, lifetime: SESSION_LIFETIME, view: member.session_view() })
    }

    /// Who the holder of a session's token is, if its session lives. Counts as a use of the session.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub async fn member_of_session(&self, token: &Token, client: SocketAddr) -> Result<Option<Member>, StoreError> {
        self.find_session(token, client, true).await
    }

    /// Who the holder of a session still is. Does not count as a use of it: a page that is only left open ends with its idle time.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub async fn still_member(&self, token: &Token, client: SocketAddr) -> Result<Option<Member>, StoreError> {
        self.find_session(token, client, false).await
    }

    async fn find_session(
        &self,
        token: &Token,
        client: SocketAddr,
        counts_as_use: bool,
    ) -> Result<Option<Member>, StoreError> {
        let hash = token.hash();
        let Some(session) = self.shared.store.web_session(hash, SESSION_IDLE).await? else { return Ok(None) };
        if counts_as_use && session.seen_at.after(TOUCH_INTERVAL) <= session.now {
            self.shared.store.touch_web_session(hash).await?;
        }
        let right = Right::Session {
            token: hash,
            csrf: session.csrf,
            via: Via::of_session(&session.via),
            expires_at: session.expires_at.0,
        };
        Ok(Member::new(Arc::clone(&self.shared), session.account, client, right))
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
