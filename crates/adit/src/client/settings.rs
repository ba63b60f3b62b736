//! `adit settings`: what holds for the agent as a whole.

use adit_api::agent::view::{SettingsView, UnknownHosts};
use clap::{Args, Subcommand};

use super::body::Body;
use super::{Asker, Common, help};
use crate::failure::Failure;
use crate::oneoff::arguments::HostKeys;

const PATH: &str = "/settings";

const HELP: &str = help!(
    "Examples:
  adit settings show
  adit settings edit --host-keys strict
      a host whose key is not known is refused, and nobody is asked

A setting that stands in the configuration file is set anew from there each time the agent starts."
);

/// `adit settings`
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
    /// Show all of them
    Show,
    /// Change some; what is not given stays as it is
    Edit(Changes),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// What happens to a host whose key is not known, from the next login on
    #[arg(long, value_name = "POLICY", value_enum)]
    host_keys: Option<HostKeys>,
    /// Whether something else is the way out: the page then shows neither the tunnels' button nor the choice of a jump
    #[arg(long, value_name = "BOOL")]
    controller_mode: Option<bool>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let asker = Asker::new(&arguments.common)?;
    let settings: SettingsView = match arguments.command {
        Command::Show => asker.client.get(PATH).await?,
        Command::Edit(Changes { host_keys, controller_mode }) => {
            let mut body = Body::default();
            body.set("host_key_policy", host_keys.map(policy));
            body.set("controller_mode", controller_mode);
            asker.client.put(PATH, &body).await?
        }
    };
    asker.output.answer(&settings, |settings| {
        let host_keys = match settings.host_key_policy {
            UnknownHosts::Strict => "strict: a host whose key is not known is refused",
            UnknownHosts::Ask => "ask: somebody judges the key of a host that is not known",
            UnknownHosts::AcceptNew => "accept-new: the key of a host that is not known is remembered",
        };
        let mode = settings.controller_mode.to_string();
        asker.output.facts(&[("host keys", host_keys.to_owned()), ("controller mode", mode)])
    })
}

/// As the agent has it.
fn policy(host_keys: HostKeys) -> &'static str {
    adit_store::agent::HostKeyPolicy::from(host_keys).name()
}
