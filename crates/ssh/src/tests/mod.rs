//! The engine as a whole: two connections joined back to back on virtual time, and peers that break every rule.
//!
//! | File | Tells |
//! |---|---|
//! | [`pair`] | the two ends, the link between them, and the clock |
//! | [`login`] | version, keys and login, in every combination and any chunking |
//! | [`forwards`] | global requests and the order of their answers |
//! | [`transfer`] | windows, bytes and rekeys, against a model |
//! | [`channels`] | opening, closing, numbers |
//! | [`liveness`] | what happens as time goes by |
//! | [`session`] | holding a client that wants a shell |
//! | [`before_login`], [`after_login`] | attacks |
//! | [`driven`] | a client whose driver is the test |
//! | [`client_login`], [`client_channels`] | what such a client can do |
//! | [`hostile_server`] | attacks on it |
//! | [`mutation`] | every message mutated, and the fuzzers' corpus |

mod after_login;
mod before_login;
mod channels;
mod client_channels;
mod client_login;
mod driven;
mod forwards;
mod hostile_server;
mod liveness;
mod login;
mod message;
mod mutation;
mod pair;
mod session;
/// The fuzzers' bodies, which call the engine by this name.
#[path = "../../../../fuzz/src/targets.rs"]
mod targets;
mod transfer;

use crate as engine;
