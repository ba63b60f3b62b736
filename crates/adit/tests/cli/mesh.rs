//! `adit mesh` from outside: its root, who joins, and an agent that is asked. What agents do together is told end to end.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use adit_core::mesh::{Invitation, Rights, SignedInvitation};
use adit_mesh::MeshFolder;
use adit_mesh::enrolment::{self, RootFolder, Token};
use adit_mesh::keys::SigningKey;
use serde_json::{Value, json};

use crate::{Answer, Folder, read_json};

const DAY: u64 = 24 * 3600;

/// Somebody's home, with the root of a mesh and an agent where they usually are.
struct Home(Folder);

impl Home {
    fn new() -> Self {
        Self(Folder::new())
    }

    fn with_root() -> Self {
        let home = Self::new();
        home.does(&["init"]);
        home
    }

    /// With an agent that has joined.
    fn with_member() -> Self {
        let home = Self::with_root();
        home.does(&["join", &home.invite("hq", &[])]);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn root(&self) -> PathBuf {
        self.path(".local/state/adit/mesh-root")
    }

    fn agent(&self) -> PathBuf {
        self.path(".local/state/adit/mesh")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
        command.arg("mesh").args(words).env_clear().env("HOME", self.path("")).current_dir(self.path(""));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Answer {
        Answer::of(&self.command(words).output().unwrap())
    }

    /// What it says when it does what it is told.
    #[track_caller]
    fn does(&self, words: &[&str]) -> String {
        let said = self.run(words);
        assert_eq!((said.exit, &*said.stderr), (0, ""), "{words:?}");
        said.stdout
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.does(&[words, &["--json"]].concat())).unwrap()
    }

    /// A token for somebody who may do everything, and more.
    #[track_caller]
    fn invite(&self, name: &str, more: &[&str]) -> String {
        let every = ["invite", name, "--publish", "*", "--listen", "*", "--transit"];
        self.does(&[&every, more].concat()).trim_end().to_owned()
    }

    /// People and programs both hear that it is not done: with this exit code, this name of the trouble and all of `told`.
    #[track_caller]
    fn refuses(&self, words: &[&str], exit: i32, code: &str, told: &[&str]) {
        is_refused(|more| self.command(&[words, more].concat()), exit, code, told);
    }
}

/// The same of any command, to which `--json` can be added.
#[track_caller]
fn is_refused(command: impl Fn(&[&str]) -> Command, exit: i32, code: &str, told: &[&str]) {
    let text = Answer::of(&command(&[]).output().unwrap());
    assert_eq!((text.exit, &*text.stdout), (exit, ""), "{}", text.stderr);
    let json = Answer::of(&command(&["--json"]).output().unwrap());
    json.refused(exit, &[]);
    let error: Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(error["code"], code, "{error}");
    for part in told {
        let sentence = error["error"].as_str().unwrap();
        assert!(
            text.stderr.contains(part) && sentence.contains(part),
            "{part:?} is missing in {}{sentence}",
            text.stderr
        );
    }
    // What is no command at all is repeated by the parser, as it was typed.
    assert!(code == "usage" || !text.stderr.contains('\u{1b}'), "it acts on the terminal: {:?}", text.stderr);
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_root_is_made_once() {
    let home = Home::new();
    let said = home.does(&["init"]);
    assert!(said.contains("adit mesh invite hq --publish"), "{said}");
    let file = home.root().join("root.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let made = text_of(&file);
    home.refuses(&["init"], 1, "root-exists", &["root.json", "--root DIR"]);
    assert_eq!(text_of(&file), made);

    // What is to be typed next names the folder, as a shell takes it.
    let said = home.does(&["init", "--root", "my root"]);
    assert!(said.contains("adit mesh invite hq --root 'my root' "), "{said}");
    let init = home.command(&["init"]).env("ADIT_MESH_ROOT", home.path("other")).output().unwrap();
    assert!(Answer::of(&init).stdout.contains(&format!("--root {}", home.path("other").display())));
    assert!(home.path("other/root.json").exists());
    let empty = Answer::of(&home.command(&["members"]).env("ADIT_MESH_ROOT", "").output().unwrap());
    assert_eq!(empty.exit, 0, "a variable that is empty is none: {}", empty.stderr);
}

#[test]
fn without_a_root_nobody_is_invited_or_revoked() {
    let home = Home::new();
    for words in [&["invite", "hq", "--transit"][..], &["members"], &["revoke", "hq"]] {
        home.refuses(words, 1, "no-root", &["mesh-root/root.json", "adit mesh init", "--root DIR"]);
    }
    assert!(!home.path(".local").exists(), "nothing is made by asking");
}

#[test]
fn an_invitation_that_cannot_be_meant_is_refused() {
    let home = Home::with_root();
    let before = text_of(&home.root().join("root.json"));
    home.refuses(&["invite", "hq"], 2, "no-right", &["--publish", "--listen", "--transit"]);
    let long = "x".repeat(256);
    for (name, flag, value, told) in [
        ("", "--publish", "*", "it is empty"),
        (" hq", "--publish", "*", "begins or ends with a space"),
        ("h\u{1b}[31mq", "--publish", "*", "is not allowed in it"),
        (&long[..129], "--publish", "*", "128 are allowed"),
        ("hq", "--publish", "", "--publish"),
        ("hq", "--publish", "a\tb", "is not allowed in it"),
        ("hq", "--listen", "web ", "begins or ends with a space"),
        ("hq", "--listen", &long, "255 are allowed"),
        ("hq", "--peer", "nowhere", "HOST:PORT"),
        ("hq", "--peer", "nowhere:0", "--peer"),
        ("hq", "--peer", "nowhere:70000", "--peer"),
        ("hq", "--peer", "::1:4433", "[::1]:80"),
        ("hq", "--peer", ":4433", "--peer"),
    ] {
        home.refuses(&["invite", name, "--transit", flag, value], 2, "usage", &[told]);
    }
    for flag in ["--within", "--lasts"] {
        for typed in ["", "0", "0s", "soon", "1", "h", "-1h", "1.5h", "1y", "99999999999999999999d"] {
            let typed = format!("{flag}={typed}");
            home.refuses(&["invite", "hq", "--transit", &typed], 2, "usage", &[flag]);
        }
    }
    let many: Vec<String> = (0..65).flat_map(|number| ["--publish".to_owned(), format!("key-{number}")]).collect();
    let many: Vec<&str> = ["invite", "hq"].into_iter().chain(many.iter().map(String::as_str)).collect();
    let said = home.run(&many);
    said.refused(2, &["at most 64 patterns"]);
    assert_eq!(text_of(&home.root().join("root.json")), before, "nobody is invited by mistake");

    home.invite("hq", &[]);
    home.refuses(&["invite", "hq", "--transit"], 2, "name-taken", &["“hq”", "adit mesh revoke hq"]);
    let said = home.json(&["members"]);
    assert_eq!(
        (&said[0]["name"], &said[0]["publish"], said.as_array().unwrap().len()),
        (&json!("hq"), &json!(["*"]), 1)
    );
}

#[test]
fn a_token_that_was_changed_is_refused_and_not_repeated() {
    let home = Home::with_root();
    let token = home.invite("hq", &[]);
    let swapped = |at: usize| {
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        [&token[..at], other, &token[at + 1..]].concat()
    };
    let cut = token.len() - 1;
    let mut changed: Vec<String> = (0..cut).step_by(11).chain([cut]).map(swapped).collect();
    changed.extend([0, 1, 10, token.len() / 2, cut].map(|length| token[..length].to_owned()));
    changed.extend(["nonsense".to_owned(), format!("{token}A"), token.replace('-', " "), token.repeat(100)]);
    for changed in &changed {
        let said = home.run(&["join", "--", changed]);
        // What stands in it can be read, and the root has not signed it.
        let code = if said.stderr.contains("is not signed by this mesh's root") { 1 } else { 2 };
        said.refused(code, &["token"]);
        let part = changed.get(20..40).unwrap_or("a token that is not repeated");
        assert!(!said.stderr.contains(part), "{}", said.stderr);
    }
    home.refuses(&["join", &token[..cut]], 2, "bad-token", &["paste the whole line", "adit mesh invite"]);
    assert!(!home.agent().join("identity.json").exists(), "nobody has joined by that");

    let join = |typed: &[u8]| {
        let mut child = home.command(&["join", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed).unwrap();
        Answer::of(&child.wait_with_output().unwrap())
    };
    join(b"").refused(2, &["adit-mesh-"]);
    join(b"\xff\xfe").refused(2, &["standard input"]);
    assert_eq!(join(format!("  {token}\n").as_bytes()).exit, 0);
}

/// A token of the root in this home, as no command makes it.
fn crafted(home: &Home, name: &str, redeem_until: u64, expires: u64) -> Token {
    let written = read_json(&home.root().join("root.json"));
    let seed: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&written["seed"].as_str().unwrap()[at..at + 2], 16).unwrap())
        .collect();
    let root = SigningKey::from_seed(<[u8; 32]>::try_from(seed).unwrap().into()).unwrap();
    let key = SigningKey::generate().unwrap();
    let rights = Rights { transit: true, ..Rights::default() };
    let invitation = Invitation { key: *key.public(), name: name.parse().unwrap(), rights, redeem_until, expires };
    let signature = root.sign(&invitation.to_sign());
    Token { root: *root.public(), invitation: SignedInvitation { invitation, signature }, key, peers: Vec::new() }
}

#[test]
fn a_token_whose_time_is_over_is_refused_at_once() {
    let home = Home::with_root();
    let now = enrolment::unix_time();
    let late = crafted(&home, "late", now - DAY, now + DAY);
    let over = crafted(&home, "over", now + DAY, now - DAY);
    for (token, told) in [(&late, "not used in time"), (&over, "has expired")] {
        home.refuses(
            &["join", &token.to_text()],
            1,
            "no-member",
            &[told, "ask for a new token", "adit mesh join TOKEN"],
        );
    }
    assert!(!home.agent().join("identity.json").exists());

    // Who has joined in time may do so again.
    let folder = MeshFolder::open(&home.agent()).unwrap();
    folder.enrol(&enrolment::join(&late, None).unwrap()).unwrap();
    drop(folder);
    home.does(&["join", &late.to_text()]);
}

#[test]
fn joining_again_keeps_who_the_agent_is() {
    let home = Home::with_root();
    let token = home.invite("hq", &["--peer", "hq.example.org:4433"]);
    let joined = home.json(&["join", &token]);
    assert_eq!((&joined["name"], &joined["peers"]), (&json!("hq"), &json!(["hq.example.org:4433"])));
    let file = home.agent().join("identity.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let first = read_json(&file);
    home.does(&["join", &token]);
    assert_eq!(read_json(&file), first, "the same token says nothing new");

    assert!(home.does(&["join", &home.invite("branch", &[])]).contains("branch, no longer hq with its rights"));
    let second = read_json(&file);
    assert_eq!((&second["identity"], &second["session"]), (&first["identity"], &first["session"]), "its keys stay");
    assert_ne!(second["certificate"], first["certificate"]);

    let other = Home::with_root();
    home.refuses(&["join", &other.invite("hq", &[])], 2, "other-mesh", &["another mesh", "--data DIR"]);
    assert_eq!(read_json(&file), second);

    // What nobody can read any more stands in nobody's way; what cannot be read now may be there again.
    fs::write(&file, "{").unwrap();
    home.does(&["join", &token]);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    home.refuses(&["join", &token], 1, "data-folder-unusable", &["cannot read", "identity.json"]);
}

#[test]
fn an_agent_that_is_no_member_says_how_to_become_one() {
    let home = Home::new();
    home.refuses(&["run"], 1, "not-joined", &["adit mesh join TOKEN --data "]);
    let home = Home::with_member();
    for name in ["identity.json", "state.json"] {
        let file = home.agent().join(name);
        let before = fs::read(&file).ok();
        fs::write(&file, "this is no state").unwrap();
        home.refuses(&["run"], 1, "data-folder-unusable", &[name, "restore it from a backup"]);
        assert_eq!(text_of(&file), "this is no state", "it is left for a person to judge");
        before.map_or_else(|| fs::remove_file(&file), |before| fs::write(&file, before)).unwrap();
    }
    fs::set_permissions(home.agent(), fs::Permissions::from_mode(0o777)).unwrap();
    home.refuses(&["run"], 1, "data-folder-unusable", &["others may write", "chmod go-w"]);
}

#[test]
fn each_value_of_the_file_that_cannot_be_used_is_named() {
    let home = Home::new();
    let file = home.path("mesh.yaml");
    let config = file.to_str().unwrap();
    let refuses = |text: &str, code: &str, told: &[&str]| {
        fs::write(&file, text).unwrap();
        home.refuses(&["run", "--config", config], 78, code, &[told, &["mesh.yaml"]].concat());
    };
    for (key, values) in [
        ("listen", &["here", "'4433'", "1.2.3.4", "'[::1:4433'", "host.example:1", "':70000'", "':-1'"][..]),
        ("http", &["here", "'8080'", "0.0.0.0:8080", "localhost:8080", "127.0.0.1:70000"]),
    ] {
        for value in values {
            let typed = format!("`mesh.{key}` is “{}”: expected", value.trim_matches('\''));
            refuses(&format!("mesh:\n  {key}: {value}\n"), "bad-setting", &[&typed]);
        }
    }
    for peer in ["here", "'h:0'", "'h:70000'", "':1'", "'::1:4433'"] {
        let place = format!("`mesh.peers[1]` is “{}”", peer.trim_matches('\''));
        refuses(&format!("mesh:\n  peers: ['ok:1', {peer}]\n"), "bad-setting", &[&place]);
    }
    // What has another shape is told with its line.
    for text in ["peers: 'h:1'", "resume: maybe", "data: [a]", "prot: 4433", "listen: [1]", "http: {}", "log: []"] {
        refuses(&format!("mesh:\n  {text}\n"), "bad-config-file", &["line 2"]);
    }
    let long = "x".repeat(256);
    for (list, entry, place) in [
        ("endpoints", "{key: '', target: 'h:1'}", "`forward.endpoints[0].key` is “”"),
        ("endpoints", &format!("{{key: {long}, target: 'h:1'}}"), "`forward.endpoints[0].key`"),
        ("endpoints", "{key: \"a\\x1bb\", target: 'h:1'}", "`forward.endpoints[0].key`"),
        ("endpoints", "{key: k, target: here}", "`forward.endpoints[0].target` is “here”"),
        ("endpoints", "{key: k, target: 'h:0'}", "`forward.endpoints[0].target` is “h:0”"),
        ("endpoints", "{key: k, target: ''}", "`forward.endpoints[0].target` is “”"),
        ("endpoints", "{key: k, target: 'h:1'}, {key: k, target: 'h:1'}", "this target twice"),
        ("listeners", "{key: ' k', address: ':1'}", "`forward.listeners[0].key` is “ k”"),
        ("listeners", "{key: k, address: '8080'}", "`forward.listeners[0].address` is “8080”"),
        ("listeners", "{key: k, address: ':70000'}", "`forward.listeners[0].address` is “:70000”"),
        ("listeners", "{key: k, address: 'host.example:80'}", "`forward.listeners[0].address`"),
        ("listeners", "{key: a, address: ':1'}, {key: b, address: ':1'}", "`forward.listeners[1].address` is “:1”"),
    ] {
        refuses(&format!("forward:\n  {list}: [{entry}]\n"), "bad-setting", &[place]);
    }
    for (list, entry, told) in [
        ("endpoints", "{key: k}", "target"),
        ("endpoints", "{target: 'h:1'}", "key"),
        ("endpoints", "{key: k, target: 'h:1', priority: 256}", "line 2"),
        ("endpoints", "{key: k, target: 'h:1', address: ':1'}", "address"),
        ("listeners", "{key: k}", "address"),
        ("listeners", "{key: k, address: ':1', max_connections: -1}", "line 2"),
        ("listeners", "{key: k, address: ':1', target: 'h:1'}", "target"),
        ("listenrs", "", "listenrs"),
    ] {
        refuses(&format!("forward:\n  {list}: [{entry}]\n"), "bad-config-file", &[told]);
    }
    let nowhere = home.path("nowhere.yaml");
    for path in [&nowhere, &home.path("")] {
        let path = path.to_str().unwrap();
        home.refuses(&["run", "--config", path], 78, "bad-config-file", &["cannot read the configuration file", path]);
    }
    assert!(!home.agent().exists(), "a file that cannot be used leaves nothing behind");
}

#[test]
fn where_no_agent_runs_nobody_is_asked() {
    let home = Home::new();
    let questions = [&["status"][..], &["peers"], &["routes"], &["probe", "web"], &["reload"]];
    for words in questions {
        home.refuses(words, 8, "no-agent", &["adit mesh run", "--data DIR", ".local/state/adit/mesh"]);
    }
    let elsewhere = home.path("elsewhere");
    let words = ["status", "--data", elsewhere.to_str().unwrap()];
    home.refuses(&words, 8, "no-agent", &[elsewhere.to_str().unwrap()]);
    assert!(!home.path(".local").exists() && !elsewhere.exists(), "nothing is made by asking");

    // What a process that is gone has left behind is somebody else's by now.
    let home = Home::with_member();
    let addresses = home.agent().join("addresses.json");
    let left = json!({
        "url": "http://127.0.0.1:9", "listen": "127.0.0.1:9", "token_file": home.agent().join("token"),
        "pid": std::process::id(), "version": "0.1.0",
    });
    fs::write(&addresses, left.to_string()).unwrap();
    for words in questions {
        home.refuses(words, 8, "no-agent", &["adit mesh run"]);
    }
    fs::write(&addresses, "{").unwrap();
    for words in questions {
        home.refuses(words, 8, "agent-unreachable", &["addresses.json"]);
    }
}

#[test]
fn who_was_not_invited_cannot_be_revoked() {
    let home = Home::with_root();
    home.invite("hq", &[]);
    let file = home.root().join("root.json");
    let before = text_of(&file);
    home.refuses(&["revoke", "nobody"], 2, "not-found", &["“nobody”", "adit mesh members"]);
    home.refuses(&["revoke", "h\u{1b}[31mq"], 2, "usage", &["is not allowed in it"]);
    home.refuses(&["revoke", ""], 2, "usage", &["it is empty"]);
    home.refuses(&["revoke"], 2, "usage", &["NAME"]);
    // Whether an agent runs here cannot be told, so nothing is done yet.
    let config = home.path("bad.yaml");
    fs::write(&config, "mesh: [\n").unwrap();
    let revoke = |more: &[&str]| {
        let mut command = home.command(&[&["revoke", "hq"], more].concat());
        command.env("ADIT_CONFIG", &config);
        command
    };
    is_refused(revoke, 78, "bad-config-file", &["bad.yaml"]);
    assert_eq!(text_of(&file), before);

    let said = home.json(&["revoke", "hq"]);
    assert_eq!(said["passed_on"], false);
    let list = said["list"].as_str().unwrap();
    assert!(text_of(Path::new(list)).trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()));
    let again = home.does(&["revoke", "hq"]);
    assert!(again.contains(list) && again.contains("adit mesh revoke --list FILE"), "{again}");
    assert_eq!(home.json(&["members"])[0]["revoked"], true);
    home.invite("hq", &[]);

    fs::remove_file(list).unwrap();
    fs::create_dir(list).unwrap();
    home.refuses(&["revoke", "hq"], 1, "list-unusable", &[list]);
}

#[test]
fn a_list_from_elsewhere_needs_no_root() {
    let home = Home::new();
    fs::write(home.path("list.txt"), "0011\n").unwrap();
    let with_variable = |words: &'static [&str]| {
        let home = &home;
        move |more: &[&str]| {
            let mut command = home.command(&[words, more].concat());
            command.env("ADIT_MESH_ROOT", home.path("root"));
            command
        }
    };
    is_refused(with_variable(&["revoke", "--list", "list.txt"]), 8, "no-agent", &["adit mesh run"]);
    is_refused(with_variable(&["revoke", "--list", "nowhere.txt"]), 1, "list-unusable", &["nowhere.txt"]);
    is_refused(with_variable(&["revoke", "--list", "."]), 1, "list-unusable", &["cannot use the list"]);
    home.refuses(&["revoke", "--list", "list.txt", "--root", "root"], 2, "usage", &["--list", "--root"]);
    home.refuses(&["revoke", "--list", "list.txt", "hq"], 2, "usage", &["--list", "NAME"]);
}

#[test]
fn a_root_that_cannot_be_read_is_left_as_it_is() {
    let home = Home::with_root();
    let file = home.root().join("root.json");
    let commands = [&["members"][..], &["invite", "hq", "--transit"], &["revoke", "hq"]];
    fs::write(&file, "this is no root").unwrap();
    for words in commands {
        home.refuses(words, 1, "root-unusable", &["root.json", "restore it from a backup"]);
    }
    home.refuses(&["init"], 1, "root-exists", &["root.json"]);
    assert_eq!(text_of(&file), "this is no root");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    for words in commands {
        home.refuses(words, 1, "data-folder-unusable", &["cannot read", "root.json"]);
    }
    fs::set_permissions(home.root(), fs::Permissions::from_mode(0o770)).unwrap();
    for words in commands {
        home.refuses(words, 1, "data-folder-unusable", &["others may write", "chmod go-w"]);
    }
}

/// An agent that runs, until it is dropped.
struct Running {
    child: Child,
    /// Kept open: what it prints is read by somebody.
    _stdout: BufReader<ChildStdout>,
    told: Value,
}

impl Running {
    fn start(home: &Home, more: &[&str]) -> Self {
        let mut command = home.command(&[&["run", "--json"], more].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        Self { child, _stdout: stdout, told: serde_json::from_str(&line).expect("who it is, once it runs") }
    }
}

#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_running_agent_is_asked_and_changed() {
    let home = Home::with_member();
    let file = home.path("mesh.yaml");
    let mesh = "mesh: {http: '127.0.0.1:0'}\n";
    let forward = |key: &str| format!("{mesh}forward: {{listeners: [{{key: {key}, address: '127.0.0.1:0'}}]}}\n");
    fs::write(&file, forward("web")).unwrap();
    let agent = Running::start(&home, &["--config", "mesh.yaml"]);
    assert_eq!((&agent.told["name"], &agent.told["listeners"][0]["key"]), (&json!("hq"), &json!("web")));
    let pid = format!("pid {}", agent.child.id());
    home.refuses(&["run"], 1, "already-running", &["another mesh agent already runs", &pid, "--data DIR"]);
    home.refuses(&["join", &home.invite("other", &[])], 1, "already-running", &[&pid]);

    let said = home.does(&["status"]);
    assert!(said.contains("hq") && said.contains("web") && said.contains("no endpoint"), "{said}");
    assert!(home.does(&["peers"]).contains("No links"));
    assert_eq!(home.json(&["peers"]), json!([]));
    assert_eq!(home.json(&["routes"])[0]["path_display"], json!(["hq"]));
    home.refuses(&["probe", "web"], 1, "unreachable", &["no agent has an endpoint for this key"]);
    home.refuses(&["probe", ""], 2, "bad-request", &["a routing key", "it is empty"]);
    home.refuses(&["probe", "a\u{1b}[31mb"], 2, "bad-request", &["is not allowed in it"]);

    fs::write(&file, forward("other")).unwrap();
    assert_eq!(home.does(&["reload"]), "The endpoints and listeners of the file are in force.\n");
    fs::write(&file, forward("other").replace("127.0.0.1:0'}\n", "127.0.0.1:0', resume: true}\n")).unwrap();
    assert!(home.does(&["reload"]).contains("restart the agent"));
    // The mesh hears of changes in a row no more often than it can take them.
    eventually("the change is told", || home.json(&["status"])["forward_routes"][0]["key"] == "other");
    for (text, told) in [
        ("forward: {listeners: [{key: k, address: here}]}\n", "`forward.listeners[0].address` is “here”"),
        ("forward: [\n", "is not understood"),
    ] {
        fs::write(&file, text).unwrap();
        home.refuses(&["reload"], 1, "bad-config", &["mesh.yaml", told]);
    }
    fs::remove_file(&file).unwrap();
    home.refuses(&["reload"], 1, "bad-config", &["cannot read the configuration file", "mesh.yaml"]);
    assert_eq!(home.json(&["status"])["forward_routes"][0]["key"], "other", "a bad file changes nothing");

    fs::write(home.path("list.txt"), "0011\n").unwrap();
    home.refuses(&["revoke", "--list", "list.txt"], 2, "bad-request", &["the list is not taken"]);
    assert_eq!(home.json(&["revoke", "hq"])["passed_on"], true);
    let revoked = "the certificate has been revoked";
    eventually("the agent knows it", || home.does(&["status"]).contains(revoked));
    let state = home.agent().join("state.json");
    eventually("it remembers it", || read_json(&state)["revocations"].is_string());
    drop(agent);
    home.refuses(&["status"], 8, "no-agent", &["adit mesh run"]);
    home.refuses(&["run"], 1, "no-member", &[revoked, "adit mesh join TOKEN"]);
}

#[test]
fn an_agent_without_a_file_has_none_to_read_anew() {
    let home = Home::with_member();
    let _agent = Running::start(&home, &[]);
    home.refuses(&["reload"], 1, "bad-config", &["without a configuration file"]);
}

#[test]
fn a_key_without_a_right_is_told_before_anything_is_bound() {
    let home = Home::with_root();
    let token = home.does(&["invite", "branch", "--listen", "web-*"]);
    home.does(&["join", token.trim_end()]);
    for (forward, told) in [
        ("listeners: [{key: api, address: '127.0.0.1:0'}]", "no right to listen on the key “api”"),
        ("endpoints: [{key: web-1, target: 'localhost:80'}]", "no right to publish the key “web-1”"),
    ] {
        fs::write(home.path("mesh.yaml"), format!("mesh: {{http: off}}\nforward: {{{forward}}}\n")).unwrap();
        home.refuses(&["run", "--config", "mesh.yaml"], 78, "no-right", &[told, "branch"]);
    }
}

#[test]
fn a_value_of_any_length_is_told_in_a_line() {
    let home = Home::with_member();
    let endpoints = format!("endpoints: [{{key: {}, target: 'localhost:80'}}]", "k".repeat(100_000));
    fs::write(home.path("mesh.yaml"), format!("mesh: {{http: off}}\nforward: {{{endpoints}}}\n")).unwrap();
    home.refuses(
        &["run", "--config", "mesh.yaml"],
        78,
        "bad-setting",
        &["`forward.endpoints[0].key` is “kkk", "kkk…”"],
    );
    assert!(home.run(&["run", "--config", "mesh.yaml"]).stderr.len() < 1_000);
}

#[test]
fn a_busy_port_says_where_another_is_chosen() {
    let home = Home::with_member();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (text, told) in [
        (format!("mesh: {{listen: '{address}', http: off}}\n"), "`mesh.listen`"),
        (format!("mesh: {{http: '{address}'}}\n"), "`mesh.http`"),
    ] {
        fs::write(home.path("mesh.yaml"), text).unwrap();
        home.refuses(&["run", "--config", "mesh.yaml"], 7, "cannot-listen", &[&address, told]);
    }
    let forward = format!("mesh: {{http: off}}\nforward: {{listeners: [{{key: k, address: '{address}'}}]}}\n");
    fs::write(home.path("mesh.yaml"), forward).unwrap();
    let told = format!("cannot listen on {address} for the key “k”");
    home.refuses(&["run", "--config", "mesh.yaml"], 7, "cannot-listen", &[&told]);
    let said = home.run(&["run", "--config", "mesh.yaml"]).stderr;
    assert_eq!(said.matches("Address already in use").count(), 1, "{said}");
}

/// As it is printed on a narrow terminal too.
#[test]
fn the_configuration_in_the_help_is_understood() {
    let home = Home::new();
    let help = Answer::of(&home.command(&["run", "--help"]).env("COLUMNS", "80").output().unwrap()).stdout;
    let (_, example) = help.split_once("In the configuration file:\n").unwrap();
    let (example, _) = example.split_once("\n\n").unwrap();
    assert!(example.contains("endpoints:") && example.contains("resume: true"), "{example}");
    let data = home.path("data");
    fs::write(home.path("mesh.yaml"), example.replace("/var/lib/adit-mesh", data.to_str().unwrap())).unwrap();
    home.refuses(&["run", "--config", "mesh.yaml"], 1, "not-joined", &[data.to_str().unwrap()]);
}

#[test]
fn an_agent_without_a_dashboard_is_not_said_not_to_run() {
    let home = Home::with_member();
    home.refuses(&["status"], 8, "no-agent", &["no mesh agent runs on", "adit mesh run"]);
    let _held = MeshFolder::open(&home.agent()).unwrap();
    home.refuses(&["status"], 8, "no-agent", &["`mesh.http` is `off`"]);
}

#[test]
fn a_membership_may_last_for_ever() {
    let home = Home::with_root();
    home.invite("hq", &["--lasts", "18446744073709551615s"]);
    assert!(home.does(&["members"]).contains("never"));
}

#[test]
fn a_root_that_is_in_use_is_not_changed_by_another_command() {
    let home = Home::with_root();
    let _held = RootFolder::open(&home.root()).unwrap();
    let told = ["another command on this root already runs", &format!("pid {}", std::process::id())];
    home.refuses(&["invite", "hq", "--transit"], 1, "already-running", &told);
}
