//! What a request to the agent brings along.

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::refusal::Denied;
use crate::gate::question::{Body, Named};

/// A JSON body, refused with the agent's codes.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Asked<T> {
    type Rejection = Denied;

    async fn from_request(request: Request, state: &S) -> Result<Self, Denied> {
        let Body(question) = Body::from_request(request, state).await?;
        Ok(Self(question))
    }
}

/// A part of the path, refused with the agent's codes.
#[derive(Debug)]
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denied> {
        let Named(name) = Named::from_request_parts(parts, state).await?;
        Ok(Self(name))
    }
}

/// The query, refused with the agent's codes.
#[derive(Debug)]
pub(super) struct Sought<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Sought<T> {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denied> {
        let told = "the query has a part that cannot be read; /openapi.json says what it may have";
        let Query(filter) = Query::from_request_parts(parts, state).await.map_err(|_| Denied::invalid(told))?;
        Ok(Self(filter))
    }
}

/// A secret on its way in. None goes out.
#[derive(ToSchema)]
#[schema(value_type = String, format = "password")]
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    /// To be kept.
    pub(super) fn reveal(self) -> Zeroizing<String> {
        self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(…)")
    }
}

/// A field of a change that is there: also `null` is, which serde would otherwise take for none. (One that is not is `None` by
/// `#[serde(default)]`.)
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The port of SSH (RFC 4253 §4.1).
pub(super) fn ssh_port() -> u16 {
    22
}

/// What is on unless somebody says otherwise.
pub(super) fn yes() -> bool {
    true
}
