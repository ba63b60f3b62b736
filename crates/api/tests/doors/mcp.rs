//! The door for language models, with somebody behind it who only takes down what is asked.
//!
//! | File | Tells of |
//! |---|---|
//! | `clerk` | who takes it down |
//! | `lines` | a client over a pair of streams, and calls of it |
//! | `calls` | what tools take, answer and refuse |
//! | `streams` | messages that are none, and clients that leave |
//! | `http` | who is let in over HTTP, and what that bounds |

mod calls;
mod clerk;
mod http;
mod lines;
mod streams;

#[test]
fn the_committed_tools_are_those_that_are_told() {
    let committed = include_str!("../../mcp-tools.json");
    assert!(
        committed == adit_api::mcp::document(),
        "the tools have changed: cargo run -p adit-api --example mcp-tools > crates/api/mcp-tools.json"
    );
}
