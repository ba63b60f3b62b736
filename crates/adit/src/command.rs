//! The administrator's commands: each asks one question and prints the answer.

use std::io::{self, IsTerminal, Read};
use std::path::Path;

use adit_jumphost::admin::{
    AccountAdd, AccountChange, AccountList, AccountRemove, AccountView, AuditList, AuditView, KeyAdd, KeyList,
    KeyRemove, KeyView, Kick, Operation, PortList, PortView, SessionList, SessionView,
};
use adit_jumphost::config::parse_duration;
use adit_ssh::crypto::{KeyTextError, PublicKey};
use serde_json::Value;

use crate::arguments::{AccountCommand, AccountSettings, Command, Jumphost, KeyCommand};
use crate::claim;
use crate::door::{Door, Folder, commanded_path};
use crate::failure::Failure;
use crate::invite;
use crate::output::{Output, ago, bytes, count};
use crate::tier;

/// More than any public key has; what follows in a longer file is not read.
pub(crate) const LARGEST_KEY_FILE: u64 = 64 * 1024;

/// Runs one command.
pub(crate) async fn run(command: Command, arguments: &Jumphost) -> Result<(), Failure> {
    let path = commanded_path(arguments.data.as_deref())?;
    let asker = Asker { path: &path, output: Output::new(arguments.json) };
    let output = asker.output;
    match command {
        Command::Account(AccountCommand::Add { name, tier, admin }) => {
            let question = AccountAdd { name, tier, admin };
            asker.ask(Folder::MayBeNew, question, |account, _| account_added(account)).await
        }
        Command::Account(AccountCommand::List) => {
            asker.ask(Folder::MustBeThere, AccountList {}, |accounts, _| account_table(output, accounts)).await
        }
        Command::Account(AccountCommand::Change(change)) => {
            let AccountSettings { tier, admin, disabled } = change.to;
            let question = AccountChange { name: change.name, tier, admin, disabled };
            let told = |account: &AccountView, _: bool| account_table(output, std::slice::from_ref(account));
            asker.ask(Folder::MustBeThere, question, told).await
        }
        Command::Account(AccountCommand::Remove { name }) => {
            let told = |removed: &adit_jumphost::admin::AccountRemoved, _: bool| {
                format!(
                    "Account {} is removed: {}, {} cut.",
                    removed.name,
                    count(removed.keys, "key"),
                    count(removed.sessions_cut, "session")
                )
            };
            asker.ask(Folder::MustBeThere, AccountRemove { name }, told).await
        }
        Command::Account(AccountCommand::PasswordLink { name }) => invite::password_link(&asker, name).await,
        Command::Invite(arguments) => invite::invite(&asker, arguments).await,
        Command::Tier(command) => tier::run(&asker, command).await,
        Command::Key(KeyCommand::Add { account, label, expires, ports, file }) => {
            let expires_in_ms = expires.map(|typed| expiry(&typed)).transpose()?;
            let question = KeyAdd { account, text: read_key(&file)?, label, expires_in_ms, ports };
            asker.ask(Folder::MustBeThere, question, |key, _| key_added(key)).await
        }
        Command::Key(KeyCommand::Claim(claim)) => claim::run(&asker, arguments.data.as_deref(), claim).await,
        Command::Key(KeyCommand::List { account }) => {
            asker.ask(Folder::MustBeThere, KeyList { account }, |keys, _| key_table(output, keys)).await
        }
        Command::Key(KeyCommand::Remove { account, fingerprint }) => {
            let told = |removed: &adit_jumphost::admin::KeyRemoved, _: bool| {
                let cut = count(removed.sessions_cut, "session");
                format!("Key {} of {} is removed; {cut} cut.", removed.fingerprint, removed.account)
            };
            asker.ask(Folder::MustBeThere, KeyRemove { account, fingerprint }, told).await
        }
        Command::Sessions => {
            let told = |sessions: &Vec<SessionView>, running| session_table(output, sessions, running);
            asker.ask(Folder::MustBeThere, SessionList {}, told).await
        }
        Command::Ports => {
            let told = |ports: &Vec<PortView>, running| port_table(output, ports, running);
            asker.ask(Folder::MustBeThere, PortList {}, told).await
        }
        Command::Kick { session } => {
            let told = |kicked: &adit_jumphost::admin::Kicked, _: bool| format!("Session {} is cut.", kicked.session);
            asker.ask(Folder::MustBeThere, Kick { session }, told).await
        }
        Command::Audit { limit } => {
            let question = AuditList { limit: Some(limit) };
            asker.ask(Folder::MustBeThere, question, |events, _| audit_table(output, events)).await
        }
    }
}

/// Who asks: at which folder, and how the answer is to look.
pub(crate) struct Asker<'a> {
    path: &'a Path,
    pub(crate) output: Output,
}

impl Asker<'_> {
    /// Asks, and prints the answer; `text` also hears whether a server runs.
    pub(crate) async fn ask<O: Operation>(
        &self,
        folder: Folder,
        question: O,
        text: impl FnOnce(&O::Answer, bool) -> String,
    ) -> Result<(), Failure> {
        let (answer, running) = self.hear(folder, question).await?;
        self.output.answer(&answer, |answer| text(answer, running))
    }

    /// Asks, and returns the answer and whether a server runs.
    pub(crate) async fn hear<O: Operation>(&self, folder: Folder, question: O) -> Result<(O::Answer, bool), Failure> {
        let mut door = Door::open(self.path, folder).await?;
        let running = door.is_running();
        let answer = door.call(question).await;
        door.close().await;
        Ok((answer?, running))
    }
}

/// Reads a public key. It is looked at here before it goes anywhere: a private key ends its way in this process.
pub(crate) fn read_key(file: &Path) -> Result<String, Failure> {
    let unreadable = |source| Failure::KeyFile { path: file.to_owned(), source };
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        if io::stdin().is_terminal() {
            eprintln!("Paste the public key (one line), then press Enter:");
            let mut line = String::new();
            io::stdin().read_line(&mut line).map_err(unreadable)?;
            bytes = line.into_bytes();
        } else {
            io::stdin().take(LARGEST_KEY_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
        }
    } else {
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        opened.take(LARGEST_KEY_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match PublicKey::from_text(&text) {
        Ok(_) => Ok(text),
        Err(source) => Err(Failure::KeyText { path: file.to_owned(), hint: public_half(file, &source), source }),
    }
}

/// People type `id_ed25519` and mean `id_ed25519.pub`.
fn public_half(file: &Path, error: &KeyTextError) -> Option<String> {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    let beside = Path::new(&name);
    (*error == KeyTextError::PrivateKey && beside.exists()).then(|| format!("did you mean {}?", beside.display()))
}

pub(crate) fn expiry(typed: &str) -> Result<u64, Failure> {
    let time = parse_duration(typed).filter(|time| !time.is_zero());
    let millis = time.and_then(|time| u64::try_from(time.as_millis()).ok());
    millis.ok_or_else(|| Failure::Expires { typed: typed.to_owned() })
}

fn account_added(account: &AccountView) -> String {
    let admin = if account.admin { ", administrator" } else { "" };
    format!(
        "Account {name} is added (tier {tier}{admin}).\nNext: adit jumphost key add {name} ~/.ssh/id_ed25519.pub",
        name = account.name,
        tier = account.tier
    )
}

fn account_table(output: Output, accounts: &[AccountView]) -> String {
    if accounts.is_empty() {
        return "No accounts yet.\nNext: adit jumphost account add NAME".to_owned();
    }
    let row = |account: &AccountView| {
        let role = match (account.disabled, account.admin) {
            (true, _) => "locked out",
            (false, true) => "administrator",
            (false, false) => "member",
        };
        [
            account.name.clone(),
            account.tier.clone(),
            role.to_owned(),
            account.keys.to_string(),
            account.sessions.to_string(),
            ago(account.created_at),
        ]
    };
    output.table(["ACCOUNT", "TIER", "ROLE", "KEYS", "SESSIONS", "ADDED"], accounts.iter().map(row).collect())
}

fn key_added(key: &KeyView) -> String {
    let expires = key.expires_at.map(|at| format!(", expires {}", ago(at))).unwrap_or_default();
    format!("Key {} ({}{expires}) is added to {}; it can log in now.", key.fingerprint, key.key_type, key.account)
}

fn key_table(output: Output, keys: &[KeyView]) -> String {
    if keys.is_empty() {
        return "No keys yet.\nNext: adit jumphost key add ACCOUNT ~/.ssh/id_ed25519.pub".to_owned();
    }
    let row = |key: &KeyView| {
        [
            key.account.clone(),
            key.fingerprint.clone(),
            key.key_type.clone(),
            ago(key.added_at),
            key.last_used_at.map_or_else(|| "never".to_owned(), ago),
            key.expires_at.map_or_else(|| "never".to_owned(), ago),
            key.ports.clone().unwrap_or_else(|| "any".to_owned()),
            key.label.clone(),
        ]
    };
    let heads = ["ACCOUNT", "FINGERPRINT", "TYPE", "ADDED", "LAST USED", "EXPIRES", "PORTS", "LABEL"];
    output.table(heads, keys.iter().map(row).collect())
}

fn session_table(output: Output, sessions: &[SessionView], running: bool) -> String {
    if sessions.is_empty() {
        return nobody(running, "Nobody is logged in.");
    }
    let row = |session: &SessionView| {
        let ports: Vec<_> = session.ports.iter().map(u16::to_string).collect();
        [
            session.id.to_string(),
            session.account.clone(),
            session.client.clone(),
            ago(session.since),
            if ports.is_empty() { "-".to_owned() } else { ports.join(",") },
            session.visitors.to_string(),
            bytes(session.bytes_in),
            bytes(session.bytes_out),
            session.client_version.clone(),
        ]
    };
    let heads = ["SESSION", "ACCOUNT", "CLIENT", "SINCE", "PORTS", "VISITORS", "IN", "OUT", "VERSION"];
    output.table(heads, sessions.iter().map(row).collect())
}

fn port_table(output: Output, ports: &[PortView], running: bool) -> String {
    if ports.is_empty() {
        return nobody(running, "No port is open.");
    }
    let row = |port: &PortView| {
        [
            port.port.to_string(),
            port.account.clone(),
            port.session.to_string(),
            port.listen.clone(),
            ago(port.since),
            format!("{} ({})", port.visitors, port.visitors_total),
            bytes(port.bytes_in),
            bytes(port.bytes_out),
        ]
    };
    let heads = ["PORT", "ACCOUNT", "SESSION", "LISTENS AT", "SINCE", "VISITORS (ALL)", "IN", "OUT"];
    output.table(heads, ports.iter().map(row).collect())
}

fn nobody(running: bool, told: &str) -> String {
    if running { told.to_owned() } else { format!("{told} No jump host runs on this folder.") }
}

fn audit_table(output: Output, events: &[AuditView]) -> String {
    if events.is_empty() {
        return "Nothing has happened yet.".to_owned();
    }
    let row = |event: &AuditView| {
        [
            ago(event.at),
            event.kind.clone(),
            event.account.clone().unwrap_or_else(|| "-".to_owned()),
            event.session.map_or_else(|| "-".to_owned(), |session| session.to_string()),
            event.source.clone().unwrap_or_else(|| "-".to_owned()),
            detail(&event.detail),
        ]
    };
    output.table(["WHEN", "WHAT", "ACCOUNT", "SESSION", "FROM", "DETAIL"], events.iter().map(row).collect())
}

/// The fields of an event on one line.
fn detail(detail: &Value) -> String {
    let field = |(name, value): (&String, &Value)| (!value.is_null()).then(|| format!("{name}={}", plain(value)));
    match detail {
        Value::Object(fields) => fields.iter().filter_map(field).collect::<Vec<_>>().join(" "),
        other => plain(other),
    }
}

/// Text without its quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_ssh::crypto::HostKey;
    use serde_json::json;

    #[test]
    fn a_private_key_goes_nowhere_and_its_public_half_is_pointed_at() {
        let folder = tempfile::tempdir().unwrap();
        let private = HostKey::generate_ed25519().unwrap().to_openssh("").unwrap();
        let file = folder.path().join("id_ed25519");
        std::fs::write(&file, private.as_bytes()).unwrap();
        std::fs::write(folder.path().join("id_ed25519.pub"), "").unwrap();
        let told = read_key(&file).unwrap_err().to_string();
        assert!(told.contains("private key") && told.contains("id_ed25519.pub?"), "{told}");
        assert!(private.lines().all(|line| !told.contains(line)));
    }

    #[test]
    fn a_public_key_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let text = HostKey::generate_ed25519().unwrap().public_key().to_text("me@here");
        let file = folder.path().join("id.pub");
        std::fs::write(&file, format!("{text}\n")).unwrap();
        assert_eq!(read_key(&file).unwrap().trim(), text);
    }

    #[test]
    fn the_fields_of_an_event_stand_on_one_line() {
        assert_eq!(detail(&json!({"user": "a b", "key": null, "ports": [1, 2]})), "ports=[1,2] user=a b");
        assert_eq!(detail(&json!("as it is")), "as it is");
    }

    #[test]
    fn an_expiry_is_a_duration_that_is_not_over_yet() {
        assert_eq!(expiry("12h").unwrap(), 43_200_000);
        for bad in ["0", "0s", "tomorrow", "12"] {
            assert!(expiry(bad).is_err(), "{bad}");
        }
    }
}
