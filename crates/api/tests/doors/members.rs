//! What members do with what is theirs, and cannot do with what is not.

use adit_ssh::crypto::HostKey;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::host::Host;

fn public_key() -> String {
    HostKey::generate_ed25519().unwrap().public_key().to_text("alice@laptop")
}

fn encoded(fingerprint: &str) -> String {
    fingerprint.replace('/', "%2F").replace('+', "%2B").replace(':', "%3A")
}

async fn me(browser: &Browser) -> Value {
    browser.get("/api/v1/me").await.json()
}

#[tokio::test]
async fn a_key_comes_and_goes() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    assert_eq!(me(&alice).await["keys"], json!([]));
    let text = public_key();
    let added = alice.post("/api/v1/me/keys", json!({"text": text})).await;
    assert_eq!((added.status, added.json()["label"].as_str()), (201, Some("alice@laptop")));
    let again = alice.post("/api/v1/me/keys", json!({"text": text})).await;
    assert_eq!(again.error(), (409, "key-already-yours".to_owned()));
    let fingerprint = added.json()["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(me(&alice).await["keys"][0]["fingerprint"], fingerprint);

    let bob = host.member("bob").await;
    let path = format!("/api/v1/me/keys/{}", encoded(&fingerprint));
    assert_eq!(bob.delete(&path).await.error(), (404, "no-such-key".to_owned()));
    assert_eq!(bob.post("/api/v1/me/keys", json!({"text": text})).await.error().0, 409);
    let statement = bob.post("/api/v1/me/keys/claim-statement", json!({"text": text})).await;
    assert!(
        statement.json()["statement"].as_str().is_some_and(|text| text.contains(&fingerprint)),
        "{}",
        statement.text()
    );

    assert_eq!(alice.delete(&path).await.json()["fingerprint"], fingerprint);
    assert_eq!(me(&alice).await["keys"], json!([]));
}

#[tokio::test]
async fn a_private_key_is_refused_and_kept_nowhere() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let private = HostKey::generate_ed25519().unwrap().to_openssh("").unwrap().to_string();
    let secret = private.lines().nth(3).unwrap().to_owned();
    for body in [
        json!({"text": private}),
        json!({"text": private.lines().collect::<String>()}),
        json!({"text": public_key(), "label": private}),
        json!({"text": ["", private]}),
        json!({"text": public_key(), "ports": private}),
    ] {
        let answer = alice.post("/api/v1/me/keys", body).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(!answer.text().contains(&secret), "{}", answer.text());
    }
    assert_eq!(alice.post("/api/v1/me/keys", json!({"text": private})).await.error().1, "bad-key");
    let claim = json!({"text": private, "statement": private, "signature": private});
    assert!(!alice.post("/api/v1/me/keys/claim", claim).await.text().contains(&secret));
    assert_eq!(host.stop_and_search(&secret).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_port_is_noted_shared_and_another_members_is_not_there() {
    let host = Host::start().await;
    let (alice, bob) = (host.member("alice").await, host.member("bob").await);
    let noted = alice.post("/api/v1/me/ports", json!({"port": 10_080, "description": "web"})).await;
    assert_eq!((noted.status, &noted.json()["shared"]), (201, &json!(false)));
    assert_eq!(bob.get("/api/v1/directory").await.json(), json!({"total": 0, "items": []}), "private by default");
    assert_eq!(alice.get("/api/v1/me/ports").await.json()["items"], json!([noted.json()]));
    let path = format!("/api/v1/me/ports/{}", noted.json()["id"].as_str().unwrap());
    let shared = alice.send("PATCH", &path, Some(json!({"shared": true})), &[]).await.json();
    assert_eq!((&shared["shared"], &shared["description"]), (&json!(true), &json!("web")));
    let seen = bob.get("/api/v1/directory").await.json();
    let seen = &seen["items"][0];
    assert_eq!((&seen["owner"], &seen["port"]), (&json!("alice"), &json!(10_080)));

    // Each of these characters takes two in a pattern of the database, which bears 50,000.
    let hostile = "_".repeat(25_001);
    for path in ["directory", "me/ports"] {
        let answer = alice.get(&format!("/api/v1/{path}?q={hostile}")).await;
        assert_eq!(answer.error(), (400, "bad-query".to_owned()), "{path}");
    }

    for (method, body) in [("PATCH", Some(json!({"shared": false}))), ("DELETE", None)] {
        assert_eq!(bob.send(method, &path, body, &[]).await.status, 404, "{method}");
    }
    assert_eq!(alice.post("/api/v1/me/ports", json!({"port": 80})).await.error().0, 400);
    assert_eq!(alice.post("/api/v1/me/ports", json!({"port": 10_080})).await.error().0, 409);
    assert_eq!(alice.delete(&path).await.status, 204);
    assert_eq!(alice.delete(&path).await.status, 404);
}

#[tokio::test]
async fn sessions_and_traffic_are_the_members_own() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    assert_eq!(alice.get("/api/v1/me/tunnels").await.json()["tunnels"], json!([]));
    for session in ["1", "x", "-1", "99999999999999999999999"] {
        assert_eq!(alice.delete(&format!("/api/v1/me/sessions/{session}")).await.status, 404, "{session}");
    }
    assert_eq!(alice.get("/api/v1/me/traffic?port=10080").await.json(), json!({"port": 10_080, "minutes": []}));
    for query in ["", "?port=x", "?port=70000"] {
        assert_eq!(alice.get(&format!("/api/v1/me/traffic{query}")).await.error(), (400, "bad-query".to_owned()));
    }
}

#[tokio::test]
async fn without_a_session_there_is_nothing() {
    let host = Host::start().await;
    let document = host.browser().get("/api/v1/openapi.json").await.json();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        if ["/sign-in", "/invitation/", "/oidc/"].iter().any(|open| path.contains(open)) {
            continue;
        }
        for method in item.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            if path.ends_with("/session") && method == "POST" {
                continue;
            }
            let path = path.replace(['{', '}'], "");
            let answer = host.browser().send(&method, &path, Some(json!({})), &[]).await;
            assert_eq!(answer.error(), (401, "signed-out".to_owned()), "{method} {path}");
            asked += 1;
        }
    }
    assert!(asked > 30, "only {asked} operations");
}
