//! What goes from a file with one host, and that nothing else does.

use std::path::Path;
use std::process::Command;

use adit_core::Port;
use adit_ssh::crypto::PublicKey;
use proptest::prelude::*;

use super::*;
use crate::known_hosts::{KnownHosts, Verdict};

const OLD: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP/+/fz7+vn49/b19PPy8fDv7u3s6+rp6Ofm5eTj4uHg";

/// `bastion`, as `ssh-keygen -H` hid it.
const HASHED: &str = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|SWZImMDYSA9mb1DqWcdgYozYGA4=";

fn host(name: &str, port: u16) -> HostName {
    HostName::new(name, Port::new(port).unwrap())
}

fn without_bastion(text: &str) -> String {
    String::from_utf8(without(text.as_bytes(), &host("bastion", 22))).unwrap()
}

fn known(text: &[u8]) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.read(Path::new("known_hosts"), &String::from_utf8_lossy(text));
    known
}

#[test]
fn a_host_goes_and_what_stands_beside_it_stays() {
    for (before, after) in [
        (format!("bastion {OLD}\n"), String::new()),
        (format!("bastion {OLD}"), String::new()),
        (format!("BASTION {OLD} me@here\nother {OLD}\n"), format!("other {OLD}\n")),
        (format!("# one\n\nbastion {OLD}\n# two"), "# one\n\n# two".to_owned()),
        (format!("a,bastion,b {OLD} it's mine\n"), format!("a,b {OLD} it's mine\n")),
        (format!("bastion,bastion {OLD}\n"), String::new()),
        (format!("  bastion,b\t{OLD}\r\n"), format!("  b\t{OLD}\r\n")),
        (format!("bastion,!b {OLD}\n"), String::new()),
        (format!("bas* {OLD}\n"), format!("bas*,!bastion {OLD}\n")),
        (format!("bastion,ba?tion,b {OLD}\n"), format!("ba?tion,b,!bastion {OLD}\n")),
        (format!("{HASHED} {OLD}\nb {OLD}\n"), format!("b {OLD}\n")),
    ] {
        assert_eq!(without_bastion(&before), after, "{before}");
    }
}

#[test]
fn a_line_that_does_not_make_the_host_known_is_not_touched() {
    for line in [
        format!("@revoked bastion {OLD}\n"),
        format!("@cert-authority bastion,b {OLD}\n"),
        format!("@future bastion {OLD}\n"),
        format!("#bastion {OLD}\n"),
        format!("[bastion]:2222 {OLD}\n"),
        format!("bastion.example {OLD}\n"),
        format!("bastion,!bastion {OLD}\n"),
        format!("*,!bas* {OLD}\n"),
        "bastion ssh-ed25519 ????\n".to_owned(),
        "bastion\n".to_owned(),
        "\n\r\n \n".to_owned(),
    ] {
        assert_eq!(without_bastion(&line), line);
    }
}

#[test]
fn a_comment_in_an_old_encoding_stays_as_it_is() {
    let text = [b"# caf\xe9\n".as_slice(), b"bastion,caf\xe9 ", OLD.as_bytes(), b" caf\xe9\n"].concat();
    let rest = [b"# caf\xe9\n".as_slice(), b"caf\xe9 ", OLD.as_bytes(), b" caf\xe9\n"].concat();
    assert_eq!(without(&text, &host("bastion", 22)), rest);
}

#[test]
fn the_port_is_part_of_the_name() {
    let text = format!("[bastion]:2222,bastion {OLD}\n");
    let rest = without(text.as_bytes(), &host("bastion", 2222));
    assert_eq!(String::from_utf8(rest).unwrap(), format!("bastion {OLD}\n"));
    let rest = without(format!("[bas*]:2222 {OLD}\n").as_bytes(), &host("bastion", 2222));
    assert_eq!(String::from_utf8(rest).unwrap(), format!("[bas*]:2222,![bastion]:2222 {OLD}\n"));
}

/// OpenSSH reads the exception as we do.
#[test]
fn ssh_does_not_find_the_host_either() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    let finds = |text: &str, host: &str| {
        std::fs::write(&file, text).unwrap();
        Command::new("ssh-keygen").args(["-F", host, "-f"]).arg(&file).output().unwrap().status.success()
    };
    let text = format!("bas*,b {OLD}\nbastion,a {OLD}\n{HASHED} {OLD}\n");
    assert!(["bastion", "bastille", "a", "b"].iter().all(|host| finds(&text, host)));
    let rest = without_bastion(&text);
    assert!(!finds(&rest, "bastion"), "{rest}");
    assert!(["bastille", "a", "b"].iter().all(|host| finds(&rest, host)), "{rest}");
}

/// A line of a file, likely to say something of the host.
fn a_line() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "bastion",
        "Bastion",
        "other",
        "bas*",
        "*",
        "?astion",
        "!bastion",
        "!other",
        "!bas*",
        "[bastion]:2222",
        "[*]:2222",
        "",
    ]);
    let names = prop::collection::vec(name, 1..4).prop_map(|names| names.join(","));
    let hosts = prop_oneof![6 => names, 1 => Just(HASHED.to_owned())];
    let marker = prop::sample::select(vec!["", "", "", "@revoked ", "@cert-authority ", "@odd ", "#", " "]);
    let rest = prop::sample::select(vec![OLD, OTHER, "ssh-ed25519 AAAA", "ssh-rsa", ""]);
    let end = prop::sample::select(vec!["\n", "\r\n", " a comment\n", " \u{e9}\n"]);
    let line = (marker, hosts, rest, end)
        .prop_map(|(marker, hosts, rest, end)| format!("{marker}{hosts} {rest}{end}").into_bytes());
    prop_oneof![8 => line, 1 => prop::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #[test]
    fn the_host_is_not_known_any_more_and_all_others_are_as_before(lines in prop::collection::vec(a_line(), 0..8)) {
        let (text, host) = (lines.concat(), host("bastion", 22));
        let rest = without(&text, &host);
        let (before, after) = (known(&text), known(&rest));
        prop_assert_eq!(after.keys_of(&host), []);
        for other in [self::host("other", 22), self::host("bastille", 22), self::host("bastion", 2222)] {
            prop_assert_eq!(before.keys_of(&other), after.keys_of(&other), "{}", other);
        }
        // A revocation holds as before.
        for key in [OLD, OTHER] {
            let key = PublicKey::from_text(key).unwrap().0;
            let revoked = |known: &KnownHosts| matches!(known.judge(&host, &key), Verdict::Revoked(_));
            prop_assert_eq!(revoked(&before), revoked(&after));
        }
        // Whatever does not make the host known stays, byte for byte and in its order.
        let stays = |line: &&[u8]| known(line).keys_of(&host).is_empty() && !known_line(line, &host);
        let mut left = rest.split_inclusive(|byte| *byte == b'\n');
        for line in text.split_inclusive(|byte| *byte == b'\n').filter(stays) {
            prop_assert!(left.any(|other| other == line), "{:?}", String::from_utf8_lossy(line));
        }
        prop_assert_eq!(without(&rest, &host), rest, "nothing is left to be taken");
    }
}

/// Also where its key is none that we speak.
fn known_line(line: &[u8], host: &HostName) -> bool {
    let parsed = Line::parse(&String::from_utf8_lossy(line));
    parsed.is_some_and(|line| line.marker.is_none() && line.names(host.as_str()))
}
