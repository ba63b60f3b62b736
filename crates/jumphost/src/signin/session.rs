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
use super::scope::{Forbidden, Scopes};
use super::token::{NoRandomness, Token, same};
use super::{SESSION_IDLE, SESSION_LIFETIME, SignIn, Visit};
use crate::admin::{Fault, FaultKind, unix_millis};
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

/// What a request shows of its session before anybody has looked which it is.
#[derive(Debug, Clone)]
pub struct SessionClaim {
    /// The page's.
    pub key: Token,
    /// Of each cookie that may belong to the key: one of them at most does. Each costs a look; whoever reads them out of
    /// a request bounds their number.
    pub tokens: Vec<Token>,
}

impl SessionClaim {
    /// Each token with the key, in their order.
    pub fn proofs(&self) -> impl Iterator<Item = SessionProof> {
        self.tokens.iter().map(|token| SessionProof { token: token.clone(), key: Some(self.key.clone()) })
    }
}

/// Why a request is nobody's.
#[derive(Debug, Error)]
pub enum SessionProofError {
    /// There is no session of this token, or not any more.
    #[error("there is no such session, or not any more")]
    NoSession,
    /// There is one, and this is not its key; or the request shows no key, and nobody has looked.
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

/// Why no session began for somebody who had shown who they are. Each way of showing that tells it in its own words.
#[derive(Debug, Error)]
pub enum BeginSessionError {
    /// The account was removed in this very moment.
    #[error("this account was just removed; ask an administrator for an invitation")]
    NoSuchAccount,
    /// The account was locked out in this very moment.
    #[error("this account was just locked; ask an administrator to let it in again")]
    Disabled,
    /// The password was changed while it was compared.
    #[error("the password of this account was just changed; sign in with the new one")]
    PasswordChanged,
    /// A token could not be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AddWebSessionError> for BeginSessionError {
    fn from(error: AddWebSessionError) -> Self {
        match error {
            AddWebSessionError::NoSuchAccount { .. } => Self::NoSuchAccount,
            AddWebSessionError::Disabled { .. } => Self::Disabled,
            AddWebSessionError::PasswordChanged { .. } => Self::PasswordChanged,
            AddWebSessionError::Store(error) => Self::Store(error),
        }
    }
}

impl Fault for BeginSessionError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NoSuchAccount => FaultKind::NotFound,
            Self::Disabled => FaultKind::Forbidden,
            Self::PasswordChanged => FaultKind::Conflict,
            Self::NoRandomness(_) => FaultKind::Internal,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchAccount => "no-such-account",
            Self::Disabled => "account-disabled",
            Self::PasswordChanged => "password-changed",
            Self::NoRandomness(_) => "sign-in-failed",
            Self::Store(error) => error.code(),
        }
    }
}

/// Why nobody was signed in with a password.
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
            Self::Failed => FaultKind::Internal,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::BadCredentials => "bad-credentials",
            Self::TooManyAttempts { .. } => "too-many-attempts",
            Self::Busy => "busy",
            Self::Failed => "sign-in-failed",
            Self::Store(error) => error.code(),
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

impl From<BeginSessionError> for SignInError {
    /// Whoever comes with a password hears of an account's state only what a wrong password is told.
    fn from(error: BeginSessionError) -> Self {
        match error {
            BeginSessionError::NoSuchAccount | BeginSessionError::Disabled => Self::BadCredentials,
            // The next attempt is judged by the new one.
            BeginSessionError::PasswordChanged => Self::Busy,
            BeginSessionError::NoRandomness(_) => Self::Failed,
            BeginSessionError::Store(error) => Self::Store(error),
        }
    }
}

/// Why a session that was replaced goes on.
#[derive(Debug, Error)]
pub enum EndReplacedError {
    /// An API token may not do this.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for EndReplacedError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Forbidden(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::Store(error) => error.code(),
        }
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
    ) -> Result<SignedIn, BeginSessionError> {
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
        let expires_at = self.shared.store.add_web_session(new, replaces).await?.0;
        if replaces.is_some() {
            self.shared.registry.changes().note_sign_ins();
        }
        let right = Right::Session { token: token.hash(), via, expires_at };
        let member = Member::new(Arc::clone(&self.shared), account, visit.client, right);
        let member = member.ok_or(BeginSessionError::NoSuchAccount)?;
        let source = Source::from(visit.client.ip());
        self.shared.attempts().handle_signed_in(member.name(), source, Instant::now());
        self.shared.audit.record(member.subject(), &Fact::SignedIn { via });
        Ok(SignedIn { token, key, lifetime: SESSION_LIFETIME, view: member.session_view() })
    }

    /// The session that ends with this sign-in. A cookie without its key is not enough to end somebody's session either.
    /// To be replaced is no use of a session.
    async fn replaced_by(&self, visit: &Visit) -> Result<Option<TokenHash>, StoreError> {
        for proof in visit.replaces.iter().flat_map(SessionClaim::proofs) {
            match self.session_of(&proof).await {
                Ok(_) => return Ok(Some(proof.token.hash())),
                Err(SessionProofError::NoSession | SessionProofError::OtherKey) => {}
                Err(SessionProofError::Store(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Ends the session that had this key, because one of this member's has taken its place in the same browser. The
    /// cookie went with that, but only the page has ever been told the key. Nobody is told whether there was such a session.
    ///
    /// # Errors
    /// [`EndReplacedError`]: an API token takes no session's place.
    pub async fn end_replaced(&self, by: &Member, key: &Token) -> Result<(), EndReplacedError> {
        let session = by.session()?;
        if let Some(account) = by.store().remove_web_session_with_key(key.as_str(), session).await? {
            self.note_signed_out(account, by.client());
            self.shared.registry.changes().note_sign_ins();
        }
        Ok(())
    }

    fn note_signed_out(&self, account: Account, client: SocketAddr) {
        if let Ok(name) = account.name.parse() {
            self.shared.audit.record(Subject::account(AccountId(account.id), name).from(client), &Fact::SignedOut);
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
        // Whoever has no key has no session, whatever their cookies are.
        let key = proof.key.as_ref().ok_or(SessionProofError::OtherKey)?;
        let session = self.shared.store.web_session(proof.token.hash(), SESSION_IDLE).await?;
        let session = session.ok_or(SessionProofError::NoSession)?;
        if same(&session.csrf, key.as_str()) { Ok(session) } else { Err(SessionProofError::OtherKey) }
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
        let right = Right::Token { token: token.hash(), scopes, expires_at: stored.expires_at.map(|time| time.0) };
        Ok(Member::new(Arc::clone(&self.shared), account, client, right))
    }

    /// Ends the session of a token, on the server. Whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the session goes on.
    pub async fn sign_out(&self, token: &Token, client: SocketAddr) -> Result<bool, StoreError> {
        let session = self.shared.store.web_session(token.hash(), SESSION_IDLE).await?;
        let ended = self.shared.store.remove_web_session(token.hash()).await?;
        if let Some(session) = session {
            self.note_signed_out(session.account, client);
        }
        self.shared.registry.changes().note_sign_ins();
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use adit_store::{AccountChange, NewAccount};

    use super::*;
    use crate::signin::{InvitationAcceptError, OidcSignInError};
    use crate::{DataDir, JumpHost, RawConfig};

    #[tokio::test]
    async fn an_account_that_ends_at_the_last_moment_is_told_of_but_not_for_a_password() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = RawConfig::default().check().unwrap();
        (config.ssh, config.web) = ((Ipv4Addr::LOCALHOST, 0).into(), (Ipv4Addr::LOCALHOST, 0).into());
        let (host, _doors) = JumpHost::build(config, DataDir::open(folder.path()).unwrap()).await.unwrap();
        let sign_in = host.sign_in();
        let store = &sign_in.shared.store;
        let new = NewAccount { name: "alice".to_owned(), tier: "plus".to_owned(), is_admin: false };
        // As it was while she showed who she is.
        let alice = store.add_account(new).await.unwrap();
        let visit = Visit { client: "192.0.2.1:50000".parse().unwrap(), replaces: None };
        let refused =
            async || sign_in.begin_session(alice.clone(), Shown::Provider, &visit).await.expect_err("no session");
        let codes = async || {
            [
                OidcSignInError::from(refused().await).code(),
                InvitationAcceptError::from(refused().await).code(),
                SignInError::from(refused().await).code(),
            ]
        };
        let locked = AccountChange { disabled: Some(true), ..AccountChange::default() };
        store.change_account("alice", locked).await.unwrap();
        assert_eq!(codes().await, ["account-disabled", "account-disabled", "bad-credentials"]);
        store.remove_account("alice").await.unwrap();
        assert_eq!(codes().await, ["no-account", "no-such-account", "bad-credentials"]);
    }
}
