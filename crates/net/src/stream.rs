//! A byte stream that a task owns: a TCP connection, or a pipe inside this process, by which one SSH connection travels in a
//! channel of another.
//!
//! The pipe is tokio's: bounded, woken both ways, with an end for each direction. It costs a copy where a pair of sockets would
//! cost two system calls and two descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use crate::socket::{self, ShortRead};

/// What a pipe holds in each direction before its writer waits: a turn of the relay fits.
const PIPE_SIZE: usize = 256 * 1024;

/// One end of a byte stream.
#[derive(Debug)]
pub enum Stream {
    /// A connection of the machine.
    Tcp(TcpStream),
    /// One end of a pipe inside this process.
    Pipe(DuplexStream),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<DuplexStream> for Stream {
    fn from(pipe: DuplexStream) -> Self {
        Self::Pipe(pipe)
    }
}

/// Both ends of a pipe. When one end is dropped, the other reads what is left and then the end.
pub fn pipe() -> (Stream, Stream) {
    let (one, other) = tokio::io::duplex(PIPE_SIZE);
    (one.into(), other.into())
}

impl Stream {
    /// Reads into `slots`, in order, as [`socket::poll_read`] does.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        slots: &mut [IoSliceMut<'_>],
        short: ShortRead,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => socket::poll_read(stream, context, slots, short),
            Self::Pipe(pipe) => {
                let mut count = 0;
                for slot in slots {
                    let mut buffer = ReadBuf::new(slot);
                    match Pin::new(&mut *pipe).poll_read(context, &mut buffer) {
                        // What was read is told first; the rest, be it an error or the end, comes with the next call.
                        Poll::Pending | Poll::Ready(Err(_)) if count > 0 => break,
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Ready(Ok(())) => {}
                    }
                    let (read, room) = (buffer.filled().len(), buffer.remaining());
                    count += read;
                    if room > 0 {
                        break;
                    }
                }
                Poll::Ready(Ok(count))
            }
        }
    }

    /// Writes from `slices`, in order, as [`socket::poll_write`] does.
    pub fn poll_write(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => socket::poll_write(stream, context, slices),
            Self::Pipe(pipe) => Pin::new(pipe).poll_write_vectored(context, slices),
        }
    }

    /// Pending: nothing is there to be read, and the task of `context` is woken when something is. A pipe does not know and
    /// says that there may be.
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context).map(drop),
            Self::Pipe(_) => Poll::Ready(()),
        }
    }

    /// Pending: nothing is taken now, and the task of `context` is woken when something is. As above.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context).map(drop),
            Self::Pipe(_) => Poll::Ready(()),
        }
    }

    /// Acknowledges what was read at once ([`socket::acknowledge_now`]). In a pipe nothing is acknowledged.
    pub fn acknowledge_now(&self) {
        if let Self::Tcp(stream) = self {
            socket::acknowledge_now(stream);
        }
    }

    /// Says that no more is written. One whose other end is gone already needs no end; reading it will tell.
    pub fn shut_down_write(&mut self) {
        match self {
            Self::Tcp(stream) => drop(SockRef::from(&*stream).shutdown(Shutdown::Write)),
            // Of a pipe this is done at once: nobody need be woken to go on with it.
            Self::Pipe(pipe) => drop(Pin::new(pipe).poll_shutdown(&mut Context::from_waker(Waker::noop()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &mut Stream, size: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut context = Context::from_waker(Waker::noop());
        let (mut one, mut other) = (vec![0; size], vec![0; size]);
        let mut slots = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
        let result = stream.poll_read(&mut context, &mut slots, ShortRead::ProvesNothing);
        result.map_ok(|count| [one, other].concat()[..count].to_vec())
    }

    fn write(stream: &mut Stream, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut context = Context::from_waker(Waker::noop());
        let (one, other) = bytes.split_at(bytes.len() / 2);
        stream.poll_write(&mut context, &[IoSlice::new(one), IoSlice::new(other)])
    }

    #[test]
    fn a_pipe_is_bounded_and_each_direction_ends_alone() {
        let (mut one, mut other) = pipe();
        assert!(read(&mut one, 8).is_pending());
        assert!(matches!(write(&mut one, b"question"), Poll::Ready(Ok(8))));
        one.shut_down_write();
        assert!(matches!(read(&mut other, 5), Poll::Ready(Ok(bytes)) if bytes == b"question"));
        assert!(matches!(read(&mut other, 5), Poll::Ready(Ok(bytes)) if bytes.is_empty()));
        assert!(matches!(write(&mut other, b"answer"), Poll::Ready(Ok(6))));
        assert!(matches!(read(&mut one, 3), Poll::Ready(Ok(bytes)) if bytes == b"answer"));
        let mut held = 0;
        while let Poll::Ready(Ok(count)) = write(&mut other, &[7; 60_000]) {
            held += count;
        }
        assert_eq!(held, PIPE_SIZE);
    }

    #[test]
    fn an_end_that_is_dropped_ends_the_other() {
        let (mut one, mut other) = pipe();
        assert!(matches!(write(&mut one, b"last words"), Poll::Ready(Ok(10))));
        drop(one);
        assert!(matches!(read(&mut other, 10), Poll::Ready(Ok(bytes)) if bytes == b"last words"));
        assert!(matches!(read(&mut other, 10), Poll::Ready(Ok(bytes)) if bytes.is_empty()));
        assert!(matches!(write(&mut other, b"anybody?"), Poll::Ready(Err(_))));
    }
}
