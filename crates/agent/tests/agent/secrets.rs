//! What profiles keep in the vault.

use std::fs;

use adit_agent::agent::{SecretChangeError, StartError};
use adit_agent::credentials::SecretKind;
use adit_agent::vault::NewKeyPlace;
use adit_store::agent::{AuthMethod, Profile, ProfileChange, Tunnel};
use zeroize::Zeroizing;

use crate::home::{Home, dynamic, profile, tunnel};
use crate::sshd::{Sshd, make_key};

fn text(text: &str) -> Option<Zeroizing<String>> {
    Some(Zeroizing::new(text.to_owned()))
}

#[tokio::test]
async fn a_passphrase_is_kept_for_its_profile_and_for_nothing_else() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    sshd.authorize(&make_key(&sshd.path(""), "encrypted", "ed25519", "open sesame"));
    let key_path = Some(sshd.path("encrypted").to_str().unwrap().to_owned());
    let id = home.agent.add(Profile { key_path, ..profile(&sshd) }).await.unwrap().id;
    let auto = Tunnel { auto_start: true, ..tunnel(&sshd, &id, dynamic()) };
    let tunnel = home.start(auto).await;
    home.becomes(&tunnel, "failed").await;
    assert!(home.last_error(&tunnel).contains("No passphrase found"), "{}", home.last_error(&tunnel));

    home.agent.set_secret(&id, SecretKind::Passphrase, text("open sesame")).await.unwrap();
    home.agent.start_tunnel(&tunnel).await.unwrap();
    home.becomes(&tunnel, "connected").await;
    let saved = home.agent.store().get::<Profile>(&id).await.unwrap().unwrap().record;
    assert!(saved.passphrase_secret.is_some() && saved.password_secret.is_none());

    // With a passphrase on the vault, a restart cannot log in before somebody has said it.
    home.agent.move_secrets_key(NewKeyPlace::Passphrase(text("correct horse").unwrap())).await.unwrap();
    let home = home.restart().await;
    home.becomes(&tunnel, "failed").await;
    assert!(home.last_error(&tunnel).contains("locked"), "{}", home.last_error(&tunnel));
    assert!(matches!(home.agent.start_tunnel(&tunnel).await, Err(StartError::SecretsLocked)));
    assert!(home.agent.secrets_are_locked().await.unwrap());
    home.agent.unlock_secrets(text("correct horse")).await.unwrap();
    home.becomes(&tunnel, "connected").await;

    // Nothing of it lies about.
    home.agent.stop_all().await;
    home.agent.remove::<Tunnel>(&tunnel).await.unwrap();
    home.agent.set_secret(&id, SecretKind::Passphrase, None).await.unwrap();
    assert!(home.agent.store().get::<Profile>(&id).await.unwrap().unwrap().record.passphrase_secret.is_none());
    home.agent.set_secret(&id, SecretKind::Password, text("open barley")).await.unwrap();
    home.agent.remove::<Profile>(&id).await.unwrap();
    let folder = home.end().await;
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let content = fs::read(entry.path()).unwrap();
            for secret in ["open sesame", "open barley", "correct horse"] {
                let found = content.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!found, "{secret} in {}", entry.path().display());
            }
        }
    }
}

#[tokio::test]
async fn a_profile_without_its_secret_is_named() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    let id = home.profile(&sshd).await;
    let tunnel = home.add(tunnel(&sshd, &id, dynamic())).await;
    let fails_with = async |change, words: &str| {
        home.agent.change::<Profile>(&id, change).await.unwrap();
        home.agent.start_tunnel(&tunnel).await.unwrap();
        home.becomes(&tunnel, "failed").await;
        let told = home.last_error(&tunnel);
        assert!(told.contains(words) && told.contains("“core”"), "{told}");
        home.agent.stop(&tunnel).await.unwrap();
    };
    let change = ProfileChange { key_path: Some(None), ..ProfileChange::default() };
    fails_with(change, "No SSH key path found").await;
    let change = ProfileChange { auth_method: Some(AuthMethod::Password), ..ProfileChange::default() };
    fails_with(change, "No password found").await;
    home.agent.set_secret(&id, SecretKind::Password, text("wrong")).await.unwrap();
    fails_with(ProfileChange::default(), "does not let").await;
    let refused = home.agent.set_secret("prof_none", SecretKind::Password, text("x")).await;
    assert!(matches!(refused, Err(SecretChangeError::NotFound(_))));
}
