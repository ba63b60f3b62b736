//! Carries a connection between its socket and its circuit: what the socket brings is sealed and sent, what the circuit brings is opened
//! and written. One side that waits holds up the other side's sender and nobody else.
//!
//! Written as `poll` functions of one task, so that both directions share a session without a lock, and storage is held only while
//! bytes are on their way. A socket that is dropped before both directions have ended as they should is reset: no client takes what
//! was cut for what is complete.
//!
//! A direction ends with a message. The streams below end when both directions have, so that a socket that is reset after its own end
//! can still be told of.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use adit_core::mesh::{NextSent, RETAINED, Retained, Taken};
use adit_net::storage;
use socket2::SockRef;
use thiserror::Error;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::counters::KeyCounters;
use crate::lane::Lane;
use crate::noise::{Kind, LENGTH, MAX_DATA, MAX_SEALED, Session, Tampered};
use crate::stall::Stall;
use crate::stream::{Receiver, Sender};
use crate::turn::Turn;

/// A dead client's socket tells so after a minute or two of silence.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long a last message may take on its way out.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A connection whose circuit broke waits so long for another one: the mesh has noticed and found another way in much less.
pub(crate) const RESUME_TIME: Duration = Duration::from_secs(30);

/// In lent storage, what is read from a socket stands first and what is sealed of it behind.
const SEALED_AT: usize = 1 + MAX_DATA;
/// In lent storage, what has come sealed stands first and what is opened of it behind.
const OPENED_AT: usize = storage::CIRCUIT_SIZE - MAX_DATA - 32;
const _: () = assert!(SEALED_AT + MAX_SEALED + 64 <= storage::CIRCUIT_SIZE, "a message and one of new keys fit");
const _: () = assert!(OPENED_AT > MAX_SEALED, "a whole message fits");

/// A circuit whose two ends have proved to each other who they are.
pub(crate) struct Circuit {
    pub(crate) send: Sender,
    pub(crate) recv: Receiver,
    pub(crate) session: Session,
    /// Of a circuit for datagrams, where the link has any.
    pub(crate) lane: Option<Lane>,
}

impl Circuit {
    /// Sends one message that has nothing to do with a socket.
    pub(crate) async fn say(&mut self, kind: Kind, content: &[u8]) -> io::Result<()> {
        let mut plain = [&[0], &content[..content.len().min(MAX_CONTENT)]].concat();
        let mut sealed = vec![0; plain.len() + 128];
        let length = self.session.seal(kind, &mut plain, &mut sealed, Instant::now()).map_err(io::Error::other)?;
        self.send.write_all(&sealed[..length]).await
    }

    /// After its end, waits until all that was sent has come to the next agent: a link that is closed before lets it fall. Ends with the
    /// link, where that breaks.
    pub(crate) async fn arrived(mut self) {
        self.send.arrived().await;
    }

    /// Waits for one.
    pub(crate) async fn hear(&mut self) -> Result<(Kind, Vec<u8>), Ending> {
        let message = self.recv.read_block(MAX_SEALED).await.map_err(|_| Ending::Broken)?;
        let mut plain = vec![0; message.len()];
        let (kind, length) = self.session.open(&message, &mut plain)?;
        Ok((kind, plain[1..=length].to_vec()))
    }
}

const MAX_CONTENT: usize = 512;

/// How a connection ended.
#[derive(Debug, Error)]
pub(crate) enum Ending {
    #[error("both directions came to their end")]
    Complete,
    #[error("the socket here failed: {0}")]
    Socket(io::Error),
    #[error("the socket at the other end was reset")]
    Remote,
    #[error("the circuit broke: a link, or an agent between")]
    Broken,
    #[error("something in the circuit was not what its sender had sealed")]
    Tampered,
    #[error("it was cut here: by a revocation, because this agent ends, or because too many stand still")]
    Cut,
}

impl From<Tampered> for Ending {
    fn from(_: Tampered) -> Ending {
        Ending::Tampered
    }
}

/// A connection at one of its ends, over whichever circuit.
pub(crate) struct Carried {
    socket: Arc<TcpStream>,
    /// Of a socket that has come to its end and is read no more: when it is reset.
    fault: Option<Pin<Box<dyn Future<Output = io::Error> + Send>>>,
    counters: Arc<KeyCounters>,
    stall: Arc<Stall>,
    up: Up,
    down: Down,
    resume: Option<Resume>,
}

/// From the socket into the circuit.
#[derive(Default)]
struct Up {
    /// Sealed and not yet sent: where in its storage.
    sealed: Option<(Vec<u8>, usize, usize)>,
    /// What the socket brought has an end, which is sealed or sent.
    has_ended: bool,
    is_done: bool,
}

/// From the circuit to the socket.
#[derive(Default)]
struct Down {
    storage: Option<Vec<u8>>,
    /// What has come and is not opened yet.
    came: (usize, usize),
    /// What is opened and not written yet.
    opened: (usize, usize),
    has_ended: bool,
    is_done: bool,
}

/// Of a connection that can go on over another circuit: what the other side may lack, and what it may not know that we have.
#[derive(Default)]
struct Resume {
    retained: Retained,
    /// What the socket has taken.
    taken: Taken,
    /// What has come and the socket has not taken. The circuit is always listened to, because acknowledgements stand behind data in it;
    /// the other side sends no more than [`RETAINED`] that is not acknowledged, so this has room.
    backlog: VecDeque<u8>,
}

impl Carried {
    /// A connection whose circuit is there; `can_resume`: both ends keep what it takes to go on over another one. `stall` hears whether
    /// the socket takes what comes.
    pub(crate) fn new(socket: TcpStream, counters: Arc<KeyCounters>, stall: Arc<Stall>, can_resume: bool) -> Carried {
        let settings = SockRef::from(&socket);
        // From here on a drop is a reset. A socket that does not take a setting is dead already, and tells so when it is read.
        let _ = settings.set_linger(Some(Duration::ZERO));
        let _ = settings.set_tcp_nodelay(true);
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
        let _ = settings.set_tcp_keepalive(&keepalive);
        let (socket, resume) = (Arc::new(socket), can_resume.then(Resume::default));
        Carried { socket, fault: None, counters, stall, up: Up::default(), down: Down::default(), resume }
    }

    /// Carries until both directions have ended, or something breaks. Dropped while it waits, it has lost nothing.
    pub(crate) async fn run(&mut self, circuit: &mut Circuit) -> Ending {
        poll_fn(|cx| self.poll(circuit, cx)).await
    }

    /// The position before which this end has everything, where the connection can go on over another circuit.
    pub(crate) fn taken(&self) -> Option<u64> {
        self.resume.as_ref().map(|resume| resume.taken.position())
    }

    /// Goes on over another circuit, on which nothing was said yet; the other end has everything before `position`.
    pub(crate) fn go_on(&mut self, position: u64) -> Result<(), Ending> {
        let resume = self.resume.as_mut().ok_or(Ending::Broken)?;
        resume.retained.resume_at(position).map_err(|_| Ending::Tampered)?;
        resume.taken.handle_said();
        self.up.sealed.take().into_iter().for_each(|(storage, ..)| storage::give_back(storage));
        // What the socket had not taken is sent anew, the end included.
        resume.backlog = VecDeque::new();
        self.up.is_done = resume.retained.is_done();
        self.down.storage.take().into_iter().for_each(storage::give_back);
        self.down.has_ended = self.down.is_done;
        Ok(())
    }

    fn poll(&mut self, circuit: &mut Circuit, cx: &mut Context<'_>) -> Poll<Ending> {
        // First what comes: an acknowledgement makes room for what goes.
        if let Poll::Ready(Err(ending)) = self.poll_down(circuit, cx) {
            return Poll::Ready(ending);
        }
        if (!self.up.is_done || self.resume.is_some())
            && let Poll::Ready(Err(ending)) = self.poll_up(circuit, cx)
        {
            return Poll::Ready(ending);
        }
        if self.up.has_ended && !self.down.is_done {
            let fault = self.fault.get_or_insert_with(|| Box::pin(fault(Arc::clone(&self.socket))));
            return fault.as_mut().poll(cx).map(Ending::Socket);
        }
        if !self.up.is_done || !self.down.is_done || self.up.sealed.is_some() {
            return Poll::Pending;
        }
        // Nobody may be left to hear it, and both have all of it.
        let _ = ready!(circuit.send.poll_finish(cx));
        Poll::Ready(Ending::Complete)
    }

    fn poll_up(&mut self, circuit: &mut Circuit, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let mut turn = Turn::new();
        loop {
            while let Some((storage, at, end)) = &mut self.up.sealed {
                let sent = circuit.send.poll_write(cx, &storage[*at..*end]);
                let written = ready!(sent).map_err(|_| Ending::Broken)?;
                if written == 0 {
                    return Poll::Ready(Err(Ending::Broken));
                }
                turn.spend(written);
                *at += written;
                if at == end
                    && let Some((storage, ..)) = self.up.sealed.take()
                {
                    storage::give_back(storage);
                }
            }
            // The end has been sent. Not even the turn's own comes between: the other side ends the circuit once it has both.
            if self.up.has_ended && self.resume.is_none() {
                self.up.is_done = true;
                return Poll::Ready(Ok(()));
            }
            ready!(turn.poll(cx));
            let sealed = match &mut self.resume {
                None => ready!(self.seal_read(circuit, cx))?,
                Some(_) => ready!(self.seal_retained(circuit, cx))?,
            };
            self.up.sealed = sealed;
        }
    }

    /// Seals what the socket brings. `None`: it turned out to bring nothing yet.
    fn seal_read(&mut self, circuit: &mut Circuit, cx: &mut Context<'_>) -> Poll<Result<Option<Sealed>, Ending>> {
        ready!(self.socket.poll_read_ready(cx)).map_err(Ending::Socket)?;
        let mut storage = storage::lend_circuit();
        let (plain, sealed) = storage.split_at_mut(SEALED_AT);
        let Some(read) = read_some(&self.socket, &mut plain[1..])? else {
            storage::give_back(storage);
            return Poll::Ready(Ok(None));
        };
        let kind = if read == 0 { Kind::Fin } else { Kind::Data };
        let length = circuit.session.seal(kind, &mut plain[..=read], sealed, Instant::now())?;
        self.counters.bytes_in.add(read as u64);
        self.up.has_ended = read == 0;
        Poll::Ready(Ok(Some((storage, SEALED_AT, SEALED_AT + length))))
    }

    /// The same of a connection that can go on: through what is retained, and with what the other side is to know that we have.
    fn seal_retained(&mut self, circuit: &mut Circuit, cx: &mut Context<'_>) -> Poll<Result<Option<Sealed>, Ending>> {
        let Some(resume) = &mut self.resume else { return Poll::Ready(Ok(None)) };
        let mut storage = storage::lend_circuit();
        let (plain, sealed) = storage.split_at_mut(SEALED_AT);
        // Who has ended waits for the last acknowledgement alone.
        let message = match resume.taken.poll_acknowledgement(self.down.is_done) {
            Some(position) => {
                plain[1..9].copy_from_slice(&position.to_be_bytes());
                Some((Kind::Taken, 8))
            }
            None => resume.retained.take_next(&mut plain[1..]).map(|next| match next {
                NextSent::Bytes(count) => (Kind::Data, count),
                NextSent::End => (Kind::Fin, 0),
            }),
        };
        if let Some((kind, count)) = message {
            let length = circuit.session.seal(kind, &mut plain[..=count], sealed, Instant::now())?;
            return Poll::Ready(Ok(Some((storage, SEALED_AT, SEALED_AT + length))));
        }
        let read = match resume.retained.room() {
            // An acknowledgement comes from the circuit, which is listened to.
            0 => Poll::Pending,
            _ if resume.retained.has_ended() => Poll::Pending,
            room => match self.socket.poll_read_ready(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(Ending::Socket(error))),
                Poll::Ready(Ok(())) => {
                    let most = room.min(MAX_DATA);
                    let read = read_some(&self.socket, &mut plain[1..=most]);
                    if let Ok(Some(read)) = &read {
                        self.counters.bytes_in.add(*read as u64);
                        resume.retained.push(&plain[1..=*read]);
                        if *read == 0 {
                            resume.retained.end();
                            self.up.has_ended = true;
                        }
                    }
                    Poll::Ready(read.map(drop))
                }
            },
        };
        storage::give_back(storage);
        read.map_ok(|()| None)
    }

    fn poll_down(&mut self, circuit: &mut Circuit, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let (mut opens, mut writes) = (Turn::new(), Turn::new());
        loop {
            if self.poll_opened(&mut writes, cx)?.is_pending() && self.resume.is_none() {
                return Poll::Pending;
            }
            if self.down.is_done && self.up.is_done {
                self.down.storage.take().into_iter().for_each(storage::give_back);
                return Poll::Ready(Ok(()));
            }
            ready!(opens.poll(cx));
            let storage = self.down.storage.get_or_insert_with(|| {
                (self.down.came, self.down.opened) = ((0, 0), (OPENED_AT, OPENED_AT));
                storage::lend_circuit()
            });
            let (came, opened) = storage.split_at_mut(OPENED_AT);
            let (start, end) = self.down.came;
            if let Some(message) = whole_message(&came[start..end])? {
                let (kind, length) = circuit.session.open(&came[start..][LENGTH..message], opened)?;
                opens.spend(message);
                self.down.came.0 += message;
                self.handle_message(kind, length)?;
                continue;
            }
            came.copy_within(start..end, 0);
            self.down.came = (0, end - start);
            match circuit.recv.poll_read(cx, &mut came[end - start..]) {
                // An honest end below, before the one inside: somebody between has made it.
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Ending::Tampered)),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Ending::Broken)),
                Poll::Ready(Ok(read)) => self.down.came.1 += read,
                Poll::Pending => {
                    if self.down.came.1 == 0 {
                        self.down.storage.take().into_iter().for_each(storage::give_back);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn handle_message(&mut self, kind: Kind, length: usize) -> Result<(), Ending> {
        let bytes = OPENED_AT + 1..OPENED_AT + 1 + length;
        match (kind, &mut self.resume) {
            (Kind::Data | Kind::Fin, _) if self.down.has_ended => return Err(Ending::Tampered),
            (Kind::Data, None) => self.down.opened = (bytes.start, bytes.end),
            (Kind::Data, Some(resume)) => {
                let opened = self.down.storage.as_ref().and_then(|storage| storage.get(bytes));
                resume.backlog.extend(opened.ok_or(Ending::Tampered)?);
                if resume.backlog.len() > RETAINED {
                    return Err(Ending::Tampered);
                }
            }
            (Kind::Fin, _) => self.down.has_ended = true,
            (Kind::Reset, _) => return Err(Ending::Remote),
            (Kind::Rekey, _) => {}
            (Kind::Taken, Some(_)) => self.handle_taken(bytes)?,
            (Kind::Taken, None) | (Kind::Opened | Kind::Failed, _) => return Err(Ending::Tampered),
        }
        Ok(())
    }

    /// Writes what is opened; ready when all of it is written, and the end told behind it.
    fn poll_opened(&mut self, turn: &mut Turn, cx: &mut Context<'_>) -> Result<Poll<()>, Ending> {
        loop {
            let from_circuit =
                self.down.storage.as_ref().map(|storage| &storage[self.down.opened.0..self.down.opened.1]);
            let bytes = match &self.resume {
                Some(resume) => resume.backlog.as_slices().0,
                None => from_circuit.unwrap_or_default(),
            };
            if bytes.is_empty() {
                break;
            }
            if turn.poll(cx).is_pending() {
                return Ok(Poll::Pending);
            }
            // A backlog is longer.
            match self.socket.try_write(&bytes[..bytes.len().min(MAX_DATA)]) {
                Ok(written) => {
                    turn.spend(written);
                    self.stall.handle_taken();
                    self.counters.bytes_out.add(written as u64);
                    match &mut self.resume {
                        None => self.down.opened.0 += written,
                        Some(resume) => {
                            resume.backlog.drain(..written);
                            resume.taken.take(written as u64);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.socket.poll_write_ready(cx) {
                    Poll::Ready(ready) => ready.map_err(Ending::Socket)?,
                    Poll::Pending => {
                        self.stall.handle_full();
                        return Ok(Poll::Pending);
                    }
                },
                Err(error) => return Err(Ending::Socket(error)),
            }
        }
        if self.down.has_ended && !self.down.is_done {
            // The other direction goes on. Where the client is gone already, reading it tells.
            let _ = SockRef::from(&self.socket).shutdown(Shutdown::Write);
            self.down.is_done = true;
            if let Some(resume) = &mut self.resume {
                resume.taken.take(1);
                resume.backlog = VecDeque::new();
            }
        }
        Ok(Poll::Ready(()))
    }

    /// The other end says what it has.
    fn handle_taken(&mut self, bytes: Range<usize>) -> Result<(), Ending> {
        let said = self.down.storage.as_ref().and_then(|storage| storage.get(bytes)?.try_into().ok());
        let position = u64::from_be_bytes(said.ok_or(Ending::Tampered)?);
        let resume = self.resume.as_mut().ok_or(Ending::Tampered)?;
        resume.retained.handle_acknowledged(position).map_err(|_| Ending::Tampered)?;
        self.up.is_done = resume.retained.is_done();
        Ok(())
    }

    /// Says the last word to both sides.
    pub(crate) async fn end(mut self, ending: &Ending, circuit: &mut Circuit) {
        match ending {
            // Both directions have ended: what is still in the socket's buffer is delivered behind our back.
            Ending::Complete => drop(SockRef::from(&*self.socket).set_linger(None)),
            Ending::Socket(_) => drop(tokio::time::timeout(LAST_WORD, self.tell_reset(circuit)).await),
            // All has come, and all was sent: what is not known is whether the end of it was heard.
            Ending::Broken if self.resume.is_some() && self.down.is_done && self.up.has_ended => {
                drop(SockRef::from(&*self.socket).set_linger(None));
            }
            Ending::Remote | Ending::Broken | Ending::Tampered | Ending::Cut => {}
        }
        for storage in self.up.sealed.take().map(|(storage, ..)| storage).into_iter().chain(self.down.storage.take()) {
            storage::give_back(storage);
        }
    }

    async fn tell_reset(&mut self, circuit: &mut Circuit) -> io::Result<()> {
        if let Some((storage, at, end)) = &self.up.sealed {
            circuit.send.write_all(&storage[*at..*end]).await?;
        }
        circuit.say(Kind::Reset, &[]).await?;
        circuit.send.finish().await
    }
}

/// Waits until a socket is reset, or is dead.
async fn fault(socket: Arc<TcpStream>) -> io::Error {
    match socket.ready(Interest::ERROR).await {
        Ok(_) => socket.take_error().ok().flatten().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()),
        Err(error) => error,
    }
}

/// What is sealed and not yet sent: where in its storage.
type Sealed = (Vec<u8>, usize, usize);

/// Reads what a socket has; `None` where it has nothing yet.
fn read_some(socket: &TcpStream, buffer: &mut [u8]) -> Result<Option<usize>, Ending> {
    match socket.try_read(buffer) {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(Ending::Socket(error)),
    }
}

/// How long the message at the front is with its length, once all of it is there.
fn whole_message(came: &[u8]) -> Result<Option<usize>, Ending> {
    let Some(length) = came.first_chunk::<LENGTH>() else { return Ok(None) };
    let whole = LENGTH + usize::from(u16::from_be_bytes(*length));
    if whole > MAX_SEALED {
        return Err(Ending::Tampered);
    }
    Ok((came.len() >= whole).then_some(whole))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::task::Waker;

    use tokio::io::{AsyncWriteExt, DuplexStream};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::noise::tests::sessions;
    use crate::stall::Stalls;
    use crate::stream;
    use crate::turn::TURN;

    const MUCH: usize = 2 * 1024 * 1024;
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A connection between a client's socket and a circuit, and the other end of that.
    struct Stage {
        carried: Carried,
        counters: Arc<KeyCounters>,
        circuit: Circuit,
        theirs: (DuplexStream, Session),
    }

    impl Stage {
        async fn set(can_resume: bool) -> (Stage, TcpStream) {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // More than a turn has room in the socket, and not nearly all there is.
            SockRef::from(&listener).set_recv_buffer_size(MUCH).unwrap();
            SockRef::from(&listener).set_send_buffer_size(MUCH / 4).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            let counters = Arc::<KeyCounters>::default();
            let stall = Stalls::new(Instant::now()).add(&CancellationToken::new());
            let carried = Carried::new(socket, Arc::clone(&counters), stall, can_resume);
            let (session, their_session) = sessions();
            let (ours, theirs) = tokio::io::duplex(2 * MUCH);
            let (send, recv) = stream::other(ours);
            let circuit = Circuit { send, recv, session, lane: None };
            (Stage { carried, counters, circuit, theirs: (theirs, their_session) }, client)
        }

        /// The other end sends a message.
        async fn send(&mut self, kind: Kind, length: usize) {
            let (mut plain, mut sealed) = (vec![7; 1 + length], vec![0; 2 * MAX_SEALED]);
            let length = self.theirs.1.seal(kind, &mut plain, &mut sealed, Instant::now()).unwrap();
            self.theirs.0.write_all(&sealed[..length]).await.unwrap();
        }

        fn poll(&mut self) -> Poll<Ending> {
            self.carried.poll(&mut self.circuit, &mut Context::from_waker(Waker::noop()))
        }

        /// What the socket has taken, and what has been opened.
        fn carried_down(&self) -> [u64; 2] {
            let out = self.counters.bytes_out.get();
            let backlog = self.carried.resume.as_ref().map_or(0, |resume| resume.backlog.len());
            [out, out + backlog as u64]
        }

        /// Polls once; whichever of both was more.
        fn poll_down(&mut self) -> u64 {
            let before = self.carried_down();
            assert!(self.poll().is_pending());
            let after = self.carried_down();
            (after[0] - before[0]).max(after[1] - before[1])
        }
    }

    /// Waits for what has to come soon; whoever is at the other end has a turn first.
    async fn within<T>(waits: impl Future<Output = T>) -> T {
        tokio::task::yield_now().await;
        tokio::time::timeout(PATIENCE, waits).await.expect("it comes soon")
    }

    #[track_caller]
    fn assert_turns(at_a_time: &[u64]) {
        assert!(at_a_time.iter().all(|bytes| *bytes <= (TURN + MAX_DATA) as u64), "{at_a_time:?}");
    }

    #[tokio::test]
    async fn who_brings_much_lets_others_have_their_turn() {
        let (mut stage, mut client) = Stage::set(false).await;
        // As much of it as there is room for stands in the socket when it is read first.
        while client.try_write(&[7; MAX_DATA]).is_ok() {}
        let writes = tokio::spawn(async move { client.write_all(&vec![7; MUCH]).await });
        let (counters, mut at_a_time) = (Arc::clone(&stage.counters), Vec::new());
        while counters.bytes_in.get() < MUCH as u64 {
            within(stage.carried.socket.readable()).await.unwrap();
            let before = counters.bytes_in.get();
            assert!(stage.poll().is_pending());
            at_a_time.push(counters.bytes_in.get() - before);
        }
        assert_turns(&at_a_time);
        writes.abort();
    }

    #[tokio::test]
    async fn whom_much_has_come_for_lets_others_have_their_turn() {
        for can_resume in [false, true] {
            let (mut stage, client) = Stage::set(can_resume).await;
            for _ in 0..MUCH / MAX_DATA {
                stage.send(Kind::Data, MAX_DATA).await;
            }
            // Nobody reads yet: what finds no room in the socket waits, in the circuit or behind it.
            let mut at_a_time: Vec<u64> = (0..2 * MUCH / TURN).map(|_| stage.poll_down()).collect();
            // Then all that is there is read at once, again and again.
            let (mut read, mut room) = (0, vec![0; MUCH]);
            while read < MUCH {
                let socket = &stage.carried.socket;
                let either = async {
                    tokio::select! { ready = client.readable() => ready, ready = socket.writable() => ready }
                };
                within(either).await.unwrap();
                while let Ok(count @ 1..) = client.try_read(&mut room) {
                    read += count;
                }
                at_a_time.push(stage.poll_down());
            }
            assert_turns(&at_a_time);
        }
    }

    /// Whoever has sent and heard both ends closes the circuit, so there is nothing more to read of it.
    #[tokio::test]
    async fn an_end_that_is_the_last_of_a_turn_is_an_end() {
        let (mut stage, mut client) = Stage::set(false).await;
        stage.send(Kind::Fin, 0).await;
        assert!(stage.poll().is_pending());
        let bytes = TURN - 2048;
        within(client.write_all(&vec![7; bytes])).await.unwrap();
        client.shutdown().await.unwrap();
        let all_came = async {
            while !stage.carried.socket.ready(Interest::READABLE).await.unwrap().is_read_closed() {
                // What is ready says so at once, also while the rest is still to come.
                tokio::task::yield_now().await;
            }
        };
        within(all_came).await;
        let ending = stage.poll();
        assert_eq!(stage.counters.bytes_in.get(), bytes as u64, "all of it in one turn");
        stage.theirs.0.shutdown().await.unwrap();
        let ending = if ending.is_pending() { stage.poll() } else { ending };
        assert!(matches!(ending, Poll::Ready(Ending::Complete)), "{ending:?}");
    }
}
