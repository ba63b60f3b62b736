//! Why links end, and why what was asked of one did not come about: sentences for people.

use std::io;
use std::sync::Arc;

use adit_core::{ConnectFailure, LossReason, Printable};
use adit_ssh::{Disconnect, EndedBy, OpenFailureCode, OpenRefusal};
use thiserror::Error;

/// How much of a server's last words is shown.
const MOST_WORDS: usize = 200;

/// Why a link is over.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LinkEnd {
    /// It was stopped here, or nobody held it any more.
    #[error("it was closed here")]
    Stopped,
    /// The server closed the connection without a word.
    #[error("the SSH server closed the connection")]
    Closed,
    /// The transport broke.
    #[error("the connection broke: {0}")]
    Broken(Arc<str>),
    /// The server said goodbye, in these words (escaped).
    #[error("the SSH server ended the connection: {0}")]
    ByServer(Arc<str>),
    /// Nothing came from the server for too long, or it took nothing.
    #[error("no sign of life: {0}")]
    Silent(Arc<str>),
    /// The server broke the protocol, or there is no common ground with it.
    #[error("cannot speak SSH with this server: {0}")]
    Protocol(Arc<str>),
    /// The link that carried this one is over.
    #[error("the connection through {via} is over: {why}")]
    Carrier {
        /// The server it went through.
        via: Arc<str>,
        /// Why that link ended.
        why: Box<LinkEnd>,
    },
    /// A fault of ours.
    #[error("the agent failed to go on with it")]
    Fault,
}

impl LinkEnd {
    pub(crate) fn broken(error: &io::Error) -> Self {
        Self::Broken(error.to_string().into())
    }

    /// Whether only the transport is known to have ended, so that what it went through may know more.
    pub(super) fn is_of_transport(&self) -> bool {
        matches!(self, Self::Closed | Self::Broken(_))
    }
}

impl From<Disconnect> for LinkEnd {
    fn from(disconnect: Disconnect) -> Self {
        match disconnect.by {
            EndedBy::Peer => {
                Self::ByServer(Printable::from(&*disconnect.message).at_most(MOST_WORDS).to_string().into())
            }
            EndedBy::Timeout => Self::Silent(disconnect.message.as_ref().into()),
            EndedBy::Us => Self::Protocol(disconnect.message.as_ref().into()),
        }
    }
}

impl From<&LinkEnd> for LossReason {
    fn from(end: &LinkEnd) -> Self {
        Self::Ended(end.to_string().into())
    }
}

/// Why a connection to a target did not come about.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// The server would not, or could not, connect.
    #[error("{}", refusal(*.code, .text))]
    Refused {
        /// Its reason.
        code: OpenFailureCode,
        /// Its words, escaped.
        text: String,
    },
    /// The server did not answer in time: mostly, the target does not.
    #[error("no answer in time")]
    Unanswered,
    /// The link holds as many connections as it bears.
    #[error("too many connections at once")]
    Full,
    /// The link is over, or its tunnel has been stopped.
    #[error("the connection to the SSH server is over")]
    LinkOver,
}

impl From<OpenRefusal> for ConnectError {
    fn from(refusal: OpenRefusal) -> Self {
        match refusal {
            OpenRefusal::Refused { code, text } => Self::Refused { code, text },
            OpenRefusal::Unanswered => Self::Unanswered,
        }
    }
}

impl From<&ConnectError> for ConnectFailure {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Refused { code, text } => Self::from_channel_open(reason_code(*code), text),
            ConnectError::Unanswered | ConnectError::Full | ConnectError::LinkOver => Self::Other,
        }
    }
}

/// The number on the wire (RFC 4254 §5.1).
fn reason_code(code: OpenFailureCode) -> u32 {
    match code {
        OpenFailureCode::AdministrativelyProhibited => 1,
        OpenFailureCode::ConnectFailed => 2,
        OpenFailureCode::UnknownChannelType => 3,
        OpenFailureCode::ResourceShortage => 4,
        OpenFailureCode::Other(number) => number,
    }
}

fn refusal(code: OpenFailureCode, text: &str) -> String {
    let reason = match code {
        OpenFailureCode::AdministrativelyProhibited => "the SSH server does not allow it",
        OpenFailureCode::ConnectFailed => "the SSH server cannot connect",
        OpenFailureCode::UnknownChannelType => "the SSH server does not forward connections",
        OpenFailureCode::ResourceShortage => "the SSH server has no room for it",
        OpenFailureCode::Other(_) => "the SSH server refused",
    };
    if text.is_empty() { reason.to_owned() } else { format!("{reason}: {text}") }
}

/// Why there is no remote forward, or it could not be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ForwardError {
    /// The server said no; plain SSH has no place for a reason.
    #[error("the SSH server refused the remote forward: its port is held by another, or not allowed")]
    Refused,
    /// The server did not answer in time. Should it grant the forward later, it is taken back.
    #[error("the SSH server did not answer the request for a remote forward")]
    Unanswered,
    /// The link is over, or its tunnel has been stopped.
    #[error("the connection to the SSH server is over")]
    LinkOver,
}
