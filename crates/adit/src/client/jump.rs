//! `adit jump`: servers that others are reached through.

use adit_api::agent::view::{JumpHostView, ProfileView};
use clap::{Args, Subcommand};

use super::body::Body;
use super::find::{Named, find, free_name};
use super::{Asker, Common, help, server};
use crate::failure::Failure;
use crate::oneoff::ServerAddress;
use crate::output::{ago, shown};
use crate::shell;

const HELP: &str = help!(
    "Examples:
  adit jump add edge --host edge.example.net --profile me
      a jump host, with a login of its own
  adit tunnel add web --via bastion --jump edge --profile me -L 8080:intranet:80
      the bastion is reached through it
  adit profile edit me --jump edge
      everything with this profile is, unless it says otherwise"
);

/// `adit jump`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Save a jump host
    Add {
        /// What you call it
        name: String,
        /// The server
        #[arg(long, value_name = "HOST[:PORT]", value_parser = server)]
        host: ServerAddress,
        /// Who logs in there
        #[arg(long)]
        profile: String,
    },
    /// List the jump hosts
    List,
    /// Show one
    Show {
        /// Its name or id
        jump: String,
    },
    /// Change one; what is not given stays as it is
    Edit(Edit),
    /// Remove one that nothing needs
    Remove {
        /// Its name or id
        jump: String,
    },
}

#[derive(Debug, Args)]
struct Edit {
    /// Its name or id
    jump: String,
    #[command(flatten)]
    to: Changes,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// What you call it from now on
    #[arg(long)]
    name: Option<String>,
    /// The server
    #[arg(long, value_name = "HOST[:PORT]", value_parser = server)]
    host: Option<ServerAddress>,
    /// Who logs in there
    #[arg(long)]
    profile: Option<String>,
    /// Whether it may be used
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let asker = Asker::new(&arguments.common)?;
    let Asker { client, output, flag } = &asker;
    match arguments.command {
        Command::Add { name, host, profile } => {
            free_name::<JumpHostView>(&asker, Some(&name)).await?;
            let mut body = Body::default();
            body.set("name", Some(name));
            body.set_server(Some(&host));
            body.set_profile(&asker, Some(&profile)).await?;
            let saved: JumpHostView = client.post(JumpHostView::PATH, &body).await?;
            output.answer(&saved, |saved| {
                let next = format!(
                    "adit profile{flag} edit PROFILE --jump {}, or --jump on a tunnel",
                    shell::quoted(&saved.name)
                );
                format!("Jump host {} is saved.\nNext: {}", shown(&saved.name), shown(&next))
            })
        }
        Command::List => {
            let all: Vec<JumpHostView> = client.get(JumpHostView::PATH).await?;
            let profiles: Vec<ProfileView> = client.get(ProfileView::PATH).await?;
            output.answer(&all, |all| table(&asker, all, &profiles))
        }
        Command::Show { jump } => {
            let found: JumpHostView = find(&asker, &jump).await?;
            let profiles: Vec<ProfileView> = client.get(ProfileView::PATH).await?;
            output.answer(&found, |found| output.facts(&facts(found, &profiles)))
        }
        Command::Edit(Edit { jump, to }) => {
            let found: JumpHostView = find(&asker, &jump).await?;
            free_name::<JumpHostView>(&asker, to.name.as_deref().filter(|name| *name != found.name)).await?;
            let mut body = Body::default();
            body.set("name", to.name);
            body.set_server(to.host.as_ref());
            body.set_profile(&asker, to.profile.as_deref()).await?;
            body.set("enabled", to.enabled);
            let saved: JumpHostView = client.put(&found.path(), &body).await?;
            output.answer(&saved, |saved| format!("Jump host {} is changed.", shown(&saved.name)))
        }
        Command::Remove { jump } => {
            let found: JumpHostView = find(&asker, &jump).await?;
            client.delete(&found.path()).await?;
            output.answer(&found, |found| format!("Jump host {} is removed.", shown(&found.name)))
        }
    }
}

fn table(asker: &Asker, all: &[JumpHostView], profiles: &[ProfileView]) -> String {
    if all.is_empty() {
        return format!("No jump hosts yet.\nNext: adit jump{} add NAME --host HOST --profile PROFILE", asker.flag);
    }
    let row = |host: &JumpHostView| {
        [
            shown(&host.name),
            format!("{}:{}", shown(&host.host), host.port),
            profile_name(&host.profile_id, profiles),
            if host.enabled { "yes" } else { "no" }.to_owned(),
            host.id.clone(),
        ]
    };
    asker.output.table(["NAME", "SERVER", "PROFILE", "ENABLED", "ID"], all.iter().map(row).collect())
}

fn facts(host: &JumpHostView, profiles: &[ProfileView]) -> Vec<(&'static str, String)> {
    vec![
        ("name", shown(&host.name)),
        ("id", host.id.clone()),
        ("server", format!("{}:{}", shown(&host.host), host.port)),
        ("profile", profile_name(&host.profile_id, profiles)),
        ("enabled", host.enabled.to_string()),
        ("saved", ago(host.created_at)),
    ]
}

/// What people call a profile.
pub(super) fn profile_name(id: &str, profiles: &[ProfileView]) -> String {
    profiles.iter().find(|profile| profile.id == id).map_or_else(|| id.to_owned(), |profile| shown(&profile.name))
}
