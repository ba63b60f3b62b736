//! Secrets come from a file, from standard input or from a terminal that does not show them: never from an argument, which everybody
//! on the machine can read, and never from the environment, which every program that is started inherits.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::terminal::Terminal;

/// Longer than any password a person keeps; what follows in a longer file would be cut off, so it is refused.
const LONGEST: u64 = 4096;

/// The first line of a file, or of standard input (`-`). Whoever waits for it can be ended meanwhile.
pub(crate) async fn read(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let file = file.to_owned();
    let read = tokio::task::spawn_blocking(move || first_line(&file));
    read.await.map_err(|error| Failure::Runtime(io::Error::other(error)))?
}

fn first_line(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = match file == Path::new("-") {
        true => io::stdin().take(LONGEST + 1).read_to_string(&mut text),
        false => File::open(file).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text)),
    };
    let outcome = read.and_then(|length| {
        let refused = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        match text.lines().next() {
            _ if length as u64 > LONGEST => refused("it is too long to be a secret"),
            None | Some("") => refused("its first line is empty"),
            Some(line) => Ok(Zeroizing::new(line.to_owned())),
        }
    });
    outcome.map_err(|source| Failure::SecretFile { path: file.to_owned(), source })
}

/// The file's, if one is named, else what somebody types.
pub(crate) async fn read_or_ask(
    file: Option<&Path>,
    question: &str,
    terminal: &Terminal,
) -> Result<Zeroizing<String>, Failure> {
    match file {
        Some(file) => read(file).await,
        None => ask(question, terminal).await,
    }
}

/// What somebody types; an end of the input is no answer, and neither is nothing.
pub(crate) async fn ask(question: &str, terminal: &Terminal) -> Result<Zeroizing<String>, Failure> {
    match terminal.ask_secret(question).await {
        Some(typed) if !typed.is_empty() => Ok(typed),
        _ if Terminal::is_there() => Err(Failure::NothingTyped),
        _ => Err(Failure::NoTerminal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (content, secret) in [("a b\n", "a b"), ("hunter2", "hunter2"), (" x \r\nmore\n", " x ")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(*first_line(&path).unwrap(), secret);
        }
        for none in [String::new(), "\nlater\n".to_owned(), "x".repeat(5000)] {
            std::fs::write(&path, none).unwrap();
            assert!(matches!(first_line(&path), Err(Failure::SecretFile { .. })));
        }
    }
}
