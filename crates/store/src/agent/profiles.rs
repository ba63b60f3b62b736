//! Credential profiles: who logs in, and by what means.

use super::error::BothJumps;
use super::jump::{self, JumpRef};
use super::names::{self, named};
use super::record::{Record, RecordKind, Table};
use crate::db::{Row, Value, args};
use crate::error::StoreError;

/// The name under which the keyring or the encrypted file keeps a secret. Not the secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretRef(pub String);

/// By what means a profile logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// A password.
    Password,
    /// A private key in a file, with a passphrase where it is encrypted.
    Key,
    /// A key of the user's ssh-agent.
    Agent,
    /// Questions that the server asks.
    KeyboardInteractive,
}

named!(AuthMethod, {
    Password => "password", Key => "key", Agent => "agent", KeyboardInteractive => "keyboard_interactive",
});

/// A credential profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What people call it.
    pub name: String,
    /// Who logs in.
    pub username: String,
    /// By what means.
    pub auth_method: AuthMethod,
    /// Where the private key lies.
    pub key_path: Option<String>,
    /// Where the password is kept.
    pub password_secret: Option<SecretRef>,
    /// Where the private key's passphrase is kept.
    pub passphrase_secret: Option<SecretRef>,
    /// Offer old algorithms too, for equipment that knows no others.
    pub legacy_algorithms: bool,
    /// The jump that everything with this profile inherits.
    pub jump: Option<JumpRef>,
    /// May be used.
    pub enabled: bool,
}

/// What to change of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// See [`Profile::name`].
    pub name: Option<String>,
    /// See [`Profile::username`].
    pub username: Option<String>,
    /// See [`Profile::auth_method`].
    pub auth_method: Option<AuthMethod>,
    /// See [`Profile::key_path`].
    pub key_path: Option<Option<String>>,
    /// See [`Profile::password_secret`].
    pub password_secret: Option<Option<SecretRef>>,
    /// See [`Profile::passphrase_secret`].
    pub passphrase_secret: Option<Option<SecretRef>>,
    /// See [`Profile::legacy_algorithms`].
    pub legacy_algorithms: Option<bool>,
    /// See [`Profile::jump`].
    pub jump_host_id: Option<Option<String>>,
    /// See [`Profile::jump`].
    pub jump_session_id: Option<Option<String>>,
    /// See [`Profile::enabled`].
    pub enabled: Option<bool>,
}

impl Record for Profile {
    type Change = ProfileChange;

    fn merge(&mut self, change: ProfileChange) -> Result<(), BothJumps> {
        jump::merge(&mut self.jump, change.jump_host_id, change.jump_session_id)?;
        set!(self, change: name, username, auth_method, key_path, password_secret, passphrase_secret, legacy_algorithms, enabled);
        Ok(())
    }
}

impl Table for Profile {
    const KIND: RecordKind = RecordKind::Profile;
    const SELECT_ONE: &'static str = "SELECT * FROM profiles WHERE id = $1";
    const SELECT_ALL: &'static str = "SELECT * FROM profiles ORDER BY name, created_at, id";
    const SAVE: &'static str =
        "INSERT INTO profiles (id, created_at, updated_at, name, username, auth_method, key_path,
             password_secret, passphrase_secret, legacy_algorithms, enabled, jump_host_id, jump_session_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (id) DO UPDATE SET updated_at = excluded.updated_at, name = excluded.name,
             username = excluded.username, auth_method = excluded.auth_method, key_path = excluded.key_path,
             password_secret = excluded.password_secret, passphrase_secret = excluded.passphrase_secret,
             legacy_algorithms = excluded.legacy_algorithms, enabled = excluded.enabled,
             jump_host_id = excluded.jump_host_id, jump_session_id = excluded.jump_session_id";
    const DELETE: &'static str = "DELETE FROM profiles WHERE id = $1";

    fn title(&self) -> &str {
        &self.name
    }

    fn references(&self) -> Vec<(RecordKind, &str)> {
        self.jump.iter().map(JumpRef::reference).collect()
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.get("name")?,
            username: row.get("username")?,
            auth_method: names::read(row, "auth_method")?,
            key_path: row.get("key_path")?,
            password_secret: row.get::<Option<String>>("password_secret")?.map(SecretRef),
            passphrase_secret: row.get::<Option<String>>("passphrase_secret")?.map(SecretRef),
            legacy_algorithms: row.get("legacy_algorithms")?,
            jump: jump::read(row)?,
            enabled: row.get("enabled")?,
        })
    }

    fn values(&self) -> Vec<Value> {
        let secret = |secret: &Option<SecretRef>| secret.as_ref().map(|secret| secret.0.clone());
        let mut values = args![
            self.name.as_str(),
            self.username.as_str(),
            self.auth_method.name(),
            self.key_path.clone(),
            secret(&self.password_secret),
            secret(&self.passphrase_secret),
            self.legacy_algorithms,
            self.enabled,
        ];
        values.extend(jump::values(self.jump.as_ref()));
        values
    }
}
