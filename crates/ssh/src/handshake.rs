//! Key exchange, the first one and every rekey (RFC 4253 §7–9, RFC 8731, RFC 5656): a small machine that takes the
//! exchange's messages and switches the packet reader and writer to the new keys.
//!
//! Strict exchange holds throughout: before the first SSH_MSG_NEWKEYS anything but the exchange itself ends the
//! connection, whether or not the peer announced it, and where both announced it sequence numbers begin anew with the keys.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::client::ClientSettings;
use crate::config::ServerConfig;
use crate::crypto::{
    self, CipherKeys, ClientKex, ExchangeHashInput, HostKey, KexAlgorithm, KexError, Opener, PublicKey, Sealer,
    SharedSecret,
};
use crate::disconnect::{Disconnect, DisconnectCode};
use crate::messages;
use crate::negotiation::{Algorithms, Negotiated, Protection, Side, negotiate, write_kexinit};
use crate::packet::{PacketReader, PacketWriter};
use crate::wire::{Reader, put_string};

/// What we call ourselves (RFC 4253 §4.2). A name that begins with "OpenSSH" would make clients expect OpenSSH's extensions.
pub(crate) const VERSION: &str = concat!("SSH-2.0-adit_", env!("CARGO_PKG_VERSION"));

/// Which end this is, with what it knows.
pub(crate) enum Party {
    /// Holds the host keys.
    Server(Arc<ServerConfig>),
    /// Holds no key; whether the server's is the right one is for its caller to say.
    Client(Arc<ClientSettings>),
}

impl Party {
    pub(crate) fn side(&self) -> Side {
        match self {
            Self::Server(_) => Side::Server,
            Self::Client(_) => Side::Client,
        }
    }

    fn algorithms(&self) -> &Algorithms {
        match self {
            Self::Server(config) => &config.algorithms,
            Self::Client(settings) => &settings.algorithms,
        }
    }

    fn host_key_names(&self) -> Vec<&'static str> {
        match self {
            Self::Server(config) => config.host_keys.iter().flat_map(|key| key.algorithms().iter().copied()).collect(),
            Self::Client(settings) => settings.algorithms.host_keys.iter().map(|algorithm| algorithm.name()).collect(),
        }
    }
}

/// The exchange's parameters and where it stands.
pub(crate) struct Handshake {
    party: Party,
    peer_version: Vec<u8>,
    session_id: Option<Box<[u8]>>,
    /// Client: the key the server proved in the first exchange, and must prove in every other.
    host_key: Option<PublicKey>,
    strict: bool,
    pub(crate) peer_wants_ext_info: bool,
    state: State,
}

enum State {
    /// No exchange runs.
    Idle,
    /// Our KEXINIT is out, the peer's has not come.
    Offered { ours: Vec<u8> },
    /// Server: both KEXINITs are known, the client's public value is to come.
    AwaitClientValue(Box<Agreed>),
    /// Client: our public value is out, the server's answer is to come.
    AwaitServerReply(Box<(Agreed, ClientKex, Vec<u8>)>),
    /// Ours are switched, the peer's NEWKEYS is to come.
    AwaitNewKeys(Box<Opener>),
}

struct Agreed {
    negotiated: Negotiated,
    ours: Vec<u8>,
    theirs: Vec<u8>,
}

/// What a message of the exchange led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// More is to come.
    Continues,
    /// Our side has switched keys: what was held back may go out again.
    SendingResumes,
    /// Both directions have switched.
    Finished,
}

impl Handshake {
    pub(crate) fn new(party: Party) -> Self {
        Self {
            party,
            peer_version: Vec::new(),
            session_id: None,
            host_key: None,
            strict: false,
            peer_wants_ext_info: false,
            state: State::Idle,
        }
    }

    pub(crate) fn side(&self) -> Side {
        self.party.side()
    }

    /// A server's private host keys; a client has none.
    pub(crate) fn own_host_keys(&self) -> &[HostKey] {
        match &self.party {
            Party::Server(config) => &config.host_keys,
            Party::Client(_) => &[],
        }
    }

    /// Client: the key the server proved that it holds.
    pub(crate) fn host_key(&self) -> Option<&PublicKey> {
        self.host_key.as_ref()
    }

    /// Client: the login name.
    pub(crate) fn user(&self) -> &str {
        match &self.party {
            Party::Server(_) => "",
            Party::Client(settings) => &settings.user,
        }
    }

    /// Client: whether an outside signer may log in by RSA over SHA-1.
    pub(crate) fn allows_sha1_logins(&self) -> bool {
        self.party.algorithms().sha1_logins
    }

    /// Server: goes on with other keys and algorithms, as only a test's does.
    #[cfg(test)]
    pub(crate) fn pose_as(&mut self, config: Arc<ServerConfig>) {
        self.party = Party::Server(config);
    }

    pub(crate) fn set_peer_version(&mut self, version: &[u8]) {
        self.peer_version = version.to_vec();
    }

    /// The peer's identification line without its line end, as it came.
    pub(crate) fn peer_version(&self) -> &[u8] {
        &self.peer_version
    }

    /// The first exchange's hash, which names the session for good (RFC 4253 §7.2).
    pub(crate) fn session_id(&self) -> Option<&[u8]> {
        self.session_id.as_deref()
    }

    /// Whether messages other than the exchange's own must be held back now (RFC 4253 §7.1).
    pub(crate) fn holds_sending(&self) -> bool {
        !matches!(self.state, State::Idle | State::AwaitNewKeys(_))
    }

    /// Whether the peer, too, may send nothing but the exchange now.
    pub(crate) fn peer_must_hold(&self) -> bool {
        !matches!(self.state, State::Idle | State::Offered { .. })
    }

    /// Whether an exchange runs.
    pub(crate) fn is_running(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Sends our KEXINIT, unless an exchange runs already.
    pub(crate) fn start(&mut self, writer: &mut PacketWriter) -> Result<(), Disconnect> {
        if self.is_running() {
            return Ok(());
        }
        let ours = self.offer(writer)?;
        self.state = State::Offered { ours };
        Ok(())
    }

    /// Takes a message of the exchange: KEXINIT, NEWKEYS or a method's own (RFC 4250 §4.1.2, 20–49).
    pub(crate) fn handle(
        &mut self,
        payload: &[u8],
        reader: &mut PacketReader,
        writer: &mut PacketWriter,
    ) -> Result<Step, Disconnect> {
        match (payload[0], std::mem::replace(&mut self.state, State::Idle)) {
            (messages::KEXINIT, State::Idle) => {
                let ours = self.offer(writer)?;
                self.agree(ours, payload, writer)
            }
            (messages::KEXINIT, State::Offered { ours }) => self.agree(ours, payload, writer),
            // The guess is dropped whatever its number: each method has its own (RFC 4253 §7).
            (30..=49, State::AwaitClientValue(agreed)) if agreed.negotiated.wrong_guess => {
                let mut agreed = agreed;
                agreed.negotiated.wrong_guess = false;
                self.state = State::AwaitClientValue(agreed);
                Ok(Step::Continues)
            }
            (messages::KEX_INIT, State::AwaitClientValue(agreed)) => self.answer_client(&agreed, payload, writer),
            (messages::KEX_REPLY, State::AwaitServerReply(waiting)) => {
                let (agreed, kex, public) = *waiting;
                self.take_reply(&agreed, kex, &public, payload, writer)
            }
            (messages::NEWKEYS, State::AwaitNewKeys(opener)) => {
                Reader::new(&payload[1..]).end()?;
                reader.switch(*opener, self.strict);
                Ok(Step::Finished)
            }
            _ => Err(Disconnect::protocol("a key exchange message came out of turn")),
        }
    }

    fn offer(&self, writer: &mut PacketWriter) -> Result<Vec<u8>, Disconnect> {
        let mut cookie = [0; 16];
        aws_lc_rs::rand::fill(&mut cookie)
            .map_err(|_| Disconnect::new(DisconnectCode::ByApplication, "no random numbers to be had"))?;
        let names = self.party.host_key_names();
        let ours = write_kexinit(self.side(), self.party.algorithms(), &names, cookie, self.session_id.is_none());
        writer.send(&ours)?;
        Ok(ours)
    }

    fn agree(&mut self, ours: Vec<u8>, theirs: &[u8], writer: &mut PacketWriter) -> Result<Step, Disconnect> {
        let (client, server) = match self.side() {
            Side::Server => (theirs, &ours[..]),
            Side::Client => (&ours[..], theirs),
        };
        let negotiated = negotiate(self.side(), client, server, &self.party.host_key_names())?;
        if self.session_id.is_none() {
            self.strict = negotiated.strict;
            self.peer_wants_ext_info = negotiated.wants_ext_info && self.side() == Side::Server;
        }
        let agreed = Agreed { negotiated, ours, theirs: theirs.to_vec() };
        self.state = match self.side() {
            Side::Server => State::AwaitClientValue(Box::new(agreed)),
            Side::Client => {
                let (kex, public) = ClientKex::start(negotiated.kex).map_err(kex_failed)?;
                let mut message = vec![messages::KEX_INIT];
                put_string(&mut message, &public);
                writer.send(&message)?;
                State::AwaitServerReply(Box::new((agreed, kex, public)))
            }
        };
        Ok(Step::Continues)
    }

    /// Server: answers the client's public value, proves the host key, and switches what we send (RFC 5656 §4).
    fn answer_client(
        &mut self,
        agreed: &Agreed,
        payload: &[u8],
        writer: &mut PacketWriter,
    ) -> Result<Step, Disconnect> {
        let mut fields = Reader::new(&payload[1..]);
        let client_public = fields.string()?;
        fields.end()?;
        let algorithm = agreed.negotiated.host_key;
        let key = self.own_host_keys().iter().find(|key| key.algorithms().contains(&algorithm)).ok_or_else(|| {
            Disconnect::new(DisconnectCode::KeyExchangeFailed, "no host key for the agreed algorithm")
        })?;
        let exchange = crypto::respond(agreed.negotiated.kex, client_public).map_err(kex_failed)?;
        let hash = crypto::exchange_hash(
            agreed.negotiated.kex.hash_kind(),
            &ExchangeHashInput {
                client_version: &self.peer_version,
                server_version: VERSION.as_bytes(),
                client_kexinit: &agreed.theirs,
                server_kexinit: &agreed.ours,
                host_key: key.public_key().blob(),
                client_public,
                server_public: &exchange.public,
                secret: &exchange.secret,
            },
        );
        let signature = key
            .sign(algorithm, hash.as_ref())
            .map_err(|_| Disconnect::new(DisconnectCode::KeyExchangeFailed, "the host key cannot sign"))?;
        let mut reply = vec![messages::KEX_REPLY];
        put_string(&mut reply, key.public_key().blob());
        put_string(&mut reply, &exchange.public);
        put_string(&mut reply, &signature);
        writer.send(&reply)?;
        self.switch_sending(agreed, &exchange.secret, hash.as_ref(), writer)
    }

    /// Client: checks the signature over the exchange, and that the key is still the one it began with, and switches what we
    /// send. Whether it is the right server's is judged before anything else goes out.
    fn take_reply(
        &mut self,
        agreed: &Agreed,
        kex: ClientKex,
        client_public: &[u8],
        payload: &[u8],
        writer: &mut PacketWriter,
    ) -> Result<Step, Disconnect> {
        let mut fields = Reader::new(&payload[1..]);
        let (host_key, server_public, signature) = (fields.string()?, fields.string()?, fields.string()?);
        fields.end()?;
        let refused = |why: &'static str| Disconnect::new(DisconnectCode::HostKeyNotVerifiable, why);
        let key = PublicKey::from_blob(host_key).map_err(|error| {
            Disconnect::new(DisconnectCode::HostKeyNotVerifiable, format!("the server's host key: {error}"))
        })?;
        if self.host_key.as_ref().is_some_and(|first| *first != key) {
            return Err(refused("the server's host key is not the one it began with"));
        }
        let secret = kex.finish(server_public).map_err(kex_failed)?;
        let hash = crypto::exchange_hash(
            agreed.negotiated.kex.hash_kind(),
            &ExchangeHashInput {
                client_version: VERSION.as_bytes(),
                server_version: &self.peer_version,
                client_kexinit: &agreed.ours,
                server_kexinit: &agreed.theirs,
                host_key,
                client_public,
                server_public,
                secret: &secret,
            },
        );
        key.verify_host_proof(agreed.negotiated.host_key.as_bytes(), hash.as_ref(), signature)
            .map_err(|_| refused("the server's signature over the key exchange is wrong"))?;
        self.host_key = Some(key);
        self.switch_sending(agreed, &secret, hash.as_ref(), writer)
    }

    fn switch_sending(
        &mut self,
        agreed: &Agreed,
        secret: &SharedSecret,
        hash: &[u8],
        writer: &mut PacketWriter,
    ) -> Result<Step, Disconnect> {
        let session_id = self.session_id.get_or_insert_with(|| hash.into()).clone();
        writer.send(&[messages::NEWKEYS])?;
        let keys = KeySource { kex: agreed.negotiated.kex, secret, hash, session_id: &session_id };
        let (to_server, to_client) = (agreed.negotiated.client_to_server, agreed.negotiated.server_to_client);
        let (sending, receiving) = match self.side() {
            Side::Server => ((to_client, Letters::TO_CLIENT), (to_server, Letters::TO_SERVER)),
            Side::Client => ((to_server, Letters::TO_SERVER), (to_client, Letters::TO_CLIENT)),
        };
        let sealer = keys.derive(sending, |protection, keys| Sealer::new(protection.cipher, protection.mac, keys))?;
        let opener = keys.derive(receiving, |protection, keys| Opener::new(protection.cipher, protection.mac, keys))?;
        writer.switch(sealer, self.strict);
        self.state = State::AwaitNewKeys(Box::new(opener));
        Ok(Step::SendingResumes)
    }
}

/// The letters that set the derived keys apart (RFC 4253 §7.2).
#[derive(Clone, Copy)]
struct Letters {
    iv: u8,
    key: u8,
    mac: u8,
}

impl Letters {
    const TO_SERVER: Self = Self { iv: b'A', key: b'C', mac: b'E' };
    const TO_CLIENT: Self = Self { iv: b'B', key: b'D', mac: b'F' };
}

struct KeySource<'a> {
    kex: KexAlgorithm,
    secret: &'a SharedSecret,
    hash: &'a [u8],
    session_id: &'a [u8],
}

impl KeySource<'_> {
    fn derive<T, E>(
        &self,
        (protection, letters): (Protection, Letters),
        build: impl Fn(Protection, &CipherKeys<'_>) -> Result<T, E>,
    ) -> Result<T, Disconnect> {
        let key = |letter, len| -> Zeroizing<Vec<u8>> {
            crypto::derive_key(self.kex.hash_kind(), self.secret, self.hash, letter, self.session_id, len)
        };
        let iv = key(letters.iv, protection.cipher.iv_len());
        let cipher = key(letters.key, protection.cipher.key_len());
        let mac = key(letters.mac, protection.mac.map_or(0, |mac| mac.key_len()));
        build(protection, &CipherKeys { key: &cipher, iv: &iv, mac: &mac })
            .map_err(|_| Disconnect::new(DisconnectCode::KeyExchangeFailed, "the agreed keys do not fit their ciphers"))
    }
}

fn kex_failed(_: KexError) -> Disconnect {
    Disconnect::new(DisconnectCode::KeyExchangeFailed, "the peer's public value is not usable")
}
