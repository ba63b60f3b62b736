//! What tools take, answer and refuse.

use serde_json::{Value, json};

use super::clerk::{Office, THERE};
use super::lines::{Lines, failure};

#[tokio::test]
async fn both_revisions_are_served_with_the_same_tools() {
    let office = Office::new();
    let committed: Value = serde_json::from_str(&adit_api::mcp::document()).unwrap();
    for mut client in [Lines::previous(&office).await, Lines::current(&office).await] {
        let told = client.ask("tools/list", json!({})).await;
        assert_eq!(told["result"]["tools"], committed);
        let result = client.call("tunnel_status", json!({})).await;
        assert_eq!(result["structuredContent"]["tunnels"][0]["port"], THERE, "{result}");
        client.leave().await;
    }
}

#[test]
fn every_tool_is_described_and_hinted_at_in_full() {
    let tools: Vec<Value> = serde_json::from_str(&adit_api::mcp::document()).unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "tunnel_setup",
            "tunnel_status",
            "tunnel_remove",
            "agent_tunnels_list",
            "agent_tunnel_start",
            "agent_tunnel_stop",
            "agent_tunnel_reconnect"
        ]
    );
    for tool in &tools {
        let (name, schema) = (&tool["name"], &tool["inputSchema"]);
        assert!(tool["title"].is_string() && tool["description"].as_str().unwrap().len() > 60, "{tool}");
        assert_eq!((&schema["type"], &schema["additionalProperties"]), (&json!("object"), &json!(false)), "{name}");
        assert_eq!(tool["outputSchema"]["type"], "object", "{name}");
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{name}: {hint}");
        }
        if let Some(port) = schema["properties"].get("port") {
            assert_eq!(
                (&port["type"], &port["minimum"], &port["maximum"]),
                (&json!("integer"), &json!(1), &json!(65_535))
            );
        }
    }
    let required =
        |name: &str| tools.iter().find(|tool| tool["name"] == name).unwrap()["inputSchema"]["required"].clone();
    assert_eq!((required("tunnel_setup"), required("tunnel_status")), (json!(["port"]), json!([])));
}

#[tokio::test]
async fn an_answer_is_structured_and_a_text_of_the_same() {
    let office = Office::new();
    let mut client = Lines::current(&office).await;
    let sent = json!({"port": 2222, "bastion_server": "me@b", "secret_key_path": office.file("keys/id")});
    let result = client.call("tunnel_setup", sent).await;
    assert_eq!((&result["isError"], &result["structuredContent"]["tunnel"]["port"]), (&json!(false), &json!(2222)));
    let text = result["content"][0]["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), result["structuredContent"]);
    assert_eq!(client.call("tunnel_remove", json!({"port": 2222})).await["isError"], false);
    for (tool, what) in [("start", "Start"), ("stop", "Stop"), ("reconnect", "Reconnect")] {
        let result = client.call(&format!("agent_tunnel_{tool}"), json!({"tunnel": "web"})).await;
        assert_eq!(result["structuredContent"]["tunnel"]["id"], "tun_1", "{result}");
        assert_eq!(office.clerk.taken().last().unwrap(), &format!("{what} web"));
    }
    let result = client.call("agent_tunnels_list", json!({})).await;
    assert_eq!(result["structuredContent"]["tunnels"][0]["name"], "web", "{result}");
    let first = format!("set up 2222 Some(\"me@b\") Some({:?})", office.file("keys/id"));
    assert_eq!(office.clerk.taken()[..3], [first, "2222 is set up".to_owned(), "remove 2222".to_owned()]);
}

#[tokio::test]
async fn a_failure_is_a_result_that_says_so() {
    let office = Office::new();
    let mut client = Lines::previous(&office).await;
    let absent = |port| (format!("there is no tunnel at port {port}"), "no-such-tunnel".to_owned());
    assert_eq!(failure(&client.call("tunnel_remove", json!({"port": 9})).await), absent(9));
    assert_eq!(failure(&client.call("tunnel_status", json!({"port": 9})).await), absent(9));
    let no_agent = client.call("agent_tunnel_start", json!({"tunnel": "other"})).await;
    assert_eq!(failure(&no_agent), ("no agent runs".to_owned(), "no-agent".to_owned()));
    let panicked = client.call("tunnel_setup", json!({"port": 666})).await;
    assert_eq!(failure(&panicked).1, "internal");
    assert_eq!(client.call("tunnel_setup", json!({"port": 667})).await["isError"], false, "the desk goes on");
}

#[tokio::test]
async fn what_makes_no_sense_reaches_nobody() {
    let office = Office::new();
    let mut client = Lines::previous(&office).await;
    for arguments in [
        json!({}),
        json!({"port": "22"}),
        json!({"port": 0}),
        json!({"port": 70_000}),
        json!({"port": 22.5}),
        json!({"port": true}),
        json!({"port": null}),
        json!({"port": 22, "bastion": "me@b"}),
        json!({"port": 22, "bastion_server": 7}),
        json!({"port": 22, "secret_key_path": ["a"]}),
    ] {
        let (told, code) = failure(&client.call("tunnel_setup", arguments.clone()).await);
        assert_eq!(code, "usage", "{arguments}: {told}");
    }
    assert_eq!(failure(&client.call("tunnel_status", json!({"port": 0})).await).1, "usage", "0 is not all");
    let told = client.ask("tools/call", json!({"name": "tunnel_teardown", "arguments": {}})).await;
    assert_eq!(told["error"]["code"], -32_602, "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("tunnel_teardown"), "{told}");
    assert_eq!(office.clerk.taken(), [""; 0]);
}

#[tokio::test]
async fn a_key_from_elsewhere_is_refused_before_anybody_looks_at_it() {
    let office = Office::new();
    let mut client = Lines::previous(&office).await;
    let mut sentences = Vec::new();
    for name in ["outside", "missing", "keys/missing", "keys/../outside"] {
        let key = office.file("").trim_end_matches('/').to_owned() + "/" + name;
        let result = client.call("tunnel_setup", json!({"port": 2222, "secret_key_path": key})).await;
        let (told, code) = failure(&result);
        assert_eq!(code, "key-not-allowed");
        assert!(!result.to_string().contains("private key"), "{result}");
        sentences.push(told.replace(&key, "KEY"));
    }
    sentences.dedup();
    assert_eq!(sentences.len(), 1, "what is there and what is not are told alike: {sentences:?}");
    assert_eq!(office.clerk.taken(), [""; 0]);
}

#[tokio::test]
async fn the_usual_key_is_held_to_the_same_folders() {
    let office = Office::with_usual_key(Some("/etc/passwd".into()));
    let mut client = Lines::previous(&office).await;
    assert_eq!(failure(&client.call("tunnel_setup", json!({"port": 2222})).await).1, "key-not-allowed");
    let named = json!({"port": 2222, "secret_key_path": office.file("keys/id")});
    assert_eq!(client.call("tunnel_setup", named).await["isError"], false, "one that is named goes before it");
}

#[tokio::test]
async fn resources_are_there_to_be_read() {
    let office = Office::new();
    for mut client in [Lines::previous(&office).await, Lines::current(&office).await] {
        let told = client.ask("resources/list", json!({})).await;
        let addresses: Vec<&Value> =
            told["result"]["resources"].as_array().unwrap().iter().map(|one| &one["uri"]).collect();
        assert_eq!(addresses, ["adit://tunnels", "adit://agent/tunnels"]);
        let told = client.ask("resources/templates/list", json!({})).await;
        assert_eq!(told["result"]["resourceTemplates"][0]["uriTemplate"], "adit://tunnels/{port}");
        for (address, first) in
            [("adit://tunnels", "port"), ("adit://tunnels/2222", "port"), ("adit://agent/tunnels", "id")]
        {
            let told = client.ask("resources/read", json!({"uri": address})).await;
            let contents = &told["result"]["contents"][0];
            assert_eq!(
                (&contents["uri"], &contents["mimeType"]),
                (&json!(address), &json!("application/json")),
                "{told}"
            );
            let read: Value = serde_json::from_str(contents["text"].as_str().unwrap()).unwrap();
            assert!(read["tunnels"][0].get(first).is_some(), "{address}: {read}");
        }
        for (address, words) in
            [("adit://tunnels/9", "no tunnel at port 9"), ("adit://tunnels/0", "nothing at adit://tunnels/0")]
        {
            let told = client.ask("resources/read", json!({"uri": address})).await;
            assert!(told["error"]["message"].as_str().unwrap().contains(words), "{told}");
        }
        client.leave().await;
    }
}
