//! Tunnels: does what each of them wishes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use adit_core::{
    Attempt, BindFailure, ConnectionId, ForwardSpec, LoginFailure, LossReason, Port, PortHolder, RecordId, TunnelWish,
};
use tokio::task::AbortHandle;

use super::orders::{Begin, StartError, Started};
use super::{Done, Fact, Member, Run, Supervisor, TunnelView};
use crate::busy_port;
use crate::link::{ForwardError, Lane, LaneId, Link, Traffic};
use crate::listener::{LocalListener, Towards};
use crate::records::Plan;

/// A tunnel, with what it holds.
pub(super) struct Tunnel {
    pub(super) plan: Plan,
    pub(super) machine: adit_core::Tunnel,
    /// Its part of the connection it stands on.
    pub(super) lane: Option<Arc<Lane>>,
    run: Run,
    connection: Option<ConnectionId>,
    listener: Option<LocalListener>,
    binding: Option<Binding>,
    /// A remote forward that was asked for.
    asking: Option<AbortHandle>,
    traffic: Arc<Traffic>,
    last_refusal: Option<Arc<str>>,
    /// Who wants to hear whether its port could be bound.
    starters: Vec<Started>,
}

/// A port that is not bound yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Binding {
    attempt: Attempt,
    /// It is ours until now, and about to be free.
    waits: bool,
}

impl Tunnel {
    pub(super) fn is_running(&self) -> bool {
        self.machine.status().is_running()
    }

    /// What it had on its connection ends.
    fn let_go_of_lane(&mut self) {
        self.connection = None;
        if let Some(asking) = self.asking.take() {
            asking.abort();
        }
        if let Some(listener) = &self.listener {
            listener.set_lane(None);
        }
        if let Some(lane) = self.lane.take() {
            // Clients that are still saying what they want hold it too.
            lane.end();
        }
    }

    fn answer_starters(&mut self, answer: &Result<(), StartError>) {
        answer_all(std::mem::take(&mut self.starters), answer);
    }
}

fn answer_all(starters: Vec<Started>, answer: &Result<(), StartError>) {
    for starter in starters {
        // Who does not wait any more need not know.
        drop(starter.send(answer.clone()));
    }
}

impl Supervisor {
    /// A tunnel that does not run yet, in the place of the one that had its id. What that carried stays counted.
    pub(super) fn insert(&mut self, id: &RecordId, plan: Plan) {
        self.last_run += 1;
        let traffic = self.tunnels.get(id).map_or_else(Traffic::new, |before| before.traffic.clone());
        let tunnel = Tunnel {
            machine: adit_core::Tunnel::new(plan.forward.kind(), plan.policy),
            plan,
            lane: None,
            run: Run(self.last_run),
            connection: None,
            listener: None,
            binding: None,
            asking: None,
            traffic,
            last_refusal: None,
            starters: Vec::new(),
        };
        self.tunnels.insert(id.clone(), tunnel);
        self.publish(id);
    }

    /// Stops a tunnel and forgets it.
    pub(super) fn remove(&mut self, id: &RecordId, done: Option<&Done>) {
        self.stop(id, done);
        self.tunnels.remove(id);
        self.board.send_modify(|board| board.remove_tunnel(id));
    }

    pub(super) fn begin(&mut self, id: &RecordId, how: Begin, answer: Option<Started>) {
        let Some(tunnel) = self.tunnels.get_mut(id) else { return };
        let begun = match how {
            Begin::Start => tunnel.machine.handle_start(),
            Begin::Reconnect => {
                tunnel.machine.handle_reconnect();
                Ok(())
            }
        };
        if let Err(refused) = begun {
            if let Some(answer) = answer {
                drop(answer.send(Err(refused.into())));
            }
            return;
        }
        tunnel.starters.extend(answer);
        self.settle();
        if let Some(tunnel) = self.tunnels.get_mut(id)
            && tunnel.binding.is_none()
        {
            tunnel.answer_starters(&Ok(()));
        }
    }

    /// Whoever waits to hear that a port is bound hears it when nothing is left to be done, so that the board says so too.
    pub(super) fn answer_bound(&mut self) {
        answer_all(std::mem::take(&mut self.bound), &Ok(()));
    }

    /// Stops a tunnel. `done` is held until its port is free.
    pub(super) fn stop(&mut self, id: &RecordId, done: Option<&Done>) {
        self.tell(id, adit_core::Tunnel::handle_stop);
        let listen = self.tunnels.get(id).and_then(|tunnel| tunnel.plan.listen());
        let address = listen.map(|listen| listen.address.with_port(listen.port));
        if let Some(waiting) = address.and_then(|address| self.closing.get_mut(&address)) {
            waiting.extend(done.cloned());
        }
    }

    /// Lets a tunnel live through something, and does what it then wishes.
    pub(super) fn tell(&mut self, id: &RecordId, what: impl FnOnce(&mut adit_core::Tunnel)) {
        if let Some(tunnel) = self.tunnels.get_mut(id) {
            what(&mut tunnel.machine);
            self.settle();
        }
    }

    pub(super) fn perform(&mut self, id: &RecordId, wish: TunnelWish) {
        let Some(tunnel) = self.tunnels.get_mut(id) else { return };
        match wish {
            TunnelWish::Bind(attempt) => self.bind(id, attempt),
            TunnelWish::Unbind => self.unbind(id),
            TunnelWish::Acquire => {
                let key = tunnel.plan.key.clone();
                self.pool.handle_acquire(Member::Tunnel(id.clone()), key, Instant::now());
            }
            TunnelWish::Release => {
                tunnel.let_go_of_lane();
                self.pool.handle_release(&Member::Tunnel(id.clone()));
            }
            TunnelWish::OpenRemoteForward { attempt, .. } => self.open_forward(id, attempt),
            // Its lane is given back next, and takes the forward along.
            TunnelWish::CancelRemoteForward { .. } => tunnel.let_go_of_lane(),
            TunnelWish::StatusChanged(status) => {
                match status.last_error() {
                    Some(why) => tracing::warn!(tunnel = %id, name = %tunnel.plan.name, status = status.name(), %why),
                    None => tracing::info!(tunnel = %id, name = %tunnel.plan.name, status = status.name()),
                }
                self.means.journal.write_status(id, &tunnel.plan.name, &status);
                self.publish(id);
            }
        }
    }

    // ── the local port ──────────────────────────────────────────────────────────────────────────────────────────

    fn bind(&mut self, id: &RecordId, attempt: Attempt) {
        let Some(tunnel) = self.tunnels.get_mut(id) else { return };
        let (listen, towards) = match &tunnel.plan.forward {
            ForwardSpec::Local { listen, target } => (*listen, Towards::Target(target.clone())),
            ForwardSpec::Dynamic { listen } => (*listen, Towards::Socks),
            // Nothing is bound for it.
            ForwardSpec::Remote { .. } => return,
        };
        let address = listen.address.with_port(listen.port);
        let waits = self.closing.contains_key(&address);
        tunnel.binding = Some(Binding { attempt, waits });
        if waits {
            return;
        }
        match LocalListener::bind(listen, towards) {
            Ok(listener) => {
                tunnel.listener = Some(listener);
                tunnel.binding = None;
                tunnel.machine.handle_bound(attempt);
                self.bound.append(&mut tunnel.starters);
            }
            Err(error) => {
                let (tunnel, run) = (id.clone(), tunnel.run);
                let ours = self.tunnel_at(address);
                self.jobs.spawn_blocking(move || {
                    let mut why = busy_port::explain(address, &error);
                    if let (BindFailure::PortHeld { holder: Some(holder), .. }, Some(name)) = (&mut why, ours) {
                        *holder = PortHolder { name: format!("the tunnel “{name}”").into(), pid: holder.pid };
                    }
                    Fact::NotBound { tunnel, run, attempt, why }
                });
            }
        }
    }

    /// What the tunnel is called that listens there.
    fn tunnel_at(&self, address: SocketAddr) -> Option<Arc<str>> {
        let listens = |tunnel: &&Tunnel| tunnel.listener.as_ref().is_some_and(|listener| listener.address() == address);
        self.tunnels.values().find(listens).map(|tunnel| tunnel.plan.name.clone())
    }

    fn unbind(&mut self, id: &RecordId) {
        let Some(tunnel) = self.tunnels.get_mut(id) else { return };
        tunnel.binding = None;
        tunnel.answer_starters(&Err(StartError::Stopped));
        if let Some(listener) = tunnel.listener.take() {
            let address = listener.address();
            self.closing.entry(address).or_default();
            self.jobs.spawn(async move {
                listener.close().await;
                Fact::Closed(address)
            });
        }
    }

    pub(super) fn handle_not_bound(&mut self, id: &RecordId, run: Run, attempt: Attempt, why: BindFailure) {
        let Some(tunnel) = self.tunnels.get_mut(id) else { return };
        if tunnel.run != run || tunnel.binding != Some(Binding { attempt, waits: false }) {
            return;
        }
        tunnel.binding = None;
        let starters = std::mem::take(&mut tunnel.starters);
        let refused = StartError::from(why.clone());
        self.tell(id, |machine| machine.handle_bind_failed(attempt, why));
        // The board says so too by now.
        answer_all(starters, &Err(refused));
    }

    /// A port is free again: for whoever waited for that, and for the next of our own.
    pub(super) fn handle_closed(&mut self, address: SocketAddr) {
        self.closing.remove(&address);
        let waits = |tunnel: &Tunnel| {
            let binding = tunnel.binding.filter(|binding| binding.waits)?;
            let listen = tunnel.plan.listen()?;
            (listen.address.with_port(listen.port) == address).then_some(binding.attempt)
        };
        let waiting: Vec<_> =
            self.tunnels.iter().filter_map(|(id, tunnel)| Some((id.clone(), waits(tunnel)?))).collect();
        for (id, attempt) in waiting {
            self.bind(&id, attempt);
            self.settle();
        }
    }

    // ── the connection ──────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn handle_tunnel_up(&mut self, id: &RecordId, connection: ConnectionId, link: &Link) {
        let Some(tunnel) = self.tunnels.get_mut(id) else { return };
        let lane = Arc::new(link.lane(&tunnel.traffic));
        tunnel.connection = Some(connection);
        tunnel.lane = Some(lane.clone());
        if let Some(listener) = &tunnel.listener {
            listener.set_lane(Some(lane));
        }
        tunnel.machine.handle_connection_up(connection, Instant::now());
    }

    pub(super) fn handle_tunnel_refused(&mut self, id: &RecordId, why: LoginFailure) {
        if let Some(tunnel) = self.tunnels.get_mut(id) {
            tunnel.machine.handle_login_failed(why, Instant::now());
        }
    }

    pub(super) fn handle_tunnel_lost(&mut self, id: &RecordId, connection: ConnectionId, why: LossReason) {
        if let Some(tunnel) = self.tunnels.get_mut(id) {
            tunnel.let_go_of_lane();
            tunnel.machine.handle_connection_lost(connection, why, Instant::now());
        }
    }

    fn open_forward(&mut self, id: &RecordId, attempt: Attempt) {
        let Some(tunnel) = self.tunnels.get_mut(id) else { return };
        let (ForwardSpec::Remote { listen, target }, Some(lane)) = (&tunnel.plan.forward, &tunnel.lane) else { return };
        let (listen, target, lane) = (listen.clone(), target.clone(), lane.clone());
        let (id, run) = (id.clone(), tunnel.run);
        tunnel.asking = Some(self.jobs.spawn(async move {
            let outcome = lane.request_forward(&listen, &target).await;
            Fact::Forward { tunnel: id, run, attempt, outcome }
        }));
    }

    pub(super) fn handle_forward_answer(
        &mut self,
        id: &RecordId,
        run: Run,
        attempt: Attempt,
        outcome: Result<Port, ForwardError>,
    ) {
        if self.tunnels.get(id).is_none_or(|tunnel| tunnel.run != run) {
            return;
        }
        let now = Instant::now();
        match outcome {
            Ok(port) => self.tell(id, |machine| machine.handle_forward_granted(attempt, port, now)),
            // The end of the link is told by itself, and says more.
            Err(ForwardError::LinkOver) => {}
            Err(why @ (ForwardError::Refused | ForwardError::Unanswered)) => {
                self.tell(id, |machine| machine.handle_forward_refused(attempt, &why.to_string(), now));
            }
        }
    }

    pub(super) fn handle_refusal(&mut self, connection: ConnectionId, lane: LaneId, text: Arc<str>) {
        let is_its = |tunnel: &Tunnel| {
            tunnel.connection == Some(connection) && tunnel.lane.as_ref().is_some_and(|own| own.id() == lane)
        };
        let Some((id, tunnel)) = self.tunnels.iter_mut().find(|(_, tunnel)| is_its(tunnel)) else { return };
        // A target that refuses a thousand times is news once, also in the log: strangers may be the ones who try.
        if tunnel.last_refusal.as_ref() != Some(&text) {
            tracing::info!(name = %tunnel.plan.name, "a connection was not made: {text}");
            self.means.journal.write_refusal(id, &tunnel.plan.name, &tunnel.machine.status(), &text);
            tunnel.last_refusal = Some(text);
            let id = id.clone();
            self.publish(&id);
        }
    }

    // ── what is to be seen ──────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn publish(&self, id: &RecordId) {
        let Some(tunnel) = self.tunnels.get(id) else { return };
        let view = TunnelView {
            name: tunnel.plan.name.clone(),
            session: tunnel.plan.session.clone(),
            forward: tunnel.plan.forward.clone(),
            via: tunnel.plan.key.host().into(),
            status: tunnel.machine.status(),
            traffic: tunnel.traffic.clone(),
            last_refusal: tunnel.last_refusal.clone(),
        };
        self.board.send_modify(|board| drop(board.tunnels.insert(id.clone(), view)));
    }
}
