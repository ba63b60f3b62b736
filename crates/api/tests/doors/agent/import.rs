//! Records from `~/.ssh/config`.

use std::fs;

use serde_json::json;

use super::home::Home;

#[tokio::test]
async fn hosts_of_an_ssh_config_are_listed_and_imported() {
    let home = Home::new().await;
    let none = home.ask("GET", "/import/ssh-config", None).await;
    assert_eq!((none.status, none.json()["code"].clone()), (404, json!("NOT_FOUND")));

    fs::create_dir(home.folder().join(".ssh")).unwrap();
    let text = "Host far near\n  User jane\n  DynamicForward 1080\n  LocalForward *:8080 db:1\nHost *.example\n";
    fs::write(home.folder().join(".ssh/config"), text).unwrap();
    assert_eq!(home.get("/import/ssh-config").await, json!({"hosts": ["far", "near"]}));

    let answer = home.ask("POST", "/import/ssh-config", Some(json!({"hosts": ["far"]}))).await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    let names = |records: &serde_json::Value| -> Vec<String> {
        let name = |record: &serde_json::Value| format!("{} {}", record["kind"], record["name"]).replace('"', "");
        records.as_array().unwrap().iter().map(name).collect()
    };
    assert_eq!(names(&answer[0]["added"]), ["profile jane@far", "session far", "tunnel far D :1080"]);
    assert_eq!((&answer[0]["host"], &answer[0]["present"]), (&json!("far"), &json!([])));
    assert_eq!(answer[0]["left_out"][0]["what"], "LocalForward [*]:8080 [db]:1");
    assert!(answer[0]["left_out"][0]["why"].as_str().unwrap().contains("must be a loopback address"));

    let all = home.ask("POST", "/import/ssh-config", Some(json!({}))).await.json();
    assert_eq!(names(&all[0]["present"]), ["profile jane@far", "session far", "tunnel far D :1080"]);
    assert_eq!(names(&all[1]["added"]), ["profile jane@near", "session near", "tunnel near D :1080"]);
}
