//! The page: its files, or the word that it is not in this binary.

use std::path::Path;

use crate::host::Host;

#[tokio::test]
async fn the_page_is_there_or_says_how_to_build_it() {
    let host = Host::start().await;
    let answer = host.browser().get("/").await;
    // A machine without npm builds without it.
    if !Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/index.html")).exists() {
        assert_eq!(answer.status, 503);
        return;
    }
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-cache")));
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("vary"), Some("accept-encoding"));
    let tag = answer.header("etag").unwrap().to_owned();
    let again = host.browser().send("GET", "/", None, &[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let page = answer.text();
    let script = page.split('"').find(|text| text.starts_with("/assets/") && text.ends_with(".js")).expect("a script");

    let plain = host.browser().get(script).await;
    assert_eq!(plain.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(plain.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(plain.header("content-encoding"), None);
    for (accepted, encoding) in [("gzip, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip")] {
        let packed = host.browser().send("GET", script, None, &[("accept-encoding", accepted)]).await;
        assert_eq!(packed.header("content-encoding"), Some(encoding));
        assert!(packed.body.len() < plain.body.len());
        assert_ne!(packed.header("etag"), plain.header("etag"));
    }
    let head = host.browser().send("HEAD", script, None, &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(host.browser().get(&format!("{script}.br")).await.status, 404, "only by Accept-Encoding");
}
