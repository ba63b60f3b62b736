//! The door: accepts connections, turns away whom the allow-list or the login gate does not admit, and starts a session for
//! the rest. Nothing is awaited here but the next connection.

use std::net::SocketAddr;
use std::sync::Arc;

use adit_net::{listen, socket};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gate::AtTheGate;
use crate::session;
use crate::shared::Shared;

/// Accepts until `stop`.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, client)) => admit(stream, client, &shared, &tasks, &stop),
            Err(error) if listen::is_exhausted(&error) => {
                tokio::time::sleep(shared.exhausted("connections", &error)).await;
            }
            // About the one connection only, which is gone.
            Err(error) => tracing::debug!(%error, "a connection ended before it was accepted"),
        }
    }
}

fn admit(stream: TcpStream, client: SocketAddr, shared: &Arc<Shared>, tasks: &TaskTracker, stop: &CancellationToken) {
    match AtTheGate::enter(client, shared) {
        Ok(gate) => {
            socket::set_nodelay(&stream);
            tasks.spawn(session::run(stream, client, gate, shared.clone(), stop.clone()));
        }
        Err(reason) => {
            shared.metrics.turned_away(reason);
            tracing::debug!(%client, reason = reason.name(), "connection turned away");
            socket::reset(stream);
        }
    }
}
