//! Makes records of what the configuration means.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use adit_core::{ForwardKind, ForwardSpec, LoopbackAddress};
use adit_ssh::crypto::{PrivateKey, PrivateKeyError};
use adit_store::agent::{
    AuthMethod, Forward, ForwardType, JumpHost, JumpRef, Profile, Record, RecordKind, RecordRef, Saved, Session, Tunnel,
};

use super::answer::Answer;
use super::{ImportError, Imported, LeftOut, SshConfig, read_in_background};
use crate::agent::{AddError, Agent};
use crate::credentials::read_key_file;
use crate::records::{Checked, forward_record};

/// Jumps of jumps; more is a circle.
const LONGEST_WAY: usize = 8;

/// As a tunnel that somebody fills in has it.
const MAX_RETRIES: u32 = 5;

const SSH_PORT: u16 = 22;

impl Agent {
    /// The hosts that `~/.ssh/config` names, in its order.
    ///
    /// # Errors
    /// [`ImportError`]
    pub async fn ssh_hosts(&self) -> Result<Vec<String>, ImportError> {
        self.ssh_config()?.hosts().await
    }

    /// Makes records of hosts of `~/.ssh/config`, of all that it names where none is given. Each becomes a session, each of its forwards a
    /// tunnel that is not started. A record of the same name stays as it is and is used, so importing again adds only what is new.
    ///
    /// # Errors
    /// [`ImportError`]; what was imported before it stays. What is wrong with one host alone is told there, and the others go on.
    pub async fn import_ssh_hosts(&self, hosts: Option<Vec<String>>) -> Result<Vec<Imported>, ImportError> {
        let config = self.ssh_config()?;
        let named = config.hosts().await?;
        let mut import = Import { agent: self, config, known: Known::of(self).await?, now: Imported::of("") };
        let mut all = Vec::new();
        for host in hosts.unwrap_or(named) {
            import.now = Imported::of(&host);
            if let Err(Stop::All(error)) = import.host(&host).await {
                return Err(error);
            }
            all.push(std::mem::replace(&mut import.now, Imported::of("")));
        }
        Ok(all)
    }

    fn ssh_config(&self) -> Result<SshConfig, ImportError> {
        let home = self.places().home.as_deref();
        home.map(SshConfig::of).ok_or_else(|| ImportError::NoConfiguration("~/.ssh/config".into()))
    }
}

impl Imported {
    fn of(host: &str) -> Imported {
        Imported { host: host.to_owned(), added: Vec::new(), present: Vec::new(), left_out: Vec::new() }
    }
}

/// The ids of the records there are, by what people call them.
struct Known(HashMap<(RecordKind, String), String>);

impl Known {
    async fn of(agent: &Agent) -> Result<Known, ImportError> {
        let snapshot = agent.store().snapshot().await?;
        fn named<R: Record>(all: &[Saved<R>]) -> impl Iterator<Item = ((RecordKind, String), String)> {
            all.iter().map(|saved| ((R::KIND, saved.record.title().to_owned()), saved.id.clone()))
        }
        let (profiles, jumps) = (named(&snapshot.profiles), named(&snapshot.jump_hosts));
        let (sessions, tunnels) = (named(&snapshot.sessions), named(&snapshot.tunnels));
        Ok(Known(profiles.chain(jumps).chain(sessions).chain(tunnels).collect()))
    }
}

/// Why something was not imported.
enum Stop {
    /// This host, and it is told.
    Host,
    /// Everything.
    All(ImportError),
}

impl From<ImportError> for Stop {
    fn from(error: ImportError) -> Self {
        Stop::All(error)
    }
}

struct Import<'agent> {
    agent: &'agent Agent,
    config: SshConfig,
    known: Known,
    /// What becomes of the host at hand.
    now: Imported,
}

impl Import<'_> {
    async fn host(&mut self, name: &str) -> Result<(), Stop> {
        let answer = self.ask(name, name, None).await?;
        let jump = self.jump(name, &answer, LONGEST_WAY).await?.map(|(id, _)| JumpRef::Host(id));
        let profile_id = self.profile(name, &answer, None).await?;
        let (host, port) = (answer.host.clone(), answer.port.unwrap_or(SSH_PORT));
        let session = Session {
            name: name.to_owned(),
            host: host.clone(),
            port,
            profile_id: profile_id.clone(),
            jump: jump.clone(),
            forwards: Vec::new(),
            enabled: true,
        };
        self.add(name, session).await?;
        for (kind, typed) in &answer.forwards {
            let what = format!("{} {typed}", keyword(*kind));
            let forward = match forward(*kind, typed) {
                Ok(forward) => forward,
                Err(why) => {
                    self.leave_out(&what, why);
                    continue;
                }
            };
            let tunnel = Tunnel {
                name: format!("{name} {}", tunnel_name(&forward)),
                host: host.clone(),
                port,
                profile_id: profile_id.clone(),
                jump: jump.clone(),
                forward,
                auto_start: false,
                auto_reconnect: true,
                max_retries: MAX_RETRIES,
                enabled: true,
            };
            match self.add(&what, tunnel).await {
                Ok(_) | Err(Stop::Host) => {}
                Err(all) => return Err(all),
            }
        }
        Ok(())
    }

    /// The jump host that a way leads through last, made with all before it: its id and its name.
    async fn jump(&mut self, what: &str, answer: &Answer, depth: usize) -> Result<Option<(String, String)>, Stop> {
        if let Some(command) = &answer.proxy_command {
            let why = "a program leads there; adit connects by itself, or through jumps";
            self.leave_out(&format!("ProxyCommand {command}"), why.to_owned());
            return Err(Stop::Host);
        }
        let mut before: Option<(String, String)> = None;
        for (place, jump) in answer.jumps.iter().enumerate() {
            if depth == 0 {
                self.leave_out(&format!("ProxyJump {jump}"), format!("the way to {what} leads through itself"));
                return Err(Stop::Host);
            }
            let (host, port) = destination(jump);
            let hop = self.ask(&format!("ProxyJump {jump}"), host, port).await?;
            // Of the jumps that a configuration lists, only the first is reached as the configuration says of itself.
            if place == 0 {
                before = Box::pin(self.jump(jump, &hop, depth - 1)).await?;
            }
            let profile_id = self.profile(jump, &hop, before.take()).await?;
            let record = JumpHost {
                name: jump.clone(),
                host: hop.host.clone(),
                port: hop.port.unwrap_or(SSH_PORT),
                profile_id,
                enabled: true,
            };
            before = Some((self.add(&format!("ProxyJump {jump}"), record).await?, jump.clone()));
        }
        Ok(before)
    }

    /// Who logs in there, and by what means. The way to a jump host is its profile's.
    async fn profile(&mut self, host: &str, answer: &Answer, jump: Option<(String, String)>) -> Result<String, Stop> {
        let user = &answer.user;
        let (place, _) = destination(host);
        let name = format!("{user}@{}", place.rsplit_once('@').map_or(place, |(_, alone)| alone));
        let (name, jump) = match jump {
            Some((id, through)) => (format!("{name} via {through}"), Some(JumpRef::Host(id))),
            None => (name, None),
        };
        let (auth_method, key_path) = self.means(answer).await;
        let profile = Profile {
            name,
            username: user.clone(),
            auth_method,
            key_path,
            password_secret: None,
            passphrase_secret: None,
            legacy_algorithms: false,
            jump,
            enabled: true,
        };
        self.add(&format!("User {user}"), profile).await
    }

    /// The first key that is there and opens without a passphrase; else the ssh-agent, which most often has it open.
    async fn means(&self, answer: &Answer) -> (AuthMethod, Option<String>) {
        let home = self.agent.places().home.as_deref();
        for identity in &answer.identities {
            if opens(identity, home).await {
                return (AuthMethod::Key, Some(identity.clone()));
            }
        }
        (AuthMethod::Agent, None)
    }

    async fn ask(&mut self, what: &str, host: &str, port: Option<&str>) -> Result<Answer, Stop> {
        match self.config.ask(host, port).await? {
            Ok(answer) => Ok(answer),
            Err(said) => {
                self.leave_out(what, said);
                Err(Stop::Host)
            }
        }
    }

    /// The id of the record of this name, which is added unless there is one.
    async fn add<R: Checked>(&mut self, what: &str, record: R) -> Result<String, Stop> {
        let name = record.title().to_owned();
        let as_known = (R::KIND, name.clone());
        let refer = |id: &str| RecordRef { kind: R::KIND, id: id.to_owned(), name: name.clone() };
        if let Some(id) = self.known.0.get(&as_known) {
            let present = refer(id);
            // A profile is named by all that log in with it.
            if !self.now.added.contains(&present) && !self.now.present.contains(&present) {
                self.now.present.push(present);
            }
            return Ok(id.clone());
        }
        match self.agent.add(record).await {
            Ok(saved) => {
                self.now.added.push(refer(&saved.id));
                self.known.0.insert(as_known, saved.id.clone());
                Ok(saved.id)
            }
            Err(AddError::Record(adit_store::agent::AddRecordError::Store(error))) => Err(Stop::All(error.into())),
            Err(error) => {
                self.leave_out(what, error.to_string());
                Err(Stop::Host)
            }
        }
    }

    fn leave_out(&mut self, what: &str, why: String) {
        self.now.left_out.push(LeftOut { what: what.to_owned(), why });
    }
}

/// What ssh is asked for, and its port where it stands behind it. ssh reads the rest: `USER@`, brackets, `ssh://`.
fn destination(jump: &str) -> (&str, Option<&str>) {
    match jump.rsplit_once(':') {
        Some((host, port)) if !jump.starts_with("ssh://") && !port.is_empty() && !port.ends_with(']') => {
            (host, Some(port))
        }
        _ => (jump, None),
    }
}

async fn opens(identity: &str, home: Option<&Path>) -> bool {
    let path = match (identity.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(identity),
    };
    match read_in_background(move || read_key_file(&path)).await {
        Ok(text) => !matches!(PrivateKey::from_openssh(&text), Err(PrivateKeyError::Encrypted)),
        Err(_) => false,
    }
}

fn keyword(kind: ForwardKind) -> &'static str {
    match kind {
        ForwardKind::Local => "LocalForward",
        ForwardKind::Dynamic => "DynamicForward",
        ForwardKind::Remote => "RemoteForward",
    }
}

fn tunnel_name(forward: &Forward) -> String {
    match (forward.forward_type, forward.remote_port) {
        (ForwardType::Local, _) => format!("L :{}", forward.local_port),
        (ForwardType::Dynamic, _) => format!("D :{}", forward.local_port),
        (ForwardType::Remote, Some(port)) => format!("R :{port}"),
        (ForwardType::Remote, None) => format!("R → :{}", forward.local_port),
    }
}

/// ssh writes `[LISTEN:]PORT [HOST]:PORT`; with a colon for the blank it is what stands behind `-L`.
fn forward(kind: ForwardKind, typed: &str) -> Result<Forward, String> {
    if kind == ForwardKind::Remote && typed.ends_with(" [socks]:0") {
        return Err("a SOCKS proxy at the far end is not served".to_owned());
    }
    let spec = ForwardSpec::parse(kind, &typed.replacen(' ', ":", 1)).map_err(|error| error.to_string())?;
    forward_record(&spec, |target| this_machine(target.host()))
}

fn this_machine(host: &str) -> Result<LoopbackAddress, String> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(LoopbackAddress::DEFAULT);
    }
    host.parse().map_err(|_| format!("{host} is another machine; a remote forward leads to a service of this one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_asked_for_as_ssh_takes_it() {
        for (jump, asked) in [
            ("bastion", ("bastion", None)),
            ("jane@bastion:2222", ("jane@bastion", Some("2222"))),
            ("[2001:db8::1]:22", ("[2001:db8::1]", Some("22"))),
            ("[2001:db8::1]", ("[2001:db8::1]", None)),
            ("ssh://jane@bastion:2222", ("ssh://jane@bastion:2222", None)),
            ("bastion:", ("bastion:", None)),
        ] {
            assert_eq!(destination(jump), asked, "{jump}");
        }
    }

    #[test]
    fn forwards_are_read_as_ssh_writes_them() {
        let named = |kind, typed| forward(kind, typed).map(|forward| (tunnel_name(&forward), forward));
        for (kind, typed, name, bind, remote) in [
            (ForwardKind::Local, "8080 [intra]:80", "L :8080", "127.0.0.1", Some("intra")),
            (ForwardKind::Local, "[127.0.0.2]:8081 [::1]:81", "L :8081", "127.0.0.2", Some("::1")),
            (ForwardKind::Dynamic, "[::1]:1080", "D :1080", "::1", None),
            (ForwardKind::Remote, "9000 [localhost]:90", "R :9000", "127.0.0.1", Some("127.0.0.1")),
            (ForwardKind::Remote, "[*]:9001 [127.0.0.3]:91", "R :9001", "127.0.0.3", Some("*")),
            (ForwardKind::Remote, "0 [localhost]:94", "R → :94", "127.0.0.1", Some("127.0.0.1")),
        ] {
            let (found, forward) = named(kind, typed).unwrap();
            assert_eq!(
                (&*found, &*forward.bind_address, forward.remote_host.as_deref()),
                (name, bind, remote),
                "{typed}"
            );
        }
        for (kind, typed, why) in [
            (ForwardKind::Local, "[*]:8084 [db]:1", "must be a loopback address"),
            (ForwardKind::Local, "[localhost]:8083 [db]:1", "must be a loopback address"),
            (ForwardKind::Local, "8085 /var/run/x.sock", "socket"),
            (ForwardKind::Remote, "9003 [socks]:0", "a SOCKS proxy at the far end"),
            (ForwardKind::Remote, "9002 [otherbox]:92", "otherbox is another machine"),
        ] {
            let told = forward(kind, typed).unwrap_err();
            assert!(told.contains(why), "{typed}: {told}");
        }
    }
}
