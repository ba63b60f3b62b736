//! Signing in at an OpenID provider.

use serde_json::{Value, json};

use crate::browser::{Answer, Browser, raw};
use crate::host::Host;
use crate::provider::{CLIENT_ID, CLIENT_SECRET, Mischief, Provider};

const SIGN_IN: &str = "__Host-adit-sign-in";
const SESSION: &str = "__Host-adit";

async fn host(provider: &Provider, sign_up: bool) -> (Host, tempfile::NamedTempFile) {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), format!("{CLIENT_SECRET}\n")).unwrap();
    let oidc = json!({
        "issuer": provider.issuer(), "client_id": CLIENT_ID, "client_secret_file": secret.path(), "label": "Our own",
        "sign_up": sign_up,
    });
    (Host::with(json!({"oidc": oidc})).await, secret)
}

/// The address that a redirect leads to.
fn led_to(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.header("location").unwrap()
}

/// Goes to the provider and back to our door; the path that leads in, and the cookie to bring along.
async fn go_there(host: &Host) -> (String, String) {
    let start = host.browser().get("/api/v1/oidc/start").await;
    let cookie = start.header("set-cookie").unwrap();
    for part in ["; HttpOnly", "; SameSite=Lax", "; Max-Age=600", "; Path=/", "; Secure"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let there = led_to(&start);
    let (authority, path) = there.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let head = format!("GET /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    let answer = raw(authority.parse().unwrap(), head.as_bytes()).await.unwrap();
    let back = led_to(&answer).strip_prefix(&host.browser().origin()).unwrap().to_owned();
    (back, start.cookie(SIGN_IN).unwrap())
}

async fn come_back(browser: &Browser, path: &str, cookie: &str) -> Answer {
    let headers = [("cookie", cookie), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    browser.send("GET", path, None, &headers).await
}

/// The key that the page finds behind the `#` of its address.
fn key_of(answer: &Answer) -> &str {
    led_to(answer).strip_prefix("/#/signed-in?key=").expect("a page that keeps the key")
}

fn refused_as(answer: &Answer, code: &str) {
    assert_eq!(led_to(answer), format!("/#/sign-in?error={code}"));
    assert_eq!(answer.cookie(SESSION), None);
}

#[tokio::test]
async fn a_person_of_the_provider_is_signed_in() {
    let provider = Provider::start().await;
    let (host, _secret) = host(&provider, true).await;
    assert_eq!(host.browser().get("/api/v1/sign-in").await.json()["oidc"]["label"], "Our own");
    let mut first = None;
    for _ in 0..2 {
        let (path, cookie) = go_there(&host).await;
        let mut browser = host.browser();
        let answer = come_back(&browser, &path, &cookie).await;
        assert_eq!(answer.cookie(SIGN_IN).as_deref(), Some("__Host-adit-sign-in="), "it served");
        browser.cookie = answer.cookie(SESSION);
        assert_eq!(browser.get("/api/v1/session").await.status, 401, "the page has not read its key yet");
        browser.csrf = Some(key_of(&answer).to_owned());
        let session = browser.get("/api/v1/session").await.json();
        assert_eq!((&session["account"], &session["via"]), (&json!("alice-at-home"), &json!("oidc")));
        let me = browser.get("/api/v1/me").await.json();
        assert_eq!(me["has_password"], Value::Bool(false));
        assert_eq!(*first.get_or_insert(me["created_at"].clone()), me["created_at"], "the same account again");
    }
}

#[tokio::test]
async fn the_session_that_the_browser_had_ends_by_its_key_alone() {
    let provider = Provider::start().await;
    let (host, _secret) = host(&provider, true).await;
    let (older, bystander) = (host.member("alice").await, host.member("bob").await);
    let (path, cookie) = go_there(&host).await;
    // The browser keeps the cookie of the older session to itself: it comes from another site.
    let answer = come_back(&host.browser(), &path, &cookie).await;
    let newer = Browser { cookie: answer.cookie(SESSION), csrf: Some(key_of(&answer).to_owned()), ..older.clone() };
    assert_eq!(older.get("/api/v1/session").await.status, 200, "no cookie and no key says which it is");

    let ends =
        async |asks: &Browser, key: &str| asks.post("/api/v1/session/replaced", json!({"csrf": key})).await.status;
    let thief = Browser { csrf: None, ..newer.clone() };
    assert_eq!(ends(&thief, older.csrf.as_deref().unwrap()).await, 403, "asked by nobody");
    for nobodys in ["", "0", &"0".repeat(64), newer.csrf.as_deref().unwrap()] {
        assert_eq!(ends(&newer, nobodys).await, 204, "whether there was one is not told");
    }
    for lives in [&older, &newer, &bystander] {
        assert_eq!(lives.get("/api/v1/session").await.status, 200);
    }
    assert_eq!(ends(&newer, older.csrf.as_deref().unwrap()).await, 204);
    assert_eq!(older.get("/api/v1/session").await.error(), (401, "signed-out".to_owned()));
    for lives in [&newer, &bystander] {
        assert_eq!(lives.get("/api/v1/session").await.status, 200);
    }
}

#[tokio::test]
async fn a_planted_cookie_does_not_stop_a_sign_in() {
    let provider = Provider::start().await;
    let (host, _secret) = host(&provider, true).await;
    let (path, cookie) = go_there(&host).await;
    let beset = format!("{SIGN_IN}=planted; {cookie}; {SIGN_IN}=planted-too");
    assert!(!key_of(&come_back(&host.browser(), &path, &beset).await).is_empty());
}

#[tokio::test]
async fn a_stranger_gets_no_account_unless_it_is_set_so() {
    let provider = Provider::start().await;
    let (host, _secret) = host(&provider, false).await;
    let (path, cookie) = go_there(&host).await;
    refused_as(&come_back(&host.browser(), &path, &cookie).await, "no-account");
}

#[tokio::test]
async fn a_token_that_is_not_for_us_signs_nobody_in() {
    let provider = Provider::start().await;
    let (host, _secret) = host(&provider, true).await;
    for mischief in [
        Mischief::OtherNonce,
        Mischief::NoNonce,
        Mischief::NoSubject,
        Mischief::OtherAudience,
        Mischief::SeveralAudiences,
        Mischief::Expired,
        Mischief::NotYet,
        Mischief::OtherIssuer,
        Mischief::OtherKey,
        Mischief::UnknownKey,
        Mischief::Unsigned,
        Mischief::SignedWithClientSecret,
    ] {
        provider.misbehave(mischief);
        let (path, cookie) = go_there(&host).await;
        let answer = come_back(&host.browser(), &path, &cookie).await;
        assert_eq!(led_to(&answer), "/#/sign-in?error=oidc-bad-token", "{mischief:?}");
        assert_eq!(answer.cookie(SESSION), None);
    }
    provider.misbehave(Mischief::None);
    let (path, cookie) = go_there(&host).await;
    assert!(!key_of(&come_back(&host.browser(), &path, &cookie).await).is_empty());
}

#[tokio::test]
async fn an_answer_counts_in_the_browser_that_asked_and_once() {
    let provider = Provider::start().await;
    let (host, _secret) = host(&provider, true).await;
    let browser = host.browser();
    let (path, cookie) = go_there(&host).await;
    let (other_path, other_cookie) = go_there(&host).await;
    refused_as(&come_back(&browser, &path, "x=y").await, "oidc-not-begun");
    refused_as(&come_back(&browser, &path, &other_cookie).await, "oidc-other-sign-in");
    refused_as(&come_back(&browser, "/api/v1/oidc/callback", &cookie).await, "oidc-other-sign-in");
    let without_issuer = path.split("&iss=").next().unwrap();
    refused_as(&come_back(&browser, without_issuer, &cookie).await, "oidc-other-sign-in");

    let state = path.split("state=").nth(1).unwrap();
    let code_of_other = format!("{}&state={state}", other_path.split("&state=").next().unwrap());
    refused_as(&come_back(&browser, &code_of_other, &cookie).await, "oidc-exchange");

    assert!(!key_of(&come_back(&browser, &path, &cookie).await).is_empty());
    refused_as(&come_back(&browser, &path, &cookie).await, "oidc-exchange");

    let denied = path.replace("code=code-0", "error=access_denied");
    refused_as(&come_back(&browser, &denied, &cookie).await, "oidc-refused");
}

#[tokio::test]
async fn a_provider_that_is_away_is_said_so_and_asked_again() {
    let away = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", away.local_addr().unwrap());
    drop(away);
    let host = Host::with(json!({"oidc": {"issuer": issuer, "client_id": "adit"}})).await;
    for _ in 0..2 {
        refused_as(&host.browser().get("/api/v1/oidc/start").await, "oidc-unreachable");
    }
    let without = Host::start().await;
    for path in ["/api/v1/oidc/start", "/api/v1/oidc/callback"] {
        assert_eq!(without.browser().get(path).await.error(), (404, "no-oidc".to_owned()));
    }
}
