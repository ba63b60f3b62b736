//! What tools answer, as JSON Schema: a client may check what it gets, and a model knows what it will find. The answers themselves are
//! made where the command line's are.

use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// A failure is an answer too, and some clients hold it against the schema like any other.
pub(super) fn or_failure(answer: Value) -> JsonObject {
    let failure = json!({
        "title": "Failure",
        "description": "What went wrong, with `isError` set.",
        "properties": {
            "error": {"type": "string", "description": "A sentence: what, where, and what next."},
            "code": {"type": "string", "description": "A stable name, for programs."},
        },
        "required": ["error", "code"],
    });
    JsonObject::from_iter([("type".to_owned(), json!("object")), ("anyOf".to_owned(), json!([answer, failure]))])
}

pub(super) fn set_up() -> Value {
    let check = json!({
        "type": "object",
        "properties": {
            "check": {"type": "string", "description": "What was tried."},
            "told": {"type": "string", "description": "What was found."},
        },
        "required": ["check", "told"],
    });
    json!({
        "properties": {
            "tunnel": tunnel(),
            "checks": {"type": "array", "items": check, "description": "What was tried before anything was installed."},
            "reach": {"type": "string", "description": "The command with which this machine is reached through the bastion."},
        },
        "required": ["tunnel"],
    })
}

pub(super) fn status() -> Value {
    json!({"properties": {"tunnels": {"type": "array", "items": tunnel()}}, "required": ["tunnels"]})
}

pub(super) fn removed() -> Value {
    let removed = json!({
        "type": "object",
        "properties": {"port": {"type": "integer"}, "scope": scope(), "unit": {"type": ["string", "null"]}},
        "required": ["port", "scope"],
    });
    json!({"properties": {"removed": removed}, "required": ["removed"]})
}

pub(super) fn agent_tunnels() -> Value {
    json!({"properties": {"tunnels": {"type": "array", "items": agent_row()}}, "required": ["tunnels"]})
}

pub(super) fn agent_tunnel() -> Value {
    json!({"properties": {"tunnel": agent_row()}, "required": ["tunnel"]})
}

fn scope() -> Value {
    json!({
        "type": "string",
        "description": "Who starts it: the system, the user's own service manager, or, as `supervised`, nobody but itself.",
    })
}

fn tunnel() -> Value {
    json!({
        "type": "object",
        "properties": {
            "port": {"type": "integer", "description": "The port of the bastion."},
            "scope": scope(),
            "unit": {"type": ["string", "null"], "description": "The systemd unit."},
            "path": {"type": ["string", "null"], "description": "Where it is installed."},
            "bastion": {"type": ["string", "null"], "description": "user@host:port"},
            "target": {"type": ["string", "null"], "description": "What the port leads to."},
            "state": {"enum": ["connected", "connecting", "reconnecting", "failed", "stopped", "unknown"]},
            "since": {"type": ["integer", "null"], "description": "Unix milliseconds."},
            "uptime_seconds": {"type": ["integer", "null"]},
            "restarts": {"type": "integer"},
            "last_error": {"type": ["string", "null"]},
            "linger": {
                "enum": ["enabled", "disabled", null],
                "description": "Whether the user's services run while the user is not logged in.",
            },
            "cron": {"type": "boolean", "description": "Whether a crontab starts it with the machine."},
        },
        "required": ["port", "scope", "state"],
    })
}

/// The agent's REST interface has more of it.
fn agent_row() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "status": {"enum": ["disconnected", "connecting", "connected", "reconnecting", "failed"]},
            "last_error": {"type": ["string", "null"]},
        },
        "required": ["id", "name", "status"],
    })
}
