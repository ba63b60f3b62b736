//! `adit import`: records from a person's `~/.ssh/config`.

use adit_api::agent::view::{ImportedHost, SshHosts};
use clap::Args;
use serde_json::json;

use super::{Asker, Common, help};
use crate::failure::Failure;
use crate::output::shown;

/// Where the agent has it.
const PATH: &str = "/import/ssh-config";

const HELP: &str = help!(
    "Examples:
  adit import --list
      the hosts that ~/.ssh/config names
  adit import bastion web
      saves these two: each as a session, its forwards as tunnels, its jumps as jump hosts
  adit import
      all of them; a record that is there by that name stays as it is

What the configuration means is asked of ssh -G, so an OpenSSH client has to be on the agent's PATH. Nothing is started."
);

/// `adit import`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The hosts to import, as ~/.ssh/config names them [default: all]
    #[arg(value_name = "HOST", conflicts_with = "list")]
    hosts: Vec<String>,
    /// Only list what there is
    #[arg(long)]
    list: bool,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Asker { client, output, .. } = Asker::new(&arguments.common)?;
    if arguments.list {
        let there: SshHosts = client.get(PATH).await?;
        return output.answer(&there, |there| names(&there.hosts));
    }
    let wanted = (!arguments.hosts.is_empty()).then_some(&arguments.hosts);
    let imported: Vec<ImportedHost> = client.post(PATH, &json!({"hosts": wanted})).await?;
    output.answer(&imported, |imported| imported.iter().map(told).collect::<Vec<_>>().join("\n"))
}

fn names(hosts: &[String]) -> String {
    match hosts {
        [] => "~/.ssh/config names no host.".to_owned(),
        hosts => hosts.iter().map(|host| shown(host)).collect::<Vec<_>>().join("\n"),
    }
}

/// A host in some lines: what is new, what was there, and what was left out with its reason.
fn told(imported: &ImportedHost) -> String {
    let ImportedHost { host, added, present, left_out } = imported;
    let mut lines = vec![shown(host)];
    lines.extend(added.iter().map(|record| format!("  added     {} {}", record.kind, shown(&record.name))));
    lines.extend(present.iter().map(|record| format!("  was there {} {}", record.kind, shown(&record.name))));
    lines.extend(left_out.iter().map(|left| format!("  left out  {}: {}", shown(&left.what), shown(&left.why))));
    lines.join("\n")
}
