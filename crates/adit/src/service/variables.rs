//! What is not typed: variables of the environment, or of a file that was named. Those of SciTeX Tunnel are read too, for people who come
//! from there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::oneoff::{ServerAddress, home};

const PREFIXES: [&str; 2] = ["ADIT_", "SCITEX_TUNNEL_"];

/// Where a setting that was not given may stand.
pub(crate) struct Variables {
    file: BTreeMap<String, String>,
}

impl Variables {
    /// Reads the file, if one was named. The environment wins over it.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = file else { return Ok(Self { file: BTreeMap::new() }) };
        let read = dotenvy::from_path_iter(path).and_then(Iterator::collect);
        // A line that is not understood may hold a secret, and is not shown.
        let told = |error: dotenvy::Error| match error {
            dotenvy::Error::LineParse(..) => "one of its lines is no NAME=value".to_owned(),
            other => other.to_string(),
        };
        read.map(|file| Self { file }).map_err(|error| Failure::EnvFile { path: path.to_owned(), why: told(error) })
    }

    /// The bastion: what was typed, or else the variable.
    pub(crate) fn bastion(&self, typed: Option<ServerAddress>) -> Result<ServerAddress, Failure> {
        if let Some(bastion) = typed {
            return Ok(bastion);
        }
        let (flag, variable) = ("-b [USER@]HOST[:PORT]", "ADIT_BASTION_SERVER");
        let (name, text) = self.get("BASTION_SERVER").ok_or(Failure::Missing { what: "bastion", flag, variable })?;
        ServerAddress::parse(&text).map_err(|source| Failure::BadVariable { name, source })
    }

    /// The private key: what was typed, or else the variable.
    pub(crate) fn secret_key(&self, typed: Option<PathBuf>) -> Result<PathBuf, Failure> {
        let (flag, variable) = ("-s FILE", "ADIT_SECRET_KEY_PATH");
        let path = typed.or_else(|| self.get("SECRET_KEY_PATH").map(|(_, path)| path.into()));
        path.map(in_home).ok_or(Failure::Missing { what: "private key", flag, variable })
    }

    /// Whether everything that is done is to be told.
    pub(super) fn debug_mode(&self) -> bool {
        self.get("DEBUG_MODE").is_some_and(|(_, value)| value == "1")
    }

    /// The variable that says it, and what it says.
    fn get(&self, name: &str) -> Option<(String, String)> {
        let of_environment = |name: &str| std::env::var(name).ok();
        find(name, of_environment, |name| self.file.get(name).cloned())
    }
}

/// The environment before the file, our name before the other; an empty value is none.
fn find(
    name: &str,
    environment: impl Fn(&str) -> Option<String>,
    file: impl Fn(&str) -> Option<String>,
) -> Option<(String, String)> {
    let names = PREFIXES.map(|prefix| format!("{prefix}{name}"));
    let of_environment = names.iter().map(|name| (name, environment(name)));
    let of_file = names.iter().map(|name| (name, file(name)));
    let mut set = of_environment.chain(of_file).filter_map(|(name, value)| Some((name.clone(), value?)));
    set.find(|(_, value)| !value.is_empty())
}

/// A path that begins with `~/`, which no shell has read.
fn in_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_over_the_file_and_our_name_over_the_other() {
        let map = |text: &'static str| {
            move |wanted: &str| {
                let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
                pairs.into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
            }
        };
        for (environment, file, expected) in [
            ("ADIT_X=1 SCITEX_TUNNEL_X=2", "ADIT_X=3", Some("1")),
            ("SCITEX_TUNNEL_X=2", "ADIT_X=3", Some("2")),
            ("", "ADIT_X=3 SCITEX_TUNNEL_X=4", Some("3")),
            ("ADIT_X=", "SCITEX_TUNNEL_X=4", Some("4")),
            ("X=1", "", None),
        ] {
            let found = find("X", map(environment), map(file)).map(|(_, value)| value);
            assert_eq!(found.as_deref(), expected, "{environment} {file}");
        }
    }
}
