//! What administrators do, and nobody else.

use serde_json::json;
use tokio::time::timeout;

use crate::browser::PATIENCE;
use crate::host::{Host, PASSWORD};

const ADMIN: &str = "/api/v1/admin";

#[tokio::test]
async fn a_member_is_no_administrator() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let document = alice.get("/api/v1/openapi.json").await.json();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        if !path.starts_with(ADMIN) {
            continue;
        }
        for method in item.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            let path = path.replace(['{', '}'], "");
            let answer = alice.send(&method, &path, Some(json!({})), &[]).await;
            assert_eq!(answer.error(), (403, "not-admin".to_owned()), "{method} {path}");
            asked += 1;
        }
    }
    assert!(asked > 12, "only {asked} operations");
}

#[tokio::test]
async fn accounts_come_change_and_go() {
    let host = Host::start().await;
    let root = host.administrator("root").await;
    let accounts = format!("{ADMIN}/accounts");
    assert_eq!(root.post(&accounts, json!({"name": "alice"})).await.status, 201);
    assert_eq!(root.post(&accounts, json!({"name": "alice"})).await.error(), (409, "account-exists".to_owned()));
    let found = root.get(&format!("{accounts}?q=ali&limit=10")).await.json();
    assert_eq!((&found["total"], &found["items"][0]["name"]), (&json!(1), &json!("alice")));
    let alice = format!("{accounts}/alice");
    let changed = root.send("PATCH", &alice, Some(json!({"tier": "pro"})), &[]).await.json();
    assert_eq!((&changed["tier"], &changed["disabled"]), (&json!("pro"), &json!(false)));

    let link = root.post(&format!("{alice}/password-link"), json!({})).await;
    assert_eq!(link.status, 201);
    let link = link.json();
    let url = link["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://{}/#/invite/", host.web)), "{url}");
    let accept = json!({"token": link["token"], "account": "alice", "password": PASSWORD});
    assert_eq!(host.browser().post("/api/v1/invitation/accept", accept).await.status, 200);

    assert_eq!(root.delete(&alice).await.status, 200);
    assert_eq!(root.delete(&alice).await.status, 404);
    let last = root.delete(&format!("{accounts}/root")).await;
    assert_eq!(last.error(), (409, "last-administrator".to_owned()));
}

#[tokio::test]
async fn who_is_locked_out_is_out() {
    let host = Host::start().await;
    let (root, alice) = (host.administrator("root").await, host.member("alice").await);
    root.send("PATCH", &format!("{ADMIN}/accounts/alice"), Some(json!({"disabled": true})), &[]).await;
    assert_eq!(alice.get("/api/v1/me").await.status, 401);
}

#[tokio::test]
async fn a_link_can_be_revoked() {
    let host = Host::start().await;
    let root = host.administrator("root").await;
    let invitations = format!("{ADMIN}/invitations");
    let made = root.post(&invitations, json!({"account": "alice"})).await.json();
    let listed = root.get(&invitations).await;
    assert_eq!((&listed.json()[0]["id"], &listed.json()[0]["created_by"]), (&made["id"], &json!("root")));
    assert!(!listed.text().contains(made["token"].as_str().unwrap()));
    assert_eq!(root.delete(&format!("{invitations}/{}", made["id"].as_str().unwrap())).await.status, 204);
    let look = host.browser().post("/api/v1/invitation/look", json!({"token": made["token"]})).await;
    assert_eq!(look.error(), (404, "no-such-invitation".to_owned()));
}

#[tokio::test]
async fn a_tier_has_limits_and_accounts() {
    let host = Host::start().await;
    let root = host.administrator("root").await;
    let gold = format!("{ADMIN}/tiers/gold");
    let limits = json!({"forwards_per_account": 5, "bytes_per_second_to_owner": 0});
    let set = root.send("PUT", &gold, Some(json!({"limits": limits})), &[]).await.json();
    assert_eq!((&set["limits"]["forwards_per_account"], &set["accounts"]), (&json!(5), &json!(0)));
    assert_eq!(set["limits"]["visitors_per_port"], json!(null));
    let set = root.send("PUT", &gold, Some(json!({"limits": {}})), &[]).await.json();
    assert_eq!(set["limits"]["forwards_per_account"], json!(null), "all of them are set");
    let listed = root.get(&format!("{ADMIN}/tiers")).await.json();
    assert!(listed.as_array().unwrap().iter().any(|tier| tier["name"] == "gold"));
    assert_eq!(root.delete(&gold).await.status, 204);
    assert_eq!(root.delete(&gold).await.status, 404);
}

#[tokio::test]
async fn the_audit_table_holds_all_and_no_formula() {
    let host = Host::start().await;
    let root = host.administrator("root").await;
    for number in 0..3 {
        root.post(&format!("{ADMIN}/accounts"), json!({"name": format!("member{number}")})).await;
    }
    // The log is written a moment behind.
    let written = async {
        loop {
            let answer = root.get(&format!("{ADMIN}/audit.csv?kind=account-added")).await;
            if answer.text().lines().count() > 3 {
                return answer;
            }
        }
    };
    let answer = timeout(PATIENCE, written).await.expect("the facts are written");
    assert!(answer.header("content-type").unwrap().starts_with("text/csv"));
    assert!(answer.header("content-disposition").unwrap().starts_with("attachment"));
    let text = answer.text();
    assert!(text.starts_with("id,at,kind,account,session,source,detail\r\n"), "{text}");
    for line in text.lines().skip(1) {
        assert!(line.starts_with('"') && line.contains("\"account-added\""), "{line}");
        assert!(!["\"=", "\"+", "\"-", "\"@"].iter().any(|formula| line.contains(formula)), "{line}");
    }
    let page = root.get(&format!("{ADMIN}/audit?kind=account-added&limit=1")).await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let next = page["next"].as_i64().unwrap();
    let page = root.get(&format!("{ADMIN}/audit?kind=account-added&before={next}")).await.json();
    assert!(page["items"].as_array().unwrap().iter().all(|event| event["id"].as_i64().unwrap() < next));
}

#[tokio::test]
async fn health_and_settings_are_told() {
    let host = Host::start().await;
    let root = host.administrator("root").await;
    let health = root.get(&format!("{ADMIN}/health")).await.json();
    assert_eq!(health["addresses"]["web"], host.web.to_string());
    let settings = root.get(&format!("{ADMIN}/settings")).await.json();
    assert!(settings.as_array().unwrap().iter().any(|setting| setting["name"] == "ports"));
    assert_eq!(root.get(&format!("{ADMIN}/sessions")).await.json()["total"], 0);
    assert_eq!(root.delete(&format!("{ADMIN}/sessions/7")).await.status, 404);
}
