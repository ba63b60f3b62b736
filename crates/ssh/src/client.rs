//! What a client's driver is told beyond [`Event`], and what it answers: the words of a login and of a tunnel's client side.
//! The calls are those of [`Client`](crate::Client).
//!
//! Text that comes from a server is raw unless its doc says that it is escaped: whoever shows it to a person escapes it.

use std::fmt;

use zeroize::Zeroizing;

use crate::channel::ChannelId;
use crate::config::{Event, ForwardDenied, Limits};
use crate::crypto::{PrivateKey, PublicKey};
use crate::negotiation::Algorithms;

/// What a client is told at its beginning. Host keys and secrets are not in it: its driver is asked about the one and
/// offers the others.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The login name; the server hears it only after its host key was accepted.
    pub user: String,
    /// What is offered. [`Algorithms::prefer_host_keys`] asks for a known key's type first.
    pub algorithms: Algorithms,
    /// What is borne. Here [`Limits::login_grace`] is how long the *server* may take for one step of the login; while the
    /// driver owes an answer nothing runs out.
    pub limits: Limits,
}

/// Something happened that the driver of a [`Client`](crate::Client) has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server proved that it holds this key, by its signature over the key exchange (RFC 4253 §8). Nothing is received,
    /// and nothing about the user is sent, until [`accept_host_key`](crate::Client::accept_host_key) or
    /// [`reject_host_key`](crate::Client::reject_host_key). Told once: another key at a later exchange ends the connection.
    HostKey(PublicKey),
    /// The server is ready to hear a method: [`authenticate`](crate::Client::authenticate).
    AuthReady,
    /// The last method did not log us in; another may be tried now.
    AuthFailed(AuthFailure),
    /// A text to be shown to the user (RFC 4252 §5.4). Raw. Of a server that talks without end the rest is dropped.
    Banner(String),
    /// An outside signer is to sign; [`answer_signature`](crate::Client::answer_signature).
    SignatureWanted(SignatureRequest),
    /// The server asks questions (RFC 4256 §3.2); [`answer_prompts`](crate::Client::answer_prompts).
    Prompts(Prompts),
    /// The server announced its host keys and proved that it holds all of these (OpenSSH PROTOCOL §2.5). A store of known keys
    /// may learn the new ones; keys it has and the server no longer names were retired. Told once.
    HostKeysProven(Vec<PublicKey>),
    /// A channel asked for by [`open_direct`](crate::Connection::open_direct) did not come about. The id is free again.
    OpenFailed {
        /// The channel asked for.
        channel: ChannelId,
        /// Why.
        why: OpenRefusal,
    },
    /// What came of [`probe_session`](crate::Connection::probe_session). The id is free again.
    SessionProbed {
        /// The probe.
        channel: ChannelId,
        /// Whether anybody is there.
        answer: ProbeAnswer,
    },
    /// The answer to the oldest [`cancel_forward`](crate::Connection::cancel_forward).
    ForwardCancelled(Result<(), ForwardDenied>),
    /// What happens on either side of a connection.
    Connection(Event),
}

/// One way to log in (RFC 4252 §5), offered by [`authenticate`](crate::Client::authenticate).
#[derive(Clone)]
pub enum Credential {
    /// No method at all: tells which ones there are, and logs in where the server wants nothing (RFC 4252 §5.2).
    None,
    /// A key that is held here.
    Key {
        /// The key.
        key: PrivateKey,
        /// Ask whether the key would do, and sign only then. It costs a round trip, and a refused question counts less with
        /// most servers than a refused signature.
        probe: bool,
    },
    /// A key that signs elsewhere: in an agent, on a security key.
    Signer {
        /// Its public half.
        key: PublicKey,
        /// As above. Worth it wherever somebody has to touch or confirm something.
        probe: bool,
    },
    /// A password (RFC 4252 §8).
    Password(Zeroizing<String>),
    /// Questions that the server asks, each round told by [`ClientEvent::Prompts`] (RFC 4256).
    KeyboardInteractive,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.method().fmt(f)
    }
}

impl Credential {
    /// What it is, without what is secret about it.
    pub fn method(&self) -> AuthMethod {
        match self {
            Self::None => AuthMethod::None,
            Self::Key { key, .. } => AuthMethod::PublicKey(key.public_key().clone()),
            Self::Signer { key, .. } => AuthMethod::PublicKey(key.clone()),
            Self::Password(_) => AuthMethod::Password,
            Self::KeyboardInteractive => AuthMethod::KeyboardInteractive,
        }
    }
}

/// A method that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthMethod {
    /// `none`
    None,
    /// `publickey`, with this key.
    PublicKey(PublicKey),
    /// `password`
    Password,
    /// `keyboard-interactive`
    KeyboardInteractive,
}

impl AuthMethod {
    /// The name on the wire, as it stands in [`AuthFailure::methods_left`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::PublicKey(_) => "publickey",
            Self::Password => "password",
            Self::KeyboardInteractive => "keyboard-interactive",
        }
    }
}

/// A method did not log us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthFailure {
    /// What was tried.
    pub tried: AuthMethod,
    /// Why it was not enough.
    pub why: AuthRefusal,
    /// The methods that can continue, as the server named them last (RFC 4252 §5.1): printable ASCII. Empty before it did.
    pub methods_left: Vec<String>,
}

/// Why a method was not enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthRefusal {
    /// The server refused it.
    Refused,
    /// It succeeded and the server wants another one beside it (RFC 4252 §5.1, "partial success").
    PartialSuccess,
    /// The server would not take the key; nothing was signed.
    KeyRefused,
    /// The server verifies no algorithm this key may sign with, by its `server-sig-algs` (RFC 8308 §3.1). Nothing was sent.
    NoSignatureAlgorithm,
    /// The signer gave no signature, or one made with another algorithm. Nothing was sent.
    NotSigned,
    /// The password is right and must be changed first (RFC 4252 §8), which is for another program.
    PasswordExpired {
        /// The server's words, raw.
        prompt: String,
    },
}

/// Bytes that an outside signer is to sign: a login in this session under this name and no other (RFC 4252 §7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureRequest {
    /// The key to sign with.
    pub key: PublicKey,
    /// The signature algorithm: one of the key's, or `ssh-rsa` where [`Algorithms::sha1_logins`] allows it. An agent wants the
    /// flag 4 for `rsa-sha2-512` and 2 for `rsa-sha2-256` (draft-ietf-sshm-ssh-agent §3.6.1).
    pub algorithm: &'static str,
    /// What to sign.
    pub message: Vec<u8>,
}

/// One round of questions (RFC 4256 §3.2). There may be none in it, only a text to show; it wants its answer all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    /// What the round is called, raw.
    pub name: String,
    /// What to tell the user first, raw.
    pub instruction: String,
    /// The questions, in order.
    pub prompts: Vec<Prompt>,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its words, raw.
    pub text: String,
    /// Whether the answer may be seen while it is typed.
    pub echo: bool,
}

/// Why the server did not open a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenRefusal {
    /// It said no.
    Refused {
        /// Its reason.
        code: OpenFailureCode,
        /// Its words, escaped and cut to a line's length.
        text: String,
    },
    /// It did not answer in time.
    Unanswered,
}

/// A reason code of SSH_MSG_CHANNEL_OPEN_FAILURE (RFC 4254 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFailureCode {
    /// Not allowed here.
    AdministrativelyProhibited,
    /// The target does not answer, refuses, or has no address.
    ConnectFailed,
    /// The type of channel is not known.
    UnknownChannelType,
    /// Too much is open already.
    ResourceShortage,
    /// A code without a name here.
    Other(u32),
}

impl OpenFailureCode {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::AdministrativelyProhibited => 1,
            Self::ConnectFailed => 2,
            Self::UnknownChannelType => 3,
            Self::ResourceShortage => 4,
            Self::Other(number) => number,
        }
    }

    pub(crate) fn from_number(number: u32) -> Self {
        match number {
            1 => Self::AdministrativelyProhibited,
            2 => Self::ConnectFailed,
            3 => Self::UnknownChannelType,
            4 => Self::ResourceShortage,
            other => Self::Other(other),
        }
    }
}

/// What a probe found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// A session channel was opened, and closed at once.
    Opened,
    /// It was refused, by `MaxSessions 0` for one: somebody is there all the same.
    Refused,
    /// Not a byte came, neither this answer nor anything else.
    Silent,
}
