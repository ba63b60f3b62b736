use adit_store::{AccountChange, Store};
use tempfile::TempDir;

use super::*;
use crate::admin::{AccountAdd, AuditList, KeyAdd, KeyList, KeyRemove};
use crate::data_dir::DataDir;

/// alice holds a key, and bob wants it. What a good signature does is told end to end, where `ssh-keygen` makes one.
struct Stage {
    admin: Admin,
    text: String,
    store: Store,
    _folder: TempDir,
}

impl Stage {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_in_memory().await.unwrap();
        let admin = Admin::offline(store.clone(), DataDir::open(folder.path()).unwrap());
        for name in ["alice", "bob", "carol"] {
            admin.call(AccountAdd { name: name.to_owned(), tier: None, admin: false }).await.unwrap();
        }
        let text = HostKey::generate_ed25519().unwrap().public_key().to_text("");
        let stage = Self { admin, text, store, _folder: folder };
        stage.add("alice", &stage.text).await;
        stage
    }

    async fn add(&self, account: &str, text: &str) {
        let (account, text) = (account.to_owned(), text.to_owned());
        let add = KeyAdd { account, text, label: None, expires_in_ms: None, ports: None };
        self.admin.call(add).await.unwrap();
    }

    async fn ask(&self, account: &str, text: &str) -> Result<ClaimStatement, KeyClaimStatementError> {
        self.admin.call(KeyClaimStatement { account: account.to_owned(), text: text.to_owned() }).await
    }

    /// A claim of alice's key whose signature is none.
    fn claim(&self, account: &str, statement: &str) -> KeyClaim {
        KeyClaim {
            account: account.to_owned(),
            text: self.text.clone(),
            statement: statement.to_owned(),
            signature: "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----".to_owned(),
            label: None,
            expires_in_ms: None,
            ports: None,
        }
    }

    async fn refusal(&self, account: &str, statement: &str) -> &'static str {
        self.admin.call(self.claim(account, statement)).await.unwrap_err().code()
    }
}

#[tokio::test]
async fn a_statement_says_where_who_and_what() {
    let stage = Stage::new().await;
    let told = stage.ask("bob", &stage.text).await.unwrap();
    let host = match &stage.admin.place {
        Place::Folder(data) => fingerprints(&data.host_keys().unwrap().keys),
        Place::Server(_) => panic!("no server runs"),
    };
    for part in ["account: bob\n", &format!("key: {}\n", told.fingerprint), &format!("jump host: {host}\n")] {
        assert!(told.statement.contains(part), "{part} in {}", told.statement);
    }
    assert!(host.starts_with("SHA256:") && !told.statement.contains("alice"), "{}", told.statement);
    assert!(!told.statement.contains('\''), "{}", told.statement);
    let piped = format!("printf %s '{}' | ssh-keygen -Y sign -n adit-key-claim -f KEY", told.statement);
    assert_eq!(told.command, piped);
    assert!(told.good_until > stage.store.now().await.unwrap().0);
}

#[tokio::test]
async fn only_what_another_account_holds_can_be_claimed() {
    let stage = Stage::new().await;
    let code = |refused: Result<ClaimStatement, KeyClaimStatementError>| refused.unwrap_err().code();
    assert_eq!(code(stage.ask("alice", &stage.text).await), "key-already-yours");
    assert_eq!(code(stage.ask("nobody", &stage.text).await), "no-such-account");
    assert_eq!(code(stage.ask("bob", "hello").await), "bad-key");
    let free = HostKey::generate_ed25519().unwrap().public_key().to_text("");
    let refused = stage.ask("bob", &free).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (FaultKind::Conflict, "key-not-held"));
    assert!(refused.to_string().contains("key add bob"), "{refused}");
    let locked_out = AccountChange { disabled: Some(true), ..AccountChange::default() };
    stage.store.change_account("bob", locked_out.clone()).await.unwrap();
    assert_eq!(code(stage.ask("bob", &stage.text).await), "account-disabled");
    // A holder that is locked out cannot keep the key from who has its private half.
    stage.store.change_account("alice", locked_out).await.unwrap();
    stage.ask("carol", &stage.text).await.unwrap();
}

#[tokio::test]
async fn a_statement_is_taken_as_it_was_made_only() {
    let stage = Stage::new().await;
    let statement = stage.ask("bob", &stage.text).await.unwrap().statement;
    assert_eq!(stage.refusal("bob", &statement).await, "bad-signature", "the statement itself is good");
    assert_eq!(stage.refusal("carol", &statement).await, "other-statement");
    let windows = statement.replace('\n', "\r\n");
    let doubled = format!("{statement}{statement}");
    let plus = statement.replace("issued: ", "issued: +");
    let elsewhere = statement.replace("jump host: SHA256:", "jump host: SHA256:x");
    for text in ["", "issued: 1\n", statement.trim_end(), &windows, &doubled, &plus, &elsewhere] {
        assert_eq!(stage.refusal("bob", text).await, "other-statement", "{text:?}");
    }
    let other_key = HostKey::generate_ed25519().unwrap().public_key().to_text("");
    stage.add("alice", &other_key).await;
    let of_other_key = stage.ask("bob", &other_key).await.unwrap().statement;
    assert_eq!(stage.refusal("bob", &of_other_key).await, "other-statement");

    let keys = stage.admin.call(KeyList { account: None }).await.unwrap();
    assert!(keys.iter().all(|key| key.account == "alice"), "{keys:?}");
    let events = stage.admin.call(AuditList { limit: None }).await.unwrap();
    assert!(events.iter().all(|event| !["key-claimed", "key-lost"].contains(&event.kind.as_str())));
}

/// The signature is checked after the statement, so a signature that is none shows how far a claim came.
#[tokio::test]
async fn a_statement_is_worth_nothing_once_the_key_has_moved() {
    let stage = Stage::new().await;
    let statement = stage.ask("bob", &stage.text).await.unwrap().statement;
    assert_eq!(stage.refusal("bob", &statement).await, "bad-signature");
    let (key, _) = PublicKey::from_text(&stage.text).unwrap();
    let (account, fingerprint) = ("alice".to_owned(), key.fingerprint().to_string());
    stage.admin.call(KeyRemove { account, fingerprint }).await.unwrap();
    stage.add("carol", &stage.text).await;
    assert_eq!(stage.refusal("bob", &statement).await, "other-statement");
}

#[tokio::test]
async fn a_statement_is_good_for_a_quarter_of_an_hour() {
    let stage = Stage::new().await;
    let (key, _) = PublicKey::from_text(&stage.text).unwrap();
    let claim = Claim::new(&stage.admin, "bob", &key).await.unwrap();
    let issued = UnixMillis(1_700_000_000_000);
    let statement = claim.statement(issued);
    let verdict = |now: UnixMillis| claim.check_statement(&statement, now).map_err(|error| error.code());
    assert_eq!(verdict(issued), Ok(()));
    assert_eq!(verdict(issued.after(GOOD_FOR)), Ok(()));
    assert_eq!(verdict(UnixMillis(issued.after(GOOD_FOR).0 + 1)), Err("stale-statement"));
    assert_eq!(verdict(UnixMillis(issued.0 - 1)), Err("stale-statement"), "made before its time");
    for edge in [i64::MIN, i64::MAX] {
        let statement = claim.statement(UnixMillis(edge));
        let verdict = claim.check_statement(&statement, issued).map_err(|error| error.code());
        assert_eq!(verdict, Err("stale-statement"));
    }
}

#[tokio::test]
async fn a_private_key_is_not_repeated() {
    let stage = Stage::new().await;
    let private = HostKey::generate_ed25519().unwrap().to_openssh("").unwrap().to_string();
    let question = KeyClaimStatement { account: "bob".to_owned(), text: private.clone() };
    let claim = KeyClaim { text: private.clone(), ..stage.claim("bob", "") };
    assert!(!format!("{question:?}{claim:?}").contains(&private[40..80]), "not even by Debug");
    let refused = stage.admin.call(claim).await.unwrap_err();
    assert!(private.lines().all(|line| !refused.to_string().contains(line)), "{refused}");
    assert_eq!(stage.admin.call(question).await.unwrap_err().code(), "bad-key");
}
