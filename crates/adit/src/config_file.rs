//! The configuration file: one YAML file for all roles, of which each reads its own map.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use adit_agent::folder;
use adit_core::Printable;
use adit_jumphost::RawConfig;
use adit_mesh::{RawForward, RawMesh};
use serde::Deserialize;
use serde_saphyr::{Error, MessageFormatter, UserMessageFormatter};

use crate::agent::settings::AgentMap;
use crate::failure::Failure;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConfigFile {
    pub(crate) jumphost: RawConfig,
    pub(crate) agent: AgentMap,
    pub(crate) mesh: RawMesh,
    pub(crate) forward: RawForward,
    /// Where it was read from; none if there is none.
    #[serde(skip)]
    pub(crate) path: PathBuf,
}

impl ConfigFile {
    /// Whether it says anything of the mesh.
    pub(crate) fn has_mesh(&self) -> bool {
        self.mesh != RawMesh::default() || !self.forward.is_empty()
    }
}

/// Reads the file that was named, which must be there, or the one in its usual place, which need not.
pub(crate) fn load(named: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Result<ConfigFile, Failure> {
    let (path, required) = match (named, usual_path(variable)) {
        (Some(path), _) => (path.to_owned(), true),
        (None, Some(path)) => (path, false),
        (None, None) => return Ok(ConfigFile::default()),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => match parse(&text) {
            Ok(file) => Ok(ConfigFile { path, ..file }),
            Err(reason) => Err(Failure::ConfigSyntax { path, reason }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => Ok(ConfigFile::default()),
        Err(source) => Err(Failure::ConfigFile { path, source }),
    }
}

/// The agent's folder: the one that was named, or the file's, or the usual one.
pub(crate) fn agent_folder(named: Option<&Path>, file: &ConfigFile) -> Result<PathBuf, Failure> {
    match named.or(file.agent.data.as_deref()) {
        Some(path) => Ok(path.to_owned()),
        None => Ok(folder::default_path(|name| std::env::var(name).ok())?),
    }
}

fn usual_path(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    // The XDG specification has relative paths ignored.
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    folder.map(|folder| folder.join("adit/config.yaml"))
}

fn parse(text: &str) -> Result<ConfigFile, String> {
    // A file of comments alone is no map to the parser, and no mistake to its author.
    let has_content =
        text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#') && line != "---");
    if !has_content {
        return Ok(ConfigFile::default());
    }
    // An error is one line here, as everywhere; the line and column are in it.
    serde_saphyr::from_str(text).map_err(|error| error.without_snippet().render_with_formatter(&Words))
}

/// What is wrong with a file, in the words of those who write it.
struct Words;

impl MessageFormatter for Words {
    fn format_message<'a>(&self, error: &'a Error) -> Cow<'a, str> {
        match error {
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("{} is there twice", Printable::from(key.as_str()).at_most(100)).into()
            }
            Error::InvalidScalar { ty: "u32" | "u64" | "usize", .. } => "a whole number is expected, 0 or more".into(),
            Error::Budget { .. } => "it is larger than any configuration".into(),
            other => UserMessageFormatter.format_message(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        let file = parse(
            "# our jump host\n\
             jumphost:\n  \
               ssh: 127.0.0.1:2200\n  \
               ports: 20000-20100\n  \
               login_grace: 10s\n  \
               allow_networks: [10.8.0.0/16, 'fd00::/8']\n  \
               advertise: jump.example.org\n  \
               limits:\n    \
                 visitors_per_port: 0\n",
        )
        .unwrap();
        let config = file.jumphost.check().unwrap();
        assert_eq!((config.ssh.port(), config.visitors.per_port), (2200, 0));
        assert_eq!(config.ports.range.to_string(), "20000-20100");
        assert_eq!(config.advertise.as_deref(), Some("jump.example.org"));
        assert!(!config.allow_networks.permits("10.9.0.1".parse().unwrap()));
    }

    #[test]
    fn an_agent_has_its_own_map() {
        let file = parse("agent:\n  listen: '[::1]:7071'\n  data: /d\n  host_keys: accept-new\n").unwrap();
        assert_eq!(agent_folder(None, &file).unwrap(), Path::new("/d"));
        assert_eq!(agent_folder(Some(Path::new("/e")), &file).unwrap(), Path::new("/e"));
        assert_eq!(file.jumphost, RawConfig::default());
        for bad in ["agent:\n  port: 7070\n", "agent:\n  host_keys: never\n", "agent:\n  controller_mode: maybe\n"] {
            assert!(parse(bad).unwrap_err().contains("line 2"), "{bad}");
        }
    }

    #[test]
    fn an_empty_file_says_nothing() {
        for text in ["", "\n", "# later\n", "---\n", "jumphost:\n", "jumphost: {}\n"] {
            assert_eq!(parse(text).unwrap().jumphost, RawConfig::default(), "{text:?}");
        }
    }

    #[test]
    fn a_key_that_nobody_knows_is_named() {
        for text in ["jumphots: {}\n", "jumphost:\n  login_grade: 3s\n", "jumphost:\n  limits:\n    visitors: 3\n"] {
            let told = parse(text).unwrap_err();
            assert!(["jumphots", "login_grade", "visitors"].iter().any(|key| told.contains(key)), "{told}");
            assert!(told.contains("line ") && !told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_who_makes_them() {
        let many = "    - {key: k, address: '127.0.0.1:1'}\n".repeat(100_000);
        for (text, told) in [
            ("mesh:\n  listen: a\n  listen: b\n", "listen is there twice at line 3"),
            (
                "forward:\n  listeners:\n    - {key: k, address: ':1', max_connections: -1}\n",
                "a whole number is expected, 0 or more at line 3",
            ),
            (&format!("forward:\n  listeners:\n{many}"), "it is larger than any configuration at line"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(told) && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn only_a_file_that_was_named_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let variable = |name: &str| (name == "HOME").then(|| home.clone());
        assert_eq!(load(None, variable).unwrap().jumphost, RawConfig::default());
        assert!(matches!(load(Some(&folder.path().join("no.yaml")), variable), Err(Failure::ConfigFile { .. })));
    }
}
