//! Why a connection ends: one type for what we tell the peer, what it told us, and what we tell our own caller.

use std::borrow::Cow;
use thiserror::Error;

use crate::wire::WireError;

/// A reason code of SSH_MSG_DISCONNECT (RFC 4250 §4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisconnectCode {
    /// The peer broke the protocol.
    ProtocolError,
    /// No common algorithm, or the exchange did not work out.
    KeyExchangeFailed,
    /// A packet's authentication tag was wrong.
    MacError,
    /// A service other than the two we have was asked for.
    ServiceNotAvailable,
    /// The peer's protocol version is not 2.0.
    VersionNotSupported,
    /// The host key is not the one expected.
    HostKeyNotVerifiable,
    /// The transport is gone, or nobody answers on it.
    ConnectionLost,
    /// We end it, for a reason in the text.
    ByApplication,
    /// Too many tries to log in.
    NoMoreAuthMethods,
    /// A code the peer sent that has no name here.
    Other(u32),
}

impl DisconnectCode {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::ProtocolError => 2,
            Self::KeyExchangeFailed => 3,
            Self::MacError => 5,
            Self::ServiceNotAvailable => 7,
            Self::VersionNotSupported => 8,
            Self::HostKeyNotVerifiable => 9,
            Self::ConnectionLost => 10,
            Self::ByApplication => 11,
            Self::NoMoreAuthMethods => 14,
            Self::Other(number) => number,
        }
    }

    pub(crate) fn from_number(number: u32) -> Self {
        match number {
            2 => Self::ProtocolError,
            3 => Self::KeyExchangeFailed,
            5 => Self::MacError,
            7 => Self::ServiceNotAvailable,
            8 => Self::VersionNotSupported,
            9 => Self::HostKeyNotVerifiable,
            10 => Self::ConnectionLost,
            11 => Self::ByApplication,
            14 => Self::NoMoreAuthMethods,
            other => Self::Other(other),
        }
    }
}

/// Who ended the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// This side; the peer is told by a message in the output.
    Us,
    /// The other side said so.
    Peer,
    /// This side, and there is nobody left to tell: login grace over, or silence.
    Timeout,
}

/// The end of a connection. Nothing is received or sent after it, beside what already lies in the output.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Disconnect {
    /// The reason code.
    pub code: DisconnectCode,
    /// The reason in words. From a peer it is raw text: escape it before it is shown.
    pub message: Cow<'static, str>,
    /// Who ended it.
    pub by: EndedBy,
}

impl Disconnect {
    pub(crate) fn new(code: DisconnectCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), by: EndedBy::Us }
    }

    pub(crate) fn protocol(message: &'static str) -> Self {
        Self::new(DisconnectCode::ProtocolError, message)
    }

    pub(crate) fn timeout(message: &'static str) -> Self {
        Self { code: DisconnectCode::ConnectionLost, message: message.into(), by: EndedBy::Timeout }
    }

    pub(crate) fn by_peer(code: u32, message: String) -> Self {
        Self { code: DisconnectCode::from_number(code), message: message.into(), by: EndedBy::Peer }
    }
}

impl From<WireError> for Disconnect {
    fn from(error: WireError) -> Self {
        Self::protocol(error.0)
    }
}
