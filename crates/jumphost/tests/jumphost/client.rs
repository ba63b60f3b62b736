//! A member's SSH client: the engine's client side over a socket, with an echo as the service behind its forwards.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use adit_ssh::{Buffer, ChannelId, ClientConfig, Connection, Event, ForwardDenied};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// The transport ended; with the reason, where one was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gone(pub(crate) String);

pub(crate) struct Client {
    stream: TcpStream,
    connection: Connection,
    input: Buffer,
}

impl Client {
    pub(crate) fn new(stream: TcpStream, config: &Arc<ClientConfig>) -> Self {
        Self { stream, connection: Connection::client(config, Instant::now()), input: Buffer::new() }
    }

    pub(crate) async fn login(&mut self) -> Result<(), Gone> {
        while self.next().await? != Event::LoggedIn {}
        Ok(())
    }

    /// Asks for a remote forward and waits for the answer: the port.
    pub(crate) async fn forward(&mut self, port: u16) -> Result<Result<u16, ForwardDenied>, Gone> {
        self.connection.request_forward("localhost", port).map_err(|end| Gone(end.to_string()))?;
        loop {
            if let Event::ForwardAnswered(answer) = self.next().await? {
                return Ok(answer.map(|allocated| allocated.map_or(port, |port| port as u16)));
            }
        }
    }

    /// Waits for a visitor and takes it.
    pub(crate) async fn await_visitor(&mut self) {
        loop {
            if let Event::ForwardedConnection { channel, .. } = self.next().await.unwrap() {
                self.connection.accept(channel).unwrap();
                return self.flush().await.unwrap();
            }
        }
    }

    pub(crate) async fn cancel(&mut self, port: u16) {
        self.connection.cancel_forward("localhost", port).unwrap();
        self.flush().await.unwrap();
    }

    /// The next thing that happens. Bytes that arrive stay in [`Self::bytes`] until then.
    pub(crate) async fn next(&mut self) -> Result<Event, Gone> {
        loop {
            let received = self.connection.receive(&mut self.input, Instant::now());
            if let Some(event) = received.map_err(|end| Gone(end.to_string()))? {
                return Ok(event);
            }
            self.flush().await?;
            let count = self.stream.read(self.input.spare(64 * 1024)).await.map_err(|error| Gone(error.to_string()))?;
            if count == 0 {
                return Err(Gone("the transport ended".into()));
            }
            self.input.filled(count);
        }
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        while !self.connection.output().is_empty() {
            let count = self.stream.write(self.connection.output()).await.map_err(|error| Gone(error.to_string()))?;
            self.connection.sent(count);
        }
        Ok(())
    }

    /// Serves visitors with an echo until the transport ends; gives the reason.
    pub(crate) fn echo(mut self) -> JoinHandle<Gone> {
        tokio::spawn(async move {
            match self.echo_loop().await {
                Ok(never) => match never {},
                Err(gone) => gone,
            }
        })
    }

    async fn echo_loop(&mut self) -> Result<std::convert::Infallible, Gone> {
        // What could not be sent back yet, and whether the visitor has ended.
        let mut held: HashMap<ChannelId, (Vec<u8>, bool)> = HashMap::new();
        loop {
            let event = self.next().await?;
            let now = Instant::now();
            let lost = |end: adit_ssh::Disconnect| Gone(end.to_string());
            let touched = match event {
                Event::ForwardedConnection { channel, .. } => {
                    self.connection.accept(channel).map_err(lost)?;
                    held.insert(channel, (Vec::new(), false));
                    Some(channel)
                }
                Event::Data { channel, payload } => {
                    let bytes = self.input.payload(&payload).to_vec();
                    held.entry(channel).or_default().0.extend_from_slice(&bytes);
                    Some(channel)
                }
                Event::Eof(channel) => {
                    held.entry(channel).or_default().1 = true;
                    Some(channel)
                }
                Event::Sendable(channel) => Some(channel),
                Event::Closed(channel) => {
                    held.remove(&channel);
                    self.connection.release(channel).map_err(lost)?;
                    None
                }
                _ => None,
            };
            let Some(channel) = touched else { continue };
            let Some((bytes, ended)) = held.get_mut(&channel) else { continue };
            let mut sent = 0;
            loop {
                sent += self.connection.send_data(channel, &bytes[sent..], now).map_err(lost)?;
                if sent == bytes.len() || !self.connection.is_holding_data() {
                    break;
                }
                while !self.connection.output().is_empty() {
                    let count =
                        self.stream.write(self.connection.output()).await.map_err(|error| Gone(error.to_string()))?;
                    self.connection.sent(count);
                }
            }
            bytes.drain(..sent);
            self.connection.credit(channel, sent).map_err(lost)?;
            if bytes.is_empty() && *ended {
                self.connection.send_eof(channel).map_err(lost)?;
                self.connection.close(channel).map_err(lost)?;
            }
        }
    }
}
