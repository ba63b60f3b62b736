//! What the agent runs on: flags and environment first, then the `agent:` map of the configuration file, then what is usual.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use adit_core::LoopbackAddress;
use adit_jumphost::config::{ConfigError, Origin};
use adit_store::agent::SettingsChange;
use serde::Deserialize;
use thiserror::Error;

use super::arguments::Arguments;
use crate::config_file::ConfigFile;
use crate::failure::Failure;
use crate::oneoff::arguments::HostKeys;

/// The port of the documents.
const DEFAULT_PORT: u16 = 7070;

/// The `agent:` map.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AgentMap {
    listen: Option<String>,
    pub(crate) data: Option<PathBuf>,
    /// As ADIT_LOG has it.
    pub(crate) log: Option<String>,
    host_keys: Option<HostKeys>,
    controller_mode: Option<bool>,
}

/// Every value is there and was checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    /// What the file says of the settings that are saved; the others stay as they were last set.
    pub(super) records: SettingsChange,
}

impl Settings {
    pub(super) fn new(arguments: &Arguments, file: &ConfigFile) -> Result<Self, Failure> {
        let AgentMap { listen, host_keys, controller_mode, .. } = &file.agent;
        let listen = match (arguments.listen, listen) {
            (Some(listen), _) => listen,
            (None, None) => ListenAddress::default(),
            (None, Some(typed)) => typed.parse().map_err(|NotLocal| {
                let error = ConfigError {
                    place: "`agent.listen` in the configuration file".to_owned(),
                    typed: typed.clone(),
                    expected: EXPECTED.to_owned(),
                    origin: Origin::File,
                };
                Failure::from_setting(error, file.path.clone())
            })?,
        };
        let records = SettingsChange { host_key_policy: host_keys.map(Into::into), controller_mode: *controller_mode };
        Ok(Self { listen: listen.0, records })
    }
}

/// A loopback address and a port. The token is all that guards the API, and it has no TLS: others must not reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenAddress(SocketAddr);

/// The text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected {EXPECTED}")]
pub(crate) struct NotLocal;

const EXPECTED: &str = "a loopback address (127.0.0.0/8 or ::1) in numbers and a port, such as 127.0.0.1:7070 or [::1]:0: elsewhere \
                        others could reach the agent";

impl Default for ListenAddress {
    fn default() -> Self {
        Self(SocketAddr::new(LoopbackAddress::DEFAULT.ip(), DEFAULT_PORT))
    }
}

impl ListenAddress {
    /// As a socket needs it.
    pub(crate) fn socket(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for ListenAddress {
    type Err = NotLocal;

    /// As strict as for tunnels: see [`LoopbackAddress`].
    fn from_str(typed: &str) -> Result<Self, NotLocal> {
        let (host, port) = typed.rsplit_once(':').ok_or(NotLocal)?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address: LoopbackAddress = bracketed.unwrap_or(host).parse().map_err(|_| NotLocal)?;
        // An IPv6 address without brackets could have its last group taken for a port.
        if matches!(address.ip(), IpAddr::V6(_)) != bracketed.is_some()
            || !port.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(NotLocal);
        }
        Ok(Self(SocketAddr::new(address.ip(), port.parse().map_err(|_| NotLocal)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_listens_on_loopback() {
        for typed in ["127.0.0.1:7070", "127.8.9.10:0", "[::1]:7070"] {
            assert_eq!(typed.parse::<ListenAddress>().unwrap().0.to_string(), typed);
        }
        assert_eq!(ListenAddress::default().0.to_string(), "127.0.0.1:7070");
    }

    #[test]
    fn and_nowhere_else() {
        for typed in [
            "0.0.0.0:7070",
            "[::]:7070",
            "192.168.1.7:7070",
            "localhost:7070",
            "127.1:7070",
            "[::ffff:127.0.0.1]:7070",
            "::1:7070",
            "[127.0.0.1]:7070",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:+1",
            "127.0.0.1:70700",
            ":7070",
            "",
        ] {
            assert_eq!(typed.parse::<ListenAddress>(), Err(NotLocal), "{typed}");
        }
    }
}
