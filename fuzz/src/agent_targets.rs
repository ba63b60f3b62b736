//! What the fuzzers run of the agent: each body takes bytes as a stranger would send them, and asserts what must hold whatever they
//! are. Included by the fuzz crate and by the tests of the agent, which replay the corpus.

use std::path::Path;

use adit_agent::known_hosts::{HostName, KnownHosts, Verdict};
use adit_core::Port;
use adit_ssh::crypto::PublicKey;

/// A target: its name, which is also its folder in the corpus, and its body.
type Target = (&'static str, fn(&[u8]));

pub(super) const ALL: [Target; 1] = [("known_hosts", known_hosts)];

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// A file of known keys, as somebody else may have written it. Its first line names the host that is asked about.
pub(super) fn known_hosts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (key, port) = (PublicKey::from_text(KEY).expect("a key").0, Port::new(2222).expect("a port"));
    let named = HostName::new(text.lines().next().unwrap_or_default(), port);
    let read = |text: &str| {
        let mut known = KnownHosts::default();
        known.read(Path::new("known_hosts"), text);
        known
    };
    let known = read(&text);
    for host in [named, HostName::new("bastion", port)] {
        let keys = known.keys_of(&host);
        match known.judge(&host, &key) {
            Verdict::Known => assert!(keys.contains(&key)),
            Verdict::Unknown { .. } => assert!(keys.is_empty()),
            Verdict::Changed(change) => {
                assert!(!keys.contains(&key) && keys.len() == change.all_known().count());
                for known in change.all_known() {
                    assert!(keys.iter().any(|other| other.fingerprint() == known.fingerprint));
                    assert!(known.place.line >= 1 && known.place.line <= text.lines().count());
                }
                assert!(!change.to_string().chars().any(char::is_control));
            }
            Verdict::Revoked(place) => assert!(place.line >= 1 && place.line <= text.lines().count()),
        }
    }
    // Whatever stands before it, a line of ours is found; only a revocation is stronger.
    let judged = read(&format!("{text}\n[bastion]:2222 {KEY}\n")).judge(&HostName::new("bastion", port), &key);
    assert!(matches!(judged, Verdict::Known | Verdict::Revoked(_)), "{judged:?}");
}
