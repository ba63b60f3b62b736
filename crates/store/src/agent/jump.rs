//! The jump on the way to a host, and the promise that no way leads through itself.

use std::collections::HashMap;

use super::error::BothJumps;
use super::record::{RecordKind, RecordRef};
use crate::db::{Row, Tx, Value, args};
use crate::error::StoreError;

/// The host a connection is made through.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JumpRef {
    /// The jump host with this id.
    Host(String),
    /// The host of the session with this id.
    Session(String),
}

impl JumpRef {
    /// From two fields, of which one may be set.
    ///
    /// # Errors
    ///
    /// [`BothJumps`] when both are.
    pub fn from_ids(host: Option<String>, session: Option<String>) -> Result<Option<Self>, BothJumps> {
        match (host, session) {
            (Some(_), Some(_)) => Err(BothJumps),
            (Some(host), None) => Ok(Some(Self::Host(host))),
            (None, session) => Ok(session.map(Self::Session)),
        }
    }

    /// The id, if it is a jump host's.
    #[must_use]
    pub fn host_id(&self) -> Option<&str> {
        match self {
            Self::Host(id) => Some(id),
            Self::Session(_) => None,
        }
    }

    /// The id, if it is a session's.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        match self {
            Self::Session(id) => Some(id),
            Self::Host(_) => None,
        }
    }

    pub(super) fn reference(&self) -> (RecordKind, &str) {
        match self {
            Self::Host(id) => (RecordKind::JumpHost, id),
            Self::Session(id) => (RecordKind::Session, id),
        }
    }
}

/// Changes the two fields of a jump, of which each may stay, be set, or be taken away.
pub(super) fn merge(
    jump: &mut Option<JumpRef>,
    host: Option<Option<String>>,
    session: Option<Option<String>>,
) -> Result<(), BothJumps> {
    let was_host = jump.as_ref().and_then(JumpRef::host_id).map(str::to_owned);
    let was_session = jump.as_ref().and_then(JumpRef::session_id).map(str::to_owned);
    *jump = JumpRef::from_ids(host.unwrap_or(was_host), session.unwrap_or(was_session))?;
    Ok(())
}

/// As the columns `jump_host_id` and `jump_session_id`.
pub(super) fn values(jump: Option<&JumpRef>) -> [Value; 2] {
    let owned = |id: Option<&str>| Value::from(id.map(str::to_owned));
    [owned(jump.and_then(JumpRef::host_id)), owned(jump.and_then(JumpRef::session_id))]
}

/// From the columns `jump_host_id` and `jump_session_id`; the table holds one at most.
pub(super) fn read(row: &Row) -> Result<Option<JumpRef>, StoreError> {
    let (host, session): (Option<String>, Option<String>) = (row.get("jump_host_id")?, row.get("jump_session_id")?);
    Ok(host.map(JumpRef::Host).or(session.map(JumpRef::Session)))
}

/// A record that is reached through itself, if there is one. A jump host is reached as its profile says, a session by its own
/// jump or else as its profile says.
pub(super) async fn find_loop(tx: &mut Tx) -> Result<Option<RecordRef>, StoreError> {
    let stations = tx
        .fetch_all(
            "SELECT 'jump host' AS kind, hosts.id, hosts.name, profiles.jump_host_id, profiles.jump_session_id
             FROM jump_hosts AS hosts JOIN profiles ON profiles.id = hosts.profile_id
             UNION ALL
             SELECT 'session', sessions.id, sessions.name,
                    CASE WHEN sessions.jump_session_id IS NULL
                         THEN COALESCE(sessions.jump_host_id, profiles.jump_host_id) END,
                    CASE WHEN sessions.jump_host_id IS NULL
                         THEN COALESCE(sessions.jump_session_id, profiles.jump_session_id) END
             FROM sessions JOIN profiles ON profiles.id = sessions.profile_id",
            args![],
            |row| Ok((RecordRef::read(row)?, read(row)?)),
        )
        .await?;
    let next: HashMap<(RecordKind, &str), Option<&JumpRef>> =
        stations.iter().map(|(station, jump)| ((station.kind, &*station.id), jump.as_ref())).collect();
    let looped = stations.iter().find(|(_, jump)| {
        let mut at = jump.as_ref();
        // A way without a loop passes each station once at most.
        for _ in 0..stations.len() {
            let Some(jump) = at else { return false };
            at = next.get(&jump.reference()).copied().flatten();
        }
        at.is_some()
    });
    Ok(looped.map(|(station, _)| station.clone()))
}
