//! Runs the programs that own what is not ours: systemctl, loginctl, crontab.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A manager that is busy starting a machine answers late; one that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program did not do what it was asked for.
#[derive(Debug, Error)]
pub enum CommandError {
    /// It is not on this machine, or may not be run.
    #[error("cannot run {program}")]
    Start {
        /// Its name.
        program: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It failed, in these words.
    #[error("`{line}` failed: {told}")]
    Failed {
        /// What was run.
        line: String,
        /// Its words, on one line.
        told: String,
    },
    /// It did not end.
    #[error("`{line}` did not end within {} s", PATIENCE.as_secs())]
    Slow {
        /// What was run.
        line: String,
    },
}

/// One run of a program.
pub(crate) struct Run<'a> {
    pub(crate) program: &'static str,
    pub(crate) arguments: Vec<&'a str>,
    pub(crate) variables: Vec<(&'static str, String)>,
    /// What it reads.
    pub(crate) input: Option<String>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(program: &'static str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self { program, arguments: arguments.into_iter().collect(), variables: Vec::new(), input: None }
    }

    /// What it printed. Cancelling ends it.
    pub(crate) async fn output(self) -> Result<String, CommandError> {
        let line = format!("{} {}", self.program, self.arguments.join(" "));
        tracing::debug!(command = line, "running");
        let not_started = |source| CommandError::Start { program: self.program, source };
        let mut child = Command::new(self.program)
            .args(&self.arguments)
            // Answers in the one language that we read.
            .env("LC_ALL", "C")
            .env("SYSTEMD_COLORS", "0")
            .env("SYSTEMD_PAGER", "")
            .envs(self.variables)
            .stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(not_started)?;
        let stdin = child.stdin.take();
        let run = async {
            if let (Some(mut stdin), Some(input)) = (stdin, self.input) {
                // A program that does not read all of it says why when it ends.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
            child.wait_with_output().await
        };
        let ran = match tokio::time::timeout(PATIENCE, run).await {
            Ok(ran) => ran.map_err(not_started)?,
            Err(_) => return Err(CommandError::Slow { line }),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().replace('\n', "; ");
        match ran.status.success() {
            true => Ok(String::from_utf8_lossy(&ran.stdout).into_owned()),
            false => Err(CommandError::Failed { line, told: text(&ran.stderr) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_reads_and_answers() {
        let cat = Run { input: Some("a\nb\n".to_owned()), ..Run::new("cat", []) };
        assert_eq!(cat.output().await.unwrap(), "a\nb\n");
    }

    #[tokio::test]
    async fn what_went_wrong_is_told() {
        let failed = Run::new("sh", ["-c", "echo one >&2; echo two >&2; exit 3"]).output().await.unwrap_err();
        assert!(failed.to_string().ends_with("failed: one; two"), "{failed}");
        let absent = Run::new("no-such-program-of-ours", []).output().await.unwrap_err();
        assert_eq!(absent.to_string(), "cannot run no-such-program-of-ours");
    }
}
