//! What a person types for one setting, where it was typed, and how it is read.
//! Every reader here answers a bad value with the key, the text as typed and what was expected instead.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use adit_core::PortRange;
use ipnet::IpNet;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use thiserror::Error;

use super::dashboard::WebUrl;

/// Where a setting came from. It decides the exit code of a bad value, and how its key is written in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag,
    /// An environment variable.
    Environment,
    /// The configuration file.
    File,
}

impl Origin {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
        }
    }
}

/// One setting as it was typed. A YAML number or boolean is kept as its text, so that all settings are read in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    text: String,
    origin: Origin,
}

impl Typed {
    /// A value from the command line or the environment; values of a file come through serde.
    #[must_use]
    pub fn new(text: impl Into<String>, origin: Origin) -> Self {
        Self { text: text.into(), origin }
    }

    /// Where it was typed.
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }
}

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar)
    }
}

struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = Typed;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a single value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Typed, E> {
        Ok(Typed::new(text, Origin::File))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Typed, E> {
        Ok(Typed::new(number.to_string(), Origin::File))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Typed, E> {
        Ok(Typed::new(number.to_string(), Origin::File))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Typed, E> {
        Ok(Typed::new(number.to_string(), Origin::File))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Typed, E> {
        Ok(Typed::new(value.to_string(), Origin::File))
    }
}

/// Several values: a YAML list, or one text with commas between them, as flags and environment variables write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedList(Vec<Typed>);

impl TypedList {
    /// Splits a text at its commas.
    #[must_use]
    pub fn new(text: &str, origin: Origin) -> Self {
        Self(
            text.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| Typed::new(part, origin))
                .collect(),
        )
    }

    /// Where it was typed; `None` where nothing stands in it.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.0.first().map(Typed::origin)
    }
}

impl<'de> Deserialize<'de> for TypedList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = TypedList;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list, or a text with commas")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TypedList, E> {
                Ok(TypedList::new(text, Origin::File))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<TypedList, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(TypedList(list))
            }
        }
        deserializer.deserialize_any(Items)
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place} is {typed:?}, expected {expected}")]
pub struct ConfigError {
    /// The setting as this origin spells it: `--ports`, `ADIT_JUMPHOST_PORTS`, `ports` in the file.
    pub place: String,
    /// The text as typed.
    pub typed: String,
    /// What would have been accepted, with an example.
    pub expected: String,
    /// Where it was typed.
    pub origin: Origin,
}

/// A setting's key, and the readers that name it in their errors.
#[derive(Clone, Copy)]
pub(super) struct Key(pub(super) &'static str);

impl Key {
    pub(super) fn refuse(self, value: &Typed, expected: impl Into<String>) -> ConfigError {
        let place = match value.origin {
            Origin::Flag => format!("--{}", self.0.replace('_', "-")),
            Origin::Environment => self.variable(),
            Origin::File => format!("`{}` in the configuration file", self.0),
        };
        ConfigError { place, typed: value.text.clone(), expected: expected.into(), origin: value.origin }
    }

    /// The environment variable of this key: `limits.session_channels` is `ADIT_JUMPHOST_LIMITS_SESSION_CHANNELS`.
    pub(super) fn variable(self) -> String {
        format!("ADIT_JUMPHOST_{}", self.0.replace('.', "_").to_uppercase())
    }

    fn parse<T: FromStr>(self, value: &Typed, expected: &str) -> Result<T, ConfigError> {
        value.text.trim().parse().map_err(|_| self.refuse(value, expected))
    }

    pub(super) fn socket_addr(self, value: &Typed) -> Result<SocketAddr, ConfigError> {
        self.parse(value, "ADDRESS:PORT with a numeric address, such as 127.0.0.1:2222 or [::1]:2222")
    }

    pub(super) fn ip_addr(self, value: &Typed) -> Result<IpAddr, ConfigError> {
        self.parse(value, "a numeric address of this machine, such as 127.0.0.1 or 10.8.0.1")
    }

    /// Networks; a lone address is the network that holds only itself.
    pub(super) fn networks(self, list: &TypedList) -> Result<Vec<IpNet>, ConfigError> {
        let read = |value: &Typed| {
            let text = value.text.trim();
            text.parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| self.refuse(value, "a network such as 10.8.0.0/16 or fd00::/8, or one address"))
        };
        list.0.iter().map(read).collect()
    }

    /// A host name or address that is pasted into commands: nothing a shell would read as its own.
    pub(super) fn host(self, value: &Typed) -> Result<String, ConfigError> {
        let text = value.text.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        if text.is_empty() || text.len() > 253 || text.starts_with('-') || !text.chars().all(plain) {
            return Err(self.refuse(value, "a host name or an address, such as jump.example.org"));
        }
        Ok(text.to_owned())
    }

    /// The address under which people open the dashboard.
    pub(super) fn web_url(self, value: &Typed) -> Result<WebUrl, ConfigError> {
        let expected = "scheme, host and port, such as https://jump.example.org or http://10.8.0.1:8022";
        WebUrl::parse(&value.text).ok_or_else(|| self.refuse(value, expected))
    }

    /// Names that stand in `Host`, with a port where it is not the scheme's own.
    pub(super) fn authorities(self, list: &TypedList) -> Result<Vec<String>, ConfigError> {
        let read = |value: &Typed| {
            let url = WebUrl::parse(&format!("http://{}", value.text.trim()));
            let expected = "a name as a browser sends it, such as jump.example.org or jump.example.org:8022";
            url.map(|url| url.authority().to_owned()).ok_or_else(|| self.refuse(value, expected))
        };
        list.0.iter().map(read).collect()
    }

    /// An issuer: `https`, and nothing behind the path (OpenID Connect Discovery 1.0 §2); plain `http` for one on this machine.
    pub(super) fn issuer(self, value: &Typed) -> Result<String, ConfigError> {
        let text = value.text.trim();
        let (origin, path) = match text.find("://").and_then(|at| text[at + 3..].find('/').map(|slash| at + 3 + slash))
        {
            Some(slash) => text.split_at(slash),
            None => (text, ""),
        };
        let is_local =
            |url: &WebUrl| ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| url.authority().starts_with(host));
        let is_good = |url: &WebUrl| url.is_https() || is_local(url);
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
        match WebUrl::parse(origin).filter(is_good) {
            Some(_) if path.chars().all(plain) => Ok(text.to_owned()),
            _ => Err(self.refuse(value, "the address of the provider, such as https://id.example.org/realm")),
        }
    }

    /// A text that is not empty.
    pub(super) fn text(self, value: &Typed) -> Result<String, ConfigError> {
        match value.text.trim() {
            "" => Err(self.refuse(value, "a text")),
            text => Ok(text.to_owned()),
        }
    }

    /// A duration with its unit, at least `least`.
    pub(super) fn duration(self, value: &Typed, least: Duration) -> Result<Duration, ConfigError> {
        let expected = || format!("a duration of at least {}, such as 30s, 2m, 1h or 500ms", DurationText(least));
        parse_duration(&value.text).filter(|time| *time >= least).ok_or_else(|| self.refuse(value, expected()))
    }

    /// A size in bytes with its unit, at least `least`.
    pub(super) fn size(self, value: &Typed, least: u64) -> Result<u64, ConfigError> {
        let expected = || format!("a size of at least {least} bytes, such as 64MiB, 1GiB or 1MB");
        parse_size(&value.text).filter(|size| *size >= least).ok_or_else(|| self.refuse(value, expected()))
    }

    /// Bytes per second, where 0 means that there is no limit.
    pub(super) fn rate(self, value: &Typed) -> Result<u64, ConfigError> {
        let expected = "bytes per second, such as 1000000 or 1MB (0 = no limit)";
        parse_size(&value.text).ok_or_else(|| self.refuse(value, expected))
    }

    pub(super) fn port_range(self, value: &Typed) -> Result<PortRange, ConfigError> {
        self.parse(value, "a range of ports from 1 to 65535, such as 10000-60000")
    }

    /// A count, where 0 means that there is no limit.
    pub(super) fn limit(self, value: &Typed) -> Result<u32, ConfigError> {
        self.parse(value, "a whole number (0 = no limit)")
    }

    pub(super) fn choice<T: Copy>(self, value: &Typed, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        choices
            .iter()
            .find(|(name, _)| *name == value.text.trim())
            .map(|(_, choice)| *choice)
            .ok_or_else(|| self.refuse(value, format!("one of {}", names())))
    }
}

/// Reads `30s`, `2m`, `1h`, `7d`, `500ms` or a bare `0`. Any other number wants its unit: a guess would be wrong for somebody.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (number, unit) = split_unit(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
        _ => None,
    }
}

/// Reads a byte count: `1MB` is 1,000,000, `1MiB` is 1,048,576, a bare number is bytes.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text.trim())?;
    let factor = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A duration as a person could have typed it: in seconds, or in milliseconds where it takes them.
pub(super) struct DurationText(pub(super) Duration);

impl fmt::Display for DurationText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0 => out.write_str("0"),
            _ if !millis.is_multiple_of(1_000) => write!(out, "{millis}ms"),
            _ => write!(out, "{}s", millis / 1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(parse_duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration(" 2 m"), Some(Duration::from_secs(120)));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("0"), Some(Duration::ZERO));
        for bad in ["30", "", "s", "-1s", "1.5s", "1y", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse_duration(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes_tell_thousands_from_powers_of_two() {
        assert_eq!(parse_size("1MB"), Some(1_000_000));
        assert_eq!(parse_size("64MiB"), Some(64 << 20));
        assert_eq!(parse_size("4096"), Some(4096));
        for bad in ["", "MB", "1mb", "1M", "-1", "99999999999GiB"] {
            assert_eq!(parse_size(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_place_is_spelled_as_it_was_typed() {
        let key = Key("login_grace");
        let told = |origin| key.refuse(&Typed::new("soon", origin), "a duration").to_string();
        assert_eq!(told(Origin::Flag), "--login-grace is \"soon\", expected a duration");
        assert_eq!(told(Origin::Environment), "ADIT_JUMPHOST_LOGIN_GRACE is \"soon\", expected a duration");
        assert_eq!(told(Origin::File), "`login_grace` in the configuration file is \"soon\", expected a duration");
    }

    #[test]
    fn a_host_name_goes_into_a_shell_command_unharmed() {
        let key = Key("advertise");
        for bad in ["", "-oProxyCommand=x", "a b", "$(id)", "a;b", "ä.example"] {
            assert!(key.host(&Typed::new(bad, Origin::Flag)).is_err(), "{bad:?}");
        }
        assert_eq!(key.host(&Typed::new("jump.example.org", Origin::Flag)).unwrap(), "jump.example.org");
    }
}
