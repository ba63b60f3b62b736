//! What proves a session: the cookie, which a browser sends to every port of this host, and the key, which only our page has.

use serde_json::json;

use crate::browser::Browser;
use crate::host::{Host, PASSWORD};

const SESSION: &str = "/api/v1/session";

/// What is asked of somebody who is signed in, and changes nothing.
const LOOKS: [&str; 4] = [SESSION, "/api/v1/me", "/api/v1/me/tunnels", "/api/v1/events"];

/// Whoever serves something at another port of this host, after one of our members has opened it in their browser.
fn thief_of(browser: &Browser) -> Browser {
    Browser { csrf: None, ..browser.clone() }
}

#[tokio::test]
async fn a_cookie_alone_is_nobody() {
    let host = Host::start().await;
    let root = host.administrator("root").await;
    let thief = thief_of(&root);
    let guesses = ["", "x", &"0".repeat(64), root.cookie.as_deref().unwrap().split_once('=').unwrap().1];
    for key in guesses {
        for path in LOOKS.iter().chain(&["/api/v1/admin/accounts", "/api/v1/admin/audit.csv"]) {
            let answer = thief.send("GET", path, None, &[("x-csrf-token", key)]).await;
            assert_eq!(answer.error(), (401, "signed-out".to_owned()), "{path} {key:?}");
        }
        let port = Some(json!({"port": 10_080}));
        for (method, path, body) in [("DELETE", SESSION, None), ("POST", "/api/v1/me/ports", port)] {
            let answer = thief.send(method, path, body, &[("x-csrf-token", key)]).await;
            assert_eq!(answer.error(), (403, "csrf".to_owned()), "{method} {path} {key:?}");
        }
    }
    for path in &LOOKS[..3] {
        assert_eq!(root.get(path).await.status, 200, "{path}");
    }
    assert_eq!(root.get("/api/v1/me/ports").await.json()["total"], 0);
}

#[tokio::test]
async fn the_key_of_another_session_is_none() {
    let host = Host::start().await;
    let (alice, mallory) = (host.member("alice").await, host.member("mallory").await);
    let mut again = host.browser();
    again.sign_in("alice", PASSWORD).await;
    for other in [&mallory, &again] {
        // A planted cookie, beside the key that the page has.
        let mixed = Browser { cookie: other.cookie.clone(), ..alice.clone() };
        for path in LOOKS {
            assert_eq!(mixed.get(path).await.error(), (401, "signed-out".to_owned()), "{path}");
        }
        assert_eq!(mixed.delete(SESSION).await.error(), (403, "csrf".to_owned()));
        assert_eq!(other.get(SESSION).await.status, 200, "nothing ended");
    }
    let keyless = Browser { cookie: None, ..alice.clone() };
    assert_eq!(keyless.get(SESSION).await.status, 401, "a key without its cookie");
}

#[tokio::test]
async fn a_session_that_is_over_is_told_from_one_with_another_key() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    assert_eq!(alice.delete(SESSION).await.status, 204);
    let answer = alice.post("/api/v1/me/ports", json!({"port": 10_080})).await;
    assert_eq!(answer.error(), (401, "signed-out".to_owned()), "the page is to sign in again");
}

#[tokio::test]
async fn a_cookie_alone_ends_no_session_by_signing_in_over_it() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    host.member("mallory").await;
    let mut mallory = thief_of(&alice);
    assert_eq!(mallory.sign_in("mallory", PASSWORD).await.status, 200);
    assert_eq!(alice.get(SESSION).await.status, 200);

    let mut same_page = alice.clone();
    assert_eq!(same_page.sign_in("alice", PASSWORD).await.status, 200);
    assert_ne!((&same_page.cookie, &same_page.csrf), (&alice.cookie, &alice.csrf));
    assert_eq!(alice.get(SESSION).await.error(), (401, "signed-out".to_owned()), "replaced");
}

#[tokio::test]
async fn what_needs_no_session_needs_no_key() {
    let host = Host::start().await;
    let thief = thief_of(&host.member("alice").await);
    assert_eq!(thief.get("/api/v1/sign-in").await.status, 200);
}
