//! How a browser comes in: the page for everybody, a code that is good once, and the token in exchange.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::home::{Home, TOKEN, refused};
use crate::events::Stream;

/// As many as there may be at a time.
const CODES: usize = 16;

async fn code(home: &Home) -> String {
    let made = home.order("/page/codes").await;
    assert_eq!((made.status, &made.json()["expires_in_secs"]), (201, &json!(600)), "{}", made.text());
    let code = made.json()["code"].as_str().unwrap().to_owned();
    assert!(code.len() == 64 && code.bytes().all(|byte| byte.is_ascii_hexdigit()), "{code}");
    code
}

/// As the page does, which has no token yet.
async fn enter(home: &Home, code: &str) -> Result<String, String> {
    let answer = home.browser().post("/page/enter", json!({"code": code})).await;
    if answer.status == 200 {
        return Ok(answer.json()["token"].as_str().unwrap().to_owned());
    }
    let (status, code, error) = refused(&answer);
    assert_eq!((status, code.as_str()), (401, "BAD_CODE"));
    Err(error)
}

async fn lets_in(home: &Home, token: &str) -> bool {
    let answer = home.ask_with(token, "GET", "/tunnels", None).await;
    assert!([200, 401].contains(&answer.status), "{}", answer.text());
    answer.status == 200
}

#[tokio::test]
async fn the_page_is_for_everybody_and_tells_nothing() {
    let home = Home::new().await;
    let page = home.browser().get("/").await;
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    // A machine without npm builds without it.
    if !Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html")).exists() {
        assert_eq!(page.status, 503);
        return;
    }
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let text = page.text();
    let script = text.split('"').find(|text| text.starts_with("/assets/") && text.ends_with(".js")).expect("a script");
    let script = home.browser().send("HEAD", script, None, &[]).await;
    assert_eq!((script.status, script.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    for path in ["/assets/nothing.js", "/assets/", "/assets/..%2findex.html"] {
        let answer = home.browser().get(path).await;
        assert!(matches!(refused(&answer).0, 401 | 404), "{path}: {}", answer.text());
    }
    assert_eq!(refused(&home.browser().post("/", json!({})).await).0, 405);
}

#[tokio::test]
async fn no_other_site_comes_in() {
    let home = Home::new().await;
    let given = json!({"code": code(&home).await});
    let body = Some(given.clone());
    let asks = [
        ("GET", "/", None),
        ("GET", "/assets/nothing.js", None),
        ("GET", "/page", None),
        ("POST", "/page/codes", None),
        ("POST", "/page/enter", body.clone()),
        ("PUT", "/page/token", None),
    ];
    let foreign = [
        ("host", "evil.example"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ];
    for (method, path, body) in asks {
        for header in foreign {
            let authorization = ("authorization", &*format!("Bearer {TOKEN}"));
            let answer = home.browser().send(method, path, body.clone(), &[header, authorization]).await;
            let (status, code, _) = refused(&answer);
            assert_eq!((status, code.as_str()), (403, "FORBIDDEN"), "{method} {path} {header:?}");
        }
    }
    // A form of another site needs nobody's leave to be sent, and is no JSON.
    let form = home.browser().send("POST", "/page/enter", body.clone(), &[("content-type", "text/plain")]).await;
    assert_eq!(refused(&form).0, 415);
    // None of that has used the code up, or exchanged the token.
    assert_eq!(home.browser().post("/page/enter", given).await.json()["token"], TOKEN);
}

#[tokio::test]
async fn whoever_typed_localhost_is_led_to_the_address_and_nothing_else_is_there() {
    let home = Home::new().await;
    let name = format!("localhost:{}", home.address.port());
    let answer = home.browser().send("GET", "/", None, &[("host", &name), ("origin", "")]).await;
    assert_eq!((answer.status, answer.header("location")), (307, Some(&*format!("http://{}/", home.address))));
    for path in ["/assets/index.js", "/tunnels", "/page", "/health"] {
        let answer = home.browser().send("GET", path, None, &[("host", &name), ("origin", "")]).await;
        assert_eq!(refused(&answer).0, 403, "{path}");
    }
    let other = home.browser().send("GET", "/", None, &[("host", "localhost:1"), ("origin", "")]).await;
    assert_eq!(refused(&other).0, 403);
}

/// Somebody had this port before, and left a worker that would answer in our place.
#[tokio::test]
async fn a_browser_with_a_foreign_service_worker_is_told_to_forget_it() {
    let home = Home::new().await;
    let answer = home.browser().send("GET", "/sw.js", None, &[("service-worker", "script")]).await;
    assert_eq!((answer.status, answer.header("clear-site-data")), (404, Some("\"cache\", \"storage\"")));
    assert_eq!(home.browser().get("/").await.header("clear-site-data"), None, "what our own page keeps stays");
}

#[tokio::test]
async fn a_code_opens_once() {
    let home = Home::new().await;
    let code = code(&home).await;
    for wrong in ["", "0", &code[1..], &code.to_uppercase(), &"0".repeat(64), "\u{202e}"] {
        if wrong != code {
            let told = enter(&home, wrong).await.unwrap_err();
            assert!(told.contains("`adit open`") && !told.contains(&code), "{told}");
        }
    }
    assert_eq!(enter(&home, &code).await.unwrap(), TOKEN);
    enter(&home, &code).await.unwrap_err();
    for bad in [json!({}), json!({"code": 1}), json!({"code": "x", "more": 1}), json!([])] {
        assert_eq!(refused(&home.browser().post("/page/enter", bad).await).0, 400);
    }
    assert_eq!(refused(&home.browser().send("POST", "/page/codes", None, &[]).await).0, 401, "it needs the token");
}

#[tokio::test]
async fn one_code_too_many_takes_the_place_of_the_oldest() {
    let home = Home::new().await;
    let mut codes = Vec::new();
    for _ in 0..=CODES {
        codes.push(code(&home).await);
    }
    enter(&home, &codes[0]).await.unwrap_err();
    for code in &codes[1..] {
        assert_eq!(enter(&home, code).await.unwrap(), TOKEN);
    }
}

#[tokio::test]
async fn the_page_hears_where_it_is() {
    let home = Home::new().await;
    let page = home.get("/page").await;
    assert_eq!(page["url"], format!("http://{}", home.address));
    assert_eq!(page["version"], env!("CARGO_PKG_VERSION"));
    let file = fs::canonicalize(home.folder().join("token")).unwrap();
    assert_eq!(page["token_file"], file.to_str().unwrap());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let age = now - u128::from(page["started_at"].as_u64().unwrap());
    assert!(age < 60_000, "{age} ms");
}

#[tokio::test]
async fn an_exchanged_token_is_the_only_one() {
    let home = Home::new().await;
    let made_before = code(&home).await;
    let mut stream = home.events().await;
    stream.wait_for("records").await;
    let answer = home.put_token(TOKEN).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert_ne!(token, TOKEN);

    assert_eq!(stream.event().await, None, "a stream ends with its token");
    assert!(!lets_in(&home, TOKEN).await && lets_in(&home, &token).await);
    let file = home.folder().join("token");
    assert_eq!(fs::read_to_string(&file).unwrap().trim_end(), token);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(refused(&home.put_token(TOKEN).await).0, 401, "the old one makes no other");
    // Who had the old one and made a code with it does not come by the new one.
    enter(&home, &made_before).await.unwrap_err();
    let made = home.ask_with(&token, "POST", "/page/codes", None).await.json()["code"].as_str().unwrap().to_owned();
    assert_eq!(enter(&home, &made).await.unwrap(), token);
    let headers = format!("authorization: Bearer {token}\r\n");
    Stream::at(home.address, "/events", &headers).await.wait_for("records").await;

    let home = home.restart().await;
    assert!(!lets_in(&home, TOKEN).await && lets_in(&home, &token).await, "it is the token of the next start too");
}

#[tokio::test]
async fn of_two_who_exchange_at_once_one_does() {
    let home = Home::new().await;
    let answers = tokio::join!(home.put_token(TOKEN), home.put_token(TOKEN), home.put_token(TOKEN));
    let (mut made, mut late) = (Vec::new(), 0);
    for answer in [answers.0, answers.1, answers.2] {
        match answer.status {
            200 => made.push(answer.json()["token"].as_str().unwrap().to_owned()),
            401 => late += 1,
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert_eq!((made.len(), late), (1, 2));
    assert!(lets_in(&home, &made[0]).await);
    assert_eq!(fs::read_to_string(home.folder().join("token")).unwrap().trim_end(), made[0]);
}

#[tokio::test]
async fn a_token_that_cannot_be_written_is_not_exchanged() {
    let home = Home::new().await;
    let made_before = code(&home).await;
    let mut stream = home.events().await;
    stream.wait_for("records").await;
    // Nothing can be written beside it: a folder has the draft's place.
    let in_the_way = home.folder().join("token.new");
    fs::create_dir(&in_the_way).unwrap();
    let (status, code, error) = refused(&home.put_token(TOKEN).await);
    assert_eq!((status, code.as_str()), (500, "INTERNAL"));
    assert!(error.contains("cannot write the token") && error.contains("/token"), "{error}");
    assert!(lets_in(&home, TOKEN).await);
    assert_eq!(fs::read_to_string(home.folder().join("token")).unwrap(), TOKEN);
    assert_eq!(enter(&home, &made_before).await.unwrap(), TOKEN);
    assert_eq!(home.put("/settings", json!({"controller_mode": true})).await.status, 200);
    assert!(matches!(stream.wait_for("records").await, Value::Object(_)), "the stream goes on");
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(home.put_token(TOKEN).await.status, 200, "and with room again it works");
}

impl Home {
    async fn put_token(&self, token: &str) -> crate::browser::Answer {
        self.ask_with(token, "PUT", "/page/token", None).await
    }
}
