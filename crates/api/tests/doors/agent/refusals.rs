//! What may not be saved, on whichever way it comes in.

use serde_json::{Value, json};

use super::home::{Home, TOKEN, refused};
use crate::browser::{Answer, raw};

fn tunnel(profile: &Value) -> Value {
    json!({
        "name": "Switch UI", "host": "bastion.example.net", "profile_id": profile, "forward_type": "local",
        "local_port": 8443, "remote_host": "10.0.0.5", "remote_port": 443,
    })
}

/// That it is a 400 whose sentence names this; the sentence.
fn invalid(answer: &Answer, names: &str) -> String {
    let (status, code, error) = refused(answer);
    assert_eq!((status, code.as_str()), (400, "VALIDATION"), "{error}");
    assert!(error.contains(names), "{error} names {names}");
    error
}

#[tokio::test]
async fn a_tunnel_that_could_not_run_is_not_saved() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let good = home.add("/tunnels", tunnel(&profile)).await;
    let path = format!("/tunnels/{}", good["id"].as_str().unwrap());
    let jump = home.add("/jump-hosts", json!({"name": "j", "host": "j", "profile_id": profile})).await["id"].clone();
    let session = home.add("/sessions", json!({"name": "s", "host": "s", "profile_id": profile})).await["id"].clone();
    for (fields, names) in [
        (json!({"jump_host_id": jump, "jump_session_id": session}), "jump_host_id and jump_session_id are both set"),
        (json!({"profile_id": "prof_abc123"}), "there is no profile with id \"prof_abc123\""),
        (json!({"jump_host_id": "jump_1"}), "there is no jump host with id \"jump_1\""),
        (json!({"jump_session_id": "sess_1"}), "there is no session with id \"sess_1\""),
        (json!({"remote_host": null}), "remote_host"),
        (json!({"remote_port": null}), "remote_port"),
        (json!({"remote_port": 0}), "remote_port"),
        (json!({"remote_port": 65_536}), "`remote_port`"),
        (json!({"forward_type": "socks"}), "`forward_type`"),
        (json!({"local_port": 0}), "local_port"),
        (json!({"local_port": 65_536}), "`local_port`"),
        (json!({"local_port": -1}), "`local_port`"),
        (json!({"local_port": "8443"}), "`local_port`"),
        (json!({"port": 0}), "port"),
        (json!({"port": 70_000}), "`port`"),
        (json!({"name": ""}), "name is empty"),
        (json!({"name": "  "}), "name is empty"),
        (json!({"host": ""}), "host"),
        (json!({"max_retries": -1}), "`max_retries`"),
        (json!({"bind_adress": "127.0.0.1"}), "`bind_adress`"),
    ] {
        let mut body = tunnel(&profile);
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        invalid(&home.post("/tunnels", body).await, names);
        invalid(&home.put(&path, fields).await, names);
    }
    for field in ["name", "host", "profile_id", "forward_type", "local_port"] {
        let mut body = tunnel(&profile);
        body.as_object_mut().unwrap().remove(field);
        invalid(&home.post("/tunnels", body).await, &format!("`{field}`"));
    }
    let saved = home.get("/tunnels").await;
    assert_eq!(saved.as_array().unwrap().len(), 1);
    assert_eq!(saved[0]["updated_at"], good["updated_at"], "nothing was changed");
}

#[tokio::test]
async fn no_way_leads_through_itself() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let jump = home.add("/jump-hosts", json!({"name": "edge", "host": "edge", "profile_id": profile})).await;
    let path = format!("/profiles/{}", profile.as_str().unwrap());
    invalid(&home.put(&path, json!({"jump_host_id": jump["id"]})).await, "through itself");
    let session = home.add("/sessions", json!({"name": "s", "host": "s", "profile_id": profile})).await;
    let path = format!("/sessions/{}", session["id"].as_str().unwrap());
    invalid(&home.put(&path, json!({"jump_session_id": session["id"]})).await, "through itself");
}

#[tokio::test]
async fn only_loopback_is_bound_whoever_asks() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let session = json!({"name": "s", "host": "s", "profile_id": profile});
    let saved_tunnel = home.add("/tunnels", tunnel(&profile)).await;
    let saved_session = home.add("/sessions", session.clone()).await;
    let tunnel_path = format!("/tunnels/{}", saved_tunnel["id"].as_str().unwrap());
    let session_path = format!("/sessions/{}", saved_session["id"].as_str().unwrap());
    let forwards = |bind: &str| json!([{"forward_type": "dynamic", "local_port": 1080, "bind_address": bind}]);
    for bind in
        ["0.0.0.0", "::", "192.168.1.10", "10.0.0.1", "localhost", "127.1", "::ffff:127.0.0.1", "", "*", "[::1]"]
    {
        let told = format!(
            "bind_address '{bind}' must be a loopback address (127.0.0.0/8 or ::1) — binding tunnels to non-loopback exposes \
             them to the LAN with no auth"
        );
        let (mut new_tunnel, mut new_session) = (tunnel(&profile), session.clone());
        new_tunnel["bind_address"] = bind.into();
        new_session["forwards"] = forwards(bind);
        for answer in [
            home.post("/tunnels", new_tunnel).await,
            home.put(&tunnel_path, json!({"bind_address": bind})).await,
            home.post("/sessions", new_session).await,
            home.put(&session_path, json!({"forwards": forwards(bind)})).await,
        ] {
            assert_eq!(invalid(&answer, bind), told);
        }
    }
    for bind in ["127.0.0.1", "127.8.9.10", "::1"] {
        assert_eq!(home.put(&tunnel_path, json!({"bind_address": bind})).await.json()["bind_address"], bind);
        let changed = home.put(&session_path, json!({"forwards": forwards(bind)})).await.json();
        assert_eq!(changed["forwards"][0]["bind_address"], bind);
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_told_without_repeating_it() {
    let home = Home::new().await;
    let ask = async |content_type: &str, body: &str| {
        let (address, length) = (home.address, body.len());
        let head = format!(
            "POST /profiles HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\
             content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        raw(address, head.as_bytes()).await.unwrap()
    };
    for body in ["", "{", "nonsense", "[]", "\"hunter22\"", "{\"name\": hunter22}"] {
        let error = invalid(&ask("application/json", body).await, "line");
        assert!(!error.contains("hunter22"), "{error}");
    }
    let body = r#"{"name": "p", "username": "u", "auth_method": "hunter22"}"#;
    assert!(!invalid(&ask("application/json", body).await, "`auth_method`").contains("hunter22"));
    let body = r#"{"name": "p", "username": "u", "auth_method": "password", "password": ["hunter22"]}"#;
    assert!(!invalid(&ask("application/json", body).await, "`password").contains("hunter22"));
    let answer = ask("text/plain", "{}").await;
    assert_eq!((refused(&answer).0, &*refused(&answer).1), (415, "NOT_JSON"));
}
