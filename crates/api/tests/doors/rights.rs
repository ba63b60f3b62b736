//! How far a right reaches at the doors, and that a question is read to its last field.

use serde_json::{Value, json};

use crate::browser::{Answer, Browser};
use crate::host::Host;

/// As a program asks.
async fn ask(host: &Host, token: &str, method: &str, path: &str, body: Value) -> Answer {
    let bearer = format!("Bearer {token}");
    host.browser().send(method, path, Some(body), &[("authorization", &bearer), ("origin", "")]).await
}

async fn admin_token(owner: &Browser) -> String {
    let made = owner.post("/api/v1/me/tokens", json!({"name": "ci", "scopes": ["admin"]})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_link_is_made_by_somebody_signed_in_and_not_with_a_token() {
    let host = Host::start().await;
    let root = host.administrator("root").await;
    host.member("alice").await;
    let token = admin_token(&root).await;
    for (method, path, body) in [
        ("POST", "/api/v1/admin/invitations", json!({"admin": true})),
        ("POST", "/api/v1/admin/accounts/alice/password-link", json!({})),
        ("POST", "/api/v1/admin/accounts", json!({"name": "mallory", "admin": true})),
        ("PATCH", "/api/v1/admin/accounts/alice", json!({"admin": true})),
        ("PATCH", "/api/v1/admin/accounts/root", json!({"disabled": true})),
        ("DELETE", "/api/v1/admin/accounts/root", json!({})),
    ] {
        let answer = ask(&host, &token, method, path, body).await;
        assert_eq!(answer.error(), (403, "scope".to_owned()), "{method} {path}");
        let told = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(told, "this is done signed in at the dashboard, not with an API token");
    }
    let made = root.post("/api/v1/admin/invitations", json!({})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let added = ask(&host, &token, "POST", "/api/v1/admin/accounts", json!({"name": "bob"})).await;
    assert_eq!(added.status, 201, "{}", added.text());
}

#[tokio::test]
async fn a_bound_on_a_time_is_named() {
    let host = Host::start().await;
    let root = host.administrator("root").await;
    let century: u64 = 100 * 365 * 86_400_000;
    for (path, body, bound) in [
        ("/api/v1/me/tokens", json!({"name": "ci", "scopes": ["read"], "expires_in_ms": century}), "366 days"),
        ("/api/v1/admin/invitations", json!({"expires_in_ms": century}), "30 days"),
    ] {
        let answer = root.post(path, body).await;
        assert_eq!(answer.error(), (400, "bad-expiry".to_owned()), "{path}");
        assert!(answer.text().contains(bound), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_field_that_nobody_knows_is_not_passed_over() {
    let host = Host::start().await;
    let root = host.administrator("root").await;
    // Passed over, this would be a link that is good for a week.
    let typo = root.post("/api/v1/admin/invitations", json!({"expires_in": 60_000})).await;
    assert_eq!(typo.error(), (400, "bad-request".to_owned()));
    let typo = root.get("/api/v1/admin/audit?knd=key-added").await;
    assert_eq!(typo.error(), (400, "bad-query".to_owned()));

    let document = root.get("/api/v1/openapi.json").await.json();
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let Some(name) = body.as_str().and_then(|place| place.rsplit('/').next()) else { continue };
            let schema = &document["components"]["schemas"][name];
            assert_eq!(schema["additionalProperties"], json!(false), "{path}: {name}");
            seen += 1;
        }
    }
    assert!(seen >= 14, "the document has the bodies: {seen}");
}
