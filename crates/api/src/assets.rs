//! The page: the files of `web/dist`, which are in the binary.
//!
//! All but `index.html` carry a hash of their content in their name, so a browser may keep them for ever; `index.html` is asked for
//! anew each time and says by its `ETag` that nothing changed. The files were compressed when the page was built; nothing is
//! compressed here.

use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, VARY,
};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use rust_embed::{Embed, EmbeddedFile};

#[derive(Embed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dist;

const INDEX: &str = "index.html";

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// For a binary that was built without the page.
const NOT_BUILT: &str = "This adit was built without its page. `make page` builds the page (it needs Node 20), and the next \
                         `cargo build` takes it in.\nThe API works without it: a jump host describes its own at \
                         /api/v1/openapi.json, an agent at /openapi.json.\n";

/// A file of the page, or the word that it is not in this binary. `None` where the page has no such file, which each door says in its
/// own words.
pub(crate) fn serve(request: &Request) -> Option<Response> {
    let path = request.uri().path().trim_start_matches('/');
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    match path {
        "" => Some(page(Dist::get(INDEX), request.headers())),
        _ if path.starts_with("assets/") && !is_variant(path) => {
            Dist::get(path).map(|file| answer(path, file, request.headers(), FOR_EVER))
        }
        _ => None,
    }
}

fn page(index: Option<EmbeddedFile>, headers: &HeaderMap) -> Response {
    match index {
        Some(file) => answer(INDEX, file, headers, ASK_AGAIN),
        None => {
            (StatusCode::SERVICE_UNAVAILABLE, [(CONTENT_TYPE, "text/plain; charset=utf-8")], NOT_BUILT).into_response()
        }
    }
}

fn answer(path: &str, file: EmbeddedFile, asked: &HeaderMap, cache: HeaderValue) -> Response {
    let (encoding, file) = smallest(path, file, asked);
    let tag = format!("\"{}\"", hex(&file.metadata.sha256_hash()[..16]));
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, cache);
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    if asked.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).is_some_and(|tags| matches_tag(tags, &tag)) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    (headers, file.data).into_response()
}

/// The file, or a compressed one beside it that the browser takes.
fn smallest(path: &str, plain: EmbeddedFile, asked: &HeaderMap) -> (Option<&'static str>, EmbeddedFile) {
    let accepted = asked.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    for (encoding, ending) in [("br", "br"), ("gzip", "gz")] {
        if accepts(accepted, encoding)
            && let Some(file) = Dist::get(&format!("{path}.{ending}"))
        {
            return (Some(encoding), file);
        }
    }
    (None, plain)
}

/// Whether an `Accept-Encoding` (RFC 9110 §12.5.3) names this coding and does not weigh it with 0. `*` is left aside: no browser
/// sends it, and plain is always right.
fn accepts(header: &str, coding: &str) -> bool {
    header.split(',').any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse().is_ok_and(|q: f32| q <= 0.0));
        name.trim().eq_ignore_ascii_case(coding) && !refused
    })
}

/// RFC 9110 §13.1.2: a weak comparison.
fn matches_tag(header: &str, tag: &str) -> bool {
    header.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

fn is_variant(path: &str) -> bool {
    path.ends_with(".br") || path.ends_with(".gz")
}

/// Of the kinds of file that the page is made of.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_its_page_it_says_how_to_build_it() {
        let answer = page(None, &HeaderMap::new());
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = axum::body::to_bytes(answer.into_body(), 4_096).await.unwrap();
        assert!(text.starts_with(b"This adit was built without its page. `make page` builds"));
    }

    #[test]
    fn a_coding_is_accepted_where_it_is_named_and_wanted() {
        for yes in ["br", "gzip, deflate, br, zstd", "BR", "br;q=0.1", "gzip;q=0, br ; q=1"] {
            assert!(accepts(yes, "br"), "{yes}");
        }
        for no in ["", "gzip", "br;q=0", "br; q=0.0", "abr", "*", "identity"] {
            assert!(!accepts(no, "br"), "{no}");
        }
    }

    #[test]
    fn a_tag_is_compared_weakly() {
        for yes in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(matches_tag(yes, "\"a\""), "{yes}");
        }
        assert!(!matches_tag("\"b\"", "\"a\"") && !matches_tag("a", "\"a\""));
    }
}
