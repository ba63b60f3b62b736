//! `adit completions`: what a shell reads to complete the command line.

use std::io::{self, Write};

use clap::{Args, CommandFactory, ValueEnum};

use crate::arguments::Arguments as CommandLine;
use crate::failure::Failure;

const HELP: &str = "\
Examples:
  adit completions bash > ~/.local/share/bash-completion/completions/adit
  adit completions zsh > ~/.zfunc/_adit            # a folder of $fpath
  adit completions fish > ~/.config/fish/completions/adit.fish";

/// `adit completions`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let shell = match arguments.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "adit", &mut script);
    match io::stdout().write_all(&script) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}
