//! Secrets of profiles: kept in the vault, while the profile remembers under which name.

use adit_core::RecordId;
use adit_store::agent::{Profile, ProfileChange, SecretRef};
use zeroize::Zeroizing;

use super::{Agent, SecretChangeError};
use crate::credentials::SecretKind;
use crate::supervisor::Which;
use crate::vault::{self, VaultError};

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

    /// Unlocks the secrets, and starts the tunnels that start with the agent and have failed, as they do without.
    ///
    /// # Errors
    /// [`VaultError`]; they are as locked as before.
    pub async fn unlock_secrets(&self, passphrase: Zeroizing<String>) -> Result<(), VaultError> {
        self.vault.unlock(passphrase).await?;
        self.start_some(Which::Failed).await;
        Ok(())
    }

    /// As [`Vault::set_passphrase`](crate::vault::Vault::set_passphrase).
    ///
    /// # Errors
    /// [`VaultError`]; all is as before.
    pub async fn set_secrets_passphrase(&self, passphrase: Option<Zeroizing<String>>) -> Result<(), VaultError> {
        self.vault.set_passphrase(passphrase).await
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
