//! Records come back as they were saved; a change touches what it names.

use serde_json::{Value, json};

use super::home::{Home, refused};

/// As people paste them from the manual, but for the profile.
const LOCAL: &str = r#"{
  "name": "Switch UI",
  "host": "bastion.example.net",
  "port": 22,
  "profile_id": "prof_abc123",
  "jump_host_id": null,
  "jump_session_id": null,
  "forward_type": "local",
  "local_port": 8443,
  "bind_address": "127.0.0.1",
  "remote_host": "10.0.0.5",
  "remote_port": 443,
  "auto_start": false,
  "auto_reconnect": true,
  "max_retries": 5
}"#;

const DYNAMIC: &str = r#"{
  "name": "Bastion SOCKS",
  "host": "bastion.example.net",
  "port": 22,
  "profile_id": "prof_abc123",
  "forward_type": "dynamic",
  "local_port": 1080,
  "bind_address": "127.0.0.1",
  "remote_host": null,
  "remote_port": null,
  "auto_start": true,
  "auto_reconnect": true,
  "max_retries": 0
}"#;

fn sample(text: &str, profile: &Value) -> Value {
    serde_json::from_str(&text.replace("prof_abc123", profile.as_str().unwrap())).unwrap()
}

/// That `found` has all of `wanted`.
fn holds(found: &Value, wanted: &Value) {
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&found[field], value, "{field} in {found}");
    }
}

#[tokio::test]
async fn the_samples_are_taken_as_they_stand_and_echoed() {
    let home = Home::new().await;
    let profile = home.profile().await;
    for (text, missing) in [(LOCAL, &[][..]), (DYNAMIC, &["jump_host_id", "jump_session_id"])] {
        let body = sample(text, &profile);
        let saved = home.add("/tunnels", body.clone()).await;
        holds(&saved, &body);
        assert!(saved["id"].as_str().unwrap().starts_with("tun_"), "{saved}");
        assert_eq!(saved["enabled"], true);
        assert!(saved["created_at"].as_i64().unwrap() > 1_700_000_000_000, "milliseconds: {saved}");
        assert_eq!(saved["updated_at"], saved["created_at"]);
        let rest = ["id", "enabled", "created_at", "updated_at"].iter().chain(missing).count();
        assert_eq!(saved.as_object().unwrap().len(), body.as_object().unwrap().len() + rest, "{saved}");
        // The list adds how it stands.
        let id = saved["id"].as_str().unwrap();
        let row = home.get(&format!("/tunnels/{id}")).await;
        holds(&row, &saved);
        holds(&row, &json!({"status": "disconnected", "uptime_secs": 0, "last_error": null, "retry_count": 0}));
        assert!(home.get("/tunnels").await.as_array().unwrap().contains(&row));
    }
}

#[tokio::test]
async fn what_is_left_out_has_its_default() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let least = json!({"name": "a", "host": "h", "profile_id": profile, "forward_type": "dynamic", "local_port": 1080});
    let saved = home.add("/tunnels", least).await;
    let defaults = json!({
        "port": 22, "bind_address": "127.0.0.1", "auto_start": false, "auto_reconnect": true, "max_retries": 5,
        "enabled": true, "jump_host_id": null, "jump_session_id": null, "remote_host": null, "remote_port": null,
    });
    holds(&saved, &defaults);
    let session = home.add("/sessions", json!({"name": "s", "host": "h", "profile_id": profile})).await;
    holds(&session, &json!({"port": 22, "forwards": [], "enabled": true, "jump_host_id": null}));
    let jump = home.add("/jump-hosts", json!({"name": "j", "host": "h", "profile_id": profile})).await;
    holds(&jump, &json!({"port": 22, "enabled": true}));
}

#[tokio::test]
async fn a_change_tells_null_from_absent() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let jump = home.add("/jump-hosts", json!({"name": "edge", "host": "edge", "profile_id": profile})).await;
    let mut body = sample(LOCAL, &profile);
    body["jump_host_id"] = jump["id"].clone();
    let saved = home.add("/tunnels", body).await;
    let path = format!("/tunnels/{}", saved["id"].as_str().unwrap());
    let mut wanted = saved.clone();
    for (change, field, value) in [
        (json!({"jump_host_id": null}), "jump_host_id", Value::Null),
        (json!({"name": "other"}), "name", json!("other")),
        (json!({"max_retries": 0}), "max_retries", json!(0)),
    ] {
        let answer = home.put(&path, change).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let changed = answer.json();
        wanted[field] = value;
        wanted["updated_at"] = changed["updated_at"].clone();
        assert_eq!(changed, wanted, "{field} alone");
    }
    assert!(wanted["updated_at"].as_i64() >= saved["updated_at"].as_i64());
    assert_eq!(home.put(&path, json!({})).await.json()["name"], "other");
    // `null` is no name.
    let (status, code, error) = refused(&home.put(&path, json!({"name": null})).await);
    assert_eq!((status, code.as_str()), (400, "VALIDATION"));
    assert!(error.contains("`name`"), "{error}");
}

#[tokio::test]
async fn every_kind_is_listed_shown_changed_and_removed() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let of_profile = |name: &str| json!({"name": name, "host": "h", "profile_id": profile});
    let mut tunnel = of_profile("t");
    tunnel["forward_type"] = "dynamic".into();
    tunnel["local_port"] = 1080.into();
    let second = json!({"name": "p", "username": "bob", "auth_method": "agent"});
    let kinds = [
        ("/tunnels", "tun_", tunnel),
        ("/sessions", "sess_", of_profile("s")),
        ("/jump-hosts", "jump_", of_profile("j")),
        ("/profiles", "prof_", second),
    ];
    for (kind, prefix, body) in kinds {
        let id = home.add(kind, body).await["id"].as_str().unwrap().to_owned();
        assert!(id.starts_with(prefix), "{id}");
        let path = format!("{kind}/{id}");
        assert_eq!(home.put(&path, json!({"name": "anew", "enabled": false})).await.status, 200);
        let shown = home.get(&path).await;
        holds(&shown, &json!({"id": id, "name": "anew", "enabled": false}));
        assert!(home.get(kind).await.as_array().unwrap().contains(&shown));
        assert_eq!(home.delete(&path).await.status, 204);
        for answer in
            [home.ask("GET", &path, None).await, home.put(&path, json!({"name": "x"})).await, home.delete(&path).await]
        {
            assert_eq!((refused(&answer).0, &*refused(&answer).1), (404, "NOT_FOUND"), "{path}");
        }
    }
}

#[tokio::test]
async fn records_and_settings_survive_a_restart() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let mut body = sample(LOCAL, &profile);
    body["enabled"] = false.into();
    let saved = home.add("/tunnels", body).await;
    let settings = json!({"controller_mode": true, "host_key_policy": "accept-new"});
    assert_eq!(home.put("/settings", settings.clone()).await.json(), settings);
    assert_eq!(home.put("/settings", json!({"controller_mode": false})).await.json()["host_key_policy"], "accept-new");
    let home = home.restart().await;
    holds(&home.get("/tunnels").await[0], &saved);
    assert_eq!(home.get("/settings").await, json!({"controller_mode": false, "host_key_policy": "accept-new"}));
}

#[tokio::test]
async fn what_is_in_use_stays_and_its_users_are_named() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let tunnel = home.add("/tunnels", sample(LOCAL, &profile)).await;
    let session = home.add("/sessions", json!({"name": "core-sw", "host": "h", "profile_id": profile})).await;
    let path = format!("/profiles/{}", profile.as_str().unwrap());
    let answer = home.delete(&path).await;
    assert_eq!(answer.error(), (409, "CONFLICT".to_owned()));
    let users = json!([
        {"kind": "session", "id": session["id"], "name": "core-sw"},
        {"kind": "tunnel", "id": tunnel["id"], "name": "Switch UI"},
    ]);
    assert_eq!(answer.json()["users"], users);
    assert!(answer.json()["error"].as_str().unwrap().contains("Switch UI"));
    assert_eq!(home.get(&path).await["id"], profile, "it is still there");
    for kept in ["tunnels", "sessions"] {
        let id = if kept == "tunnels" { &tunnel["id"] } else { &session["id"] };
        assert_eq!(home.delete(&format!("/{kept}/{}", id.as_str().unwrap())).await.status, 204);
    }
    assert_eq!(home.delete(&path).await.status, 204);
}
