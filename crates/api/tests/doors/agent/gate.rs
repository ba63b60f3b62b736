//! Every route asks for the token, and no request of another site comes as far as that.

use serde_json::Value;
use tokio::net::TcpListener;

use super::home::{Home, TOKEN, kept_token, refused};
use crate::browser::Answer;

/// Every method and path of the document, and some that are not in it.
fn guarded() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&adit_api::agent::openapi()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "tun_1").replace("{number}", "1");
        let methods = item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()));
        all.extend(methods.filter(|(_, path)| path != "/page/enter"));
    }
    assert!(all.len() > 30, "{all:?}");
    let others = ["/metrics", "/openapi.json", "/nothing-of-that-name", "/assets", "/index.html", "/page/"];
    all.extend(others.map(|path| ("GET".to_owned(), path.to_owned())));
    all.push(("PATCH".to_owned(), "/tunnels".to_owned()));
    all
}

fn brought(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test]
async fn nothing_but_health_is_told_without_the_token() {
    let home = Home::new().await;
    let other = brought(&TOKEN.replace('0', "1"));
    for (method, path) in guarded() {
        for authorization in ["", "Bearer ", &other, &format!("Basic {TOKEN}"), TOKEN] {
            let answer = home.browser().send(&method, &path, None, &[("authorization", authorization)]).await;
            let (status, code, error) = refused(&answer);
            assert_eq!((status, code.as_str()), (401, "UNAUTHORIZED"), "{method} {path} {authorization}");
            assert!(!error.contains(TOKEN));
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    for path in [format!("/tunnels?token={TOKEN}"), format!("/tunnels?access_token={TOKEN}")] {
        assert_eq!(home.browser().get(&path).await.status, 401, "a URL is no place for a token");
    }
    let health = home.browser().get("/health").await;
    assert_eq!((health.status, health.json()["status"].as_str()), (200, Some("serving")));
    assert_eq!(health.json()["areas"], serde_json::json!(["agent"]));
    assert_eq!(home.get("/tunnels").await.as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn a_foreign_host_is_refused_everywhere() {
    let home = Home::new().await;
    let port = home.address.port();
    let ask = async |path: &str, host: &str| {
        home.browser().send("GET", path, None, &[("authorization", &brought(TOKEN)), ("host", host)]).await
    };
    assert_eq!(ask("/tunnels", &format!("127.0.0.1:{port}")).await.status, 200);
    // At another address of the same name somebody else may listen.
    let (name, other) = (format!("localhost:{port}"), format!("[::1]:{port}"));
    let foreign =
        ["evil.example", &format!("evil.example:{port}"), "localhost", &name, &other, &format!("127.0.0.2:{port}")];
    for host in foreign {
        for path in ["/tunnels", "/events", "/metrics", "/openapi.json", "/nothing-of-that-name", "/health"] {
            let (status, code, _) = refused(&ask(path, host).await);
            assert_eq!((status, code.as_str()), (403, "FORBIDDEN"), "{host} {path}");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_even_with_the_token() {
    let home = Home::new().await;
    let ask = async |name: &str, value: &str| {
        home.browser().send("GET", "/tunnels", None, &[("authorization", &brought(TOKEN)), (name, value)]).await
    };
    let is_refused = |answer: &Answer| assert_eq!((refused(answer).0, &*refused(answer).1), (403, "FORBIDDEN"));
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", &format!("https://{}", home.address)] {
        is_refused(&ask("origin", origin).await);
    }
    for site in ["cross-site", "same-site"] {
        is_refused(&ask("sec-fetch-site", site).await);
    }
    assert_eq!(ask("origin", &home.browser().origin()).await.status, 200);
    assert_eq!(ask("sec-fetch-site", "same-origin").await.status, 200);
}

#[tokio::test]
async fn every_answer_has_the_headers() {
    let home = Home::new().await;
    let answers = [
        home.browser().get("/health").await,
        home.browser().get("/tunnels").await,
        home.browser().send("GET", "/tunnels", None, &[("host", "evil.example")]).await,
        home.ask("GET", "/tunnels", None).await,
        home.ask("GET", "/nothing-of-that-name", None).await,
        home.ask("PATCH", "/tunnels", None).await,
    ];
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 401, 403, 200, 404, 405]);
    answers.iter().for_each(Answer::assert_headers_of_an_api);
}

#[tokio::test]
async fn the_door_stands_on_loopback_only() {
    let home = Home::new().await;
    let anywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = adit_api::agent::serve(home.agent(), anywhere, kept_token(home.folder())).unwrap_err();
    assert!(refused.to_string().contains("is no loopback address"), "{refused}");
}
