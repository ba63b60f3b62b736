//! Invitations: a secret link that makes one account, or gives one its password. Each works once.

use std::time::Duration;

use crate::Store;
use crate::accounts::{Account, AddAccountError, NewAccount, account_by_id, insert_account};
use crate::api_tokens::end_api_tokens;
use crate::credentials::{can_anybody_sign_in, end_sessions, write_password};
use crate::db::{Durability, Row, Tx, args};
use crate::error::StoreError;
use crate::time::UnixMillis;
use crate::token::{TokenHash, random_id};

/// What accepting it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvitationKind {
    /// Makes an account.
    Account {
        /// Its name, where the guest may not choose one.
        name: Option<String>,
        /// Its tier.
        tier: String,
        /// Whether it may administer the server.
        is_admin: bool,
    },
    /// Makes the account that administers a new server. A new one of these revokes those before it.
    FirstAdministrator {
        /// Its tier.
        tier: String,
    },
    /// Sets the password of an account that is there. A new one revokes those before it for the same account.
    PasswordReset {
        /// The account.
        account: Account,
    },
}

const ACCOUNT: &str = "invitation";
const FIRST_ADMINISTRATOR: &str = "first-administrator";
const PASSWORD_RESET: &str = "password-reset";

impl InvitationKind {
    /// Its stable name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Account { .. } => ACCOUNT,
            Self::FirstAdministrator { .. } => FIRST_ADMINISTRATOR,
            Self::PasswordReset { .. } => PASSWORD_RESET,
        }
    }
}

/// An invitation to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInvitation {
    /// Of the token in the link.
    pub token_hash: TokenHash,
    /// What it is for.
    pub kind: InvitationKind,
    /// Who made it; nobody where the server itself or its command line did.
    pub created_by: Option<Maker>,
    /// How long it can be accepted.
    pub lifetime: Duration,
}

/// An administrator who makes an invitation. It ends when they cannot make another any more: with their account, when that is locked
/// out, and when it does not administer the server any longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// The id of the account.
    pub account: i64,
    /// Its name.
    pub name: String,
    /// How many that can be accepted it may have made.
    pub limit: u32,
}

/// An invitation as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Random; tells invitations apart without opening any.
    pub id: String,
    /// What it is for.
    pub kind: InvitationKind,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it was made.
    pub created_at: UnixMillis,
    /// From then on it cannot be accepted.
    pub expires_at: UnixMillis,
}

/// Why an invitation was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddInvitationError {
    /// The name is taken.
    #[error("there is already an account {name:?}")]
    AccountExists {
        /// The name.
        name: String,
    },
    /// Whoever makes it does not administer the server (any more).
    #[error("{name:?} does not administer the server")]
    MakerHasNoRight {
        /// The maker.
        name: String,
    },
    /// Whoever makes it has made as many as they may.
    #[error("{limit} invitations of this account are open already")]
    TooMany {
        /// How many there may be.
        limit: u32,
    },
    /// There is no such tier, or no such account any more.
    #[error("the tier or the account of the invitation is not there")]
    NoSuchTarget,
    /// The system has no random numbers to make an id from.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An invitation that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedInvitation {
    /// What it was.
    pub invitation: Invitation,
    /// The account that was made, or whose password was set.
    pub account: Account,
    /// How many web sessions of it this ended.
    pub sessions_ended: u64,
    /// How many API tokens of it this ended.
    pub tokens_ended: u64,
}

/// Why an invitation was not accepted. It can be accepted still.
#[derive(Debug, thiserror::Error)]
pub enum AcceptInvitationError {
    /// Never there, used, revoked or over: nobody is told which.
    #[error("there is no such invitation")]
    NoSuchInvitation,
    /// The account whose password it sets is locked out.
    #[error("the account {name:?} is disabled")]
    Disabled {
        /// The account.
        name: String,
    },
    /// It is for another name than the one given.
    #[error("the invitation is for another account")]
    OtherName,
    /// The name is taken.
    #[error("there is already an account {name:?}")]
    AccountExists {
        /// The name.
        name: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

macro_rules! select_invitations {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, account_id, account_name, tier, is_admin, created_by, created_at, expires_at
             FROM invitations ",
            $rest
        )
    };
}

impl Store {
    /// Adds an invitation.
    ///
    /// # Errors
    ///
    /// [`AddInvitationError`]; nothing was added.
    pub async fn add_invitation(&self, new: NewInvitation) -> Result<Invitation, AddInvitationError> {
        let id = random_id().ok_or(AddInvitationError::NoRandomness)?;
        let mut tx = self.db.write(Durability::Synced, "add an invitation").await?;
        let now = tx.now().await?;
        let (account, name, tier, is_admin) = match &new.kind {
            InvitationKind::Account { name, tier, is_admin } => (None, name.clone(), Some(tier.clone()), *is_admin),
            InvitationKind::FirstAdministrator { tier } => (None, None, Some(tier.clone()), true),
            InvitationKind::PasswordReset { account } => (Some(account.id), None, None, account.is_admin),
        };
        if let Some(name) = &name
            && tx
                .fetch_optional("SELECT 1 AS found FROM accounts WHERE name = $1", args![name.as_str()])
                .await?
                .is_some()
        {
            return Err(AddInvitationError::AccountExists { name: name.clone() });
        }
        revoke_like(&mut tx, &new.kind).await?;
        if let Some(maker) = &new.created_by {
            check_maker(&mut tx, maker, now).await?;
        }
        let (maker, created_by) = new.created_by.map(|maker| (maker.account, maker.name)).unzip();
        let added = tx
            .execute(
                "INSERT INTO invitations (id, token_hash, kind, account_id, account_name, tier, is_admin, maker_id, created_by,
                                          created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                args![
                    id.as_str(),
                    new.token_hash,
                    new.kind.name(),
                    account,
                    name,
                    tier,
                    is_admin,
                    maker,
                    created_by.clone(),
                    now,
                    now.after(new.lifetime),
                ],
            )
            .await;
        match added {
            Ok(_) => tx.commit().await?,
            Err(error) if error.is_foreign_key_violation() => return Err(AddInvitationError::NoSuchTarget),
            Err(error) => return Err(error.into()),
        }
        Ok(Invitation { id, kind: new.kind, created_by, created_at: now, expires_at: now.after(new.lifetime) })
    }

    /// The invitation of a token, if it can be accepted.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn invitation(&self, token: TokenHash) -> Result<Option<Invitation>, StoreError> {
        let mut tx = self.db.read("look up an invitation").await?;
        invitation_of(&mut tx, token).await
    }

    /// Those that can be accepted, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn list_invitations(&self) -> Result<Vec<Invitation>, StoreError> {
        let mut tx = self.db.read("list the invitations").await?;
        let now = tx.now().await?;
        let sql = select_invitations!("WHERE expires_at > $1 ORDER BY created_at DESC, id");
        let rows = tx.fetch_all(sql, args![now], stored_from).await?;
        let mut invitations = Vec::with_capacity(rows.len());
        for stored in rows {
            invitations.extend(still_good(&mut tx, stored).await?);
        }
        Ok(invitations)
    }

    /// Revokes an invitation; whether there was one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn remove_invitation(&self, id: &str) -> Result<bool, StoreError> {
        let mut tx = self.db.write(Durability::Synced, "revoke an invitation").await?;
        let removed = tx.execute("DELETE FROM invitations WHERE id = $1", args![id]).await?;
        tx.commit().await?;
        Ok(removed > 0)
    }

    /// Revokes the links for a first administrator; how many there were.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn remove_first_administrator_invitations(&self) -> Result<u64, StoreError> {
        let mut tx = self.db.write(Durability::Synced, "revoke the first administrator's link").await?;
        let removed = revoke_first_administrator(&mut tx).await?;
        tx.commit().await?;
        Ok(removed)
    }

    /// Uses an invitation up: makes the account `name` with the password, or sets the password of the account it is for and ends that
    /// account's web sessions and API tokens: whoever asks for a new password may have lost the old one to somebody who has made
    /// some. All of it happens or nothing, so no link works twice.
    ///
    /// # Errors
    ///
    /// [`AcceptInvitationError`]; nothing was changed.
    pub async fn accept_invitation(
        &self,
        token: TokenHash,
        name: &str,
        phc: &str,
    ) -> Result<AcceptedInvitation, AcceptInvitationError> {
        let mut tx = self.db.change_directory("accept an invitation").await?;
        let invitation = invitation_of(&mut tx, token).await?.ok_or(AcceptInvitationError::NoSuchInvitation)?;
        let make = |tier: &str, is_admin| NewAccount { name: name.to_owned(), tier: tier.to_owned(), is_admin };
        let (mut sessions_ended, mut tokens_ended) = (0, 0);
        let account = match &invitation.kind {
            InvitationKind::Account { name: Some(meant), .. } if meant != name => {
                return Err(AcceptInvitationError::OtherName);
            }
            InvitationKind::PasswordReset { account } if account.name != name => {
                return Err(AcceptInvitationError::OtherName);
            }
            InvitationKind::Account { tier, is_admin, .. } => insert_account(&mut tx, make(tier, *is_admin)).await?,
            InvitationKind::FirstAdministrator { tier } => insert_account(&mut tx, make(tier, true)).await?,
            InvitationKind::PasswordReset { account } if account.disabled => {
                return Err(AcceptInvitationError::Disabled { name: account.name.clone() });
            }
            InvitationKind::PasswordReset { account } => {
                sessions_ended = end_sessions(&mut tx, account.id, None).await?;
                tokens_ended = end_api_tokens(&mut tx, account.id).await?;
                account.clone()
            }
        };
        write_password(&mut tx, account.id, phc).await?;
        revoke_like(&mut tx, &invitation.kind).await?;
        if account.is_admin {
            // Now that one can sign in, whoever finds the printed link may not become another.
            revoke_first_administrator(&mut tx).await?;
        }
        tx.execute("DELETE FROM invitations WHERE token_hash = $1", args![token]).await?;
        tx.commit().await?;
        Ok(AcceptedInvitation { invitation, account, sessions_ended, tokens_ended })
    }
}

impl From<AddAccountError> for AcceptInvitationError {
    fn from(error: AddAccountError) -> Self {
        match error {
            AddAccountError::AccountExists { name } => Self::AccountExists { name },
            // A tier takes its invitations along, so this one went with it in this very moment.
            AddAccountError::NoSuchTier { .. } => Self::NoSuchInvitation,
            AddAccountError::Store(error) => Self::Store(error),
        }
    }
}

/// Ends what rests on an account's right to administer; how many invitations that were.
pub(crate) async fn end_invitations_by(tx: &mut Tx, maker: i64) -> Result<u64, StoreError> {
    tx.execute("DELETE FROM invitations WHERE maker_id = $1", args![maker]).await
}

/// The right is looked at here, where nobody can take it away between the look and the invitation.
async fn check_maker(tx: &mut Tx, maker: &Maker, now: UnixMillis) -> Result<(), AddInvitationError> {
    let account = account_by_id(tx, maker.account).await?;
    if !account.is_some_and(|account| account.is_admin && !account.disabled) {
        return Err(AddInvitationError::MakerHasNoRight { name: maker.name.clone() });
    }
    let sql = "SELECT COUNT(*) AS open FROM invitations WHERE maker_id = $1 AND expires_at > $2";
    if tx.fetch_one(sql, args![maker.account, now]).await?.get::<u32>("open")? >= maker.limit {
        return Err(AddInvitationError::TooMany { limit: maker.limit });
    }
    Ok(())
}

/// Of some kinds only one link is good at a time.
async fn revoke_like(tx: &mut Tx, kind: &InvitationKind) -> Result<(), StoreError> {
    match kind {
        InvitationKind::Account { .. } => return Ok(()),
        InvitationKind::FirstAdministrator { .. } => revoke_first_administrator(tx).await?,
        InvitationKind::PasswordReset { account } => {
            tx.execute("DELETE FROM invitations WHERE account_id = $1", args![account.id]).await?
        }
    };
    Ok(())
}

/// Says how many links there were.
async fn revoke_first_administrator(tx: &mut Tx) -> Result<u64, StoreError> {
    tx.execute("DELETE FROM invitations WHERE kind = $1", args![FIRST_ADMINISTRATOR]).await
}

async fn invitation_of(tx: &mut Tx, token: TokenHash) -> Result<Option<Invitation>, StoreError> {
    let now = tx.now().await?;
    let sql = select_invitations!("WHERE token_hash = $1 AND expires_at > $2");
    match tx.fetch_optional(sql, args![token, now]).await? {
        Some(row) => still_good(tx, stored_from(&row)?).await,
        None => Ok(None),
    }
}

/// A row whose account is still a number.
struct Stored {
    invitation: Invitation,
    reset_of: Option<i64>,
}

fn stored_from(row: &Row) -> Result<Stored, StoreError> {
    let kind: String = row.get("kind")?;
    let tier = row.get::<Option<String>>("tier")?.unwrap_or_default();
    let kind = if kind == FIRST_ADMINISTRATOR {
        InvitationKind::FirstAdministrator { tier }
    } else {
        InvitationKind::Account { name: row.get("account_name")?, tier, is_admin: row.get("is_admin")? }
    };
    let invitation = Invitation {
        id: row.get("id")?,
        kind,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
    };
    Ok(Stored { invitation, reset_of: row.get("account_id")? })
}

/// Fills in the account of a reset. Its row cannot outlive the account, so without one is a database without snapshots only.
/// The first administrator's link is good as long as there is none, however the one there is came to the right.
async fn still_good(tx: &mut Tx, stored: Stored) -> Result<Option<Invitation>, StoreError> {
    let Stored { mut invitation, reset_of } = stored;
    if let Some(id) = reset_of {
        let Some(account) = account_by_id(tx, id).await? else { return Ok(None) };
        invitation.kind = InvitationKind::PasswordReset { account };
    }
    let is_first = matches!(invitation.kind, InvitationKind::FirstAdministrator { .. });
    Ok(if is_first && can_anybody_sign_in(tx, true).await? { None } else { Some(invitation) })
}
