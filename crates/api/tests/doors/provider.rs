//! A small OpenID provider: it signs anybody in as `alice-at-home`, checks what a provider must check, and can be told to misbehave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub(crate) const CLIENT_ID: &str = "adit";
/// Every character of it wants encoding somewhere.
pub(crate) const CLIENT_SECRET: &str = "s3cret/+ :&=";

const KEY_NAME: &str = "key-1";

/// What is wrong with the next ID token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mischief {
    None,
    OtherNonce,
    NoNonce,
    OtherAudience,
    SeveralAudiences,
    Expired,
    NotYet,
    OtherIssuer,
    OtherKey,
    UnknownKey,
    Unsigned,
    SignedWithClientSecret,
    NoSubject,
}

/// A sign-in that waits for its code to be redeemed.
struct Begun {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

struct Inner {
    issuer: String,
    key: EcdsaKeyPair,
    other_key: EcdsaKeyPair,
    codes: Mutex<HashMap<String, Begun>>,
    mischief: Mutex<Mischief>,
}

#[derive(Clone)]
pub(crate) struct Provider(Arc<Inner>);

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let provider = Self(Arc::new(Inner {
            issuer,
            key: key(),
            other_key: key(),
            codes: Mutex::default(),
            mischief: Mutex::new(Mischief::None),
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.0.issuer
    }

    pub(crate) fn misbehave(&self, mischief: Mischief) {
        *self.0.mischief.lock().unwrap() = mischief;
    }

    fn id_token(&self, nonce: &str) -> String {
        let mischief = *self.0.mischief.lock().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": self.0.issuer, "sub": "4711", "aud": CLIENT_ID, "exp": now + 300, "iat": now, "nonce": nonce,
            "preferred_username": "alice-at-home",
        });
        let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": KEY_NAME});
        match mischief {
            Mischief::OtherNonce => claims["nonce"] = json!("another"),
            Mischief::NoNonce => drop(claims.as_object_mut().unwrap().remove("nonce")),
            Mischief::NoSubject => drop(claims.as_object_mut().unwrap().remove("sub")),
            Mischief::OtherAudience => claims["aud"] = json!("another-client"),
            Mischief::SeveralAudiences => claims["aud"] = json!([CLIENT_ID, "another-client"]),
            Mischief::Expired => claims["exp"] = json!(now - 300),
            Mischief::NotYet => claims["nbf"] = json!(now + 300),
            Mischief::OtherIssuer => claims["iss"] = json!("https://other.example"),
            Mischief::UnknownKey => header["kid"] = json!("key-9"),
            Mischief::Unsigned => header["alg"] = json!("none"),
            Mischief::SignedWithClientSecret => header["alg"] = json!("HS256"),
            Mischief::None | Mischief::OtherKey => {}
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(&claims));
        let signature = match mischief {
            Mischief::Unsigned => Vec::new(),
            Mischief::SignedWithClientSecret => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
                aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
            }
            _ => {
                let key = if mischief == Mischief::OtherKey { &self.0.other_key } else { &self.0.key };
                key.sign(&SystemRandom::new(), text.as_bytes()).unwrap().as_ref().to_vec()
            }
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn metadata(State(provider): State<Provider>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", provider.issuer());
    Json(json!({
        "issuer": provider.issuer(), "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"), "authorization_response_iss_parameter_supported": true,
    }))
}

async fn keys(State(provider): State<Provider>) -> Json<Value> {
    // 0x04, then the two coordinates (SEC 1 §2.3.3).
    let point = provider.0.key.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    Json(json!({"keys": [
        {"kty": "of-the-future", "kid": "key-0"},
        {"kty": "EC", "crv": "P-256", "use": "sig", "kid": KEY_NAME, "x": x, "y": y},
    ]}))
}

async fn authorize(State(provider): State<Provider>, Query(asked): Query<HashMap<String, String>>) -> Response {
    let right = asked["response_type"] == "code"
        && asked["client_id"] == CLIENT_ID
        && asked["code_challenge_method"] == "S256"
        && asked["scope"].split(' ').any(|scope| scope == "openid");
    if !right {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let mut codes = provider.0.codes.lock().unwrap();
    let code = format!("code-{}", codes.len());
    let redirect_uri = asked["redirect_uri"].clone();
    let begun = Begun {
        nonce: asked["nonce"].clone(),
        challenge: asked["code_challenge"].clone(),
        redirect_uri: redirect_uri.clone(),
    };
    codes.insert(code.clone(), begun);
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("code", &code)
        .append_pair("state", &asked["state"])
        .append_pair("iss", provider.issuer())
        .finish();
    (StatusCode::SEE_OTHER, [("location", format!("{redirect_uri}?{query}"))]).into_response()
}

async fn token(State(provider): State<Provider>, headers: HeaderMap, body: String) -> Response {
    let form: HashMap<_, _> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let encoded: String = form_urlencoded::byte_serialize(CLIENT_SECRET.as_bytes()).collect();
    let client = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{encoded}")));
    // A code serves once (RFC 6749 §4.1.2).
    let begun = provider.0.codes.lock().unwrap().get_mut(&form["code"]).map(|begun| {
        let challenge = std::mem::take(&mut begun.challenge);
        (challenge, begun.nonce.clone(), begun.redirect_uri.clone())
    });
    let proof = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
    match begun {
        Some((challenge, nonce, redirect_uri))
            if challenge == proof
                && redirect_uri == form["redirect_uri"]
                && form["grant_type"] == "authorization_code"
                && headers.get("authorization").is_some_and(|value| *value == client) =>
        {
            let id_token = provider.id_token(&nonce);
            Json(json!({"access_token": "x", "token_type": "Bearer", "id_token": id_token})).into_response()
        }
        _ => (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response(),
    }
}
