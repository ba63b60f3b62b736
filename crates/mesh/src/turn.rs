//! How much is carried before whoever else waits in this process has a turn. Connections share a few worker threads and the link that all
//! of them go through: one that empties a window of 4 MiB at once keeps its thread for milliseconds. Who has the link next is another
//! question, which is [`adit_core::mesh::Turns`]'s.

use std::pin::pin;
use std::task::{Context, Poll};

/// Bytes of one turn. On two cores a ping beside bulk takes 1.2, 2.7 and 3.9 ms at the median over one, two and three hops so, at the rate
/// that the bulk has without turns. With 128 KiB it takes 0.4, 0.9 and 1.2 ms, but the bulk goes at 0.7 to 0.9 × its rate.
///
/// Stories take less, since all of a turn has to find room in a socket whose buffer the system bounds.
pub(crate) const TURN: usize = if cfg!(test) { 128 * 1024 } else { 512 * 1024 };
/// A message counts for so many bytes at least: what it takes to open and to write one.
const LEAST: usize = 4 * 1024;

/// A turn of one direction of a connection.
pub(crate) struct Turn {
    left: usize,
}

impl Turn {
    pub(crate) fn new() -> Turn {
        Turn { left: TURN }
    }

    /// So many bytes were carried, at once.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes.max(LEAST));
    }

    /// Ready until the turn is over. Then the task stands in no queue until its worker has asked the kernel what has come, which it does when
    /// nothing else waits and after 61 tasks: what comes for others, the drivers of links among them, is heard before it goes on. One that
    /// woke itself would be back before that.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.left > 0 {
            return Poll::Ready(());
        }
        pin!(tokio::task::yield_now()).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::mem;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::{Wake, Waker};

    use tokio::net::UnixStream;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Woken>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many pieces of a length are carried in one turn.
    fn pieces_of(length: usize) -> usize {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut turn = Turn::new();
        let pieces = (0..).take_while(|_| {
            let goes_on = turn.poll(&mut cx).is_ready();
            turn.spend(length);
            goes_on
        });
        let pieces = pieces.count();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "it goes on by itself");
        pieces
    }

    /// In a runtime of one thread, so that the order is one.
    #[tokio::test]
    async fn whoever_something_has_come_for_goes_first() {
        let (sends, hears) = UnixStream::pair().unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&order);
        let listens = tokio::spawn(async move {
            hears.readable().await.unwrap();
            heard.lock().unwrap().push("heard");
        });
        let goes_on = Arc::clone(&order);
        let carries = tokio::spawn(async move {
            // The other one waits by now, and the kernel alone knows that something comes for it.
            assert_eq!(sends.try_write(b"x").unwrap(), 1);
            let mut turn = Turn::new();
            turn.spend(TURN);
            poll_fn(|cx| mem::replace(&mut turn, Turn::new()).poll(cx)).await;
            goes_on.lock().unwrap().push("goes on");
        });
        carries.await.unwrap();
        listens.await.unwrap();
        assert_eq!(*order.lock().unwrap(), ["heard", "goes on"]);
    }

    #[test]
    fn a_turn_is_over_after_many_bytes_or_many_messages() {
        assert_eq!(pieces_of(TURN + 1), 1);
        assert_eq!(pieces_of(TURN / 4), 4);
        assert_eq!(pieces_of(1), TURN / LEAST);
        assert_eq!(pieces_of(0), TURN / LEAST);
    }
}
