//! `adit man DIR`: a manual page for every command, for whoever packages adit.
//!
//! All of a page comes from the definitions of the arguments. The sections that manual pages have by custom (examples, exit status,
//! environment) are what the help says under its own headings, and the variables that flags know.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::failure::Failure;
use crate::help_recursive::every_command;

/// How help texts begin the sentence with what `$?` means, which ends with a line.
const EXIT_CODES: &str = "Exit codes: ";
/// How they begin examples; each is an indented line, with what it does beneath it, indented further.
const EXAMPLES: &str = "Examples:";
/// How they begin variables; each is an indented line, and its meaning stands behind some spaces.
const ENVIRONMENT: &str = "Environment:";

/// `adit man`
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder to write them to; it is made where it is missing
    folder: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    write_all(&arguments.folder).map_err(|source| Failure::ManualPages { folder: arguments.folder.clone(), source })
}

fn write_all(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let commands = every_command();
    for command in &commands {
        let page = Page::new(command, &commands);
        fs::write(folder.join(page.file_name()), page.render()?)?;
    }
    Ok(())
}

/// The page of one command.
struct Page<'a> {
    command: &'a Command,
    /// The commands above it, the nearest first.
    above: Vec<&'a Command>,
}

impl<'a> Page<'a> {
    fn new(command: &'a Command, all: &'a [Command]) -> Self {
        let name = page_name(command);
        let is_above = |other: &&Command| name.starts_with(&format!("{}-", page_name(other)));
        let mut above: Vec<&Command> = all.iter().filter(is_above).collect();
        above.sort_by_key(|other| std::cmp::Reverse(page_name(other).len()));
        Self { command, above }
    }

    fn file_name(&self) -> String {
        format!("{}.1", page_name(self.command))
    }

    fn render(&self) -> io::Result<Vec<u8>> {
        let man = Man::new(self.command.clone());
        let mut page = self.title().into_bytes();
        man.render_name_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        if self.command.get_subcommands().any(|beneath| !beneath.is_hide_set()) {
            man.render_subcommands_section(&mut page)?;
        }
        self.own_sections().to_writer(&mut page)?;
        Ok(page)
    }

    /// Without a date, so that two builds make the same page; what renders titles here would leave the place of the date out.
    fn title(&self) -> String {
        let name = page_name(self.command).to_uppercase();
        format!(".TH \"{name}\" \"1\" \"\" \"adit {}\" \"User Commands\"\n", env!("CARGO_PKG_VERSION"))
    }

    fn own_sections(&self) -> Roff {
        let help = Help::of(self.command);
        let mut roff = Roff::new();
        if !help.examples.is_empty() {
            section(&mut roff, "EXAMPLES");
            as_typed(&mut roff, &help.examples);
        }
        if !help.notes.is_empty() {
            section(&mut roff, "NOTES");
            for (index, paragraph) in help.notes.iter().enumerate() {
                if index > 0 {
                    roff.control("PP", []);
                }
                as_written(&mut roff, paragraph);
            }
        }
        let codes = std::iter::once(help.exit_codes).chain(self.above.iter().map(|above| Help::of(above).exit_codes));
        if let Some(codes) = codes.flatten().next() {
            section(&mut roff, "EXIT STATUS");
            for (code, meaning) in meanings(&codes) {
                term(&mut roff, &code, &meaning);
            }
        }
        environment(&mut roff, &variables(self.command), &help.environment);
        self.see_also(&mut roff);
        roff
    }

    fn see_also(&self, roff: &mut Roff) {
        let pages: Vec<String> = self.above.iter().map(|above| format!("{}(1)", page_name(above))).collect();
        if !pages.is_empty() {
            section(roff, "SEE ALSO");
            roff.text([roman(pages.join(", "))]);
        }
    }
}

/// As `man` is asked for it: `adit-jumphost-key-add`.
fn page_name(command: &Command) -> String {
    command.get_bin_name().unwrap_or_else(|| command.get_name()).replace(' ', "-")
}

/// What stands behind the flags in a command's help, by its own headings.
#[derive(Debug, Default, PartialEq, Eq)]
struct Help {
    examples: Vec<String>,
    notes: Vec<Vec<String>>,
    environment: Vec<String>,
    exit_codes: Option<String>,
}

impl Help {
    fn of(command: &Command) -> Self {
        let text = command.get_after_long_help().or_else(|| command.get_after_help()).map(ToString::to_string);
        text.map(|text| Self::read(&text)).unwrap_or_default()
    }

    fn read(text: &str) -> Self {
        let mut help = Self::default();
        for paragraph in text.split("\n\n") {
            let mut lines: Vec<String> = paragraph.lines().map(str::to_owned).collect();
            match lines.first().map(String::as_str) {
                Some(EXAMPLES) => help.examples = lines.split_off(1),
                Some(ENVIRONMENT) => help.environment = lines.split_off(1),
                Some(first) if first.starts_with(EXIT_CODES) => {
                    let end = lines.iter().position(|line| line.ends_with('.')).map_or(lines.len(), |last| last + 1);
                    let rest = lines.split_off(end);
                    let sentence = lines.join(" ");
                    help.exit_codes = Some(sentence[EXIT_CODES.len()..].trim_end_matches('.').to_owned());
                    help.notes.extend((!rest.is_empty()).then_some(rest));
                }
                _ => help.notes.push(lines),
            }
        }
        help
    }
}

/// `0 done, 1 failed (no login, port in use), 2 bad input` as pairs. A comma parts two codes only where a number follows it.
fn meanings(codes: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in codes.split(", ") {
        match part.split_once(' ') {
            Some((code, meaning)) if code.parse::<u8>().is_ok() => pairs.push((code.to_owned(), meaning.to_owned())),
            _ => match pairs.last_mut() {
                Some((_, meaning)) => meaning.push_str(&format!(", {part}")),
                None => pairs.push((String::new(), part.to_owned())),
            },
        }
    }
    pairs
}

/// The variables that a command's flags know, with the flags.
fn variables(command: &Command) -> BTreeMap<String, String> {
    let told = command.get_arguments().filter(|argument| !argument.is_hide_set() && !argument.is_hide_env_set());
    told.filter_map(|argument| {
        let variable = argument.get_env()?.to_string_lossy().into_owned();
        Some((variable, argument.get_long().map(|long| format!("--{long}"))?))
    })
    .collect()
}

/// Variables of flags, and those that the help tells of.
fn environment(roff: &mut Roff, flags: &BTreeMap<String, String>, told: &[String]) {
    if flags.is_empty() && told.is_empty() {
        return;
    }
    section(roff, "ENVIRONMENT");
    for (variable, flag) in flags {
        term(roff, variable, &format!("stands for {flag} where that is not given"));
    }
    for line in told {
        match line.strip_prefix("  ").and_then(|line| line.split_once("  ")) {
            Some((variable, meaning)) => term(roff, variable, meaning.trim_start()),
            None => {
                roff.control("PP", []);
                roff.text([roman(line.trim_start())]);
            }
        }
    }
}

fn section(roff: &mut Roff, name: &str) {
    roff.control("SH", [name]);
}

/// A word and what it means.
fn term(roff: &mut Roff, word: &str, meaning: &str) {
    roff.control("TP", []);
    roff.text([bold(word)]);
    roff.text([roman(meaning)]);
}

/// A paragraph of help, whose lines a page may break elsewhere; one that has indented lines is kept as it is.
fn as_written(roff: &mut Roff, paragraph: &[String]) {
    if paragraph.iter().any(|line| line.starts_with(' ')) {
        as_typed(roff, paragraph);
        return;
    }
    for line in paragraph {
        roff.text([roman(line.as_str())]);
    }
}

/// Lines that stay as they are.
fn as_typed(roff: &mut Roff, lines: &[String]) {
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(line.as_str())]);
    }
    roff.control("fi", []);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_parted_by_its_own_headings() {
        let help = Help::read(
            "Examples:\n  adit x\n      does it\n\nIt does.\nAnd more.\n\nEnvironment:\n  ADIT_X  one\n\n\
             Exit codes: 0 done,\n2 bad.\nWith --json a line.",
        );
        assert_eq!(help.examples, ["  adit x", "      does it"]);
        assert_eq!(help.notes, [vec!["It does.", "And more."], vec!["With --json a line."]]);
        assert_eq!(help.environment, ["  ADIT_X  one"]);
        assert_eq!(help.exit_codes.as_deref(), Some("0 done, 2 bad"));
    }

    #[test]
    fn a_comma_within_a_meaning_parts_nothing() {
        let told = meanings("0 ended by Ctrl-C, 1 failed (no login, port in use), 78 bad file");
        let told: Vec<_> = told.iter().map(|(code, meaning)| (code.as_str(), meaning.as_str())).collect();
        assert_eq!(told, [("0", "ended by Ctrl-C"), ("1", "failed (no login, port in use)"), ("78", "bad file")]);
    }

    #[test]
    fn every_command_has_a_page_and_each_says_its_exit_status() {
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path()).unwrap();
        let pages: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(pages.len(), every_command().len());
        for page in pages {
            let text = fs::read_to_string(&page).unwrap();
            for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS"] {
                let line = if heading.contains(' ') { format!(".SH \"{heading}\"") } else { format!(".SH {heading}") };
                assert!(text.lines().any(|other| other == line), "{heading} in {}", page.display());
            }
        }
    }

    #[test]
    fn variables_of_flags_and_of_the_help_stand_together() {
        let mut roff = Roff::new();
        let flags = BTreeMap::from([("ADIT_A".to_owned(), "--a".to_owned())]);
        environment(&mut roff, &flags, &["  ADIT_BB   two words".to_owned(), "  Others too.".to_owned()]);
        let text = roff.render();
        for part in ["\\fBADIT_A\\fR\nstands for \\-\\-a", "\\fBADIT_BB\\fR\ntwo words\n", ".PP\nOthers too."] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_codes_of_the_jump_host_hold_for_the_commands_beneath_it() {
        let commands = every_command();
        let render = |name: &str| {
            let command = commands.iter().find(|command| page_name(command) == name).unwrap();
            String::from_utf8(Page::new(command, &commands).render().unwrap()).unwrap()
        };
        let add = render("adit-jumphost-key-add");
        assert!(add.contains("\\fB78\\fR\nbad configuration file"), "{add}");
        assert!(add.contains("\\fBADIT_DATA\\fR\nstands for \\-\\-data"), "{add}");
        assert!(add.contains("adit\\-jumphost\\-key(1), adit\\-jumphost(1), adit(1)"), "{add}");
    }
}
