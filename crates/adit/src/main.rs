//! `adit`: arguments → configuration → build → run → drain. What happens in between is told in the rooms.

mod agent;
mod arguments;
mod claim;
mod client;
mod command;
mod completions;
mod config_file;
mod door;
mod failure;
mod invite;
mod log;
mod oneoff;
mod output;
mod private_key;
mod secret;
mod serve;
mod shell;
mod signals;
mod terminal;
mod tier;

use std::future::Future;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::arguments::{Arguments, Jumphost, LogFormat, Role};
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
        Role::Agent(arguments) => {
            let file = config_file::load(arguments.config.as_deref(), |name| std::env::var(name).ok())?;
            agent::start_log(&arguments, &file)?;
            runtime(Builder::new_multi_thread())?.block_on(agent::run(&arguments, file))
        }
        Role::Tunnel(arguments) => ask(client::tunnel::run(arguments)),
        Role::Profile(arguments) => ask(client::profile::run(arguments)),
        Role::Jump(arguments) => ask(client::jump::run(arguments)),
        Role::Session(arguments) => ask(client::session::run(arguments)),
        Role::Import(arguments) => ask(client::import::run(arguments)),
        Role::Host(arguments) => ask(client::host::run(arguments)),
        Role::Secrets(arguments) => ask(client::secrets::run(arguments)),
        Role::Completions(arguments) => completions::run(&arguments),
    }
}

/// Runs a command for an agent that runs elsewhere.
fn ask(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    log::start(LogFormat::Text, log::COMMAND)?;
    runtime(Builder::new_current_thread())?.block_on(command)
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
