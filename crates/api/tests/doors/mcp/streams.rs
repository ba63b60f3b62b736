//! Messages that are none, and clients that leave.

use serde_json::json;
use tokio::time::timeout;

use super::clerk::Office;
use super::lines::{Lines, failure};
use crate::browser::PATIENCE;

#[tokio::test]
async fn what_is_no_message_ends_nothing() {
    let office = Office::new();
    let mut client = Lines::previous(&office).await;
    for line in ["", "hello", "{", "\u{feff}", "[1,2", "\0\0\0", &"[".repeat(100_000)] {
        client.send(line).await;
    }
    assert_eq!(client.call("tunnel_status", json!({})).await["isError"], false);
    // JSON of another shape is told apart from noise.
    for line in ["[]", "7", r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#] {
        client.send(line).await;
        let told = client.hear().await;
        assert_eq!(told["error"]["code"], -32_600, "{line}: {told}");
    }
    let told = client.ask("tunnels/dig", json!({})).await;
    assert_eq!(told["error"]["code"], -32_601, "{told}");
    assert_eq!(client.call("tunnel_status", json!({})).await["isError"], false);
}

#[tokio::test]
async fn a_message_beyond_all_measure_is_thrown_away_and_the_next_is_heard() {
    let office = Office::new();
    let mut client = Lines::previous(&office).await;
    let half_a_megabyte = "x".repeat(512 * 1024);
    let told = failure(&client.call("agent_tunnel_start", json!({"tunnel": half_a_megabyte})).await);
    assert_eq!(told.1, "no-agent", "what is long and fits is read");
    for _ in 0..4 {
        client
            .begin("tools/call", json!({"name": "tunnel_remove", "arguments": {"port": 1, "x": "y".repeat(2_000_000)}}))
            .await;
    }
    assert_eq!(client.call("tunnel_status", json!({})).await["isError"], false);
    assert_eq!(office.clerk.taken().len(), 2, "{:?}", office.clerk.taken().len());
}

#[tokio::test]
async fn an_end_before_anything_was_asked_is_no_fault() {
    let office = Office::new();
    Lines::silent(&office).leave().await;
    let stopped = Lines::silent(&office);
    stopped.stop.cancel();
    timeout(PATIENCE, stopped.serving).await.expect("it ends").unwrap().unwrap();
}

#[tokio::test]
async fn a_change_is_done_to_its_end_though_its_client_has_left() {
    let office = Office::new();
    office.clerk.hold_set_ups();
    let mut client = Lines::previous(&office).await;
    client.begin("tools/call", json!({"name": "tunnel_setup", "arguments": {"port": 2222}})).await;
    office.clerk.becomes(1).await;
    client.leave().await;
    let desk = office.desk.clone();
    let finishing = tokio::spawn(async move { desk.finish().await });
    assert_eq!(office.clerk.taken(), ["set up 2222 None None"]);
    office.clerk.let_set_ups(1);
    timeout(PATIENCE, finishing).await.expect("it is done").unwrap();
    assert_eq!(office.clerk.taken()[1..], ["2222 is set up"]);
}

#[tokio::test]
async fn changes_wait_for_each_other_and_looks_for_none() {
    let office = Office::new();
    office.clerk.hold_set_ups();
    let (mut one, mut other) = (Lines::previous(&office).await, Lines::current(&office).await);
    one.begin("tools/call", json!({"name": "tunnel_setup", "arguments": {"port": 2222}})).await;
    office.clerk.becomes(1).await;
    one.begin("tools/call", json!({"name": "tunnel_setup", "arguments": {"port": 2223}})).await;
    other.begin("tools/call", json!({"name": "tunnel_remove", "arguments": {"port": 2222}})).await;
    // Three looks at the least have been through the desk since.
    let mut third = Lines::previous(&office).await;
    for _ in 0..3 {
        assert_eq!(third.call("tunnel_status", json!({})).await["isError"], false);
    }
    assert_eq!(office.clerk.taken(), ["set up 2222 None None", "status None", "status None", "status None"]);
    office.clerk.let_set_ups(2);
    office.clerk.becomes(8).await;
    let taken = office.clerk.taken();
    let begun =
        |line: &str| taken.iter().position(|taken| taken == line).unwrap_or_else(|| panic!("{line}: {taken:?}"));
    assert_eq!(begun("set up 2223 None None") + 1, begun("2223 is set up"), "nothing came between");
    assert!(begun("2222 is set up") < begun("remove 2222"));
}

/// Asks for a set-up behind one that is under way, and returns when both are at the desk.
async fn one_behind_another(office: &Office) -> Lines {
    office.clerk.hold_set_ups();
    let mut client = Lines::previous(office).await;
    client.begin("tools/call", json!({"name": "tunnel_setup", "arguments": {"port": 2222}})).await;
    office.clerk.becomes(1).await;
    client.begin("tools/call", json!({"name": "tunnel_setup", "arguments": {"port": 2223}})).await;
    client
}

#[tokio::test]
async fn what_is_cancelled_before_it_begins_never_begins() {
    let office = Office::new();
    let mut client = one_behind_another(&office).await;
    // The handshake was the first request, so the set-up that waits is the third.
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#).await;
    // A request behind it has an answer when the cancellation was read.
    assert_eq!(client.call("tunnel_status", json!({})).await["isError"], false);
    office.clerk.let_set_ups(2);
    let mut other = Lines::previous(&office).await;
    assert_eq!(other.call("tunnel_remove", json!({"port": 2222})).await["isError"], false);
    let taken = office.clerk.taken();
    assert!(
        taken.contains(&"2222 is set up".to_owned()) && !taken.iter().any(|line| line.contains("2223")),
        "{taken:?}"
    );
}

#[tokio::test]
async fn an_end_begins_nothing_that_waits() {
    let office = Office::new();
    let mut client = one_behind_another(&office).await;
    assert_eq!(client.call("tunnel_status", json!({})).await["isError"], false);
    let desk = office.desk.clone();
    let finishing = tokio::spawn(async move { desk.finish().await });
    let told = client.hear().await;
    let (sentence, code) = failure(&told["result"]);
    assert!(code == "given-up" && sentence.contains("nothing was changed"), "{told}");
    office.clerk.let_set_ups(2);
    timeout(PATIENCE, finishing).await.expect("it is done").unwrap();
    assert!(!office.clerk.taken().iter().any(|line| line.contains("2223")), "{:?}", office.clerk.taken());
}

#[tokio::test]
async fn a_flood_of_changes_is_told_to_come_again() {
    let office = Office::new();
    let mut client = one_behind_another(&office).await;
    for port in 2224..2264 {
        client.begin("tools/call", json!({"name": "tunnel_setup", "arguments": {"port": port}})).await;
    }
    let told = client.hear().await;
    assert_eq!(failure(&told["result"]).1, "busy", "{told}");
    let mut other = Lines::previous(&office).await;
    assert_eq!(other.call("tunnel_status", json!({})).await["isError"], false);
}

#[tokio::test]
async fn a_key_is_judged_when_it_is_about_to_be_read() {
    let office = Office::new();
    office.clerk.hold_set_ups();
    let mut client = Lines::previous(&office).await;
    client.begin("tools/call", json!({"name": "tunnel_setup", "arguments": {"port": 2222}})).await;
    office.clerk.becomes(1).await;
    let key = office.file("keys/id");
    let arguments = json!({"port": 2223, "secret_key_path": key});
    client.begin("tools/call", json!({"name": "tunnel_setup", "arguments": arguments})).await;
    assert_eq!(client.call("tunnel_status", json!({})).await["isError"], false);
    std::fs::remove_file(&key).unwrap();
    std::os::unix::fs::symlink(office.file("outside"), &key).unwrap();
    office.clerk.let_set_ups(1);
    let mut other = Lines::previous(&office).await;
    assert_eq!(other.call("tunnel_remove", json!({"port": 2222})).await["isError"], false);
    assert!(!office.clerk.taken().iter().any(|line| line.contains("2223")), "{:?}", office.clerk.taken());
}
