//! QUIC (RFC 9000), by quinn.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use adit_core::mesh::{LinkRefused, PublicKey, Sending, Turns};
use bytes::Bytes;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBufForce, SndBufForce};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use socket2::{Domain, Protocol, Socket, Type};

use super::{KEEPALIVE, MAX_STREAMS, SILENCE};
use crate::keys::SigningKey;
use crate::stream::{self, Receiver, Sender, Written};
use crate::tls;

/// Bytes that one stream may have on the way: 100 ms at 300 Mbit/s.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes of all streams that one link may have sent and not yet seen acknowledged.
const SEND_WINDOW: u64 = 32 * 1024 * 1024;
/// Bytes that somebody may send who is not known to be a member yet: more than the first messages have.
const STRANGERS_WINDOW: u32 = 128 * 1024;
/// First packets of strangers that wait to be looked at; the next is lost, and sent again by whoever means it. Few, so that a member
/// behind a flood waits for milliseconds.
const MAX_INCOMING: usize = 256;
/// Bytes of datagrams that wait to be sent, or to be taken by whoever they are for: some milliseconds of a fast link. More are
/// lost. Strangers can fill this as well.
const DATAGRAMS: usize = 512 * 1024;
/// Of a slow link no more wait than are on the way (its congestion window), so that they are not late; but a burst of this length may.
const BURST: usize = 64 * 1024;
/// The largest packet that is taken, and looked for; each network says itself how large one may be (RFC 8899). quinn sends ten at a time as
/// one datagram of the kernel's (UDP segmentation offload), which has no more than 65,507 bytes.
const LARGEST_MTU: u16 = 6_550;
/// What the kernel may hold of datagrams that come in while we are busy; it gives less where it allows no more.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// A connection, and what its datagrams and its streams have to do with each other.
#[derive(Clone)]
pub(crate) struct Quic {
    pub(crate) connection: Connection,
    /// Bytes of datagrams for which there is room when none wait.
    most: usize,
    turns: Arc<Mutex<Turns>>,
    written: Written,
}

impl Quic {
    pub(crate) fn new(connection: Connection) -> Quic {
        let most = connection.datagram_send_buffer_space();
        Quic { connection, most, turns: Arc::default(), written: Written::default() }
    }

    /// Both halves of a stream.
    pub(super) fn stream(&self, (send, recv): (quinn::SendStream, quinn::RecvStream)) -> (Sender, Receiver) {
        stream::quic(send, self.written.clone(), recv)
    }

    /// Sends a datagram, or loses it: `false`.
    pub(super) fn send_datagram(&self, datagram: Bytes) -> bool {
        let (stats, room) = (self.connection.stats(), self.connection.datagram_send_buffer_space());
        let waiting = self.most.saturating_sub(room);
        let link = Sending { some_wait: waiting > 0, stream_frames: stats.frame_tx.stream };
        let is_our_turn = {
            let (now, mut turns) = (Instant::now(), self.turns.lock().unwrap_or_else(PoisonError::into_inner));
            if self.written.take() {
                turns.handle_written(now);
            }
            turns.admit(link, now)
        };
        let on_the_way = usize::try_from(stats.path.cwnd).unwrap_or(usize::MAX);
        let has_room = datagram.len() <= room && waiting <= on_the_way.max(BURST);
        is_our_turn && has_room && self.connection.send_datagram(datagram).is_ok()
    }
}

/// Both sides of QUIC for an agent, on one UDP socket.
pub(crate) fn endpoint(
    identity: &SigningKey,
    reset_key: &[u8; 32],
    listen: Option<SocketAddr>,
) -> io::Result<Endpoint> {
    let (client, server) = tls::configs(identity).map_err(io::Error::other)?;
    let transport = Arc::new(transport());
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).map_err(io::Error::other)?));
    server.transport_config(Arc::clone(&transport));
    server.max_incoming(MAX_INCOMING);
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).map_err(io::Error::other)?));
    client.transport_config(transport);
    // Of the key, so that a process started anew tells the peers of the one before it that their connections are gone
    // (RFC 9000 §10.3), and they need not wait for silence.
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, reset_key);
    let mut packets = EndpointConfig::new(Arc::new(key));
    packets.max_udp_payload_size(LARGEST_MTU).map_err(io::Error::other)?;
    let mut endpoint =
        Endpoint::new(packets, listen.is_some().then_some(server), socket(listen)?, Arc::new(TokioRuntime))?;
    endpoint.set_default_client_config(client);
    Ok(endpoint)
}

fn socket(listen: Option<SocketAddr>) -> io::Result<std::net::UdpSocket> {
    let bound = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // Without a fixed address, both families go through one socket.
            socket.set_only_v6(listen.is_some() && !address.ip().is_unspecified())?;
        }
        // All are wishes: the kernel's own limit (`net.core.rmem_max`) may be lower, and who may not go beyond it takes what it gives.
        if setsockopt(&socket, RcvBufForce, &SOCKET_BUFFER).is_err() {
            let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        }
        if setsockopt(&socket, SndBufForce, &SOCKET_BUFFER).is_err() {
            let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        }
        socket.bind(&address.into())?;
        io::Result::Ok(socket.into())
    };
    match listen {
        Some(address) => bound(address),
        None => bound((std::net::Ipv6Addr::UNSPECIFIED, 0).into())
            .or_else(|_| bound((std::net::Ipv4Addr::UNSPECIFIED, 0).into())),
    }
}

fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config.keep_alive_interval(Some(KEEPALIVE));
    config.max_idle_timeout(IdleTimeout::try_from(SILENCE).ok());
    config.max_concurrent_bidi_streams(VarInt::from_u32(1));
    config.max_concurrent_uni_streams(VarInt::from_u32(0));
    config.stream_receive_window(VarInt::from_u32(STREAM_WINDOW));
    config.receive_window(VarInt::from_u32(STRANGERS_WINDOW));
    config.send_window(SEND_WINDOW);
    config.datagram_send_buffer_size(DATAGRAMS);
    config.datagram_receive_buffer_size(Some(DATAGRAMS));
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(LARGEST_MTU);
    config.mtu_discovery_config(Some(mtu));
    config
}

/// From now on the other side may open as many streams as there are, and one that is not read must not hold up the others: there is no
/// bound over all of them.
pub(super) fn trust(connection: &Connection) {
    connection.set_receive_window(VarInt::MAX);
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(MAX_STREAMS));
}

pub(super) fn peer_key(connection: &Connection) -> Option<PublicKey> {
    let identity = connection.peer_identity()?;
    tls::peer_key(identity.downcast_ref::<Vec<CertificateDer<'static>>>().map(Vec::as_slice))
}

/// What the other side has said when it closed the connection.
pub(super) fn refused(error: &ConnectionError) -> Option<LinkRefused> {
    let ConnectionError::ApplicationClosed(closed) = error else { return None };
    u8::try_from(closed.error_code.into_inner()).ok().and_then(LinkRefused::from_code)
}

/// `None`: we have closed it ourselves.
pub(super) fn why_lost(error: &ConnectionError) -> Option<String> {
    (*error != ConnectionError::LocallyClosed).then(|| why_closed(error))
}

pub(super) fn why_closed(error: &ConnectionError) -> String {
    if let Some(refused) = refused(error) {
        return refused.to_string();
    }
    match error {
        ConnectionError::TimedOut => "the other agent was silent for too long".to_owned(),
        ConnectionError::Reset => "the other agent has been started anew".to_owned(),
        other => other.to_string(),
    }
}
