//! A question in the making: the fields that were given, and no others. The agent has the defaults, and checks everything.

use adit_api::agent::view::ProfileView;
use adit_core::ForwardSpec;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Asker;
use super::find::{Jump, find, jump};
use crate::failure::Failure;
use crate::oneoff::{self, ServerAddress};

/// What is asked for.
#[derive(Debug, Default, Serialize)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// Sets a field that was given.
    pub(super) fn set(&mut self, field: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(field.to_owned(), value.into());
        }
    }

    /// Takes a field's value away.
    pub(super) fn clear(&mut self, field: &str) {
        self.0.insert(field.to_owned(), Value::Null);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn set_server(&mut self, server: Option<&ServerAddress>) {
        if let Some(ServerAddress { host, port, .. }) = server {
            self.set("host", Some(host.as_str()));
            self.set("port", port.map(adit_core::Port::get));
        }
    }

    pub(super) fn set_forward(&mut self, spec: Option<&ForwardSpec>) -> Result<(), Failure> {
        if let Some(spec) = spec
            && let Value::Object(fields) = forward(spec)?
        {
            self.0.extend(fields);
        }
        Ok(())
    }

    pub(super) async fn set_profile(&mut self, asker: &Asker, typed: Option<&str>) -> Result<(), Failure> {
        if let Some(typed) = typed {
            let profile: ProfileView = find(asker, typed).await?;
            self.set("profile_id", Some(profile.id));
        }
        Ok(())
    }

    /// `none` is what takes a jump away, in the words of the command.
    pub(super) async fn set_jump(&mut self, asker: &Asker, typed: Option<&str>, none: &str) -> Result<(), Failure> {
        let Some(typed) = typed else { return Ok(()) };
        self.clear("jump_host_id");
        self.clear("jump_session_id");
        if typed != none {
            match jump(asker, typed).await? {
                Jump::Host(id) => self.set("jump_host_id", Some(id)),
                Jump::Session(id) => self.set("jump_session_id", Some(id)),
            }
        }
        Ok(())
    }
}

/// A forward's five fields.
pub(super) fn forward(spec: &ForwardSpec) -> Result<Value, Failure> {
    let record = oneoff::record(spec)?;
    Ok(json!({
        "forward_type": record.forward_type.name(),
        "local_port": record.local_port,
        "bind_address": record.bind_address,
        "remote_host": record.remote_host,
        "remote_port": record.remote_port,
    }))
}
