//! The session between the two ends of a forwarded connection: `Noise_IK_25519_ChaChaPoly_BLAKE2s` (Noise §7.5), whose messages no agent
//! between can read, change, repeat, reorder or leave out without ending it.
//!
//! After the handshake each direction is a row of messages, each behind its length in two bytes, numbered from 0 by both sides: the
//! number is the nonce (Noise §5.1), so a message that is missing, late or of the other direction does not open.

mod cipher;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use adit_core::mesh::{SessionKey, Window};
use snow::{Builder, HandshakeState, StatelessTransportState};
use zeroize::Zeroizing;

const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_BLAKE2s";

/// The longest message (Noise §3).
const MAX_MESSAGE: usize = 65_535;
/// What the cipher adds to it (RFC 8439 §2.8).
const TAG: usize = 16;
/// The length before a message.
pub(crate) const LENGTH: usize = 2;
/// The byte that says what a message is.
const KIND: usize = 1;
/// The number of a datagram's message, in front of it.
const NUMBER: usize = 8;
/// Bytes of a connection in one message: two of a socket's usual reads, and with its frame within half of the longest message.
pub(crate) const MAX_DATA: usize = 32 * 1024;
/// The longest message with its length.
pub(crate) const MAX_SEALED: usize = LENGTH + KIND + MAX_DATA + TAG;
const _: () = assert!(KIND + MAX_DATA + TAG <= MAX_MESSAGE, "a message is one of Noise");

/// New keys after so many messages in a direction (1 GiB at most), or so much time.
const REKEY_AFTER: u64 = 32_768;
const REKEY_TIME: Duration = Duration::from_secs(3600);

/// What stands in a message, behind its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes of the connection.
    Data,
    /// There are no more of them in this direction: the only honest end of it.
    Fin,
    /// The connection was cut.
    Reset,
    /// The target took the connection; the first message of the endpoint's side.
    Opened,
    /// It did not; text that says why.
    Failed,
    /// What follows in this direction has new keys (Noise §4.2).
    Rekey,
    /// The position before which the sender of this has everything, in eight bytes.
    Taken,
}

impl Kind {
    fn from_number(number: u8) -> Option<Kind> {
        [Kind::Data, Kind::Fin, Kind::Reset, Kind::Opened, Kind::Failed, Kind::Rekey, Kind::Taken]
            .get(usize::from(number))
            .copied()
    }
}

/// The handshake or a message is not what it should be. Nothing that came in it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what came does not fit the session: somebody between changed, repeated or left out some of it")]
pub(crate) struct Tampered;

/// A datagram is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It is not what its sender has sealed.
    Tampered,
    /// It was here before, or comes too late to tell: networks do that.
    Repeated,
}

impl From<Tampered> for NotTaken {
    fn from(Tampered: Tampered) -> NotTaken {
        NotTaken::Tampered
    }
}

impl From<snow::Error> for NotTaken {
    fn from(_: snow::Error) -> NotTaken {
        NotTaken::Tampered
    }
}

impl From<snow::Error> for Tampered {
    fn from(_: snow::Error) -> Tampered {
        Tampered
    }
}

/// The listener's side of a handshake whose first message is on its way.
pub(crate) struct Initiator(HandshakeState);

impl Initiator {
    /// Writes the first message, with `request` inside.
    pub(crate) fn start(
        own: &Zeroizing<[u8; 32]>,
        endpoint: &SessionKey,
        prologue: &[u8],
        request: &[u8],
    ) -> Result<(Initiator, Vec<u8>), Tampered> {
        let mut state = builder(prologue, own)?.remote_public_key(endpoint)?.build_initiator()?;
        // e, es, s, ss (Noise §7.5): two keys and two tags around what is inside.
        let mut message = vec![0; request.len() + 2 * 32 + 2 * TAG];
        let length = state.write_message(request, &mut message)?;
        message.truncate(length);
        Ok((Initiator(state), message))
    }

    /// Reads the second message.
    pub(crate) fn finish(mut self, message: &[u8], now: Instant) -> Result<Session, Tampered> {
        let mut inside = [0; MAX_ANSWER];
        self.0.read_message(message, &mut inside)?;
        Session::new(self.0, now)
    }
}

/// Room for what the second message may have inside: nothing yet.
const MAX_ANSWER: usize = 1024;

/// The endpoint's side of a handshake whose first message has been read.
pub(crate) struct Responder {
    state: HandshakeState,
    /// What was inside.
    pub(crate) request: Vec<u8>,
    /// Whose it is.
    pub(crate) listener: SessionKey,
}

impl Responder {
    /// Reads the first message.
    pub(crate) fn read(own: &Zeroizing<[u8; 32]>, prologue: &[u8], message: &[u8]) -> Result<Responder, Tampered> {
        let mut state = builder(prologue, own)?.build_responder()?;
        let mut request = vec![0; message.len()];
        let length = state.read_message(message, &mut request)?;
        request.truncate(length);
        let listener = state.get_remote_static().and_then(|key| key.try_into().ok()).ok_or(Tampered)?;
        Ok(Responder { state, request, listener })
    }

    /// Writes the second message.
    pub(crate) fn finish(mut self, now: Instant) -> Result<(Session, Vec<u8>), Tampered> {
        let mut message = vec![0; 32 + TAG];
        let length = self.state.write_message(&[], &mut message)?;
        message.truncate(length);
        Ok((Session::new(self.state, now)?, message))
    }
}

fn builder<'a>(prologue: &'a [u8], own: &'a Zeroizing<[u8; 32]>) -> Result<Builder<'a>, Tampered> {
    let builder = Builder::with_resolver(PATTERN.parse()?, cipher::resolver());
    Ok(builder.prologue(prologue)?.local_private_key(&**own)?)
}

/// Both directions of a session.
pub(crate) struct Session {
    state: StatelessTransportState,
    sent: u64,
    received: u64,
    /// Messages sent under the keys of now, and since when.
    since_rekey: u64,
    rekeyed: Instant,
}

impl Session {
    fn new(state: HandshakeState, now: Instant) -> Result<Session, Tampered> {
        let state = state.into_stateless_transport_mode()?;
        Ok(Session { state, sent: 0, received: 0, since_rekey: 0, rekeyed: now })
    }

    /// Seals what stands in `plain` behind a byte left free, and appends it to `sealed`, which has room for two of [`MAX_SEALED`].
    pub(crate) fn seal(
        &mut self,
        kind: Kind,
        plain: &mut [u8],
        sealed: &mut [u8],
        now: Instant,
    ) -> Result<usize, Tampered> {
        let mut length = 0;
        if self.since_rekey >= REKEY_AFTER || now.saturating_duration_since(self.rekeyed) >= REKEY_TIME {
            length += self.write(&mut [0], Kind::Rekey, sealed)?;
            self.state.rekey_outgoing();
            (self.since_rekey, self.rekeyed) = (0, now);
        }
        length += self.write(plain, kind, sealed.get_mut(length..).ok_or(Tampered)?)?;
        Ok(length)
    }

    fn write(&mut self, plain: &mut [u8], kind: Kind, sealed: &mut [u8]) -> Result<usize, Tampered> {
        *plain.first_mut().ok_or(Tampered)? = kind as u8;
        let (front, message) = sealed.split_at_mut_checked(LENGTH).ok_or(Tampered)?;
        let length = self.state.write_message(self.sent, plain, message)?;
        front.copy_from_slice(&u16::try_from(length).map_err(|_| Tampered)?.to_be_bytes());
        self.sent += 1;
        self.since_rekey += 1;
        Ok(LENGTH + length)
    }

    /// Opens a message (without its length) into `plain`, and says what it is and how many bytes it brought, behind the first one.
    pub(crate) fn open(&mut self, message: &[u8], plain: &mut [u8]) -> Result<(Kind, usize), Tampered> {
        let length = self.state.read_message(self.received, message, plain)?;
        self.received += 1;
        let kind = plain[..length].first().and_then(|number| Kind::from_number(*number)).ok_or(Tampered)?;
        if kind == Kind::Rekey {
            self.state.rekey_incoming();
        }
        Ok((kind, length - KIND))
    }
}

/// Both directions of a session for datagrams, which may be lost, doubled, or overtaken by others: each has its number in front.
///
/// Its keys stay as they are. A flow of datagrams seldom lasts, and there is no order in which its two ends could change them.
pub(crate) struct DatagramSession {
    state: StatelessTransportState,
    sent: AtomicU64,
    seen: Mutex<Window>,
}

impl Session {
    /// From here on each message is a datagram.
    pub(crate) fn into_datagrams(self) -> DatagramSession {
        let (sent, seen) = (AtomicU64::new(self.sent), Mutex::new(Window::new(self.received)));
        DatagramSession { state: self.state, sent, seen }
    }
}

impl DatagramSession {
    /// Seals what stands in `plain` behind a byte left free. What is sealed stands behind `room` free bytes.
    pub(crate) fn seal(&self, kind: Kind, plain: &mut [u8], room: usize) -> Result<Vec<u8>, Tampered> {
        *plain.first_mut().ok_or(Tampered)? = kind as u8;
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let mut sealed = vec![0; room + NUMBER + plain.len() + TAG];
        let (front, message) = sealed.split_at_mut_checked(room + NUMBER).ok_or(Tampered)?;
        front.get_mut(room..).ok_or(Tampered)?.copy_from_slice(&number.to_be_bytes());
        self.state.write_message(number, plain, message)?;
        Ok(sealed)
    }

    /// Opens a message into `plain`, and says what it is and how many bytes it brought, behind the first one. Each opens once.
    pub(crate) fn open(&self, message: &[u8], plain: &mut [u8]) -> Result<(Kind, usize), NotTaken> {
        let (number, sealed) = message.split_first_chunk::<NUMBER>().ok_or(Tampered)?;
        let number = u64::from_be_bytes(*number);
        let length = self.state.read_message(number, sealed, plain)?;
        if !self.seen.lock().unwrap_or_else(PoisonError::into_inner).admit(number) {
            return Err(NotTaken::Repeated);
        }
        let kind = plain[..length].first().and_then(|number| Kind::from_number(*number)).ok_or(Tampered)?;
        Ok((kind, length - KIND))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::keys::AgentKeys;

    pub(crate) fn sessions() -> (Session, Session) {
        let [listener, endpoint] = [(); 2].map(|()| AgentKeys::generate().unwrap());
        let (initiator, first) =
            Initiator::start(&listener.session, &endpoint.session_key().unwrap(), b"prologue", b"request").unwrap();
        let responder = Responder::read(&endpoint.session, b"prologue", &first).unwrap();
        let (there, second) = responder.finish(Instant::now()).unwrap();
        let here = initiator.finish(&second, Instant::now()).unwrap();
        (here, there)
    }

    fn datagram_sessions() -> (DatagramSession, DatagramSession) {
        let (here, there) = sessions();
        (here.into_datagrams(), there.into_datagrams())
    }

    /// The messages that a byte of a connection is sealed into.
    fn sealed(session: &mut Session, now: Instant) -> Vec<Vec<u8>> {
        let (mut sealed, mut messages) = ([0; 128], Vec::new());
        let length = session.seal(Kind::Data, &mut [0, 7], &mut sealed, now).unwrap();
        let mut rest = &sealed[..length];
        while let Some((front, behind)) = rest.split_first_chunk::<LENGTH>() {
            let (message, behind) = behind.split_at(usize::from(u16::from_be_bytes(*front)));
            messages.push(message.to_vec());
            rest = behind;
        }
        messages
    }

    /// As PROTOCOL.md has them.
    #[test]
    fn what_a_message_is_stands_in_its_first_byte() {
        let kinds = [Kind::Data, Kind::Fin, Kind::Reset, Kind::Opened, Kind::Failed, Kind::Rekey, Kind::Taken];
        assert_eq!(kinds.map(|kind| kind as u8), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(Kind::from_number), kinds.map(Some));
        assert_eq!(Kind::from_number(7), None);
    }

    #[test]
    fn keys_change_after_many_messages_and_after_an_hour() {
        let (mut here, mut there) = sessions();
        let (start, mut plain) = (Instant::now(), [0; 64]);
        let mut opened = |there: &mut Session, messages: &[Vec<u8>]| -> Vec<Kind> {
            messages.iter().map(|message| there.open(message, &mut plain).unwrap().0).collect()
        };
        for number in 0..REKEY_AFTER {
            assert_eq!(opened(&mut there, &sealed(&mut here, start)), [Kind::Data], "message {number}");
        }
        let messages = sealed(&mut here, start);
        let behind = there.received + 1;
        assert!(
            there.state.read_message(behind, &messages[1], &mut [0; 64]).is_err(),
            "the old keys open nothing behind the last message that they sealed"
        );
        assert_eq!(opened(&mut there, &messages), [Kind::Rekey, Kind::Data]);
        let almost = start + REKEY_TIME - Duration::from_nanos(1);
        assert_eq!(opened(&mut there, &sealed(&mut here, almost)), [Kind::Data]);
        assert_eq!(opened(&mut there, &sealed(&mut here, start + REKEY_TIME)), [Kind::Rekey, Kind::Data]);
        assert_eq!(opened(&mut there, &sealed(&mut here, start + REKEY_TIME)), [Kind::Data]);
        // The other direction has kept its own.
        assert_eq!(opened(&mut here, &sealed(&mut there, start)), [Kind::Data]);
    }

    #[test]
    fn datagrams_open_in_any_order_and_each_once() {
        let (here, there) = datagram_sessions();
        let sealed: Vec<_> = (0..100_u8).map(|n| here.seal(Kind::Data, &mut [0, n, n], 3).unwrap()).collect();
        let mut plain = [0; 64];
        for n in (0..100_u8).rev() {
            let message = &sealed[usize::from(n)][3..];
            assert_eq!(there.open(message, &mut plain), Ok((Kind::Data, 2)));
            assert_eq!(plain[1..3], [n, n]);
            assert_eq!(there.open(message, &mut plain), Err(NotTaken::Repeated), "once more");
        }
    }

    #[test]
    fn a_datagram_that_is_changed_or_sent_back_does_not_open() {
        let (here, there) = datagram_sessions();
        let sealed = here.seal(Kind::Data, &mut b"\0text".to_owned(), 0).unwrap();
        let mut plain = [0; 64];
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(there.open(&changed, &mut plain), Err(NotTaken::Tampered), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(there.open(&sealed[..length], &mut plain), Err(NotTaken::Tampered), "{length} bytes");
        }
        assert_eq!(here.open(&sealed, &mut plain), Err(NotTaken::Tampered), "reflected");
        // None of these has spoilt it.
        assert_eq!(there.open(&sealed, &mut plain), Ok((Kind::Data, 4)));
    }
}
