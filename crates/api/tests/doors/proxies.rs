//! Behind a reverse proxy: whose word is taken about where somebody is.

use adit_jumphost::admin::AuditSearch;
use serde_json::json;
use tokio::time::timeout;

use crate::browser::{Answer, Browser, PATIENCE};
use crate::host::{Host, PASSWORD};

/// Signs in through a proxy that says this of the client.
async fn sign_in(browser: &Browser, forwarded: &str, password: &str) -> Answer {
    let body = json!({"account": "alice", "password": password});
    browser.send("POST", "/api/v1/session", Some(body), &[("x-forwarded-for", forwarded)]).await
}

/// The sources of all facts of one kind in the audit log, the newest first.
async fn sources(host: &Host, kind: &str, count: usize) -> Vec<String> {
    let written = async {
        loop {
            let search = AuditSearch { kind: Some(kind.to_owned()), ..AuditSearch::default() };
            let items = host.admin.call(search).await.unwrap().items;
            if items.len() >= count {
                return items.into_iter().map(|event| event.source.unwrap_or_default()).collect();
            }
        }
    };
    timeout(PATIENCE, written).await.expect("the facts are written")
}

#[tokio::test]
async fn a_trusted_proxy_tells_who_fails_and_only_they_wait() {
    let host = Host::with(json!({"web_trusted_proxies": "127.0.0.0/8"})).await;
    host.member("alice").await;
    let proxy = host.browser();
    for attempt in 0..10 {
        // What a client writes of itself stands before what the proxy appends.
        let forwarded = format!("198.51.100.{attempt}, 203.0.113.9");
        assert_eq!(sign_in(&proxy, &forwarded, "not her password").await.status, 401);
    }
    assert_eq!(sign_in(&proxy, "203.0.113.9", PASSWORD).await.error(), (429, "too-many-attempts".to_owned()));
    assert_eq!(sign_in(&proxy, "203.0.113.10, 127.0.0.9", PASSWORD).await.status, 200, "another person");
    let refused = sources(&host, "sign-in-refused", 10).await;
    assert!(refused.iter().all(|source| source.starts_with("203.0.113.9")), "{refused:?}");
    assert!(sources(&host, "signed-in", 2).await[0].starts_with("203.0.113.10"));
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let host = Host::with(json!({"web_trusted_proxies": "10.8.0.1"})).await;
    host.member("alice").await;
    let stranger = host.browser();
    for attempt in 0..10 {
        assert_eq!(sign_in(&stranger, &format!("198.51.100.{attempt}"), "not her password").await.status, 401);
    }
    assert_eq!(sign_in(&stranger, "198.51.100.99", PASSWORD).await.error(), (429, "too-many-attempts".to_owned()));
    let refused = sources(&host, "sign-in-refused", 10).await;
    assert!(refused.iter().all(|source| source.starts_with("127.0.0.1:")), "{refused:?}");
}
