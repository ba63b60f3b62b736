//! The ID token: whether our provider made it, for us, now, and for this very sign-in (OpenID Connect Core 1.0 §3.1.3.7).

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use thiserror::Error;

/// Clocks of two servers that both keep time by NTP differ by less.
const CLOCK_SKEW_SECONDS: u64 = 60;

/// The algorithms with a public key. Those with a shared one (HS…) would make the client secret a signing key, `none` signs nothing.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Why a token is none for us. Nothing of the token is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum IdTokenError {
    #[error("the ID token is not a signed JWT of a kind that we take")]
    Shape,
    #[error("the ID token is signed with a key that the provider does not publish")]
    UnknownKey,
    #[error("the signature of the ID token is wrong")]
    Signature,
    #[error("the ID token is not of this provider")]
    Issuer,
    #[error("the ID token is for another client; check client_id")]
    Audience,
    #[error("the ID token is over, or not valid yet; check the clocks of both servers")]
    Time,
    #[error("the ID token belongs to another sign-in")]
    Nonce,
}

/// What an ID token has to say.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
}

/// What a good ID token says of the person.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    pub(super) preferred_username: Option<String>,
    pub(super) email: Option<String>,
    /// Some providers write a boolean as text.
    #[serde(default, deserialize_with = "truth")]
    pub(super) email_verified: bool,
    nonce: Option<String>,
    azp: Option<String>,
    iat: Option<u64>,
    #[serde(default)]
    aud: Audience,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

fn truth<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_bool() == Some(true) || value.as_str() == Some("true"))
}

/// Checks a token.
pub(super) fn check(token: &str, keys: &JwkSet, expected: &Expected<'_>) -> Result<Claims, IdTokenError> {
    let header = decode_header(token).map_err(|_| IdTokenError::Shape)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(IdTokenError::Shape);
    }
    let key = signing_key(keys, header.kid.as_deref(), header.alg).ok_or(IdTokenError::UnknownKey)?;
    let mut rules = Validation::new(header.alg);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    rules.set_issuer(&[expected.issuer]);
    rules.set_audience(&[expected.client_id]);
    rules.validate_nbf = true;
    rules.leeway = CLOCK_SKEW_SECONDS;
    let claims: Claims = decode(token, &key, &rules)
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => IdTokenError::Signature,
            ErrorKind::InvalidIssuer => IdTokenError::Issuer,
            ErrorKind::InvalidAudience => IdTokenError::Audience,
            ErrorKind::ExpiredSignature | ErrorKind::ImmatureSignature => IdTokenError::Time,
            _ => IdTokenError::Shape,
        })?
        .claims;
    // A token for several clients must say which of them asked for it.
    let for_several = matches!(&claims.aud, Audience::Several(all) if all.len() > 1);
    match &claims.azp {
        Some(azp) if azp != expected.client_id => return Err(IdTokenError::Audience),
        None if for_several => return Err(IdTokenError::Audience),
        _ => {}
    }
    if claims.iat.is_some_and(|made| made > now() + CLOCK_SKEW_SECONDS) {
        return Err(IdTokenError::Time);
    }
    // The nonce is no secret any more when it comes back: it was in the address of the provider's page.
    if claims.nonce.as_deref() != Some(expected.nonce) {
        return Err(IdTokenError::Nonce);
    }
    Ok(claims)
}

/// The key a token names. Where it names none there must be only one that fits.
fn signing_key(keys: &JwkSet, kid: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
    let signs = |key: &&Jwk| !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
    let fits = |key: &Jwk| DecodingKey::from_jwk(key).ok().filter(|key| key.family() == algorithm.family());
    let mut found = keys.keys.iter().filter(signs).filter(|key| kid.is_none() || key.common.key_id.as_deref() == kid);
    match kid {
        Some(_) => found.find_map(fits),
        None => {
            let mut fitting = found.filter_map(fits);
            fitting.next().filter(|_| fitting.next().is_none())
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
