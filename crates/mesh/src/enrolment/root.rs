//! The root of a mesh: its key, whom it has invited, and what it has taken back. One file, which is written whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_core::Target;
use adit_core::mesh::{
    AgentId, AgentName, Body, Invitation, InvitationId, MAX_PATTERNS, MAX_REVOKED, MeshId, Record, Rights,
    SignedInvitation, Version, mesh_id,
};
use adit_net::data_folder::{self, DataFolder, DataFolderError};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::token::Token;
use super::unix_time;
use crate::hex;
use crate::keys::{NoRandomness, Provider, SigningKey};

const FILE: &str = "root.json";

/// A mesh's root, locked: no other process changes it meanwhile.
#[derive(Debug)]
pub struct RootFolder {
    folder: DataFolder,
    key: SigningKey,
    written: Written,
}

/// Why a root cannot be used.
#[derive(Debug, Error)]
pub enum RootError {
    /// The folder, its lock or its file.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// There is a root already.
    #[error("{path} is the root of a mesh already; name another folder with --root DIR for a second mesh")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no root of a mesh at {path}; make one with `adit mesh init`, or name its folder with --root DIR")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{path} is not what a root has written; restore it from a backup")]
    Broken {
        /// The file.
        path: PathBuf,
    },
    /// A name belongs to somebody.
    #[error(
        "“{name}” is the name of an agent already; take another, or revoke that one first: adit mesh revoke {name}"
    )]
    NameTaken {
        /// The name.
        name: AgentName,
    },
    /// Nobody has that name.
    #[error("nobody called “{name}” was invited; `adit mesh members` shows who was")]
    NoSuchName {
        /// What was typed.
        name: String,
    },
    /// A right has too many patterns.
    #[error("a right has at most {MAX_PATTERNS} patterns; join some of them with *")]
    TooManyPatterns,
    /// The list is full.
    #[error(
        "{MAX_REVOKED} invitations are revoked, which is as many as a mesh can have; begin a new one with a new root"
    )]
    TooManyRevoked,
    /// No key can be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    seed: String,
    /// Of the last list of revocations.
    number: u64,
    issued: Vec<Issued>,
}

/// Whom the root has invited, and to what.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    /// What the member is called.
    pub name: String,
    /// The invitation's id.
    pub invitation: String,
    /// The keys that it may publish.
    pub publish: Vec<String>,
    /// The keys that it may listen on.
    pub listen: Vec<String>,
    /// Whether others' connections may go through it.
    pub transit: bool,
    /// When the membership ends, in seconds since 1970.
    pub expires: u64,
    /// It was taken back.
    pub revoked: bool,
}

/// What a member is to be allowed, and for how long.
#[derive(Debug, Clone)]
pub struct Grant {
    /// What it is called.
    pub name: AgentName,
    /// What it may do.
    pub rights: Rights,
    /// How long the token can be used.
    pub redeem_within: Duration,
    /// How long the membership lasts.
    pub lasts: Duration,
    /// Agents that it connects to.
    pub peers: Vec<Target>,
}

impl RootFolder {
    /// Makes a new root.
    ///
    /// # Errors
    /// There is one, or what the system refused.
    pub fn init(path: &Path) -> Result<RootFolder, RootError> {
        let folder = DataFolder::open(path, "command on this root")?;
        let file = folder.path().join(FILE);
        let key = SigningKey::generate()?;
        let written = Written { seed: hex::encode(key.seed()), number: 0, issued: Vec::new() };
        let text = text(&written);
        match data_folder::write_once(&file, &text) {
            Ok(true) => Ok(RootFolder { folder, key, written }),
            Ok(false) => Err(RootError::Exists { path: file }),
            Err(source) => Err(DataFolderError::File { action: "write", path: file, source }.into()),
        }
    }

    /// Opens one that is there.
    ///
    /// # Errors
    /// There is none, or what the system refused.
    pub fn open(path: &Path) -> Result<RootFolder, RootError> {
        let file = path.join(FILE);
        if !file.exists() {
            return Err(RootError::Missing { path: file });
        }
        let folder = DataFolder::open(path, "command on this root")?;
        let text = fs::read(&file).map(Zeroizing::new);
        let text = text.map_err(|source| DataFolderError::File { action: "read", path: file.clone(), source })?;
        let written: Option<Written> = serde_json::from_slice(&text).ok();
        let seed = written.as_ref().and_then(|written| hex::decode(&written.seed));
        match (written, seed.and_then(|seed| SigningKey::from_seed(Zeroizing::new(seed)))) {
            (Some(written), Some(key)) => Ok(RootFolder { folder, key, written }),
            _ => Err(RootError::Broken { path: file }),
        }
    }

    /// The mesh of this root.
    pub fn mesh(&self) -> MeshId {
        mesh_id(&Provider, self.key.public())
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whom it has invited, in the order of the invitations.
    pub fn issued(&self) -> &[Issued] {
        &self.written.issued
    }

    /// Invites somebody. A name whose membership has ended or was revoked is free again.
    ///
    /// # Errors
    /// The name is taken, or what the system refused.
    pub fn invite(&mut self, grant: Grant) -> Result<Token, RootError> {
        let Grant { name, rights, redeem_within, lasts, peers } = grant;
        if rights.publish.len().max(rights.listen.len()) > MAX_PATTERNS {
            return Err(RootError::TooManyPatterns);
        }
        let now = unix_time();
        let has_name = |issued: &Issued| issued.name == name.as_str() && !issued.revoked && issued.expires > now;
        if self.written.issued.iter().any(has_name) {
            return Err(RootError::NameTaken { name });
        }
        let key = SigningKey::generate()?;
        let invitation = Invitation {
            key: *key.public(),
            name: name.clone(),
            redeem_until: now.saturating_add(redeem_within.as_secs()),
            expires: now.saturating_add(lasts.as_secs()),
            rights: rights.clone(),
        };
        let signature = self.key.sign(&invitation.to_sign());
        let texts = |patterns: &[adit_core::mesh::KeyPattern]| patterns.iter().map(ToString::to_string).collect();
        self.written.issued.push(Issued {
            name: name.to_string(),
            invitation: InvitationId(half(&key)).to_string(),
            publish: texts(&rights.publish),
            listen: texts(&rights.listen),
            transit: rights.transit,
            expires: invitation.expires,
            revoked: false,
        });
        self.save()?;
        Ok(Token { root: *self.key.public(), invitation: SignedInvitation { invitation, signature }, key, peers })
    }

    /// Takes back what a member of this name was invited to, and makes the list that tells the mesh so.
    ///
    /// # Errors
    /// Nobody has the name, the list is full, or what the system refused.
    pub fn revoke(&mut self, name: &str) -> Result<Vec<u8>, RootError> {
        let mut found = false;
        for issued in self.written.issued.iter_mut().filter(|issued| issued.name == name) {
            found = true;
            issued.revoked = true;
        }
        if !found {
            return Err(RootError::NoSuchName { name: name.to_owned() });
        }
        self.written.number += 1;
        let list = self.revocations()?;
        self.save()?;
        Ok(list)
    }

    /// The list of what has been taken back, as it goes through the mesh. What has expired need not be on it.
    ///
    /// # Errors
    /// There is too much of it.
    pub fn revocations(&self) -> Result<Vec<u8>, RootError> {
        // Clocks differ, so what has expired just now stays on it for a day.
        let counts = unix_time().saturating_sub(24 * 3600);
        let revoked = self.written.issued.iter().filter(|issued| issued.revoked && issued.expires > counts);
        let mut revoked: Vec<InvitationId> =
            revoked.filter_map(|issued| hex::decode(&issued.invitation).map(InvitationId)).collect();
        revoked.sort_unstable();
        revoked.dedup();
        if revoked.len() > MAX_REVOKED {
            return Err(RootError::TooManyRevoked);
        }
        let (mesh, version) = (self.mesh(), Version { epoch: 0, sequence: self.written.number });
        let sign = |message: &[u8]| self.key.sign(message);
        Ok(Record::create(mesh, AgentId(mesh.0), version, Body::Revocations(revoked), sign).encode())
    }

    fn save(&self) -> Result<(), RootError> {
        let path = self.folder.path().join(FILE);
        let saved: io::Result<()> = data_folder::replace(&path, &text(&self.written), 0o600);
        Ok(saved.map_err(|source| DataFolderError::File { action: "write", path, source })?)
    }
}

fn text(written: &Written) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(serde_json::to_vec_pretty(written).unwrap_or_default());
    text.push(b'\n');
    text
}

fn half(key: &SigningKey) -> [u8; 16] {
    use adit_core::mesh::Judge as _;
    let mut half = [0; 16];
    half.copy_from_slice(&Provider.hash(key.public())[..16]);
    half
}
