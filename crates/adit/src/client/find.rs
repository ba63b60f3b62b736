//! The record that somebody means by a name or an id.

use std::collections::BTreeMap;

use adit_api::agent::view::{JumpHostView, JumpView, ProfileView, SessionRow, TunnelRow};
use serde::de::DeserializeOwned;

use super::Asker;
use super::tunnel_run::ALL;
use crate::failure::Failure;
use crate::output::shown;

/// A record that people name.
pub(super) trait Named: DeserializeOwned {
    /// What it is.
    const KIND: &'static str;
    /// Where all of them are listed.
    const PATH: &'static str;
    /// The command that lists them.
    const LIST: &'static str;

    fn id(&self) -> &str;
    fn name(&self) -> &str;

    /// Where it is shown and changed.
    fn path(&self) -> String {
        // The agent makes ids of letters, digits, `_` and `:`, which stand in a path as they are.
        format!("{}/{}", Self::PATH, self.id())
    }
}

macro_rules! named {
    ($($view:ty { $($field:ident).* } is $kind:literal at $path:literal in $list:literal;)+) => {$(
        impl Named for $view {
            const KIND: &'static str = $kind;
            const PATH: &'static str = $path;
            const LIST: &'static str = $list;

            fn id(&self) -> &str {
                &self$(.$field)*.id
            }

            fn name(&self) -> &str {
                &self$(.$field)*.name
            }
        }
    )+};
}

named! {
    TunnelRow { record } is "tunnel" at "/tunnels" in "adit tunnel list";
    SessionRow { record } is "session" at "/sessions" in "adit session list";
    ProfileView {} is "profile" at "/profiles" in "adit profile list";
    JumpHostView {} is "jump host" at "/jump-hosts" in "adit jump list";
}

/// The one record with this id, or else with this name.
pub(super) async fn find<R: Named>(asker: &Asker, typed: &str) -> Result<R, Failure> {
    one(asker.client.get(R::PATH).await?, typed)
}

fn one<R: Named>(all: Vec<R>, typed: &str) -> Result<R, Failure> {
    maybe_one(all, typed)?.ok_or_else(|| Failure::NoSuch { kind: R::KIND, typed: typed.to_owned(), list: R::LIST })
}

fn maybe_one<R: Named>(all: Vec<R>, typed: &str) -> Result<Option<R>, Failure> {
    let (mut with_id, others): (Vec<R>, Vec<R>) = all.into_iter().partition(|record| record.id() == typed);
    if let Some(found) = with_id.pop() {
        return Ok(Some(found));
    }
    let mut called: Vec<R> = others.into_iter().filter(|record| record.name() == typed).collect();
    match called.len() {
        0 | 1 => Ok(called.pop()),
        _ => {
            let ids = called.iter().map(R::id).collect::<Vec<_>>().join(", ");
            Err(Failure::Ambiguous { kind: R::KIND, typed: typed.to_owned(), ids })
        }
    }
}

/// A name that no record of its kind has, so that commands can go on naming them by it. The agent itself tells them apart by their ids.
pub(super) async fn free_name<R: Named>(asker: &Asker, name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else { return Ok(()) };
    let all: Vec<R> = asker.client.get(R::PATH).await?;
    if R::KIND == TunnelRow::KIND && name == ALL {
        return Err(Failure::NotAName);
    }
    match all.iter().any(|record| record.name() == name) {
        true => Err(Failure::NameTaken { kind: R::KIND, name: name.to_owned() }),
        false => Ok(()),
    }
}

/// What a server is reached through.
pub(super) enum Jump {
    Host(String),
    Session(String),
}

/// A jump host, or a session whose host is the jump.
pub(super) async fn jump(asker: &Asker, typed: &str) -> Result<Jump, Failure> {
    let host: Option<JumpHostView> = maybe_one(asker.client.get(JumpHostView::PATH).await?, typed)?;
    let session: Option<SessionRow> = maybe_one(asker.client.get(SessionRow::PATH).await?, typed)?;
    match (host, session) {
        (Some(host), None) => Ok(Jump::Host(host.id)),
        (None, Some(session)) => Ok(Jump::Session(session.record.id)),
        (Some(host), Some(session)) => {
            let ids = format!("{}, {}", host.id, session.record.id);
            Err(Failure::Ambiguous { kind: "jump", typed: typed.to_owned(), ids })
        }
        (None, None) => {
            let list = "adit jump list` or `adit session list";
            Err(Failure::NoSuch { kind: "jump host or session", typed: typed.to_owned(), list })
        }
    }
}

/// What people call the jumps that there are.
pub(super) struct JumpNames(BTreeMap<String, String>);

impl JumpNames {
    pub(super) async fn load(asker: &Asker) -> Result<Self, Failure> {
        let hosts: Vec<JumpHostView> = asker.client.get(JumpHostView::PATH).await?;
        let sessions: Vec<SessionRow> = asker.client.get(SessionRow::PATH).await?;
        let sessions = sessions.into_iter().map(|row| (row.record.id, row.record.name));
        Ok(Self(hosts.into_iter().map(|host| (host.id, host.name)).chain(sessions).collect()))
    }

    /// `none` is what a record without a jump of its own has.
    pub(super) fn shown(&self, jump: &JumpView, none: &str) -> String {
        let Some(id) = jump.jump_host_id.as_ref().or(jump.jump_session_id.as_ref()) else { return none.to_owned() };
        shown(self.0.get(id).unwrap_or(id))
    }
}

#[cfg(test)]
mod tests {
    use adit_api::agent::view::LoginMethod;

    use super::*;

    fn profile(id: &str, name: &str) -> ProfileView {
        ProfileView {
            id: id.to_owned(),
            name: name.to_owned(),
            username: "alice".to_owned(),
            auth_method: LoginMethod::Agent,
            key_path: None,
            has_password: false,
            has_passphrase: false,
            legacy_algorithms: false,
            jump: JumpView { jump_host_id: None, jump_session_id: None },
            enabled: true,
            created_at: 0,
            updated_at: 0,
        }
    }

    #[test]
    fn an_id_goes_before_a_name_and_two_of_a_name_are_told_apart() {
        let all = || vec![profile("prof_1", "core"), profile("prof_2", "prof_1"), profile("prof_3", "core")];
        assert_eq!(one(all(), "prof_1").unwrap().id, "prof_1");
        assert_eq!(one(all(), "prof_2").unwrap().id, "prof_2");
        let told = one(all(), "core").err().unwrap().to_string();
        assert!(told.contains("prof_1, prof_3"), "{told}");
        let told = one(all(), "edge").err().unwrap().to_string();
        assert!(told.contains("“edge”") && told.contains("`adit profile list`"), "{told}");
    }
}
