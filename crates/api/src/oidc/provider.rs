//! What we know of the provider: its metadata and its keys, fetched when they are first needed and kept for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use serde::Deserialize;
use thiserror::Error;
use tokio::sync::Mutex;

use super::fetch::{Fetch, FetchError};

/// Providers change their metadata by the year, and keep an old key for days after a new one.
const GOOD_FOR: Duration = Duration::from_secs(3_600);

/// A token with an unknown key has the keys fetched again, so that a new key works at once; not more often than this, because
/// anybody can send us such a token.
const KEYS_AT_MOST_EVERY: Duration = Duration::from_secs(30);

/// One that cannot be reached is left alone for so long: anybody can begin a sign-in, and each would wait for the one before, and
/// ask the provider once more.
const FAILED_AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// Why the provider is not known.
#[derive(Debug, Error)]
pub(crate) enum DiscoveryError {
    #[error("the provider's description cannot be read")]
    Metadata(#[source] FetchError),
    #[error(
        "the provider calls itself {found:?}, not {expected:?}; oidc.issuer has to be written as the provider writes it"
    )]
    OtherIssuer { found: String, expected: String },
    #[error("the provider's keys cannot be read")]
    Keys(#[source] FetchError),
    #[error("the provider could not be used a moment ago, and is asked again in some seconds")]
    Lately,
}

/// The part of the metadata that we need (OpenID Connect Discovery 1.0 §3).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    jwks_uri: String,
    /// The provider names itself in its answers, and then must do so in each (RFC 9207 §2.4).
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

/// A provider as it was found.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) metadata: Metadata,
    pub(super) keys: JwkSet,
    fetched: Instant,
}

/// A provider, and what was last found.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: String,
    fetch: Fetch,
    /// Held while it is fetched: whoever comes meanwhile waits for the same answer instead of asking too.
    known: Mutex<Memory>,
}

/// What came of asking.
#[derive(Debug, Default)]
struct Memory {
    known: Option<Arc<Known>>,
    failed: Option<Instant>,
}

impl Provider {
    pub(super) fn new(issuer: String, fetch: Fetch) -> Self {
        Self { issuer, fetch, known: Mutex::default() }
    }

    /// The provider as it was found within the last hour.
    pub(super) async fn known(&self) -> Result<Arc<Known>, DiscoveryError> {
        self.known_within(GOOD_FOR).await
    }

    /// The provider as it is found now, for a key that was not there.
    pub(super) async fn fresh(&self) -> Result<Arc<Known>, DiscoveryError> {
        self.known_within(KEYS_AT_MOST_EVERY).await
    }

    async fn known_within(&self, age: Duration) -> Result<Arc<Known>, DiscoveryError> {
        let mut memory = self.known.lock().await;
        if let Some(known) = memory.known.as_ref().filter(|known| known.fetched.elapsed() < age) {
            return Ok(Arc::clone(known));
        }
        if memory.failed.is_some_and(|failed| failed.elapsed() < FAILED_AT_MOST_EVERY) {
            return Err(DiscoveryError::Lately);
        }
        let found = self.discover().await;
        memory.failed = found.is_err().then(Instant::now);
        let found = Arc::new(found?);
        memory.known = Some(Arc::clone(&found));
        Ok(found)
    }

    async fn discover(&self) -> Result<Known, DiscoveryError> {
        let address = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let metadata: Metadata = self.fetch.get(&address).await.map_err(DiscoveryError::Metadata)?;
        if metadata.issuer != self.issuer {
            return Err(DiscoveryError::OtherIssuer { found: metadata.issuer, expected: self.issuer.clone() });
        }
        let keys = self.fetch.get::<Keys>(&metadata.jwks_uri).await.map_err(DiscoveryError::Keys)?.usable();
        Ok(Known { metadata, keys, fetched: Instant::now() })
    }
}

/// A key set in which a key of a kind we do not know hides no other.
#[derive(Deserialize)]
struct Keys {
    keys: Vec<serde_json::Value>,
}

impl Keys {
    fn usable(self) -> JwkSet {
        JwkSet { keys: self.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_provider_that_fails_is_not_asked_by_everybody() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Provider::new(format!("http://{}", listener.local_addr().unwrap()), Fetch::new().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            // Each connection is closed unheard.
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Relaxed);
            }
        });
        assert!(matches!(provider.known().await, Err(DiscoveryError::Metadata(_))));
        let before = asked.load(Relaxed);
        for _ in 0..10 {
            assert!(matches!(provider.known().await, Err(DiscoveryError::Lately)));
        }
        assert_eq!(asked.load(Relaxed), before);
        provider.known.lock().await.failed = Instant::now().checked_sub(FAILED_AT_MOST_EVERY);
        assert!(matches!(provider.known().await, Err(DiscoveryError::Metadata(_))), "asked again, later");
    }
}
