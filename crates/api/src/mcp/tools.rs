//! The tools: what each takes, and what it promises. The same table makes the schema that a model is shown and refuses what it does not
//! name; what an argument may be is said once, at its [`Argument`].

use std::sync::Arc;

use adit_core::{Port, Printable};
use rmcp::model::{JsonObject, Tool as Described, ToolAnnotations};
use serde::Serialize;
use serde_json::{Value, json};

use super::AgentOrder;
use super::answers;
use crate::failure::Failure;

/// As much of a name that somebody sent as an error shows.
const SHOWN: usize = 60;

/// Something that a tool takes.
#[derive(Debug)]
struct Argument {
    name: &'static str,
    kind: Kind,
    description: &'static str,
}

#[derive(Debug)]
enum Kind {
    Port,
    Text,
}

const PORT: Argument = Argument {
    name: "port",
    kind: Kind::Port,
    description: "The port of the bastion that leads to this machine. It names the tunnel.",
};
const ONE_PORT: Argument =
    Argument { name: "port", kind: Kind::Port, description: "Only the tunnel at this port. Leave it out for all." };
const BASTION: Argument = Argument {
    name: "bastion_server",
    kind: Kind::Text,
    description: "The SSH server that publishes the port: user@host or user@host:port. Leave it out for the one that \
                  ADIT_BASTION_SERVER names.",
};
const KEY: Argument = Argument {
    name: "secret_key_path",
    kind: Kind::Text,
    description: "The path of the private key to log in with, from the root on or beginning with ~/. It has to lie in an allowed \
                  folder, usually ~/.ssh, and to have no passphrase. Leave it out for the one that ADIT_SECRET_KEY_PATH names.",
};
const TUNNEL: Argument =
    Argument { name: "tunnel", kind: Kind::Text, description: "Its name or its id, as agent_tunnels_list has them." };

/// What a tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    SetUp,
    Status,
    Remove,
    ListOfAgent,
    Order(AgentOrder),
}

/// What a client may go by before it lets a model call a tool (MCP, `ToolAnnotations`).
#[derive(Debug)]
struct Hints {
    read_only: bool,
    destructive: bool,
    idempotent: bool,
    open_world: bool,
}

const LOOKS: Hints = Hints { read_only: true, destructive: false, idempotent: true, open_world: false };

/// A tool.
#[derive(Debug)]
pub(super) struct Tool {
    act: Act,
    name: &'static str,
    title: &'static str,
    description: &'static str,
    needs: &'static [Argument],
    may_have: &'static [Argument],
    hints: Hints,
    answer: fn() -> Value,
}

static TOOLS: [Tool; 7] = [
    Tool {
        act: Act::SetUp,
        name: "tunnel_setup",
        title: "Set up a tunnel",
        description: "Makes SSH of this machine reachable through a bastion, for good: port `port` of the bastion leads to localhost:22 \
                      here. Installs a service that keeps the tunnel up, and brings it back after a reboot where services of its \
                      owner start with the machine (`linger` of the answer says so). Key, login, host key, \
                      remote port and local target are tried first, and nothing is installed where one of them fails. A tunnel of \
                      the same port is replaced. Answers how the tunnel stands, and the command with which others reach this machine.",
        needs: &[PORT],
        may_have: &[BASTION, KEY],
        // It takes the place of a tunnel that has the port, and cuts off who is connected through that, also if it is the same.
        hints: Hints { read_only: false, destructive: true, idempotent: false, open_world: true },
        answer: answers::set_up,
    },
    Tool {
        act: Act::Status,
        name: "tunnel_status",
        title: "Show tunnels",
        description: "How the tunnels stand that tunnel_setup made: state, since when, restarts, and the last error. `connected` is \
                      said only while the bastion holds the port for us. Looks, and changes nothing.",
        needs: &[],
        may_have: &[ONE_PORT],
        hints: LOOKS,
        answer: answers::status,
    },
    Tool {
        act: Act::Remove,
        name: "tunnel_remove",
        title: "Remove a tunnel",
        description: "Stops a tunnel that tunnel_setup made and removes its service: whoever is connected through it is cut off, and it \
                      does not come back. A failure where there is none at that port.",
        needs: &[PORT],
        may_have: &[],
        hints: Hints { read_only: false, destructive: true, idempotent: true, open_world: false },
        answer: answers::removed,
    },
    Tool {
        act: Act::ListOfAgent,
        name: "agent_tunnels_list",
        title: "List the agent's tunnels",
        description: "The tunnels saved in the local agent (`adit agent`), with how each stands. These are forwards that a person \
                      made, apart from those of tunnel_setup. Looks, and changes nothing.",
        needs: &[],
        may_have: &[],
        hints: LOOKS,
        answer: answers::agent_tunnels,
    },
    Tool {
        act: Act::Order(AgentOrder::Start),
        name: "agent_tunnel_start",
        title: "Start a tunnel of the agent",
        description: "Starts a saved tunnel of the local agent, and waits until it is connected or its login has failed. A host key \
                      that nobody has judged yet is a failure: a person has to compare it.",
        needs: &[TUNNEL],
        may_have: &[],
        hints: Hints { read_only: false, destructive: false, idempotent: true, open_world: true },
        answer: answers::agent_tunnel,
    },
    Tool {
        act: Act::Order(AgentOrder::Stop),
        name: "agent_tunnel_stop",
        title: "Stop a tunnel of the agent",
        description: "Stops a tunnel of the local agent: what goes through it is cut off. It stays saved, and can be started again.",
        needs: &[TUNNEL],
        may_have: &[],
        hints: Hints { read_only: false, destructive: true, idempotent: true, open_world: false },
        answer: answers::agent_tunnel,
    },
    Tool {
        act: Act::Order(AgentOrder::Reconnect),
        name: "agent_tunnel_reconnect",
        title: "Reconnect a tunnel of the agent",
        description: "Gives a tunnel of the local agent a fresh connection at once, instead of waiting for its next try, and starts it where it \
                      does not run: what \
                      goes through it is cut off. Waits like agent_tunnel_start.",
        needs: &[TUNNEL],
        may_have: &[],
        hints: Hints { read_only: false, destructive: true, idempotent: false, open_world: true },
        answer: answers::agent_tunnel,
    },
];

/// A call that makes sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    SetUp { port: Port, bastion_server: Option<String>, secret_key_path: Option<String> },
    Status(Option<Port>),
    Remove(Port),
    ListOfAgent,
    Order(AgentOrder, String),
}

/// The tool of this name.
pub(super) fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// All of them, as the protocol describes them.
pub(super) fn described() -> Vec<Described> {
    TOOLS.iter().map(Tool::described).collect()
}

impl Tool {
    pub(super) fn described(&self) -> Described {
        let Hints { read_only, destructive, idempotent, open_world } = self.hints;
        let hints = ToolAnnotations::from_raw(
            Some(self.title.to_owned()),
            Some(read_only),
            Some(destructive),
            Some(idempotent),
            Some(open_world),
        );
        Described::new(self.name, self.description, self.schema())
            .with_title(self.title)
            .with_raw_output_schema(Arc::new(answers::or_failure((self.answer)())))
            .with_annotations(hints)
    }

    fn schema(&self) -> JsonObject {
        let taken = |argument: &Argument| {
            let Argument { name, kind, description } = argument;
            let schema = match kind {
                Kind::Port => json!({"type": "integer", "minimum": 1, "maximum": 65_535, "description": description}),
                Kind::Text => json!({"type": "string", "minLength": 1, "description": description}),
            };
            ((*name).to_owned(), schema)
        };
        let properties: JsonObject = self.arguments().map(taken).collect();
        let needed: Vec<&str> = self.needs.iter().map(|argument| argument.name).collect();
        JsonObject::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), json!(properties)),
            ("required".to_owned(), json!(needed)),
            ("additionalProperties".to_owned(), json!(false)),
        ])
    }

    fn arguments(&self) -> impl Iterator<Item = &'static Argument> {
        self.needs.iter().chain(self.may_have)
    }

    /// Reads what was sent.
    ///
    /// # Errors
    /// A sentence that says how to do better, which a model does.
    pub(super) fn read(&self, sent: &JsonObject) -> Result<Call, Failure> {
        if let Some(stranger) = sent.keys().find(|name| self.arguments().all(|argument| argument.name != **name)) {
            let names: Vec<&str> = self.arguments().map(|argument| argument.name).collect();
            let takes = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            let stranger = Printable::from(stranger.as_str()).at_most(SHOWN);
            return Err(misused(format!("{} has no argument “{stranger}”; it takes {takes}", self.name)));
        }
        Ok(match self.act {
            Act::SetUp => Call::SetUp {
                port: needed(&PORT, port(sent)?)?,
                bastion_server: text(sent, &BASTION)?,
                secret_key_path: text(sent, &KEY)?,
            },
            Act::Status => Call::Status(port(sent)?),
            Act::Remove => Call::Remove(needed(&PORT, port(sent)?)?),
            Act::ListOfAgent => Call::ListOfAgent,
            Act::Order(order) => Call::Order(order, needed(&TUNNEL, text(sent, &TUNNEL)?)?),
        })
    }
}

impl Kind {
    const fn expected(&self) -> &'static str {
        match self {
            Self::Port => "a whole number from 1 to 65535",
            Self::Text => "a text that is not empty",
        }
    }
}

fn misused(told: String) -> Failure {
    Failure::new(told, "usage")
}

fn needed<T>(argument: &Argument, found: Option<T>) -> Result<T, Failure> {
    let Argument { name, kind, .. } = argument;
    found.ok_or_else(|| misused(format!("`{name}` is missing: {}", kind.expected())))
}

fn unfit(argument: &Argument) -> Failure {
    let Argument { name, kind, .. } = argument;
    misused(format!("`{name}` has to be {}", kind.expected()))
}

fn port(sent: &JsonObject) -> Result<Option<Port>, Failure> {
    let Some(value) = sent.get(PORT.name) else { return Ok(None) };
    // 22.0 is an integer by the schema that the caller was shown (JSON Schema 2020-12, Core §4.2.1 and Validation §6.1.1).
    let whole = value.as_f64().filter(|number| number.fract() == 0.0 && (1.0..=65_535.0).contains(number));
    whole.and_then(|number| Port::new(number as u16)).map(Some).ok_or_else(|| unfit(&PORT))
}

fn text(sent: &JsonObject, argument: &Argument) -> Result<Option<String>, Failure> {
    match sent.get(argument.name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(unfit(argument)),
    }
}

/// A tool, for people who want to know which there are.
#[derive(Debug, Serialize)]
pub struct ToolView {
    /// Its name and what it takes, as people write it.
    pub signature: String,
    /// All of it, as clients are told.
    #[serde(flatten)]
    described: Described,
}

impl ToolView {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.described.name
    }

    /// What it does.
    #[must_use]
    pub fn description(&self) -> &str {
        self.described.description.as_deref().unwrap_or_default()
    }
}

/// The tools.
#[must_use]
pub fn tools() -> Vec<ToolView> {
    let view = |tool: &Tool| ToolView { signature: tool.signature(), described: tool.described() };
    TOOLS.iter().map(view).collect()
}

/// What clients are told of the tools, as `crates/api/mcp-tools.json` has it.
#[must_use]
pub fn document() -> String {
    // A schema is a tree of texts and numbers, which JSON has.
    serde_json::to_string_pretty(&described()).map(|text| text + "\n").unwrap_or_default()
}

impl Tool {
    fn signature(&self) -> String {
        let shown = |argument: &Argument, mark: &str| {
            let kind = match argument.kind {
                Kind::Port => "integer",
                Kind::Text => "string",
            };
            format!("{}{mark}: {kind}", argument.name)
        };
        let needs = self.needs.iter().map(|argument| shown(argument, ""));
        let all: Vec<String> = needs.chain(self.may_have.iter().map(|argument| shown(argument, "?"))).collect();
        format!("{}({})", self.name, all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tool: &str, sent: Value) -> Result<Call, String> {
        let Value::Object(sent) = sent else { panic!("{sent}") };
        find(tool).unwrap().read(&sent).map_err(|failure| {
            assert_eq!(failure.code, "usage");
            failure.error
        })
    }

    #[test]
    fn a_port_is_a_whole_number_in_range_and_nothing_else() {
        for (sent, number) in [(json!(1), 1), (json!(22), 22), (json!(22.0), 22), (json!(65_535), 65_535)] {
            assert_eq!(read("tunnel_remove", json!({"port": sent})), Ok(Call::Remove(Port::new(number).unwrap())));
        }
        for sent in [
            json!(0),
            json!(-1),
            json!(65_536),
            json!(70_000),
            json!(22.5),
            json!(u64::MAX),
            json!(1e300),
            json!("22"),
            json!(true),
            json!(null),
            json!([22]),
            json!({"port": 22}),
        ] {
            for tool in ["tunnel_setup", "tunnel_status", "tunnel_remove"] {
                let told = read(tool, json!({"port": sent})).unwrap_err();
                assert_eq!(told, "`port` has to be a whole number from 1 to 65535", "{tool} {sent}");
            }
        }
        assert_eq!(read("tunnel_status", json!({})), Ok(Call::Status(None)));
        for tool in ["tunnel_setup", "tunnel_remove"] {
            assert_eq!(read(tool, json!({})).unwrap_err(), "`port` is missing: a whole number from 1 to 65535");
        }
    }

    #[test]
    fn a_text_is_a_text() {
        let read_bastion = |sent: Value| read("tunnel_setup", json!({"port": 22, "bastion_server": sent}));
        assert!(matches!(
            read_bastion(json!("me@b")),
            Ok(Call::SetUp { bastion_server: Some(bastion), .. }) if bastion == "me@b"
        ));
        for sent in [json!(1), json!(null), json!(""), json!(["me@b"]), json!(false)] {
            assert_eq!(read_bastion(sent).unwrap_err(), "`bastion_server` has to be a text that is not empty");
        }
    }

    #[test]
    fn what_nobody_named_is_refused_and_told_without_effect() {
        let told = read("tunnel_setup", json!({"port": 22, "prot": 1})).unwrap_err();
        assert_eq!(told, "tunnel_setup has no argument “prot”; it takes port, bastion_server, secret_key_path");
        let told = read("agent_tunnels_list", json!({"\u{1b}[2J": 1})).unwrap_err();
        assert_eq!(told, "agent_tunnels_list has no argument “\\u{1b}[2J”; it takes nothing");
    }

    #[test]
    fn each_tool_reads_what_its_schema_names() {
        for tool in &TOOLS {
            let fitting = |argument: &Argument| match argument.kind {
                Kind::Port => (argument.name.to_owned(), json!(22)),
                Kind::Text => (argument.name.to_owned(), json!("x")),
            };
            let all: JsonObject = tool.arguments().map(fitting).collect();
            assert!(tool.read(&all).is_ok(), "{}", tool.name);
            for argument in tool.arguments() {
                let mut lacking = all.clone();
                lacking.remove(argument.name);
                let is_needed = tool.needs.iter().any(|needed| needed.name == argument.name);
                assert_eq!(tool.read(&lacking).is_err(), is_needed, "{} without {}", tool.name, argument.name);
                let mut wrong = all.clone();
                wrong.insert(argument.name.to_owned(), json!([]));
                assert!(tool.read(&wrong).is_err(), "{} with a list for {}", tool.name, argument.name);
            }
        }
    }
}
