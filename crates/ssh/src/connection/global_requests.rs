//! Global requests (RFC 4254 §4): remote forwards asked for and taken back, host keys announced and proved, signs of life.

use super::{Asked, Connection};
use crate::config::{Event, ForwardDenied};
use crate::crypto::HostKey;
use crate::disconnect::Disconnect;
use crate::messages;
use crate::negotiation::Side;
use crate::replies::{self, ReplyId};
use crate::wire::{Reader, put_bool, put_string, put_u32};

impl Connection {
    pub(super) fn handle_global_request(&mut self, payload: &[u8]) -> Result<Option<Event>, Disconnect> {
        let mut fields = Reader::new(&payload[1..]);
        let (name, wants_reply) = (fields.string()?, fields.boolean()?);
        let is_forward = matches!(name, b"tcpip-forward" | b"cancel-tcpip-forward");
        if is_forward && self.handshake.side() == Side::Server {
            let (address, port) = (fields.string()?.to_vec(), fields.u32()?);
            fields.end()?;
            let reply = self.replies.expect(wants_reply)?;
            return Ok(Some(match name {
                b"tcpip-forward" => Event::ForwardRequest { reply, address, port },
                _ => Event::ForwardCancel { reply, address, port },
            }));
        }
        let reply = self.replies.expect(wants_reply)?;
        let answer = match name {
            b"hostkeys-prove-00@openssh.com" => self.prove_host_keys(fields)?,
            _ => None,
        };
        self.replies.fill(reply, answer.unwrap_or_else(replies::failure));
        self.send_replies()?;
        let is_harmless = matches!(
            name,
            b"keepalive@openssh.com"
                | b"no-more-sessions@openssh.com"
                | b"hostkeys-prove-00@openssh.com"
                | b"hostkeys-00@openssh.com"
        );
        Ok((!is_harmless).then(|| Event::Refused { what: name.to_vec() }))
    }

    /// Proves that we hold the host keys the client asks about (OpenSSH PROTOCOL §2.5).
    fn prove_host_keys(&self, mut blobs: Reader<'_>) -> Result<Option<Vec<u8>>, Disconnect> {
        const NAME: &[u8] = b"hostkeys-prove-00@openssh.com";
        let own = self.handshake.own_host_keys();
        let mut answer = vec![messages::REQUEST_SUCCESS];
        // A client asks about each key we announced at most once.
        for _ in 0..own.len() {
            if blobs.end().is_ok() {
                break;
            }
            let blob = blobs.string()?;
            let Some(key) = own.iter().find(|key| key.public_key().blob() == blob) else { return Ok(None) };
            let mut message = Vec::new();
            put_string(&mut message, NAME);
            put_string(&mut message, self.handshake.session_id().unwrap_or_default());
            put_string(&mut message, blob);
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

    pub(super) fn handle_reply(&mut self, payload: &[u8]) -> Result<Option<Event>, Disconnect> {
        let accepted = payload[0] == messages::REQUEST_SUCCESS;
        Ok(match self.asked.pop_front() {
            Some(Asked::Forward { any_port }) if accepted => {
                let port = if any_port { Some(Reader::new(&payload[1..]).u32()?) } else { None };
                Some(Event::ForwardAnswered(Ok(port)))
            }
            Some(Asked::Forward { .. }) => Some(Event::ForwardAnswered(Err(ForwardDenied))),
            // Some clients answer requests that want no reply.
            Some(Asked::Keepalive) | None => None,
        })
    }

    /// Client: asks for a remote forward; the answer comes as [`Event::ForwardAnswered`].
    ///
    /// # Errors
    /// The connection is over.
    pub fn request_forward(&mut self, address: &str, port: u16) -> Result<(), Disconnect> {
        self.asked.push_back(Asked::Forward { any_port: port == 0 });
        let sent = self.out.send(&forward_request("tcpip-forward", address, port, true));
        self.or_end(sent)
    }

    /// Client: takes a remote forward back, without asking for a reply.
    ///
    /// # Errors
    /// The connection is over.
    pub fn cancel_forward(&mut self, address: &str, port: u16) -> Result<(), Disconnect> {
        let sent = self.out.send(&forward_request("cancel-tcpip-forward", address, port, false));
        self.or_end(sent)
    }
}

fn forward_request(name: &str, address: &str, port: u16, wants_reply: bool) -> Vec<u8> {
    let mut message = vec![messages::GLOBAL_REQUEST];
    put_string(&mut message, name.as_bytes());
    put_bool(&mut message, wants_reply);
    put_string(&mut message, address.as_bytes());
    put_u32(&mut message, u32::from(port));
    message
}

/// Tells a client all our host keys, so that it can learn of a new one before the old one goes (OpenSSH PROTOCOL §2.5).
pub(super) fn announce_host_keys(keys: &[HostKey]) -> Vec<u8> {
    let mut message = vec![messages::GLOBAL_REQUEST];
    put_string(&mut message, b"hostkeys-00@openssh.com");
    put_bool(&mut message, false);
    keys.iter().for_each(|key| put_string(&mut message, key.public_key().blob()));
    message
}
