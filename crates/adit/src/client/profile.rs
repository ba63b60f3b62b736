//! `adit profile`: who logs in, and with what.

use std::path::{Path, PathBuf};

use adit_api::agent::view::{LoginMethod, ProfileView};
use clap::{Args, Subcommand};

use super::body::Body;
use super::find::{JumpNames, Named, find, free_name};
use super::{Asker, Common, help};
use crate::failure::Failure;
use crate::output::{ago, shown};
use crate::private_key;
use crate::secret;
use crate::shell;
use crate::terminal::Terminal;

const HELP: &str = help!(
    "Examples:
  adit profile add me --user alice --key ~/.ssh/id_ed25519
      asks for the key's passphrase, if it has one
  adit profile add me --user alice --ssh-agent
      with the keys of your ssh-agent, as far as the agent was started with SSH_AUTH_SOCK
  adit profile add switches --user admin --password --legacy true
      asks for the password; old algorithms are offered too
  pass show switches | adit profile edit switches --password-file -
      a new password, from a program
  adit profile edit me --jump edge
      everything with this profile goes through this jump host

Passwords and passphrases are kept encrypted, and shown by nothing. They are never arguments: others see those."
);

/// `adit profile`
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
    /// Save a profile
    Add(Add),
    /// List the profiles
    List,
    /// Show one, without its secrets
    Show {
        /// Its name or id
        profile: String,
    },
    /// Change one, from its next login on; what is not given stays as it is
    Edit(Edit),
    /// Remove one that nothing needs, with its secrets
    Remove {
        /// Its name or id
        profile: String,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// What you call it
    name: String,
    /// Who logs in
    #[arg(long)]
    user: String,
    #[command(flatten)]
    method: Method,
    #[command(flatten)]
    secrets: SecretFiles,
    /// The jump host, or the session, that everything with it is reached through
    #[arg(short = 'J', long, value_name = "JUMP")]
    jump: Option<String>,
    /// Whether old algorithms are offered too, for equipment that knows no others
    #[arg(long, value_name = "BOOL")]
    legacy: Option<bool>,
}

#[derive(Debug, Args)]
struct Edit {
    /// Its name or id
    profile: String,
    /// What you call it from now on
    #[arg(long)]
    name: Option<String>,
    /// Who logs in
    #[arg(long)]
    user: Option<String>,
    #[command(flatten)]
    method: Method,
    #[command(flatten)]
    secrets: SecretFiles,
    /// Forget its password
    #[arg(long, conflicts_with_all = ["password", "password_file"])]
    forget_password: bool,
    /// Forget the passphrase of its key
    #[arg(long, conflicts_with_all = ["passphrase_file"])]
    forget_passphrase: bool,
    /// The jump host, or the session, that everything with it is reached through; `none` for none
    #[arg(short = 'J', long, value_name = "JUMP")]
    jump: Option<String>,
    /// Whether old algorithms are offered too
    #[arg(long, value_name = "BOOL")]
    legacy: Option<bool>,
    /// Whether it may be used
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
}

/// By what means it logs in.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Method {
    /// With the private key in this file; its passphrase is asked for
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// With a password, which is asked for
    #[arg(long)]
    password: bool,
    /// With the keys of your ssh-agent
    #[arg(long)]
    ssh_agent: bool,
    /// With the answers to what the server asks; a password that is kept answers one hidden question
    #[arg(long)]
    keyboard_interactive: bool,
}

/// Where secrets come from that are not to be asked for.
#[derive(Debug, Args)]
struct SecretFiles {
    /// The file with the password, or - for standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The file with the passphrase of the key, or - for standard input
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Method {
    fn chosen(&self) -> Option<LoginMethod> {
        match self {
            Self { key: Some(_), .. } => Some(LoginMethod::Key),
            Self { password: true, .. } => Some(LoginMethod::Password),
            Self { ssh_agent: true, .. } => Some(LoginMethod::Agent),
            Self { keyboard_interactive: true, .. } => Some(LoginMethod::KeyboardInteractive),
            Self { .. } => None,
        }
    }

    /// Sets how it logs in, and asks for what that takes and no file has. A wrong key or passphrase is told before anything is saved.
    async fn fill(&self, body: &mut Body, files: &SecretFiles, user: &str) -> Result<(), Failure> {
        let terminal = Terminal::default();
        let method = self.chosen().or(files.password_file.as_ref().map(|_| LoginMethod::Password));
        body.set("auth_method", method.and_then(|method| serde_json::to_value(method).ok()));
        let passphrase = match &files.passphrase_file {
            Some(file) => Some(secret::read(file).await?),
            None => None,
        };
        match &self.key {
            Some(key) => {
                let path = absolute(key)?;
                let passphrase = private_key::passphrase_of(&path, passphrase, &terminal).await?;
                body.set("key_path", path.to_str());
                body.set("passphrase", passphrase.as_deref().map(String::as_str));
            }
            None => body.set("passphrase", passphrase.as_deref().map(String::as_str)),
        }
        if self.password || files.password_file.is_some() {
            let question = format!("Password of {user}: ");
            let password = secret::read_or_ask(files.password_file.as_deref(), &question, &terminal).await?;
            body.set("password", Some(password.as_str()));
        }
        Ok(())
    }
}

/// The agent runs in another folder.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let unusable = |source| Failure::KeyFile { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(unusable)?;
    match absolute.to_str() {
        Some(_) => Ok(absolute),
        None => Err(unusable(std::io::Error::other("its name is not UTF-8"))),
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let asker = Asker::new(&arguments.common)?;
    let Asker { client, output, .. } = &asker;
    match arguments.command {
        Command::Add(add) => self::add(&asker, add).await,
        Command::List => {
            let all: Vec<ProfileView> = client.get(ProfileView::PATH).await?;
            let jumps = JumpNames::load(&asker).await?;
            output.answer(&all, |all| table(&asker, all, &jumps))
        }
        Command::Show { profile } => {
            let found: ProfileView = find(&asker, &profile).await?;
            let jumps = JumpNames::load(&asker).await?;
            output.answer(&found, |found| output.facts(&facts(found, &jumps)))
        }
        Command::Edit(edit) => self::edit(&asker, edit).await,
        Command::Remove { profile } => {
            let found: ProfileView = find(&asker, &profile).await?;
            client.delete(&found.path()).await?;
            output.answer(&found, |found| format!("Profile {} and its secrets are removed.", shown(&found.name)))
        }
    }
}

async fn add(asker: &Asker, add: Add) -> Result<(), Failure> {
    if add.method.chosen().is_none() && add.secrets.password_file.is_none() {
        return Err(Failure::NoMethod);
    }
    free_name::<ProfileView>(asker, Some(&add.name)).await?;
    let mut body = Body::default();
    add.method.fill(&mut body, &add.secrets, &add.user).await?;
    body.set("name", Some(add.name));
    body.set("username", Some(add.user));
    body.set_jump(asker, add.jump.as_deref(), "none").await?;
    body.set("legacy_algorithms", add.legacy);
    let saved: ProfileView = asker.client.post(ProfileView::PATH, &body).await?;
    asker.output.answer(&saved, |saved| {
        let name = shell::quoted(&saved.name);
        let next = format!("adit tunnel{} add web --via bastion --profile {name} -L 8080:intranet:80", asker.flag);
        format!("Profile {} is saved: {}.\nNext: {}", shown(&saved.name), login(saved), shown(&next))
    })
}

async fn edit(asker: &Asker, edit: Edit) -> Result<(), Failure> {
    let found: ProfileView = find(asker, &edit.profile).await?;
    free_name::<ProfileView>(asker, edit.name.as_deref().filter(|name| *name != found.name)).await?;
    let mut body = Body::default();
    edit.method.fill(&mut body, &edit.secrets, edit.user.as_deref().unwrap_or(&found.username)).await?;
    body.set("name", edit.name);
    body.set("username", edit.user);
    if edit.forget_password {
        body.clear("password");
    }
    if edit.forget_passphrase {
        body.clear("passphrase");
    }
    body.set_jump(asker, edit.jump.as_deref(), "none").await?;
    body.set("legacy_algorithms", edit.legacy);
    body.set("enabled", edit.enabled);
    if body.is_empty() {
        return Err(Failure::NothingToChange { command: "adit profile edit" });
    }
    let saved: ProfileView = asker.client.put(&found.path(), &body).await?;
    asker.output.answer(&saved, |saved| format!("Profile {} is changed: {}.", shown(&saved.name), login(saved)))
}

/// Who logs in, and with what.
fn login(profile: &ProfileView) -> String {
    let secret = |is_kept, name| if is_kept { format!(", {name} kept") } else { String::new() };
    let password = secret(profile.has_password, "password");
    let passphrase = secret(profile.has_passphrase, "passphrase");
    let means = match profile.auth_method {
        LoginMethod::Key => format!("key {}", shown(profile.key_path.as_deref().unwrap_or("(none yet)"))),
        LoginMethod::Password => "password".to_owned(),
        LoginMethod::Agent => "ssh-agent".to_owned(),
        LoginMethod::KeyboardInteractive => "the server's questions".to_owned(),
    };
    format!("{} with {means}{password}{passphrase}", shown(&profile.username))
}

fn table(asker: &Asker, all: &[ProfileView], jumps: &JumpNames) -> String {
    if all.is_empty() {
        return format!("No profiles yet.\nNext: adit profile{} add me --user USER --key FILE", asker.flag);
    }
    let row = |profile: &ProfileView| {
        let enabled = if profile.enabled { "yes" } else { "no" };
        [shown(&profile.name), login(profile), jumps.shown(&profile.jump, "-"), enabled.to_owned(), profile.id.clone()]
    };
    asker.output.table(["NAME", "LOGIN", "JUMP", "ENABLED", "ID"], all.iter().map(row).collect())
}

fn facts(profile: &ProfileView, jumps: &JumpNames) -> Vec<(&'static str, String)> {
    vec![
        ("name", shown(&profile.name)),
        ("id", profile.id.clone()),
        ("login", login(profile)),
        ("jump", jumps.shown(&profile.jump, "none")),
        ("old algorithms", profile.legacy_algorithms.to_string()),
        ("enabled", profile.enabled.to_string()),
        ("saved", ago(profile.created_at)),
    ]
}
