//! What every page of a member shows of the account, and what a client needs to connect. It is told again with each change, so what an
//! account may have a thousand of, and only some pages show, is read by the page instead: [`PortSearch`](super::PortSearch).

use adit_core::{Port, PortRange};
use adit_store::{Credential, StoreError, TierLimits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Member, MemberOperation};
use crate::admin::{AccountLookupError, KeyList, KeyView, ListError, Operation};
use crate::shared::Shared;
use crate::signin::scope::Scope;

/// The only login name: the key says who somebody is.
const LOGIN: &str = "tunnel";

/// The documents' ports, which people come to expect.
const SUGGESTED: [(u16, &str); 4] = [(10_080, "web"), (18_080, "alt"), (10_022, "SSH"), (16_667, "IRC")];

/// Asks for all of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Overview {}

/// An account as its member sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MeView {
    /// Its name.
    pub account: String,
    /// Its tier.
    pub tier: String,
    /// Whether it administers this jump host.
    pub admin: bool,
    /// When it was made.
    pub created_at: i64,
    /// Whether it can sign in with a password.
    pub has_password: bool,
    /// What it may use.
    pub limits: LimitsView,
    /// Its keys, in the order they were added.
    pub keys: Vec<KeyView>,
    /// How to connect.
    pub connection: ConnectionView,
}

/// What an account may use: its tier's limits, and the server's where the tier names none. 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// Remote forwards at a time.
    pub forwards_per_account: u32,
    /// Visitors at a time at one port.
    pub visitors_per_port: u32,
    /// Visitors at a time at all ports.
    pub visitors_per_account: u32,
    /// Bytes per second from visitors to services.
    pub bytes_per_second_to_owner: u64,
    /// Bytes per second from services to visitors.
    pub bytes_per_second_to_visitors: u64,
}

/// What a client needs to connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionView {
    /// The name or address for SSH.
    pub host: String,
    /// The port for SSH.
    pub ssh_port: u16,
    /// The login name.
    pub login: String,
    /// The host's keys, the first one first.
    pub host_keys: Vec<HostKeyView>,
    /// The address where visitors reach forwarded ports.
    pub forward_host: String,
    /// The lowest port that may be asked for.
    pub first_port: u16,
    /// The highest.
    pub last_port: u16,
    /// Ports that people use for certain things.
    pub suggested: Vec<SuggestedPort>,
}

/// A key by which a client knows this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostKeyView {
    /// `ssh-ed25519`, …
    pub key_type: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// The line for a `known_hosts` file.
    pub known_hosts: String,
}

/// A port that people use for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuggestedPort {
    /// The port.
    pub port: u16,
    /// For what.
    pub label: String,
}

impl MemberOperation for Overview {
    const NEEDS: Scope = Scope::Read;
    type Answer = MeView;
    type Error = ListError;

    async fn run(self, member: &Member) -> Result<MeView, ListError> {
        let shared = member.shared();
        let name = || Some(member.name().to_string());
        let keys = match (KeyList { account: name() }).run(&member.own()).await {
            Ok(keys) => keys,
            // Removed in this very moment.
            Err(AccountLookupError::NoSuchAccount(_)) => Vec::new(),
            Err(AccountLookupError::Store(error)) => return Err(error.into()),
        };
        // Not as it was when the member's right was made: pages of an account share a look, which must not be older than the change
        // that they heard of.
        let (account, has_password) = match shared.store.credential(member.name().as_str()).await? {
            Some(Credential { account, phc }) => (account, phc.is_some()),
            None => (member.account().clone(), false),
        };
        Ok(MeView {
            limits: limits(shared, tier_limits(shared, &account.tier).await?),
            account: account.name,
            tier: account.tier,
            admin: account.is_admin,
            created_at: account.created_at.0,
            has_password,
            keys,
            connection: connection(shared),
        })
    }
}

async fn tier_limits(shared: &Shared, tier: &str) -> Result<TierLimits, StoreError> {
    let tiers = shared.store.list_tiers().await?;
    Ok(tiers.into_iter().find(|known| known.name == tier).map(|tier| tier.limits).unwrap_or_default())
}

fn limits(shared: &Shared, tier: TierLimits) -> LimitsView {
    let config = &shared.config;
    let rate = |rate: Option<adit_core::ByteRate>| rate.map_or(0, |rate| rate.get());
    LimitsView {
        forwards_per_account: tier.forwards_per_account.unwrap_or(config.ports.forwards_per_account),
        visitors_per_port: tier.visitors_per_port.unwrap_or(config.visitors.per_port),
        visitors_per_account: tier.visitors_per_account.unwrap_or(config.visitors.per_account),
        bytes_per_second_to_owner: tier.bytes_per_second_to_owner.unwrap_or(rate(config.bandwidth.to_owner)),
        bytes_per_second_to_visitors: tier.bytes_per_second_to_visitors.unwrap_or(rate(config.bandwidth.to_visitors)),
    }
}

fn connection(shared: &Shared) -> ConnectionView {
    let (about, range) = (&shared.about, shared.config.ports.range);
    let (host, ssh_port) = (about.addresses.advertise.clone(), about.addresses.ssh.port());
    ConnectionView {
        host_keys: about.host_keys.iter().map(|key| host_key(key, &host, ssh_port)).collect(),
        host,
        ssh_port,
        login: LOGIN.to_owned(),
        forward_host: about.forward_host(),
        first_port: range.first().get(),
        last_port: range.last().get(),
        suggested: suggested(range),
    }
}

fn suggested(range: PortRange) -> Vec<SuggestedPort> {
    let is_given = |port: u16| Port::new(port).is_some_and(|port| range.contains(port));
    let suggest = |(port, label): (u16, &str)| SuggestedPort { port, label: label.to_owned() };
    SUGGESTED.into_iter().filter(|(port, _)| is_given(*port)).map(suggest).collect()
}

/// Under any port but 22 a name stands in brackets with its port (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
fn host_key(key: &adit_ssh::crypto::PublicKey, host: &str, port: u16) -> HostKeyView {
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    HostKeyView {
        key_type: key.key_type().to_owned(),
        fingerprint: key.fingerprint().to_string(),
        known_hosts: format!("{name} {}", key.to_text("").trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_that_there_are_get_suggested() {
        let ports = |range: &str| suggested(range.parse().unwrap()).iter().map(|port| port.port).collect::<Vec<_>>();
        assert_eq!(ports("10000-60000"), [10_080, 18_080, 10_022, 16_667]);
        assert_eq!(ports("10050-10100"), [10_080]);
    }

    #[test]
    fn a_known_hosts_line_names_the_port_where_it_is_not_the_usual_one() {
        let key = adit_ssh::crypto::HostKey::generate_ed25519().unwrap().public_key().clone();
        let line = |port| host_key(&key, "jump.example", port).known_hosts;
        assert!(line(2222).starts_with("[jump.example]:2222 ssh-ed25519 AAAA"), "{}", line(2222));
        assert!(line(22).starts_with("jump.example ssh-ed25519 AAAA"));
        assert!(!line(22).ends_with(' '));
    }
}
