//! What was not meant for us, and what goes with every answer.

use serde_json::json;

use crate::browser::{Browser, raw};
use crate::host::Host;

const ME: &str = "/api/v1/me";

#[tokio::test]
async fn a_foreign_host_is_refused_before_anything_else() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    for path in [ME, "/", "/api/v1/sign-in", "/api/v1/events", "/assets/x.js", "/nothing"] {
        for foreign in ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:8022"] {
            let answer = alice.send("GET", path, None, &[("host", foreign)]).await;
            assert_eq!(answer.error(), (403, "foreign-host".to_owned()), "{path} {foreign}");
        }
    }
    let none = raw(host.web, format!("GET {ME} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(none.error().1, "foreign-host");
    let port = host.web.port();
    for ours in [format!("localhost:{port}"), format!("[::1]:{port}"), host.web.to_string()] {
        assert_eq!(alice.send("GET", ME, None, &[("host", &ours)]).await.status, 200, "{ours}");
    }
}

#[tokio::test]
async fn a_foreign_origin_is_refused_whatever_it_asks() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let origin = alice.origin();
    let others = ["http://evil.example", "null", "http://127.0.0.1", &origin.replace("http:", "https:")];
    for foreign in others {
        for (method, path) in [("GET", ME), ("GET", "/"), ("POST", "/api/v1/session"), ("DELETE", "/api/v1/session")] {
            let answer = alice.send(method, path, None, &[("origin", foreign)]).await;
            assert_eq!(answer.error(), (403, "foreign-origin".to_owned()), "{method} {path} {foreign}");
        }
    }
    for site in ["cross-site", "same-site"] {
        let answer = alice.send("GET", ME, None, &[("sec-fetch-site", site)]).await;
        assert_eq!(answer.error().1, "foreign-origin", "{site}");
        assert_ne!(alice.send("GET", "/", None, &[("sec-fetch-site", site)]).await.status, 403, "a link to the page");
    }
    assert_eq!(alice.get(ME).await.status, 200);
}

#[tokio::test]
async fn a_change_needs_the_token_of_its_session_and_our_origin() {
    let host = Host::start().await;
    let (alice, bob) = (host.member("alice").await, host.member("bob").await);
    let port = || Some(json!({"port": 10_080}));
    let bobs = bob.csrf.clone().unwrap();
    for token in ["", "x", bobs.as_str()] {
        let answer = alice.send("POST", "/api/v1/me/ports", port(), &[("x-csrf-token", token)]).await;
        assert_eq!(answer.error(), (403, "csrf".to_owned()), "{token:?}");
    }
    let answer = alice.send("POST", "/api/v1/me/ports", port(), &[("origin", "")]).await;
    assert_eq!(answer.error(), (403, "foreign-origin".to_owned()));
    let fetched = [("origin", ""), ("sec-fetch-site", "same-origin")];
    assert_eq!(alice.send("POST", "/api/v1/me/ports", port(), &fetched).await.status, 201);
    assert_eq!(alice.get("/api/v1/me/ports").await.json()["total"], 1);
}

#[tokio::test]
async fn every_answer_carries_the_headers() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    for (path, extra) in [
        ("/", &[][..]),
        (ME, &[]),
        ("/health", &[]),
        ("/metrics", &[]),
        ("/nothing", &[]),
        (ME, &[("host", "evil.example")]),
        (ME, &[("cookie", "")]),
    ] {
        let answer = alice.send("GET", path, None, extra).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.ends_with("require-trusted-types-for 'script'; trusted-types svelte-trusted-html"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {name}");
        }
        assert!(answer.header("permissions-policy").is_some());
        assert_eq!(answer.header("strict-transport-security"), None);
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    assert_eq!(alice.get(ME).await.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn an_address_with_tls_is_kept_to_it() {
    let host = Host::with(json!({"web_url": "https://tunnels.example.org"})).await;
    let proxied = [("host", "tunnels.example.org")];
    let answer = host.browser().send("GET", "/api/v1/sign-in", None, &proxied).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
}

#[tokio::test]
async fn scrapers_come_by_any_name() {
    let host = Host::start().await;
    for path in ["/health", "/metrics"] {
        assert_eq!(host.browser().send("GET", path, None, &[("host", "balancer")]).await.status, 200);
    }
}

#[tokio::test]
async fn what_is_not_there_is_an_error_of_the_one_shape() {
    let host = Host::start().await;
    let browser = host.browser();
    for path in ["/etc/passwd", "/api/v1/nothing", "/api/", "/assets/../Cargo.toml", "/assets/", "/index.html.br"] {
        assert_eq!(browser.get(path).await.error(), (404, "not-found".to_owned()), "{path}");
    }
    let answer = browser.send("PATCH", "/api/v1/session", None, &[]).await;
    assert_eq!(answer.error(), (405, "wrong-method".to_owned()));
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("DELETE")));
    assert_eq!(browser.send("OPTIONS", "/api/v1/session", None, &[]).await.error().0, 405, "no other site may ask");
    let head = browser.send("HEAD", "/api/v1/sign-in", None, &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

async fn post_text(browser: &Browser, content_type: &str, body: &str) -> (u16, String) {
    let head = format!(
        "POST /api/v1/session HTTP/1.1\r\nhost: {0}\r\norigin: http://{0}\r\nconnection: close\r\n{content_type}content-length: {1}\r\n\r\n",
        browser.address,
        body.len(),
    );
    raw(browser.address, format!("{head}{body}").as_bytes()).await.unwrap().error()
}

#[tokio::test]
async fn a_body_is_json_and_small() {
    let host = Host::start().await;
    let browser = host.browser();
    let json_type = "content-type: application/json\r\n";
    for other in ["", "content-type: text/plain\r\n", "content-type: application/x-www-form-urlencoded\r\n"] {
        assert_eq!(post_text(&browser, other, "{}").await, (415, "not-json".to_owned()), "{other}");
    }
    let charset = "content-type: Application/JSON; charset=utf-8\r\n";
    assert_eq!(post_text(&browser, charset, "{").await, (400, "bad-request".to_owned()));
    let large = format!("\"{}\"", "x".repeat(70_000));
    assert_eq!(post_text(&browser, json_type, &large).await, (413, "too-large".to_owned()));
    let chunk = "x".repeat(0x8000);
    let chunked = format!(
        "POST /api/v1/session HTTP/1.1\r\nhost: {0}\r\nconnection: close\r\n{json_type}transfer-encoding: chunked\r\n\r\n{1}0\r\n\r\n",
        browser.address,
        format!("8000\r\n{chunk}\r\n").repeat(3),
    );
    assert_eq!(raw(browser.address, chunked.as_bytes()).await.unwrap().error().0, 413);
    let told = browser.post("/api/v1/session", json!({"account": ["my secret"]})).await;
    assert!(!told.text().contains("secret"), "{}", told.text());
}
