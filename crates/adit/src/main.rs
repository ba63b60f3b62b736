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
mod help_recursive;
mod invite;
mod log;
mod man;
mod mcp;
mod mesh;
mod oneoff;
mod output;
mod private_key;
mod python_apis;
mod secret;
mod serve;
mod service;
mod shell;
mod signals;
mod terminal;
mod tier;

use std::future::Future;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Builder;

use crate::arguments::{Arguments, Jumphost, LogFormat, Role};
use crate::failure::Failure;
use crate::signals::Signals;

/// Gives memory back to the system where a load is over; Cargo.toml has the measurement.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let Arguments { role } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && wants_json() => return Failure::from_usage(&error).report(true),
        // Help and version too.
        Err(error) => error.exit(),
    };
    let json = role.json();
    match run(role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

/// Also where the rest of what was typed makes no sense.
fn wants_json() -> bool {
    std::env::args_os().any(|word| word == "--json")
}

fn run(role: Role) -> Result<(), Failure> {
    match role {
        Role::Jumphost(arguments) => run_jump_host(arguments),
        Role::Forward(arguments) => {
            log::start(arguments.way.log_format, log::COMMAND)?;
            block_on(Builder::new_multi_thread(), oneoff::forward(&arguments))
        }
        Role::Share(arguments) => {
            log::start(arguments.way.log_format, log::COMMAND)?;
            block_on(Builder::new_multi_thread(), oneoff::share(&arguments))
        }
        Role::Agent(arguments) => {
            let file = config_file::load(arguments.config.as_deref(), |name| std::env::var(name).ok())?;
            agent::start_log(&arguments, &file)?;
            block_on(Builder::new_multi_thread(), agent::run(&arguments, file))
        }
        Role::Setup(arguments) => {
            log::start(LogFormat::Text, arguments.common.log()?)?;
            block_on(Builder::new_current_thread(), service::set_up(arguments))
        }
        Role::Status(arguments) => manage(arguments.common.log()?, service::status(arguments)),
        Role::Remove(arguments) => manage(arguments.common.log()?, service::remove(arguments)),
        Role::Keep(arguments) => {
            log::start(arguments.log_format, log::SERVER)?;
            block_on(Builder::new_current_thread(), service::keep(arguments))
        }
        Role::Supervise(arguments) => {
            log::start(LogFormat::Text, log::SERVER)?;
            block_on(Builder::new_current_thread(), service::supervise(arguments))
        }
        Role::Open(arguments) => ask(client::open::run(arguments)),
        Role::Tunnel(arguments) => ask(client::tunnel::run(arguments)),
        Role::Profile(arguments) => ask(client::profile::run(arguments)),
        Role::Jump(arguments) => ask(client::jump::run(arguments)),
        Role::Session(arguments) => ask(client::session::run(arguments)),
        Role::Import(arguments) => ask(client::import::run(arguments)),
        Role::Host(arguments) => ask(client::host::run(arguments)),
        Role::Secrets(arguments) => ask(client::secrets::run(arguments)),
        Role::Settings(arguments) => ask(client::settings::run(arguments)),
        Role::Mcp(arguments) => mcp::run(arguments),
        Role::Mesh(arguments) => mesh::run(arguments),
        Role::Completions(arguments) => completions::run(&arguments),
        Role::ListPythonApis(arguments) => python_apis::run(&arguments),
        Role::HelpRecursive => help_recursive::run(),
        Role::Man(arguments) => man::run(&arguments),
    }
}

/// Runs a command for an agent that runs elsewhere.
fn ask(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    manage(log::COMMAND, command)
}

/// Runs a command until it is done or somebody ends it. One that was ended lets go of what it holds, such as a terminal that does not
/// show what is typed.
fn manage(usual_log: &str, command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    log::start(LogFormat::Text, usual_log)?;
    block_on(Builder::new_current_thread(), async {
        let mut signals = Signals::new()?;
        tokio::select! {
            outcome = command => outcome,
            () = signals.stop() => Err(Failure::Interrupted),
        }
    })
}

fn run_jump_host(mut arguments: Jumphost) -> Result<(), Failure> {
    arguments.refuse_misplaced_flags();
    log::start(arguments.log_format, log::SERVER)?;
    match arguments.command.take() {
        None => block_on(Builder::new_multi_thread(), serve::jump_host(&arguments)),
        Some(command) => block_on(Builder::new_current_thread(), command::run(command, &arguments)),
    }
}

fn block_on(mut builder: Builder, role: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = builder.enable_all().build().map_err(Failure::Runtime)?;
    let outcome = runtime.block_on(role);
    // What ran has ended. A thread that still waits for a name or a disk, which may take for ever, is not waited for.
    runtime.shutdown_background();
    outcome
}
