//! In whose right something is changed. A request is judged before its change is written, and in between the right may
//! end; so a change in somebody's right looks at it once more, in its own transaction.

use crate::Store;
use crate::db::{Tx, args};
use crate::error::StoreError;
use crate::token::TokenHash;

/// What somebody's right rests on. Whatever takes a right away ends these too, in one transaction: an account that is
/// removed, locked out or administers no longer loses its web sessions and API tokens. So it is enough to look whether
/// they are there and their time is not over; how far the right reaches was judged before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// A web session, by the hash of its token.
    WebSession(TokenHash),
    /// An API token, by its hash.
    ApiToken(TokenHash),
}

impl Authority {
    pub(crate) async fn lasts(&self, tx: &mut Tx) -> Result<bool, StoreError> {
        let now = tx.now().await?;
        // What is over stays in its table until it is pruned.
        let (sql, hash) = match self {
            Self::WebSession(hash) => {
                ("SELECT 1 AS found FROM web_sessions WHERE token_hash = $1 AND expires_at > $2", *hash)
            }
            Self::ApiToken(hash) => (
                "SELECT 1 AS found FROM api_tokens WHERE token_hash = $1 AND (expires_at IS NULL OR expires_at > $2)",
                *hash,
            ),
        };
        Ok(tx.fetch_optional(sql, args![hash, now]).await?.is_some())
    }
}

impl Store {
    /// A handle whose changes are made only as long as `authority` lasts; what is only read is not asked for it. A change
    /// that comes too late is a [`StoreError`] with [`StoreError::is_right_ended`], and has not happened.
    #[must_use]
    pub fn acting_by(&self, authority: Authority) -> Self {
        Self { db: self.db.acting_by(authority) }
    }
}
