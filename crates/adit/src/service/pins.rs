//! The bastion's host keys that a tunnel takes: those that are known when it is set up. They go with the tunnel, so that nothing that
//! happens to a person's own files later changes what it trusts.

use std::path::Path;

use adit_agent::dial::{Hop, Later, Person};
use adit_agent::folder;
use adit_agent::known_hosts::{HostKeys, HostName, Policy};
use adit_agent::records::Places;
use adit_core::Port;
use adit_net::data_folder;
use adit_service::Text;
use adit_ssh::Prompts;
use adit_ssh::crypto::PublicKey;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::oneoff::home;
use crate::terminal::Terminal;

/// A host key has no comment here.
const COMMENT: &str = "";

/// Where the keys of hosts are known: the agent's own file, and the person's.
pub(super) fn places() -> Result<Places, Failure> {
    Ok(folder::places(&crate::oneoff::data_path(None)?, home()))
}

/// The keys by which a host is known, each as it stands in a file of them behind the name.
pub(super) async fn known(places: &Places, host: &str, port: Port) -> Result<Vec<Text>, Failure> {
    let (file, others) = (places.known_hosts.clone(), places.other_known_hosts.clone());
    let known = HostKeys { policy: Policy::Strict, file, others }.load().await?;
    let keys = known.keys_of(&HostName::new(host, port));
    let texts = keys.iter().map(|key| Text::new("host key", key.to_text(COMMENT).trim()));
    Ok(texts.collect::<Result<_, _>>()?)
}

/// Writes the keys of a tunnel where its login looks for them, and nowhere else.
pub(super) fn write(folder: &Path, host: &str, port: Port, keys: &[String]) -> Result<Places, Failure> {
    let host = HostName::new(host, port);
    let lines: String =
        keys.iter().map(|key| format!("{} {}\n", host.as_str(), key.replace(['\n', '\r'], " "))).collect();
    let places = folder::places(folder, None);
    data_folder::replace(&places.known_hosts, lines.as_bytes(), 0o600).map_err(Failure::Runtime)?;
    Ok(places)
}

/// Whoever sets a tunnel up: at the terminal, or with fingerprints that were compared before.
pub(super) struct Judge {
    /// Taken without a question.
    pub(super) accepted: Vec<String>,
    /// Asked where that says nothing; `None` where nobody is there.
    pub(super) terminal: Option<Terminal>,
}

impl Judge {
    async fn confirm(&self, host: &HostName, key: &PublicKey) -> Option<bool> {
        let fingerprint = key.fingerprint().to_string();
        if !self.accepted.is_empty() {
            return Some(self.accepted.contains(&fingerprint));
        }
        self.terminal.as_ref()?.confirm_key(host, key.key_type(), fingerprint).await
    }
}

impl Person for Judge {
    fn confirm_host_key<'a>(&'a self, host: &'a HostName, key: &'a PublicKey) -> Later<'a, Option<bool>> {
        Box::pin(self.confirm(host, key))
    }

    /// A service cannot answer any, so none is answered for it.
    fn answer_prompts<'a>(&'a self, _: &'a Hop, _: &'a Prompts) -> Later<'a, Option<Vec<Zeroizing<String>>>> {
        Box::pin(std::future::ready(None))
    }
}
