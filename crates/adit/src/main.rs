//! `adit`: arguments → configuration → build → run → drain. What happens in between is told in the rooms.

mod arguments;
mod claim;
mod command;
mod config_file;
mod door;
mod failure;
mod invite;
mod log;
mod output;
mod serve;
mod tier;

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::arguments::{Arguments, Jumphost, Role};
use crate::failure::Failure;

fn main() -> ExitCode {
    let Arguments { role: Role::Jumphost(mut arguments) } = Arguments::parse();
    arguments.refuse_misplaced_flags();
    let json = arguments.json;
    match run(&mut arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

fn run(arguments: &mut Jumphost) -> Result<(), Failure> {
    log::start(arguments.log_format)?;
    match arguments.command.take() {
        None => runtime(Builder::new_multi_thread())?.block_on(serve::jump_host(arguments)),
        Some(command) => runtime(Builder::new_current_thread())?.block_on(command::run(command, arguments)),
    }
}

fn runtime(mut builder: Builder) -> Result<Runtime, Failure> {
    builder.enable_all().build().map_err(Failure::Runtime)
}
