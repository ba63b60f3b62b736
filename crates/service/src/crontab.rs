//! The line of a user's crontab that starts a tunnel with the machine (crontab(5), `@reboot`).

use std::io;

use adit_core::Port;

use crate::command::{CommandError, Run};
use crate::settings::Text;

/// Whether there is a crontab to be had, and what it says.
pub(crate) async fn check() -> Result<(), CommandError> {
    read().await.map(drop)
}

/// What a crontab says with our line in it: at its end, in the place of an older one. Two at once would undo each other's: whoever
/// calls this holds a lock.
pub(crate) async fn add(port: Port, program: &Text, folder: &Text) -> Result<(), CommandError> {
    let before = read().await?;
    write(with(&before, port, &line(port, program, folder))).await
}

/// Takes our line out. Where there is none, nothing is written, and where there is no cron, there is none.
pub(crate) async fn remove(port: Port) -> Result<(), CommandError> {
    let before = match read().await {
        Err(CommandError::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read?,
    };
    let after = without(&before, port);
    if after == before { Ok(()) } else { write(after).await }
}

/// The line that starts the tunnel of a folder.
pub(crate) fn line(port: Port, program: &Text, folder: &Text) -> String {
    let (program, folder) = (quoted(program.as_str()), quoted(folder.as_str()));
    format!("@reboot {program} {} --folder={folder} {}", crate::supervised::SUPERVISE, mark(port))
}

/// By which a line is known as ours. A shell takes it for a comment.
fn mark(port: Port) -> String {
    format!("# adit-tunnel-{port}")
}

/// A word of a command as cron hands it to the shell: a `%` would end the line.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''").replace('%', r"\%"))
}

fn with(before: &str, port: Port, line: &str) -> String {
    let mut text = without(before, port);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    text
}

fn without(before: &str, port: Port) -> String {
    let mark = mark(port);
    before.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(&mark)).collect()
}

async fn read() -> Result<String, CommandError> {
    match Run::new("crontab", ["-l"]).output().await {
        Err(CommandError::Failed { told, .. }) if told.contains("no crontab for") => Ok(String::new()),
        read => read,
    }
}

async fn write(text: String) -> Result<(), CommandError> {
    // An empty crontab is none.
    let run = match text.is_empty() {
        true => Run::new("crontab", ["-r"]),
        false => Run { input: Some(text), ..Run::new("crontab", ["-"]) },
    };
    run.output().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> Text {
        Text::path("path", path.as_ref()).unwrap()
    }

    fn port(number: u16) -> Port {
        Port::new(number).unwrap()
    }

    #[test]
    fn our_line_comes_and_goes_and_the_others_stay() {
        let others = "MAILTO=\"\"\n# adit-tunnel-2222 is mine\n0 1 * * * backup\n";
        let line = line(port(2222), &path("/usr/bin/adit"), &path("/h/services/2222"));
        let once = with(others, port(2222), &line);
        assert_eq!(once, format!("{others}{line}\n"));
        assert_eq!(with(&once, port(2222), &line), once);
        assert_eq!(without(&once, port(2222)), others);
        assert_eq!(without(&once, port(222)), once);
        assert_eq!(with("a", port(1), "b"), "a\nb\n");
    }

    #[test]
    fn a_path_is_one_word() {
        let line = line(port(1), &path("/a b/adit"), &path("/100%/it's"));
        assert_eq!(line, r"@reboot '/a b/adit' supervise --folder='/100\%/it'\''s' # adit-tunnel-1");
    }
}
