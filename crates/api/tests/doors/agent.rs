//! The agent's door: what its page, the command line and programs get to hear.
//!
//! | File | Tells of |
//! |---|---|
//! | `home` | an agent with its door open |
//! | `gate` | who is let in |
//! | `page` | how a browser comes in, and how the token is exchanged |
//! | `records` | what is saved, changed and removed |
//! | `refusals` | what may not be saved |
//! | `profiles` | secrets that go in and never come out |
//! | `running` | tunnels that start and stop without a server that answers |
//! | `streams` | event streams: what they tell of changes, and in numbers |
//! | `import` | records from an ssh_config |
//! | `live` | tunnels and sessions with a server that does: a jump host |

mod gate;
mod home;
mod import;
mod live;
mod page;
mod profiles;
mod records;
mod refusals;
mod running;
mod streams;

#[test]
fn the_committed_document_is_that_of_the_routes() {
    let committed = include_str!("../../agent-openapi.json");
    assert!(
        committed == adit_api::agent::openapi(),
        "the API has changed: cargo run -p adit-api --example agent-openapi > crates/api/agent-openapi.json"
    );
}
