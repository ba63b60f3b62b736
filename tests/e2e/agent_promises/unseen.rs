//! Lines 20, 33 and 35, and the logins they are about: a password, the same by keyboard-interactive, and the passphrase of a key let
//! somebody in at a real server; afterwards they are nowhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use adit_e2e::{Agent, HttpService, Running, ServiceAddress, adit_as, eventually};
use serde_json::{Value, json};

use super::bastion::Bastion;
use super::{ask, me};
use crate::SOON;
use crate::agent_command::curl;
use crate::free_port::free_port;

const PASSWORD: &str = "velvet-tuba-30517";
/// Of the password, by crypt(5).
const HASH: &str = "$6$adit$XvyFj.gYFVFpvNCeNdLKaPhR8fUN7f4WtgZM.JiC8DVzin0KjQE5QWP8qhVXgpK4h2qsRd5A6cPKE86M/rCvq0";
const PASSPHRASE: &str = "marble-otter-88421";
const WRONG: &str = "copper-finch-19260";
const VAULT: &str = "linen-comet-57743";
const SECRETS: [&str; 4] = [PASSWORD, PASSPHRASE, WRONG, VAULT];

const PAM: &str = "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n";

/// Which of the secrets stand in these bytes.
fn found_in(bytes: &[u8]) -> Vec<&'static str> {
    let holds = |secret: &&str| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
    SECRETS.into_iter().filter(holds).collect()
}

#[track_caller]
fn assert_none_in(place: &str, bytes: &[u8]) {
    assert_eq!(found_in(bytes), [""; 0], "{place}");
}

fn assert_none_below(folder: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += assert_none_below(&path);
        } else if path.is_file() {
            files += 1;
            assert_none_in(&path.display().to_string(), &fs::read(&path).unwrap());
        }
    }
    files
}

/// Looks at every process of the machine, again and again, as whoever runs `ps` would.
struct Passerby {
    done: Arc<AtomicBool>,
    looking: JoinHandle<(BTreeSet<String>, usize)>,
}

impl Passerby {
    fn start() -> Passerby {
        let done = Arc::new(AtomicBool::new(false));
        let looking = thread::spawn({
            let done = done.clone();
            move || {
                let (mut seen, mut looks) = (BTreeSet::new(), 0);
                while !done.load(Ordering::Relaxed) {
                    for process in fs::read_dir("/proc").unwrap().flatten() {
                        for name in ["cmdline", "environ"] {
                            let text = fs::read(process.path().join(name)).unwrap_or_default();
                            looks += usize::from(!text.is_empty());
                            seen.extend(found_in(&text).into_iter().map(|secret| format!("{secret} in {name}")));
                        }
                    }
                    thread::yield_now();
                }
                (seen, looks)
            }
        });
        Passerby { done, looking }
    }

    /// What was seen.
    fn stop(self) -> BTreeSet<String> {
        self.done.store(true, Ordering::Relaxed);
        let (seen, looks) = self.looking.join().unwrap();
        assert!(looks > 100, "{looks}");
        seen
    }
}

/// Every answer that a GET has, the stream of events among them.
fn all_answers(agent: &Agent) -> Vec<(String, String)> {
    let token = agent.token();
    let document: Value = serde_json::from_str(&agent.curl(&token, &[], "/openapi.json").1).unwrap();
    let mut paths = vec!["/openapi.json".to_owned(), "/metrics".to_owned(), "/health".to_owned()];
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some((kind, rest)) = path.split_once("/{id}") else {
            paths.extend(methods.get("get").map(|_| path.clone()));
            continue;
        };
        if methods.get("get").is_some() {
            let (_, records) = ask(agent, "GET", kind, &Value::Null);
            let ids = records.as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap().to_owned());
            paths.extend(ids.map(|id| format!("{kind}/{id}{rest}")));
        }
    }
    assert!(paths.len() > 15, "{paths:?}");
    let answer = |path: String| {
        let body = agent.curl(&token, &["-N", "--max-time", "2"], &path).1;
        (path, body)
    };
    paths.into_iter().map(answer).collect()
}

/// A server that knows the account's password, and takes it in this way.
fn server(method: &str) -> Option<Bastion> {
    let shadow = format!("{}:{HASH}:19000:0:99999:7:::\n", me());
    let other =
        if method == "PasswordAuthentication" { "KbdInteractiveAuthentication" } else { "PasswordAuthentication" };
    let settings = format!("UsePAM yes\n{method} yes\n{other} no");
    Bastion::seeing(&[("/etc/shadow", &shadow), ("/etc/pam.d/sshd", PAM)], &settings)
}

#[test]
fn secrets_let_in_and_are_nowhere() {
    let by_password = server("PasswordAuthentication");
    let by_questions = server("KbdInteractiveAuthentication");
    let (Some(by_password), Some(by_questions)) = (by_password, by_questions) else { return };
    by_password.encrypt_key(PASSPHRASE);
    let service = HttpService::start("let in");
    let mut agent = Agent::start();
    agent.stop();
    // All that is ever logged.
    let config = agent.home().join("config.yaml");
    fs::write(&config, "agent:\n  log: trace\n  host_keys: accept-new\n").unwrap();
    let flags = ["--config", config.to_str().unwrap()];
    agent.start_as(&flags);
    let passerby = Passerby::start();
    let mut said = String::new();

    let user = me();
    let mut typed =
        Running::spawn_on_terminal(&mut agent.command("profile", ["add", "typed", "--user", &user, "--password"]));
    typed.await_stderr(SOON, "Password of ");
    typed.type_in(format!("{PASSWORD}\n").as_bytes());
    said += &format!("{:?}", typed.wait_exit(SOON));
    let questions = format!("profile add asked --user {user} --keyboard-interactive --password-file -");
    said += &format!("{:?}", agent.adit_with_input(&questions, PASSWORD));
    let key = json!({
        "name": "key", "username": user, "auth_method": "key", "key_path": by_password.key(), "passphrase": PASSPHRASE,
    });
    let (status, answer) = ask(&agent, "POST", "/profiles", &key);
    assert_eq!((status, &answer["has_passphrase"]), (201, &json!(true)), "{answer}");
    said += &answer.to_string();
    let wrong = json!({"name": "wrong", "username": user, "auth_method": "password", "password": WRONG});
    said += &ask(&agent, "POST", "/profiles", &wrong).1.to_string();

    for (profile, bastion) in
        [("typed", &by_password), ("asked", &by_questions), ("key", &by_password), ("wrong", &by_password)]
    {
        let port = free_port();
        let via = format!("--via {}:{} --profile {profile} --no-reconnect", bastion.ip(), bastion.port());
        agent.ok(&format!("tunnel add {profile} {via} -L {port}:127.0.0.1:{} --auto-start", service.port()));
        let told = agent.adit(&format!("tunnel start {profile}"));
        said += &format!("{told:?}");
        if profile == "wrong" {
            assert!(told.code() == 5 && told.stderr.contains("“wrong”"), "{told:?}");
        } else {
            assert_eq!(curl(&[&format!("http://127.0.0.1:{port}/")]).stdout, "let in", "{told:?}");
        }
    }
    assert!(by_password.log().contains("Accepted password for"), "{}", by_password.log());
    assert!(by_password.log().contains("Accepted publickey for"), "{}", by_password.log());
    assert!(by_questions.log().contains("Accepted keyboard-interactive/pam for"), "{}", by_questions.log());

    assert_eq!(agent.adit_with_input("secrets passphrase --passphrase-file -", VAULT).code(), 0);
    for (path, answer) in all_answers(&agent) {
        assert!(!answer.is_empty(), "{path}");
        assert_none_in(&path, answer.as_bytes());
    }
    assert_none_in("the log", agent.log().as_bytes());
    assert!(agent.log().contains("TRACE") || agent.log().contains("DEBUG"), "{}", agent.log());
    agent.kill();
    agent.start_as(&flags);
    said += &format!("{:?}", agent.adit("tunnel start typed"));
    let (status, refused) = ask(&agent, "POST", "/secrets/unlock", &json!({"passphrase": WRONG}));
    assert_eq!((status, &refused["code"]), (403, &json!("VAULT_LOCKED")));
    said += &refused.to_string();
    assert_eq!(ask(&agent, "POST", "/secrets/unlock", &json!({"passphrase": VAULT})).0, 204);
    eventually(SOON, "what starts with the agent is up", || {
        ["typed", "asked", "key"].iter().all(|tunnel| agent.status(tunnel) == "connected")
    });

    for line in ["profile list", "profile show typed", "profile show key --json", "tunnel list", "tunnel logs"] {
        said += &agent.ok(line);
    }
    for (path, answer) in all_answers(&agent) {
        assert_none_in(&path, answer.as_bytes());
    }
    assert_none_in("what the commands said", said.as_bytes());
    assert_none_in("the log", agent.log().as_bytes());
    assert_eq!(passerby.stop(), BTreeSet::new(), "what others see");
    assert!(assert_none_below(agent.home()) >= 4);
    agent.kill();
    assert_none_below(agent.home());
}

/// Nothing is kept for it: a person answers, where the server asks and where they want to say a password.
#[test]
fn a_person_answers_what_the_server_asks() {
    let (Some(by_password), Some(by_questions)) =
        (server("PasswordAuthentication"), server("KbdInteractiveAuthentication"))
    else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    for (bastion, flag, accepted) in [
        (&by_questions, None, "Accepted keyboard-interactive/pam for"),
        (&by_questions, Some("--password"), "Accepted keyboard-interactive/pam for"),
        (&by_password, Some("--password"), "Accepted password for"),
    ] {
        let (port, before) = (free_port(), bastion.log().matches(accepted).count());
        let mut command = adit_as("forward");
        command.env("HOME", home.path()).env_remove("SSH_AUTH_SOCK").arg("--data").arg(home.path().join("data"));
        command.args(["--via", &format!("{}@{}:{}", me(), bastion.ip(), bastion.port()), "-D", &port.to_string()]);
        let mut forward = Running::spawn_on_terminal(command.args(["--host-keys", "accept-new"]).args(flag));
        forward.await_stderr(SOON, "Password");
        forward.type_in(format!("{PASSWORD}\n").as_bytes());
        forward.await_stdout(SOON, &format!("127.0.0.1:{port} SOCKS5"));
        assert_eq!(bastion.log().matches(accepted).count(), before + 1, "{}", bastion.log());
        assert_none_in("what is on the screen", format!("{}{}", forward.stdout(), forward.stderr()).as_bytes());
    }
    assert_none_below(home.path());
}
