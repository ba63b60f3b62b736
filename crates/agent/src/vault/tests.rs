use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use tempfile::TempDir;

use super::*;

fn text(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

fn profile(id: &str) -> RecordId {
    RecordId::from(id)
}

async fn password(vault: &Vault) -> Result<Option<Zeroizing<String>>, SecretError> {
    vault.find(&profile("prof_1"), SecretKind::Password).await
}

/// A vault with one password in it.
async fn vault() -> (TempDir, Vault) {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::at(&folder.path().join("data"));
    vault.set(&profile("prof_1"), SecretKind::Password, text("open sesame")).await.unwrap();
    (folder, vault)
}

fn files(folder: &TempDir) -> Vec<(String, u32, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder.path().join("data"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), mode, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn secrets_outlive_the_process_and_are_told_apart() {
    let (folder, vault) = vault().await;
    vault.set(&profile("prof_1"), SecretKind::Passphrase, text("another")).await.unwrap();
    vault.set(&profile("prof_2"), SecretKind::Password, text("")).await.unwrap();
    let again = Vault::at(&folder.path().join("data"));
    let find = async |id: &str, kind| again.find(&profile(id), kind).await.unwrap().map(|secret| secret.to_string());
    assert_eq!(find("prof_1", SecretKind::Password).await.as_deref(), Some("open sesame"));
    assert_eq!(find("prof_1", SecretKind::Passphrase).await.as_deref(), Some("another"));
    assert_eq!(find("prof_2", SecretKind::Password).await.as_deref(), Some(""));
    assert_eq!(find("prof_2", SecretKind::Passphrase).await, None);
    vault.remove(&profile("prof_1"), SecretKind::Password).await.unwrap();
    assert_eq!(find("prof_1", SecretKind::Password).await, None);
    assert_eq!(find("prof_1", SecretKind::Passphrase).await.as_deref(), Some("another"));
}

#[tokio::test]
async fn files_are_private_and_hold_nothing_in_the_open() {
    let (folder, _vault) = vault().await;
    let files = files(&folder);
    let names: Vec<&str> = files.iter().map(|file| &*file.0).collect();
    assert_eq!(names, ["secrets.key", "secrets.lock", "secrets.vault"], "no draft is left");
    for (name, mode, content) in &files {
        assert_eq!(*mode, 0o600, "{name}");
        for secret in [&b"sesame"[..], b"prof_1"] {
            assert!(!content.windows(secret.len()).any(|part| part == secret), "{name}");
        }
    }
    let folder_mode = fs::metadata(folder.path().join("data")).unwrap().permissions().mode();
    assert_eq!(folder_mode & 0o777, 0o700);
}

#[tokio::test]
async fn one_changed_bit_anywhere_is_told_and_nothing_is_written_over() {
    let (folder, vault) = vault().await;
    let path = folder.path().join("data/secrets.vault");
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        let refused = vault.set(&profile("prof_2"), SecretKind::Password, text("new")).await.unwrap_err();
        assert!(matches!(refused, VaultError::Damaged(_) | VaultError::Locked), "{at}: {refused}");
        assert!(password(&vault).await.is_err(), "{at}");
        assert_eq!(fs::read(&path).unwrap(), bad);
    }
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert!(matches!(password(&vault).await, Err(SecretError::Failed(why)) if why.contains("damaged")));
    fs::write(&path, &good).unwrap();
    assert_eq!(password(&vault).await.unwrap().unwrap().as_str(), "open sesame");
}

#[tokio::test]
async fn a_lost_key_is_told_and_no_other_is_made_in_its_place() {
    let (folder, vault) = vault().await;
    let key = folder.path().join("data/secrets.key");
    let saved = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let refused = vault.set(&profile("prof_2"), SecretKind::Password, text("new")).await.unwrap_err();
    assert!(matches!(refused, VaultError::NoKey(_)), "{refused}");
    assert!(!key.exists());
    fs::write(&key, saved).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = password(&vault).await.unwrap_err();
    assert!(refused.to_string().contains("chmod 600"), "{refused}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(password(&vault).await.unwrap().is_some());
}

#[tokio::test]
async fn a_passphrase_locks_until_it_is_said() {
    let (folder, vault) = vault().await;
    assert!(matches!(vault.move_key(NewKeyPlace::Passphrase(text(""))).await, Err(VaultError::EmptyPassphrase)));
    vault.move_key(NewKeyPlace::Passphrase(text("correct horse"))).await.unwrap();
    assert!(!vault.is_locked().await.unwrap(), "whoever set it need not say it again");
    assert!(!folder.path().join("data/secrets.key").exists());
    vault.set(&profile("prof_2"), SecretKind::Password, text("new")).await.unwrap();

    let again = Vault::at(&folder.path().join("data"));
    assert!(again.is_locked().await.unwrap());
    assert_eq!(password(&again).await, Err(SecretError::Locked));
    let refused = again.set(&profile("prof_3"), SecretKind::Password, text("new")).await.unwrap_err();
    assert!(matches!(refused, VaultError::Locked), "{refused}");
    assert!(matches!(again.unlock(Some(text("wrong horse"))).await, Err(VaultError::WrongPassphrase(_))));
    again.unlock(Some(text("correct horse"))).await.unwrap();
    assert_eq!(password(&again).await.unwrap().unwrap().as_str(), "open sesame");

    again.move_key(NewKeyPlace::File).await.unwrap();
    let without = Vault::at(&folder.path().join("data"));
    assert!(!without.is_locked().await.unwrap());
    assert!(without.find(&profile("prof_2"), SecretKind::Password).await.unwrap().is_some());
}

#[tokio::test]
async fn many_at_once_lose_nothing() {
    let (_folder, vault) = vault().await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..20 {
        let vault = vault.clone();
        writers.spawn(async move {
            vault.set(&profile(&format!("many_{number}")), SecretKind::Password, text("x")).await.unwrap();
        });
    }
    writers.join_all().await;
    for number in 0..20 {
        let found = vault.find(&profile(&format!("many_{number}")), SecretKind::Password).await;
        assert!(found.unwrap().is_some(), "{number}");
    }
}

/// A keyring in memory, which can be locked.
#[derive(Default)]
struct FakeKeyring {
    keys: Mutex<BTreeMap<[u8; 16], Vec<u8>>>,
    is_locked: AtomicBool,
    is_silent: AtomicBool,
    /// Somebody is there who opens it when it asks.
    has_person: bool,
    asked: AtomicUsize,
}

impl FakeKeyring {
    fn answer<T>(&self, answer: impl FnOnce(&mut BTreeMap<[u8; 16], Vec<u8>>) -> T) -> Result<T, KeyringError> {
        self.asked.fetch_add(1, Relaxed);
        if self.is_silent.load(Relaxed) {
            return Err(KeyringError::Silent);
        }
        if self.is_locked.load(Relaxed) {
            return Err(KeyringError::Locked);
        }
        Ok(answer(&mut self.keys.lock().unwrap()))
    }
}

impl Keyring for FakeKeyring {
    fn find(&self, name: KeyName) -> Later<'_, Result<Option<Zeroizing<Vec<u8>>>, KeyringError>> {
        Box::pin(async move { self.answer(|keys| keys.get(&name.0).cloned().map(Zeroizing::new)) })
    }

    fn keep<'a>(&'a self, name: KeyName, key: &'a [u8]) -> Later<'a, Result<(), KeyringError>> {
        Box::pin(async move { self.answer(|keys| drop(keys.insert(name.0, key.to_vec()))) })
    }

    fn forget(&self, name: KeyName) -> Later<'_, Result<(), KeyringError>> {
        Box::pin(async move { self.answer(|keys| drop(keys.remove(&name.0))) })
    }

    fn unlock(&self) -> Later<'_, Result<(), KeyringError>> {
        Box::pin(async move {
            if !self.has_person {
                return Err(KeyringError::Locked);
            }
            self.is_locked.store(false, Relaxed);
            Ok(())
        })
    }
}

/// A vault with one password in it, and the keyring that has its key.
async fn vault_in_keyring(keyring: FakeKeyring) -> (TempDir, Vault, Arc<FakeKeyring>) {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Arc::new(keyring);
    let vault = Vault::with_keyring(&folder.path().join("data"), keyring.clone());
    vault.set(&profile("prof_1"), SecretKind::Password, text("open sesame")).await.unwrap();
    (folder, vault, keyring)
}

#[tokio::test]
async fn where_a_keyring_works_the_key_lies_there_and_in_no_file() {
    let (folder, vault, keyring) = vault_in_keyring(FakeKeyring::default()).await;
    assert_eq!(vault.key_place().await.unwrap(), Some(KeyPlace::Keyring));
    let names: Vec<String> = files(&folder).into_iter().map(|file| file.0).collect();
    assert_eq!(names, ["secrets.lock", "secrets.vault"]);
    assert_eq!(keyring.keys.lock().unwrap().len(), 1);

    let asked = keyring.asked.load(Relaxed);
    for _ in 0..10 {
        assert_eq!(password(&vault).await.unwrap().unwrap().as_str(), "open sesame");
    }
    assert_eq!(keyring.asked.load(Relaxed), asked, "a key that is known is not asked for again");

    // Another process asks once.
    let again = Vault::with_keyring(&folder.path().join("data"), keyring.clone());
    assert!(!again.is_locked().await.unwrap());
    assert_eq!(password(&again).await.unwrap().unwrap().as_str(), "open sesame");
    // And one that cannot ask is told so.
    let elsewhere = Vault::at(&folder.path().join("data"));
    assert!(elsewhere.is_locked().await.unwrap());
    assert_eq!(password(&elsewhere).await, Err(SecretError::Locked));
}

#[tokio::test]
async fn where_the_keyring_is_locked_from_the_start_the_key_lies_in_a_file() {
    let shut = FakeKeyring { is_locked: AtomicBool::new(true), ..FakeKeyring::default() };
    let (_folder, vault, keyring) = vault_in_keyring(shut).await;
    assert_eq!(vault.key_place().await.unwrap(), Some(KeyPlace::File));
    assert!(!vault.is_locked().await.unwrap());
    let refused = vault.move_key(NewKeyPlace::Keyring).await.unwrap_err();
    assert!(matches!(refused, VaultError::NoKeyring(KeyringError::Locked)), "{refused}");
    assert_eq!(password(&vault).await.unwrap().unwrap().as_str(), "open sesame");
    keyring.is_locked.store(false, Relaxed);
    vault.move_key(NewKeyPlace::Keyring).await.unwrap();
    assert_eq!(password(&vault).await.unwrap().unwrap().as_str(), "open sesame");
}

#[tokio::test]
async fn a_keyring_that_locks_keeps_the_secrets_shut_until_it_opens() {
    for has_person in [true, false] {
        let (folder, _vault, keyring) = vault_in_keyring(FakeKeyring { has_person, ..FakeKeyring::default() }).await;
        keyring.is_locked.store(true, Relaxed);
        let again = Vault::with_keyring(&folder.path().join("data"), keyring.clone());
        assert!(again.is_locked().await.unwrap());
        assert_eq!(password(&again).await, Err(SecretError::Locked));
        let refused = again.set(&profile("prof_2"), SecretKind::Password, text("new")).await.unwrap_err();
        assert!(matches!(refused, VaultError::KeyringShut(KeyringError::Locked)), "{refused}");
        match again.unlock(None).await {
            Ok(()) => assert!(has_person),
            Err(error) => assert!(!has_person && error.is_locked(), "{error}"),
        }
        // Its person opens it from elsewhere.
        keyring.is_locked.store(false, Relaxed);
        assert_eq!(password(&again).await.unwrap().unwrap().as_str(), "open sesame");
    }
}

#[tokio::test]
async fn a_key_that_the_keyring_lost_is_told_and_no_other_takes_its_place() {
    let (folder, _vault, keyring) = vault_in_keyring(FakeKeyring::default()).await;
    keyring.keys.lock().unwrap().clear();
    let again = Vault::with_keyring(&folder.path().join("data"), keyring.clone());
    assert!(!again.is_locked().await.unwrap(), "nobody could unlock it");
    assert!(matches!(password(&again).await, Err(SecretError::Failed(why)) if why.contains("has lost the key")));
    let refused = again.set(&profile("prof_2"), SecretKind::Password, text("new")).await.unwrap_err();
    assert!(matches!(refused, VaultError::LostByKeyring(_)), "{refused}");
    assert!(keyring.keys.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_key_moves_from_place_to_place_and_is_left_in_none() {
    let (folder, vault, keyring) = vault_in_keyring(FakeKeyring::default()).await;
    let key_file = folder.path().join("data/secrets.key");
    let passphrase = || NewKeyPlace::Passphrase(text("correct horse"));
    for place in [NewKeyPlace::File, NewKeyPlace::Keyring, passphrase(), NewKeyPlace::Keyring, NewKeyPlace::Keyring] {
        vault.move_key(place.clone()).await.unwrap();
        assert_eq!(password(&vault).await.unwrap().unwrap().as_str(), "open sesame", "{place:?}");
        assert_eq!(key_file.exists(), place == NewKeyPlace::File, "{place:?}");
        let kept = keyring.keys.lock().unwrap().len();
        assert_eq!(kept, usize::from(place == NewKeyPlace::Keyring), "{place:?}");
    }
}

#[tokio::test]
async fn another_vault_in_its_place_is_opened_with_its_own_key() {
    let (folder, vault, keyring) = vault_in_keyring(FakeKeyring::default()).await;
    let path = folder.path().join("data/secrets.vault");
    let first = fs::read(&path).unwrap();
    let of_first = keyring.keys.lock().unwrap().clone();
    vault.move_key(NewKeyPlace::Keyring).await.unwrap();
    // Somebody puts both back from a copy.
    fs::write(&path, first).unwrap();
    keyring.keys.lock().unwrap().extend(of_first);
    assert_eq!(password(&vault).await.unwrap().unwrap().as_str(), "open sesame");
}

#[tokio::test]
async fn a_vault_that_cannot_be_written_leaves_no_key_behind() {
    let (folder, vault, keyring) = vault_in_keyring(FakeKeyring::default()).await;
    let before = keyring.keys.lock().unwrap().clone();
    // Nothing can take the vault's place, also for root.
    fs::create_dir_all(folder.path().join("data/secrets.vault.new/in the way")).unwrap();
    let refused = vault.move_key(NewKeyPlace::Keyring).await.unwrap_err();
    assert!(matches!(refused, VaultError::File { .. }), "{refused}");
    assert_eq!(*keyring.keys.lock().unwrap(), before);
    assert_eq!(password(&vault).await.unwrap().unwrap().as_str(), "open sesame");
}

#[tokio::test]
async fn a_keyring_that_hangs_is_not_asked_by_everybody() {
    let (folder, _vault, keyring) = vault_in_keyring(FakeKeyring::default()).await;
    keyring.is_silent.store(true, Relaxed);
    let again = Vault::with_keyring(&folder.path().join("data"), keyring.clone());
    let asked = keyring.asked.load(Relaxed);
    for _ in 0..10 {
        assert!(again.is_locked().await.unwrap());
    }
    assert_eq!(keyring.asked.load(Relaxed), asked + 1);
    assert_eq!(format!("{:?}", NewKeyPlace::Passphrase(text("secret"))), "Passphrase(…)");
}
