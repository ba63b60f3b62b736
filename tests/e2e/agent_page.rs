//! What a person does beside the page: opens it, and judges a host key that has changed (`spec/agent.md`, lines 32 and 34).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use adit_e2e::{Agent, Finished, HttpService, Running, ServiceAddress, Sshd, eventually, finish};
use serde_json::{Value, json};

use crate::SOON;
use crate::agent_command::{add_profile, curl, refused};
use crate::free_port::free_port;

/// `adit open` where there is no desktop, whatever the tests run on.
fn open(agent: &Agent, words: &[&str]) -> Command {
    let mut command = agent.command("open", words);
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    command
}

/// The code in the address of the page.
#[track_caller]
fn code_in<'a>(agent: &Agent, address: &'a str) -> &'a str {
    assert!(!address.contains(&agent.token()), "the token is in no address");
    // What no cache of a browser has, then what reaches no server.
    let rest = address.strip_prefix(&format!("{}/?", agent.url())).unwrap_or_else(|| panic!("{address}"));
    let (fresh, code) = rest.split_once("#/enter?code=").unwrap_or_else(|| panic!("{address}"));
    assert!(!fresh.is_empty() && fresh.bytes().all(|byte| byte.is_ascii_digit()), "{address}");
    code
}

/// As the page does with the code in its address: the status and the answer.
fn enter(agent: &Agent, code: &str) -> (u16, Value) {
    enter_by(&mut Command::new("curl"), agent, code)
}

fn enter_by(curl: &mut Command, agent: &Agent, code: &str) -> (u16, Value) {
    curl.args([
        "-s",
        "--noproxy",
        "",
        "--max-time",
        "10",
        "-w",
        "\n%{http_code}",
        "-H",
        "Content-Type: application/json",
    ]);
    curl.arg("-d").arg(json!({"code": code}).to_string()).arg(format!("{}/page/enter", agent.url()));
    let told = finish(curl, 2 * SOON);
    let (answer, status) = told.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("{told:?}"));
    (status.parse().unwrap(), serde_json::from_str(answer).unwrap())
}

/// The arguments of whoever opens an address can be read by every user of the machine.
#[test]
fn a_code_that_another_user_has_seen_lets_them_nowhere() {
    let agent = Agent::start();
    let printed = finish(&mut open(&agent, &["--print"]), SOON).stdout;
    let code = code_in(&agent, printed.trim_end());
    let nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "curl"]);
        command
    };
    for _ in 0..3 {
        let (status, answer) = enter_by(&mut nobody(), &agent, code);
        assert_eq!((status, &answer["code"]), (403, &json!("FORBIDDEN")), "{answer}");
    }
    let (status, answer) = enter_by(&mut nobody(), &agent, &"0".repeat(64));
    assert_eq!((status, &answer["code"]), (401, &json!("BAD_CODE")), "a guess is told nothing else");
    assert_eq!(enter(&agent, code).0, 200, "its owner still comes in with it");
}

#[test]
fn a_code_lets_one_browser_in() {
    let agent = Agent::start();
    let page = format!("{}/\n", agent.url());
    eventually(SOON, "its start tells where the page is, and how to come in", || {
        agent.log().contains(&page) && agent.log().contains("\n  adit open --data ")
    });
    let page = curl(&["-o", "/dev/null", "-w", "%{http_code}", &format!("{}/", agent.url())]).stdout;
    assert!(page == "200" || page == "503", "without a token: {page}");

    let printed = finish(&mut open(&agent, &["--print"]), SOON);
    assert_eq!((printed.code(), printed.stderr.as_str()), (0, ""), "{printed:?}");
    let code = code_in(&agent, printed.stdout.trim_end());
    assert_eq!(enter(&agent, code), (200, json!({"token": agent.token()})));
    let (status, answer) = enter(&agent, code);
    assert_eq!((status, &answer["code"]), (401, &json!("BAD_CODE")), "once");
    assert!(answer["error"].as_str().unwrap().contains("`adit open`"), "{answer}");

    let told = finish(&mut open(&agent, &["--json"]), SOON);
    let answer: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    assert_eq!(enter(&agent, code_in(&agent, answer["url"].as_str().unwrap())).0, 200);
}

/// A browser of the desktop, whose only trace is what it was given.
fn open_on_desktop(agent: &Agent, opener: &str) -> Finished {
    let folder = agent.home().join("bin");
    fs::create_dir_all(&folder).unwrap();
    let program = folder.join("xdg-open");
    fs::write(&program, format!("#!/bin/sh\n{opener}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    finish(open(agent, &[]).env("DISPLAY", ":99").env("PATH", path), SOON)
}

#[test]
fn the_desktop_opens_the_page_where_there_is_one() {
    let agent = Agent::start();
    let opened = agent.home().join("opened");
    let told = open_on_desktop(&agent, &format!("printf '%s\\n' \"$#\" \"$@\" > {}", opened.display()));
    assert_eq!((told.code(), told.stdout.as_str()), (0, "The page opens in your browser.\n"), "{told:?}");
    let given = fs::read_to_string(&opened).unwrap();
    let address = given.strip_prefix("1\n").unwrap_or_else(|| panic!("{given}")).trim_end();
    assert_eq!(enter(&agent, code_in(&agent, address)).0, 200);

    let nowhere = finish(&mut open(&agent, &[]), SOON);
    let broken = open_on_desktop(&agent, "exit 3");
    for (told, why) in [(nowhere, "there is no desktop here"), (broken, "xdg-open could not open a browser")] {
        assert_eq!((told.code(), told.stderr.contains(why)), (0, true), "{told:?}");
        assert_eq!(enter(&agent, code_in(&agent, told.stdout.trim_end())).0, 200);
    }
}

#[test]
fn without_an_agent_nothing_opens() {
    let mut agent = Agent::start();
    agent.stop();
    let told = finish(&mut open(&agent, &["--json"]), SOON);
    assert!(refused(&told, 8, "no-agent").contains("`adit agent`"));
}

/// Line 32: it stays refused until somebody has compared both keys and says so.
#[test]
fn a_changed_host_key_is_replaced_by_who_has_compared_it() {
    let Some(mut sshd) = Sshd::start() else { return };
    let (agent, service) = (Agent::start(), HttpService::start("set up anew"));
    add_profile(&agent, &sshd);
    let port = free_port();
    let way = format!("--via 127.0.0.1:{} --profile me -L {port}:127.0.0.1:{}", sshd.port(), service.port());
    agent.ok(&format!("tunnel add web {way}"));
    let (old, host) = (sshd.fingerprint(), format!("[127.0.0.1]:{}", sshd.port()));
    agent.ok(&format!("tunnel start web --accept-host-key {old}"));
    agent.ok("tunnel stop web");
    sshd.change_host_key();
    let new = sshd.fingerprint();

    assert_eq!(agent.adit("tunnel start web").code(), 6);
    let file = agent.data().join("known_hosts");
    // Each time it is shown is a time of its own.
    let list = || {
        let mut listed = agent.json("host list");
        for host in listed.as_array_mut().unwrap() {
            assert!(host.as_object_mut().unwrap().remove("shown_at").is_some_and(|at| at.is_i64()));
        }
        listed
    };
    let listed = list();
    let known = json!([{"key_type": "ssh-ed25519", "fingerprint": old, "file": file, "line": 1}]);
    let wanted = json!([{
        "host": host, "key_type": "ssh-ed25519", "fingerprint": new, "known": known, "may_replace": true,
    }]);
    assert_eq!(listed, wanted);
    let table = agent.ok("host list");
    assert!(table.contains(&format!("CHANGED, it was ssh-ed25519 {old}")), "{table}");

    let told =
        refused(&agent.adit(&format!("host trust {host} --accept-host-key {new} --json")), 6, "changed-host-key");
    assert!(told.contains(&old) && told.contains(&format!("--replace --accept-host-key {new}")), "{told}");
    refused(&agent.adit(&format!("host trust {host} --replace --json")), 6, "changed-host-key");
    let other = agent.adit(&format!("host trust {host} --replace --accept-host-key {old} --json"));
    refused(&other, 6, "other-host-key");
    agent.ok(&format!("host reject {host}"));
    assert_eq!(agent.json("host list"), json!([]));
    refused(&agent.adit(&format!("host reject {host} --json")), 1, "not-found");
    assert_eq!(agent.adit("tunnel start web").code(), 6, "it is as refused as before");
    assert!(!sshd.log().contains("Accepted"), "nothing was sent: {}", sshd.log());

    let judge = || {
        let asked = Running::spawn_on_terminal(&mut agent.command("host", ["trust", &host, "--replace"]));
        asked.await_stderr(SOON, "Is the new one its host key? (yes/no) ");
        assert!(asked.stderr().contains(&old) && asked.stderr().contains(&new), "{}", asked.stderr());
        asked
    };
    let mut asked = judge();
    asked.type_in(b"no\n");
    assert_eq!(asked.wait_exit(SOON).code(), 6);
    assert_eq!(list(), wanted);
    let mut asked = judge();
    asked.type_in(b"yes\n");
    assert_eq!(asked.wait_exit(SOON).code(), 0);
    assert_eq!(agent.json("host list"), json!([]));
    agent.ok("tunnel start web");
    eventually(SOON, "the tunnel serves", || curl(&[&format!("http://127.0.0.1:{port}/")]).stdout == "set up anew");
    let kept = fs::read_to_string(&file).unwrap();
    assert_eq!(kept.lines().filter(|line| line.starts_with(&host)).count(), 1, "the old one is forgotten: {kept}");
}
