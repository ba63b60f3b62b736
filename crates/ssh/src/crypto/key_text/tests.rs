use proptest::prelude::*;

use super::*;

const ED25519: &str = include_str!("../testdata/ed25519.pub");
const RSA: &str = include_str!("../testdata/rsa2048_pem.pub");

fn refusal(text: &str) -> KeyTextError {
    PublicKey::from_text(text).expect_err(text)
}

#[test]
fn a_pasted_line_is_read_however_it_was_copied() {
    let line = ED25519.trim();
    let bare = line.strip_suffix(" alice@example").unwrap();
    let key = PublicKey::from_text(line).unwrap().0;
    let tabbed = line.replace(' ', "\t");
    for (text, comment) in [
        (line.to_owned(), Some("alice@example")),
        (format!("\u{feff}  {line} \r\n\r\n"), Some("alice@example")),
        (tabbed, Some("alice@example")),
        (bare.to_owned(), None),
        (format!("{bare} two  words"), Some("two  words")),
        (line.replacen(' ', "   ", 1), Some("alice@example")),
    ] {
        assert_eq!(PublicKey::from_text(&text), Ok((key.clone(), comment.map(str::to_owned))), "{text:?}");
    }
}

#[test]
fn the_padding_of_base64_may_be_lost() {
    let text = include_str!("../testdata/ecdsa384.pub");
    assert!(text.contains("== "));
    assert_eq!(PublicKey::from_text(&text.replace("==", "")), PublicKey::from_text(text));
}

/// Private keys in every wrapping, and pieces of them, are known before anything else is looked at.
#[test]
fn a_private_key_is_known_and_never_repeated() {
    let ppk = include_str!("../testdata/ed25519.ppk");
    let openssh = include_str!("../testdata/ed25519");
    let body = openssh.lines().nth(1).unwrap();
    let private_lines = ppk.split("Private-Lines:").nth(1).unwrap();
    for text in [
        openssh.to_owned(),
        include_str!("../testdata/rsa2048_pem").to_owned(),
        include_str!("../testdata/rsa2048_pkcs8").to_owned(),
        include_str!("../testdata/rsa2048_pem_encrypted").to_owned(),
        include_str!("../testdata/dsa").to_owned(),
        ppk.to_owned(),
        format!("Private-Lines:{private_lines}"),
        body.to_owned(),
        openssh.lines().skip(1).collect::<Vec<_>>().join("\n"),
        openssh.replace('\n', " "),
        format!("{ED25519}{openssh}"),
        format!("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n{body}"),
        format!("ssh-ed25519 {body}"),
        openssh.repeat(100),
    ] {
        let error = refusal(&text);
        assert_eq!(error, KeyTextError::PrivateKey, "{text}");
        for piece in text.split_whitespace().filter(|word| word.len() > 16) {
            assert!(!error.to_string().contains(piece) && !format!("{error:?}").contains(piece));
        }
    }
    // A comment may speak of one.
    assert!(PublicKey::from_text(&format!("{} not my PRIVATE KEY", ED25519.trim())).is_ok());
}

#[test]
fn every_mistake_has_its_own_sentence() {
    let key = ED25519.trim();
    let base64 = key.split(' ').nth(1).unwrap();
    for (text, error) in [
        (String::new(), KeyTextError::Empty),
        (" \r\n\t".to_owned(), KeyTextError::Empty),
        (include_str!("../testdata/ed25519_rfc4716.pub").to_owned(), KeyTextError::Rfc4716),
        (include_str!("../testdata/rsa_pkcs8.pub").to_owned(), KeyTextError::Pem),
        (include_str!("../testdata/rsa_pkcs1.pub").to_owned(), KeyTextError::Pem),
        (format!("restrict,from=\"10.0.0.0/8\" {key}"), KeyTextError::Options),
        (format!("command=\"echo hello\",no-pty {key}"), KeyTextError::Options),
        (format!("jump.example {key}"), KeyTextError::Options),
        (format!("{key}\n{RSA}"), KeyTextError::SeveralLines),
        (format!("{}\n{}", &key[..40], &key[40..]), KeyTextError::SeveralLines),
        (format!("{key}{}", " x".repeat(LONGEST_TEXT)), KeyTextError::TooLong),
        ("ssh-ed25519".to_owned(), KeyTextError::Damaged),
        (format!("ssh-ed25519 {}", &base64[..base64.len() - 4]), KeyTextError::Damaged),
        (format!("ssh-ed25519 {}", &base64[..base64.len() - 1]), KeyTextError::Damaged),
        (format!("ssh-ed25519 {base64}AAAA"), KeyTextError::Damaged),
        (format!("ssh-ed25519 {}", base64.replace('I', "*")), KeyTextError::Damaged),
        (format!("ssh-rsa {base64}"), KeyTextError::TypeDiffers),
        (include_str!("../testdata/dsa.pub").to_owned(), KeyError::Dsa.into()),
        (include_str!("../testdata/rsa1024.pub").to_owned(), KeyError::ShortRsa { bits: 1024 }.into()),
        (include_str!("../testdata/ed25519-cert.pub").to_owned(), KeyError::Certificate.into()),
        // `string "ssh-ed448"` and a `string` of three bytes.
        (
            "ssh-ed448 AAAACXNzaC1lZDQ0OAAAAAMBAgM=".to_owned(),
            KeyError::Unsupported { key_type: "ssh-ed448".to_owned() }.into(),
        ),
        (base64.to_owned(), KeyTextError::NotAKey),
        ("hello".to_owned(), KeyTextError::NotAKey),
        ("SHA256:h8cfbFB7PWo8lqcn8XbTssmlbSUjVWyDamsoSeZjJFE".to_owned(), KeyTextError::NotAKey),
        ("https://github.com/alice.keys".to_owned(), KeyTextError::NotAKey),
        ("# a comment".to_owned(), KeyTextError::NotAKey),
    ] {
        assert_eq!(refusal(&text), error, "{text}");
    }
    assert!(KeyTextError::from(KeyError::ShortRsa { bits: 1024 }).to_string().contains("1024 bits"));
}

#[test]
fn certificate_types_are_known_by_their_names() {
    for name in [
        "ssh-rsa-cert-v01@openssh.com",
        "ssh-dss-cert-v01@openssh.com",
        "ecdsa-sha2-nistp521-cert-v01@openssh.com",
        "sk-ssh-ed25519-cert-v01@openssh.com",
        "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    ] {
        assert!(is_key_type(name), "{name}");
    }
    assert!(!is_key_type("-cert-v01@openssh.com") && !is_key_type(""));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String) {
        let _ = PublicKey::from_text(&text);
        let _ = PublicKey::from_text(&format!("ssh-ed25519 {text}"));
        let _ = PublicKey::from_text(&format!("{text} {text}"));
    }
}
