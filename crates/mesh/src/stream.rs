//! The halves of a stream: of QUIC, of a TCP link, or within this process. A half that is dropped before its end is an abort, never an
//! end that looks honest.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::VarInt;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, ReadHalf};

/// An aborted stream's error (RFC 9000 §19.4): why is told inside, if at all.
const ABORTED: VarInt = VarInt::from_u32(1);

/// The sending half.
pub(crate) struct Sender {
    half: SendHalf,
    is_finished: bool,
}

enum SendHalf {
    Quic(QuicHalf),
    Other(Box<dyn AsyncWrite + Send + Unpin>),
}

struct QuicHalf {
    stream: quinn::SendStream,
    written: Written,
    /// Ready when the other side reads no more; there once a write had to wait. quinn (0.11.12) wakes a writer then, which is told nothing
    /// while the connection's window is full, and is not woken again where its own is as well.
    /// Of a stream that we abort, quinn keeps some 100 bytes for it until the connection ends.
    stopped: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl QuicHalf {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.tell();
        let wrote = AsyncWrite::poll_write(Pin::new(&mut self.stream), cx, bytes);
        if wrote.is_pending() {
            let stopped = self.stopped.get_or_insert_with(|| Box::pin(until_stopped(&self.stream)));
            ready!(stopped.as_mut().poll(cx));
            self.stopped = None;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        wrote
    }
}

/// Waits until the other side reads no more, or has acknowledged all of what has ended; however that came, there is no more to wait for.
fn until_stopped(stream: &quinn::SendStream) -> impl Future<Output = ()> + Send + Sync + use<> {
    let stopped = stream.stopped();
    async move { drop(stopped.await) }
}

/// Says of all streams of a connection whether one of them was written to since this was last looked at.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<AtomicBool>);

impl Written {
    fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// The receiving half.
pub(crate) enum Receiver {
    Quic(quinn::RecvStream),
    Other(Box<dyn AsyncRead + Send + Unpin>),
    Here(ReadHalf<DuplexStream>),
}

/// Both halves of a QUIC stream, whose connection hears that it is written to.
pub(crate) fn quic(send: quinn::SendStream, written: Written, recv: quinn::RecvStream) -> (Sender, Receiver) {
    let half = SendHalf::Quic(QuicHalf { stream: send, written, stopped: None });
    (Sender { half, is_finished: false }, Receiver::Quic(recv))
}

/// Both halves of another stream, which aborts when both are dropped, and tells an end from an abort when it is read.
pub(crate) fn other(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> (Sender, Receiver) {
    let (recv, send) = tokio::io::split(stream);
    (Sender { half: SendHalf::Other(Box::new(send)), is_finished: false }, Receiver::Other(Box::new(recv)))
}

/// Both halves of a stream within this process.
pub(crate) fn here(stream: DuplexStream) -> (Sender, Receiver) {
    let (recv, send) = tokio::io::split(stream);
    (Sender { half: SendHalf::Other(Box::new(send)), is_finished: false }, Receiver::Here(recv))
}

impl Sender {
    /// Writes some of it; ready when the other side takes more.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.half {
            SendHalf::Quic(quic) => quic.poll_write(cx, bytes),
            SendHalf::Other(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// The honest end: what was written arrives.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_finished = true;
        match &mut self.half {
            SendHalf::Quic(quic) => Pin::new(&mut quic.stream).poll_shutdown(cx),
            SendHalf::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Writes all of it; waits while the other side takes no more.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// The number of the stream on its link, which both sides know, where the link has datagrams that can name it.
    pub(crate) fn number(&self) -> Option<u64> {
        match &self.half {
            SendHalf::Quic(quic) => Some(VarInt::from(quic.stream.id()).into_inner()),
            SendHalf::Other(_) => None,
        }
    }

    /// After its end, waits until the other side has acknowledged all of it, where the transport tells.
    pub(crate) async fn arrived(&mut self) {
        if let SendHalf::Quic(quic) = &self.half {
            until_stopped(&quic.stream).await;
        }
    }

    /// [`poll_finish`](Self::poll_finish), awaited.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }
}

fn poll_half(half: Pin<&mut impl AsyncRead>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(half.poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let SendHalf::Quic(quic) = &mut self.half
            && !self.is_finished
        {
            // It is over already, then.
            let _ = quic.stream.reset(ABORTED);
        }
    }
}

impl Receiver {
    /// Reads some of what is there; 0 is the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Receiver::Quic(stream) => stream.poll_read(cx, buffer).map_err(io::Error::from),
            Receiver::Other(stream) => poll_half(Pin::new(stream), cx, buffer),
            Receiver::Here(stream) => match ready!(poll_half(Pin::new(stream), cx, buffer))? {
                // It does not tell, and nobody needs it: a circuit's end is told inside.
                0 if !buffer.is_empty() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                read => Poll::Ready(Ok(read)),
            },
        }
    }

    /// Waits until the other side has given the stream up. Nothing is to come from it: what does is no better.
    pub(crate) async fn given_up(&mut self) {
        let _ = poll_fn(|cx| self.poll_read(cx, &mut [0])).await;
    }

    /// Fills all of the buffer.
    ///
    /// # Errors
    /// The stream ended before.
    pub(crate) async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_within(buffer, Duration::MAX).await
    }

    /// The same, as long as something comes within `patience`.
    async fn read_exact_within(&mut self, mut buffer: &mut [u8], patience: Duration) -> io::Result<()> {
        while !buffer.is_empty() {
            let reading = poll_fn(|cx| self.poll_read(cx, buffer));
            let read = match patience {
                Duration::MAX => reading.await?,
                patience => tokio::time::timeout(patience, reading).await??,
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = &mut buffer[read..];
        }
        Ok(())
    }

    /// Reads a message behind its length in two bytes.
    ///
    /// # Errors
    /// It is longer than `most`, or the stream ended before.
    pub(crate) async fn read_block(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut length = [0; 2];
        self.read_exact(&mut length).await?;
        self.read_message(u16::from_be_bytes(length).into(), most, Duration::MAX).await
    }

    /// The same, or nothing where the stream has come to its end.
    ///
    /// # Errors
    /// It is longer than `most`, or the stream ended within it.
    pub(crate) async fn read_block_or_end(&mut self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 2];
        let read = poll_fn(|cx| self.poll_read(cx, &mut length)).await?;
        if read == 0 {
            return Ok(None);
        }
        self.read_exact(length.get_mut(read..).unwrap_or_default()).await?;
        self.read_message(u16::from_be_bytes(length).into(), most, Duration::MAX).await.map(Some)
    }

    /// Reads a message behind its length in four bytes.
    ///
    /// # Errors
    /// It is longer than `most`, the stream ended before, or nothing came for as long as `patience`.
    pub(crate) async fn read_frame(&mut self, most: usize, patience: Duration) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.read_exact_within(&mut length, patience).await?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        self.read_message(length, most, patience).await
    }

    /// Takes no more storage than bytes have come for, and a little ahead.
    async fn read_message(&mut self, length: usize, most: usize, patience: Duration) -> io::Result<Vec<u8>> {
        const AHEAD: usize = 16 * 1024;
        if length > most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
        }
        let mut message = Vec::new();
        while message.len() < length {
            let at = message.len();
            message.resize(length.min(at + AHEAD.max(at)), 0);
            self.read_exact_within(&mut message[at..], patience).await?;
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
    use quinn::{ClientConfig, Endpoint, ServerConfig, TransportConfig};
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::keys::SigningKey;
    use crate::tls;

    const SMALL: u32 = 64 * 1024;

    /// Two ends of QUIC with windows that are soon full.
    async fn connected() -> [(Endpoint, quinn::Connection); 2] {
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(SMALL.into()).send_window(u64::from(SMALL) - 1);
        let transport = Arc::new(transport);
        let (client, server) = tls::configs(&SigningKey::generate().unwrap()).unwrap();
        let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).unwrap()));
        server.transport_config(Arc::clone(&transport));
        let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).unwrap()));
        client.transport_config(transport);
        let here = (Ipv4Addr::LOCALHOST, 0).into();
        let (one, other) = (Endpoint::client(here).unwrap(), Endpoint::server(server, here).unwrap());
        let dials = one.connect_with(client, other.local_addr().unwrap(), tls::NAME).unwrap();
        let accepts = async { other.accept().await.unwrap().await };
        let (dialled, accepted) = tokio::try_join!(dials, accepts).unwrap();
        [(one, dialled), (other, accepted)]
    }

    /// quinn tells a writer that it was stopped when it may write again, and forgets it where two windows were full.
    #[tokio::test]
    async fn a_writer_hears_that_it_was_stopped_also_when_every_window_is_full() {
        let [(_one, dialled), (_other, accepted)] = connected().await;
        let (send, recv) = dialled.open_bi().await.unwrap();
        let (mut send, _recv) = quic(send, Written::default(), recv);
        send.write_all(&[1]).await.unwrap();
        let (_back, mut came) = accepted.accept_bi().await.unwrap();
        came.read_exact(&mut [0; 1]).await.unwrap();
        // Its acknowledgement has made room for it.
        tokio::task::yield_now().await;
        // In a task of its own, which nobody looks at before it is woken.
        let writes = tokio::spawn(async move {
            // Nothing is sent, nor comes, between these two.
            came.stop(7_u32.into()).unwrap();
            send.write_all(&vec![2; 4 * SMALL as usize]).await
        });
        let written = tokio::time::timeout(Duration::from_secs(5), writes).await;
        assert!(written.expect("it waits for ever").unwrap().is_err());
    }

    #[tokio::test]
    async fn a_long_message_may_take_long_as_long_as_something_comes() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let (_send, mut recv) = other(reader);
        let patience = Duration::from_secs(2);
        let started = std::time::Instant::now();
        let slowly = tokio::spawn(async move {
            writer.write_all(&10_u32.to_be_bytes()).await.unwrap();
            for _ in 0..10 {
                tokio::time::sleep(patience / 8).await;
                writer.write_all(&[7]).await.unwrap();
            }
            writer.write_all(&[0, 0]).await.unwrap();
            writer
        });
        assert_eq!(recv.read_frame(1000, patience).await.unwrap(), [7; 10]);
        assert!(started.elapsed() > patience);
        let _writer = slowly.await.unwrap();
        let silence = recv.read_frame(1000, patience).await.unwrap_err();
        assert_eq!(silence.kind(), io::ErrorKind::TimedOut);
    }
}
