//! Listeners for datagrams: those of one client are a flow with a circuit of its own.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adit_core::mesh::{Flow, Protocol, RoutingKey};
use adit_net::listen::Ipv6;
use bytes::Bytes;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::{PlaceTaken, Settings, open};
use crate::flow::{self, Local, MAX_DATAGRAM};
use crate::hub::Hub;

/// Datagrams of a client that wait: for its circuit, or for their turn.
const WAITING: usize = 64;
/// Whoever can send to the listener can pretend to be many; each costs a circuit.
const MAX_CLIENTS: usize = 4096;
/// Datagrams of a client whose flow has found no endpoint, or has lost it at once, are let fall for so long before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A client, and the address of ours that it sends to where the socket has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Client {
    address: SocketAddr,
    own: Option<IpAddr>,
}

/// A socket that says of each datagram where it was sent to, and sends from where it is told.
pub(super) struct Socket {
    socket: UdpSocket,
    has_all_addresses: bool,
}

impl Socket {
    pub(super) fn bind(address: SocketAddr, ipv6: Ipv6) -> io::Result<Socket> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(socket2::Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        let has_all_addresses = address.ip().is_unspecified();
        if address.is_ipv6() {
            if ipv6 == Ipv6::Only {
                socket.set_only_v6(true)?;
            }
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &has_all_addresses)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &has_all_addresses)?;
        }
        socket.bind(&address.into())?;
        Ok(Socket { socket: UdpSocket::from_std(socket.into())?, has_all_addresses })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Client)> {
        self.socket.async_io(Interest::READABLE, || self.try_receive(buffer)).await
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Client)> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo);
        let mut buffers = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let received = recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut buffers, Some(&mut control), flags)?;
        if received.flags.contains(MsgFlags::MSG_TRUNC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let own = received.cmsgs()?.find_map(|message| match message {
            // Of one that was sent to many, this is the address of ours.
            ControlMessageOwned::Ipv4PacketInfo(to) => {
                Some(IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(to.ipi_spec_dst.s_addr))))
            }
            ControlMessageOwned::Ipv6PacketInfo(to) => Some(IpAddr::V6(Ipv6Addr::from(to.ipi6_addr.s6_addr))),
            _ => None,
        });
        let own = own.filter(|own| self.has_all_addresses && !own.to_canonical().is_multicast());
        let address = received.address.as_ref().and_then(address_of).ok_or(io::ErrorKind::InvalidData)?;
        Ok((received.bytes, Client { address, own }))
    }

    async fn send(&self, client: Client, datagram: &[u8]) -> io::Result<()> {
        self.socket.async_io(Interest::WRITABLE, || self.try_send(client, datagram)).await
    }

    fn try_send(&self, client: Client, datagram: &[u8]) -> io::Result<()> {
        let (v4, v6);
        let from = match client.own {
            None => None,
            Some(IpAddr::V4(own)) => {
                let own = libc::in_addr { s_addr: own.to_bits().to_be() };
                v4 = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: own, ipi_addr: libc::in_addr { s_addr: 0 } };
                Some(ControlMessage::Ipv4PacketInfo(&v4))
            }
            Some(IpAddr::V6(own)) => {
                v6 = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: own.octets() }, ipi6_ifindex: 0 };
                Some(ControlMessage::Ipv6PacketInfo(&v6))
            }
        };
        let (to, datagram) = (SockaddrStorage::from(client.address), [IoSlice::new(datagram)]);
        sendmsg(self.socket.as_raw_fd(), &datagram, from.as_slice(), MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}

/// The clients that have a flow, and where their datagrams go.
#[derive(Default)]
struct Clients(Mutex<HashMap<Client, mpsc::Sender<Bytes>>>);

impl Clients {
    fn lock(&self) -> MutexGuard<'_, HashMap<Client, mpsc::Sender<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them; gone with its flow.
struct Present {
    clients: Arc<Clients>,
    client: Client,
    _place: PlaceTaken,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.clients.lock().remove(&self.client);
    }
}

/// Takes datagrams until it is dropped, which ends the flows of all its clients.
pub(super) async fn take(hub: Arc<Hub>, socket: Socket, settings: Arc<Settings>) {
    let (socket, clients) = (Arc::new(socket), Arc::new(Clients::default()));
    let _end_with_it = EndWithIt(&clients);
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        // What fails is one datagram, or the answer to one sent before.
        let Ok((length, client)) = socket.receive(&mut buffer).await else { continue };
        let datagram = Bytes::copy_from_slice(&buffer[..length]);
        let mut known = clients.lock();
        if let Some(flow) = known.get(&client) {
            if flow.try_send(datagram).is_err() {
                hub.counters.datagrams_lost.add(1);
            }
            continue;
        }
        let key = settings.key();
        let place = if known.len() < MAX_CLIENTS { settings.take_place() } else { None };
        let Some(place) = place else {
            hub.counters.of(&key).over_limit.add(1);
            continue;
        };
        let (put, came) = mpsc::channel(WAITING);
        // There is room for the first.
        let _ = put.try_send(datagram);
        known.insert(client, put);
        // Where the task cannot begin any more it is dropped at once, and takes its client from the map.
        drop(known);
        let present = Present { clients: Arc::clone(&clients), client, _place: place };
        let local = Waiting { socket: Arc::clone(&socket), client, came: tokio::sync::Mutex::new((came, None)) };
        let hub = Arc::clone(&hub);
        hub.tasks.clone().spawn(async move {
            serve(hub, key, local).await;
            drop(present);
        });
    }
}

/// Ends the flows of a listener that listens no more.
struct EndWithIt<'a>(&'a Clients);

impl Drop for EndWithIt<'_> {
    fn drop(&mut self) {
        self.0.lock().clear();
    }
}

/// What a client has sent and nobody has taken yet: those behind, and the next one.
struct Waiting {
    socket: Arc<Socket>,
    client: Client,
    came: tokio::sync::Mutex<(mpsc::Receiver<Bytes>, Option<Bytes>)>,
}

impl Local for Waiting {
    async fn ready(&self) -> io::Result<()> {
        let (came, next) = &mut *self.came.lock().await;
        if next.is_none() {
            *next = Some(came.recv().await.ok_or(io::ErrorKind::NotConnected)?);
        }
        Ok(())
    }

    fn take(&self, buffer: &mut [u8]) -> Option<usize> {
        let datagram = self.came.try_lock().ok()?.1.take()?;
        buffer.get_mut(..datagram.len())?.copy_from_slice(&datagram);
        Some(datagram.len())
    }

    async fn put(&self, datagram: &[u8]) {
        // One that cannot be sent is lost, as on any network.
        let _ = self.socket.send(self.client, datagram).await;
    }
}

/// Carries a client's datagrams to an endpoint, until their flow comes to its end.
async fn serve(hub: Arc<Hub>, key: RoutingKey, local: Waiting) {
    let counters = hub.counters.of(&key);
    let opened = match open::connect(&hub, (&key, Protocol::Udp), None).await {
        Ok(opened) => opened,
        Err(why) => {
            tracing::warn!(%key, %why, "datagrams reach no endpoint");
            counters.fail(&why);
            return tokio::time::sleep(PAUSE).await;
        }
    };
    counters.opened.add(1);
    counters.active.add(1);
    let clock = Some(Mutex::new(Flow::new(Instant::now())));
    let started = Instant::now();
    tokio::select! {
        () = flow::carry(opened.circuit, &local, (&counters, &hub.counters), clock) => {}
        () = opened.place.cut.cancelled() => {}
    }
    counters.active.subtract(1);
    tracing::debug!(%key, exit = %opened.exit, "a flow of datagrams ended");
    if started.elapsed() < PAUSE && !hub.ending.is_cancelled() {
        // One that is cut as soon as it is there is not opened anew by each datagram.
        tokio::time::sleep(PAUSE).await;
    }
}
