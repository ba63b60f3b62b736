//! Opens the secrets when the agent starts, where a passphrase locks them.

use std::path::Path;

use adit_agent::vault::{KeyPlace, Vault, VaultError};

use crate::failure::Failure;
use crate::secret;
use crate::terminal::Terminal;

/// As often as ssh(1) asks for a passphrase.
const TRIES: usize = 3;

/// Opens them with the passphrase in a file, or with the one that somebody types. Says whether they stay locked: an agent that starts
/// with the machine has nobody to ask, and tunnels that need no secret can do without.
pub(super) async fn at_start(vault: &Vault, file: Option<&Path>) -> Result<bool, Failure> {
    if !vault.is_locked().await? {
        return Ok(false);
    }
    if vault.key_place().await? == Some(KeyPlace::Keyring) {
        tracing::warn!(
            "the desktop's keyring has the key of the secrets and is locked or not there: tunnels that need one start when it opens"
        );
        return Ok(true);
    }
    if let Some(file) = file {
        vault.unlock(Some(secret::read(file).await?)).await?;
        return Ok(false);
    }
    let terminal = Terminal::default();
    for turn in 1..=TRIES {
        let Some(typed) = terminal.ask_secret("Passphrase of the agent's secrets (empty: leave them locked): ").await
        else {
            break;
        };
        if typed.is_empty() {
            break;
        }
        match vault.unlock(Some(typed)).await {
            Ok(()) => return Ok(false),
            Err(VaultError::WrongPassphrase(_)) if turn < TRIES => eprintln!("It is another one."),
            Err(error) => return Err(error.into()),
        }
    }
    tracing::warn!("the secrets are locked: tunnels that need one cannot start");
    Ok(true)
}
