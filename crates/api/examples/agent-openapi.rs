//! Prints the agent's document, for its file: `cargo run -p adit-api --example agent-openapi > crates/api/agent-openapi.json`.

fn main() {
    print!("{}", adit_api::agent::openapi());
}
