//! Prints the mesh agent's document, for its file: `cargo run -p adit-api --example mesh-openapi > crates/api/mesh-openapi.json`.

fn main() {
    print!("{}", adit_api::mesh::openapi());
}
