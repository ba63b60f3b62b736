//! Prints what clients are told of the tools, for its file: `cargo run -p adit-api --example mcp-tools > crates/api/mcp-tools.json`.

fn main() {
    print!("{}", adit_api::mcp::document());
}
