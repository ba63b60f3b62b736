//! What the jump host runs on. [`RawConfig`] is what people type: in the `jumphost:` map of the configuration file, as
//! `ADIT_JUMPHOST_…` variables, as flags. [`Config`] is what the program runs on: every value is there and was checked.
//! Flags win over the environment, the environment over the file, the file over the defaults named here.

mod dashboard;
mod settings;
mod typed;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use adit_core::{BandwidthRules, ByteRate, LoginRules, PortRange, PortRules, Takeover, VisitorRules};
use ipnet::IpNet;
use serde::Deserialize;

pub use dashboard::{OidcConfig, RawOidc, WebUrl};
pub use settings::Setting;
use typed::Key;
pub use typed::{ConfigError, Origin, Typed, TypedList, parse_duration, parse_size};

/// The SSH address of the documents' port. Loopback, because nothing may be open to a network before somebody asks for it.
const DEFAULT_SSH: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2222);

/// Beside the SSH port in spirit, and below the forwards' range, so that it never takes a port somebody wants.
const DEFAULT_WEB: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8022);

const DEFAULT_FORWARD_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// From the TCP accept to the end of authentication. People who type a passphrase need seconds; floods live on this time.
const DEFAULT_LOGIN_GRACE: Duration = Duration::from_secs(30);

/// Three silent probes at this pace end a silent peer after 42 s; its port is free within the 45 s we promise.
const DEFAULT_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(14);

/// RFC 4253 §9 asks for new keys after each gigabyte and after each hour.
const DEFAULT_REKEY_BYTES: u64 = 1 << 30;
const DEFAULT_REKEY_TIME: Duration = Duration::from_secs(3_600);

/// Below this a session would exchange keys more than it carries bytes.
const LEAST_REKEY_BYTES: u64 = 64 << 10;

/// A login without a forward holds memory for nothing; a minute is enough to type `~C` and a forward.
const DEFAULT_IDLE_WITHOUT_FORWARD: Duration = Duration::from_secs(60);

/// Requests under way finish in this time; systemd's and Docker's patience (90 s, 10 s) is longer.
const DEFAULT_DRAIN_GRACE: Duration = Duration::from_secs(5);

/// Long enough to look into what somebody asks about a quarter later; bounded, because a busy host writes some every second.
const DEFAULT_AUDIT_KEEP: Duration = Duration::from_secs(90 * 86_400);

/// A client opens one `session` channel; OpenSSH with a control master opens some more. As sshd's MaxSessions.
const DEFAULT_SESSION_CHANNELS: u32 = 10;

/// The shortest of the times above that still lets a healthy peer answer.
const LEAST_PEER_TIME: Duration = Duration::from_millis(100);

/// A set of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether an address is in one of them. An IPv4 address in IPv6 clothes is judged as IPv4.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The networks that may connect, to SSH, to the forwards and to the web address alike. None named: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList(Networks);

impl AllowList {
    /// Whether a peer of this address may connect.
    #[must_use]
    pub fn permits(&self, peer: IpAddr) -> bool {
        self.0.0.is_empty() || self.0.contain(peer)
    }
}

/// Everything the jump host runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where SSH clients log in. Port 0 lets the system choose.
    pub ssh: SocketAddr,
    /// Where `/health`, `/metrics` and the dashboard answer. Port 0 lets the system choose.
    pub web: SocketAddr,
    /// The dashboard's address for people, where it is another one: behind a reverse proxy.
    pub web_url: Option<WebUrl>,
    /// Further names (and ports) under which the dashboard answers.
    pub web_hosts: Vec<String>,
    /// The reverse proxies of the dashboard, whose word is taken about where a request comes from (`X-Forwarded-For`). Behind one that
    /// is not named here all people are one source: they share the bound on failed sign-ins, and the audit log has the proxy's
    /// address. [`allow_networks`](Self::allow_networks) goes on judging who connects, which is the proxy.
    pub web_trusted_proxies: Networks,
    /// The OpenID provider with which people may sign in.
    pub oidc: Option<OidcConfig>,
    /// The address at which forwarded ports listen: the mesh address of this machine.
    pub forward_address: IpAddr,
    /// The name or address to print in commands for other people; the addresses above where it is not set.
    pub advertise: Option<String>,
    /// Which ports clients may ask for, how many, and what happens when two sessions ask for the same one.
    pub ports: PortRules,
    /// Who may connect.
    pub allow_networks: AllowList,
    /// From accept to login, in all.
    pub login_grace: Duration,
    /// The pace of the server's probes to a silent client.
    pub keepalive_interval: Duration,
    /// New session keys after this many bytes in one direction.
    pub rekey_bytes: u64,
    /// New session keys after this time.
    pub rekey_time: Duration,
    /// How long a session may live without any forward; `None` is for ever.
    pub idle_without_forward: Option<Duration>,
    /// How many connections may wait for their login, and what failures cost their source.
    pub login: LoginRules,
    /// Sources that penalties and the bound per source do not touch.
    pub penalty_exempt: Networks,
    /// How many visitors a port and an account may have.
    pub visitors: VisitorRules,
    /// How fast the sessions of an account may move bytes, all together; a tier may set other rates.
    pub bandwidth: BandwidthRules,
    /// How many `session` channels one SSH session may hold open (RFC 4254 §6.1); 0 is no bound.
    pub session_channels: u32,
    /// How long audit events are kept; `None` is for ever.
    pub audit_keep: Option<Duration>,
    /// How long relays may finish after the signal to stop.
    pub drain_grace: Duration,
    /// All of this for people, with where it was typed.
    pub settings: Vec<Setting>,
}

/// The settings as typed; a missing one falls to the next origin, and in the end to its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// See [`Config::ssh`].
    pub ssh: Option<Typed>,
    /// See [`Config::web`].
    pub web: Option<Typed>,
    /// See [`Config::web_url`].
    pub web_url: Option<Typed>,
    /// See [`Config::web_hosts`].
    pub web_hosts: Option<TypedList>,
    /// See [`Config::web_trusted_proxies`].
    pub web_trusted_proxies: Option<TypedList>,
    /// See [`Config::oidc`].
    pub oidc: RawOidc,
    /// See [`Config::forward_address`].
    pub forward_address: Option<Typed>,
    /// See [`Config::advertise`].
    pub advertise: Option<Typed>,
    /// The ports that clients may ask for: `FIRST-LAST`.
    pub ports: Option<Typed>,
    /// See [`Config::allow_networks`].
    pub allow_networks: Option<TypedList>,
    /// See [`Config::login_grace`].
    pub login_grace: Option<Typed>,
    /// See [`Config::keepalive_interval`].
    pub keepalive_interval: Option<Typed>,
    /// See [`Config::rekey_bytes`].
    pub rekey_bytes: Option<Typed>,
    /// See [`Config::rekey_time`].
    pub rekey_time: Option<Typed>,
    /// See [`Takeover`]: `probe`, `always` or `never`.
    pub takeover: Option<Typed>,
    /// See [`Config::idle_without_forward`].
    pub idle_without_forward: Option<Typed>,
    /// See [`Config::penalty_exempt`].
    pub penalty_exempt: Option<TypedList>,
    /// See [`Config::audit_keep`].
    pub audit_keep: Option<Typed>,
    /// See [`Config::drain_grace`].
    pub drain_grace: Option<Typed>,
    /// How much one account, port, source or session may hold; 0 is no bound.
    pub limits: RawLimits,
}

/// The limits as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLimits {
    /// See [`PortRules::forwards_per_account`]; a tier may set another number.
    pub forwards_per_account: Option<Typed>,
    /// See [`VisitorRules::per_port`].
    pub visitors_per_port: Option<Typed>,
    /// See [`VisitorRules::per_account`].
    pub visitors_per_account: Option<Typed>,
    /// Bytes per second from visitors to the services of one account. See [`BandwidthRules::to_owner`].
    pub bandwidth_to_owner: Option<Typed>,
    /// Bytes per second from the services of one account to visitors. See [`BandwidthRules::to_visitors`].
    pub bandwidth_to_visitors: Option<Typed>,
    /// See [`LoginRules::per_source`].
    pub unauthenticated_per_source: Option<Typed>,
    /// See [`LoginRules::total`].
    pub unauthenticated_total: Option<Typed>,
    /// See [`Config::session_channels`].
    pub session_channels: Option<Typed>,
}

impl RawConfig {
    /// The settings of the environment: each key as `ADIT_JUMPHOST_` and its name in capitals. `variable` reads one.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let text = |key| variable(&Key(key).variable());
        let one = |key| text(key).map(|text| Typed::new(text, Origin::Environment));
        let list = |key| text(key).map(|text| TypedList::new(&text, Origin::Environment));
        Self {
            ssh: one("ssh"),
            web: one("web"),
            web_url: one("web_url"),
            web_hosts: list("web_hosts"),
            web_trusted_proxies: list("web_trusted_proxies"),
            oidc: RawOidc {
                issuer: one("oidc.issuer"),
                client_id: one("oidc.client_id"),
                client_secret_file: one("oidc.client_secret_file"),
                label: one("oidc.label"),
                sign_up: one("oidc.sign_up"),
                tier: one("oidc.tier"),
            },
            forward_address: one("forward_address"),
            advertise: one("advertise"),
            ports: one("ports"),
            allow_networks: list("allow_networks"),
            login_grace: one("login_grace"),
            keepalive_interval: one("keepalive_interval"),
            rekey_bytes: one("rekey_bytes"),
            rekey_time: one("rekey_time"),
            takeover: one("takeover"),
            idle_without_forward: one("idle_without_forward"),
            penalty_exempt: list("penalty_exempt"),
            audit_keep: one("audit_keep"),
            drain_grace: one("drain_grace"),
            limits: RawLimits {
                forwards_per_account: one("limits.forwards_per_account"),
                visitors_per_port: one("limits.visitors_per_port"),
                visitors_per_account: one("limits.visitors_per_account"),
                bandwidth_to_owner: one("limits.bandwidth_to_owner"),
                bandwidth_to_visitors: one("limits.bandwidth_to_visitors"),
                unauthenticated_per_source: one("limits.unauthenticated_per_source"),
                unauthenticated_total: one("limits.unauthenticated_total"),
                session_channels: one("limits.session_channels"),
            },
        }
    }

    /// These settings where they are set, `weaker` where they are not.
    #[must_use]
    pub fn or(self, weaker: Self) -> Self {
        Self {
            ssh: self.ssh.or(weaker.ssh),
            web: self.web.or(weaker.web),
            web_url: self.web_url.or(weaker.web_url),
            web_hosts: self.web_hosts.or(weaker.web_hosts),
            web_trusted_proxies: self.web_trusted_proxies.or(weaker.web_trusted_proxies),
            oidc: self.oidc.or(weaker.oidc),
            forward_address: self.forward_address.or(weaker.forward_address),
            advertise: self.advertise.or(weaker.advertise),
            ports: self.ports.or(weaker.ports),
            allow_networks: self.allow_networks.or(weaker.allow_networks),
            login_grace: self.login_grace.or(weaker.login_grace),
            keepalive_interval: self.keepalive_interval.or(weaker.keepalive_interval),
            rekey_bytes: self.rekey_bytes.or(weaker.rekey_bytes),
            rekey_time: self.rekey_time.or(weaker.rekey_time),
            takeover: self.takeover.or(weaker.takeover),
            idle_without_forward: self.idle_without_forward.or(weaker.idle_without_forward),
            penalty_exempt: self.penalty_exempt.or(weaker.penalty_exempt),
            audit_keep: self.audit_keep.or(weaker.audit_keep),
            drain_grace: self.drain_grace.or(weaker.drain_grace),
            limits: self.limits.or(weaker.limits),
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn check(&self) -> Result<Config, ConfigError> {
        let duration = |key, value: &Option<Typed>, least, default| match value {
            Some(value) => Key(key).duration(value, least),
            None => Ok(default),
        };
        let limit = |key, value: &Option<Typed>, default| {
            read(value, |value| Key(key).limit(value)).map(|count| count.unwrap_or(default))
        };
        let rate = |key, value: &Option<Typed>| {
            read(value, |value| Key(key).rate(value)).map(|rate| rate.and_then(ByteRate::new))
        };
        // The bounds that `core` names are the promised ones; its reasons stand there.
        let (ports, login, visitors) = (PortRules::default(), LoginRules::default(), VisitorRules::default());
        let typed = &self.limits;
        let takeovers = [("probe", Takeover::Probe), ("always", Takeover::Always), ("never", Takeover::Never)];
        let idle_without_forward =
            duration("idle_without_forward", &self.idle_without_forward, Duration::ZERO, DEFAULT_IDLE_WITHOUT_FORWARD)?;
        let audit_keep = duration("audit_keep", &self.audit_keep, Duration::ZERO, DEFAULT_AUDIT_KEEP)?;
        let mut config = Config {
            ssh: read(&self.ssh, |value| Key("ssh").socket_addr(value))?.unwrap_or(DEFAULT_SSH),
            web: read(&self.web, |value| Key("web").socket_addr(value))?.unwrap_or(DEFAULT_WEB),
            web_url: read(&self.web_url, |value| Key("web_url").web_url(value))?,
            web_hosts: read(&self.web_hosts, |list| Key("web_hosts").authorities(list))?.unwrap_or_default(),
            web_trusted_proxies: networks("web_trusted_proxies", &self.web_trusted_proxies)?,
            oidc: self.oidc.check()?,
            forward_address: read(&self.forward_address, |value| Key("forward_address").ip_addr(value))?
                .unwrap_or(DEFAULT_FORWARD_ADDRESS),
            advertise: read(&self.advertise, |value| Key("advertise").host(value))?,
            ports: PortRules {
                range: read(&self.ports, |value| Key("ports").port_range(value))?.unwrap_or(PortRange::FORWARDS),
                forwards_per_account: limit(
                    "limits.forwards_per_account",
                    &typed.forwards_per_account,
                    ports.forwards_per_account,
                )?,
                takeover: read(&self.takeover, |value| Key("takeover").choice(value, &takeovers))?
                    .unwrap_or(ports.takeover),
                ..ports
            },
            allow_networks: AllowList(networks("allow_networks", &self.allow_networks)?),
            login_grace: duration("login_grace", &self.login_grace, LEAST_PEER_TIME, DEFAULT_LOGIN_GRACE)?,
            keepalive_interval: duration(
                "keepalive_interval",
                &self.keepalive_interval,
                LEAST_PEER_TIME,
                DEFAULT_KEEPALIVE_INTERVAL,
            )?,
            rekey_bytes: read(&self.rekey_bytes, |value| Key("rekey_bytes").size(value, LEAST_REKEY_BYTES))?
                .unwrap_or(DEFAULT_REKEY_BYTES),
            rekey_time: duration("rekey_time", &self.rekey_time, Duration::from_secs(1), DEFAULT_REKEY_TIME)?,
            idle_without_forward: Some(idle_without_forward).filter(|time| !time.is_zero()),
            audit_keep: Some(audit_keep).filter(|time| !time.is_zero()),
            penalty_exempt: networks("penalty_exempt", &self.penalty_exempt)?,
            drain_grace: duration("drain_grace", &self.drain_grace, Duration::ZERO, DEFAULT_DRAIN_GRACE)?,
            login: LoginRules {
                per_source: limit(
                    "limits.unauthenticated_per_source",
                    &typed.unauthenticated_per_source,
                    login.per_source,
                )?,
                total: limit("limits.unauthenticated_total", &typed.unauthenticated_total, login.total)?,
                ..login
            },
            visitors: VisitorRules {
                per_port: limit("limits.visitors_per_port", &typed.visitors_per_port, visitors.per_port)?,
                per_account: limit("limits.visitors_per_account", &typed.visitors_per_account, visitors.per_account)?,
            },
            bandwidth: BandwidthRules {
                to_owner: rate("limits.bandwidth_to_owner", &typed.bandwidth_to_owner)?,
                to_visitors: rate("limits.bandwidth_to_visitors", &typed.bandwidth_to_visitors)?,
            },
            session_channels: limit("limits.session_channels", &typed.session_channels, DEFAULT_SESSION_CHANNELS)?,
            settings: Vec::new(),
        };
        config.settings = settings::settings(self, &config);
        Ok(config)
    }
}

impl RawLimits {
    fn or(self, weaker: Self) -> Self {
        Self {
            forwards_per_account: self.forwards_per_account.or(weaker.forwards_per_account),
            visitors_per_port: self.visitors_per_port.or(weaker.visitors_per_port),
            visitors_per_account: self.visitors_per_account.or(weaker.visitors_per_account),
            bandwidth_to_owner: self.bandwidth_to_owner.or(weaker.bandwidth_to_owner),
            bandwidth_to_visitors: self.bandwidth_to_visitors.or(weaker.bandwidth_to_visitors),
            unauthenticated_per_source: self.unauthenticated_per_source.or(weaker.unauthenticated_per_source),
            unauthenticated_total: self.unauthenticated_total.or(weaker.unauthenticated_total),
            session_channels: self.session_channels.or(weaker.session_channels),
        }
    }
}

fn read<V, T>(value: &Option<V>, reader: impl FnOnce(&V) -> Result<T, ConfigError>) -> Result<Option<T>, ConfigError> {
    value.as_ref().map(reader).transpose()
}

fn networks(key: &'static str, list: &Option<TypedList>) -> Result<Networks, ConfigError> {
    list.as_ref().map_or(Ok(Networks::default()), |list| Key(key).networks(list).map(Networks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &'static [(&str, &str)]) -> RawConfig {
        RawConfig::from_environment(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn file(text: &str) -> RawConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn nothing_typed_gives_a_jump_host_that_only_this_machine_reaches() {
        let config = RawConfig::default().check().unwrap();
        assert!(config.ssh.ip().is_loopback() && config.web.ip().is_loopback() && config.forward_address.is_loopback());
        assert_eq!(config.ssh.port(), 2222);
        assert_eq!(config.ports, PortRules::default());
        assert_eq!(config.visitors, VisitorRules::default());
        assert_eq!(config.bandwidth, BandwidthRules { to_owner: None, to_visitors: None });
        assert!(config.keepalive_interval * 3 < Duration::from_secs(45), "a silent peer's port is free in 45 s");
        assert!(!config.ports.range.contains(adit_core::Port::new(config.web.port()).unwrap()));
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let flags = RawConfig { ssh: Some(Typed::new("127.0.0.1:1", Origin::Flag)), ..RawConfig::default() };
        let environment = environment(&[
            ("ADIT_JUMPHOST_SSH", "127.0.0.1:2"),
            ("ADIT_JUMPHOST_WEB", "127.0.0.1:20"),
            ("ADIT_JUMPHOST_LIMITS_VISITORS_PER_PORT", "7"),
        ]);
        let file = file(
            r#"{"ssh": "127.0.0.1:3", "web": "127.0.0.1:30", "takeover": "never",
                "limits": {"visitors_per_port": 8, "session_channels": 0}}"#,
        );
        let config = flags.or(environment).or(file).check().unwrap();
        assert_eq!((config.ssh.port(), config.web.port()), (1, 20));
        assert_eq!(config.ports.takeover, Takeover::Never);
        assert_eq!((config.visitors.per_port, config.session_channels), (7, 0));
    }

    #[test]
    fn a_rate_is_a_number_or_a_size_and_0_is_none() {
        let text = r#"{"limits": {"bandwidth_to_owner": 125000, "bandwidth_to_visitors": "2MB"}}"#;
        let (to_owner, to_visitors) = (ByteRate::new(125_000), ByteRate::new(2_000_000));
        assert_eq!(file(text).check().unwrap().bandwidth, BandwidthRules { to_owner, to_visitors });
        let none = environment(&[("ADIT_JUMPHOST_LIMITS_BANDWIDTH_TO_OWNER", "0")]);
        assert_eq!(none.or(file(text)).check().unwrap().bandwidth, BandwidthRules { to_owner: None, to_visitors });
    }

    #[test]
    fn a_bad_value_is_told_with_its_key_and_what_was_expected() {
        for (text, told) in [
            (r#"{"ssh": 2222}"#, "`ssh` in the configuration file is \"2222\", expected ADDRESS:PORT"),
            (r#"{"ports": "60000-10000"}"#, "`ports` in the configuration file is \"60000-10000\", expected a range"),
            (r#"{"login_grace": 30}"#, "`login_grace` in the configuration file is \"30\", expected a duration"),
            (r#"{"keepalive_interval": "0"}"#, "a duration of at least 100ms"),
            (r#"{"rekey_bytes": "1kB"}"#, "a size of at least 65536 bytes"),
            (r#"{"takeover": "maybe"}"#, "expected one of probe, always, never"),
            (r#"{"web_trusted_proxies": "nginx"}"#, "`web_trusted_proxies` in the configuration file is \"nginx\""),
            (r#"{"allow_networks": ["10.0.0.0/8", "mesh"]}"#, "`allow_networks` in the configuration file is \"mesh\""),
            (
                r#"{"limits": {"visitors_per_port": -1}}"#,
                "`limits.visitors_per_port` in the configuration file is \"-1\"",
            ),
            (r#"{"limits": {"bandwidth_to_owner": "fast"}}"#, "expected bytes per second, such as 1000000 or 1MB"),
        ] {
            let error = file(text).check().unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
            assert_eq!(error.origin, Origin::File);
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(serde_json::from_str::<RawConfig>(r#"{"sssh": "127.0.0.1:2222"}"#).is_err());
        assert!(serde_json::from_str::<RawConfig>(r#"{"limits": {"visitors": 1}}"#).is_err());
    }

    #[test]
    fn no_proxy_is_trusted_that_was_not_named() {
        assert_eq!(RawConfig::default().check().unwrap().web_trusted_proxies, Networks::default());
        let typed = environment(&[("ADIT_JUMPHOST_WEB_TRUSTED_PROXIES", "127.0.0.1, fd00::/8")]);
        let proxies = typed.check().unwrap().web_trusted_proxies;
        for (address, trusted) in [("127.0.0.1", true), ("::ffff:127.0.0.1", true), ("fd12::1", true), ("::1", false)] {
            assert_eq!(proxies.contain(address.parse().unwrap()), trusted, "{address}");
        }
    }

    #[test]
    fn an_allow_list_judges_an_ipv4_address_whatever_it_came_in() {
        let list = file(r#"{"allow_networks": "10.8.0.0/16, fd00::/8, 192.0.2.7"}"#).check().unwrap().allow_networks;
        for inside in ["10.8.1.1", "::ffff:10.8.1.1", "fd12::1", "192.0.2.7"] {
            assert!(list.permits(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["10.9.0.1", "127.0.0.1", "192.0.2.8", "::1"] {
            assert!(!list.permits(outside.parse().unwrap()), "{outside}");
        }
        assert!(AllowList::default().permits("203.0.113.1".parse().unwrap()));
    }
}
