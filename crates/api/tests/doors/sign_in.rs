//! Signing in and out.

use std::time::Duration;

use adit_jumphost::admin::{AccountChange, AuditList, InvitationAdd};
use adit_jumphost::signin::SESSION_IDLE;
use serde_json::json;

use crate::host::{Host, PASSWORD};

const SESSION: &str = "/api/v1/session";

#[tokio::test]
async fn a_link_makes_an_account_once_and_the_password_signs_in() {
    let host = Host::start().await;
    assert_eq!(host.browser().get("/api/v1/sign-in").await.json()["first_run"], true);
    let made = host.admin.call(InvitationAdd::default()).await.unwrap();
    let token = json!({"token": made.token.as_str()});
    let look = host.browser().post("/api/v1/invitation/look", token.clone()).await.json();
    assert_eq!((&look["kind"], &look["account"], &look["admin"]), (&json!("invitation"), &json!(null), &json!(false)));
    let accept = json!({"token": made.token.as_str(), "account": "alice", "password": PASSWORD});
    let weak = json!({"token": made.token.as_str(), "account": "alice", "password": "alice alice alice"});
    assert_eq!(host.browser().post("/api/v1/invitation/accept", weak).await.error(), (400, "weak-password".to_owned()));
    assert_eq!(host.browser().post("/api/v1/invitation/accept", accept.clone()).await.status, 200);
    for (path, question) in [("/api/v1/invitation/look", token), ("/api/v1/invitation/accept", accept)] {
        let used = host.browser().post(path, question).await;
        assert_eq!(used.error(), (404, "no-such-invitation".to_owned()));
    }
    assert_eq!(host.browser().get("/api/v1/sign-in").await.json()["first_run"], false);

    let mut browser = host.browser();
    let answer = browser.sign_in("alice", PASSWORD).await;
    assert_eq!(answer.status, 200);
    let view = answer.json();
    assert_eq!((view["account"].as_str(), view["via"].as_str()), (Some("alice"), Some("password")));
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["__Host-adit=", "; Path=/;", "; HttpOnly", "; SameSite=Strict", "; Secure"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    let key = view["csrf"].as_str().unwrap();
    assert_eq!(key.len(), 64);
    assert!(!answer.header("set-cookie").unwrap().contains(key));
    let again = browser.get(SESSION).await;
    assert!(!again.text().contains(key), "the key is told once");
    let mut without_key = view.clone();
    without_key["csrf"] = json!(null);
    assert_eq!(again.json(), without_key);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_are_told_alike() {
    let host = Host::start().await;
    host.member("alice").await;
    let mut browser = host.browser();
    let wrong = browser.sign_in("alice", "not her password").await;
    let unknown = browser.sign_in("nobody", "not her password").await;
    assert_eq!(wrong.error(), (401, "bad-credentials".to_owned()));
    assert_eq!((wrong.error(), wrong.body), (unknown.error(), unknown.body.clone()));
    let lock = AccountChange { name: "alice".to_owned(), tier: None, admin: None, disabled: Some(true) };
    host.admin.call(lock).await.unwrap();
    assert_eq!(browser.sign_in("alice", PASSWORD).await.body, unknown.body);
}

#[tokio::test]
async fn what_needs_no_session_is_no_use_of_one() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let host = Host::start().await;
    let alice = host.member("alice").await;
    host.age_sessions(SESSION_IDLE - HOUR).await;
    assert_eq!(alice.clone().sign_in("alice", "not her password").await.error(), (401, "bad-credentials".to_owned()));
    let link = json!({"token": "none", "account": "alice", "password": PASSWORD});
    let unknown = alice.post("/api/v1/invitation/accept", link).await;
    assert_eq!(unknown.error(), (404, "no-such-invitation".to_owned()));
    for path in ["/api/v1/oidc/start", "/api/v1/oidc/callback"] {
        assert_eq!(alice.get(path).await.error(), (404, "no-oidc".to_owned()));
    }
    host.age_sessions(HOUR).await;
    assert_eq!(alice.get(SESSION).await.error(), (401, "signed-out".to_owned()), "nobody has used it for twelve hours");
}

#[tokio::test]
async fn after_ten_bad_passwords_even_the_right_one_waits() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let mut browser = host.browser();
    for _ in 0..10 {
        assert_eq!(browser.sign_in("alice", "not her password").await.status, 401);
    }
    let answer = browser.sign_in("alice", PASSWORD).await;
    assert_eq!(answer.error(), (429, "too-many-attempts".to_owned()));
    let wait = answer.json()["retry_after"].as_u64().unwrap();
    assert!((1..=901).contains(&wait), "{wait}");
    assert_eq!(answer.header("retry-after"), Some(wait.to_string().as_str()));
    assert_eq!(alice.get(SESSION).await.status, 200, "who is in stays in");
}

#[tokio::test]
async fn a_cookie_that_was_planted_is_replaced() {
    let host = Host::start().await;
    let planted = host.member("mallory").await;
    host.member("alice").await;
    let mut victim = host.browser();
    victim.cookie = planted.cookie.clone();
    assert_eq!(victim.sign_in("alice", PASSWORD).await.status, 200);
    assert_ne!(victim.cookie, planted.cookie);
    assert_eq!(victim.get(SESSION).await.json()["account"], "alice");
    assert_eq!(planted.get(SESSION).await.json()["account"], "mallory", "what was planted leads nowhere else");

    victim.cookie = Some("__Host-adit=chosen-by-mallory".to_owned());
    assert_eq!(victim.sign_in("alice", PASSWORD).await.status, 200);
    assert_ne!(victim.cookie.as_deref(), Some("__Host-adit=chosen-by-mallory"));
}

#[tokio::test]
async fn signing_out_ends_the_session_on_the_server() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let mut elsewhere = host.browser();
    elsewhere.sign_in("alice", PASSWORD).await;
    let answer = alice.delete(SESSION).await;
    assert_eq!(answer.status, 204);
    assert!(answer.header("set-cookie").unwrap().contains("__Host-adit=; Path=/; Max-Age=0"));
    for path in [SESSION, "/api/v1/me", "/api/v1/events"] {
        assert_eq!(alice.get(path).await.error(), (401, "signed-out".to_owned()), "{path}");
    }
    assert_eq!(elsewhere.get(SESSION).await.status, 200, "another browser stays in");
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let mut elsewhere = host.browser();
    elsewhere.sign_in("alice", PASSWORD).await;
    let change = |current: &str| Some(json!({"current": current, "new": "seven quiet lanterns"}));
    let wrong = alice.send("PUT", "/api/v1/me/password", change("not her password"), &[]).await;
    assert_eq!(wrong.error(), (400, "wrong-password".to_owned()));
    assert_eq!(alice.send("PUT", "/api/v1/me/password", change(PASSWORD), &[]).await.status, 204);
    assert_eq!(elsewhere.get(SESSION).await.status, 401);
    assert_eq!(alice.get(SESSION).await.status, 200);
}

#[tokio::test]
async fn a_secret_is_in_no_file() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let secret = alice.cookie.clone().unwrap().split_once('=').unwrap().1.to_owned();
    assert!(host.admin.call(AuditList { limit: None }).await.is_ok());
    assert_eq!(host.stop_and_search(&secret).await, Vec::<String>::new());
    let host = Host::start().await;
    host.member("alice").await;
    host.browser().sign_in("alice", "the wrong one, and long").await;
    // People type a password where the name should be.
    host.browser().sign_in("my-own-password", "x").await;
    assert_eq!(host.stop_and_search("my-own-password").await, Vec::<String>::new());
}
