//! API tokens: what a program may do with one.

use adit_jumphost::admin::AccountChange;
use serde_json::{Value, json};

use crate::browser::{Answer, Browser};
use crate::host::Host;

async fn token(owner: &Browser, scopes: Value) -> (String, String) {
    let made = owner.post("/api/v1/me/tokens", json!({"name": "ci", "scopes": scopes})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let (made, text) = (made.json(), |value: &Value| value.as_str().unwrap().to_owned());
    (text(&made["token"]), text(&made["id"]))
}

/// As a program does: no cookie, no origin, no token against cross-site requests.
async fn ask(host: &Host, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    let bearer = format!("Bearer {token}");
    host.browser().send(method, path, body, &[("authorization", &bearer), ("origin", "")]).await
}

#[tokio::test]
async fn a_token_reaches_as_far_as_its_scope() {
    let host = Host::start().await;
    let root = host.administrator("root").await;
    let port = || Some(json!({"port": 10_080}));
    let scope = (403, "scope".to_owned());

    let (read, _) = token(&root, json!(["read"])).await;
    assert!(read.starts_with("adit_"));
    assert_eq!(ask(&host, &read, "GET", "/api/v1/me", None).await.status, 200);
    let session = ask(&host, &read, "GET", "/api/v1/session", None).await.json();
    assert_eq!((&session["via"], &session["csrf"]), (&json!("token"), &json!(null)));
    assert_eq!(ask(&host, &read, "POST", "/api/v1/me/ports", port()).await.error(), scope);
    assert_eq!(ask(&host, &read, "GET", "/api/v1/admin/accounts", None).await.error(), scope);

    let (write, _) = token(&root, json!(["read", "write"])).await;
    assert_eq!(ask(&host, &write, "POST", "/api/v1/me/ports", port()).await.status, 201);
    assert_eq!(ask(&host, &write, "GET", "/api/v1/admin/accounts", None).await.error(), scope);

    let (admin, _) = token(&root, json!(["read", "write", "admin"])).await;
    assert_eq!(ask(&host, &admin, "GET", "/api/v1/admin/accounts", None).await.status, 200);

    let alice = host.member("alice").await;
    let made = alice.post("/api/v1/me/tokens", json!({"name": "x", "scopes": ["admin"]})).await;
    if made.status == 201 {
        let hers = made.json()["token"].as_str().unwrap().to_owned();
        let refused = ask(&host, &hers, "GET", "/api/v1/admin/accounts", None).await;
        assert_eq!(refused.error(), (403, "not-admin".to_owned()), "a scope gives no right that its owner has not");
    }
}

#[tokio::test]
async fn a_token_makes_no_token_and_changes_no_password() {
    let host = Host::start().await;
    let root = host.administrator("root").await;
    let (admin, id) = token(&root, json!(["admin"])).await;
    for (method, path, body) in [
        ("POST", "/api/v1/me/tokens".to_owned(), json!({"name": "more", "scopes": ["admin"]})),
        ("DELETE", format!("/api/v1/me/tokens/{id}"), json!({})),
        ("PUT", "/api/v1/me/password".to_owned(), json!({"current": "x", "new": "seven quiet lanterns"})),
        ("DELETE", "/api/v1/session".to_owned(), json!({})),
    ] {
        let answer = ask(&host, &admin, method, &path, Some(body)).await;
        assert_eq!(answer.error(), (403, "scope".to_owned()), "{method} {path}");
    }
}

#[tokio::test]
async fn a_token_is_shown_once_kept_as_a_hash_and_ends() {
    let host = Host::start().await;
    let (alice, bob) = (host.member("alice").await, host.member("bob").await);
    let (secret, id) = token(&alice, json!(["read"])).await;
    let listed = alice.get("/api/v1/me/tokens").await;
    assert!(listed.json()[0]["id"] == id && !listed.text().contains(&secret), "{}", listed.text());
    let path = format!("/api/v1/me/tokens/{id}");
    assert_eq!(bob.delete(&path).await.status, 404, "another account's");
    assert_eq!(ask(&host, &secret, "GET", "/api/v1/me", None).await.status, 200);
    assert_eq!(alice.delete(&path).await.status, 204);
    assert_eq!(ask(&host, &secret, "GET", "/api/v1/me", None).await.error(), (401, "signed-out".to_owned()));

    let (of_locked, _) = token(&alice, json!(["read"])).await;
    let lock = AccountChange { name: "alice".to_owned(), tier: None, admin: None, disabled: Some(true) };
    host.admin.call(lock).await.unwrap();
    assert_eq!(ask(&host, &of_locked, "GET", "/api/v1/me", None).await.status, 401);
    assert_eq!(host.stop_and_search(&of_locked).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_bad_token_is_not_saved_by_a_good_cookie() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    for bad in ["Bearer adit_nothing", "Bearer x", "Basic YTpi", "adit_x"] {
        let answer = alice.send("GET", "/api/v1/me", None, &[("authorization", bad)]).await;
        assert_eq!(answer.status, 401, "{bad}");
    }
}

#[tokio::test]
async fn a_scope_that_is_named_twice_is_one() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let scopes = |count| {
        let named = ["write", "read"].repeat(count);
        json!({"name": "ci", "scopes": named})
    };
    let made = alice.post("/api/v1/me/tokens", scopes(1_000)).await;
    assert_eq!((made.status, &made.json()["scopes"]), (201, &json!(["read", "write"])), "{}", made.text());
    let too_many = alice.post("/api/v1/me/tokens", scopes(10_000)).await;
    assert_eq!(too_many.error(), (413, "too-large".to_owned()));
}
