//! Who belongs to a mesh and who does not (`spec/mesh.md`, lines 9 and 10), and what each command says to input that it
//! cannot use.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use adit_e2e::{
    EchoService, Finished, HttpService, Mesh, MeshAgent, ServiceAddress, asks_and_hears, eventually, finish, http_get,
    long_runs_wanted, remains,
};
use serde_json::Value;

use crate::SOON;

/// Line 10.
const CUT: Duration = Duration::from_secs(10);

/// What an agent says about the agents that it should have a link with and has not.
fn complaints(agent: &MeshAgent) -> String {
    agent.dashboard()["peers"].as_array().unwrap().iter().map(|peer| peer["error"].to_string()).collect()
}

/// A revoked agent loses its links, its connections and its place everywhere within 10 s, and does not come back, also
/// when everybody has been started again.
#[test]
fn a_revoked_agent_is_cut_everywhere_and_stays_out() {
    let mesh = Mesh::new();
    let echo = EchoService::start();
    let mut exit = mesh.agent("exit").publishes_port("e", echo.port()).start();
    let mut transit = mesh.agent("transit").dials(&exit).start();
    let mut branch = mesh.agent("branch").dials(&transit).dials(&exit).listens("e", mesh.at(8080)).start();
    let other = mesh.agent("other").dials(&transit).listens("e", mesh.at(8081)).start();
    other.await_routes("e", 2);
    let [mut of_branch, mut of_other] = [8080, 8081].map(|port| TcpStream::connect(mesh.at(port)).unwrap());
    for stream in [&mut of_branch, &mut of_other] {
        stream.set_read_timeout(Some(CUT)).unwrap();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
    }

    let revoked = exit.json(&["revoke", "branch"]);
    assert_eq!(revoked["passed_on"], true);
    assert_eq!(of_branch.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset, "its client is cut");
    let gone = eventually(CUT, "the revoked agent is gone everywhere", || {
        [&exit, &transit, &other].iter().all(|agent| {
            let board = agent.dashboard();
            let text = board["peers"].to_string() + &board["routes"].to_string() + &board["forward_routes"].to_string();
            !text.contains("branch")
        })
    });
    eprintln!("a revoked agent was gone everywhere after {gone:?}");
    eventually(CUT, "it reaches nobody itself", || !branch.reaches("transit") && !branch.reaches("exit"));
    assert!(!asks_and_hears(mesh.at(8080), "hello", SOON));
    of_other.write_all(b"y").unwrap();
    of_other.read_exact(&mut [0; 1]).expect("who was not revoked goes on");

    // The members remember it on their own disks, and the revoked one has learnt it too or is refused again.
    for agent in [&mut exit, &mut transit] {
        agent.stop();
        agent.start_again();
    }
    branch.stop();
    branch.launch();
    let stays_out = || !exit.reaches("branch") && !transit.reaches("branch");
    other.await_routes("e", 1);
    remains(Duration::from_secs(3), "a revoked agent stays out", stays_out);
    // Or it has learnt it itself, and does not start.
    eventually(SOON, "and is told why", || branch.running().stderr().contains("the certificate has been revoked"));
    let listed = mesh.adit(&["members", "--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let row = listed.as_array().unwrap().iter().find(|row| row["name"] == "branch").unwrap();
    assert_eq!(row["revoked"], true);
}

/// Clocks of agents may differ by so much, so a membership lasts so much longer than its time.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// A membership ends with its time: links and connections of a running agent too, and it does not start again.
#[test]
fn a_membership_ends_with_its_time() {
    if !long_runs_wanted() {
        eprintln!("skipped: clocks may differ by {CLOCK_SKEW:?}, and ADIT_E2E_LONG is not set");
        return;
    }
    let mesh = Mesh::new();
    let echo = EchoService::start();
    let exit = mesh.agent("exit").publishes_port("e", echo.port()).start();
    let guest = mesh.agent_with("guest", &["--listen", "e", "--lasts", "1s"]).dials(&exit);
    let mut guest = guest.listens("e", mesh.at(8080)).start();
    guest.await_routes("e", 1);
    let mut client = TcpStream::connect(mesh.at(8080)).unwrap();
    client.set_read_timeout(Some(CLOCK_SKEW + CUT)).unwrap();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0; 1]).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    eventually(CUT, "the guest is gone", || !exit.reaches("guest") && !exit.is_linked_to("guest"));
    // Each looks at its own clock, now and then.
    let expelled = || guest.dashboard()["agent"]["expelled"].as_str().is_some_and(|why| why.contains("expired"));
    eventually(CUT, "the guest knows it too", expelled);
    guest.stop();
    let refused = finish(guest.run_command().arg("--json"), SOON);
    assert_eq!((refused.code(), code(&refused).as_str()), (1, "no-member"), "{refused:?}");
}

/// A member of another mesh is refused, and both sides say why.
#[test]
fn a_stranger_of_another_mesh_is_refused() {
    let (ours, theirs) = (Mesh::new(), Mesh::new());
    let host = ours.agent("host").start();
    let stranger = theirs.agent("stranger").dials(&host).start();
    eventually(SOON, "the stranger reads why", || complaints(&stranger).contains("another mesh"));
    host.running().await_stderr(SOON, "it belongs to another mesh");
    assert!(host.stat("links_refused") > 0);
    assert!(!host.reaches("stranger") && !stranger.reaches("host"));
}

/// The first agent that comes with a token is the member; a second one is refused, and the first is not disturbed.
#[test]
fn a_token_is_good_for_one_agent() {
    let mesh = Mesh::new();
    let host = mesh.agent("host").start();
    let token = mesh.invite("branch", &["--listen", "*", "--peer", host.listen_address()]);
    let first = mesh.joined("first", &token).start();
    eventually(SOON, "the first is linked", || host.is_linked_to("branch"));
    let second = mesh.joined("second", &token).start();
    let told = || complaints(&second).contains("another agent has used this invitation before");
    eventually(SOON, "the second reads that it is refused", told);
    host.running().await_stderr(SOON, "another agent has used this invitation before");
    // It asks again now and then, not all the time.
    let asked = host.stat("links_refused");
    remains(Duration::from_secs(3), "a refused agent does not knock all the time", || {
        host.stat("links_refused") <= asked + 1 && told()
    });
    assert!(first.reaches("host") && !second.reaches("host"));
    let shown = host.dashboard()["routes"].to_string();
    assert!(shown.contains(first.id()) && !shown.contains(second.id()), "{shown}");
}

/// A key that the invitation does not give cannot be configured; one that it gives can.
#[test]
fn an_agent_has_the_rights_of_its_invitation() {
    let mesh = Mesh::new();
    let page = HttpService::start("page");
    let exit =
        mesh.agent_with("exit", &["--publish", "web-*", "--transit"]).publishes_port("web-1", page.port()).start();
    let narrow = || mesh.agent_with("narrow", &["--listen", "web-1"]);
    let ingress = narrow().dials(&exit).listens("web-1", mesh.at(8080)).start();
    ingress.await_routes("web-1", 1);
    assert_eq!(http_get(mesh.at(8080), "web", "/", SOON).unwrap().body, "page");
    for (name, forward, told) in [
        ("publisher", "endpoints: [{ key: web-1, target: \"localhost:80\" }]", "no right to publish the key “web-1”"),
        ("listener", "listeners: [{ key: web-2, address: \":0\" }]", "no right to listen on the key “web-2”"),
    ] {
        let agent = mesh.agent_with(name, &["--listen", "web-1"]).forwards(&format!("forward:\n  {forward}\n"));
        let refused = finish(agent.run_command().arg("--json"), SOON);
        assert_eq!((refused.code(), code(&refused).as_str()), (78, "no-right"), "{refused:?}");
        assert!(refused.stderr.contains(told), "{refused:?}");
    }
}

/// The stable name of what went wrong, which with `--json` is the last line on standard error and its only one beside
/// the log.
fn code(finished: &Finished) -> String {
    let line = finished.stderr.lines().last().unwrap_or_default();
    let told: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    assert!(told["error"].as_str().is_some_and(|sentence| !sentence.is_empty()), "{finished:?}");
    told["code"].as_str().unwrap().to_owned()
}

/// Every command says what is wrong with what it is given, to people and to programs, and its exit code tells the kind.
#[test]
fn wrong_input_gets_a_clear_answer() {
    let mesh = Mesh::new();
    let agent = mesh.agent("a");
    let token = mesh.invite("b", &["--listen", "*"]);
    let other = Mesh::new();
    let other_token = other.invite("a", &["--listen", "*"]);
    let spoiled = &token[..token.len() - 1];
    let nowhere = mesh.folder().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let list = mesh.folder().join("list.txt");
    fs::write(&list, "0011").unwrap();
    let list = list.to_str().unwrap();
    let everything: &[(&[&str], i32, &str, &str)] = &[
        (&["init"], 1, "root-exists", "is the root of a mesh already"),
        (&["invite", "c"], 2, "no-right", "give --publish, --listen or --transit"),
        (&["invite", "a", "--transit"], 2, "", "a"),
        (&["invite", "c", "--transit", "--root", nowhere], 1, "", "adit mesh init"),
        (&["members", "--root", nowhere], 1, "", "adit mesh init"),
        (&["revoke", "nobody"], 2, "", "nobody"),
        (&["revoke", "--list", nowhere], 1, "", "nowhere"),
        (&["revoke", "--list", list], 8, "no-agent", "no mesh agent runs"),
        (&["join", "adit-mesh-nonsense"], 2, "", "token"),
        (&["join", spoiled], 2, "", "token"),
        (&["join", &other_token], 2, "", "another mesh"),
        (&["status"], 8, "no-agent", "no mesh agent runs"),
        (&["peers"], 8, "no-agent", "no mesh agent runs"),
        (&["routes"], 8, "no-agent", "no mesh agent runs"),
        (&["probe", "key"], 8, "no-agent", "no mesh agent runs"),
        (&["reload"], 8, "no-agent", "no mesh agent runs"),
        (&["run", "--config", nowhere], 78, "bad-config-file", "nowhere"),
    ];
    for (words, exit, name, told) in everything {
        let ask = |more: &[&str]| agent.adit(&[words, more].concat());
        let said = ask(&[]);
        assert!(said.code() == *exit && said.stderr.contains(told) && said.stdout.is_empty(), "{words:?}: {said:?}");
        assert!(!said.stderr.contains(&token[..token.len() - 1]), "no secret in an error: {said:?}");
        let said = ask(&["--json"]);
        assert_eq!(said.code(), *exit, "{words:?}: {said:?}");
        let told = code(&said);
        assert!(told == *name || name.is_empty() && !told.is_empty(), "{words:?}: {said:?}");
    }
    // What cannot be read as an argument at all is usage.
    for words in [
        &["invite", "", "--transit"][..],
        &["invite", "c", "--transit", "--lasts", "0s"],
        &["invite", "c", "--transit", "--within", "soon"],
        &["invite", "c", "--transit", "--peer", "nowhere"],
        &["probe"],
        &["revoke"],
        &["no-such-command"],
    ] {
        let said = agent.adit(words);
        assert!(said.code() == 2 && !said.stderr.is_empty(), "{words:?}: {said:?}");
    }
}

/// A file that cannot be used ends the start with 78, and says which value is wrong.
#[test]
fn a_wrong_file_is_named_with_the_place_that_is_wrong() {
    let mesh = Mesh::new();
    let agent = mesh.agent("a");
    let path = mesh.folder().join("wrong.yaml");
    let config = path.to_str().unwrap();
    let run = |text: &str, json: &[&str]| {
        fs::write(Path::new(config), text).unwrap();
        agent.adit(&[&["run", "--config", config], json].concat())
    };
    for (text, told) in [
        ("mesh:\n  listen: here\n", "`mesh.listen` is “here”"),
        ("mesh:\n  http: here\n", "`mesh.http` is “here”"),
        ("mesh:\n  peers: [here]\n", "`mesh.peers[0]` is “here”"),
        ("mesh:\n  prot: 4433\n", "prot"),
        ("forward:\n  endpoints: [{ key: k, target: here }]\n", "`forward.endpoints[0].target` is “here”"),
        ("forward:\n  endpoints: [{ key: \"\", target: \"h:1\" }]\n", "`forward.endpoints[0].key`"),
        ("forward:\n  listeners: [{ key: k, address: \"8080\" }]\n", "`forward.listeners[0].address` is “8080”"),
        ("forward:\n  listeners: [{ key: k, address: \":70000\" }]\n", "`forward.listeners[0].address` is “:70000”"),
        ("forward:\n  listeners: [{ key: k, address: \":1\", max_connections: -1 }]\n", "line 2"),
        (
            "forward:\n  listeners:\n    - { key: a, address: \":1\" }\n    - { key: b, address: \":1\" }\n",
            "another listener",
        ),
        ("forward: [\n", "wrong.yaml"),
    ] {
        let said = run(text, &[]);
        assert!(
            said.code() == 78 && said.stderr.contains(told) && said.stderr.contains("wrong.yaml"),
            "{text}: {said:?}"
        );
        let said = run(text, &["--json"]);
        assert_eq!(said.code(), 78, "{text}: {said:?}");
        assert!(["bad-setting", "bad-config-file"].contains(&code(&said).as_str()), "{text}: {said:?}");
    }
    let stranger = finish(agent.command(&["run", "--json"]).env("ADIT_MESH_DATA", mesh.folder().join("new")), SOON);
    assert_eq!(stranger.code(), 1, "who has not joined is told to: {stranger:?}");
    assert!(stranger.stderr.contains("adit mesh join"), "{stranger:?}");
}
