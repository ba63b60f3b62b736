//! Tunnels and sessions through a server that answers: a jump host of ours.

use std::time::Duration;

use adit_ssh::crypto::PrivateKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::home::{Home, TOKEN, refused};
use crate::browser::PATIENCE;
use crate::free_port::free_port;
use crate::host::Host;

/// An agent that logs in to a jump host, and what the two are called.
struct Pair {
    _jump_host: Host,
    home: Home,
    ssh_port: Value,
    profile: Value,
}

/// The agent does not know the jump host's key yet.
async fn strangers() -> Pair {
    let (jump_host, home) = (Host::start().await, Home::new().await);
    let alice = jump_host.member("alice").await;
    let key = PrivateKey::generate_ed25519().unwrap();
    std::fs::write(home.folder().join("login"), key.to_openssh("login").unwrap().as_bytes()).unwrap();
    let added = alice.post("/api/v1/me/keys", json!({"text": key.public_key().to_text("login")})).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let ssh_port = alice.get("/api/v1/me").await.json()["connection"]["ssh_port"].clone();
    let profile = json!({"name": "p", "username": "tunnel", "auth_method": "key", "key_path": "~/login"});
    let profile = home.add("/profiles", profile).await["id"].clone();
    Pair { _jump_host: jump_host, home, ssh_port, profile }
}

async fn acquainted() -> Pair {
    let pair = strangers().await;
    assert_eq!(pair.home.put("/settings", json!({"host_key_policy": "accept-new"})).await.status, 200);
    pair
}

impl Pair {
    /// A remote forward to a service here; the jump host chooses its port.
    async fn remote(&self, service: u16) -> String {
        let body = json!({
            "name": "r", "host": "127.0.0.1", "port": self.ssh_port, "profile_id": self.profile, "forward_type": "remote",
            "local_port": service, "auto_reconnect": false,
        });
        self.home.add("/tunnels", body).await["id"].as_str().unwrap().to_owned()
    }

    async fn reads(&self, id: &str, status: &str) -> Value {
        self.home.becomes(&format!("/tunnels/{id}"), |row| row["status"] == status).await
    }
}

#[tokio::test]
async fn a_strange_host_is_shown_judged_and_then_trusted() {
    let pair = strangers().await;
    let home = &pair.home;
    assert_eq!(home.put("/settings", json!({"host_key_policy": "ask"})).await.status, 200);
    let id = pair.remote(9).await;
    let mut stream = home.events().await;
    home.order(&format!("/tunnels/{id}/start")).await;
    pair.reads(&id, "failed").await;
    let hosts = home.get("/hosts/unknown").await;
    while stream.wait_for("hosts").await != hosts {}
    assert_eq!(hosts[0]["host"], format!("[127.0.0.1]:{}", pair.ssh_port));
    assert!(hosts[0]["fingerprint"].as_str().unwrap().starts_with("SHA256:"), "{hosts}");
    assert!(hosts[0]["key_type"].as_str().unwrap().starts_with("ssh-"), "{hosts}");
    let other = json!({"host": hosts[0]["host"], "fingerprint": "SHA256:other"});
    assert_eq!(refused(&home.post("/hosts/trust", other).await).0, 404);
    let right = json!({"host": hosts[0]["host"], "fingerprint": hosts[0]["fingerprint"]});
    assert_eq!(home.post("/hosts/trust", right).await.status, 204);
    assert_eq!(home.get("/hosts/unknown").await, json!([]));
    assert_eq!(home.order(&format!("/tunnels/{id}/start")).await.status, 200);
    pair.reads(&id, "connected").await;
}

/// The agent knows the jump host by a key that it does not show, in the file of this name.
async fn with_old_key(file: &str) -> (Pair, String, String) {
    let pair = strangers().await;
    let old = PrivateKey::generate_ed25519().unwrap();
    let host = format!("[127.0.0.1]:{}", pair.ssh_port);
    let text = format!("# mine\nother,{host} {}\n", old.public_key().to_text("of old"));
    std::fs::write(pair.home.folder().join(file), text).unwrap();
    (pair, host, old.public_key().fingerprint().to_string())
}

#[tokio::test]
async fn a_changed_key_is_replaced_when_somebody_says_so_and_only_by_the_one_they_saw() {
    let (pair, host, old) = with_old_key("known_hosts").await;
    let home = &pair.home;
    let file = home.folder().join("known_hosts");
    let before = std::fs::read_to_string(&file).unwrap();
    let id = pair.remote(9).await;
    let start = async || {
        home.order(&format!("/tunnels/{id}/start")).await;
        pair.reads(&id, "failed").await;
        home.get("/hosts/unknown").await
    };
    let hosts = start().await;
    let known = json!([{"key_type": "ssh-ed25519", "fingerprint": old, "file": file, "line": 2}]);
    assert_eq!((&hosts[0]["host"], &hosts[0]["known"]), (&json!(host), &known), "{hosts}");
    assert_eq!(hosts[0]["may_replace"], true);
    let shown = hosts[0]["fingerprint"].clone();

    let (status, code, error) = refused(&home.post("/hosts/trust", json!({"host": host, "fingerprint": shown})).await);
    assert_eq!((status, code.as_str()), (409, "CONFLICT"));
    assert!(error.contains(&old) && error.contains("replace"), "{error}");
    for wrong in [json!("SHA256:other"), json!(old)] {
        let body = json!({"host": host, "fingerprint": wrong, "replace": true});
        assert_eq!(refused(&home.post("/hosts/trust", body).await).0, 404);
        assert_eq!(refused(&home.post("/hosts/reject", json!({"host": host, "fingerprint": wrong})).await).0, 404);
    }
    let rejected = json!({"host": host, "fingerprint": shown});
    assert_eq!(home.post("/hosts/reject", rejected.clone()).await.status, 204);
    assert_eq!(home.get("/hosts/unknown").await, json!([]));
    assert_eq!(refused(&home.post("/hosts/reject", rejected).await).0, 404, "it is off the board");
    let right = json!({"host": host, "fingerprint": shown, "replace": true});
    assert_eq!(refused(&home.post("/hosts/trust", right.clone()).await).0, 404, "nobody takes what is not shown");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);

    let again = start().await;
    assert_eq!(
        (&again[0]["fingerprint"], &again[0]["known"]),
        (&json!(shown), &hosts[0]["known"]),
        "a login meets it again"
    );
    assert!(again[0]["shown_at"].as_i64() > hosts[0]["shown_at"].as_i64(), "which is another question");
    // What was compared is not what is known any more.
    let newer = PrivateKey::generate_ed25519().unwrap();
    std::fs::write(&file, format!("{before}{host} {}", newer.public_key().to_text(""))).unwrap();
    let (status, _, error) = refused(&home.post("/hosts/trust", right.clone()).await);
    assert_eq!((status, error.contains(&newer.public_key().fingerprint().to_string())), (409, true), "{error}");
    std::fs::write(&file, &before).unwrap();

    assert_eq!(home.post("/hosts/trust", right).await.status, 204);
    assert_eq!(home.get("/hosts/unknown").await, json!([]));
    let after = std::fs::read_to_string(&file).unwrap();
    let mut lines = after.lines();
    assert_eq!(lines.next(), Some("# mine"));
    assert_eq!(lines.next(), before.lines().nth(1).map(|line| line.replace(&format!(",{host}"), "")).as_deref());
    assert!(lines.next().unwrap().starts_with(&format!("{host} ssh-")), "{after}");
    assert_eq!(lines.next(), None);
    assert_eq!(home.order(&format!("/tunnels/{id}/start")).await.status, 200);
    pair.reads(&id, "connected").await;
}

#[tokio::test]
async fn a_key_in_a_file_of_somebody_else_is_left_to_them() {
    let (pair, host, old) = with_old_key("known_elsewhere").await;
    let home = &pair.home;
    let id = pair.remote(9).await;
    home.order(&format!("/tunnels/{id}/start")).await;
    pair.reads(&id, "failed").await;
    let hosts = home.get("/hosts/unknown").await;
    assert_eq!((&hosts[0]["may_replace"], &hosts[0]["known"][0]["fingerprint"]), (&json!(false), &json!(old)));
    let right = json!({"host": host, "fingerprint": hosts[0]["fingerprint"], "replace": true});
    let (status, code, error) = refused(&home.post("/hosts/trust", right).await);
    assert_eq!((status, code.as_str()), (409, "CONFLICT"));
    let line = format!("({}:2), in a file that is only read here", home.folder().join("known_elsewhere").display());
    assert!(error.contains(&line), "{error}");
    assert_eq!(home.get("/hosts/unknown").await, hosts, "it still waits");
    assert_eq!(std::fs::read_to_string(home.folder().join("known_hosts")).unwrap_or_default(), "");
}

#[tokio::test]
async fn bytes_and_connections_are_shown_told_and_cut() {
    let pair = acquainted().await;
    let home = &pair.home;
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let id = pair.remote(service.local_addr().unwrap().port()).await;
    let mut stream = home.events().await;
    home.order(&format!("/tunnels/{id}/start")).await;
    let row = pair.reads(&id, "connected").await;
    let port = u16::try_from(row["listening_port"].as_u64().unwrap()).unwrap();
    let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut served, _) = timeout(PATIENCE, service.accept()).await.expect("the visitor arrives").unwrap();
    visitor.write_all(b"ping").await.unwrap();
    served.read_exact(&mut [0; 4]).await.unwrap();
    while stream.wait_for("tunnels").await[0]["bytes_rx"] != 4 {}
    let path = format!("/tunnels/{id}/connections");
    let live = home.becomes(&path, |live| live[0]["bytes_rx"] == 4).await;
    assert_eq!(live[0]["is_open"], true);
    assert_eq!(home.delete(&format!("{path}/{}", live[0]["number"])).await.status, 204);
    let cut = timeout(PATIENCE, visitor.read(&mut [0; 1])).await.expect("the visitor hears of it");
    assert!(matches!(cut, Ok(0) | Err(_)), "{cut:?}");
    home.becomes(&path, |live| *live == json!([])).await;
    assert_eq!(home.get("/tunnels/status").await[0]["bytes_rx"], 4, "the tunnel goes on and remembers");
    assert_eq!(pair.reads(&id, "connected").await["retry_count"], 0);
}

#[tokio::test]
async fn a_trial_names_each_stage_and_the_one_that_fails() {
    let pair = acquainted().await;
    let home = &pair.home;
    let id = pair.remote(9).await;
    let went = home.order(&format!("/tunnels/{id}/test")).await;
    assert_eq!(went.status, 200, "{}", went.text());
    let stages = |body: &Value| -> Vec<String> {
        body["steps"].as_array().unwrap().iter().map(|step| step["stage"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(stages(&went.json()), ["credentials", "resolve", "connect", "host_key", "login"]);
    std::fs::write(home.folder().join("login"), PrivateKey::generate_ed25519().unwrap().to_openssh("").unwrap())
        .unwrap();
    let failed = home.order(&format!("/tunnels/{id}/test")).await;
    assert_eq!(failed.error(), (502, "SSH_REFUSED".to_owned()), "{}", failed.text());
    assert_eq!(failed.json()["failed"]["stage"], "login", "{}", failed.text());
    assert_eq!(stages(&failed.json()), ["credentials", "resolve", "connect", "host_key"]);
}

#[tokio::test]
async fn a_trial_is_told_as_it_goes_on() {
    let pair = acquainted().await;
    let home = &pair.home;
    let id = pair.remote(9).await;
    let mut stages = Vec::new();
    let mut trial = home.follow(&format!("/tunnels/{id}/test")).await;
    let through = loop {
        match trial.event().await.expect("the trial goes on") {
            (name, step) if name == "step" => stages.push(step["stage"].clone()),
            (name, through) if name == "through" => break through,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(stages, ["credentials", "resolve", "connect", "host_key", "login"]);
    assert_eq!(through["steps"].as_array().unwrap().len(), 5);

    std::fs::remove_file(home.folder().join("login")).unwrap();
    let (name, stopped) = home.follow(&format!("/tunnels/{id}/test")).await.event().await.unwrap();
    assert_eq!(
        (&*name, &stopped["code"], &stopped["failed"]["stage"]),
        ("stopped", &json!("SSH_REFUSED"), &json!("credentials"))
    );
    let (name, stopped) = home.follow("/tunnels/nobody/test").await.event().await.unwrap();
    assert_eq!((&*name, &stopped["code"]), ("stopped", &json!("NOT_FOUND")));
}

/// A client that hangs up in the middle has asked all the same.
#[tokio::test]
async fn a_change_is_done_to_its_end_whoever_waits_for_it() {
    let pair = acquainted().await;
    let home = &pair.home;
    for patience in (0..20).map(|tenths| Duration::from_micros(100 * tenths)) {
        let port = free_port();
        let body = json!({
            "name": "s", "host": "127.0.0.1", "port": pair.ssh_port, "profile_id": pair.profile, "forward_type": "dynamic",
            "local_port": port,
        });
        let id = home.add("/tunnels", body).await["id"].as_str().unwrap().to_owned();
        assert_eq!(home.order(&format!("/tunnels/{id}/start")).await.status, 200);
        let mut client = TcpStream::connect(home.address).await.unwrap();
        let head =
            format!("DELETE /tunnels/{id} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n", home.address);
        client.write_all(head.as_bytes()).await.unwrap();
        // Sooner or later in its work, if that has begun at all.
        sleep(patience).await;
        drop(client);
        // Who asks again may be the first who is heard.
        assert!([204, 404].contains(&home.delete(&format!("/tunnels/{id}")).await.status));
        timeout(PATIENCE, async { while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {} })
            .await
            .expect("its port is free");
    }
}

#[tokio::test]
async fn a_sessions_tunnels_come_and_go_with_it() {
    let pair = acquainted().await;
    let home = &pair.home;
    let forward =
        json!({"forward_type": "local", "local_port": free_port(), "remote_host": "intranet", "remote_port": 80});
    let mut off = forward.clone();
    off["enabled"] = false.into();
    let body = json!({
        "name": "core-sw", "host": "127.0.0.1", "port": pair.ssh_port, "profile_id": pair.profile,
        "forwards": [off, forward],
    });
    let session = home.add("/sessions", body).await;
    let path = format!("/sessions/{}", session["id"].as_str().unwrap());
    assert_eq!(home.get(&path).await["status"], "disconnected");
    assert_eq!(home.get("/tunnels").await, json!([]));
    let mut stream = home.events().await;
    assert_eq!(home.order(&format!("{path}/connect")).await.status, 200);
    home.becomes(&path, |row| row["status"] == "connected").await;
    while stream.wait_for("sessions").await[session["id"].as_str().unwrap()]["status"] != "connected" {}
    assert_eq!(refused(&home.order(&format!("{path}/connect")).await).0, 409);
    let tunnels = home.becomes("/tunnels", |tunnels| tunnels[0]["status"] == "connected").await;
    let tunnel = &tunnels[0];
    let id = tunnel["id"].as_str().unwrap();
    assert_eq!((tunnels.as_array().unwrap().len(), id.starts_with("session:")), (1, true), "{tunnels}");
    assert_eq!(tunnel["name"], format!("Session forward :{}", forward["local_port"]));
    let wanted = json!({
        "auto_start": false, "auto_reconnect": false, "max_retries": 0, "bind_address": "127.0.0.1",
        "remote_host": "intranet", "remote_port": 80, "forward_type": "local", "session_id": session["id"],
        "profile_id": pair.profile, "local_port": forward["local_port"],
    });
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&tunnel[field], value, "{field}");
    }
    for order in ["start", "stop", "reconnect"] {
        assert_eq!(refused(&home.order(&format!("/tunnels/{id}/{order}")).await).0, 409, "{order}");
    }
    let gone = home.order(&format!("{path}/disconnect")).await;
    assert_eq!((gone.status, gone.json()["status"].as_str()), (200, Some("disconnected")));
    assert_eq!(home.get("/tunnels").await, json!([]));
}
