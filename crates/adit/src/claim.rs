//! `key claim`: without a signature it writes the statement to sign and shows what to type next, with one it claims the key.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use adit_jumphost::admin::{ClaimStatement, KeyClaim, KeyClaimStatement, KeyClaimed, sign_command};

use crate::arguments::ClaimArguments;
use crate::command::{Asker, LARGEST_KEY_FILE, expiry, read_key};
use crate::door::Folder;
use crate::failure::Failure;
use crate::output::count;
use crate::shell::{data_flag, quoted_path};

/// Runs the step that is next. `data` is the folder that was named, if one was: the shown commands name it too.
pub(crate) async fn run(asker: &Asker<'_>, data: Option<&Path>, claim: ClaimArguments) -> Result<(), Failure> {
    let text = read_key(&claim.file)?;
    let statement_file = claim.statement.clone().unwrap_or_else(|| with_ending(&claim.file, ".claim"));
    let Some(signature_file) = &claim.signature else {
        let question = KeyClaimStatement { account: claim.account.clone(), text };
        let (mut told, _) = asker.hear(Folder::MustBeThere, question).await?;
        fs::write(&statement_file, &told.statement).map_err(|source| Failure::ClaimFile {
            action: "write",
            path: statement_file.clone(),
            source,
        })?;
        told.command = sign_command(&quoted_path(&claim.file.with_extension("")), &quoted_path(&statement_file));
        return asker.output.answer(&told, |told| next_steps(told, data, &claim, &statement_file));
    };
    let question = KeyClaim {
        account: claim.account,
        text,
        statement: read(&statement_file)?,
        signature: read(signature_file)?,
        label: claim.label,
        expires_in_ms: claim.expires.map(|typed| expiry(&typed)).transpose()?,
        ports: claim.ports,
    };
    asker.ask(Folder::MustBeThere, question, |claimed, _| moved(claimed)).await
}

fn next_steps(told: &ClaimStatement, data: Option<&Path>, claim: &ClaimArguments, statement_file: &Path) -> String {
    let mut last = "adit jumphost".to_owned();
    if let Some(data) = data {
        last.push_str(&data_flag(data));
    }
    last.push_str(&format!(" key claim {} {}", told.account, quoted_path(&claim.file)));
    if claim.statement.is_some() {
        last.push_str(&format!(" --statement {}", quoted_path(statement_file)));
    }
    last.push_str(&format!(" --signature {}", quoted_path(&with_ending(statement_file, ".sig"))));
    format!(
        "Another account holds the key {}. Whoever has its private half can move it to {}, within 15 minutes.\n\
         The statement to sign is in {}.\nNext, where the private key is, and then here:\n  {}\n  {last}",
        told.fingerprint,
        told.account,
        statement_file.display(),
        told.command
    )
}

fn moved(claimed: &KeyClaimed) -> String {
    let KeyClaimed { key, sessions_cut } = claimed;
    let cut = count(*sessions_cut, "session");
    format!("Key {} is {}'s now and can log in; {cut} of the account that held it cut.", key.fingerprint, key.account)
}

fn read(path: &Path) -> Result<String, Failure> {
    let unreadable = |source| Failure::ClaimFile { action: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let opened = File::open(path).map_err(unreadable)?;
    opened.take(LARGEST_KEY_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    // What is no text is neither a statement nor a signature, and is refused as such.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
