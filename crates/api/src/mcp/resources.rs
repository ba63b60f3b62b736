//! What can be looked at without a tool: the same as the tools that only look tell, at addresses. None is for more than to be read.

use adit_core::{Port, Printable};
use rmcp::model::{Resource, ResourceTemplate};

/// As much of an address that somebody sent as an error shows.
const SHOWN: usize = 80;

const TUNNELS: &str = "adit://tunnels";
const AGENT_TUNNELS: &str = "adit://agent/tunnels";

pub(super) const JSON: &str = "application/json";

/// What is meant by an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// One tunnel that was set up, or all.
    Tunnels(Option<Port>),
    /// Those of the agent.
    AgentTunnels,
}

pub(super) fn resources() -> Vec<Resource> {
    vec![
        Resource::new(TUNNELS, "tunnels")
            .with_title("Tunnels")
            .with_description("How the tunnels stand that tunnel_setup made, as tunnel_status tells it.")
            .with_mime_type(JSON),
        Resource::new(AGENT_TUNNELS, "agent-tunnels")
            .with_title("The agent's tunnels")
            .with_description("The tunnels of the local agent, as agent_tunnels_list tells them.")
            .with_mime_type(JSON),
    ]
}

pub(super) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(format!("{TUNNELS}/{{port}}"), "tunnel")
            .with_title("A tunnel")
            .with_description("How the tunnel stands that leads from this port of the bastion to this machine.")
            .with_mime_type(JSON),
    ]
}

/// What an address means, or that it means nothing.
pub(super) fn find(address: &str) -> Result<Meant, String> {
    let nothing = || {
        let shown = Printable::from(address).at_most(SHOWN);
        format!("there is nothing at {shown}; there are {TUNNELS}, {TUNNELS}/{{port}} and {AGENT_TUNNELS}")
    };
    match address {
        TUNNELS => Ok(Meant::Tunnels(None)),
        AGENT_TUNNELS => Ok(Meant::AgentTunnels),
        _ => {
            let port = address.strip_prefix(TUNNELS).and_then(|rest| rest.strip_prefix('/'));
            let port = port.and_then(|port| port.parse().ok());
            port.map(|port| Meant::Tunnels(Some(port))).ok_or_else(nothing)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_means_one_thing_or_nothing() {
        assert_eq!(find("adit://tunnels"), Ok(Meant::Tunnels(None)));
        assert_eq!(find("adit://tunnels/2222"), Ok(Meant::Tunnels(Port::new(2222))));
        assert_eq!(find("adit://agent/tunnels"), Ok(Meant::AgentTunnels));
        for nothing in [
            "",
            "adit://",
            "adit://tunnels/",
            "adit://tunnels/0",
            "adit://tunnels/70000",
            "adit://tunnels/2222/",
            "file:///etc/passwd",
        ] {
            assert!(find(nothing).unwrap_err().starts_with("there is nothing at "), "{nothing}");
        }
    }
}
