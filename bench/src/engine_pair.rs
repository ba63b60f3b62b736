//! Our engine's two ends, joined by memory: a server that brings a visitor's bytes, and a client that takes them. What is left of a
//! tunnel's cost without the kernel, and without a clock that goes on by itself: each run is the same work.

use std::sync::Arc;
use std::time::Instant;

use adit_ssh::crypto::{Cipher, HostKey, KexAlgorithm};
use adit_ssh::{
    Algorithms, Arrival, Buffer, ChannelId, ClientConfig, Connection, Disconnect, Event, Limits, ServerConfig,
};

use crate::client::CipherName;
use crate::failure::{Doing, Failure};
use crate::service::MESSAGE;

/// Storage of each direction's buffer.
const STORAGE: usize = 1 << 20;
/// What a visitor brings at once.
static BLOCK: [u8; 256 * 1024] = [7; 256 * 1024];

/// What to type for the same work each time; the bytes of bulk, the number of small messages and that of idle channels beside them follow.
pub(crate) const WORD: &str = "engine";

/// Does it, for somebody who counts the instructions: what a byte or a message takes is the difference of two runs.
pub(crate) fn run(bytes: u64, messages: u64, channels: u64) -> Result<(), Failure> {
    let mut pair = EnginePair::log_in(CipherName::Aes128Gcm)?;
    (0..channels).try_for_each(|_| pair.open().map(drop))?;
    pair.carry(bytes)?;
    (0..messages).try_for_each(|_| pair.carry(MESSAGE as u64))
}

/// A session with one open channel.
pub(crate) struct EnginePair {
    server: End,
    client: End,
    /// At the server.
    channel: ChannelId,
    now: Instant,
}

struct End {
    connection: Connection,
    input: Buffer,
}

impl EnginePair {
    /// Exchanges keys, logs in, forwards a port and opens a channel.
    pub(crate) fn log_in(cipher: CipherName) -> Result<Self, Failure> {
        let (host_key, identity) =
            (HostKey::generate_ed25519().doing("make a key")?, HostKey::generate_ed25519().doing("make a key")?);
        let cipher = match cipher {
            CipherName::Aes128Gcm => Cipher::Aes128Gcm,
            CipherName::Aes256Gcm => Cipher::Aes256Gcm,
            CipherName::Chacha20 => Cipher::Chacha20Poly1305,
            CipherName::Aes128Ctr => Cipher::Aes128Ctr,
        };
        let kex = vec![KexAlgorithm::Curve25519Sha256];
        let algorithms = Algorithms { kex, ciphers: vec![cipher], ..Algorithms::default() };
        let client = Arc::new(ClientConfig {
            user: "bench".to_owned(),
            identity,
            host_key: host_key.public_key().clone(),
            algorithms: algorithms.clone(),
            limits: Limits::default(),
        });
        let server = Arc::new(ServerConfig { host_keys: vec![host_key], algorithms, limits: Limits::default() });
        let now = Instant::now();
        let end = |connection| End { connection, input: Buffer::new() };
        let mut pair = Self {
            server: end(Connection::server(&server, now)),
            client: end(Connection::client(&client, now)),
            channel: ChannelId(0),
            now,
        };
        for end in [&mut pair.server, &mut pair.client] {
            end.input.lend(vec![0; STORAGE]);
            end.connection.output_buffer().lend(vec![0; STORAGE]);
        }
        pair.settle().doing("log in")?;
        pair.client.connection.request_forward("127.0.0.1", 1).doing("ask for a forward")?;
        pair.settle().doing("ask for a forward")?;
        pair.channel = pair.open()?;
        Ok(pair)
    }

    /// Opens a channel, as for a visitor.
    fn open(&mut self) -> Result<ChannelId, Failure> {
        let arrival = Arrival { address: b"127.0.0.1", port: 1, originator: ([127, 0, 0, 1], 2).into() };
        let channel = self.server.connection.open_forwarded(arrival, self.now).doing("open a channel")?;
        self.settle().doing("open a channel")?;
        channel.ok_or_else(|| Failure::new("the engine opens no channel"))
    }

    /// Carries so many bytes from the server to the client, which credits all of them.
    pub(crate) fn carry(&mut self, bytes: u64) -> Result<(), Failure> {
        let mut left = bytes;
        while left > 0 {
            let wanted = left.min(BLOCK.len() as u64) as usize;
            let sent = self.server.connection.send_data(self.channel, &BLOCK[..wanted], self.now).doing("send")?;
            if sent == 0 {
                return Err(Failure::new("the engine holds back although all was credited"));
            }
            left -= sent as u64;
            self.settle().doing("carry")?;
        }
        Ok(())
    }

    /// Until neither end has anything to say.
    fn settle(&mut self) -> Result<(), Disconnect> {
        loop {
            let said = hand_over(&mut self.server, &mut self.client, self.now)?;
            let answered = hand_over(&mut self.client, &mut self.server, self.now)?;
            if !said && !answered {
                return Ok(());
            }
        }
    }
}

/// Brings what one end has said to the other, and does what that asks for.
fn hand_over(from: &mut End, to: &mut End, now: Instant) -> Result<bool, Disconnect> {
    let said = from.connection.output();
    let len = said.len();
    to.input.extend(said);
    from.connection.sent(len);
    while let Some(event) = to.connection.receive(&mut to.input, now)? {
        match event {
            Event::AuthRequest(_) => {
                to.connection.answer_auth(true)?;
            }
            Event::ForwardRequest { reply, .. } => to.connection.answer_forward(reply, Ok(None))?,
            Event::ForwardedConnection { channel, .. } => to.connection.accept(channel)?,
            Event::Data { channel, payload } => to.connection.credit(channel, payload.len())?,
            _ => {}
        }
    }
    Ok(len > 0)
}
