//! `adit share`: a service of this machine at a port of a jump host, from the first key to the address that others use.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_agent::agent::{StartError, TrialError};
use adit_agent::credentials::CredentialError;
use adit_agent::dial::{DialError, DialFailure};
use adit_agent::folder;
use adit_agent::records::remote_record;
use adit_core::{Port, RemoteListen, TunnelStatus};
use adit_ssh::crypto::PublicKey;

use super::address::LocalService;
use super::arguments::Share;
use super::login::Login;
use super::news::{Change, News, listen};
use super::{OneOff, Usual, data_folder, home, share_key};
use crate::failure::Failure;
use crate::output::Output;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// The account that jump hosts of ours have for this, and their port.
const USER: &str = "tunnel";
const PORT: Port = match Port::new(2222) {
    Some(port) => port,
    None => Port::MAX,
};

/// All addresses of the server: who may come is for the server to say.
const EVERYWHERE: &str = "";

/// Between two tries to be let in. A failed login costs its source 5 s of patience at our jump hosts and at OpenSSH's, and 15 s
/// shut the door: at this pace they never add up.
const RETRY: Duration = Duration::from_secs(6);

/// Shares the service until somebody ends it.
pub(crate) async fn run(arguments: &Share) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let built = tokio::select! {
        built = build(arguments) => built?,
        () = signals.stop() => return Ok(()),
    };
    let Shared { own, mut publishing } = built;
    let outcome = tokio::select! {
        outcome = publishing.keep(&own) => outcome,
        () = signals.stop() => Ok(()),
    };
    own.end().await;
    outcome
}

struct Shared {
    own: OneOff,
    publishing: Publishing,
}

/// What is published, and what was told of it.
struct Publishing {
    tunnel: String,
    service: LocalService,
    key: PublicKey,
    key_file: PathBuf,
    output: Output,
    news: News,
    /// The key was shown.
    key_shown: bool,
    /// What kept us out at the last try.
    trouble: Option<String>,
}

async fn build(arguments: &Share) -> Result<Shared, Failure> {
    let Share { mut service, port, ref key, ref way } = *arguments;
    let output = Output::new(way.json);
    let news = News::new(output);
    let data = data_folder(way.data.as_deref())?;
    let key_file = key.clone().unwrap_or_else(|| data.join("share_key"));
    share_key::make_if_missing(&key_file)?;
    let terminal = Arc::new(Terminal::default());
    let login = Login::with_key(&key_file, &terminal).await?;
    let Login::Key { passphrase, .. } = &login else { return Err(Failure::NoLogin) };
    let key = share_key::public_key(&key_file, passphrase.as_ref().map(|text| text.as_str()))?;
    if !service.look().await {
        let told = format!("nothing listens on {service} yet: start your service, and visitors reach it at once");
        news.say(&Change::NoService { service: service.to_string() }, &told)?;
    }
    let places = folder::places(&data, home());
    let own = OneOff::start(places, way.host_keys.into(), terminal.clone(), terminal).await?;
    let usual = Usual { user: Some(USER.to_owned()), port: PORT };
    let listen = RemoteListen { address: EVERYWHERE.into(), port };
    let record = remote_record(&listen, service.address(), service.port);
    let ids = own.add(vec![record], way.route(), &usual, &login).await?;
    let tunnel = ids.into_iter().next().ok_or(Failure::Tunnel(StartError::Ending))?;
    let publishing = Publishing { tunnel, service, key, key_file, output, news, key_shown: false, trouble: None };
    Ok(Shared { own, publishing })
}

impl Publishing {
    async fn keep(&mut self, own: &OneOff) -> Result<(), Failure> {
        loop {
            self.wait_until_let_in(own).await?;
            own.agent.start_tunnel(&self.tunnel).await?;
            if !self.follow(own).await? {
                return Ok(());
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Tries until the server lets us in. A host key that is not the right one ends it; a person has said so, or has to.
    async fn wait_until_let_in(&mut self, own: &OneOff) -> Result<(), Failure> {
        loop {
            match own.agent.try_tunnel(&self.tunnel, &mut |_| {}).await {
                Ok(()) => return Ok(()),
                Err(TrialError::NoWay(why)) => return Err(why.into()),
                Err(TrialError::Dial(error)) if is_refusal(&error) => self.show_key(&error)?,
                Err(TrialError::Dial(error)) if error.obstacle().is_some() => return Err(Failure::Dial(error)),
                Err(TrialError::Dial(error)) => self.tell_trouble(&error)?,
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Tells how the share fares, until it needs somebody to let us in again. `false`: the agent has ended.
    async fn follow(&mut self, own: &OneOff) -> Result<bool, Failure> {
        let mut board = own.agent.board();
        let service = self.service;
        loop {
            let tunnel = board.borrow_and_update().tunnels.values().next().cloned();
            if let Some(tunnel) = tunnel {
                if let TunnelStatus::Failed { last_error } = &tunnel.status {
                    let change = Change::Lost { forward: tunnel.spec(), error: last_error.to_string() };
                    self.news.say(&change, &format!("{}: {last_error}; it is tried again", tunnel.spec()))?;
                    // Whoever took the key away may want to see which one it was.
                    self.key_shown = false;
                    return Ok(true);
                }
                self.news.tell(&tunnel, |tunnel, port| {
                    format!("{service} is at {} for as long as this runs (Ctrl-C ends it)", listen(tunnel, port))
                })?;
            }
            if board.changed().await.is_err() {
                return Ok(false);
            }
        }
    }

    fn show_key(&mut self, error: &DialError) -> Result<(), Failure> {
        if std::mem::replace(&mut self.key_shown, true) {
            return Ok(());
        }
        let line = share_key::line(&self.key);
        let change = Change::Waiting { public_key: line, fingerprint: self.key.fingerprint().to_string() };
        self.output.answer(&change, |_| self.invitation(error))
    }

    fn invitation(&self, error: &DialError) -> String {
        let line = share_key::line(&self.key);
        let picture = self.output.is_on_terminal().then(|| share_key::picture(&line)).flatten();
        let picture = picture.map_or_else(String::new, |picture| format!("\n{picture}\n"));
        format!(
            "{} does not let this key in yet:\n\n{}\n{picture}\nIt is {}.pub. Add it at the jump host's dashboard, or give it to whoever \
             runs it, who types:\n  echo '{line}' | adit jumphost key add ACCOUNT\nWaiting until it is let in …",
            error.hop,
            self.output.bold(&line),
            self.key_file.display()
        )
    }

    fn tell_trouble(&mut self, error: &DialError) -> Result<(), Failure> {
        let told = error.to_string();
        if self.trouble.as_ref() != Some(&told) {
            let change = Change::Lost { forward: self.service.to_string(), error: told.clone() };
            self.news.say(&change, &format!("{told}; it is tried again"))?;
            self.trouble = Some(told);
        }
        Ok(())
    }
}

/// Whether the server knows nobody with our key.
fn is_refusal(error: &DialError) -> bool {
    matches!(*error.why, DialFailure::Credentials(CredentialError::Refused { .. }))
}
