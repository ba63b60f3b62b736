//! `adit mesh init`, `invite`, `members`, `revoke`, `join`: how a mesh begins, and how agents come into it and go.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use adit_api::mesh::{ListTaken, RevocationList};
use adit_core::mesh::{AgentName, Membership, Rights, Root as MeshRoot, Shown};
use adit_mesh::enrolment::{self, Grant, Issued, RootFolder, Token};
use adit_mesh::folder::{self, Enrolled, FolderError};
use adit_mesh::keys::Provider;
use adit_mesh::{MeshError, MeshFolder};
use adit_net::data_folder;
use serde::Serialize;
use zeroize::Zeroizing;

use super::arguments::{Common, Invite, Join, Revoke, Root};
use super::ask;
use crate::failure::Failure;
use crate::output::{Output, clock, count, shown, span};
use crate::shell;

/// In the root's folder: the last list of revocations, for agents that this machine does not reach.
const LIST: &str = "revocations.txt";

fn root_path(root: &Root) -> Result<PathBuf, Failure> {
    match root.named() {
        Some(folder) => Ok(folder),
        None => Ok(folder::default_root(|name| std::env::var(name).ok())?),
    }
}

/// ` --root DIR`, for commands to paste, where somebody named a folder.
fn root_flag(root: &Root) -> String {
    root.named().map_or_else(String::new, |folder| format!(" --root {}", shell::quoted_path(&folder)))
}

#[derive(Serialize)]
struct Made<'a> {
    mesh: String,
    root: &'a Path,
}

pub(super) fn init(common: &Common, arguments: &Root) -> Result<(), Failure> {
    let root = RootFolder::init(&root_path(arguments)?)?;
    let output = Output::new(common.json);
    output.answer(&Made { mesh: root.mesh().to_string(), root: root.path() }, |made| {
        let facts = [
            ("mesh", made.mesh.clone()),
            (
                "root",
                format!("{} (whoever has it can invite and revoke: keep it off the network)", made.root.display()),
            ),
        ];
        let flag = root_flag(arguments);
        format!(
            "{}\n{}\n  adit mesh invite hq{flag} --publish '*' --listen '*' --transit",
            output.facts(&facts),
            output.bold("Next:")
        )
    })
}

#[derive(Serialize)]
struct Invited<'a> {
    name: String,
    token: &'a str,
}

pub(super) fn invite(common: &Common, arguments: &Invite) -> Result<(), Failure> {
    let mut root = RootFolder::open(&root_path(&arguments.root)?)?;
    let rights =
        Rights { publish: arguments.publish.clone(), listen: arguments.listen.clone(), transit: arguments.transit };
    if rights == Rights::default() {
        return Err(Failure::NoRights);
    }
    let grant = Grant {
        name: arguments.name.clone(),
        rights,
        redeem_within: arguments.within,
        lasts: arguments.lasts,
        peers: arguments.peers.clone(),
    };
    let text = root.invite(grant)?.to_text();
    let output = Output::new(common.json);
    output.answer(&Invited { name: arguments.name.to_string(), token: &text }, |invited| {
        // The token alone on standard output, so that it can be piped; what it is stands beside it.
        if output.is_on_terminal() {
            let within = span(arguments.within.as_secs());
            eprintln!(
                "A token for “{}”, good once within {within}. On its machine: adit mesh join TOKEN",
                invited.name
            );
        }
        invited.token.to_owned()
    })
}

pub(super) fn members(common: &Common, arguments: &Root) -> Result<(), Failure> {
    let root = RootFolder::open(&root_path(arguments)?)?;
    let output = Output::new(common.json);
    output.answer(&root.issued(), |issued| {
        if issued.is_empty() {
            return format!("Nobody is invited yet: adit mesh invite NAME{}", root_flag(arguments));
        }
        let rows = issued.iter().map(row).collect();
        output.table(["NAME", "PUBLISH", "LISTEN", "TRANSIT", "UNTIL", "STATE"], rows)
    })
}

fn row(issued: &Issued) -> [String; 6] {
    let patterns = |patterns: &[String]| if patterns.is_empty() { "-".to_owned() } else { patterns.join(" ") };
    let state = match issued {
        Issued { revoked: true, .. } => "revoked",
        Issued { expires, .. } if *expires <= enrolment::unix_time() => "expired",
        _ => "invited",
    };
    let until = i64::try_from(issued.expires.saturating_mul(1000)).map_or_else(|_| "never".to_owned(), clock);
    let transit = if issued.transit { "yes" } else { "no" };
    let (publish, listen) = (patterns(&issued.publish), patterns(&issued.listen));
    [issued.name.clone(), publish, listen, transit.to_owned(), until, state.to_owned()]
}

#[derive(Serialize)]
struct Revoked {
    /// Where the list was written.
    list: PathBuf,
    /// An agent of this machine has it, and passes it on.
    passed_on: bool,
}

pub(super) async fn revoke(common: &Common, arguments: &Revoke) -> Result<(), Failure> {
    let output = Output::new(common.json);
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| Failure::RevocationFile { path, source }
    };
    let elsewhere = match &arguments.list {
        Some(list) => Some((list.clone(), std::fs::read_to_string(list).map_err(unusable(list))?)),
        None => None,
    };
    // Before anything is taken back: whoever hears that no agent runs here has to take the list to one.
    let client = match ask::client(common) {
        Ok(client) => Some(client),
        // A list of the root's own is worth having also where no agent runs.
        Err(Failure::NoMeshAgent { .. } | Failure::DeafMeshAgent { .. }) if elsewhere.is_none() => None,
        Err(failure) => return Err(failure),
    };
    let (list, text) = match elsewhere {
        Some(elsewhere) => elsewhere,
        None => {
            let mut root = RootFolder::open(&root_path(&arguments.root)?)?;
            let name = arguments.name.as_ref().map_or("", AgentName::as_str);
            let text = enrolment::list_to_text(&root.revoke(name)?);
            let list = root.path().join(LIST);
            data_folder::replace(&list, format!("{text}\n").as_bytes(), 0o644).map_err(unusable(&list))?;
            (list, text)
        }
    };
    if let Some(client) = &client {
        let question = RevocationList { list: text.trim().to_owned() };
        let _: ListTaken = client.post("/api/mesh/revocations", &question).await?;
    }
    output.answer(&Revoked { list, passed_on: client.is_some() }, |revoked| match revoked.passed_on {
        true => "Revoked; the agent of this machine has the list and passes it on.".to_owned(),
        false => format!(
            "Revoked; the list is in {}. No agent was told: on a machine of the mesh, run: adit mesh revoke --list FILE",
            revoked.list.display()
        ),
    })
}

#[derive(Serialize)]
struct Joined {
    name: String,
    /// Who it was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    data: PathBuf,
    peers: Vec<String>,
}

pub(super) fn join(common: &Common, arguments: &Join) -> Result<(), Failure> {
    let text = match &*arguments.token {
        "-" => {
            let mut text = Zeroizing::new(String::new());
            // No token is longer; what follows is not read.
            let read = std::io::stdin().take(128 * 1024).read_to_string(&mut text);
            read.map_err(|source| Failure::SecretFile { path: "standard input".into(), source })?;
            text
        }
        token => Zeroizing::new(token.to_owned()),
    };
    let token = Token::from_text(&text)?;
    let folder = MeshFolder::open(&ask::folder(common)?)?;
    let before = match folder.enrolled() {
        Ok(before) => Some(before),
        Err(FolderError::NotEnrolled { .. } | FolderError::Broken { .. }) => None,
        // Whoever it was may be there again in a moment.
        Err(error) => return Err(error.into()),
    };
    if before.as_ref().is_some_and(|before| before.root != token.root) {
        return Err(Failure::OtherMesh { folder: folder.data().path().to_owned() });
    }
    let enrolled = enrolment::join(&token, before.as_ref())?;
    // What every agent would refuse is told here, by the same rules. Whoever has joined in time may do so again.
    let again = before.as_ref().is_some_and(|before| before.certificate.invitation == token.invitation);
    let way = if again { Shown::ByAMember } else { Shown::InPerson };
    let membership = Membership::new(MeshRoot::new(&Provider, token.root));
    let admitted = membership.look_at(&Provider, &enrolled.certificate, way, enrolment::unix_time());
    admitted.map_err(|why| MeshError::NoMember { path: folder.data().path().to_owned(), why })?;
    folder.enrol(&enrolled)?;
    let output = Output::new(common.json);
    let name_of = |enrolled: &Enrolled| enrolled.certificate.invitation.invitation.name.to_string();
    let joined = Joined {
        name: name_of(&enrolled),
        before: before.filter(|_| !again).map(|before| name_of(&before)),
        data: folder.data().path().to_owned(),
        peers: enrolled.peers.iter().map(ToString::to_string).collect(),
    };
    output.answer(&joined, |joined| {
        let peers = match joined.peers.len() {
            0 => "none: name some in `mesh.peers`, or be one with `mesh.listen`".to_owned(),
            number => format!("{} ({})", joined.peers.join(", "), count(number, "peer")),
        };
        let before = joined.before.as_ref().map(|before| format!(", no longer {} with its rights", shown(before)));
        let name = format!("{}{}", shown(&joined.name), before.unwrap_or_default());
        let facts = [("name", name), ("data", joined.data.display().to_string()), ("peers", peers)];
        let flag = common.data.as_deref().map_or_else(String::new, shell::data_flag);
        format!("{}\n{}\n  adit mesh run --config mesh.yaml{flag}", output.facts(&facts), output.bold("Next:"))
    })
}
