//! Keys that members save (line 3), through the administrator's command as the dashboard does not exist yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use adit_e2e::{Finished, JumpHost, KeyType, Member, OpenSsh, Running, adit, eventually, finish, generate_key};

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

/// bob wants a key that alice holds (line 3), and asks for the statement to sign.
struct Claim {
    host: JumpHost,
    alice: Member,
}

impl Claim {
    fn new() -> Claim {
        let host = JumpHost::start();
        let alice = host.member("alice");
        for name in ["bob", "carol"] {
            host.admin(["account", "add", name]);
        }
        Claim { host, alice }
    }

    /// The statement for `account`, as the command writes it beside the public key.
    fn statement(&self, account: &str) -> String {
        let shown = self.host.admin(["key", "claim", account, self.alice.public_key().to_str().unwrap()]);
        assert!(shown.contains("ssh-keygen -Y sign -n adit-key-claim -f "), "{shown}");
        assert!(shown.contains(&format!(" key claim {account} ")) && shown.contains(" --signature "), "{shown}");
        fs::read_to_string(self.file()).unwrap()
    }

    /// Where the command writes the statement, and looks for it.
    fn file(&self) -> PathBuf {
        self.alice.key.with_extension("pub.claim")
    }

    /// Signs what stands in the file.
    fn sign(&self, key: &Path, namespace: &str) -> PathBuf {
        let signature = self.file().with_extension("claim.sig");
        let _ = fs::remove_file(&signature);
        let mut sign = Command::new("ssh-keygen");
        let signed = finish(sign.args(["-Y", "sign", "-n", namespace, "-f"]).arg(key).arg(self.file()), SOON);
        assert_eq!(signed.code(), 0, "{signed:?}");
        signature
    }

    fn claim(&self, account: &str, signature: &Path) -> Finished {
        let key = self.alice.public_key();
        self.host.adit(["key", "claim", account, key.to_str().unwrap(), "--signature", signature.to_str().unwrap()])
    }

    /// Refused with this code; the key is alice's as before.
    fn assert_refused(&self, account: &str, signature: &Path, code: &str) {
        let refused = self.claim(account, signature);
        assert_ne!(refused.code(), 0, "{refused:?}");
        let key = self.alice.public_key();
        let words = ["key", "claim", account, key.to_str().unwrap(), "--json", "--signature"];
        let told = self.host.adit(words.iter().copied().chain([signature.to_str().unwrap()]));
        assert!(told.stderr.contains(&format!("\"code\":\"{code}\"")), "{told:?}");
        let holders = self.host.json(&["key", "list"]);
        let holders: Vec<_> = holders.as_array().unwrap().iter().map(|key| key["account"].clone()).collect();
        assert_eq!(holders, ["alice"]);
    }
}

#[test]
fn a_key_is_claimed_with_a_signature_and_its_sessions_end() {
    let claim = Claim::new();
    let (host, alice) = (&claim.host, &claim.alice);
    let refused = add(host, "bob", &alice.public_key());
    assert!(refused.stderr.contains("adit jumphost key claim bob"), "the refusal says how: {refused:?}");
    let mut tunnel = OpenSsh::new(host, alice).no_session().forward(10080, 9).spawn();
    host.await_port(10080);

    claim.statement("bob");
    let signature = claim.sign(&alice.key, "adit-key-claim");
    let claimed = claim.claim("bob", &signature);
    assert_eq!(claimed.code(), 0, "{claimed:?}");
    assert!(claimed.stdout.contains("1 session"), "{claimed:?}");
    assert_eq!(tunnel.wait_exit(Duration::from_secs(1)).code(), 255);
    host.await_port_free(10080, Duration::from_secs(1));

    let greeted = OpenSsh::new(host, alice).spawn();
    greeted.await_stdout(SOON, "Tunnel-only access for bob.");
    eventually(SOON, "both accounts' trails tell of it", || {
        let trail = host.json(&["audit"]);
        let tells = |kind: &str, account: &str| {
            trail.as_array().unwrap().iter().any(|event| event["kind"] == kind && event["account"] == account)
        };
        tells("key-claimed", "bob") && tells("key-lost", "alice")
    });
    // The same signature cannot be used twice.
    let again = claim.claim("bob", &signature);
    assert!(again.code() != 0 && again.stderr.contains("already"), "{again:?}");
}

#[test]
fn a_claim_that_is_not_good_changes_nothing() {
    let claim = Claim::new();
    let (host, alice) = (&claim.host, &claim.alice);
    let mut tunnel = OpenSsh::new(host, alice).no_session().forward(10080, 9).spawn();
    host.await_port(10080);

    let statement = claim.statement("bob");
    let stranger = generate_key(host.folder(), "stranger", KeyType::Ed25519);
    claim.assert_refused("bob", &claim.sign(&stranger, "adit-key-claim"), "bad-signature");
    claim.assert_refused("bob", &claim.sign(&alice.key, "file"), "bad-signature");
    // Signed by the right key, but for somebody else.
    claim.assert_refused("carol", &claim.sign(&alice.key, "adit-key-claim"), "other-statement");
    // Good once, sixteen minutes ago.
    let issued: u64 = statement.rsplit_once("issued: ").unwrap().1.trim().parse().unwrap();
    let older = statement.replace(&issued.to_string(), &(issued - 16 * 60 * 1000).to_string());
    fs::write(claim.file(), older).unwrap();
    claim.assert_refused("bob", &claim.sign(&alice.key, "adit-key-claim"), "stale-statement");
    // Written after it was signed.
    let signature = claim.sign(&alice.key, "adit-key-claim");
    fs::write(claim.file(), &statement).unwrap();
    claim.assert_refused("bob", &signature, "bad-signature");
    // Of another jump host.
    let elsewhere = Claim::new();
    fs::write(claim.file(), elsewhere.statement("bob")).unwrap();
    claim.assert_refused("bob", &claim.sign(&alice.key, "adit-key-claim"), "other-statement");

    assert!(tunnel.is_running() && host.listens_on(10080));
}

/// The statement a server makes is good while none runs, and the other way round.
#[test]
fn a_key_is_claimed_without_a_server_too() {
    let mut claim = Claim::new();
    claim.statement("bob");
    let signature = claim.sign(&claim.alice.key, "adit-key-claim");
    claim.host.stop();
    let claimed = claim.claim("bob", &signature);
    assert_eq!(claimed.code(), 0, "{claimed:?}");
    claim.statement("carol");
    let signature = claim.sign(&claim.alice.key, "adit-key-claim");
    claim.host.start_again();
    let claimed = claim.claim("carol", &signature);
    assert_eq!(claimed.code(), 0, "{claimed:?}");
    let greeted = OpenSsh::new(&claim.host, &claim.alice).spawn();
    greeted.await_stdout(SOON, "Tunnel-only access for carol.");
}
