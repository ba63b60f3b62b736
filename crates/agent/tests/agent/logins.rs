//! Ways to log in, and what is told when there is none.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use adit_agent::credentials::Method;
use adit_agent::dial::{Desk, Hop, Nobody, Stage};
use adit_core::{LoginFailure, Obstacle};

use crate::desk::{Secrets, empty, open, try_open};
use crate::services::{eventually, make_pipe};
use crate::sshd::{Setup, Sshd, make_key};

fn with(sshd: &Sshd, methods: Vec<Method>) -> Hop {
    Hop { credentials: sshd.credentials(methods), ..sshd.hop() }
}

fn key_file(path: PathBuf) -> Method {
    Method::KeyFile { path: Some(path) }
}

async fn refusal(hop: &Hop, desk: &Desk) -> (Stage, String) {
    let refused = try_open(hop, desk).await.unwrap_err();
    assert!(matches!(LoginFailure::from(&refused), LoginFailure::Lasting(Obstacle::Credentials, _)), "{refused}");
    (refused.stage, refused.to_string())
}

#[tokio::test]
async fn an_encrypted_key_wants_its_passphrase() {
    let sshd = Sshd::start().await;
    sshd.authorize(&make_key(&sshd.path(""), "encrypted", "ed25519", "open sesame"));
    let hop = with(&sshd, vec![key_file(sshd.path("encrypted"))]);
    let desk = |passphrase| Desk { secrets: Arc::new(Secrets { passphrase }), person: Arc::new(Nobody) };
    assert!(try_open(&hop, &desk(Some("open sesame"))).await.is_ok());
    let (stage, told) = refusal(&hop, &desk(None)).await;
    assert!(stage == Stage::Credentials && told.contains("No passphrase found"), "{told}");
    let (stage, told) = refusal(&hop, &desk(Some("open barley"))).await;
    assert!(stage == Stage::Credentials && !told.contains("barley"), "{told}");
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test]
async fn what_a_profile_lacks_is_told_by_its_name_before_the_server_is_called() {
    let sshd = Sshd::start().await;
    let before = sshd.log();
    let (stage, told) = refusal(&with(&sshd, vec![Method::Password]), &empty()).await;
    assert!(stage == Stage::Credentials && told.contains("No password found") && told.contains("“core”"), "{told}");
    let (_, told) = refusal(&with(&sshd, vec![Method::KeyFile { path: None }]), &empty()).await;
    assert!(told.contains("No SSH key path found") && told.contains("“core”"), "{told}");
    let (_, told) = refusal(&with(&sshd, vec![key_file(sshd.path("no such key"))]), &empty()).await;
    assert!(told.contains("no such key") && told.contains("“core”"), "{told}");
    let (_, told) = refusal(&with(&sshd, vec![key_file(sshd.path("sshd_config"))]), &empty()).await;
    assert!(told.contains("not a private key"), "{told}");
    let (_, told) = refusal(&with(&sshd, Vec::new()), &empty()).await;
    assert!(told.contains("no way to log in"), "{told}");
    assert_eq!(sshd.log(), before);
    // Beside something that works, it does not matter.
    open(&with(&sshd, vec![Method::Password, key_file(sshd.path("login"))])).await;
}

#[tokio::test]
async fn a_key_the_server_does_not_know_is_named_in_the_refusal() {
    let sshd = Sshd::start().await;
    make_key(&sshd.path(""), "stranger", "ecdsa", "");
    let (stage, told) = refusal(&with(&sshd, vec![key_file(sshd.path("stranger"))]), &empty()).await;
    assert_eq!(stage, Stage::Login);
    assert!(told.contains("SHA256:") && told.contains("it takes publickey") && told.contains(sshd.user()), "{told}");
    // The next one is tried.
    open(&with(&sshd, vec![key_file(sshd.path("stranger")), key_file(sshd.path("login"))])).await;
}

#[tokio::test]
async fn what_is_no_key_file_is_told_at_once() {
    let sshd = Sshd::start().await;
    let (pipe, long) = (sshd.path("pipe"), sshd.path("long"));
    make_pipe(&pipe);
    fs::write(&long, vec![b'a'; 100_000]).unwrap();
    for (path, why) in [(pipe, "it is not a file"), (sshd.path(""), "it is not a file"), (long, "it is too large")] {
        let (stage, told) = refusal(&with(&sshd, vec![key_file(path.clone())]), &empty()).await;
        assert!(stage == Stage::Credentials && told.contains(why), "{told}");
        assert!(told.contains(&*path.to_string_lossy()) && told.contains("“core”"), "{told}");
    }
}

/// A real ssh-agent; gone when dropped.
struct Agent {
    process: Child,
    socket: PathBuf,
}

impl Agent {
    async fn start(sshd: &Sshd) -> Agent {
        let socket = sshd.path("agent");
        let process = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        eventually("the agent listens", || socket.exists()).await;
        Agent { process, socket }
    }

    fn add(&self, sshd: &Sshd, key: &str) {
        let added = Command::new("ssh-add").arg(sshd.path(key)).env("SSH_AUTH_SOCK", &self.socket).output().unwrap();
        assert!(added.status.success(), "{added:?}");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Otherwise a tunnel that reconnects would lock the account out.
#[tokio::test]
async fn a_server_that_has_enough_of_wrong_keys_is_not_called_again() {
    let sshd = Sshd::start_with(Setup { config: "MaxAuthTries 3", ..Setup::default() }).await;
    let agent = Agent::start(&sshd).await;
    for name in ["one", "two", "three", "four", "five"] {
        make_key(&sshd.path(""), name, "ed25519", "");
        agent.add(&sshd, name);
    }
    let with_agent = with(&sshd, vec![Method::SshAgent { socket: Some(agent.socket.clone()), only: None }]);
    let (stage, told) = refusal(&with_agent, &empty()).await;
    assert!(stage == Stage::Login && told.contains("Too many authentication failures"), "{told}");
    assert!(told.contains("SHA256:") && told.contains("“core”"), "{told}");
}

#[tokio::test]
async fn an_ssh_agent_signs_with_the_key_the_server_takes() {
    let sshd = Sshd::start().await;
    let agent = Agent::start(&sshd).await;
    let with_agent = |only| with(&sshd, vec![Method::SshAgent { socket: Some(agent.socket.clone()), only }]);
    let (stage, told) = refusal(&with_agent(None), &empty()).await;
    assert!(stage == Stage::Login && told.contains("holds no such key"), "{told}");
    for (name, key_type) in [("first", "ed25519"), ("second", "ecdsa")] {
        make_key(&sshd.path(""), name, key_type, "");
        agent.add(&sshd, name);
    }
    sshd.authorize(&make_key(&sshd.path(""), "third", "rsa", ""));
    agent.add(&sshd, "third");
    open(&with_agent(None)).await;
    assert!(sshd.log().contains("RSA"), "signed by the third key");
    let stranger = fs::read_to_string(sshd.path("first.pub")).unwrap();
    let only = adit_ssh::crypto::PublicKey::from_text(&stranger).unwrap().0.fingerprint();
    let (_, told) = refusal(&with_agent(Some(only)), &empty()).await;
    assert_eq!(told.matches("SHA256:").count(), 1, "{told}");
    drop(agent);
    let (_, told) =
        refusal(&with(&sshd, vec![Method::SshAgent { socket: Some(sshd.path("agent")), only: None }]), &empty()).await;
    assert!(told.contains("does not answer"), "{told}");
}
