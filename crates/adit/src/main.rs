//! `adit`: arguments → configuration → build → run → drain. What happens in between is told in the rooms.

mod arguments;
mod claim;
mod command;
mod config_file;
mod door;
mod failure;
mod invite;
mod log;
mod oneoff;
mod output;
mod serve;
mod signals;
mod terminal;
mod tier;

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::arguments::{Arguments, Jumphost, Role};
use crate::failure::Failure;

fn main() -> ExitCode {
    let Arguments { role } = Arguments::parse();
    let json = role.json();
    match run(role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

fn run(role: Role) -> Result<(), Failure> {
    match role {
        Role::Jumphost(arguments) => run_jump_host(arguments),
        Role::Forward(arguments) => {
            log::start(arguments.way.log_format, log::COMMAND)?;
            runtime(Builder::new_multi_thread())?.block_on(oneoff::forward(&arguments))
        }
        Role::Share(arguments) => {
            log::start(arguments.way.log_format, log::COMMAND)?;
            runtime(Builder::new_multi_thread())?.block_on(oneoff::share(&arguments))
        }
    }
}

fn run_jump_host(mut arguments: Jumphost) -> Result<(), Failure> {
    arguments.refuse_misplaced_flags();
    log::start(arguments.log_format, log::SERVER)?;
    match arguments.command.take() {
        None => runtime(Builder::new_multi_thread())?.block_on(serve::jump_host(&arguments)),
        Some(command) => runtime(Builder::new_current_thread())?.block_on(command::run(command, &arguments)),
    }
}

fn runtime(mut builder: Builder) -> Result<Runtime, Failure> {
    builder.enable_all().build().map_err(Failure::Runtime)
}
