//! Host keys that nobody has judged yet: `adit host`, and the question that a login asks which failed because of one.

use adit_api::agent::view::UnknownHost;
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
    },
}

/// Keys that were compared before.
#[derive(Debug, Default, Args)]
pub(super) struct Accepted {
    /// Take a host key that is not known if it has this fingerprint; once for each host on the way
    #[arg(long = "accept-host-key", value_name = "FINGERPRINT")]
    fingerprints: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let asker = Asker::new(&arguments.common)?;
    match arguments.command {
        Command::List => asker.output.answer(&unknown(&asker).await?, |hosts| table(&asker, hosts)),
        Command::Trust { host, accepted } => {
            let found = unknown(&asker).await?.into_iter().find(|unknown| unknown.host == host);
            let found = found.ok_or(Failure::NoSuch {
                kind: "host that waits for a judgement",
                typed: host,
                list: "adit host list",
            })?;
            trust(&asker, &found, &accepted).await?;
            let told = format!("{} is known from now on.", shown(&found.host));
            asker.output.answer(&found, |_| told)
        }
    }
}

/// Where a login failed because of keys that nobody has judged, has them judged. `false`: it failed for another reason.
pub(super) async fn judge(asker: &Asker, told: &str, accepted: &Accepted) -> Result<bool, Failure> {
    let mut judged = false;
    for host in unknown(asker).await?.iter().filter(|host| told.contains(&host.fingerprint)) {
        trust(asker, host, accepted).await?;
        judged = true;
    }
    Ok(judged)
}

async fn unknown(asker: &Asker) -> Result<Vec<UnknownHost>, Failure> {
    Ok(asker.client.get("/hosts/unknown").await?)
}

async fn trust(asker: &Asker, unknown: &UnknownHost, accepted: &Accepted) -> Result<(), Failure> {
    let UnknownHost { host, key_type, fingerprint } = unknown;
    let name = shown(host);
    if !accepted.fingerprints.contains(fingerprint) {
        if !accepted.fingerprints.is_empty() {
            return Err(Failure::OtherHostKey { host: name, shown: fingerprint.clone() });
        }
        match Terminal::default().confirm_key(&name, key_type, fingerprint).await {
            Some(true) => {}
            Some(false) => return Err(Failure::HostKeyDeclined { host: name }),
            None => {
                let (key_type, shown) = (key_type.to_string(), fingerprint.clone());
                return Err(Failure::UnknownHostKey { host: name, key_type, shown });
            }
        }
    }
    let judgement = json!({"host": host, "fingerprint": fingerprint});
    asker.client.post::<()>("/hosts/trust", &judgement).await?;
    Ok(())
}

fn table(asker: &Asker, hosts: &[UnknownHost]) -> String {
    if hosts.is_empty() {
        return "No host key waits for a judgement.".to_owned();
    }
    let row = |host: &UnknownHost| [shown(&host.host), host.key_type.to_string(), host.fingerprint.clone()];
    asker.output.table(["HOST", "TYPE", "FINGERPRINT"], hosts.iter().map(row).collect())
}
