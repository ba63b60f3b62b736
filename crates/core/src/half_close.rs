//! How one relayed connection between a local TCP socket and an SSH channel comes to its end (RFC 4254 §5.3).
//!
//! Each direction ends alone: a visitor may say "that was my request" (FIN) and still wait for the answer. So EOF on one
//! side becomes EOF on the other once the bytes before it are through, and CLOSE follows only when both directions have
//! ended. A broken socket closes the channel at once: whoever is left must learn of it.
//!
//! The bytes themselves belong to the relay; this machine only hears whether any are left. Nor does it know how long a
//! slow reader may take: the relay drops the whole connection when its patience ends.

/// The end of one relayed connection.
///
/// Tell it what happened (`handle_`), then act on [`poll_output`](Self::poll_output) until it answers `None`. It holds
/// no bytes and no buffers: one word per connection.
///
/// Order matters in one place: bytes that are taken over but not yet written on must be told
/// ([`handle_to_socket_drained`](Self::handle_to_socket_drained) with `false`) before the end that comes behind them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HalfClose {
    to_channel: Direction,
    to_socket: Direction,
    to_channel_drained: bool,
    to_socket_drained: bool,
    close_sent: bool,
    close_received: bool,
    socket_dropped: bool,
}

/// One direction of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Direction {
    /// More bytes may come.
    Flowing,
    /// The source has ended; bytes from before its end may still have to be written on.
    Draining,
    /// The end was passed on, or there is nobody left to pass it to.
    Ended,
}

/// What the relay shall do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelayWish {
    /// Send `SSH_MSG_CHANNEL_EOF`: every byte the socket gave has been sent, and no more will come.
    SendEof,
    /// Shut down the socket for writing (FIN): every byte the peer sent has been written, and no more will come.
    ShutdownSocketWrite,
    /// Send `SSH_MSG_CHANNEL_CLOSE`. After this, nothing may be sent on the channel.
    SendClose,
    /// Close the socket and forget what was still to be written to it.
    DropSocket,
}

impl Default for HalfClose {
    fn default() -> HalfClose {
        HalfClose::new()
    }
}

impl HalfClose {
    /// A connection that is open in both directions, with nothing under way.
    pub fn new() -> HalfClose {
        HalfClose {
            to_channel: Direction::Flowing,
            to_socket: Direction::Flowing,
            to_channel_drained: true,
            to_socket_drained: true,
            close_sent: false,
            close_received: false,
            socket_dropped: false,
        }
    }

    /// The socket's read side ended (FIN): its user has said all.
    pub fn handle_socket_eof(&mut self) {
        self.to_channel.end_behind_its_bytes();
    }

    /// The socket broke (RST, time-out): nothing can be read from it or written to it any more.
    pub fn handle_socket_error(&mut self) {
        self.to_channel = Direction::Ended;
        self.to_socket = Direction::Ended;
    }

    /// `SSH_MSG_CHANNEL_EOF` came: the peer will send no more data, but still takes ours.
    pub fn handle_peer_eof(&mut self) {
        self.to_socket.end_behind_its_bytes();
    }

    /// `SSH_MSG_CHANNEL_CLOSE` came: the peer neither sends nor takes any more. What it sent before still goes to the
    /// socket; what the socket still says has no one to hear it.
    pub fn handle_peer_close(&mut self) {
        self.close_received = true;
        self.to_channel = Direction::Ended;
        self.to_socket.end_behind_its_bytes();
    }

    /// Is all that was read from the socket sent on the channel? `false` while bytes wait for its window.
    pub fn handle_to_channel_drained(&mut self, drained: bool) {
        self.to_channel_drained = drained;
    }

    /// Is all that came on the channel written to the socket? `false` while the socket takes no more.
    pub fn handle_to_socket_drained(&mut self, drained: bool) {
        self.to_socket_drained = drained;
    }

    /// The next thing to do; `None` until something else happens.
    pub fn poll_output(&mut self) -> Option<RelayWish> {
        if self.to_channel == Direction::Draining && self.to_channel_drained {
            self.to_channel = Direction::Ended;
            return Some(RelayWish::SendEof);
        }
        if self.to_socket == Direction::Draining && self.to_socket_drained {
            self.to_socket = Direction::Ended;
            return Some(RelayWish::ShutdownSocketWrite);
        }
        // A CLOSE is answered at once, "unless it has already sent this message" (RFC 4254 §5.3).
        if !self.close_sent && (self.close_received || self.both_ended()) {
            self.close_sent = true;
            return Some(RelayWish::SendClose);
        }
        if !self.socket_dropped && self.both_ended() {
            self.socket_dropped = true;
            return Some(RelayWish::DropSocket);
        }
        None
    }

    /// May the socket still say something that somebody will hear? If not, don't read from it.
    pub fn wants_socket_data(&self) -> bool {
        self.to_channel == Direction::Flowing
    }

    /// Is there a socket left that takes the peer's data? If not, throw the data away and credit its window all the same.
    pub fn wants_peer_data(&self) -> bool {
        self.to_socket != Direction::Ended
    }

    /// Both CLOSE messages have passed and the socket is gone: the channel number may be used again.
    pub fn is_over(&self) -> bool {
        self.close_sent && self.close_received && self.socket_dropped
    }

    fn both_ended(&self) -> bool {
        self.to_channel == Direction::Ended && self.to_socket == Direction::Ended
    }
}

impl Direction {
    fn end_behind_its_bytes(&mut self) {
        if *self == Direction::Flowing {
            *self = Direction::Draining;
        }
    }
}
