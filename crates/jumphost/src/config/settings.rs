//! The settings as the page of an administrator shows them: what is in effect, and where it was typed.

use std::time::Duration;

use adit_core::{ByteRate, Takeover};

use super::typed::{DurationText, Origin, Typed, TypedList};
use super::{Config, Networks, RawConfig};

/// A setting that is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name, as in the file.
    pub name: &'static str,
    /// Its value, as it could have been typed.
    pub value: String,
    /// Where it was typed; `None` is the default.
    pub origin: Option<Origin>,
    /// What it does.
    pub about: &'static str,
}

/// All settings, in the order of the manual. No secret is among them: of a secret the file's name is set.
pub(super) fn settings(raw: &RawConfig, config: &Config) -> Vec<Setting> {
    let one = |name, typed: &Option<Typed>, value, about| Setting {
        name,
        value,
        origin: typed.as_ref().map(Typed::origin),
        about,
    };
    let list = |name, typed: &Option<TypedList>, value, about| Setting {
        name,
        value,
        origin: typed.as_ref().and_then(TypedList::origin),
        about,
    };
    let (limits, oidc) = (&raw.limits, &raw.oidc);
    let mut settings = vec![
        one("ssh", &raw.ssh, config.ssh.to_string(), "Where SSH clients log in."),
        one("web", &raw.web, config.web.to_string(), "Where the dashboard, /health and /metrics answer."),
        one("web_url", &raw.web_url, web_url(config), "The dashboard's address for people, behind a reverse proxy."),
        list(
            "web_hosts",
            &raw.web_hosts,
            config.web_hosts.join(", "),
            "Further names under which the dashboard answers.",
        ),
        list(
            "web_trusted_proxies",
            &raw.web_trusted_proxies,
            networks(&config.web_trusted_proxies),
            "Reverse proxies that tell where a request to the dashboard comes from; behind any other all people are one source.",
        ),
        one(
            "forward_address",
            &raw.forward_address,
            config.forward_address.to_string(),
            "The address where forwarded ports listen.",
        ),
        one(
            "advertise",
            &raw.advertise,
            config.advertise.clone().unwrap_or_default(),
            "The name of this machine in commands for other people.",
        ),
        one("ports", &raw.ports, config.ports.range.to_string(), "The ports that clients may ask for."),
        list(
            "allow_networks",
            &raw.allow_networks,
            networks(&config.allow_networks.0),
            "The networks that may connect; none named: all.",
        ),
        one("login_grace", &raw.login_grace, time(config.login_grace), "From accept to login, in all."),
        one(
            "keepalive_interval",
            &raw.keepalive_interval,
            time(config.keepalive_interval),
            "The pace of probes to a silent client; three without an answer end it.",
        ),
        one("rekey_bytes", &raw.rekey_bytes, config.rekey_bytes.to_string(), "New session keys after so many bytes."),
        one("rekey_time", &raw.rekey_time, time(config.rekey_time), "New session keys after this time."),
        one(
            "takeover",
            &raw.takeover,
            takeover(config.ports.takeover),
            "Whether a newer session gets its account's port.",
        ),
        one(
            "idle_without_forward",
            &raw.idle_without_forward,
            time_or_never(config.idle_without_forward),
            "How long a session may live without a forward; 0 is for ever.",
        ),
        list(
            "penalty_exempt",
            &raw.penalty_exempt,
            networks(&config.penalty_exempt),
            "Sources without penalties for failed logins.",
        ),
        one(
            "audit_keep",
            &raw.audit_keep,
            time_or_never(config.audit_keep),
            "How long the audit log is kept; 0 is for ever.",
        ),
        one(
            "drain_grace",
            &raw.drain_grace,
            time(config.drain_grace),
            "How long visitors may finish when the server stops.",
        ),
    ];
    let limit = |name, typed: &Option<Typed>, value: u64, about| Setting {
        name,
        value: value.to_string(),
        origin: typed.as_ref().map(Typed::origin),
        about,
    };
    let rate = |rate: Option<ByteRate>| rate.map_or(0, ByteRate::get);
    settings.extend([
        limit(
            "limits.forwards_per_account",
            &limits.forwards_per_account,
            config.ports.forwards_per_account.into(),
            "Forwards an account holds at a time; 0 is no limit.",
        ),
        limit(
            "limits.visitors_per_port",
            &limits.visitors_per_port,
            config.visitors.per_port.into(),
            "Visitors at a time at one port; 0 is no limit.",
        ),
        limit(
            "limits.visitors_per_account",
            &limits.visitors_per_account,
            config.visitors.per_account.into(),
            "Visitors at a time at all ports of an account; 0 is no limit.",
        ),
        limit(
            "limits.bandwidth_to_owner",
            &limits.bandwidth_to_owner,
            rate(config.bandwidth.to_owner),
            "Bytes per second from visitors to the services of an account; 0 is no limit.",
        ),
        limit(
            "limits.bandwidth_to_visitors",
            &limits.bandwidth_to_visitors,
            rate(config.bandwidth.to_visitors),
            "Bytes per second from the services of an account to visitors; 0 is no limit.",
        ),
        limit(
            "limits.unauthenticated_per_source",
            &limits.unauthenticated_per_source,
            config.login.per_source.into(),
            "Connections of one source that have not logged in; 0 is no limit.",
        ),
        limit(
            "limits.unauthenticated_total",
            &limits.unauthenticated_total,
            config.login.total.into(),
            "Connections of all sources that have not logged in; 0 is no limit.",
        ),
        limit(
            "limits.session_channels",
            &limits.session_channels,
            config.session_channels.into(),
            "Session channels of one SSH session; 0 is no limit.",
        ),
    ]);
    if let Some(provider) = &config.oidc {
        let file = provider.client_secret_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        settings.extend([
            one("oidc.issuer", &oidc.issuer, provider.issuer.clone(), "The OpenID provider that vouches for people."),
            one("oidc.client_id", &oidc.client_id, provider.client_id.clone(), "What the provider calls this server."),
            one(
                "oidc.client_secret_file",
                &oidc.client_secret_file,
                file,
                "The file with the secret for the provider.",
            ),
            one("oidc.label", &oidc.label, provider.label.clone(), "What stands on the button for it."),
            one("oidc.sign_up", &oidc.sign_up, provider.sign_up.to_string(), "Whether strangers get an account."),
            one("oidc.tier", &oidc.tier, provider.tier.clone(), "The tier of such accounts."),
        ]);
    }
    settings
}

fn web_url(config: &Config) -> String {
    config.web_url.as_ref().map(|url| url.as_str().to_owned()).unwrap_or_default()
}

fn networks(networks: &Networks) -> String {
    networks.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn time(time: Duration) -> String {
    DurationText(time).to_string()
}

fn time_or_never(limit: Option<Duration>) -> String {
    time(limit.unwrap_or(Duration::ZERO))
}

fn takeover(takeover: Takeover) -> String {
    match takeover {
        Takeover::Probe => "probe",
        Takeover::Always => "always",
        Takeover::Never => "never",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Setting> {
        serde_json::from_str::<RawConfig>(text).unwrap().check().unwrap().settings
    }

    #[test]
    fn what_was_typed_is_told_from_the_defaults() {
        let settings =
            of(r#"{"login_grace": "90s", "allow_networks": "10.8.0.0/16", "limits": {"session_channels": 3}}"#);
        let one = |name| settings.iter().find(|setting| setting.name == name).unwrap();
        assert_eq!((one("login_grace").value.as_str(), one("login_grace").origin), ("90s", Some(Origin::File)));
        assert_eq!(
            (one("allow_networks").value.as_str(), one("allow_networks").origin),
            ("10.8.0.0/16", Some(Origin::File))
        );
        assert_eq!(one("limits.session_channels").value, "3");
        assert_eq!((one("ssh").value.as_str(), one("ssh").origin), ("127.0.0.1:2222", None));
    }

    #[test]
    fn every_value_can_be_typed_again() {
        let typed = r#"{"web_url": "https://jump.example", "web_hosts": "a.example", "takeover": "never", "audit_keep": "0",
                        "web_trusted_proxies": "10.8.0.1", "oidc": {"issuer": "https://id.example", "client_id": "adit"}}"#;
        let mut map = serde_json::json!({"limits": {}, "oidc": {}});
        for setting in of(typed) {
            let value = serde_json::Value::String(setting.value.clone());
            match setting.name.split_once('.') {
                _ if setting.value.is_empty() => {}
                Some((group, name)) => map[group][name] = value,
                None => map[setting.name] = value,
            }
        }
        let again: RawConfig = serde_json::from_value(map).unwrap();
        let without_origins = |settings: Vec<Setting>| {
            settings.into_iter().map(|setting| (setting.name, setting.value)).collect::<Vec<_>>()
        };
        assert_eq!(without_origins(again.check().unwrap().settings), without_origins(of(typed)));
    }
}
