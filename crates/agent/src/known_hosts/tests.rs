//! Verdicts, and what becomes of the file.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use adit_ssh::crypto::PrivateKey;

use super::*;

fn key() -> PublicKey {
    PrivateKey::generate_ed25519().unwrap().public_key().clone()
}

fn host(name: &str, port: u16) -> HostName {
    HostName::new(name, Port::new(port).unwrap())
}

fn text(hosts: &str, key: &PublicKey) -> String {
    line::write(hosts, key)
}

fn known(text: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.read(Path::new("known_hosts"), text);
    known
}

fn is_known(text: &str, host: &HostName, key: &PublicKey) -> bool {
    known(text).judge(host, key) == Verdict::Known
}

#[test]
fn a_host_is_named_with_its_port_unless_it_is_the_usual_one() {
    assert_eq!(host("Bastion.example", 22).as_str(), "bastion.example");
    assert_eq!(host("bastion", 2222).as_str(), "[bastion]:2222");
    assert_eq!(host("2001:DB8::1", 2222).as_str(), "[2001:db8::1]:2222");
    let key = key();
    assert!(is_known(&text("[bastion]:2222", &key), &host("bastion", 2222), &key));
    assert!(!is_known(&text("[bastion]:2222", &key), &host("bastion", 22), &key));
    assert!(!is_known(&text("bastion", &key), &host("bastion", 2222), &key));
}

#[test]
fn patterns_name_many_hosts_and_leave_some_out() {
    let key = key();
    let text = text("*.Example.org,!bad.example.org,10.0.0.?", &key);
    assert!(is_known(&text, &host("good.example.org", 22), &key));
    assert!(is_known(&text, &host("10.0.0.7", 22), &key));
    assert!(!is_known(&text, &host("bad.example.org", 22), &key));
    assert!(!is_known(&text, &host("10.0.0.77", 22), &key));
}

#[test]
fn a_key_is_compared_as_a_whole_and_a_change_is_told_with_its_line() {
    let (old, new) = (key(), key());
    let text = format!("# mine\n\n{}", text("bastion", &old));
    let Verdict::Changed(change) = known(&text).judge(&host("bastion", 22), &new) else { panic!("it was accepted") };
    assert_eq!((&change.shown, change.known.fingerprint), (&new, old.fingerprint()));
    assert_eq!((change.known.place.to_string().as_str(), change.further.len()), ("known_hosts:3", 0));
    let told = change.to_string();
    assert!(told.contains(&new.fingerprint().to_string()) && told.contains(&old.fingerprint().to_string()), "{told}");
    assert!(told.contains("known_hosts:3"), "{told}");
}

#[test]
fn one_of_several_keys_is_enough() {
    let (one, other) = (key(), key());
    let text = text("bastion", &one) + &text("bastion,other", &other);
    assert!(is_known(&text, &host("bastion", 22), &one) && is_known(&text, &host("bastion", 22), &other));
    assert_eq!(known(&text).keys_of(&host("bastion", 22)), [one, other]);
}

#[test]
fn markers_revoke_and_authorities_are_named() {
    let (stolen, authority) = (key(), key());
    let text = format!(
        "@revoked * {}@cert-authority *.example {}",
        text("", &stolen).trim_start(),
        text("", &authority).trim_start()
    );
    let text = text + &super::line::write("bastion.example", &stolen);
    assert!(
        matches!(known(&text).judge(&host("bastion.example", 22), &stolen), Verdict::Revoked(place) if place.line == 1)
    );
    let Verdict::Unknown { ignored: Some(place) } = known(&text).judge(&host("other.example", 22), &authority) else {
        panic!("an authority's key is no host's")
    };
    assert_eq!(place.line, 2);
}

#[test]
fn what_is_not_understood_is_passed_over() {
    let key = key();
    for junk in
        ["", "#", "host", "host ssh-ed25519", "host ssh-ed25519 ????", "@new * ssh-ed25519 AAAA", "|2|a|b ssh-rsa AAAA"]
    {
        assert!(is_known(&format!("{junk}\n{}", text("bastion", &key)), &host("bastion", 22), &key), "{junk}");
    }
    let other_type = text("bastion", &key).replacen("ssh-ed25519", "ssh-rsa", 1);
    assert!(matches!(known(&other_type).judge(&host("bastion", 22), &key), Verdict::Unknown { .. }));
}

#[test]
fn hashed_names_are_those_of_ssh_keygen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    let key = key();
    fs::write(&file, text("bastion", &key) + &text("[bastion]:2222", &key)).unwrap();
    let hashed = Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).output().unwrap();
    assert!(hashed.status.success(), "{hashed:?}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("|1|") && !text.contains("bastion"), "{text}");
    assert!(is_known(&text, &host("bastion", 22), &key) && is_known(&text, &host("bastion", 2222), &key));
    assert!(!is_known(&text, &host("bastion", 23), &key));
}

fn host_keys(file: &Path) -> HostKeys {
    HostKeys { policy: Policy::AcceptNew, file: file.into(), others: Vec::new() }
}

#[tokio::test]
async fn a_new_key_is_appended_and_everything_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made/known_hosts");
    let keys = host_keys(&file);
    let (first, second) = (key(), key());
    keys.remember(&host("one", 22), &first).await.unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let odd = fs::read_to_string(&file).unwrap() + "@future something odd\n# a word with no end";
    fs::write(&file, &odd).unwrap();
    keys.remember(&host("two", 2222), &second).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{odd}\n{}", text("[two]:2222", &second)));
    keys.remember(&host("two", 2222), &second).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 4, "a known key is not added again");
    let refused = keys.remember(&host("one", 22), &second).await.unwrap_err();
    assert!(matches!(refused, HostKeyError::Changed(_)), "{refused}");
    let known = keys.load().await.unwrap();
    assert_eq!(known.judge(&host("two", 2222), &second), Verdict::Known);
}

#[tokio::test]
async fn a_symbolic_link_and_a_pipe_are_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link, pipe) = (folder.path().join("target"), folder.path().join("link"), folder.path().join("pipe"));
    fs::write(&target, "precious").unwrap();
    symlink(&target, &link).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for file in [&link, &pipe] {
        let refused = host_keys(file).remember(&host("one", 22), &key()).await.unwrap_err();
        assert!(matches!(refused, HostKeyError::File { attempt: "write", .. }), "{refused}");
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

#[tokio::test]
async fn many_writers_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let keys = host_keys(&folder.path().join("known_hosts"));
    let writers: Vec<_> = (1..=40)
        .map(|port| {
            let (keys, key) = (keys.clone(), key());
            tokio::spawn(async move { keys.remember(&host("one", port), &key).await.map(|()| (port, key)) })
        })
        .collect();
    for writer in writers {
        let (port, key) = writer.await.unwrap().unwrap();
        assert_eq!(keys.load().await.unwrap().judge(&host("one", port), &key), Verdict::Known);
    }
}

#[test]
fn further_keys_are_learnt_beside_a_known_one_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    let (shown, further, stranger, stolen) = (key(), key(), key(), key());
    fs::write(&file, text("one", &shown) + "@revoked * " + text("", &stolen).trim_start()).unwrap();
    let keys = host_keys(&file);
    keys.keeper(host("one", 22), shown.clone()).unwrap()(vec![shown.clone(), further.clone(), stolen]);
    assert_eq!(known(&fs::read_to_string(&file).unwrap()).keys_of(&host("one", 22)), [shown.clone(), further.clone()]);
    let before = fs::read_to_string(&file).unwrap();
    keys.keeper(host("one", 22), stranger).unwrap()(vec![key()]);
    keys.keeper(host("two", 22), shown.clone()).unwrap()(vec![key()]);
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    assert!(HostKeys { policy: Policy::Strict, ..keys }.keeper(host("one", 22), shown).is_none());
}

#[tokio::test]
async fn a_name_with_a_meaning_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    for name in ["a b", "*", "a,b", "!a", "@revoked", "#a", "|1|a", "a\nb", ""] {
        let refused = host_keys(&file).remember(&host(name, 22), &key()).await.unwrap_err();
        assert!(matches!(refused, HostKeyError::Name(_)), "{name:?}");
    }
    assert!(!file.exists());
}

/// What is known in a file that somebody else keeps is known.
#[tokio::test]
async fn a_host_that_another_file_knows_is_not_learnt_by_another_key() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (folder.path().join("own"), folder.path().join("other"));
    let (right, wrong) = (key(), key());
    fs::write(&other, text("one", &right)).unwrap();
    let keys = HostKeys { others: vec![other.clone()], ..host_keys(&own) };
    let refused = keys.remember(&host("one", 22), &wrong).await.unwrap_err();
    assert!(matches!(refused, HostKeyError::Changed(_)), "{refused}");
    keys.remember(&host("one", 22), &right).await.unwrap();
    assert_eq!(fs::read_to_string(&own).unwrap_or_default(), "", "it is known already");
    fs::write(&other, format!("@revoked {}", text("one", &right))).unwrap();
    let refused = keys.remember(&host("one", 22), &right).await.unwrap_err();
    assert!(matches!(refused, HostKeyError::Revoked { .. }), "{refused}");
}

/// The keys that somebody compares who is told of a change.
async fn compared(keys: &HostKeys, host: &HostName, shown: &PublicKey) -> Vec<KnownKey> {
    let Verdict::Changed(change) = keys.load().await.unwrap().judge(host, shown) else { panic!("it has not changed") };
    change.all_known().cloned().collect()
}

#[tokio::test]
async fn a_key_takes_the_place_of_all_that_were_compared() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    let (old, older, new, stolen) = (key(), key(), key(), key());
    let revoked = format!("@revoked one {}", text("", &stolen).trim_start());
    fs::write(&file, format!("# mine\n{}{revoked}{}", text("one,two", &old), text("one", &older))).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let (keys, one) = (host_keys(&file), host("one", 22));
    let both = compared(&keys, &one, &new).await;
    assert_eq!(both.len(), 2);
    let refused = keys.replace(&one, &new, &both[..1]).await.unwrap_err();
    assert!(matches!(refused, ReplaceError::KnownMeanwhile { .. }), "{refused}");
    let refused = keys.replace(&one, &stolen, &both).await.unwrap_err();
    assert!(matches!(refused, ReplaceError::HostKey(HostKeyError::Revoked { .. })), "{refused}");
    assert_eq!(compared(&keys, &one, &new).await, both, "nothing has changed yet");
    keys.replace(&one, &new, &both).await.unwrap();
    let wanted = format!("# mine\n{}{revoked}{}", text("two", &old), text("one", &new));
    assert_eq!(fs::read_to_string(&file).unwrap(), wanted);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640, "its rights are its owner's business");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    keys.replace(&one, &new, &[]).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), wanted, "it is known already");
    keys.replace(&host("three", 22), &new, &[]).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), wanted + &text("three", &new));
}

#[tokio::test]
async fn a_key_in_a_file_that_is_only_read_stays_and_the_way_out_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (folder.path().join("own"), folder.path().join("other's"));
    let (old, new) = (key(), key());
    fs::write(&own, text("one", &old)).unwrap();
    fs::write(&other, text("[one]:2222", &old) + &text("one", &old)).unwrap();
    let keys = HostKeys { others: vec![other.clone()], ..host_keys(&own) };
    let both = compared(&keys, &host("one", 22), &new).await;
    let told = keys.replace(&host("one", 22), &new, &both).await.unwrap_err().to_string();
    let line = |number: u32| format!("({}:{number}), in a file that is only read here", other.display());
    assert!(told.contains(&line(2)), "{told}");
    let one = compared(&keys, &host("one", 2222), &new).await;
    let told = keys.replace(&host("one", 2222), &new, &one).await.unwrap_err().to_string();
    assert!(told.contains(&line(1)), "{told}");
    assert_eq!(fs::read_to_string(&own).unwrap(), text("one", &old));
}

#[tokio::test]
async fn an_exchange_of_the_file_loses_nobody_s_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    let (keys, old) = (host_keys(&file), key());
    let lines: String = (1..=20).map(|port| text(host("old", port).as_str(), &old)).collect();
    fs::write(&file, lines).unwrap();
    let writers: Vec<_> = (1..=20)
        .flat_map(|port| [("old", port), ("new", port)])
        .map(|(name, port)| {
            let (keys, key, host) = (keys.clone(), key(), host(name, port));
            tokio::spawn(async move {
                match name {
                    "old" => {
                        let compared = compared(&keys, &host, &key).await;
                        keys.replace(&host, &key, &compared).await.unwrap();
                    }
                    _ => keys.remember(&host, &key).await.unwrap(),
                }
                (host, key)
            })
        })
        .collect();
    for writer in writers {
        let (host, key) = writer.await.unwrap();
        assert_eq!(keys.load().await.unwrap().keys_of(&host), [key], "{host}");
    }
}

#[tokio::test]
async fn what_cannot_be_exchanged_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("known_hosts"), folder.path().join("link"));
    let (old, new, one) = (key(), key(), host("one", 22));
    fs::write(&file, text("one", &old)).unwrap();
    symlink(&file, &link).unwrap();
    // Nothing can be written beside it: a folder has the draft's place.
    fs::create_dir(folder.path().join("known_hosts.new")).unwrap();
    for file in [&file, &link] {
        let keys = host_keys(file);
        let compared = compared(&keys, &one, &new).await;
        let refused = keys.replace(&one, &new, &compared).await.unwrap_err();
        assert!(matches!(refused, ReplaceError::HostKey(HostKeyError::File { attempt: "write", .. })), "{refused}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), text("one", &old));
}
