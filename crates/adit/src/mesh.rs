//! `adit mesh`: the mesh as a program. Its root, joining, running an agent, and asking one that runs.
//!
//! | File | Commands |
//! |---|---|
//! | `arguments` | what can be typed |
//! | `enrol` | `init`, `invite`, `members`, `revoke`, `join` |
//! | `run` | `run` |
//! | `beside` | the same agent beside another role of one process |
//! | `ask` | `status`, `peers`, `routes`, `probe`, `reload` |

pub(crate) mod arguments;
mod ask;
mod beside;
mod enrol;
mod run;

use crate::failure::Failure;
use crate::{block_on, config_file, log, manage};
use arguments::{Arguments, Command};
use tokio::runtime::Builder;

pub(crate) use beside::Beside;

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { common, command } = arguments;
    match command {
        Command::Run(run) => {
            let file = config_file::load(run.config.as_deref(), |name| std::env::var(name).ok())?;
            log::start(run.log_format, file.mesh.log.as_deref().unwrap_or(log::SERVER))?;
            block_on(Builder::new_multi_thread(), run::run(&common, file))
        }
        Command::Init(init) => manage(log::COMMAND, async { enrol::init(&common, &init) }),
        Command::Invite(invite) => manage(log::COMMAND, async { enrol::invite(&common, &invite) }),
        Command::Members(members) => manage(log::COMMAND, async { enrol::members(&common, &members) }),
        Command::Revoke(revoke) => manage(log::COMMAND, enrol::revoke(&common, &revoke)),
        Command::Join(join) => manage(log::COMMAND, async { enrol::join(&common, &join) }),
        Command::Status => manage(log::COMMAND, ask::status(&common)),
        Command::Peers => manage(log::COMMAND, ask::peers(&common)),
        Command::Routes => manage(log::COMMAND, ask::routes(&common)),
        Command::Probe(probe) => manage(log::COMMAND, ask::probe(&common, &probe)),
        Command::Reload => manage(log::COMMAND, ask::reload(&common)),
    }
}
