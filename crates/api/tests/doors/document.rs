//! The API's document is the one that is committed.

#[test]
fn the_committed_document_is_that_of_the_routes() {
    let committed = include_str!("../../openapi.json");
    assert!(
        committed == adit_api::openapi(),
        "the API has changed: cargo run -p adit-api --example openapi > crates/api/openapi.json, then `npm run generate` in web/"
    );
}
