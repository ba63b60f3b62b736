//! Host keys that nobody has judged yet: `adit host`, and the question that a login asks which failed because of one. A key that has
//! changed is judged by `adit host trust --replace` alone, never in passing.

use adit_api::agent::view::{KnownKeyView, UnknownHost};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Asker, Common, help};
use crate::failure::Failure;
use crate::output::shown;
use crate::terminal::Terminal;

const HELP: &str = help!(
    "Examples:
  adit host list
      hosts that showed a key which nobody has judged, because of which a login failed
  adit host trust bastion
      shows the key's fingerprint, and asks whether it is right
  adit host trust '[bastion]:2222' --accept-host-key SHA256:…
      for scripts: takes the key if it has this fingerprint
  adit host trust bastion --replace
      for a server that was set up anew: shows the old key and the new one, and asks; the old one is forgotten
  adit host reject bastion
      takes the host off the list, until a login meets it again

Compare the fingerprint with what the server's owner says, or with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there."
);

/// `adit host`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the hosts whose key waits for a judgement
    List,
    /// Take a host's key as right from now on
    Trust {
        /// The host, as `host list` shows it
        host: String,
        #[command(flatten)]
        accepted: Accepted,
        /// Put it into the place of the key by which the host is known
        #[arg(long)]
        replace: bool,
    },
    /// Take a host off the list whose key is not right
    Reject {
        /// The host, as `host list` shows it
        host: String,
    },
}

/// Keys that were compared before.
#[derive(Debug, Default, Args)]
pub(super) struct Accepted {
    /// Take a host key that is not known if it has this fingerprint; once for each host on the way
    #[arg(long = "accept-host-key", value_name = "FINGERPRINT")]
    fingerprints: Vec<String>,
    /// Nobody is there to be asked about another one.
    #[arg(skip)]
    is_unattended: bool,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let asker = Asker::new(&arguments.common)?;
    match arguments.command {
        Command::List => asker.output.answer(&unknown(&asker).await?, |hosts| table(&asker, hosts)),
        Command::Trust { host, accepted, replace } => {
            let found = waiting(&asker, host).await?;
            if found.known.is_empty() {
                trust(&asker, &found, &accepted).await?;
            } else {
                replace_known(&asker, &found, &accepted, replace).await?;
            }
            let told = format!("{} is known from now on.", shown(&found.host));
            asker.output.answer(&found, |_| told)
        }
        Command::Reject { host } => {
            let found = waiting(&asker, host).await?;
            let judgement = json!({"host": found.host, "fingerprint": found.fingerprint});
            asker.client.post::<()>("/hosts/reject", &judgement).await?;
            let told = format!("{} is off the list, until a login meets it again.", shown(&found.host));
            asker.output.answer(&found, |_| told)
        }
    }
}

async fn waiting(asker: &Asker, host: String) -> Result<UnknownHost, Failure> {
    let found = unknown(asker).await?.into_iter().find(|unknown| unknown.host == host);
    found.ok_or(Failure::NoSuch { kind: "host that waits for a judgement", typed: host, list: "adit host list" })
}

/// Where a login failed because of keys of unknown hosts, has them judged. `false`: it failed for another reason.
pub(super) async fn judge(asker: &Asker, told: &str, accepted: &Accepted) -> Result<bool, Failure> {
    let mut judged = false;
    let is_meant = |host: &&UnknownHost| host.known.is_empty() && told.contains(&host.fingerprint);
    for host in unknown(asker).await?.iter().filter(is_meant) {
        trust(asker, host, accepted).await?;
        judged = true;
    }
    Ok(judged)
}

async fn unknown(asker: &Asker) -> Result<Vec<UnknownHost>, Failure> {
    Ok(asker.client.get("/hosts/unknown").await?)
}

async fn trust(asker: &Asker, unknown: &UnknownHost, accepted: &Accepted) -> Result<(), Failure> {
    let UnknownHost { host, key_type, fingerprint, .. } = unknown;
    let name = shown(host);
    if !accepted.is_it(unknown)? {
        let answer = match accepted.is_unattended {
            true => None,
            false => Terminal::default().confirm_key(&name, key_type, fingerprint).await,
        };
        match answer {
            Some(true) => {}
            Some(false) => return Err(Failure::HostKeyDeclined { host: name }),
            None => {
                let (key_type, shown) = (key_type.to_string(), fingerprint.clone());
                return Err(Failure::UnknownHostKey { host: name, key_type, shown });
            }
        }
    }
    let judgement = json!({"host": host, "fingerprint": fingerprint});
    Ok(asker.client.post::<()>("/hosts/trust", &judgement).await?)
}

async fn replace_known(
    asker: &Asker,
    changed: &UnknownHost,
    accepted: &Accepted,
    replace: bool,
) -> Result<(), Failure> {
    let UnknownHost { host, key_type, fingerprint, known, .. } = changed;
    let (name, known) = (shown(host), known.iter().map(known_key).collect::<Vec<_>>().join(", "));
    let undecided = || Failure::ChangedHostKey {
        host: name.clone(),
        known: known.clone(),
        key_type: key_type.to_string(),
        shown: fingerprint.clone(),
    };
    if !replace {
        return Err(undecided());
    }
    if !accepted.is_it(changed)? {
        let told = format!(
            "The key of {name} has CHANGED: the server was set up anew, or somebody is listening in between.\n  known is  {known}\n  \
             it shows  {key_type} {fingerprint}"
        );
        match Terminal::default().confirm(&told, "Is the new one its host key? (yes/no) ").await {
            Some(true) => {}
            Some(false) => return Err(Failure::HostKeyDeclined { host: name }),
            None => return Err(undecided()),
        }
    }
    let judgement = json!({"host": host, "fingerprint": fingerprint, "replace": true});
    Ok(asker.client.post::<()>("/hosts/trust", &judgement).await?)
}

impl Accepted {
    /// None, and nobody is asked.
    pub(super) fn by_nobody() -> Self {
        Self { fingerprints: Vec::new(), is_unattended: true }
    }

    /// Whether the key that a host shows was compared before; `false` where none was.
    fn is_it(&self, host: &UnknownHost) -> Result<bool, Failure> {
        if self.fingerprints.is_empty() || self.fingerprints.contains(&host.fingerprint) {
            return Ok(!self.fingerprints.is_empty());
        }
        Err(Failure::OtherHostKey { host: shown(&host.host), shown: host.fingerprint.clone() })
    }
}

fn known_key(known: &KnownKeyView) -> String {
    format!("{} {} ({}:{})", known.key_type, known.fingerprint, shown(&known.file), known.line)
}

fn table(asker: &Asker, hosts: &[UnknownHost]) -> String {
    if hosts.is_empty() {
        return "No host key waits for a judgement.".to_owned();
    }
    let row = |host: &UnknownHost| {
        let known = match &host.known[..] {
            [] => "no".to_owned(),
            known => format!("CHANGED, it was {}", known.iter().map(known_key).collect::<Vec<_>>().join(", ")),
        };
        [shown(&host.host), host.key_type.to_string(), host.fingerprint.clone(), known]
    };
    asker.output.table(["HOST", "TYPE", "FINGERPRINT", "KNOWN"], hosts.iter().map(row).collect())
}
