//! Global requests (RFC 4254 §4): remote forwards asked for and taken back, host keys announced and proved, signs of life.

use super::{Asked, Connection, Told};
use crate::client::ClientEvent;
use crate::config::{Event, ForwardDenied};
use crate::crypto::{HostKey, PublicKey};
use crate::disconnect::Disconnect;
use crate::messages;
use crate::negotiation::Side;
use crate::replies::{self, ReplyId};
use crate::wire::{Reader, put_bool, put_string, put_u32};

/// OpenSSH PROTOCOL §2.5.
const ANNOUNCE_HOST_KEYS: &[u8] = b"hostkeys-00@openssh.com";
const PROVE_HOST_KEYS: &[u8] = b"hostkeys-prove-00@openssh.com";
/// Of an announcement: a server has one key of each type, and as many again while it changes them.
const MAX_HOST_KEYS: usize = 16;

impl Connection {
    pub(super) fn handle_global_request(&mut self, payload: &[u8]) -> Result<Option<Told>, Disconnect> {
        let mut fields = Reader::new(&payload[1..]);
        let (name, wants_reply) = (fields.string()?, fields.boolean()?);
        let is_forward = matches!(name, b"tcpip-forward" | b"cancel-tcpip-forward");
        if is_forward && self.handshake.side() == Side::Server {
            let (address, port) = (fields.string()?.to_vec(), fields.u32()?);
            fields.end()?;
            let reply = self.replies.expect(wants_reply)?;
            return Ok(Some(Told::Both(match name {
                b"tcpip-forward" => Event::ForwardRequest { reply, address, port },
                _ => Event::ForwardCancel { reply, address, port },
            })));
        }
        let reply = self.replies.expect(wants_reply)?;
        let answer = match name {
            PROVE_HOST_KEYS => self.prove_host_keys(fields)?,
            _ => None,
        };
        self.replies.fill(reply, answer.unwrap_or_else(replies::failure));
        self.send_replies()?;
        if name == ANNOUNCE_HOST_KEYS && self.handshake.side() == Side::Client {
            return self.ask_for_proofs(fields);
        }
        let is_harmless = matches!(
            name,
            b"keepalive@openssh.com" | b"no-more-sessions@openssh.com" | PROVE_HOST_KEYS | ANNOUNCE_HOST_KEYS
        );
        Ok((!is_harmless).then(|| Told::Both(Event::Refused { what: name.to_vec() })))
    }

    /// Proves that we hold the host keys the client asks about (OpenSSH PROTOCOL §2.5).
    fn prove_host_keys(&self, mut blobs: Reader<'_>) -> Result<Option<Vec<u8>>, Disconnect> {
        let own = self.handshake.own_host_keys();
        let mut answer = vec![messages::REQUEST_SUCCESS];
        // A client asks about each key we announced at most once.
        for _ in 0..own.len() {
            if blobs.end().is_ok() {
                break;
            }
            let blob = blobs.string()?;
            let Some(key) = own.iter().find(|key| key.public_key().blob() == blob) else { return Ok(None) };
            let message = host_key_proof(self.handshake.session_id().unwrap_or_default(), blob);
            let Some(Ok(signature)) = key.algorithms().first().map(|algorithm| key.sign(algorithm, &message)) else {
                return Ok(None);
            };
            put_string(&mut answer, &signature);
        }
        Ok(blobs.end().is_ok().then_some(answer))
    }

    /// Answers an [`Event::ForwardRequest`] or [`Event::ForwardCancel`]. `Ok(Some(port))` where any port was asked for: only
    /// then may the reply name one (RFC 4254 §7.1). A refusal's reason goes out before it as a debug message, which `ssh -v`
    /// shows; plain SSH has no other place for it.
    ///
    /// # Errors
    /// The connection is over.
    pub fn answer_forward(&mut self, reply: ReplyId, answer: Result<Option<u16>, &str>) -> Result<(), Disconnect> {
        let payload = match answer {
            Ok(allocated) => {
                let mut payload = vec![messages::REQUEST_SUCCESS];
                allocated.into_iter().for_each(|port| put_u32(&mut payload, u32::from(port)));
                payload
            }
            Err(reason) => {
                let mut debug = vec![messages::DEBUG];
                put_bool(&mut debug, false);
                put_string(&mut debug, reason.as_bytes());
                put_string(&mut debug, b"");
                let explained = self.out.send(&debug);
                self.or_end(explained)?;
                replies::failure()
            }
        };
        self.replies.fill(reply, payload);
        let sent = self.send_replies();
        self.or_end(sent)
    }

    pub(super) fn send_replies(&mut self) -> Result<(), Disconnect> {
        while let Some(reply) = self.replies.next() {
            self.out.send(&reply)?;
        }
        Ok(())
    }

    pub(super) fn handle_reply(&mut self, payload: &[u8]) -> Result<Option<Told>, Disconnect> {
        let accepted = payload[0] == messages::REQUEST_SUCCESS;
        match self.asked.pop_front() {
            Some(Asked::Forward { address, port }) => {
                let answer = if accepted { Ok(self.take_grant(address, port, payload)?) } else { Err(ForwardDenied) };
                Ok(Some(Told::Both(Event::ForwardAnswered(answer))))
            }
            Some(Asked::CancelForward { .. }) => {
                let answer = if accepted { Ok(()) } else { Err(ForwardDenied) };
                Ok(Some(Told::client(ClientEvent::ForwardCancelled(answer))))
            }
            Some(Asked::HostKeys { own, unproven }) if accepted && self.proofs_hold(&unproven, payload) => {
                let proven = [own, unproven].concat();
                Ok(Some(Told::client(ClientEvent::HostKeysProven(proven))))
            }
            // Some clients answer requests that want no reply. A server that cannot prove what it announced is not believed.
            Some(Asked::Keepalive | Asked::HostKeys { .. }) | None => Ok(None),
        }
    }

    /// Client: a remote forward was granted. Gives its port where any was asked for (RFC 4254 §7.1).
    fn take_grant(&mut self, address: String, port: u16, payload: &[u8]) -> Result<Option<u32>, Disconnect> {
        let allocated = if port == 0 { Some(Reader::new(&payload[1..]).u32()?) } else { None };
        let port = match allocated.map(u16::try_from) {
            None => port,
            Some(Ok(port @ 1..)) => port,
            Some(_) => return Err(Disconnect::protocol("the server allocated a port that is none")),
        };
        let is_taken_back = |asked: &Asked| matches!(asked, Asked::CancelForward { address: a, port: p } if (a, *p) == (&address, port));
        if !self.asked.iter().any(is_taken_back) {
            self.channels.forwards.grant(address, port);
        }
        Ok(allocated)
    }

    /// Client: the server names its host keys. They are believed only with proof, asked for once: a server that gets new keys
    /// starts anew. Keys of types we do not know are left out, as OpenSSH does; the key of this connection is proven already.
    fn ask_for_proofs(&mut self, mut blobs: Reader<'_>) -> Result<Option<Told>, Disconnect> {
        if !self.is_open() || std::mem::replace(&mut self.host_keys_heard, true) {
            return Ok(None);
        }
        let (mut own, mut unproven) = (Vec::new(), Vec::new());
        for _ in 0..MAX_HOST_KEYS {
            if blobs.end().is_ok() {
                break;
            }
            let Ok(key) = PublicKey::from_blob(blobs.string()?) else { continue };
            let keys = if self.handshake.host_key() == Some(&key) { &mut own } else { &mut unproven };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if unproven.is_empty() {
            return Ok((!own.is_empty()).then(|| Told::client(ClientEvent::HostKeysProven(own))));
        }
        let mut message = vec![messages::GLOBAL_REQUEST];
        put_string(&mut message, PROVE_HOST_KEYS);
        put_bool(&mut message, true);
        unproven.iter().for_each(|key| put_string(&mut message, key.blob()));
        self.asked.push_back(Asked::HostKeys { own, unproven });
        self.out.send(&message).map(|()| None)
    }

    /// Whether there is one right signature for each key asked about, in their order. An RSA key may sign by either of its
    /// algorithms.
    fn proofs_hold(&self, keys: &[PublicKey], payload: &[u8]) -> bool {
        let session_id = self.handshake.session_id().unwrap_or_default();
        let mut proofs = Reader::new(&payload[1..]);
        let holds = |key: &PublicKey| {
            let signature = proofs.string().ok()?;
            let algorithm = Reader::new(signature).string().ok()?;
            key.verify(algorithm, &host_key_proof(session_id, key.blob()), signature).ok()
        };
        keys.iter().map(holds).all(|held| held.is_some()) && proofs.end().is_ok()
    }

    /// Client: asks for a remote forward; the answer comes as [`Event::ForwardAnswered`]. Once granted, connections to it arrive as
    /// [`Event::ForwardedConnection`], until it is taken back.
    ///
    /// # Errors
    /// The connection is over.
    pub fn request_forward(&mut self, address: &str, port: u16) -> Result<(), Disconnect> {
        self.asked.push_back(Asked::Forward { address: address.to_owned(), port });
        let sent = self.out.send(&forward_request("tcpip-forward", address, port));
        self.or_end(sent)
    }

    /// Client: takes a remote forward back: the address as it was asked for, the port as it was granted. From now on connections
    /// to it are refused. The answer comes as [`ClientEvent::ForwardCancelled`].
    ///
    /// # Errors
    /// The connection is over.
    pub fn cancel_forward(&mut self, address: &str, port: u16) -> Result<(), Disconnect> {
        self.channels.forwards.withdraw(address, port);
        self.asked.push_back(Asked::CancelForward { address: address.to_owned(), port });
        let sent = self.out.send(&forward_request("cancel-tcpip-forward", address, port));
        self.or_end(sent)
    }

    /// Takes a remote forward for granted that nobody asked for: lets tests and fuzzers begin where they want to.
    #[cfg(any(test, feature = "hostile"))]
    pub fn assume_forward(&mut self, address: &str, port: u16) {
        self.channels.forwards.grant(address.to_owned(), port);
    }
}

fn forward_request(name: &str, address: &str, port: u16) -> Vec<u8> {
    let mut message = vec![messages::GLOBAL_REQUEST];
    put_string(&mut message, name.as_bytes());
    put_bool(&mut message, true);
    put_string(&mut message, address.as_bytes());
    put_u32(&mut message, u32::from(port));
    message
}

/// What a server signs to prove that it holds a host key.
fn host_key_proof(session_id: &[u8], blob: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    put_string(&mut message, PROVE_HOST_KEYS);
    put_string(&mut message, session_id);
    put_string(&mut message, blob);
    message
}

/// Tells a client all our host keys, so that it can learn of a new one before the old one goes (OpenSSH PROTOCOL §2.5).
pub(super) fn announce_host_keys(keys: &[HostKey]) -> Vec<u8> {
    let mut message = vec![messages::GLOBAL_REQUEST];
    put_string(&mut message, ANNOUNCE_HOST_KEYS);
    put_bool(&mut message, false);
    keys.iter().for_each(|key| put_string(&mut message, key.public_key().blob()));
    message
}
