//! `adit secrets`: the lock of the encrypted file with the passwords and passphrases of profiles.

use std::path::{Path, PathBuf};

use adit_api::agent::view::{KeyLies, SecretsView};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Asker, Common, help};
use crate::failure::Failure;
use crate::secret;
use crate::terminal::Terminal;

const HELP: &str = help!(
    "Their key lies in the desktop's keyring where one works when the first secret is kept, else in a file beside them.

Examples:
  adit secrets file
      the key lies in a file that is yours alone: for agents that start with the machine, before anybody logs in
  adit secrets keyring
      the key lies in the desktop's keyring
  adit secrets passphrase
      from the next start of the agent on, this passphrase is needed before a secret can be used
  adit secrets unlock
      opens them until the agent ends, and starts what could not start without

An agent that starts with a file to read the passphrase from needs no unlocking: adit agent --passphrase-file FILE"
);

/// `adit secrets`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Whether they are locked, and where their key is
    Show,
    /// Open them until the agent ends
    Unlock(PassphraseFile),
    /// Lock them with another passphrase
    Passphrase(PassphraseFile),
    /// Keep their key in the desktop's keyring
    Keyring,
    /// Keep their key in a file beside them: they need no unlocking
    File,
}

#[derive(Debug, Args)]
struct PassphraseFile {
    /// The file with the passphrase, or - for standard input [default: ask]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let asker = Asker::new(&arguments.common)?;
    let terminal = Terminal::default();
    let told = match arguments.command {
        Command::Show => None,
        Command::Unlock(PassphraseFile { passphrase_file }) => {
            unlock(&asker, passphrase_file.as_deref(), &terminal).await?;
            None
        }
        Command::Keyring => {
            move_key(&asker, &json!({"key": "keyring"})).await?;
            Some("The key of the secrets lies in the desktop's keyring now.")
        }
        Command::File => {
            move_key(&asker, &json!({"key": "file"})).await?;
            Some("The secrets need no unlocking: their key lies in a file beside them.")
        }
        Command::Passphrase(PassphraseFile { passphrase_file }) => {
            let question = "New passphrase of the agent's secrets: ";
            let passphrase = secret::read_or_ask(passphrase_file.as_deref(), question, &terminal).await?;
            if passphrase_file.is_none() {
                let again = secret::read_or_ask(None, "The same again: ", &terminal).await?;
                if again != passphrase {
                    return Err(Failure::TypedDifferently);
                }
            }
            move_key(&asker, &json!({"key": "passphrase", "passphrase": *passphrase})).await?;
            Some("From the next start of the agent on, this passphrase opens the secrets.")
        }
    };
    let view: SecretsView = asker.client.get("/secrets").await?;
    asker.output.answer(&view, |view| told.map_or_else(|| standing(view), str::to_owned))
}

/// Where the keyring has the key, it asks its person itself.
async fn unlock(asker: &Asker, passphrase_file: Option<&Path>, terminal: &Terminal) -> Result<(), Failure> {
    let view: SecretsView = asker.client.get("/secrets").await?;
    let question = "Passphrase of the agent's secrets: ";
    let body = match view.key {
        Some(KeyLies::Keyring) => json!({}),
        _ => json!({"passphrase": *secret::read_or_ask(passphrase_file, question, terminal).await?}),
    };
    Ok(asker.client.post::<()>("/secrets/unlock", &body).await?)
}

async fn move_key(asker: &Asker, to: &serde_json::Value) -> Result<(), Failure> {
    Ok(asker.client.put::<()>("/secrets/key", to).await?)
}

fn standing(view: &SecretsView) -> String {
    let locked = if view.locked { "locked" } else { "open" };
    match view.key {
        None => "No secrets are kept yet.".to_owned(),
        Some(KeyLies::File) => format!("The secrets are {locked}; their key lies in a file beside them."),
        Some(KeyLies::Passphrase) => format!("The secrets are {locked}; a passphrase is their key."),
        Some(KeyLies::Keyring) => format!("The secrets are {locked}; their key lies in the desktop's keyring."),
    }
}
