//! What a person may get wrong: a sentence says what and what next, the exit code tells a mistake (2) from a failure (1)
//! and from a bad configuration file (78), and nothing is overwritten.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use adit_e2e::{Finished, JumpHost, OpenSsh, adit, finish};

use crate::SOON;

fn run(words: &[&str]) -> Finished {
    finish(adit(None).args(words), SOON)
}

/// Starts a server on `data` that is expected to refuse.
fn refuses(data: &Path, more: &[&str]) -> Finished {
    let mut words = vec!["--data", data.to_str().unwrap(), "--ssh", "127.0.0.1:0", "--web", "127.0.0.1:0"];
    words.extend(more);
    run(&words)
}

/// The message names `parts`, on stderr, and is neither a panic nor a debug print.
fn assert_told(finished: &Finished, codes: &[i32], parts: &[&str]) {
    assert!(codes.contains(&finished.code()), "{finished:?}");
    for part in parts {
        assert!(finished.stderr.contains(part), "the message names {part:?}: {finished:?}");
    }
    for smell in ["panicked", "RUST_BACKTRACE", "Os {", "Error {"] {
        assert!(!finished.stderr.contains(smell), "{smell:?} is no sentence: {finished:?}");
    }
}

/// Every file of a folder with its bytes.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file());
    files.map(|file| (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).unwrap())).collect()
}

#[test]
fn a_bad_port_range_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for range in ["60000-10000", "0-100", "10000-70000", "a-b", "-5", "10000-60000-3", ""] {
        let argument = format!("--ports={range}");
        let refused = refuses(&data, &[&argument]);
        assert_told(&refused, &[2], &["ports"]);
        assert!(!data.exists(), "{range:?} made a folder");
    }
}

#[test]
fn bad_addresses_are_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for argument in ["--ssh=nowhere", "--ssh=127.0.0.1:99999", "--web=127.0.0.1", "--forward-address=localhost:1"] {
        let refused = run(&["--data", data.to_str().unwrap(), argument]);
        let flag = argument.split('=').next().unwrap();
        assert_told(&refused, &[2], &[flag]);
    }
    assert_told(&run(&["--no-such-flag"]), &[2], &["--no-such-flag"]);
    assert_told(&run(&["frobnicate"]), &[2], &["frobnicate"]);
}

#[test]
fn an_unusable_data_folder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    assert_told(&refuses(&file, &[]), &[1, 2], &[file.to_str().unwrap()]);
    let beneath = file.join("data");
    assert_told(&refuses(&beneath, &[]), &[1, 2], &[beneath.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    // Root may read and write anything but this.
    assert_told(&refuses(Path::new("/proc/adit"), &[]), &[1, 2], &["/proc/adit"]);
}

#[test]
fn an_unreadable_host_key_is_told_and_kept() {
    let mut host = JumpHost::start();
    host.stop();
    let key = fs::read_dir(host.data()).unwrap().flatten().find(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.contains("host_key") && !name.ends_with(".pub")
    });
    let path = key.expect("a host key in the data folder").path();
    fs::write(&path, "this is no key\n").unwrap();
    assert_told(&refuses(&host.data(), &[]), &[1, 2], &[path.file_name().unwrap().to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "this is no key\n");
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let second = refuses(&host.data(), &[]);
    assert_told(&second, &[1, 2], &[host.data().to_str().unwrap()]);
    // The first is unharmed: its addresses still stand, its administrator's socket still answers.
    let tunnel = OpenSsh::new(&host, &alice).spawn();
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
    assert_eq!(host.sessions().len(), 1);
    let announced = adit_e2e::Addresses::read(&host.data().join("addresses.json")).expect("addresses.json");
    assert_eq!(announced.ssh, host.ssh());
}

#[test]
fn a_busy_ssh_port_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let refused = run(&["--data", data.to_str().unwrap(), "--ssh", &address, "--web", "127.0.0.1:0"]);
    assert_told(&refused, &[7], &[&address]);
    let refused = run(&["--data", data.to_str().unwrap(), "--ssh", "127.0.0.1:0", "--web", &address]);
    assert_told(&refused, &[7], &[&address]);
    // An address that is not this machine's.
    let refused = run(&["--data", data.to_str().unwrap(), "--ssh", "192.0.2.1:0", "--web", "127.0.0.1:0"]);
    assert_told(&refused, &[1], &["192.0.2.1"]);
}

#[test]
fn a_corrupt_database_is_told_and_kept() {
    let mut host = JumpHost::start();
    host.member("alice");
    host.stop();
    let database = fs::read_dir(host.data()).unwrap().flatten().map(|entry| entry.path());
    let database = database.into_iter().find(|path| path.extension().is_some_and(|end| end == "sqlite" || end == "db"));
    let database = database.expect("a database in the data folder");
    for damage in [&b"this is no database, but somebody's only copy of something\n".repeat(100)[..], b"x"] {
        for leftover in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{leftover}", database.display()));
        }
        fs::write(&database, damage).unwrap();
        let before = contents(&host.data());
        assert_told(&refuses(&host.data(), &[]), &[1, 2], &[database.to_str().unwrap()]);
        assert_told(&host.adit(["account", "list"]), &[1, 2], &[database.to_str().unwrap()]);
        let after = contents(&host.data());
        let name = database.file_name().unwrap().to_str().unwrap();
        assert_eq!(after[name], before[name], "the damaged file was overwritten");
    }
}

#[test]
fn a_bad_configuration_file_exits_78() {
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (folder.path().join("data"), folder.path().join("jumphost.yaml"));
    let bad = [
        ("jumphost:\n  login_grace: soon\n", "login_grace"),
        ("jumphost:\n  no_such_key: 1\n", "no_such_key"),
        ("jumphost:\n  ports: 60000-10000\n", "ports"),
        ("jumphost:\n  allow_networks: [10.0.0.0/99]\n", "10.0.0.0/99"),
        ("jumphost:\n  takeover: perhaps\n", "takeover"),
        ("jumphost:\n  limits: {visitors_per_port: many}\n", "visitors_per_port"),
        ("jumphost: [\n", "jumphost.yaml"),
        ("\t- :", "jumphost.yaml"),
        ("jumphost: 7\n", "jumphost.yaml"),
    ];
    for (text, part) in bad {
        fs::write(&config, text).unwrap();
        let refused = refuses(&data, &["--config", config.to_str().unwrap()]);
        assert_told(&refused, &[78], &[part, "configuration file"]);
    }
    let missing = folder.path().join("missing.yaml");
    assert_told(&refuses(&data, &["--config", missing.to_str().unwrap()]), &[78], &["missing.yaml"]);
    assert!(!data.exists(), "a bad configuration made a folder");
}

/// A flag is stronger than the file.
#[test]
fn a_flag_wins_over_the_file() {
    let host = JumpHost::builder().setting("ports", "30000-30001").flag("--ports", "20000-20001").start();
    let alice = host.member("alice");
    let tunnel = OpenSsh::new(&host, &alice).no_session().forward(20000, 9).forward(30000, 9).spawn();
    tunnel.await_stderr(SOON, "listen port 30000");
    host.await_port(20000);
}

#[test]
fn names_that_cannot_be_accounts_are_mistakes() {
    let host = JumpHost::start();
    for name in ["", "a b", "a/b", "a\nb", "a\u{1b}[31m", &"x".repeat(300)] {
        let refused = host.adit(["account", "add", name]);
        assert!([1, 2].contains(&refused.code()), "{name:?}: {refused:?}");
        assert!(!refused.stderr.is_empty() && !refused.stderr.contains('\u{1b}'), "{name:?}: {refused:?}");
    }
    host.admin(["account", "add", "alice"]);
    assert_told(&host.adit(["account", "add", "alice"]), &[1, 2], &["alice"]);
    assert_told(&host.adit(["account", "remove", "bob"]), &[1, 2], &["bob"]);
    assert_told(&host.adit(["key", "remove", "alice", "SHA256:nothing"]), &[1, 2], &["SHA256:"]);
}

/// With `--json` an error is one line of JSON on stderr, with a name that programs may rely on.
#[test]
fn an_error_as_json_has_a_sentence_and_a_code() {
    let host = JumpHost::start();
    for words in [&["account", "remove", "nobody", "--json"][..], &["--json", "kick", "12345"]] {
        let refused = host.adit(words);
        assert!([1, 2].contains(&refused.code()), "{refused:?}");
        assert_eq!(refused.stderr.trim_end().lines().count(), 1, "{refused:?}");
        let error: serde_json::Value = serde_json::from_str(&refused.stderr).expect("JSON on stderr");
        assert!(error["error"].is_string() && error["code"].is_string(), "{error}");
    }
}
