//! The settings of the dashboard: under which address people open it, and who else may vouch for them.

use std::path::PathBuf;

use serde::Deserialize;

use super::read;
use super::typed::{ConfigError, Key, Typed};
use crate::admin::DEFAULT_TIER;

/// Where people open the dashboard: scheme, host and port, as a browser writes them in `Origin` (RFC 6454 §7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebUrl {
    text: String,
}

impl WebUrl {
    /// Takes `https://jump.example.org` or `http://10.8.0.1:8022`; a slash at the end is forgiven, a path is not.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('/').to_ascii_lowercase();
        let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        is_authority(authority).then_some(Self { text })
    }

    /// The whole of it, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host and, where it is not the scheme's own, port: what `Host` says (RFC 9110 §7.2).
    #[must_use]
    pub fn authority(&self) -> &str {
        self.text.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// Whether browsers keep secure cookies for it.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https:")
    }
}

/// `HOST`, `HOST:PORT` or `[IPV6]:PORT`, of characters that need no escaping anywhere.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
            ("ipv6", rest.strip_prefix(':').or((rest.is_empty()).then_some("0")))
        }
        Some(_) => return false,
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("0")),
        },
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=253).contains(&host.len()) && host.chars().all(plain) && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Signing in with an OpenID provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcConfig {
    /// The provider's address, as it names itself (OpenID Connect Discovery 1.0 §4).
    pub issuer: String,
    /// What the provider calls us.
    pub client_id: String,
    /// The file with the secret that goes with it; a public client has none.
    pub client_secret_file: Option<PathBuf>,
    /// What stands on the button.
    pub label: String,
    /// Whether strangers whom the provider knows get an account.
    pub sign_up: bool,
    /// The tier of such accounts.
    pub tier: String,
}

/// The provider as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawOidc {
    /// See [`OidcConfig::issuer`]; without one there is no such sign-in.
    pub issuer: Option<Typed>,
    /// See [`OidcConfig::client_id`].
    pub client_id: Option<Typed>,
    /// See [`OidcConfig::client_secret_file`].
    pub client_secret_file: Option<Typed>,
    /// See [`OidcConfig::label`].
    pub label: Option<Typed>,
    /// See [`OidcConfig::sign_up`].
    pub sign_up: Option<Typed>,
    /// See [`OidcConfig::tier`].
    pub tier: Option<Typed>,
}

impl RawOidc {
    pub(super) fn or(self, weaker: Self) -> Self {
        Self {
            issuer: self.issuer.or(weaker.issuer),
            client_id: self.client_id.or(weaker.client_id),
            client_secret_file: self.client_secret_file.or(weaker.client_secret_file),
            label: self.label.or(weaker.label),
            sign_up: self.sign_up.or(weaker.sign_up),
            tier: self.tier.or(weaker.tier),
        }
    }

    pub(super) fn check(&self) -> Result<Option<OidcConfig>, ConfigError> {
        let Some(issuer) = read(&self.issuer, |value| Key("oidc.issuer").issuer(value))? else { return Ok(None) };
        let client_id = read(&self.client_id, |value| Key("oidc.client_id").text(value))?;
        let missing =
            || self.issuer.as_ref().map(|typed| Key("oidc.issuer").refuse(typed, "`oidc.client_id` beside it"));
        let Some(client_id) = client_id else { return missing().map_or(Ok(None), Err) };
        Ok(Some(OidcConfig {
            issuer,
            client_id,
            client_secret_file: read(&self.client_secret_file, |value| Key("oidc.client_secret_file").text(value))?
                .map(PathBuf::from),
            label: read(&self.label, |value| Key("oidc.label").text(value))?.unwrap_or_else(|| "OpenID".to_owned()),
            sign_up: read(&self.sign_up, |value| {
                Key("oidc.sign_up").choice(value, &[("true", true), ("false", false)])
            })?
            .unwrap_or(false),
            tier: read(&self.tier, |value| Key("oidc.tier").text(value))?.unwrap_or_else(|| DEFAULT_TIER.to_owned()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawConfig;

    #[test]
    fn an_address_is_scheme_host_and_port() {
        for (typed, text, authority) in [
            ("https://jump.example.org", "https://jump.example.org", "jump.example.org"),
            (" https://Jump.Example.org/ ", "https://jump.example.org", "jump.example.org"),
            ("http://10.8.0.1:8022", "http://10.8.0.1:8022", "10.8.0.1:8022"),
            ("http://[fd00::1]:8022", "http://[fd00::1]:8022", "[fd00::1]:8022"),
        ] {
            let url = WebUrl::parse(typed).unwrap();
            assert_eq!((url.as_str(), url.authority()), (text, authority));
            assert_eq!(url.is_https(), text.starts_with("https"));
        }
        for bad in [
            "",
            "jump.example.org",
            "ftp://x",
            "https://",
            "https://a b",
            "https://x/path",
            "https://x:99999",
            "https://[::1",
            "https://u@x",
            "https://x?y",
            "https://[::1]9",
        ] {
            assert_eq!(WebUrl::parse(bad), None, "{bad:?}");
        }
    }

    fn oidc(text: &str) -> Result<Option<OidcConfig>, ConfigError> {
        serde_json::from_str::<RawConfig>(&format!(r#"{{"oidc": {text}}}"#)).unwrap().check().map(|config| config.oidc)
    }

    #[test]
    fn a_provider_wants_an_issuer_and_a_client_id() {
        assert_eq!(oidc("{}").unwrap(), None);
        let full = oidc(r#"{"issuer": "https://id.example.org/realm", "client_id": "adit", "sign_up": true}"#);
        let full = full.unwrap().unwrap();
        assert_eq!((full.label.as_str(), full.sign_up, full.tier.as_str()), ("OpenID", true, DEFAULT_TIER));
        for bad in [
            r#"{"issuer": "https://id.example.org"}"#,
            r#"{"issuer": "http://id.example.org", "client_id": "adit"}"#,
            r#"{"issuer": "id.example.org", "client_id": "adit"}"#,
            r#"{"issuer": "https://id.example.org", "client_id": "adit", "sign_up": "maybe"}"#,
        ] {
            assert!(oidc(bad).unwrap_err().to_string().contains("oidc."), "{bad}");
        }
        assert!(oidc(r#"{"issuer": "http://127.0.0.1:9", "client_id": "adit"}"#).unwrap().is_some(), "for a trial");
    }
}
