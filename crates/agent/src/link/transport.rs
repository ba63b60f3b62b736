//! The engine with the byte stream it speaks on: read and written without waiting, by a login as by a link.

use std::future::poll_fn;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use adit_net::socket::ShortRead;
use adit_net::storage;
use adit_net::stream::Stream;
use adit_ssh::{Buffer, Client, ClientEvent, ClientSettings, Connection};

use super::LinkEnd;

/// A read that brought less than this is a question or an answer, behind which the server may be holding back the next one; bulk
/// is acknowledged by itself.
const SMALL_READ: usize = 4 * 1024;

/// One SSH connection on its way.
pub(crate) struct Transport {
    stream: Stream,
    pub(crate) client: Client,
    pub(crate) input: Buffer,
}

impl Transport {
    pub(crate) fn new(stream: Stream, settings: &Arc<ClientSettings>) -> Self {
        Self { stream, client: Client::new(settings, Instant::now()), input: Buffer::new() }
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.client.connection()
    }

    /// Reads once, as much as there is; false where nothing is. The engine must have taken what it could of the input.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Result<bool, LinkEnd> {
        if self.stream.poll_read_ready(context).is_pending() {
            return Ok(false);
        }
        if self.input.capacity() < storage::INPUT_SIZE {
            storage::give_back(self.input.lend(storage::lend_input()));
        }
        let missing = self.client.connection().wanted().saturating_sub(self.input.len()).max(1);
        let mut slot = [IoSliceMut::new(self.input.spare(missing))];
        match self.stream.poll_read(context, &mut slot, ShortRead::IsEmpty) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => Err(LinkEnd::Closed),
            Poll::Ready(Ok(count)) => {
                self.input.filled(count);
                if count < SMALL_READ {
                    self.stream.acknowledge_now();
                }
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(LinkEnd::broken(&error)),
        }
    }

    /// Writes once; false where nothing waits or nothing is taken.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>) -> Result<bool, LinkEnd> {
        let Self { stream, client, .. } = self;
        let output = client.connection().output();
        if output.is_empty() {
            return Ok(false);
        }
        match stream.poll_write(context, &[IoSlice::new(output)]) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(count)) => {
                client.connection().sent(count);
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(LinkEnd::broken(&error)),
        }
    }

    /// Sends what lies in the output as far as that goes without waiting. Who does not take it sees the transport end.
    pub(crate) fn flush_now(&mut self) {
        let mut nobody = Context::from_waker(Waker::noop());
        while matches!(self.poll_write(&mut nobody), Ok(true)) {}
    }

    /// An idle connection holds no large buffers.
    pub(super) fn give_storage_back(&mut self) {
        if let Some(storage) = self.input.reclaim() {
            storage::give_back(storage);
        }
        let connection = self.client.connection();
        if connection.output().is_empty()
            && let Some(storage) = connection.output_buffer().reclaim()
        {
            storage::give_back(storage);
        }
    }

    /// Waits for the next event; what is to be sent is sent meanwhile. For a login, where one thing follows the other.
    /// Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Result<ClientEvent, LinkEnd> {
        loop {
            if let Some(event) = self.client.receive(&mut self.input, Instant::now())? {
                return Ok(event);
            }
            let deadline = self.connection().poll_timeout();
            let moved = poll_fn(|context| {
                let wrote = self.poll_write(context);
                match (wrote, self.poll_read(context)) {
                    // What the server said before it went is heard first.
                    (_, Ok(true)) | (Ok(true), Ok(false)) => Poll::Ready(Ok(())),
                    (Err(end), _) | (_, Err(end)) => Poll::Ready(Err(end)),
                    (Ok(false), Ok(false)) => Poll::Pending,
                }
            });
            match deadline {
                None => moved.await?,
                Some(deadline) => match tokio::time::timeout_at(deadline.into(), moved).await {
                    Ok(moved) => moved?,
                    Err(_) => self.connection().handle_timeout(Instant::now())?,
                },
            }
        }
    }
}
