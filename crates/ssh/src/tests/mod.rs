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
//! | [`mutation`] | every message mutated, and the fuzzers' corpus |

mod after_login;
mod before_login;
mod channels;
mod forwards;
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
