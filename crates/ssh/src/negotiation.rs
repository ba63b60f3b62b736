//! Algorithm negotiation (RFC 4253 §7.1): what each side offers in SSH_MSG_KEXINIT, and what follows from both.

use crate::crypto::{Cipher, HostKeyAlgorithm, KexAlgorithm, Mac, PublicKey};
use crate::disconnect::{Disconnect, DisconnectCode};
use crate::messages;
use crate::wire::{NameList, Reader, put_bool, put_name_list, put_u32};

/// Strict key exchange, closing the Terrapin attack (OpenSSH PROTOCOL §1.10).
const STRICT_CLIENT: &str = "kex-strict-c-v00@openssh.com";
const STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";
/// RFC 8308 §2.1.
const EXT_INFO_CLIENT: &str = "ext-info-c";

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Accepts connections.
    Server,
    /// Opens them.
    Client,
}

/// The algorithms one side offers, best first.
#[derive(Debug, Clone)]
pub struct Algorithms {
    /// Key exchange.
    pub kex: Vec<KexAlgorithm>,
    /// Ciphers, for both directions.
    pub ciphers: Vec<Cipher>,
    /// MACs, for ciphers that do not authenticate by themselves.
    pub macs: Vec<Mac>,
    /// Client: how the server may prove its host key. A server offers what its own keys can do.
    pub host_keys: Vec<HostKeyAlgorithm>,
    /// Client: whether an outside signer may log in by `ssh-rsa`, which is RSA over SHA-1, where the server names nothing
    /// better.
    pub sha1_logins: bool,
}

impl Default for Algorithms {
    fn default() -> Self {
        Self {
            kex: KexAlgorithm::ALL.to_vec(),
            ciphers: Cipher::ALL.to_vec(),
            macs: Mac::ALL.to_vec(),
            host_keys: HostKeyAlgorithm::ALL.to_vec(),
            sha1_logins: false,
        }
    }
}

impl Algorithms {
    /// Adds, behind everything else, what machines need that know nothing newer: group 14, HMAC-SHA-1 and `ssh-rsa`. SHA-1 no
    /// longer resists an attacker with means, so this is for one target at a time, by its owner's decision.
    pub fn with_old(mut self) -> Self {
        self.kex.extend(KexAlgorithm::OLD);
        self.macs.extend(Mac::OLD);
        self.host_keys.extend(HostKeyAlgorithm::OLD);
        self.sha1_logins = true;
        self
    }

    /// Asks for the types of these keys first, in their order: a server with several keys then shows one that is known, instead
    /// of one that looks like a change.
    pub fn prefer_host_keys<'k>(&mut self, known: impl IntoIterator<Item = &'k PublicKey>) {
        let rest = std::mem::take(&mut self.host_keys);
        for key in known {
            for algorithm in rest.iter().filter(|algorithm| algorithm.fits(key)) {
                if !self.host_keys.contains(algorithm) {
                    self.host_keys.push(*algorithm);
                }
            }
        }
        self.host_keys
            .extend(rest.iter().filter(|algorithm| !self.host_keys.contains(algorithm)).copied().collect::<Vec<_>>());
    }
}

/// The protection of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Protection {
    pub(crate) cipher: Cipher,
    /// None where the cipher authenticates by itself.
    pub(crate) mac: Option<Mac>,
}

/// What both sides' offers come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Negotiated {
    pub(crate) kex: KexAlgorithm,
    pub(crate) host_key: &'static str,
    pub(crate) client_to_server: Protection,
    pub(crate) server_to_client: Protection,
    /// The peer sent its first exchange packet on a guess that turned out wrong: that packet is to be dropped.
    pub(crate) wrong_guess: bool,
    pub(crate) strict: bool,
    pub(crate) wants_ext_info: bool,
}

/// Writes our SSH_MSG_KEXINIT. The markers for strict exchange and ext-info belong in the first one only.
pub(crate) fn write_kexinit(
    side: Side,
    algorithms: &Algorithms,
    host_keys: &[&'static str],
    cookie: [u8; 16],
    first: bool,
) -> Vec<u8> {
    let mut payload = Vec::with_capacity(1024);
    payload.push(messages::KEXINIT);
    payload.extend_from_slice(&cookie);
    let markers: &[&str] = match (first, side) {
        (false, _) => &[],
        (true, Side::Server) => &[STRICT_SERVER],
        (true, Side::Client) => &[EXT_INFO_CLIENT, STRICT_CLIENT],
    };
    put_name_list(&mut payload, algorithms.kex.iter().map(|kex| kex.name()).chain(markers.iter().copied()));
    put_name_list(&mut payload, host_keys.iter().copied());
    for _direction in 0..2 {
        put_name_list(&mut payload, algorithms.ciphers.iter().map(|cipher| cipher.name()));
    }
    for _direction in 0..2 {
        put_name_list(&mut payload, algorithms.macs.iter().map(|mac| mac.name()));
    }
    for _direction in 0..2 {
        put_name_list(&mut payload, ["none"]);
    }
    for _direction in 0..2 {
        put_name_list(&mut payload, []);
    }
    put_bool(&mut payload, false);
    put_u32(&mut payload, 0);
    payload
}

/// The lists of a SSH_MSG_KEXINIT.
struct KexInit<'a> {
    kex: NameList<'a>,
    host_key: NameList<'a>,
    ciphers: [NameList<'a>; 2],
    macs: [NameList<'a>; 2],
    compression: [NameList<'a>; 2],
    first_packet_follows: bool,
}

impl<'a> KexInit<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, Disconnect> {
        let mut reader = Reader::new(payload);
        reader.take(1 + 16)?;
        let kexinit = Self {
            kex: reader.name_list()?,
            host_key: reader.name_list()?,
            ciphers: [reader.name_list()?, reader.name_list()?],
            macs: [reader.name_list()?, reader.name_list()?],
            compression: [reader.name_list()?, reader.name_list()?],
            first_packet_follows: {
                reader.string()?;
                reader.string()?;
                reader.boolean()?
            },
        };
        reader.u32()?;
        Ok(kexinit)
    }
}

/// What follows from the client's and the server's SSH_MSG_KEXINIT payloads, seen from `side`: each list's first client entry
/// that the server has too.
pub(crate) fn negotiate(
    side: Side,
    client: &[u8],
    server: &[u8],
    known_host_keys: &[&'static str],
) -> Result<Negotiated, Disconnect> {
    let (client, server) = (KexInit::read(client)?, KexInit::read(server)?);
    let kex = agree(client.kex, server.kex, "key exchange method", KexAlgorithm::from_name)?;
    let host_key = agree(client.host_key, server.host_key, "host key algorithm", |name| {
        known_host_keys.iter().copied().find(|known| known.as_bytes() == name)
    })?;
    let protection = |direction: usize| {
        let cipher = agree(client.ciphers[direction], server.ciphers[direction], "cipher", Cipher::from_name)?;
        let mac = match cipher.is_aead() {
            true => None,
            false => Some(agree(client.macs[direction], server.macs[direction], "MAC", Mac::from_name)?),
        };
        agree(client.compression[direction], server.compression[direction], "compression", |name| {
            (name == b"none").then_some(())
        })?;
        Ok::<_, Disconnect>(Protection { cipher, mac })
    };
    let peer = match side {
        Side::Server => &client,
        Side::Client => &server,
    };
    let guessed_right = client.kex.iter().next() == server.kex.iter().next()
        && client.host_key.iter().next() == server.host_key.iter().next();
    Ok(Negotiated {
        kex,
        host_key,
        client_to_server: protection(0)?,
        server_to_client: protection(1)?,
        wrong_guess: peer.first_packet_follows && !guessed_right,
        strict: client.kex.contains(STRICT_CLIENT) && server.kex.contains(STRICT_SERVER),
        wants_ext_info: client.kex.contains(EXT_INFO_CLIENT),
    })
}

fn agree<T>(
    client: NameList<'_>,
    server: NameList<'_>,
    what: &str,
    known: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, Disconnect> {
    client.iter().find(|name| server.iter().any(|other| other == *name)).and_then(known).ok_or_else(|| {
        Disconnect::new(
            DisconnectCode::KeyExchangeFailed,
            format!("no common {what}: the client offers none that the server has"),
        )
    })
}
