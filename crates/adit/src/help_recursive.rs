//! `adit --help-recursive`: the help of every command in one text, each as its own `--help` tells it.

use clap::{Command, CommandFactory};

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::output::Output;

/// Every command that people are told of, each before those beneath it, with their whole names and all their flags.
pub(crate) fn every_command() -> Vec<Command> {
    // The command `help` of each would be half of the list, and say what `--help` says.
    let mut whole = Arguments::command().disable_help_subcommand(true);
    whole.build();
    let mut found = Vec::new();
    collect(&whole, &mut found);
    found
}

fn collect(command: &Command, found: &mut Vec<Command>) {
    found.push(command.clone());
    for beneath in command.get_subcommands().filter(|beneath| !beneath.is_hide_set()) {
        collect(beneath, found);
    }
}

pub(crate) fn run() -> Result<(), Failure> {
    let told: Vec<String> = every_command().into_iter().map(told).collect();
    Output::new(false).answer(&(), |()| told.join("\n\n"))
}

fn told(mut command: Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let help = command.render_long_help().to_string();
    format!("=== {name} ===\n\n{}", help.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_there_once_and_by_its_whole_name() {
        let names: Vec<String> =
            every_command().iter().map(|command| command.get_bin_name().unwrap_or("adit").to_owned()).collect();
        for name in ["adit", "adit jumphost", "adit jumphost key add", "adit tunnel list", "adit completions"] {
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name} in {names:?}");
        }
    }

    #[test]
    fn what_is_hidden_is_left_out() {
        let names: Vec<String> = every_command().iter().map(|command| command.get_name().to_owned()).collect();
        for name in ["man", "help", "help-recursive"] {
            assert!(!names.contains(&name.to_owned()), "{name} in {names:?}");
        }
    }

    #[test]
    fn each_tells_its_own_help() {
        let add = every_command().into_iter().find(|command| command.get_bin_name() == Some("adit jumphost key add"));
        let text = told(add.expect("the command is there"));
        assert!(text.starts_with("=== adit jumphost key add ===\n\nGive an account a public key"), "{text}");
        assert!(text.contains("Usage: adit jumphost key add [OPTIONS] <ACCOUNT> [FILE]"), "{text}");
    }
}
