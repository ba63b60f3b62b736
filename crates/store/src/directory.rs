//! The directory: all that a login needs, in one piece, for a cache in memory.

use crate::Store;
use crate::accounts::{Account, account_from};
use crate::db::args;
use crate::error::StoreError;
use crate::keys::{Key, key_from};
use crate::tiers::{Tier, all_tiers};

/// Who may log in, at one moment and generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// What [`Store::generation`] was at that moment: load again when it is another.
    pub generation: i64,
    /// All tiers.
    pub tiers: Vec<Tier>,
    /// The accounts that are not disabled, by id.
    pub accounts: Vec<Account>,
    /// The keys of these accounts, expired ones too: whoever looks up a key must compare [`Key::expires_at`] with the time.
    pub keys: Vec<Key>,
}

impl Store {
    /// Loads the directory from one snapshot, so that its parts fit each other and its generation.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn load_directory(&self) -> Result<Directory, StoreError> {
        let mut tx = self.db.read("load the directory").await?;
        // First the generation: on a database without snapshots a change in between would then only cause another
        // load, never a directory that looks newer than it is.
        let generation = tx.generation().await?;
        let tiers = all_tiers(&mut tx).await?;
        let accounts = tx
            .fetch_all(
                "SELECT id, name, tier, is_admin, disabled, created_at FROM accounts
                 WHERE disabled = FALSE ORDER BY id",
                args![],
                account_from,
            )
            .await?;
        let keys = tx
            .fetch_all(
                "SELECT keys.id, account_id, blob, fingerprint, key_type, label, added_at, last_used_at, expires_at,
                        first_port, last_port
                 FROM keys JOIN accounts ON accounts.id = keys.account_id
                 WHERE accounts.disabled = FALSE ORDER BY keys.id",
                args![],
                key_from,
            )
            .await?;
        Ok(Directory { generation, tiers, accounts, keys })
    }
}
