//! `adit secrets`: the lock of the encrypted file with the passwords and passphrases of profiles.

use std::path::PathBuf;

use adit_api::agent::view::SecretsView;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Asker, Common, help};
use crate::failure::Failure;
use crate::secret;
use crate::terminal::Terminal;

const HELP: &str = help!(
    "Examples:
  adit secrets passphrase
      from the next start of the agent on, this passphrase is needed before a secret can be used
  adit secrets unlock
      opens them until the agent ends, and starts what could not start without
  adit secrets passphrase --none
      back to a key in a file beside them, for agents that start with the machine

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
    /// Whether they are locked
    Show,
    /// Open them until the agent ends
    Unlock(PassphraseFile),
    /// Lock them with another passphrase, or with none
    Passphrase {
        /// With none: their key lies in a file beside them
        #[arg(long, conflicts_with = "passphrase_file")]
        none: bool,
        #[command(flatten)]
        passphrase: PassphraseFile,
    },
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
            let question = "Passphrase of the agent's secrets: ";
            let passphrase = secret::read_or_ask(passphrase_file.as_deref(), question, &terminal).await?;
            asker.client.post::<()>("/secrets/unlock", &json!({"passphrase": *passphrase})).await?;
            None
        }
        Command::Passphrase { none: true, .. } => {
            asker.client.put::<()>("/secrets/passphrase", &json!({"passphrase": null})).await?;
            Some("The secrets are not locked any more: their key lies in a file beside them.")
        }
        Command::Passphrase { none: false, passphrase: PassphraseFile { passphrase_file } } => {
            let question = "New passphrase of the agent's secrets: ";
            let passphrase = secret::read_or_ask(passphrase_file.as_deref(), question, &terminal).await?;
            if passphrase_file.is_none() {
                let again = secret::read_or_ask(None, "The same again: ", &terminal).await?;
                if again != passphrase {
                    return Err(Failure::TypedDifferently);
                }
            }
            asker.client.put::<()>("/secrets/passphrase", &json!({"passphrase": *passphrase})).await?;
            Some("From the next start of the agent on, this passphrase opens the secrets.")
        }
    };
    let view: SecretsView = asker.client.get("/secrets").await?;
    asker.output.answer(&view, |view| {
        let standing = if view.locked { "The secrets are locked." } else { "The secrets are open." };
        told.unwrap_or(standing).to_owned()
    })
}
