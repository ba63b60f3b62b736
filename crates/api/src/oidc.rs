//! Sign-in with an account of elsewhere: OpenID Connect, authorization code flow with PKCE (RFC 7636), as RFC 9700 wants it.
//!
//! Nothing is remembered here between the two halves. The browser that begins holds one random secret in a cookie; `state`, `nonce`
//! and the PKCE verifier are made from it. So an answer counts only in the browser that asked, a flood of beginnings takes no
//! memory, and what passes through the addresses of others tells nobody the secret.
//!
//! Whose account a person of the provider has is decided in `adit_jumphost::signin`; here it is only found out who it is.

mod fetch;
mod id_token;
mod provider;

use std::time::Duration;

use adit_jumphost::signin::token::Token;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use serde::Deserialize;
use thiserror::Error;
use utoipa::IntoParams;

use fetch::{Fetch, FetchError};
use id_token::{Claims, Expected, IdTokenError};
use provider::{DiscoveryError, Known, Provider};

/// How long a person may take at the provider's page.
pub(crate) const FLOW_TIME: Duration = Duration::from_secs(600);

/// What we are to the provider.
pub(crate) struct Settings {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    /// A public client has none (RFC 6749 §2.1).
    pub(crate) client_secret: Option<Token>,
}

/// The provider, as a way to sign in.
pub(crate) struct Oidc {
    settings: Settings,
    fetch: Fetch,
    provider: Provider,
}

/// The secret of a browser that began to sign in.
pub(crate) struct FlowSecret(String);

/// Where the browser goes, and what it keeps meanwhile.
pub(crate) struct Start {
    pub(crate) location: String,
    pub(crate) secret: FlowSecret,
}

/// What the browser brings back from the provider (RFC 6749 §4.1.2, RFC 9207).
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Callback {
    /// What the provider gives a token for, once.
    code: Option<String>,
    /// Which sign-in it belongs to.
    state: Option<String>,
    /// Who the provider is.
    iss: Option<String>,
    /// Why there is no code.
    error: Option<String>,
}

/// Somebody whom the provider knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// Their name at the provider, never given to another (OpenID Connect Core 1.0 §2).
    pub(crate) subject: String,
    /// What they like to be called.
    pub(crate) preferred_username: Option<String>,
    /// Their address, if the provider says that it is theirs.
    pub(crate) email: Option<String>,
}

/// Why somebody is not signed in. Nothing that the browser or the provider sent is repeated.
#[derive(Debug, Error)]
pub(crate) enum OidcError {
    #[error("cannot use the OpenID provider {issuer}")]
    Discovery {
        issuer: String,
        #[source]
        source: DiscoveryError,
    },
    #[error("the system gives no random numbers")]
    NoRandomness,
    #[error("this browser did not begin a sign-in, or began it too long ago")]
    NotBegun,
    #[error("the answer belongs to another sign-in, or is not of this provider")]
    OtherFlow,
    #[error("the provider did not sign this person in")]
    Refused,
    #[error("the provider gave no token for its code; it may have been used already")]
    Exchange(#[source] FetchError),
    #[error("the provider's ID token is not good")]
    IdToken(#[source] IdTokenError),
}

impl OidcError {
    /// A stable name, which the page turns into a sentence.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Discovery { .. } => "oidc-unreachable",
            Self::NoRandomness => "internal",
            Self::NotBegun => "oidc-not-begun",
            Self::OtherFlow => "oidc-other-sign-in",
            Self::Refused => "oidc-refused",
            Self::Exchange(_) => "oidc-exchange",
            Self::IdToken(_) => "oidc-bad-token",
        }
    }
}

impl Oidc {
    /// The provider is asked when somebody first needs it: it may start after us.
    ///
    /// # Errors
    /// The system has no root certificates.
    pub(crate) fn new(settings: Settings) -> std::io::Result<Self> {
        let fetch = Fetch::new()?;
        Ok(Self { provider: Provider::new(settings.issuer.clone(), fetch.clone()), fetch, settings })
    }

    /// Who it is that vouches.
    pub(crate) fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// The first half: a sign-in begins.
    pub(crate) async fn start(&self, redirect_uri: &str) -> Result<Start, OidcError> {
        let secret = FlowSecret::random().ok_or(OidcError::NoRandomness)?;
        let known = self.provider.known().await.map_err(|source| self.undiscovered(source))?;
        let endpoint = &known.metadata.authorization_endpoint;
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.verifier().as_bytes()));
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", "openid profile email")
            .append_pair("state", &secret.state())
            .append_pair("nonce", &secret.nonce())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        // The endpoint may have a query of its own (RFC 6749 §3.1).
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Ok(Start { location: format!("{endpoint}{joint}{query}"), secret })
    }

    /// The second half: the browser is back from the provider, with what may be its secret: somebody else may have put more cookies
    /// of that name there. `redirect_uri` is that of the first half.
    pub(crate) async fn finish(
        &self,
        secrets: Vec<FlowSecret>,
        callback: Callback,
        redirect_uri: &str,
    ) -> Result<Person, OidcError> {
        if secrets.is_empty() {
            return Err(OidcError::NotBegun);
        }
        let is_ours = |secret: &FlowSecret| callback.state.as_ref().is_some_and(|state| same(state, &secret.state()));
        let secret = secrets.into_iter().find(is_ours).ok_or(OidcError::OtherFlow)?;
        let known = self.provider.known().await.map_err(|source| self.undiscovered(source))?;
        let names_itself = known.metadata.authorization_response_iss_parameter_supported;
        match &callback.iss {
            Some(issuer) if *issuer != self.settings.issuer => return Err(OidcError::OtherFlow),
            None if names_itself => return Err(OidcError::OtherFlow),
            _ => {}
        }
        let code = match (callback.code, callback.error) {
            (Some(code), None) => code,
            _ => return Err(OidcError::Refused),
        };
        let token = self.exchange(&known, &code, &secret, redirect_uri).await.map_err(OidcError::Exchange)?;
        let claims = self.check(&token, &known, &secret.nonce()).await?;
        Ok(Person {
            subject: claims.sub,
            preferred_username: claims.preferred_username,
            email: claims.email.filter(|_| claims.email_verified),
        })
    }

    /// Gives the code for an ID token (RFC 6749 §4.1.3).
    async fn exchange(
        &self,
        known: &Known,
        code: &str,
        secret: &FlowSecret,
        redirect_uri: &str,
    ) -> Result<String, FetchError> {
        #[derive(Deserialize)]
        struct Answer {
            id_token: String,
        }
        let endpoint = &known.metadata.token_endpoint;
        let authorization = self.settings.basic_authorization();
        let form = self.settings.token_request(code, secret, redirect_uri);
        let answer: Answer = self.fetch.post_form(endpoint, authorization.as_deref(), form).await?;
        Ok(answer.id_token)
    }

    async fn check(&self, token: &str, known: &Known, nonce: &str) -> Result<Claims, OidcError> {
        let expected = Expected { issuer: &self.settings.issuer, client_id: &self.settings.client_id, nonce };
        let check = |keys: &JwkSet| id_token::check(token, keys, &expected);
        let outcome = match check(&known.keys) {
            Err(IdTokenError::UnknownKey) => {
                let fresh = self.provider.fresh().await.map_err(|source| self.undiscovered(source))?;
                check(&fresh.keys)
            }
            outcome => outcome,
        };
        outcome.map_err(OidcError::IdToken)
    }

    fn undiscovered(&self, source: DiscoveryError) -> OidcError {
        OidcError::Discovery { issuer: self.settings.issuer.clone(), source }
    }
}

impl Settings {
    fn token_request(&self, code: &str, secret: &FlowSecret, redirect_uri: &str) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("code_verifier", &secret.verifier());
        if self.client_secret.is_none() {
            form.append_pair("client_id", &self.client_id);
        }
        form.finish()
    }

    /// The form encoding before base64 is RFC 6749 §2.3.1's.
    fn basic_authorization(&self) -> Option<String> {
        let secret = self.client_secret.as_ref()?;
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encoded(&self.client_id), encoded(secret.as_str()));
        Some(format!("Basic {}", STANDARD.encode(pair)))
    }
}

impl FlowSecret {
    fn random() -> Option<Self> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        Some(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// As a browser brought it.
    pub(crate) fn from_cookie(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// For the browser to keep.
    pub(crate) fn as_cookie(&self) -> &str {
        &self.0
    }

    fn state(&self) -> String {
        self.derive("state")
    }

    fn nonce(&self) -> String {
        self.derive("nonce")
    }

    fn verifier(&self) -> String {
        self.derive("verifier")
    }

    /// 43 characters, as a PKCE verifier must have at the least. Who knows one derived value knows none of the others.
    fn derive(&self, purpose: &str) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("adit oidc {purpose} {}", self.0).as_bytes()))
    }
}

fn same(a: &str, b: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}
