//! What the saved records mean: which forward, to which server, as whom, over which way. Plain functions of one snapshot of the
//! store; nothing here reads a file or asks anybody.

mod check;

use std::path::PathBuf;
use std::sync::Arc;

use adit_core::{
    ConnectionKey, ForwardSpec, Jump, LocalListen, LoopbackAddress, Port, ReconnectPolicy, RecordId, RemoteListen,
    Target,
};
use adit_store::agent::{
    AuthMethod, Forward, ForwardType, HostKeyPolicy, JumpRef, Profile, Saved, Session, Snapshot, Tunnel,
};
use thiserror::Error;

pub use check::{Checked, InvalidRecord};

use crate::credentials::{Credentials, Method};
use crate::dial::{Hop, HopSettings};
use crate::known_hosts::{HostKeys, Policy};

/// What the ids of tunnels that belong to a session begin with.
const SESSION_PREFIX: &str = "session:";

/// Where this person's files are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The host keys this agent knows; it adds to them.
    pub known_hosts: PathBuf,
    /// More of them, which it only reads: `~/.ssh/known_hosts`.
    pub other_known_hosts: Vec<PathBuf>,
    /// What `~/` in the path of a key stands for.
    pub home: Option<PathBuf>,
}

/// A tunnel as it is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) name: Arc<str>,
    /// Whose it is, where it is not kept by itself.
    pub(crate) session: Option<RecordId>,
    pub(crate) forward: ForwardSpec,
    pub(crate) key: ConnectionKey,
    pub(crate) policy: ReconnectPolicy,
    pub(crate) auto_start: bool,
    pub(crate) enabled: bool,
}

impl Plan {
    /// Whether what runs by this plan can go on by that one.
    pub(crate) fn runs_like(&self, other: &Plan) -> bool {
        (&self.forward, &self.key, self.enabled) == (&other.forward, &other.key, other.enabled)
    }

    /// Where it listens on this machine, if it does.
    pub(crate) fn listen(&self) -> Option<LocalListen> {
        match self.forward {
            ForwardSpec::Local { listen, .. } | ForwardSpec::Dynamic { listen } => Some(listen),
            ForwardSpec::Remote { .. } => None,
        }
    }
}

/// Why a record leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum NoWay {
    /// It was removed meanwhile.
    #[error("the {kind} {id} is not there any more")]
    Missing {
        /// What it was.
        kind: &'static str,
        /// Its id.
        id: RecordId,
    },
    /// It is switched off.
    #[error("the {kind} “{name}” is disabled")]
    Disabled {
        /// What it is.
        kind: &'static str,
        /// What people call it.
        name: String,
    },
    /// What is saved is not fit for use.
    #[error("the {kind} “{name}”: {why}")]
    Invalid {
        /// What it is.
        kind: &'static str,
        /// What people call it.
        name: String,
        /// Why.
        why: InvalidRecord,
    },
}

/// All records at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Records {
    snapshot: Snapshot,
}

impl Records {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot }
    }

    /// Every saved tunnel. One that is not fit for use, which only another program can have written, is left out and logged.
    pub(crate) fn tunnels(&self) -> Vec<(RecordId, Plan)> {
        let plan = |saved: &Saved<Tunnel>| match self.tunnel(&saved.record) {
            Ok(plan) => Some((RecordId::from(&*saved.id), plan)),
            Err(error) => {
                tracing::warn!(tunnel = %saved.id, %error, "a saved tunnel cannot be used");
                None
            }
        };
        self.snapshot.tunnels.iter().filter_map(plan).collect()
    }

    fn tunnel(&self, tunnel: &Tunnel) -> Result<Plan, NoWay> {
        let invalid = |why| NoWay::Invalid { kind: "tunnel", name: tunnel.name.clone(), why };
        let profile = self.profile(&RecordId::from(&*tunnel.profile_id))?;
        Ok(Plan {
            name: tunnel.name.as_str().into(),
            session: None,
            forward: forward_spec(&tunnel.forward).map_err(invalid)?,
            key: key(&tunnel.host, tunnel.port, &tunnel.profile_id, tunnel.jump.as_ref(), profile).map_err(invalid)?,
            policy: ReconnectPolicy::new(tunnel.auto_reconnect, tunnel.max_retries),
            auto_start: tunnel.auto_start,
            enabled: tunnel.enabled,
        })
    }

    pub(crate) fn has_session(&self, id: &RecordId) -> bool {
        self.saved_session(id).is_ok()
    }

    /// The connection of a session, and the tunnels that come and go with it.
    pub(crate) fn session(&self, id: &RecordId) -> Result<(ConnectionKey, Vec<(RecordId, Plan)>), NoWay> {
        let session = self.saved_session(id)?;
        let invalid = |why| NoWay::Invalid { kind: "session", name: session.name.clone(), why };
        if !session.enabled {
            return Err(NoWay::Disabled { kind: "session", name: session.name.clone() });
        }
        let key = self.session_key(session)?;
        let mut plans = Vec::new();
        for (number, wanted) in session.forwards.iter().enumerate().filter(|(_, wanted)| wanted.enabled) {
            let forward = forward_spec(&wanted.forward).map_err(invalid)?;
            let name = match &forward {
                ForwardSpec::Local { listen, .. } | ForwardSpec::Dynamic { listen } => listen.port.get(),
                ForwardSpec::Remote { listen, .. } => listen.port.map_or(0, Port::get),
            };
            let plan = Plan {
                name: format!("Session forward :{name}").into(),
                session: Some(id.clone()),
                forward,
                key: key.clone(),
                // Their life is the session's.
                policy: ReconnectPolicy::Never,
                auto_start: false,
                enabled: true,
            };
            plans.push((RecordId::from(&*format!("{SESSION_PREFIX}{id}:{number}")), plan));
        }
        Ok((key, plans))
    }

    /// The server of a connection, with all that a login there takes; and through which connection it is reached.
    pub(crate) fn way(&self, key: &ConnectionKey, places: &Places) -> Result<(Hop, Option<ConnectionKey>), NoWay> {
        let saved = self.saved_profile(key.profile())?;
        let profile = &saved.record;
        if !profile.enabled {
            return Err(NoWay::Disabled { kind: "profile", name: profile.name.clone() });
        }
        let mut settings = HopSettings::default();
        if profile.legacy_algorithms {
            settings.algorithms = settings.algorithms.with_old();
        }
        let hop = Hop {
            host: key.host().to_owned(),
            port: key.port(),
            user: profile.username.clone(),
            credentials: credentials(saved, places),
            host_keys: HostKeys {
                policy: match self.snapshot.settings.host_key_policy {
                    HostKeyPolicy::Strict => Policy::Strict,
                    HostKeyPolicy::Ask => Policy::Ask,
                    HostKeyPolicy::AcceptNew => Policy::AcceptNew,
                },
                file: places.known_hosts.clone(),
                others: places.other_known_hosts.clone(),
            },
            settings,
        };
        let jump = key.jump().map(|jump| self.jump_key(jump)).transpose()?;
        Ok((hop, jump))
    }

    /// Whether a login with this connection's profile, or on the way to it, needs a secret that is kept for it.
    pub(crate) fn needs_secrets(&self, key: &ConnectionKey) -> bool {
        let needs = |id: &RecordId| {
            self.profile(id).is_ok_and(|profile| match profile.auth_method {
                AuthMethod::Password | AuthMethod::KeyboardInteractive => profile.password_secret.is_some(),
                AuthMethod::Key => profile.passphrase_secret.is_some(),
                AuthMethod::Agent => false,
            })
        };
        let mut way = vec![key.clone()];
        // The store lets no way lead through itself.
        while let Some(Ok(next)) = way.last().and_then(ConnectionKey::jump).map(|jump| self.jump_key(jump)) {
            way.push(next);
        }
        way.iter().any(|key| needs(key.profile()))
    }

    fn jump_key(&self, jump: &Jump) -> Result<ConnectionKey, NoWay> {
        match jump {
            Jump::Session(id) => {
                let session = self.saved_session(id)?;
                if !session.enabled {
                    return Err(NoWay::Disabled { kind: "session", name: session.name.clone() });
                }
                self.session_key(session)
            }
            Jump::Host(id) => {
                let saved = self.snapshot.jump_hosts.iter().find(|saved| saved.id == id.as_str());
                let host = &saved.ok_or_else(|| NoWay::Missing { kind: "jump host", id: id.clone() })?.record;
                if !host.enabled {
                    return Err(NoWay::Disabled { kind: "jump host", name: host.name.clone() });
                }
                let profile = self.profile(&RecordId::from(&*host.profile_id))?;
                key(&host.host, host.port, &host.profile_id, None, profile).map_err(|why| NoWay::Invalid {
                    kind: "jump host",
                    name: host.name.clone(),
                    why,
                })
            }
        }
    }

    fn session_key(&self, session: &Session) -> Result<ConnectionKey, NoWay> {
        let profile = self.profile(&RecordId::from(&*session.profile_id))?;
        key(&session.host, session.port, &session.profile_id, session.jump.as_ref(), profile)
            .map_err(|why| NoWay::Invalid { kind: "session", name: session.name.clone(), why })
    }

    fn profile(&self, id: &RecordId) -> Result<&Profile, NoWay> {
        self.saved_profile(id).map(|saved| &saved.record)
    }

    fn saved_profile(&self, id: &RecordId) -> Result<&Saved<Profile>, NoWay> {
        let saved = self.snapshot.profiles.iter().find(|saved| saved.id == id.as_str());
        saved.ok_or_else(|| NoWay::Missing { kind: "profile", id: id.clone() })
    }

    fn saved_session(&self, id: &RecordId) -> Result<&Session, NoWay> {
        let saved = self.snapshot.sessions.iter().find(|saved| saved.id == id.as_str());
        saved.map(|saved| &saved.record).ok_or_else(|| NoWay::Missing { kind: "session", id: id.clone() })
    }
}

fn key(
    host: &str,
    port: u16,
    profile_id: &str,
    jump: Option<&JumpRef>,
    profile: &Profile,
) -> Result<ConnectionKey, InvalidRecord> {
    let port = check::port("port", port)?;
    let target = Target::new(host, port)?;
    let by_id = |jump: &JumpRef| match jump {
        JumpRef::Host(id) => Jump::Host(RecordId::from(&**id)),
        JumpRef::Session(id) => Jump::Session(RecordId::from(&**id)),
    };
    let (chosen, inherited) = (jump.map(by_id), profile.jump.as_ref().map(by_id));
    Ok(ConnectionKey::new(target.host(), port, RecordId::from(profile_id), chosen, inherited))
}

fn credentials(profile: &Saved<Profile>, places: &Places) -> Credentials {
    let Profile { name, auth_method, key_path, password_secret, .. } = &profile.record;
    let methods = match auth_method {
        AuthMethod::Password => vec![Method::Password],
        AuthMethod::Key => vec![Method::KeyFile { path: key_path.as_deref().map(|path| in_home(path, places)) }],
        AuthMethod::Agent => vec![Method::SshAgent { socket: None, only: None }],
        // A stored password answers where one hidden question is asked; a person answers the rest.
        AuthMethod::KeyboardInteractive if password_secret.is_some() => {
            vec![Method::Password, Method::KeyboardInteractive]
        }
        AuthMethod::KeyboardInteractive => vec![Method::KeyboardInteractive],
    };
    Credentials { profile: name.as_str().into(), id: RecordId::from(&*profile.id), methods }
}

fn in_home(path: &str, places: &Places) -> PathBuf {
    match (path.strip_prefix("~/"), &places.home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    }
}

/// A forward as a record, for [`ForwardSpec`]s that people typed. A remote one leads to a service of this machine; `service` says at which
/// address.
///
/// # Errors
/// What `service` says.
pub fn forward_record<E>(
    spec: &ForwardSpec,
    service: impl FnOnce(&Target) -> Result<LoopbackAddress, E>,
) -> Result<Forward, E> {
    let here = |forward_type, listen: &LocalListen, target: Option<&Target>| Forward {
        forward_type,
        local_port: listen.port.get(),
        bind_address: listen.address.to_string(),
        remote_host: target.map(|target| target.host().to_owned()),
        remote_port: target.map(|target| target.port().get()),
    };
    Ok(match spec {
        ForwardSpec::Local { listen, target } => here(ForwardType::Local, listen, Some(target)),
        ForwardSpec::Dynamic { listen } => here(ForwardType::Dynamic, listen, None),
        ForwardSpec::Remote { listen, target } => remote_record(listen, service(target)?, target.port()),
    })
}

/// A remote forward to this address and port of this machine, as a record.
pub fn remote_record(listen: &RemoteListen, address: LoopbackAddress, port: Port) -> Forward {
    Forward {
        forward_type: ForwardType::Remote,
        local_port: port.get(),
        bind_address: address.to_string(),
        remote_host: Some(if listen.address.is_empty() { "*".to_owned() } else { listen.address.clone().into() }),
        remote_port: listen.port.map(Port::get),
    }
}

/// A forward as it was filled in. For a remote one, `remote_host` is the address at which the server is to listen:
/// [`RemoteListen::LOOPBACK`] unless it says otherwise, everywhere if it says `*`, as ssh(1) has it.
pub(crate) fn forward_spec(forward: &Forward) -> Result<ForwardSpec, InvalidRecord> {
    let address: LoopbackAddress = forward.bind_address.parse()?;
    let port = check::port("local_port", forward.local_port)?;
    let listen = LocalListen { address, port };
    match forward.forward_type {
        ForwardType::Local => {
            let host = forward.remote_host.as_deref().ok_or(InvalidRecord::Missing("remote_host"))?;
            let number = forward.remote_port.ok_or(InvalidRecord::Missing("remote_port"))?;
            Ok(ForwardSpec::Local { listen, target: Target::new(host, check::port("remote_port", number)?)? })
        }
        ForwardType::Dynamic => Ok(ForwardSpec::Dynamic { listen }),
        ForwardType::Remote => {
            let host = forward.remote_host.as_deref().unwrap_or(RemoteListen::LOOPBACK);
            let listen = RemoteListen {
                address: if host == "*" { "" } else { host }.into(),
                port: forward.remote_port.and_then(Port::new),
            };
            Ok(ForwardSpec::Remote { listen, target: Target::from((address.ip(), port)) })
        }
    }
}
