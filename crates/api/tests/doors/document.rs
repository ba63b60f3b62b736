//! The documents of the APIs are the ones that are committed.

#[test]
fn the_committed_document_is_that_of_the_routes() {
    let committed = include_str!("../../openapi.json");
    assert!(
        committed == adit_api::openapi(),
        "the API has changed: cargo run -p adit-api --example openapi > crates/api/openapi.json, then `npm run generate` in web/"
    );
}

#[test]
fn the_committed_document_of_the_mesh_is_that_of_its_routes() {
    let committed = include_str!("../../mesh-openapi.json");
    assert!(
        committed == adit_api::mesh::openapi(),
        "the API has changed: cargo run -p adit-api --example mesh-openapi > crates/api/mesh-openapi.json, then `npm run generate` in web/"
    );
}
