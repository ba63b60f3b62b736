//! Which host keys are known: OpenSSH's `known_hosts` (sshd(8)), read and added to, and the verdict on a key that a server shows.
//!
//! A host whose key is known is expected to show one of its known keys, of whatever type: another one is a change, and a change is
//! always refused, until somebody who has compared the keys has them [replaced](HostKeys::replace). New types are learnt from servers
//! that prove to hold them beside a known key (`HostKeys::keeper`).

mod line;
mod rewrite;
mod store;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_core::{Port, Printable};
use adit_ssh::crypto::{Fingerprint, PublicKey};
use thiserror::Error;

use line::{Line, Marker};

/// What happens to a host that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// It is refused, until its owner adds the key; nothing is written by itself.
    Strict,
    /// Somebody is asked.
    Ask,
    /// It is taken, and known from then on.
    AcceptNew,
}

/// A host as the file names it: `host`, or `[host]:port` where the port is not 22. In small letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(Arc<str>);

impl HostName {
    /// The name of a server.
    pub fn new(host: &str, port: Port) -> Self {
        let host = host.to_ascii_lowercase();
        Self(if port.get() == 22 { host.into() } else { format!("[{host}]:{port}").into() })
    }

    /// As it stands in the file.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can stand in a line: nothing in it that the file gives a meaning to.
    fn is_plain(&self) -> bool {
        !self.0.is_empty()
            && !self.0.starts_with(['@', '#', '|'])
            && !self.0.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '*' | '?' | '!'))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable::from(&*self.0).fmt(f)
    }
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// The judgement on a key that a server shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host's.
    Known,
    /// Nothing is known of the host.
    Unknown {
        /// A line that does name the host and only says which authority signs its certificates. Those are not read here.
        ignored: Option<Place>,
    },
    /// The host is known by another key.
    Changed(Change),
    /// The key is marked as stolen.
    Revoked(Place),
}

/// A key by which a host is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// Its type.
    pub key_type: &'static str,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Where it stands.
    pub place: Place,
}

impl fmt::Display for KnownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.key_type, self.fingerprint, self.place)
    }
}

/// A host shows another key than those that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The host.
    pub host: HostName,
    /// What it shows.
    pub shown: PublicKey,
    /// What is known: of the same type, where there is one.
    pub known: KnownKey,
    /// What is known beside that.
    pub further: Vec<KnownKey>,
}

impl Change {
    /// All keys by which the host is known.
    pub fn all_known(&self) -> impl Iterator<Item = &KnownKey> {
        std::iter::once(&self.known).chain(&self.further)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, shown, known, .. } = self;
        write!(
            f,
            "the host key of {host} has CHANGED: somebody may be listening in between, or the server was set up anew. It shows \
             {} {}; known is {known}. Nothing was sent. If the new key is right, remove that line",
            shown.key_type(),
            shown.fingerprint()
        )
    }
}

/// A host key is not accepted. Nothing about the user was sent.
#[derive(Debug, Error)]
pub enum HostKeyError {
    /// The host is known by another key.
    #[error("{0}")]
    Changed(Box<Change>),
    /// The key is marked as stolen.
    #[error("the host key {fingerprint} of {host} is revoked by {place}")]
    Revoked {
        /// The host.
        host: HostName,
        /// The key.
        fingerprint: Fingerprint,
        /// Where that stands.
        place: Place,
    },
    /// The host is not known, and nobody said that the key is right.
    #[error("the host key of {host} is not known: it shows {} {}{}", .key.key_type(), .key.fingerprint(), ignored_line(.ignored))]
    Unknown {
        /// The host.
        host: HostName,
        /// The key, to be shown and, if it is right, [remembered](HostKeys::remember).
        key: PublicKey,
        /// A line about certificates that names the host.
        ignored: Option<Place>,
    },
    /// Somebody said that the key is not the right one.
    #[error("the host key {fingerprint} of {host} was declined")]
    Declined {
        /// The host.
        host: HostName,
        /// The key.
        fingerprint: Fingerprint,
    },
    /// The host's name has characters in it that the file gives a meaning to.
    #[error("“{0}” cannot be written to a known_hosts file")]
    Name(HostName),
    /// The file of known keys cannot be read or written. Without it no key can be judged.
    #[error("cannot {attempt} {}: {source}", .file.display())]
    File {
        /// `read` or `write`.
        attempt: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A key did not take the place of those that are known of its host. They are known as before.
#[derive(Debug, Error)]
pub enum ReplaceError {
    /// One of them stands in a file that somebody else keeps, and would be taken from there as ever.
    #[error(
        "{host} is known by {known}, in a file that is only read here; if the new key is right, take the host out of that \
         line yourself"
    )]
    KeptElsewhere {
        /// The host.
        host: HostName,
        /// The key.
        known: KnownKey,
    },
    /// One of them is not among those that were compared.
    #[error(
        "{host} is known by {known} meanwhile, which was not compared; log in there again to see what it shows now"
    )]
    KnownMeanwhile {
        /// The host.
        host: HostName,
        /// The key.
        known: KnownKey,
    },
    /// The new one must not be taken, or the files cannot be read or written.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
}

fn ignored_line(ignored: &Option<Place>) -> String {
    ignored.as_ref().map_or_else(String::new, |place| {
        format!(" ({place} names an authority for its certificates, which are not supported)")
    })
}

/// The known keys of several files, as they were when they were read.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    lines: Vec<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    place: Place,
    line: Line,
}

impl KnownHosts {
    /// Adds what a file says. Lines that mean nothing to us are passed over.
    pub fn read(&mut self, file: &Path, text: &str) {
        let file: Arc<Path> = file.into();
        let lines = text.lines().enumerate().filter_map(|(index, text)| Some((index + 1, Line::parse(text)?)));
        self.lines
            .extend(lines.map(|(line, parsed)| Known { place: Place { file: file.clone(), line }, line: parsed }));
    }

    /// Both together.
    fn and(&self, others: &KnownHosts) -> KnownHosts {
        KnownHosts { lines: self.lines.iter().chain(&others.lines).cloned().collect() }
    }

    /// Judges the key that a host shows.
    pub fn judge(&self, host: &HostName, key: &PublicKey) -> Verdict {
        let about_host: Vec<&Known> = self.lines.iter().filter(|known| known.line.names(host.as_str())).collect();
        let with = |marker: Option<Marker>| about_host.iter().filter(move |known| known.line.marker == marker);
        if let Some(revoked) = with(Some(Marker::Revoked)).find(|known| known.line.blob == key.blob()) {
            return Verdict::Revoked(revoked.place.clone());
        }
        if with(None).any(|known| known.line.blob == key.blob()) {
            return Verdict::Known;
        }
        // A key that is no key any more (too short, of a type we do not speak) cannot be shown either.
        let others = with(None).filter_map(|known| Some((known, PublicKey::from_blob(&known.line.blob).ok()?)));
        let mut others: Vec<KnownKey> = others
            .map(|(known, other)| KnownKey {
                key_type: other.key_type(),
                fingerprint: other.fingerprint(),
                place: known.place.clone(),
            })
            .collect();
        // Of all, the first of the same type.
        others.sort_by_key(|other| other.key_type != key.key_type());
        let mut others = others.into_iter();
        match others.next() {
            Some(known) => {
                Verdict::Changed(Change { host: host.clone(), shown: key.clone(), known, further: others.collect() })
            }
            None => {
                Verdict::Unknown { ignored: with(Some(Marker::CertAuthority)).next().map(|known| known.place.clone()) }
            }
        }
    }

    /// The keys of a host, to ask for their types first.
    pub fn keys_of(&self, host: &HostName) -> Vec<PublicKey> {
        let plain = self.lines.iter().filter(|known| known.line.marker.is_none() && known.line.names(host.as_str()));
        plain.filter_map(|known| PublicKey::from_blob(&known.line.blob).ok()).collect()
    }
}

/// The files of known keys, and what happens to hosts that are in none of them.
#[derive(Debug, Clone)]
pub struct HostKeys {
    /// For hosts that are not known.
    pub policy: Policy,
    /// Read, and written.
    pub file: PathBuf,
    /// Only read: `/etc/ssh/ssh_known_hosts`, or a person's own file beside the agent's.
    pub others: Vec<PathBuf>,
}

impl HostKeys {
    /// Reads the files; one that is not there is empty.
    ///
    /// # Errors
    /// [`HostKeyError::File`]
    pub async fn load(&self) -> Result<KnownHosts, HostKeyError> {
        let files: Vec<PathBuf> = std::iter::once(&self.file).chain(&self.others).cloned().collect();
        in_background(&self.file, move || read_all(files)).await
    }

    /// Adds the key of a host that is not known.
    ///
    /// # Errors
    /// [`HostKeyError`]; also where the host has become known by another key meanwhile, in whichever file.
    pub async fn remember(&self, host: &HostName, key: &PublicKey) -> Result<(), HostKeyError> {
        if !host.is_plain() {
            return Err(HostKeyError::Name(host.clone()));
        }
        let (file, others, host, key) = (self.file.clone(), self.others.clone(), host.clone(), key.clone());
        in_background(&self.file, move || {
            let elsewhere = read_all(others)?;
            let mut refused = None;
            let added = store::add(&file, |known| match known.and(&elsewhere).judge(&host, &key) {
                Verdict::Known => Vec::new(),
                Verdict::Unknown { .. } => vec![line::write(host.as_str(), &key)],
                Verdict::Changed(change) => {
                    refused = Some(HostKeyError::Changed(Box::new(change)));
                    Vec::new()
                }
                Verdict::Revoked(place) => {
                    let fingerprint = key.fingerprint();
                    refused = Some(HostKeyError::Revoked { host: host.clone(), fingerprint, place });
                    Vec::new()
                }
            });
            added.map_err(|source| HostKeyError::File { attempt: "write", file: file.clone(), source })?;
            refused.map_or(Ok(()), Err)
        })
        .await
    }

    /// Puts the key of a host into the place of all by which it is known, in one exchange of the file. Comments, revocations and what the
    /// file says of other hosts stay. `compared`: the known keys that somebody has compared with the new one; none but those goes.
    ///
    /// # Errors
    /// [`ReplaceError`]
    pub async fn replace(&self, host: &HostName, key: &PublicKey, compared: &[KnownKey]) -> Result<(), ReplaceError> {
        if !host.is_plain() {
            return Err(HostKeyError::Name(host.clone()).into());
        }
        let (file, others, host, key) = (self.file.clone(), self.others.clone(), host.clone(), key.clone());
        let compared: Vec<Fingerprint> = compared.iter().map(|known| known.fingerprint).collect();
        in_background(&self.file, move || {
            let elsewhere = match read_all(others) {
                Ok(elsewhere) => elsewhere,
                Err(error) => return Ok(Err(error.into())),
            };
            let mut refused = None;
            let exchanged = store::exchange(&file, |known, text| {
                let line = line::write(host.as_str(), &key);
                match known.and(&elsewhere).judge(&host, &key) {
                    Verdict::Known => None,
                    Verdict::Unknown { .. } => Some(rewrite::with(text.to_vec(), &line)),
                    Verdict::Changed(change) => match obstacle(&change, &file, &compared) {
                        None => Some(rewrite::with(rewrite::without(text, &host), &line)),
                        Some(obstacle) => {
                            refused = Some(obstacle);
                            None
                        }
                    },
                    Verdict::Revoked(place) => {
                        let fingerprint = key.fingerprint();
                        refused = Some(HostKeyError::Revoked { host: host.clone(), fingerprint, place }.into());
                        None
                    }
                }
            });
            Ok(match exchanged {
                Ok(()) => refused.map_or(Ok(()), Err),
                Err(source) => Err(HostKeyError::File { attempt: "write", file: file.clone(), source }.into()),
            })
        })
        .await?
    }

    /// What learns further keys of a host, which it proved to hold beside `shown`. None where nothing may be written. It blocks.
    pub(crate) fn keeper(&self, host: HostName, shown: PublicKey) -> Option<Box<dyn FnOnce(Vec<PublicKey>) + Send>> {
        if self.policy == Policy::Strict || !host.is_plain() {
            return None;
        }
        let file = self.file.clone();
        Some(Box::new(move |proven| {
            let added = store::add(&file, |known| {
                // Where the shown key stands in another file, that file is kept by somebody else.
                if known.judge(&host, &shown) != Verdict::Known {
                    return Vec::new();
                }
                let is_new = |key: &&PublicKey| matches!(known.judge(&host, key), Verdict::Changed(_));
                proven.iter().filter(is_new).map(|key| line::write(host.as_str(), key)).collect()
            });
            match added {
                Ok(0) => {}
                Ok(count) => tracing::info!(%host, count, "learnt further host keys"),
                Err(error) => tracing::warn!(%host, file = %file.display(), %error, "cannot keep further host keys"),
            }
        }))
    }
}

/// What stands against taking out all that is known.
fn obstacle(change: &Change, own: &Path, compared: &[Fingerprint]) -> Option<ReplaceError> {
    let host = || change.host.clone();
    if let Some(known) = change.all_known().find(|known| *known.place.file != *own) {
        return Some(ReplaceError::KeptElsewhere { host: host(), known: known.clone() });
    }
    let known = change.all_known().find(|known| !compared.contains(&known.fingerprint))?;
    Some(ReplaceError::KnownMeanwhile { host: host(), known: known.clone() })
}

fn read_all(files: Vec<PathBuf>) -> Result<KnownHosts, HostKeyError> {
    let mut known = KnownHosts::default();
    for file in files {
        match store::read(&file) {
            Ok(text) => known.read(&file, &text),
            Err(source) => return Err(HostKeyError::File { attempt: "read", file, source }),
        }
    }
    Ok(known)
}

/// Files are read and written where that may block.
async fn in_background<T: Send + 'static>(
    file: &Path,
    work: impl FnOnce() -> Result<T, HostKeyError> + Send + 'static,
) -> Result<T, HostKeyError> {
    let failed = |error| HostKeyError::File { attempt: "read", file: file.to_owned(), source: io::Error::other(error) };
    tokio::task::spawn_blocking(work).await.map_err(failed).flatten()
}

#[cfg(test)]
mod tests;
