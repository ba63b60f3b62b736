//! Prints the API's document, for its file: `cargo run -p adit-api --example openapi > crates/api/openapi.json`.

fn main() {
    print!("{}", adit_api::openapi());
}
