//! A member of the mesh: an account on a jump host, and the key pair that is its identity.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::finish;

/// Long enough for RSA on a busy machine.
const KEYGEN: Duration = Duration::from_secs(30);

/// What `ssh-keygen` is asked to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// The one the documents recommend.
    Ed25519,
    /// ECDSA on the NIST curve of that many bits: 256, 384 or 521.
    Ecdsa(u32),
    /// RSA of that many bits.
    Rsa(u32),
}

/// An account's name and one of its private keys.
#[derive(Clone, Debug)]
pub struct Member {
    /// The account's name.
    pub name: String,
    /// The private key's file.
    pub key: PathBuf,
}

impl Member {
    /// The file with the public key.
    pub fn public_key(&self) -> PathBuf {
        let mut path = self.key.clone().into_os_string();
        path.push(".pub");
        path.into()
    }

    /// The key's fingerprint as OpenSSH prints it (`SHA256:…`).
    pub fn fingerprint(&self) -> String {
        let listed = finish(Command::new("ssh-keygen").arg("-lf").arg(self.public_key()), KEYGEN);
        let fingerprint = listed.stdout.split_whitespace().nth(1);
        fingerprint.unwrap_or_else(|| panic!("ssh-keygen -l: {listed:?}")).to_owned()
    }
}

/// Makes a key pair `folder/name` and `folder/name.pub` without a passphrase and returns the private key's path.
pub fn generate_key(folder: &Path, name: &str, key_type: KeyType) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(folder).unwrap();
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", "", "-C", name, "-f"]).arg(&path);
    match key_type {
        KeyType::Ed25519 => command.args(["-t", "ed25519"]),
        KeyType::Ecdsa(bits) => command.args(["-t", "ecdsa", "-b", &bits.to_string()]),
        KeyType::Rsa(bits) => command.args(["-t", "rsa", "-b", &bits.to_string()]),
    };
    let outcome = finish(&mut command, KEYGEN);
    assert!(outcome.status.success(), "ssh-keygen: {outcome:?}");
    path
}
