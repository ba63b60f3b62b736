//! Commands for an agent that runs: each finds it by its data folder, asks it over its REST interface, and prints the answer.
//!
//! | File | Commands |
//! |---|---|
//! | `tunnel`, `tunnel_run`, `tunnel_live` | `adit tunnel`: what is saved; what runs; what it carries |
//! | `profile`, `jump`, `session` | `adit profile`, `adit jump`, `adit session` |
//! | `host` | `adit host`, and the question about a host key that other commands ask |
//! | `secrets`, `settings`, `import` | `adit secrets`, `adit settings`, `adit import` |
//! | `open` | `adit open` |
//! | `find` | the record that somebody means by a name or an id |
//! | `unattended` | the agent's tunnels for a program that acts for a person |
//! | `body` | a question in the making |

mod body;
mod find;
pub(crate) mod host;
pub(crate) mod import;
pub(crate) mod jump;
pub(crate) mod open;
pub(crate) mod profile;
pub(crate) mod secrets;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod tunnel;
mod tunnel_live;
mod tunnel_run;
pub(crate) mod unattended;

use std::path::PathBuf;

use adit_api::agent::client::Client;
use clap::Args;

use crate::config_file;
use crate::failure::Failure;
use crate::oneoff::ServerAddress;
use crate::output::Output;
use crate::shell;

/// What holds for every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The folder of the agent [default: in the XDG state folder]
    #[arg(long, global = true, value_name = "DIR", env = "ADIT_AGENT_DATA")]
    data: Option<PathBuf>,

    /// Print JSON, as the agent's REST interface has it
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Who asks: a running agent, and how the answer is to look.
struct Asker {
    client: Client,
    output: Output,
    /// ` --data DIR`, for commands to paste.
    flag: String,
}

impl Asker {
    fn new(common: &Common) -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var(name).ok();
        // The file is read for the folder alone, so none is named here.
        let named = variable("ADIT_CONFIG").map(PathBuf::from);
        let file = config_file::load(named.as_deref(), variable)?;
        let folder = config_file::agent_folder(common.data.as_deref(), &file)?;
        Ok(Self {
            client: Client::find(&folder)?,
            output: Output::new(common.json),
            flag: common.data.as_deref().map_or_else(String::new, shell::data_flag),
        })
    }
}

/// `HOST[:PORT]`
fn server(typed: &str) -> Result<ServerAddress, String> {
    match ServerAddress::parse(typed) {
        Ok(ServerAddress { user: Some(_), .. }) => {
            Err("who logs in is said by the profile: write HOST[:PORT]".to_owned())
        }
        Ok(server) => Ok(server),
        Err(error) => Err(error.to_string()),
    }
}

/// What every command's help ends with.
macro_rules! help {
    ($examples:literal) => {
        concat!(
            $examples,
            "\n\nA record is named by its name or its id. An agent has to run: adit agent.\n\n\
             Exit codes: 0 done, 1 failed, 2 bad input, 4 there is no such tunnel, 5 a server does not let us in, 6 its host key is not known\n\
             or another one, 7 a port is busy, 8 no agent is reached.\n\
             With --json an error is one line on stderr: {\"error\": \"a sentence\", \"code\": \"a-stable-name\"}"
        )
    };
}
use help;
