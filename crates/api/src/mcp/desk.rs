//! Takes a call, has it carried out, and puts the outcome into words.
//!
//! A failure of what a tool does is a result that says so (`isError`), in the sentence that the command line prints: a model reads it
//! and does better. An error of the protocol, which most clients hide from their model, is left for calls of what does not exist.

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use adit_core::Printable;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ResourceContents, ServerCapabilities,
    ServerConfig, Tool as Described,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError, serve_server_with_ct};
use rmcp::transport::async_rw::AsyncRwTransport;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::resources::{self, Meant};
use super::tools::{self, Call};
use super::{NO_SUCH_TUNNEL, Rules, Services, SetUp};
use crate::failure::Failure;

/// The longest message over standard input. Clients describe themselves at the beginning, with pictures in the text; all else is short.
/// A longer one is thrown away as it arrives, and is not answered: who sent it cannot be read from it.
const LONGEST_LINE: usize = 1024 * 1024;

/// Changes that are under way or wait. One takes 30 s with a bastion that does not answer, and nobody waits for an hour.
const MOST_CHANGES: usize = 16;

const INSTRUCTIONS: &str = "adit makes SSH of this machine reachable through a bastion (tunnel_setup, tunnel_status, tunnel_remove), and \
                            steers the forwards saved in the local agent (agent_tunnel…). Look with tunnel_status before you set \
                            up or remove. A tunnel opens this machine to whoever may log in here from the bastion: set one up only when \
                            your user asks for it. An unknown host key is for a person to judge.";

/// Takes calls. Clones share what is under way.
#[derive(Debug)]
pub struct Desk<S>(Arc<Shared<S>>);

#[derive(Debug)]
struct Shared<S> {
    services: S,
    rules: Rules,
    /// Two set-ups at a time would each find the same port free.
    one_change: Arc<Mutex<()>>,
    /// Those that are under way or wait for that.
    room: Arc<Semaphore>,
    changes: TaskTracker,
    /// Nothing that has not begun begins any more.
    ending: CancellationToken,
}

/// While it lives, a change may go on.
struct Turn {
    _room: OwnedSemaphorePermit,
    _alone: Option<OwnedMutexGuard<()>>,
}

impl<S> Clone for Desk<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Services> Desk<S> {
    /// A desk with nothing under way.
    pub fn new(services: S, rules: Rules) -> Self {
        let room = Arc::new(Semaphore::new(MOST_CHANGES));
        let (one_change, changes, ending) = (Arc::default(), TaskTracker::new(), CancellationToken::new());
        Self(Arc::new(Shared { services, rules, one_change, room, changes, ending }))
    }

    /// Waits until every change that was begun is done, and begins no other. Half of a change is none that anybody asked for.
    pub async fn finish(&self) {
        self.0.ending.cancel();
        self.0.changes.close();
        self.0.changes.wait().await;
    }

    /// `given_up`: nobody waits for it any more, so that it need not begin.
    async fn carry_out(&self, call: Call, given_up: &CancellationToken) -> Result<Value, Failure> {
        match call {
            Call::Status(port) => self.0.services.status(port).await,
            Call::ListOfAgent => self.agent_tunnels().await,
            Call::SetUp { .. } | Call::Remove(_) | Call::Order(..) => {
                let turn = self.turn(&call, given_up).await?;
                // Done to its end, whether or not its client waits for it.
                let desk = self.clone();
                let change = self.0.changes.spawn(async move {
                    let _turn = turn;
                    desk.change(call).await
                });
                change.await.unwrap_or_else(|error| {
                    tracing::error!(%error, "a call broke off");
                    Err(Failure::new("this failed within adit, and its log says why", "internal"))
                })
            }
        }
    }

    /// The right to change something: services one at a time, and of all changes so many.
    async fn turn(&self, call: &Call, given_up: &CancellationToken) -> Result<Turn, Failure> {
        let room = self.0.room.clone().try_acquire_owned();
        let room =
            room.map_err(|_| Failure::new("too many changes wait for each other already; try again later", "busy"))?;
        let never = |why| Failure::new(format!("{why} before this began; nothing was changed"), "given-up");
        let alone = async {
            match call {
                Call::Order(..) => None,
                _ => Some(self.0.one_change.clone().lock_owned().await),
            }
        };
        tokio::select! {
            biased;
            () = self.0.ending.cancelled() => Err(never("adit ended")),
            () = given_up.cancelled() => Err(never("it was cancelled")),
            alone = alone => Ok(Turn { _room: room, _alone: alone }),
        }
    }

    async fn change(&self, call: Call) -> Result<Value, Failure> {
        let services = &self.0.services;
        match call {
            Call::SetUp { port, bastion_server, secret_key_path } => {
                // Judged now that it is about to be read: while this waited, another file may have come into its place.
                let secret_key_path = self.permitted(secret_key_path).await?;
                services.set_up(SetUp { port, bastion_server, secret_key_path }).await
            }
            Call::Remove(port) => services.remove(port).await,
            Call::Order(order, tunnel) => Ok(json!({"tunnel": services.agent_order(order, tunnel).await?})),
            Call::Status(port) => services.status(port).await,
            Call::ListOfAgent => self.agent_tunnels().await,
        }
    }

    async fn agent_tunnels(&self) -> Result<Value, Failure> {
        Ok(json!({"tunnels": self.0.services.agent_tunnels().await?}))
    }

    async fn permitted(&self, named: Option<String>) -> Result<Option<PathBuf>, Failure> {
        let Some(named) = named.map(PathBuf::from).or_else(|| self.0.rules.usual_key.clone()) else { return Ok(None) };
        let keys = self.0.rules.keys.clone();
        let judged = tokio::task::spawn_blocking(move || keys.permit(&named)).await;
        judged.map_err(|error| Failure::new(error.to_string(), "internal"))?.map(Some)
    }
}

impl<S: Services> ServerHandler for Desk<S> {
    fn get_info(&self) -> ServerConfig {
        let this = Implementation::new("adit", env!("CARGO_PKG_VERSION")).with_title("adit: tunnels over SSH");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_resources().build())
            .with_server_info(this)
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::described()))
    }

    fn get_tool(&self, name: &str) -> Option<Described> {
        tools::find(name).map(tools::Tool::described)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::find(&request.name) else {
            let shown = Printable::from(&*request.name).at_most(60);
            return Err(ErrorData::invalid_params(
                format!("there is no tool “{shown}”; tools/list shows which there are"),
                None,
            ));
        };
        let outcome = match tool.read(&request.arguments.unwrap_or_default()) {
            Ok(call) => self.carry_out(call, &context.ct).await,
            Err(failure) => Err(failure),
        };
        Ok(outcome.map_or_else(failed, CallToolResult::structured).into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::resources()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let meant = resources::find(&request.uri).map_err(|told| ErrorData::resource_not_found(told, None))?;
        let looked = match meant {
            Meant::Tunnels(port) => self.0.services.status(port).await,
            Meant::AgentTunnels => self.agent_tunnels().await,
        };
        let found = looked.map_err(unread)?;
        let contents = ResourceContents::text(found.to_string(), request.uri).with_mime_type(resources::JSON);
        Ok(ReadResourceResult::new(vec![contents]).into())
    }
}

/// The sentence, as text alone for a model and with its code for a program.
fn failed(failure: Failure) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(failure.error.clone())]);
    result.structured_content = Some(json!(failure));
    result
}

/// A resource has no result that says it failed.
fn unread(failure: Failure) -> ErrorData {
    let data = Some(json!(failure));
    match failure.code == NO_SUCH_TUNNEL {
        true => ErrorData::resource_not_found(failure.error, data),
        false => ErrorData::internal_error(failure.error, data),
    }
}

/// Serves whoever started this program, over its standard input and output: nothing else may write there. As [`serve_streams`].
///
/// # Errors
/// As [`serve_streams`].
pub async fn serve_stdio<S: Services>(desk: Desk<S>, stop: impl Future<Output = ()>) -> io::Result<()> {
    let (read, write) = rmcp::transport::io::stdio_pipes();
    serve_streams(desk, read, write, stop).await
}

/// Serves one client, a line for a message, until it closes its end or until `stop`. Changes under way go on:
/// [`Desk::finish`] waits for them.
///
/// # Errors
/// The client begins with something else than the protocol.
pub async fn serve_streams<S: Services>(
    desk: Desk<S>,
    read: impl AsyncRead + Send + Unpin + 'static,
    write: impl AsyncWrite + Send + Unpin + 'static,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let transport = AsyncRwTransport::new_server(read, write).with_max_line_length(LONGEST_LINE);
    let stopping = CancellationToken::new();
    let serving = async {
        match serve_server_with_ct(desk, transport, stopping.clone()).await {
            Ok(session) => session.waiting().await.map(drop).map_err(io::Error::other),
            // A client that has nothing to ask, and an end before anybody asked.
            Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    };
    let mut serving = pin!(serving);
    tokio::select! {
        outcome = serving.as_mut() => return outcome,
        () = stop => stopping.cancel(),
    }
    serving.await
}
