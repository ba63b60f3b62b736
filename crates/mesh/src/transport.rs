//! What carries a link: a QUIC connection, or TLS over TCP with many streams on it where UDP does not pass.

pub(crate) mod quic;
pub(crate) mod tcp;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use adit_core::mesh::{LinkRefused, PublicKey};
use bytes::Bytes;

use crate::stream::{Receiver, Sender};

/// A peer is asked for a sign of life after so much silence.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(2);
/// A link whose other end was silent for so long is dead, 8 s after the last sign of life at most: QUIC counts from its own last
/// question (RFC 9000 §10.1).
pub(crate) const SILENCE: Duration = Duration::from_secs(6);
/// Streams that each side of a link may have opened at a time: connections that are forwarded over it. Few enough in tests that a story can
/// have them all.
pub(crate) const MAX_STREAMS: u32 = if cfg!(test) { 400 } else { 16_384 };

/// A connection with an agent whose key is known.
#[derive(Clone)]
pub(crate) enum Transport {
    Quic(quic::Quic),
    Tcp(tcp::Mux),
}

/// How a link is carried, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// UDP.
    Quic,
    /// TLS over TCP.
    Tcp,
}

impl Transport {
    pub(crate) fn quic(connection: quinn::Connection) -> Transport {
        Transport::Quic(quic::Quic::new(connection))
    }

    /// Opens a stream. The other side hears of it with its first bytes.
    pub(crate) async fn open(&self) -> io::Result<(Sender, Receiver)> {
        match self {
            Transport::Quic(quic) => Ok(quic.stream(quic.connection.open_bi().await?)),
            Transport::Tcp(mux) => mux.open().await,
        }
    }

    /// The other side is a member. Until then it has one stream and little room, so that strangers cannot fill our memory.
    pub(crate) fn trust(&self) {
        match self {
            Transport::Quic(quic) => quic::trust(&quic.connection),
            Transport::Tcp(mux) => mux.trust(),
        }
    }

    /// Waits for a stream that the other side opens.
    pub(crate) async fn accept(&self) -> io::Result<(Sender, Receiver)> {
        match self {
            Transport::Quic(quic) => Ok(quic.stream(quic.connection.accept_bi().await?)),
            Transport::Tcp(mux) => mux.accept().await,
        }
    }

    /// Would it take a datagram of so many bytes now?
    pub(crate) fn takes_datagram(&self, length: usize) -> bool {
        match self {
            Transport::Quic(quic) => quic.connection.max_datagram_size().is_some_and(|most| length <= most),
            Transport::Tcp(_) => false,
        }
    }

    /// Sends a datagram, which may be lost on its way. `false`: it is lost already, because too many wait, streams have their turn, or the
    /// connection has ended.
    pub(crate) fn send_datagram(&self, datagram: Bytes) -> bool {
        match self {
            Transport::Quic(quic) => quic.send_datagram(datagram),
            Transport::Tcp(_) => false,
        }
    }

    /// Waits for a datagram.
    pub(crate) async fn datagram(&self) -> io::Result<Bytes> {
        match self {
            Transport::Quic(quic) => Ok(quic.connection.read_datagram().await?),
            Transport::Tcp(_) => std::future::pending().await,
        }
    }

    /// Ends it, with all its streams.
    pub(crate) fn close(&self, why: LinkRefused) {
        match self {
            Transport::Quic(quic) => quic.connection.close(quinn::VarInt::from_u32(why.code().into()), &[]),
            Transport::Tcp(mux) => mux.close(),
        }
    }

    /// Waits until it has ended; why, as people read it.
    pub(crate) async fn closed(&self) -> String {
        match self {
            Transport::Quic(quic) => quic::why_closed(&quic.connection.closed().await),
            Transport::Tcp(mux) => mux.closed().await,
        }
    }

    /// Why it has ended, as people read it, where that was not our doing.
    pub(crate) fn why_lost(&self) -> Option<String> {
        match self {
            Transport::Quic(quic) => quic.connection.close_reason().as_ref().and_then(quic::why_lost),
            Transport::Tcp(_) => None,
        }
    }

    /// Why the other side has closed it, where it has said so.
    pub(crate) fn refused(&self) -> Option<LinkRefused> {
        match self {
            Transport::Quic(quic) => quic.connection.close_reason().as_ref().and_then(quic::refused),
            Transport::Tcp(_) => None,
        }
    }

    /// The key that the other side has proved to have.
    pub(crate) fn peer_key(&self) -> Option<PublicKey> {
        match self {
            Transport::Quic(quic) => quic::peer_key(&quic.connection),
            Transport::Tcp(mux) => mux.peer_key(),
        }
    }

    /// Where the other side is; an IPv4 address in its own form, also through a socket of both families.
    pub(crate) fn address(&self) -> SocketAddr {
        let address = match self {
            Transport::Quic(quic) => quic.connection.remote_address(),
            Transport::Tcp(mux) => mux.address(),
        };
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// How long a message takes there and back.
    pub(crate) fn rtt(&self) -> Duration {
        match self {
            Transport::Quic(quic) => quic.connection.rtt(),
            Transport::Tcp(mux) => mux.rtt(),
        }
    }

    /// The number of a question that the other side is to be sent as a sign of life, where the transport sends none of its own.
    pub(crate) fn ping(&self) -> Option<u64> {
        match self {
            Transport::Quic(_) => None,
            Transport::Tcp(mux) => Some(mux.ping()),
        }
    }

    /// The other side has answered the question of this number.
    pub(crate) fn handle_pong(&self, number: u64) {
        if let Transport::Tcp(mux) = self {
            mux.handle_pong(number);
        }
    }

    /// Does who waits for a stream wait for the end of another one?
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Transport::Quic(_) => true,
            Transport::Tcp(mux) => mux.is_full(),
        }
    }

    pub(crate) fn carrier(&self) -> Carrier {
        match self {
            Transport::Quic(_) => Carrier::Quic,
            Transport::Tcp(_) => Carrier::Tcp,
        }
    }
}
