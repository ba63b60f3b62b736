//! Secrets of profiles: kept in the vault, while the profile remembers under which name.

use std::time::Duration;

use adit_core::RecordId;
use adit_store::agent::{Profile, ProfileChange, SecretRef};
use zeroize::Zeroizing;

use super::{Agent, SecretChangeError};
use crate::credentials::SecretKind;
use crate::supervisor::{Order, Which};
use crate::vault::{self, KeyPlace, NewKeyPlace, VaultError};

/// How often a locked keyring is asked again. It tells of its opening in ways that differ from keyring to keyring, and may not run yet.
const KEYRING_PACE: Duration = Duration::from_secs(5);

impl Agent {
    /// Keeps a secret of a profile, or forgets it (`None`). It is used from the next login on.
    ///
    /// # Errors
    /// [`SecretChangeError`]; what was kept before still is.
    pub async fn set_secret(
        &self,
        profile: &str,
        kind: SecretKind,
        secret: Option<Zeroizing<String>>,
    ) -> Result<(), SecretChangeError> {
        let id = RecordId::from(profile);
        let not_found = || SecretChangeError::NotFound(profile.to_owned());
        let found = self.store.get::<Profile>(profile).await.map_err(adit_store::agent::ChangeRecordError::from)?;
        found.ok_or_else(not_found)?;
        let kept = secret.is_some().then(|| SecretRef(vault::name(&id, kind)));
        match secret {
            Some(secret) => self.vault.set(&id, kind, secret).await?,
            None => self.vault.remove(&id, kind).await?,
        }
        let change = match kind {
            SecretKind::Password => ProfileChange { password_secret: Some(kept), ..ProfileChange::default() },
            SecretKind::Passphrase => ProfileChange { passphrase_secret: Some(kept), ..ProfileChange::default() },
        };
        self.change::<Profile>(profile, change).await?;
        Ok(())
    }

    /// Whether somebody has to unlock the secrets.
    ///
    /// # Errors
    /// [`VaultError`], when they cannot be read.
    pub async fn secrets_are_locked(&self) -> Result<bool, VaultError> {
        self.vault.is_locked().await
    }

    /// Where the key of the secrets is; `None` where none was ever kept.
    ///
    /// # Errors
    /// [`VaultError`], when they cannot be read.
    pub async fn secrets_key_place(&self) -> Result<Option<KeyPlace>, VaultError> {
        self.vault.key_place().await
    }

    /// Unlocks the secrets as [`Vault::unlock`](crate::vault::Vault::unlock) does, and starts the tunnels that start with the agent and
    /// have failed, as they do without.
    ///
    /// # Errors
    /// [`VaultError`]; they are as locked as before.
    pub async fn unlock_secrets(&self, passphrase: Option<Zeroizing<String>>) -> Result<(), VaultError> {
        self.vault.unlock(passphrase).await?;
        self.order(Order::NoteChange);
        self.start_some(Which::Failed).await;
        Ok(())
    }

    /// As [`Vault::move_key`](crate::vault::Vault::move_key).
    ///
    /// # Errors
    /// [`VaultError`]; all is as before.
    pub async fn move_secrets_key(&self, place: NewKeyPlace) -> Result<(), VaultError> {
        self.vault.move_key(place).await?;
        self.order(Order::NoteChange);
        Ok(())
    }

    /// Waits for a keyring that is locked or not there yet: an agent may start before its person logs in to the desktop. Then starts
    /// what could not start without.
    pub(super) async fn await_keyring(&self) {
        loop {
            // By then, whatever needed it and began before has failed.
            tokio::time::sleep(KEYRING_PACE).await;
            if !self.keyring_is_shut().await {
                break;
            }
        }
        tracing::info!("the desktop's keyring is open");
        self.order(Order::NoteChange);
        self.start_some(Which::Failed).await;
    }

    pub(super) async fn keyring_is_shut(&self) -> bool {
        matches!(self.vault.key_place().await, Ok(Some(KeyPlace::Keyring)))
            && self.vault.is_locked().await.unwrap_or(false)
    }

    /// Of a profile that is gone. What cannot be removed now does no harm: nothing names it any more.
    pub(super) async fn forget_secrets(&self, profile: &str) {
        for kind in [SecretKind::Password, SecretKind::Passphrase] {
            if let Err(error) = self.vault.remove(&RecordId::from(profile), kind).await {
                tracing::warn!(%profile, %error, "a secret of a removed profile is still kept");
            }
        }
    }
}
