//! A mesh agent's data folder: what lies where in it.
//!
//! `identity.json` is who the agent is: its keys, its certificate, where the mesh can be reached. It is written when the agent joins.
//! `state.json` is what must outlive a restart: the epoch, who used which invitation, what is revoked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use adit_core::Target;
use adit_core::mesh::{AgentId, Certificate, InvitationId, Kept, PublicKey};
use adit_net::data_folder::{self, DataFolder, DataFolderError};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::config::parse_peer;
use crate::enrolment::unix_millis;
use crate::hex;
use crate::keys::{AgentKeys, SigningKey};

const IDENTITY: &str = "identity.json";
const STATE: &str = "state.json";

/// The folder of a mesh agent, locked: a second one is refused.
#[derive(Debug)]
pub struct MeshFolder(DataFolder);

/// Who an agent is.
pub struct Enrolled {
    /// The mesh's root.
    pub root: PublicKey,
    /// The agent's own keys.
    pub keys: AgentKeys,
    /// That it is a member.
    pub certificate: Certificate,
    /// Agents to connect to, as the token named them.
    pub peers: Vec<Target>,
}

/// Why a folder cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// The folder, its lock or a file of it.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// Nobody has joined here.
    #[error("{path} holds no member of a mesh; join one with: adit mesh join TOKEN --data {path}")]
    NotEnrolled {
        /// The folder.
        path: PathBuf,
    },
    /// A file holds something else.
    #[error("{path} is not what `adit mesh join` has written; restore it from a backup, or join with a new token")]
    Broken {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenIdentity {
    root: String,
    identity: String,
    session: String,
    certificate: String,
    peers: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenState {
    epoch: u64,
    /// Invitation and agent.
    invitations: Vec<(String, String)>,
    revocations: Option<String>,
}

/// Where `adit` keeps a mesh agent's state when nobody says otherwise.
///
/// # Errors
/// [`DataFolderError::Nowhere`]
pub fn default_path(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, DataFolderError> {
    data_folder::default_path("mesh", variable)
}

/// Where `adit` keeps a mesh's root when nobody says otherwise.
///
/// # Errors
/// [`DataFolderError::Nowhere`]
pub fn default_root(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, DataFolderError> {
    data_folder::default_path("mesh-root", variable)
}

impl MeshFolder {
    /// Opens the folder, making it (for its owner alone) where it is missing, and takes its lock.
    ///
    /// # Errors
    /// [`DataFolderError::Busy`] while another agent holds it, else what the system refused.
    pub fn open(path: &Path) -> Result<MeshFolder, FolderError> {
        let folder = DataFolder::open(path, "mesh agent")?;
        folder.clear(&[]);
        Ok(MeshFolder(folder))
    }

    /// The folder itself.
    #[must_use]
    pub fn data(&self) -> &DataFolder {
        &self.0
    }

    /// Who the agent is.
    ///
    /// # Errors
    /// [`FolderError::NotEnrolled`] before it has joined, else what the system refused.
    pub fn enrolled(&self) -> Result<Enrolled, FolderError> {
        let path = self.0.path().join(IDENTITY);
        let text = match fs::read(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FolderError::NotEnrolled { path: self.0.path().to_owned() });
            }
            Err(source) => return Err(DataFolderError::File { action: "read", path, source }.into()),
        };
        read_identity(&text).ok_or(FolderError::Broken { path })
    }

    /// Writes who the agent is, in the place of who it was.
    ///
    /// # Errors
    /// What the system refused.
    pub fn enrol(&self, enrolled: &Enrolled) -> Result<(), FolderError> {
        let written = WrittenIdentity {
            root: hex::encode(&enrolled.root),
            identity: hex::encode(enrolled.keys.identity.seed()),
            session: hex::encode(&**enrolled.keys.session),
            certificate: hex::encode(&enrolled.certificate.encode()),
            peers: enrolled.peers.iter().map(ToString::to_string).collect(),
        };
        self.write(IDENTITY, &written)
    }

    /// What an earlier run has left; nothing before the first.
    ///
    /// # Errors
    /// The file is there and cannot be read: what it remembers of revocations is not given up silently.
    pub fn kept(&self) -> Result<Kept, FolderError> {
        let path = self.0.path().join(STATE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            // Finer than the clock of certificates: two runs that both lost their disk within one second are told apart.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Kept { epoch: unix_millis(), ..Kept::default() });
            }
            Err(source) => return Err(DataFolderError::File { action: "read", path, source }.into()),
        };
        read_state(&text).ok_or(FolderError::Broken { path })
    }

    /// Writes what must outlive a restart.
    ///
    /// # Errors
    /// What the system refused.
    pub fn keep(&self, kept: &Kept) -> Result<(), FolderError> {
        let invitations = kept.pins.iter().map(|(invitation, agent)| (invitation.to_string(), agent.to_string()));
        let written = WrittenState {
            epoch: kept.epoch,
            invitations: invitations.collect(),
            revocations: kept.revocations.as_deref().map(hex::encode),
        };
        self.write(STATE, &written)
    }

    fn write(&self, name: &str, written: &impl Serialize) -> Result<(), FolderError> {
        let path = self.0.path().join(name);
        let mut text = Zeroizing::new(serde_json::to_vec_pretty(written).unwrap_or_default());
        text.push(b'\n');
        let replaced = data_folder::replace(&path, &text, 0o600);
        Ok(replaced.map_err(|source| DataFolderError::File { action: "write", path, source })?)
    }
}

fn read_identity(text: &[u8]) -> Option<Enrolled> {
    let written: WrittenIdentity = serde_json::from_slice(text).ok()?;
    let identity = SigningKey::from_seed(Zeroizing::new(hex::decode(&written.identity)?))?;
    let peers = written.peers.iter().map(|peer| parse_peer(peer).ok());
    let enrolled = Enrolled {
        root: hex::decode(&written.root)?,
        keys: AgentKeys::new(identity, Zeroizing::new(hex::decode(&written.session)?)),
        certificate: Certificate::decode(&hex::decode_any(&written.certificate)?).ok()?,
        peers: peers.collect::<Option<_>>()?,
    };
    // Files of two agents, mixed up, are neither.
    (enrolled.certificate.identity == *enrolled.keys.identity.public()).then_some(enrolled)
}

fn read_state(text: &[u8]) -> Option<Kept> {
    let written: WrittenState = serde_json::from_slice(text).ok()?;
    let pins = written
        .invitations
        .iter()
        .map(|(invitation, agent)| Some((InvitationId(hex::decode(invitation)?), AgentId(hex::decode(agent)?))));
    let revocations = match written.revocations {
        Some(list) => Some(hex::decode_any(&list)?),
        None => None,
    };
    Some(Kept { epoch: written.epoch, pins: pins.collect::<Option<_>>()?, revocations })
}
