//! User authentication (RFC 4252). The server's side, here, does publickey only: it asks its caller about a key and checks the
//! signature itself; a caller's yes is good for exactly the key and the signature it was asked about, never for another.
//! The client's side is in `client`.

mod client;

use crate::crypto::PublicKey;
use crate::disconnect::{Disconnect, DisconnectCode};
use crate::messages;
use crate::wire::{Reader, put_bool, put_name_list, put_string};

pub(crate) use client::{ClientAuth, ClientStep};

/// An agent may hold many keys: most clients ask about one after the other, some sign with each at once. A refused one costs
/// nobody anything.
const MAX_KEYS: u32 = 20;
/// Wrong signatures are not an honest mistake.
const MAX_WRONG_SIGNATURES: u32 = 6;
/// Names longer than this are refused unread; ours are far shorter.
const MAX_USER: usize = 256;

/// Somebody wants to log in with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRequest {
    /// The login name, raw.
    pub user: Vec<u8>,
    /// The key offered.
    pub key: PublicKey,
    /// Whether a signature came with it; else the client only asks whether the key would do.
    pub signed: bool,
}

/// What came of an [`AuthRequest`] and the caller's answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthOutcome {
    /// The key would do; the client may sign with it now.
    MaySign,
    /// Logged in, with the key of the request that was just answered.
    LoggedIn,
    /// Refused: by the caller, or for its signature.
    Refused,
}

/// The server's side of authentication.
#[derive(Debug, Default)]
pub(crate) struct ServerAuth {
    service_accepted: bool,
    /// Requests without a signature.
    questions: u32,
    /// Requests with one.
    signatures: u32,
    wrong_signatures: u32,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    key: PublicKey,
    algorithm: Vec<u8>,
    /// What was signed and the signature, when there is one.
    proof: Option<(Vec<u8>, Vec<u8>)>,
}

/// What to send, and what to ask, after a message of the authentication protocol.
pub(crate) enum AuthStep {
    Send(Vec<u8>),
    Ask(AuthRequest),
}

impl ServerAuth {
    /// Whether the caller owes an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// Takes SERVICE_REQUEST or a message of 50–79.
    pub(crate) fn handle(&mut self, payload: &[u8], session_id: &[u8]) -> Result<AuthStep, Disconnect> {
        let mut fields = Reader::new(&payload[1..]);
        match payload[0] {
            messages::SERVICE_REQUEST => {
                if fields.string()? != b"ssh-userauth" || self.service_accepted {
                    return Err(Disconnect::new(
                        DisconnectCode::ServiceNotAvailable,
                        "the only service here is ssh-userauth, once",
                    ));
                }
                self.service_accepted = true;
                let mut accept = vec![messages::SERVICE_ACCEPT];
                put_string(&mut accept, b"ssh-userauth");
                Ok(AuthStep::Send(accept))
            }
            messages::USERAUTH_REQUEST if self.service_accepted => self.handle_request(fields, session_id),
            _ => Err(Disconnect::protocol("a message that has no place in authentication")),
        }
    }

    fn handle_request(&mut self, mut fields: Reader<'_>, session_id: &[u8]) -> Result<AuthStep, Disconnect> {
        let (user, service, method) = (fields.string()?, fields.string()?, fields.string()?);
        if service != b"ssh-connection" {
            return Err(Disconnect::new(
                DisconnectCode::ServiceNotAvailable,
                "the only service to log in to is ssh-connection",
            ));
        }
        let signed = method == b"publickey" && fields.boolean()?;
        let count = if signed { &mut self.signatures } else { &mut self.questions };
        *count += 1;
        // Many clients begin with a request for `none`, to hear what there is.
        if self.signatures > MAX_KEYS || self.questions > MAX_KEYS + 1 {
            return Err(too_many());
        }
        if method != b"publickey" || user.len() > MAX_USER {
            return Ok(AuthStep::Send(refusal()));
        }
        let (algorithm, blob) = (fields.string()?, fields.string()?);
        let signature = if signed { Some(fields.string()?) } else { None };
        fields.end()?;
        let key = match PublicKey::from_blob(blob) {
            Ok(key) if key.accepts_algorithm(algorithm) => key,
            _ => return Ok(AuthStep::Send(refusal())),
        };
        let proof = signature.map(|signature| (signed_message(session_id, user, algorithm, blob), signature.to_vec()));
        self.pending = Some(Pending { key: key.clone(), algorithm: algorithm.to_vec(), proof });
        Ok(AuthStep::Ask(AuthRequest { user: user.to_vec(), key, signed }))
    }

    /// Takes the caller's answer; gives what to send and what came of it.
    pub(crate) fn answer(&mut self, accept: bool) -> Result<Option<(Vec<u8>, AuthOutcome)>, Disconnect> {
        let Some(pending) = self.pending.take() else { return Ok(None) };
        if !accept {
            return Ok(Some((refusal(), AuthOutcome::Refused)));
        }
        match pending.proof {
            None => {
                let mut message = vec![messages::USERAUTH_PK_OK];
                put_string(&mut message, &pending.algorithm);
                put_string(&mut message, pending.key.blob());
                Ok(Some((message, AuthOutcome::MaySign)))
            }
            Some((message, signature)) => match pending.key.verify(&pending.algorithm, &message, &signature) {
                Ok(()) => Ok(Some((vec![messages::USERAUTH_SUCCESS], AuthOutcome::LoggedIn))),
                Err(_) => {
                    self.wrong_signatures += 1;
                    if self.wrong_signatures >= MAX_WRONG_SIGNATURES {
                        return Err(too_many());
                    }
                    Ok(Some((refusal(), AuthOutcome::Refused)))
                }
            },
        }
    }
}

fn too_many() -> Disconnect {
    Disconnect::new(DisconnectCode::NoMoreAuthMethods, "Too many authentication failures")
}

/// The one refusal there is, for an unknown name, an unknown key and a wrong signature alike.
fn refusal() -> Vec<u8> {
    let mut message = vec![messages::USERAUTH_FAILURE];
    put_name_list(&mut message, ["publickey"]);
    put_bool(&mut message, false);
    message
}

/// What a client signs (RFC 4252 §7).
fn signed_message(session_id: &[u8], user: &[u8], algorithm: &[u8], blob: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(session_id.len() + user.len() + algorithm.len() + blob.len() + 64);
    put_string(&mut message, session_id);
    message.extend_from_slice(&publickey_request(user, algorithm, blob, true));
    message
}

/// SSH_MSG_USERAUTH_REQUEST for a public key: a question whether it would do, or up to where its signature follows.
fn publickey_request(user: &[u8], algorithm: &[u8], blob: &[u8], signed: bool) -> Vec<u8> {
    let mut message = request(user, "publickey");
    put_bool(&mut message, signed);
    put_string(&mut message, algorithm);
    put_string(&mut message, blob);
    message
}

/// SSH_MSG_USERAUTH_REQUEST up to where a method's own fields begin (RFC 4252 §5).
fn request(user: &[u8], method: &str) -> Vec<u8> {
    let mut message = vec![messages::USERAUTH_REQUEST];
    put_string(&mut message, user);
    put_string(&mut message, b"ssh-connection");
    put_string(&mut message, method.as_bytes());
    message
}

/// SSH_MSG_EXT_INFO with the signature algorithms we verify (RFC 8308 §3.1).
pub(crate) fn server_ext_info() -> Vec<u8> {
    let mut message = vec![messages::EXT_INFO];
    crate::wire::put_u32(&mut message, 1);
    put_string(&mut message, b"server-sig-algs");
    put_name_list(&mut message, PublicKey::signature_algorithms().iter().copied());
    message
}
