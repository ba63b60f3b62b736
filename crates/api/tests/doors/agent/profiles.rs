//! Secrets go in, are used by logins, and come out nowhere.

use std::path::Path;

use serde_json::{Value, json};

use super::home::{Home, refused};

const PASSWORD: &str = "purple anvil tuesday";
const PASSPHRASE: &str = "quiet ladder monday";

fn profile() -> Value {
    json!({
        "name": "core", "username": "alice", "auth_method": "password", "password": PASSWORD, "key_path": "~/.ssh/id",
        "passphrase": PASSPHRASE,
    })
}

/// Files under a folder that hold one of the secrets.
fn search(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(search(&path));
        } else {
            let text = std::fs::read(&path).unwrap();
            let holds = |secret: &str| text.windows(secret.len()).any(|part| part == secret.as_bytes());
            if holds(PASSWORD) || holds(PASSPHRASE) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test]
async fn no_answer_holds_a_secret() {
    let home = Home::new().await;
    let made = home.post("/profiles", profile()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("/profiles/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(made.json()["has_password"], true);
    assert_eq!(made.json()["has_passphrase"], true);
    let changed = home.put(&path, json!({"password": PASSWORD, "name": "anew"})).await;
    let refused =
        home.post("/profiles", json!({"name": PASSWORD, "password": [PASSWORD], "username": PASSPHRASE})).await;
    assert_eq!((changed.status, refused.status), (200, 400));
    let mut texts = vec![made.text(), changed.text(), refused.text()];
    for path in [&path, "/profiles", "/tunnels", "/sessions", "/settings", "/secrets", "/metrics"] {
        texts.push(home.ask("GET", path, None).await.text());
    }
    for text in texts {
        for secret in [PASSWORD, PASSPHRASE] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(!text.contains("\"password\":") && !text.contains("_secret"), "{text}");
    }
    assert_eq!(search(home.folder()), [""; 0], "nor does a file");
}

#[tokio::test]
async fn null_forgets_a_secret_and_absence_does_not() {
    let home = Home::new().await;
    let id = home.add("/profiles", profile()).await["id"].as_str().unwrap().to_owned();
    let path = format!("/profiles/{id}");
    let has = |answer: Value| (answer["has_password"] == true, answer["has_passphrase"] == true);
    assert_eq!(has(home.put(&path, json!({"username": "bob"})).await.json()), (true, true));
    assert_eq!(has(home.put(&path, json!({"password": null})).await.json()), (false, true));
    assert_eq!(has(home.put(&path, json!({"passphrase": null})).await.json()), (false, false));
    assert_eq!(has(home.put(&path, json!({"password": PASSWORD})).await.json()), (true, false));
    let (status, code, error) = refused(&home.put(&path, json!({"password": ""})).await);
    assert_eq!((status, code.as_str()), (400, "VALIDATION"), "{error}");
}

#[tokio::test]
async fn a_locked_vault_says_so_and_changes_nothing() {
    let home = Home::new().await;
    let id = home.add("/profiles", profile()).await["id"].as_str().unwrap().to_owned();
    assert_eq!(home.put("/secrets/key", json!({"key": "passphrase", "passphrase": PASSPHRASE})).await.status, 204);
    let home = home.restart().await;
    assert_eq!(home.get("/secrets").await, json!({"locked": true, "key": "passphrase"}));
    let tunnel = json!({
        "name": "t", "host": "127.0.0.1", "port": 1, "profile_id": id, "forward_type": "dynamic", "local_port": 1,
    });
    let tunnel = home.add("/tunnels", tunnel).await["id"].as_str().unwrap().to_owned();
    let change = json!({"name": "anew", "password": "other"});
    for answer in [
        home.post("/profiles", profile()).await,
        home.put(&format!("/profiles/{id}"), change).await,
        home.order(&format!("/tunnels/{tunnel}/start")).await,
        home.post("/secrets/unlock", json!({"passphrase": "wrong"})).await,
    ] {
        let (status, code, error) = refused(&answer);
        assert_eq!((status, code.as_str()), (403, "VAULT_LOCKED"), "{error}");
    }
    let all = home.get("/profiles").await;
    assert_eq!((all.as_array().unwrap().len(), &all[0]["name"]), (1, &json!("core")));
    assert_eq!(home.post("/secrets/unlock", json!({"passphrase": PASSPHRASE})).await.status, 204);
    assert_eq!(home.get("/secrets").await, json!({"locked": false, "key": "passphrase"}));
    assert_eq!(home.put(&format!("/profiles/{id}"), json!({"password": "other"})).await.status, 200);
}
