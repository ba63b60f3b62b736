//! The engine's client as the far end of a tunnel, with the service inside it: what the server costs can so be told apart from what
//! OpenSSH's client costs, which looks at each of its channels at each turn.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use adit_ssh::{ChannelId, ClientConfig, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::engine::Session;
use crate::failure::{Doing, Failure};
use crate::server::Server;
use crate::service::{CHUNK, MESSAGE, Request};

/// Storage of each direction's buffer.
const STORAGE: usize = 1 << 20;
/// What is sent.
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// A session whose forwarded connections are answered by a thread.
pub(crate) struct FarEnd {
    port: u16,
    stream: TcpStream,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

impl FarEnd {
    /// Logs in, opens a forward, and serves it.
    pub(crate) fn start(server: &Server, config: &Arc<ClientConfig>) -> Result<Self, Failure> {
        let mut session = Session::login(server.ssh(), config)?;
        let port = session.forward()?;
        let stream = session.stream.try_clone().doing("share a socket")?;
        let thread = thread::spawn(move || {
            let served = serve(session);
            if let Err(failure) = &served {
                eprintln!("the far end failed: {failure}");
            }
            served
        });
        Ok(Self { port, stream, thread: Some(thread) })
    }

    /// The forwarded port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        // The server may have closed it already; either way the thread reads the end.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What is done on one channel.
enum Duty {
    /// The request is not whole yet.
    Unknown(Vec<u8>),
    Download {
        left: u64,
    },
    Upload {
        came: u64,
    },
    Echo {
        waiting: Vec<u8>,
    },
    Reply {
        wanted: usize,
    },
}

/// The channels of a session, and which of them have something to send.
#[derive(Default)]
struct Duties {
    all: HashMap<ChannelId, Duty>,
    /// Those that have more to send; the others cost nothing.
    senders: Vec<ChannelId>,
}

fn serve(mut session: Session) -> Result<(), Failure> {
    session.stream.set_nonblocking(true).doing("make a socket non-blocking")?;
    session.input.lend(vec![0; STORAGE]);
    session.connection.output_buffer().lend(vec![0; STORAGE]);
    let mut duties = Duties::default();
    loop {
        while let Some(event) =
            session.connection.receive(&mut session.input, Instant::now()).doing("serve a channel")?
        {
            duties.handle(event, &mut session).doing("serve a channel")?;
        }
        duties.send(&mut session).doing("serve a channel")?;
        let wrote = write_some(&mut session).doing("write to the server")?;
        let read = match read_some(&mut session) {
            Ok(Some(0)) | Err(_) => return Ok(()),
            Ok(read) => read.is_some(),
        };
        if !wrote && !read {
            let blocked = !session.connection.output().is_empty();
            let flags = if blocked { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let until = session.connection.poll_timeout();
            let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
            let wait = wait.map(Timespec::try_from).transpose().doing("wait for the server")?;
            poll(&mut [PollFd::new(&session.stream, flags)], wait.as_ref()).doing("wait for the server")?;
            session.connection.handle_timeout(Instant::now()).doing("serve a channel")?;
        }
    }
}

fn write_some(session: &mut Session) -> io::Result<bool> {
    if session.connection.output().is_empty() {
        return Ok(false);
    }
    match session.stream.write(session.connection.output()) {
        Ok(count) => {
            session.connection.sent(count);
            Ok(count > 0)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        // Reading tells the end, after what is still to be read.
        Err(_) => Ok(false),
    }
}

/// `None`: nothing is there. `Some(0)`: nothing will be.
fn read_some(session: &mut Session) -> io::Result<Option<usize>> {
    let wanted = session.connection.wanted();
    match session.stream.read(session.input.spare(wanted.max(1))) {
        Ok(count) => {
            session.input.filled(count);
            Ok(Some(count))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Duties {
    fn handle(&mut self, event: Event, session: &mut Session) -> Result<(), adit_ssh::Disconnect> {
        match event {
            Event::ForwardedConnection { channel, .. } => {
                self.all.insert(channel, Duty::Unknown(Vec::with_capacity(Request::LEN)));
                session.connection.accept(channel)
            }
            Event::Data { channel, payload } => {
                self.take(channel, session.input.payload(&payload));
                session.connection.credit(channel, payload.len())
            }
            Event::Eof(channel) => match self.all.get(&channel) {
                Some(Duty::Upload { came }) => {
                    session.connection.send_data(channel, &came.to_be_bytes(), Instant::now())?;
                    session.connection.send_eof(channel)?;
                    session.connection.close(channel)
                }
                _ => session.connection.close(channel),
            },
            Event::Closed(channel) => {
                self.all.remove(&channel);
                self.senders.retain(|sender| *sender != channel);
                session.connection.release(channel)
            }
            _ => Ok(()),
        }
    }

    /// Takes bytes of a visitor.
    fn take(&mut self, channel: ChannelId, mut bytes: &[u8]) {
        let Some(duty) = self.all.get_mut(&channel) else { return };
        if let Duty::Unknown(header) = duty {
            let (head, rest) = bytes.split_at(bytes.len().min(Request::LEN - header.len()));
            header.extend_from_slice(head);
            bytes = rest;
            let Ok(whole) = <[u8; Request::LEN]>::try_from(header.as_slice()) else { return };
            *duty = match Request::decode(whole) {
                Some(Request::Download(left)) => Duty::Download { left },
                Some(Request::Upload) => Duty::Upload { came: 0 },
                Some(Request::Reply) => Duty::Reply { wanted: MESSAGE },
                Some(Request::Echo) | None => Duty::Echo { waiting: Vec::new() },
            };
        }
        let sends = match duty {
            Duty::Unknown(_) => false,
            Duty::Download { .. } => true,
            Duty::Upload { came } => {
                *came += bytes.len() as u64;
                false
            }
            Duty::Echo { waiting } => {
                waiting.extend_from_slice(bytes);
                !waiting.is_empty()
            }
            Duty::Reply { wanted } => {
                *wanted = wanted.saturating_sub(bytes.len());
                *wanted == 0
            }
        };
        if sends && !self.senders.contains(&channel) {
            self.senders.push(channel);
        }
    }

    /// Sends what can be sent now. A sender without window is looked at again each turn: there are few.
    fn send(&mut self, session: &mut Session) -> Result<(), adit_ssh::Disconnect> {
        let (connection, now) = (&mut session.connection, Instant::now());
        let mut at = 0;
        while let Some(&channel) = self.senders.get(at) {
            let done = match self.all.get_mut(&channel) {
                Some(Duty::Download { left }) => {
                    let wanted = (*left).min(CHUNK as u64) as usize;
                    *left -= connection.send_data(channel, &ZEROS[..wanted], now)? as u64;
                    if *left == 0 {
                        connection.send_eof(channel)?;
                        connection.close(channel)?;
                    }
                    *left == 0
                }
                Some(Duty::Echo { waiting }) => {
                    let sent = connection.send_data(channel, waiting, now)?;
                    waiting.drain(..sent);
                    waiting.is_empty()
                }
                Some(Duty::Reply { .. }) => {
                    let sent = connection.send_data(channel, &ZEROS[..MESSAGE], now)?;
                    if sent == MESSAGE {
                        connection.send_eof(channel)?;
                        connection.close(channel)?;
                    }
                    sent == MESSAGE
                }
                Some(Duty::Unknown(_) | Duty::Upload { .. }) | None => true,
            };
            if done {
                self.senders.swap_remove(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }
}
