//! Listeners for datagrams: those of one client are a flow with a circuit of its own.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adit_core::mesh::{Flow, Protocol, RoutingKey};
use adit_net::listen::Ipv6;
use bytes::Bytes;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{PlaceTaken, Settings, open};
use crate::counters::Active;
use crate::flow::{self, Local, MAX_DATAGRAM};
use crate::hub::Hub;

/// Datagrams of a client that wait: for its circuit, or for their turn.
const WAITING: usize = 64;
/// Bytes of all clients that wait. One alone may have half of it.
const WAITING_BYTES: usize = 8 * 1024 * 1024;
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
        let send = |from: &[ControlMessage<'_>]| {
            sendmsg(self.socket.as_raw_fd(), &datagram, from, MsgFlags::MSG_DONTWAIT, Some(&to))
        };
        match send(from.as_slice()) {
            // What was sent to is no address that can be answered from, as one of all hosts on a network; the kernel chooses, then.
            Err(Errno::EINVAL | Errno::ENETUNREACH | Errno::EADDRNOTAVAIL) if from.is_some() => send(&[])?,
            sent => sent?,
        };
        Ok(())
    }
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}

/// The clients that have a flow.
struct Clients(Mutex<Table>);

struct Table {
    most: usize,
    known: HashMap<Client, Known>,
    /// Those that have not shown yet that their flow goes both ways, the oldest first.
    unproven: BTreeMap<u64, Client>,
    last_number: u64,
    complained: Option<Instant>,
    /// When all were looked at for one that is silent.
    looked: Option<Instant>,
}

/// One of them. Dropped, it ends the flow and gives its place up.
struct Known {
    number: u64,
    put: mpsc::Sender<Queued>,
    flow: Arc<Mutex<Flow>>,
    _place: PlaceTaken,
    _ends_with_it: DropGuard,
}

/// A datagram that waits, and its part of what all may be together.
type Queued = (Bytes, OwnedSemaphorePermit);

impl Clients {
    fn new(most: usize) -> Clients {
        let (known, unproven) = (HashMap::new(), BTreeMap::new());
        Clients(Mutex::new(Table { most, known, unproven, last_number: 0, complained: None, looked: None }))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Is there room for another one? Who sends under many false names must not keep others out: the oldest flow goes that had time to
    /// show that it goes both ways and has not.
    fn make_room(&mut self, now: Instant) -> bool {
        self.known.len() < self.most || self.give_way(now)
    }

    /// Did a flow go?
    fn give_way(&mut self, now: Instant) -> bool {
        loop {
            let Some((number, client)) = self.unproven.pop_first() else { return self.forget_silent(now) };
            let Some(known) = self.known.get(&client) else { continue };
            if known.flow().is_proven() {
                continue;
            }
            if known.flow().keeps_its_place(now) {
                self.unproven.insert(number, client);
                return false;
            }
            return self.known.remove(&client).is_some();
        }
    }

    /// Who answers in the dark proves his flow as well, but has no reason to go on: those go that were silent for longest.
    fn forget_silent(&mut self, now: Instant) -> bool {
        if !is_due(&mut self.looked, now) {
            return false;
        }
        let before = self.known.len();
        self.known.retain(|_, known| !known.flow().is_silent(now));
        self.known.len() < before
    }

    fn insert(&mut self, client: Client, put: mpsc::Sender<Queued>, place: PlaceTaken, now: Instant) -> New {
        self.last_number += 1;
        let (number, flow, end) = (self.last_number, Arc::new(Mutex::new(Flow::new(now))), CancellationToken::new());
        let new = New { number, flow: Arc::clone(&flow), end: end.clone() };
        self.unproven.insert(number, client);
        self.known.insert(client, Known { number, put, flow, _place: place, _ends_with_it: end.drop_guard() });
        new
    }

    /// The flow of this number has ended.
    fn remove(&mut self, client: &Client, number: u64) {
        self.unproven.remove(&number);
        if self.known.get(client).is_some_and(|known| known.number == number) {
            self.known.remove(client);
        }
    }

    /// Ends all flows.
    fn clear(&mut self) {
        self.known.clear();
        self.unproven.clear();
    }

    /// Those that find nobody are many at a time; one is told of.
    fn may_complain(&mut self, now: Instant) -> bool {
        is_due(&mut self.complained, now)
    }
}

/// What is done no more often than each [`PAUSE`] is done now.
fn is_due(last: &mut Option<Instant>, now: Instant) -> bool {
    let is_due = last.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE);
    if is_due {
        *last = Some(now);
    }
    is_due
}

impl Known {
    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A flow that begins.
struct New {
    number: u64,
    flow: Arc<Mutex<Flow>>,
    end: CancellationToken,
}

/// Takes datagrams until it is dropped, which ends the flows of all its clients.
pub(super) async fn take(hub: Arc<Hub>, socket: Socket, settings: Arc<Settings>) {
    let (socket, clients) = (Arc::new(socket), Arc::new(Clients::new(MAX_CLIENTS)));
    let (room, mut keys) = (Arc::new(Semaphore::new(WAITING_BYTES)), settings.key.subscribe());
    let _end_with_it = EndWithIt(&clients);
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let received = tokio::select! {
            received = socket.receive(&mut buffer) => received,
            // All of them belong somewhere else from now on.
            Ok(()) = keys.changed() => {
                clients.lock().clear();
                continue;
            }
        };
        // What fails is one datagram, or the answer to one sent before.
        let Ok((length, client)) = received else { continue };
        let Some(queued) = queue(&room, &buffer[..length]) else {
            hub.counters.datagrams_lost.add(1);
            continue;
        };
        let mut known = clients.lock();
        if let Some(client) = known.known.get(&client) {
            if client.put.try_send(queued).is_err() {
                hub.counters.datagrams_lost.add(1);
            }
            continue;
        }
        let (key, now) = (settings.key(), Instant::now());
        // One that makes room has given its place up.
        let place = match settings.take_place() {
            Some(place) if known.make_room(now) => Some(place),
            Some(_) => None,
            None if known.give_way(now) => settings.take_place(),
            None => None,
        };
        let Some(place) = place else {
            hub.counters.of(&key).over_limit.add(1);
            continue;
        };
        let (put, came) = mpsc::channel(WAITING);
        // There is room for the first.
        let _ = put.try_send(queued);
        let New { number, flow, end } = known.insert(client, put, place, now);
        drop(known);
        let present = Present { clients: Arc::clone(&clients), client, number };
        let (hub, came) = (Arc::clone(&hub), tokio::sync::Mutex::new((came, None)));
        let local = Waiting { hub: Arc::clone(&hub), socket: Arc::clone(&socket), client, came };
        hub.tasks.clone().spawn(async move {
            end.run_until_cancelled(serve(&hub, key, local, flow, &present.clients)).await;
            drop(present);
        });
    }
}

/// Where all together have no room for it, it is lost.
fn queue(room: &Arc<Semaphore>, datagram: &[u8]) -> Option<Queued> {
    let part = Arc::clone(room).try_acquire_many_owned(u32::try_from(datagram.len()).ok()?).ok()?;
    Some((Bytes::copy_from_slice(datagram), part))
}

/// A client with a flow; gone with it.
struct Present {
    clients: Arc<Clients>,
    client: Client,
    number: u64,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.clients.lock().remove(&self.client, self.number);
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
    hub: Arc<Hub>,
    socket: Arc<Socket>,
    client: Client,
    came: tokio::sync::Mutex<(mpsc::Receiver<Queued>, Option<Bytes>)>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let (came, next) = self.came.get_mut();
        self.hub.counters.datagrams_lost.add(came.len() as u64 + u64::from(next.is_some()));
    }
}

impl Local for Waiting {
    async fn ready(&self) -> io::Result<()> {
        let (came, next) = &mut *self.came.lock().await;
        if next.is_none() {
            let (datagram, _) = came.recv().await.ok_or(io::ErrorKind::NotConnected)?;
            *next = Some(datagram);
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
async fn serve(hub: &Arc<Hub>, key: RoutingKey, local: Waiting, flow: Arc<Mutex<Flow>>, clients: &Clients) {
    let counters = hub.counters.of(&key);
    let opened = match open::connect(hub, (&key, Protocol::Udp)).await {
        Ok(opened) => opened,
        Err(why) => {
            if clients.lock().may_complain(Instant::now()) {
                tracing::warn!(%key, %why, "datagrams reach no endpoint");
            }
            counters.fail(&why);
            return tokio::time::sleep(PAUSE).await;
        }
    };
    counters.opened.add(1);
    let _counted = Active::new(&counters.active);
    let started = Instant::now();
    tokio::select! {
        () = flow::carry(opened.circuit, &local, (&counters, &hub.counters), Some(flow)) => {}
        () = opened.place.cut.cancelled() => {}
    }
    tracing::debug!(%key, exit = %opened.exit, "a flow of datagrams ended");
    if started.elapsed() < PAUSE && !hub.ending.is_cancelled() {
        // One that is cut as soon as it is there is not opened anew by each datagram.
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ListenAddress, ListenerConfig};
    use adit_core::mesh::{SILENT, UNPROVEN};

    fn client(number: u16) -> Client {
        Client { address: SocketAddr::from(([127, 0, 0, 1], number)), own: None }
    }

    /// A listener with two clients, and what takes a place at it.
    fn full(now: Instant) -> (Clients, [New; 2], impl Fn(&mut Table, u16, Instant) -> New) {
        let address = ListenAddress::At(([127, 0, 0, 1], 0).into());
        let key: RoutingKey = "dns".parse().unwrap();
        let settings =
            Arc::new(Settings::new(&ListenerConfig { key, protocol: Protocol::Udp, address, max_connections: 3 }));
        let add = move |table: &mut Table, number, now| {
            table.insert(client(number), mpsc::channel(1).0, settings.take_place().unwrap(), now)
        };
        let clients = Clients::new(2);
        let both = [1, 2].map(|number| add(&mut clients.lock(), number, now));
        (clients, both, add)
    }

    fn prove(new: &New, now: Instant) {
        let mut flow = new.flow.lock().unwrap();
        flow.handle_answered(now);
        flow.handle_sent(now);
    }

    #[test]
    fn the_oldest_flow_without_an_answer_makes_room_and_one_that_is_used_does_not() {
        let start = Instant::now();
        let later = start + UNPROVEN;
        let (clients, [first, second], add) = full(start);
        let mut table = clients.lock();
        assert!(!table.make_room(start), "each has a moment");
        assert!(table.make_room(later) && first.end.is_cancelled() && !second.end.is_cancelled());
        let third = add(&mut table, 3, later);
        prove(&second, later);
        prove(&third, later);
        assert!(!table.make_room(later + SILENT / 2), "both are used");
        // The one that ended has no say in who has its place now.
        let again = add(&mut table, 1, later);
        table.remove(&client(1), first.number);
        assert!(table.known.contains_key(&client(1)) && !again.end.is_cancelled());
        table.remove(&client(1), again.number);
        assert!(again.end.is_cancelled() && table.unproven.is_empty());
        assert!(table.make_room(later + SILENT), "neither is any more");
        assert!(second.end.is_cancelled() && third.end.is_cancelled());
        // Every place was given up: another three are there.
        for number in 4..7 {
            add(&mut table, number, later);
        }
    }

    #[test]
    fn one_complaint_a_second_is_enough() {
        let (start, clients) = (Instant::now(), Clients::new(1));
        let mut table = clients.lock();
        assert!(
            table.may_complain(start) && !table.may_complain(start + PAUSE / 2) && table.may_complain(start + PAUSE)
        );
    }

    #[test]
    fn all_that_waits_is_bounded() {
        let room = Arc::new(Semaphore::new(1000));
        let held: Vec<_> = (0..3).map(|_| queue(&room, &[0; 300])).collect();
        assert!(held.iter().all(Option::is_some) && queue(&room, &[0; 300]).is_none() && queue(&room, &[]).is_some());
        drop(held);
        assert!(queue(&room, &[0; 1000]).is_some());
    }
}
