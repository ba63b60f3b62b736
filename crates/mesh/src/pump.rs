//! Carries a connection between its socket and its circuit: what the socket brings is sealed and sent, what the circuit brings is opened
//! and written. One side that waits holds up the other side's sender and nobody else.
//!
//! Written as `poll` functions of one task, so that both directions share a session without a lock, and storage is held only while
//! bytes are on their way. A socket that is dropped before both directions have ended as they should is reset: no client takes what
//! was cut for what is complete.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use adit_net::storage;
use socket2::SockRef;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::counters::KeyCounters;
use crate::noise::{Kind, LENGTH, MAX_DATA, MAX_SEALED, Session, Tampered};
use crate::stream::{Receiver, Sender};

/// A dead client's socket tells so after a minute or two of silence.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long a last message may take on its way out.
const LAST_WORD: Duration = Duration::from_secs(1);

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
}

impl Circuit {
    /// Sends one message that has nothing to do with a socket.
    pub(crate) async fn say(&mut self, kind: Kind, text: &str) -> io::Result<()> {
        let mut plain = [&[0], &text.as_bytes()[..text.floor_char_boundary(MAX_TEXT)]].concat();
        let mut sealed = vec![0; plain.len() + 128];
        let length = self.session.seal(kind, &mut plain, &mut sealed, Instant::now()).map_err(io::Error::other)?;
        self.send.write_all(&sealed[..length]).await
    }

    /// Waits for one.
    pub(crate) async fn hear(&mut self) -> Result<(Kind, String), Ending> {
        let message = self.recv.read_block(MAX_SEALED).await.map_err(|_| Ending::Broken)?;
        let mut plain = vec![0; message.len()];
        let (kind, length) = self.session.open(&message, &mut plain)?;
        Ok((kind, String::from_utf8_lossy(&plain[1..=length]).into_owned()))
    }
}

const MAX_TEXT: usize = 512;

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
}

impl From<Tampered> for Ending {
    fn from(_: Tampered) -> Ending {
        Ending::Tampered
    }
}

struct Pump {
    socket: TcpStream,
    circuit: Circuit,
    counters: Arc<KeyCounters>,
    up: Up,
    down: Down,
}

/// From the socket into the circuit.
#[derive(Default)]
struct Up {
    /// Sealed and not yet sent: where in its storage.
    sealed: Option<(Vec<u8>, usize, usize)>,
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

/// Carries a connection until it has ended in both directions, or is cut.
pub(crate) async fn run(socket: TcpStream, circuit: Circuit, counters: Arc<KeyCounters>) -> Ending {
    let settings = SockRef::from(&socket);
    // From here on a drop is a reset. A socket that does not take a setting is dead already, and tells so when it is read.
    let _ = settings.set_linger(Some(Duration::ZERO));
    let _ = settings.set_tcp_nodelay(true);
    let _ = settings.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4));
    let mut pump = Pump { socket, circuit, counters, up: Up::default(), down: Down::default() };
    let ending = poll_fn(|cx| pump.poll(cx)).await;
    pump.end(&ending).await;
    ending
}

impl Pump {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if !self.up.is_done
            && let Poll::Ready(Err(ending)) = self.poll_up(cx)
        {
            return Poll::Ready(ending);
        }
        if !self.down.is_done
            && let Poll::Ready(Err(ending)) = self.poll_down(cx)
        {
            return Poll::Ready(ending);
        }
        if self.up.is_done && self.down.is_done { Poll::Ready(Ending::Complete) } else { Poll::Pending }
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let Pump { socket, circuit, counters, up, .. } = self;
        loop {
            while let Some((storage, at, end)) = &mut up.sealed {
                let written = ready!(circuit.send.poll_write(cx, &storage[*at..*end])).map_err(|_| Ending::Broken)?;
                if written == 0 {
                    return Poll::Ready(Err(Ending::Broken));
                }
                *at += written;
                if at == end
                    && let Some((storage, ..)) = up.sealed.take()
                {
                    storage::give_back(storage);
                }
            }
            if up.has_ended {
                ready!(circuit.send.poll_finish(cx)).map_err(|_| Ending::Broken)?;
                up.is_done = true;
                return Poll::Ready(Ok(()));
            }
            ready!(socket.poll_read_ready(cx)).map_err(Ending::Socket)?;
            let mut storage = storage::lend_circuit();
            let (plain, sealed) = storage.split_at_mut(SEALED_AT);
            let read = match socket.try_read(&mut plain[1..]) {
                Ok(read) => read,
                Err(error) => {
                    storage::give_back(storage);
                    if error.kind() == io::ErrorKind::WouldBlock {
                        continue;
                    }
                    return Poll::Ready(Err(Ending::Socket(error)));
                }
            };
            let kind = if read == 0 { Kind::Fin } else { Kind::Data };
            let length = circuit.session.seal(kind, &mut plain[..=read], sealed, Instant::now())?;
            counters.bytes_in.add(read as u64);
            up.has_ended = read == 0;
            up.sealed = Some((storage, SEALED_AT, SEALED_AT + length));
        }
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let Pump { socket, circuit, counters, down, .. } = self;
        loop {
            let Some(storage) = &mut down.storage else {
                if down.has_ended {
                    // The other direction goes on. Where the client is gone already, reading it tells.
                    let _ = SockRef::from(&*socket).shutdown(Shutdown::Write);
                    down.is_done = true;
                    return Poll::Ready(Ok(()));
                }
                down.storage = Some(storage::lend_circuit());
                (down.came, down.opened) = ((0, 0), (OPENED_AT, OPENED_AT));
                continue;
            };
            while down.opened.0 < down.opened.1 {
                match socket.try_write(&storage[down.opened.0..down.opened.1]) {
                    Ok(written) => {
                        down.opened.0 += written;
                        counters.bytes_out.add(written as u64);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(socket.poll_write_ready(cx)).map_err(Ending::Socket)?;
                    }
                    Err(error) => return Poll::Ready(Err(Ending::Socket(error))),
                }
            }
            if down.has_ended {
                down.storage.take().into_iter().for_each(storage::give_back);
                continue;
            }
            let (came, opened) = storage.split_at_mut(OPENED_AT);
            if let Some(message) = whole_message(&came[down.came.0..down.came.1])? {
                let (kind, length) = circuit.session.open(&came[down.came.0..][LENGTH..message], opened)?;
                down.came.0 += message;
                match kind {
                    Kind::Data => down.opened = (OPENED_AT + 1, OPENED_AT + 1 + length),
                    Kind::Fin => down.has_ended = true,
                    Kind::Reset => return Poll::Ready(Err(Ending::Remote)),
                    Kind::Rekey => {}
                    Kind::Opened | Kind::Failed => return Poll::Ready(Err(Ending::Tampered)),
                }
                continue;
            }
            came.copy_within(down.came.0..down.came.1, 0);
            down.came = (0, down.came.1 - down.came.0);
            match circuit.recv.poll_read(cx, &mut came[down.came.1..]) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Ending::Broken)),
                Poll::Ready(Ok(read)) => down.came.1 += read,
                Poll::Pending => {
                    if down.came.1 == 0 {
                        down.storage.take().into_iter().for_each(storage::give_back);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Says the last word to both sides.
    async fn end(mut self, ending: &Ending) {
        match ending {
            // Both directions have ended: what is still in the socket's buffer is delivered behind our back.
            Ending::Complete => drop(SockRef::from(&self.socket).set_linger(None)),
            Ending::Socket(_) => drop(tokio::time::timeout(LAST_WORD, self.tell_reset()).await),
            Ending::Remote | Ending::Broken | Ending::Tampered => {}
        }
        for storage in self.up.sealed.take().map(|(storage, ..)| storage).into_iter().chain(self.down.storage.take()) {
            storage::give_back(storage);
        }
    }

    async fn tell_reset(&mut self) -> io::Result<()> {
        if let Some((storage, at, end)) = &self.up.sealed {
            self.circuit.send.write_all(&storage[*at..*end]).await?;
        }
        self.circuit.say(Kind::Reset, "").await?;
        self.circuit.send.finish().await
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
