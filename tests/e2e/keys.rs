//! Keys that members save (line 3), through the administrator's command as the dashboard does not exist yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use adit_e2e::{Finished, JumpHost, KeyType, Member, OpenSsh, Running, adit, generate_key};

use crate::SOON;

/// A DSA key, made once with OpenSSH 9.2, because later releases cannot make one any more.
const DSA: &str = "ssh-dss AAAAB3NzaC1kc3MAAACBAKXBeTutReyHMJOgWzmuY4PVZZ0XEH4tn1MVp8Zb4wrJyKczFyAQ4ndZ/bBPxRzNha38mJ7a\
    iHdoH96x435VVouZj9wzS/ULAyb39E3KePAipGUjzPoRtN0KDsnWFjHsmyatj75NFkelj2LzTSeJ0WswHxkMoTHio7B1lerb0UgD\
    AAAAFQClv4v/QmRUs0K31N+wZMS0rBzzWwAAAIAHrJf4VR0stvRld7m4YxkzqqNXC1/akbxkaAYK5Z08AeZN00PmTNHExdv4RRsv\
    fzUNVAA6JOdgdkF1RqMdFXrDlwbimrPGfTUdotbOO0Zv7QnUR5w2beiM96ytmHOEmLyZg7UzJZy4XX0EP7T5F8YZ9PFf7SbE/Dp/\
    2+lpkwmc7AAAAIBfjYJoxoXwPcOSZ3ED54C7xWXlTpOQnFXHoYwIDjDeQFDSOwIIycnZ9MgnLNU4nfx0JOBaIdAwNGOjQQAdEUq/\
    eiZUzfZEmC7Jh6obMljNlx8VBoq5A73gPaEYzyc5phplCFTaKPiHRSTQrCWsG2CB+rR7+z+x69JMc/BM3+aIVg== old";

fn add(host: &JumpHost, account: &str, file: &Path) -> Finished {
    host.adit(["key", "add", account, "--label", "test", file.to_str().unwrap()])
}

fn write(host: &JumpHost, name: &str, text: &str) -> PathBuf {
    let path = host.folder().join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Refused with exit code 1 or 2 and a reason that has one of `words` in it.
fn assert_refused(refused: &Finished, words: &[&str]) {
    assert!([1, 2].contains(&refused.code()), "{refused:?}");
    let reason = refused.stderr.to_lowercase();
    assert!(words.iter().any(|word| reason.contains(word)), "the reason speaks of one of {words:?}: {refused:?}");
}

#[test]
fn a_saved_key_works_within_a_second_and_a_removed_one_no_more() {
    let host = JumpHost::builder().setting("penalty_exempt", "[127.0.0.0/8]").start();
    host.admin(["account", "add", "alice"]);
    let key = generate_key(host.folder(), "laptop", KeyType::Ed25519);
    let alice = Member { name: "alice".to_owned(), key };
    let before = OpenSsh::new(&host, &alice).no_session().run(SOON);
    assert!(before.stderr.contains("Permission denied (publickey)."), "{before:?}");

    host.save_key(&alice, "laptop");
    let saved = Instant::now();
    let tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, 9).spawn();
    host.await_port(10080);
    assert!(saved.elapsed() < Duration::from_secs(1), "the next attempt worked after {:?}", saved.elapsed());
    drop(tunnel);

    host.remove_key(&alice);
    let after = OpenSsh::new(&host, &alice).no_session().run(SOON);
    assert!(after.stderr.contains("Permission denied (publickey)."), "{after:?}");
}

#[test]
fn every_accepted_type_logs_in() {
    let host = JumpHost::start();
    host.admin(["account", "add", "alice"]);
    let types = [
        ("ed25519", KeyType::Ed25519),
        ("p256", KeyType::Ecdsa(256)),
        ("p384", KeyType::Ecdsa(384)),
        ("p521", KeyType::Ecdsa(521)),
        ("rsa2048", KeyType::Rsa(2048)),
        ("rsa3072", KeyType::Rsa(3072)),
    ];
    for (label, key_type) in types {
        let member = host.further_key("alice", label, key_type);
        let tunnel = OpenSsh::new(&host, &member).spawn();
        tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
    }
    let listed = host.json(&["key", "list", "alice"]).to_string();
    for (label, _) in types {
        assert!(listed.contains(label), "{label} is listed: {listed}");
    }
}

#[test]
fn a_private_key_is_refused_and_never_kept() {
    let mut host = JumpHost::start();
    host.admin(["account", "add", "alice"]);
    let key = generate_key(host.folder(), "laptop", KeyType::Ed25519);
    assert_refused(&add(&host, "alice", &key), &["private"]);
    let secret = fs::read_to_string(&key).unwrap().lines().nth(2).unwrap().to_owned();
    assert!(!host.log().contains(&secret), "the log holds the private key");
    host.stop();
    for file in fs::read_dir(host.data()).unwrap().flatten() {
        let text = fs::read(file.path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains(&secret), "{:?} holds the private key", file.path());
    }
}

#[test]
fn dsa_is_refused() {
    let host = JumpHost::start();
    host.admin(["account", "add", "alice"]);
    assert_refused(&add(&host, "alice", &write(&host, "dsa.pub", DSA)), &["dsa", "dss"]);
}

#[test]
fn short_rsa_is_refused() {
    let host = JumpHost::start();
    host.admin(["account", "add", "alice"]);
    let key = generate_key(host.folder(), "short", KeyType::Rsa(1024));
    assert_refused(&add(&host, "alice", &key.with_extension("pub")), &["2048"]);
}

#[test]
fn options_are_refused() {
    let host = JumpHost::start();
    host.admin(["account", "add", "alice"]);
    let key = generate_key(host.folder(), "laptop", KeyType::Ed25519);
    let text = fs::read_to_string(key.with_extension("pub")).unwrap();
    for options in ["command=\"sh\" ", "no-pty,permitopen=\"*:*\" ", "from=\"10.0.0.0/8\" "] {
        let file = write(&host, "options.pub", &format!("{options}{text}"));
        assert_refused(&add(&host, "alice", &file), &["option"]);
    }
}

#[test]
fn several_lines_are_refused() {
    let host = JumpHost::start();
    host.admin(["account", "add", "alice"]);
    let texts = ["one", "two"].map(|name| {
        fs::read_to_string(generate_key(host.folder(), name, KeyType::Ed25519).with_extension("pub")).unwrap()
    });
    let file = write(&host, "both.pub", &texts.concat());
    assert_refused(&add(&host, "alice", &file), &["line", "one key", "several", "more than one"]);
}

#[test]
fn another_accounts_key_is_refused() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    host.admin(["account", "add", "bob"]);
    assert_refused(&add(&host, "bob", &alice.public_key()), &["another account", "other account", "in use", "already"]);
    let tunnel = OpenSsh::new(&host, &alice).spawn();
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
}

#[test]
fn nonsense_is_refused() {
    let host = JumpHost::start();
    host.admin(["account", "add", "alice"]);
    let key = generate_key(host.folder(), "laptop", KeyType::Ed25519);
    let good = fs::read_to_string(key.with_extension("pub")).unwrap();
    let cut = good[..40].to_owned();
    let wrong_type = good.replacen("ssh-ed25519 ", "ssh-rsa ", 1);
    for text in ["", "hello", "ssh-ed25519", "ssh-ed25519 !!!! x", &cut, &wrong_type, "\0\u{1}\u{2}"] {
        let refused = add(&host, "alice", &write(&host, "nonsense.pub", text));
        assert_refused(&refused, &["key"]);
    }
    assert_refused(&add(&host, "nobody", &key.with_extension("pub")), &["account"]);
    assert_refused(&add(&host, "alice", Path::new("/does/not/exist")), &["/does/not/exist"]);
}

/// Line 33: what a person wrote into a comment or label cannot steer a terminal.
#[test]
fn control_characters_are_never_printed_raw() {
    let host = JumpHost::start();
    host.admin(["account", "add", "alice"]);
    let key = generate_key(host.folder(), "laptop", KeyType::Ed25519);
    let text = fs::read_to_string(key.with_extension("pub")).unwrap();
    let file = write(&host, "steering.pub", &format!("{} \u{1b}]0;owned\u{7}\n", text.trim()));
    let added = host.adit(["key", "add", "alice", "--label", "a\u{1b}[31mred", file.to_str().unwrap()]);
    let listed = host.adit(["key", "list", "alice"]);
    for text in [&added.stdout, &added.stderr, &listed.stdout, &listed.stderr, &host.log()] {
        assert!(!text.contains("\u{1b}]0;") && !text.contains("\u{1b}[31mred"), "{text:?}");
    }
}

/// Line 4: a key may be good for some ports only. The account's other keys keep theirs.
#[test]
fn a_keys_port_range_is_kept() {
    let host = JumpHost::start();
    let free = host.member("alice");
    let bound = Member { name: "alice".to_owned(), key: generate_key(host.folder(), "bound", KeyType::Ed25519) };
    let file = bound.public_key();
    host.admin(["key", "add", "alice", "--label", "bound", "--ports", "20000-20001", file.to_str().unwrap()]);
    let ssh = OpenSsh::new(&host, &bound).no_session();
    let tunnel = ssh.forward(20000, 9).forward(10080, 9).forward(20002, 9).spawn();
    for port in [10080, 20002] {
        tunnel.await_stderr(SOON, &format!("remote port forwarding failed for listen port {port}"));
    }
    assert!(host.listens_on(20000) && !host.listens_on(10080) && !host.listens_on(20002));
    let _other = OpenSsh::new(&host, &free).no_session().forward(10080, 9).spawn();
    host.await_port(10080);
}

/// Line 4: a key that has run out lets nobody in, and ends who is in.
#[test]
fn an_expired_key_is_refused_and_its_sessions_end() {
    let host = JumpHost::builder().setting("penalty_exempt", "[127.0.0.0/8]").start();
    host.admin(["account", "add", "alice"]);
    let guest = Member { name: "alice".to_owned(), key: generate_key(host.folder(), "guest", KeyType::Ed25519) };
    let file = guest.public_key();
    host.admin(["key", "add", "alice", "--label", "guest", "--expires", "3s", file.to_str().unwrap()]);
    let mut tunnel = OpenSsh::new(&host, &guest).no_session().forward(10080, 9).spawn();
    host.await_port(10080);
    assert_eq!(tunnel.wait_exit(Duration::from_secs(6)).code(), 255);
    host.await_port_free(10080, Duration::from_secs(1));
    let refused = OpenSsh::new(&host, &guest).no_session().run(SOON);
    assert!(refused.stderr.contains("Permission denied (publickey)."), "{refused:?}");
}

/// `adit jumphost key add alice < id.pub`, and the label is the key's comment.
#[test]
fn a_key_may_come_from_standard_input() {
    let host = JumpHost::start();
    host.admin(["account", "add", "alice"]);
    let alice = Member { name: "alice".to_owned(), key: generate_key(host.folder(), "from-a-pipe", KeyType::Ed25519) };
    let mut command = adit(None);
    command.arg("--data").arg(host.data()).args(["key", "add", "alice"]);
    let mut adding = Running::spawn(&mut command);
    adding.type_in(&fs::read(alice.public_key()).unwrap());
    adding.close_stdin();
    assert_eq!(adding.wait_exit(SOON).code(), 0);
    assert!(host.json(&["key", "list", "alice"]).to_string().contains("from-a-pipe"));
    let tunnel = OpenSsh::new(&host, &alice).spawn();
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
}
