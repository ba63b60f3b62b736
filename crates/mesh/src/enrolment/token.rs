//! An invitation as a line of text that a person hands over. Whoever has it can become that member, so it is a secret until it is used.

use adit_core::Target;
use adit_core::mesh::{PublicKey, SignedInvitation};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::config::parse_peer;
use crate::keys::SigningKey;

/// With it a token is known for what it is, wherever it turns up.
const PREFIX: &str = "adit-mesh-";
/// No token is longer, in characters.
const LONGEST: usize = 64 * 1024;

/// An invitation with its key, and where the mesh can be reached.
#[derive(Debug)]
pub struct Token {
    /// The root's key.
    pub root: PublicKey,
    /// What the root has signed.
    pub invitation: SignedInvitation,
    /// The invitation's key.
    pub key: SigningKey,
    /// Agents to connect to.
    pub peers: Vec<Target>,
}

/// The text is no token; it is not repeated here, because it may be most of one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this is no token of a mesh: {0}; paste the whole line that `adit mesh invite` printed")]
pub struct BadToken(&'static str);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    root: String,
    invitation: String,
    key: String,
    peers: Vec<String>,
}

impl Token {
    /// The line.
    pub fn to_text(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(Base64UrlUnpadded::encode_string(self.key.seed()));
        let written = Written {
            root: Base64UrlUnpadded::encode_string(&self.root),
            invitation: Base64UrlUnpadded::encode_string(&self.invitation.encode()),
            key: key.to_string(),
            peers: self.peers.iter().map(ToString::to_string).collect(),
        };
        let json = Zeroizing::new(serde_json::to_vec(&written).unwrap_or_default());
        Zeroizing::new(format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(&json)))
    }

    /// Reads the line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_text(text: &str) -> Result<Token, BadToken> {
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(BadToken("it is too long"));
        }
        let body = text.strip_prefix(PREFIX).ok_or(BadToken("it does not begin with “adit-mesh-”"))?;
        let cut = BadToken("a part of it is missing or was changed");
        let decoded = |text: &str| Base64UrlUnpadded::decode_vec(text).map(Zeroizing::new).map_err(|_| cut.clone());
        let array = |text: &str| <[u8; 32]>::try_from(&**decoded(text)?).map_err(|_| cut.clone());
        let written: Written = serde_json::from_slice(&decoded(body)?).map_err(|_| cut.clone())?;
        let invitation = SignedInvitation::decode(&decoded(&written.invitation)?).map_err(|_| cut.clone())?;
        let key = SigningKey::from_seed(Zeroizing::new(array(&written.key)?)).ok_or_else(|| cut.clone())?;
        if *key.public() != invitation.invitation.key {
            return Err(cut);
        }
        let peers = written.peers.iter().map(|peer| parse_peer(peer).map_err(|_| cut.clone()));
        Ok(Token { root: array(&written.root)?, invitation, key, peers: peers.collect::<Result<_, _>>()? })
    }
}
