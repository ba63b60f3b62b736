//! A client of ssh-agent (draft-ietf-sshm-ssh-agent): lists the keys it holds and has it sign. Keys that live on hardware, and keys
//! whose use somebody confirms, work through it alone.
//!
//! Each question has a connection of its own, so that an agent that was started anew in between is no trouble.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_ssh::crypto::PublicKey;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// §3.6.1
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// OpenSSH's agent takes and gives no longer message.
const MAX_MESSAGE: usize = 256 * 1024;
/// An agent on this machine answers at once.
const LIST_TIME: Duration = Duration::from_secs(5);
/// Somebody may have to touch a security key or confirm the use.
const SIGN_TIME: Duration = Duration::from_secs(60);

/// Nothing came from the ssh-agent.
#[derive(Debug, Error)]
pub enum AgentError {
    /// There is none.
    #[error("SSH_AUTH_SOCK is not set: there is no ssh-agent")]
    NoAgent,
    /// It cannot be talked to.
    #[error("the ssh-agent at {} does not answer: {source}", .socket.display())]
    Io {
        /// Where it should be.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It said no: the key is gone, or somebody declined.
    #[error("the ssh-agent refused")]
    Refused,
    /// It said something that means nothing.
    #[error("the ssh-agent answered something that is no answer")]
    Nonsense,
}

/// An ssh-agent.
#[derive(Debug, Clone)]
pub struct SshAgent {
    socket: PathBuf,
}

impl SshAgent {
    /// The agent at `socket`, or else where `SSH_AUTH_SOCK` says.
    ///
    /// # Errors
    /// [`AgentError::NoAgent`]
    pub fn at(socket: Option<&Path>) -> Result<Self, AgentError> {
        let from_environment = || env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from);
        let socket = socket.map(Path::to_owned).or_else(from_environment).ok_or(AgentError::NoAgent)?;
        Ok(Self { socket })
    }

    /// The keys it holds, in its order; those of kinds we do not know, and certificates, left out.
    ///
    /// # Errors
    /// [`AgentError`]
    pub async fn identities(&self) -> Result<Vec<PublicKey>, AgentError> {
        let answer = self.ask(&[REQUEST_IDENTITIES], LIST_TIME).await?;
        read_identities(&answer)
    }

    /// Has it sign `message`: the signature in wire form (RFC 4253 §6.6). `algorithm` matters for RSA keys.
    ///
    /// # Errors
    /// [`AgentError`]
    pub async fn sign(&self, key: &PublicKey, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, AgentError> {
        let flags = match algorithm {
            "rsa-sha2-512" => RSA_SHA2_512,
            "rsa-sha2-256" => RSA_SHA2_256,
            _ => 0,
        };
        let mut question = vec![SIGN_REQUEST];
        put_string(&mut question, key.blob());
        put_string(&mut question, message);
        question.extend_from_slice(&flags.to_be_bytes());
        let answer = self.ask(&question, SIGN_TIME).await?;
        read_signature(&answer)
    }

    async fn ask(&self, question: &[u8], time: Duration) -> Result<Vec<u8>, AgentError> {
        let conversation = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            let mut message = Vec::new();
            put_string(&mut message, question);
            stream.write_all(&message).await?;
            let len = stream.read_u32().await? as usize;
            if len > MAX_MESSAGE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is too long"));
            }
            let mut answer = vec![0; len];
            stream.read_exact(&mut answer).await?;
            Ok(answer)
        };
        let answered = tokio::time::timeout(time, conversation).await;
        let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        answered.map_err(|source| AgentError::Io { socket: self.socket.clone(), source })
    }
}

fn read_identities(answer: &[u8]) -> Result<Vec<PublicKey>, AgentError> {
    let mut rest = body(answer, IDENTITIES_ANSWER)?;
    let (count, after) = rest.split_first_chunk::<4>().ok_or(AgentError::Nonsense)?;
    rest = after;
    let mut keys = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (blob, after) = string(rest)?;
        let (_comment, after) = string(after)?;
        rest = after;
        keys.extend(PublicKey::from_blob(blob));
    }
    Ok(keys)
}

fn read_signature(answer: &[u8]) -> Result<Vec<u8>, AgentError> {
    let (signature, _) = string(body(answer, SIGN_RESPONSE)?)?;
    Ok(signature.to_vec())
}

fn body(answer: &[u8], expected: u8) -> Result<&[u8], AgentError> {
    match answer.split_first() {
        Some((&kind, body)) if kind == expected => Ok(body),
        Some((&FAILURE, _)) => Err(AgentError::Refused),
        _ => Err(AgentError::Nonsense),
    }
}

/// A string with its length before it (RFC 4251 §5), and what is behind it.
fn string(bytes: &[u8]) -> Result<(&[u8], &[u8]), AgentError> {
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or(AgentError::Nonsense)?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize).ok_or(AgentError::Nonsense)
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_identities(count: u32, blobs: &[&[u8]]) -> Vec<u8> {
        let mut answer = vec![IDENTITIES_ANSWER];
        answer.extend_from_slice(&count.to_be_bytes());
        for blob in blobs {
            put_string(&mut answer, blob);
            put_string(&mut answer, b"a comment");
        }
        answer
    }

    #[test]
    fn known_keys_are_listed_and_others_left_out() {
        let key = adit_ssh::crypto::PrivateKey::generate_ed25519().unwrap();
        let blob = key.public_key().blob();
        let keys = read_identities(&with_identities(2, &[b"\0\0\0\x03foo", blob])).unwrap();
        assert_eq!(keys, [key.public_key().clone()]);
    }

    #[test]
    fn an_answer_that_lies_about_its_lengths_is_refused() {
        assert!(matches!(read_identities(&with_identities(u32::MAX, &[])), Err(AgentError::Nonsense)));
        let whole = with_identities(1, &[b"key"]);
        for len in 0..whole.len() {
            assert!(read_identities(&whole[..len]).is_err(), "{len}");
        }
        assert!(matches!(read_identities(&[FAILURE]), Err(AgentError::Refused)));
        assert!(matches!(read_signature(&[SIGN_RESPONSE, 0, 0, 0, 9, 1]), Err(AgentError::Nonsense)));
    }
}
