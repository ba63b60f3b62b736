//! Credential profiles. Their secrets come in here, and never go out: an answer says only whether there is one.

use adit_agent::agent::Agent;
use adit_agent::credentials::SecretKind;
use adit_store::agent::{BothJumps, JumpRef, Profile, ProfileChange, Saved};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Door;
use super::forward::JumpView;
use super::names::LoginMethod;
use super::question::{Asked, At, Secret, given, yes};
use super::refusal::Denied;

pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, change, remove))
}

/// A profile to be saved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewProfile {
    name: String,
    /// Who logs in.
    username: String,
    auth_method: LoginMethod,
    /// Where the private key lies; `~/` is the home folder.
    #[serde(default)]
    key_path: Option<String>,
    /// Kept in the vault, and shown to nobody.
    #[serde(default)]
    password: Option<Secret>,
    /// What the private key is encrypted with. Kept in the vault, and shown to nobody.
    #[serde(default)]
    passphrase: Option<Secret>,
    /// Offer old algorithms too, for equipment that knows no others.
    #[serde(default)]
    legacy_algorithms: bool,
    /// The jump host that everything with this profile is reached through. At most one of the two is set.
    #[serde(default)]
    jump_host_id: Option<String>,
    /// The session through whose host everything with this profile is reached.
    #[serde(default)]
    jump_session_id: Option<String>,
    #[serde(default = "yes")]
    #[schema(default = yes)]
    enabled: bool,
}

impl NewProfile {
    /// The profile, and what is to be kept for it.
    fn split(self) -> Result<(Profile, Secrets), BothJumps> {
        let profile = Profile {
            name: self.name,
            username: self.username,
            auth_method: self.auth_method.into(),
            key_path: self.key_path,
            password_secret: None,
            passphrase_secret: None,
            legacy_algorithms: self.legacy_algorithms,
            jump: JumpRef::from_ids(self.jump_host_id, self.jump_session_id)?,
            enabled: self.enabled,
        };
        // A new one has nothing that `null` could forget.
        Ok((profile, Secrets { password: self.password.map(Some), passphrase: self.passphrase.map(Some) }))
    }
}

/// What becomes of a profile; what is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProfilePatch {
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    username: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    auth_method: Option<LoginMethod>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    key_path: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    legacy_algorithms: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    jump_host_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    jump_session_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    enabled: Option<bool>,
    /// Replaces what is kept; `null` forgets it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Secret>)]
    password: Option<Option<Secret>>,
    /// Replaces what is kept; `null` forgets it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Secret>)]
    passphrase: Option<Option<Secret>>,
}

impl ProfilePatch {
    fn split(self) -> (ProfileChange, Secrets) {
        let change = ProfileChange {
            name: self.name,
            username: self.username,
            auth_method: self.auth_method.map(Into::into),
            key_path: self.key_path,
            legacy_algorithms: self.legacy_algorithms,
            jump_host_id: self.jump_host_id,
            jump_session_id: self.jump_session_id,
            enabled: self.enabled,
            // Where the secrets are kept is for the agent to say.
            password_secret: None,
            passphrase_secret: None,
        };
        (change, Secrets { password: self.password, passphrase: self.passphrase })
    }
}

/// What to keep (`Some(Some(…))`) and to forget (`Some(None)`).
struct Secrets {
    password: Option<Option<Secret>>,
    passphrase: Option<Option<Secret>>,
}

impl Secrets {
    /// Before anything is saved: whether they could be.
    async fn check(&self, agent: &Agent) -> Result<(), Denied> {
        let named = [("password", &self.password), ("passphrase", &self.passphrase)];
        let empty = |secret: &Option<Option<Secret>>| matches!(secret, Some(Some(secret)) if secret.is_empty());
        if let Some((field, _)) = named.iter().find(|(_, secret)| empty(secret)) {
            return Err(Denied::invalid(format!("{field} is empty; null forgets it")));
        }
        if named.iter().any(|(_, secret)| secret.is_some()) && agent.secrets_are_locked().await? {
            return Err(Denied::vault_locked("the secrets are locked: unlock them first"));
        }
        Ok(())
    }

    async fn keep(self, agent: &Agent, profile: &str) -> Result<(), Denied> {
        for (kind, secret) in [(SecretKind::Password, self.password), (SecretKind::Passphrase, self.passphrase)] {
            if let Some(secret) = secret {
                agent.set_secret(profile, kind, secret.map(Secret::reveal)).await?;
            }
        }
        Ok(())
    }
}

/// A profile as it is saved.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProfileView {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Who logs in.
    pub username: String,
    /// How.
    pub auth_method: LoginMethod,
    /// Where the private key lies.
    pub key_path: Option<String>,
    /// Whether a password is kept for it.
    pub has_password: bool,
    /// Whether a passphrase is kept for its key.
    pub has_passphrase: bool,
    /// Old algorithms are offered too.
    pub legacy_algorithms: bool,
    /// What is on the way.
    #[serde(flatten)]
    pub jump: JumpView,
    /// It may be used.
    pub enabled: bool,
    /// When it was saved.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

impl From<Saved<Profile>> for ProfileView {
    fn from(saved: Saved<Profile>) -> Self {
        let Saved { id, created_at, updated_at, record } = saved;
        Self {
            id,
            name: record.name,
            username: record.username,
            auth_method: record.auth_method.into(),
            key_path: record.key_path,
            has_password: record.password_secret.is_some(),
            has_passphrase: record.passphrase_secret.is_some(),
            legacy_algorithms: record.legacy_algorithms,
            jump: record.jump.into(),
            enabled: record.enabled,
            created_at: created_at.0,
            updated_at: updated_at.0,
        }
    }
}

async fn find(door: &Door, id: &str) -> Result<Json<ProfileView>, Denied> {
    Ok(Json(door.saved::<Profile>(id).await?.into()))
}

/// All profiles, by name.
#[utoipa::path(get, path = "/profiles", tag = "profiles", responses((status = 200, body = [ProfileView])))]
async fn list(State(door): State<Door>) -> Result<Json<Vec<ProfileView>>, Denied> {
    let all = door.agent.store().list::<Profile>().await?;
    Ok(Json(all.into_iter().map(ProfileView::from).collect()))
}

/// One profile.
#[utoipa::path(
    get, path = "/profiles/{id}", tag = "profiles", params(("id" = String, Path)),
    responses((status = 200, body = ProfileView))
)]
async fn show(State(door): State<Door>, At(id): At<String>) -> Result<Json<ProfileView>, Denied> {
    find(&door, &id).await
}

/// Saves a profile, and its secrets in the vault.
#[utoipa::path(
    post, path = "/profiles", tag = "profiles", request_body = NewProfile, responses((status = 201, body = ProfileView))
)]
async fn create(
    State(door): State<Door>,
    Asked(new): Asked<NewProfile>,
) -> Result<(StatusCode, Json<ProfileView>), Denied> {
    let (profile, secrets) = new.split()?;
    secrets.check(&door.agent).await?;
    let id = door.agent.add(profile).await?.id;
    if let Err(denied) = secrets.keep(&door.agent, &id).await {
        // Nobody refers to it yet, and half of it is not what was asked for.
        door.agent.remove::<Profile>(&id).await?;
        return Err(denied);
    }
    Ok((StatusCode::CREATED, find(&door, &id).await?))
}

/// Changes a profile. What runs with it goes on; its next login is the new one.
#[utoipa::path(
    put, path = "/profiles/{id}", tag = "profiles", params(("id" = String, Path)), request_body = ProfilePatch,
    responses((status = 200, body = ProfileView))
)]
async fn change(
    State(door): State<Door>,
    At(id): At<String>,
    Asked(patch): Asked<ProfilePatch>,
) -> Result<Json<ProfileView>, Denied> {
    let (change, secrets) = patch.split();
    secrets.check(&door.agent).await?;
    door.agent.change::<Profile>(&id, change).await?;
    secrets.keep(&door.agent, &id).await?;
    find(&door, &id).await
}

/// Removes a profile that nothing refers to, and forgets its secrets.
#[utoipa::path(
    delete, path = "/profiles/{id}", tag = "profiles", params(("id" = String, Path)),
    responses((status = 204), (status = 409, body = super::refusal::InUse))
)]
async fn remove(State(door): State<Door>, At(id): At<String>) -> Result<StatusCode, Denied> {
    door.agent.remove::<Profile>(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
