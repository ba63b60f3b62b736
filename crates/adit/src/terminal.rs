//! Asks the person at the terminal: on standard error, so that standard output stays for answers; heard from standard input.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write as _};

use adit_agent::dial::{Hop, Later, Person};
use adit_agent::known_hosts::HostName;
use adit_core::Printable;
use adit_ssh::Prompts;
use adit_ssh::crypto::PublicKey;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::{Mutex, oneshot};
use zeroize::Zeroizing;

/// Of what a server says, as much as a person reads.
const MOST_TEXT: usize = 1000;

/// The terminal, if there is one. Questions are asked one after the other.
#[derive(Debug, Default)]
pub(crate) struct Terminal {
    turn: Mutex<()>,
}

impl Terminal {
    pub(crate) fn is_there() -> bool {
        io::stdin().is_terminal()
    }

    /// Asks for something that is not shown while it is typed. `None` where nobody answers.
    pub(crate) async fn ask_secret(&self, question: &str) -> Option<Zeroizing<String>> {
        self.ask(question, false).await
    }

    /// A question that is not waited for any more leaves the terminal as it was before.
    async fn ask(&self, question: &str, echo: bool) -> Option<Zeroizing<String>> {
        if !Self::is_there() {
            return None;
        }
        let _turn = self.turn.lock().await;
        let hidden = if echo { None } else { Some(Hidden::new()?) };
        eprint!("{question}");
        io::stderr().flush().ok()?;
        let (answer, answered) = oneshot::channel();
        // A thread of its own: the runtime waits at its end for its own threads, and this one waits for a person.
        std::thread::spawn(move || drop(answer.send(read_line())));
        let line = answered.await.ok().flatten();
        if hidden.is_some() {
            // The Enter was not shown either.
            eprintln!();
        }
        line
    }

    /// Asks whether a host's key is right. `host` and the others are shown as they are.
    pub(crate) async fn confirm_key(
        &self,
        host: impl Display,
        key_type: &str,
        fingerprint: impl Display,
    ) -> Option<bool> {
        let told = format!("{host} is not known. It shows {key_type} {fingerprint}");
        self.confirm(&told, "Is this its host key? (yes/no) ").await
    }

    /// Says something and asks about it. `None` where nobody answers.
    pub(crate) async fn confirm(&self, told: &str, mut question: &str) -> Option<bool> {
        if !Self::is_there() {
            return None;
        }
        eprintln!("{told}");
        loop {
            let answer = self.ask(question, true).await?;
            match answer.trim().to_ascii_lowercase().as_str() {
                "yes" | "y" => return Some(true),
                "no" | "n" => return Some(false),
                _ => question = "Please type yes or no: ",
            }
        }
    }

    async fn answer(&self, hop: &Hop, prompts: &Prompts) -> Option<Vec<Zeroizing<String>>> {
        if !prompts.prompts.is_empty() {
            for text in [&prompts.name, &prompts.instruction].into_iter().filter(|text| !text.is_empty()) {
                eprintln!("{hop}: {}", shown(text));
            }
        }
        let mut answers = Vec::with_capacity(prompts.prompts.len());
        for prompt in &prompts.prompts {
            let question = format!("{hop}: {} ", shown(prompt.text.trim_end()));
            answers.push(self.ask(&question, prompt.echo).await?);
        }
        Some(answers)
    }
}

impl Person for Terminal {
    fn confirm_host_key<'a>(&'a self, host: &'a HostName, key: &'a PublicKey) -> Later<'a, Option<bool>> {
        Box::pin(self.confirm_key(host, key.key_type(), key.fingerprint()))
    }

    fn answer_prompts<'a>(&'a self, hop: &'a Hop, prompts: &'a Prompts) -> Later<'a, Option<Vec<Zeroizing<String>>>> {
        Box::pin(self.answer(hop, prompts))
    }
}

fn shown(text: &str) -> String {
    Printable::from(text).at_most(MOST_TEXT).to_string()
}

/// `None` at the end of the input.
fn read_line() -> Option<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::with_capacity(1024));
    match io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => {
            let length = line.trim_end_matches(['\r', '\n']).len();
            line.truncate(length);
            Some(line)
        }
    }
}

/// While it lives, the terminal does not show what is typed.
struct Hidden(Termios);

impl Hidden {
    /// `None` where the terminal cannot be told to: then a secret is not asked for.
    fn new() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO);
        // What was typed before the question is no answer to it.
        tcsetattr(io::stdin(), OptionalActions::Flush, &modes).ok()?;
        Some(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that went away shows nothing anyway.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
