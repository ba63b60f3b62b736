//! Acts for every role: relays bytes between SSH channels and their sockets, binds and accepts, lends buffers.
//!
//! Here tokio begins. What is decided is decided below, in `core` and in the SSH engine; what a role does with it is the
//! role's. One task owns a session with all its sockets, so a byte crosses no queue between tasks on its way:
//! [`relay`] is that task's inside, [`wake`] tells it which of its sockets is ready, [`pace`] holds it to a rate. [`data_folder`] is where
//! a role that runs is locked in, and found by others; [`kernel_sockets`] says whose a socket of this machine is.

mod backlog;
pub mod data_folder;
pub mod descriptors;
pub mod gate;
pub mod kernel_sockets;
pub mod listen;
pub mod network;
pub mod pace;
pub mod relay;
pub mod socket;
pub mod storage;
pub mod stream;
pub mod wake;
