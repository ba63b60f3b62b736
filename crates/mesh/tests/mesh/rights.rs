//! Who may do what, and for how long.

use std::time::{Duration, Instant};

use adit_mesh::config::parse_peer;
use adit_mesh::enrolment::{Token, join, unix_time};
use adit_mesh::keys::SigningKey;
use adit_mesh::view::ForwardState;
use adit_mesh::{MeshError, MeshFolder};

use crate::net::{
    PATIENCE, TestMesh, Wanted, connect, echo, endpoint, every_right, exchange, listener, pair, ping, played, restart,
    rights, start_in, until, until_refused, until_reset, until_up, within,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_does_not_start_with_what_its_certificate_does_not_give() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    mesh.enrol("a", rights(&["web-*"], &["db"], false));
    for (forward, refused) in [
        (endpoint("db", echo.address), "the certificate of “a” gives no right to publish the key “db”; ask for"),
        (listener("web-1"), "the certificate of “a” gives no right to listen on the key “web-1”; ask for"),
    ] {
        let started = mesh.start("a", &[], &forward).await;
        let error = started.err().unwrap();
        assert!(matches!(error, MeshError::NoRight { .. }) && error.to_string().starts_with(refused), "{error}");
    }
    let allowed = format!("{}\n{}", endpoint("web-1", echo.address), listener("db"));
    mesh.start("a", &[], &allowed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_do_not_go_through_who_may_not_be_a_transit() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let a = mesh.agent(Wanted::new("a", &[], &listener("web"))).await;
    let peers = [a.address().unwrap()];
    let no_transit = rights(&["*"], &["*"], false);
    let b = mesh.agent(Wanted { rights: no_transit, ..Wanted::new("b", &peers, &listener("web")) }).await;
    let _c = mesh.agent(Wanted::new("c", &[b.address().unwrap()], &endpoint("web", echo.address))).await;
    until_up(&b, "web").await;
    assert_eq!(exchange(&b, b"its own").await.unwrap(), b"its own");
    until(&a, "itself and b alone", |shown| shown.routes.len() == 2).await;
    until_refused(&a).await;
    let failure = a.stats().keys[0].last_failure.clone().unwrap();
    assert!(failure.contains("no agent has an endpoint") || failure.contains("no way"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_is_cut_everywhere_and_stays_out() {
    let (service, mut connections) = played().await;
    let mut mesh = TestMesh::new();
    let listens = listener("web");
    let a = mesh.agent(Wanted::new("a", &[], &listens)).await;
    let b = mesh.agent(Wanted::new("b", &[a.address().unwrap()], "")).await;
    let hub = [b.address().unwrap()];
    let c = mesh.agent(Wanted::new("c", &hub, &endpoint("web", service.address))).await;
    let bad = mesh.agent(Wanted::new("bad", &hub, &format!("{}\n{listens}", endpoint("other", service.address)))).await;
    let asks = mesh.agent(Wanted::new("asks", &hub, &listener("other"))).await;
    for (mesh, key) in [(&a, "web"), (&bad, "web"), (&asks, "other")] {
        until_up(mesh, key).await;
    }
    let (mut from_bad, mut its_target) = pair(&bad, &mut connections).await;
    let (mut to_bad, mut bads_target) = pair(&asks, &mut connections).await;
    let (mut unrelated, mut other_end) = pair(&a, &mut connections).await;
    let list = mesh.root.revoke("bad").unwrap();
    let revoked = Instant::now();
    // Told at one agent, far from who is revoked.
    assert!(a.revoke(&list).unwrap());
    for cut in [&mut from_bad, &mut its_target, &mut to_bad, &mut bads_target] {
        until_reset(cut).await;
    }
    for mesh in [&a, &b, &c, &asks] {
        until(mesh, "it gone", |shown| shown.routes.iter().all(|route| route.agent != "bad")).await;
    }
    assert!(revoked.elapsed() < Duration::from_secs(10), "{:?}", revoked.elapsed());
    assert!(!a.revoke(&list).unwrap(), "no news the second time");
    tokio::io::AsyncWriteExt::write_all(&mut unrelated, b"!").await.unwrap();
    within(PATIENCE, "others' bytes", tokio::io::AsyncReadExt::read_exact(&mut other_end, &mut [0; 1])).await.unwrap();
    until_refused(&bad).await;
    // Both are started anew: the others remember, and who has heard of it itself does not even start.
    let (address, state) = (b.address().unwrap(), mesh.folder_of("b").join("state.json"));
    until(&b, "it written down", |_| !std::fs::read_to_string(&state).unwrap().contains("\"revocations\": null")).await;
    drop((b, bad));
    let b = restart(&mesh.folder_of("b"), address, &[], "").await;
    let folder = mesh.folder_of("bad");
    let bad = restart(&folder, "127.0.0.1:0".parse().unwrap(), &hub, &listens).await;
    let shown = until(&bad, "a word about it", |shown| shown.peers.iter().any(|peer| peer.error.is_some())).await;
    assert!(shown.peers[0].error.as_deref().unwrap().contains("has been revoked; join again"), "{:?}", shown.peers);
    assert!(b.stats().links_refused > 0);
    assert!(bad.revoke(&list).unwrap() && bad.expelled().is_some());
    let state = folder.join("state.json");
    until(&bad, "it written down", |_| !std::fs::read_to_string(&state).unwrap().contains("\"revocations\": null"))
        .await;
    drop(bad);
    let again = within(PATIENCE, "free folder", async {
        loop {
            match start_in(&folder, &hub, &listens).await {
                Err(MeshError::Folder(_)) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    });
    assert!(matches!(again.await.err(), Some(MeshError::NoMember { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_has_expired_is_none() {
    let mut mesh = TestMesh::new();
    let token = mesh.invite("old", every_right());
    let started = |expires: u64| {
        let token = mesh.with_expiry(&token, expires);
        let path = mesh.folder_of("old");
        MeshFolder::open(&path).unwrap().enrol(&join(&token, None).unwrap()).unwrap();
        async move { start_in(&path, &[], "").await.err() }
    };
    // Clocks may differ by five minutes.
    assert!(matches!(started(unix_time() - 301).await, Some(MeshError::NoMember { .. })));
    assert!(started(unix_time() - 200).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_is_good_for_one_agent() {
    let mut mesh = TestMesh::new();
    let hub = mesh.agent(Wanted::new("hub", &[], "")).await;
    let peers = [hub.address().unwrap()];
    let token = mesh.invite("twice", every_right());
    for folder in ["first", "second"] {
        let folder = MeshFolder::open(&mesh.folder_of(folder)).unwrap();
        folder.enrol(&join(&token, None).unwrap()).unwrap();
    }
    let first = mesh.start("first", &peers, "").await.unwrap();
    until(&hub, "the first", |shown| shown.routes.len() == 2).await;
    let second = mesh.start("second", &peers, "").await.unwrap();
    let shown = until(&second, "a word about it", |shown| shown.peers.iter().any(|peer| peer.error.is_some())).await;
    assert!(shown.peers[0].error.as_deref().unwrap().contains("used this invitation before"), "{:?}", shown.peers);
    // Also behind a restart of who has to remember.
    let address = hub.address().unwrap();
    drop((hub, first));
    let hub = restart(&mesh.folder_of("hub"), address, &[], "").await;
    let id = second.id();
    drop(second);
    let _second = restart(&mesh.folder_of("second"), "127.0.0.1:0".parse().unwrap(), &peers, "").await;
    until(&hub, "it knocks again", |shown| shown.stats.links_refused > 0).await;
    assert!(hub.dashboard().routes.iter().all(|route| route.agent_id != id));
}

#[test]
fn a_token_is_a_line_of_text_that_is_whole_or_nothing() {
    let mut mesh = TestMesh::new();
    let mut token = mesh.invite("new", every_right());
    token.peers = ["a.example:4433", "[::1]:1"].map(|peer| parse_peer(peer).unwrap()).to_vec();
    let text = token.to_text();
    let read = Token::from_text(&format!("  {}\n", *text)).unwrap();
    assert_eq!((read.root, &read.invitation, &read.peers), (token.root, &token.invitation, &token.peers));
    assert_eq!(read.key.seed(), token.key.seed());
    for end in 0..text.len() {
        let error = Token::from_text(&text[..end]).unwrap_err().to_string();
        assert!(error.starts_with("this is no token of a mesh") && error.len() < 200, "{error}");
        assert!(!error.contains(&text[10..18]));
    }
    let shown = format!("{token:?}");
    let secret = token.key.seed();
    assert!(!shown.contains(&format!("{secret:?}")) && !shown.contains(&text[40..60]));
    let lied = SigningKey::generate().unwrap();
    let other = Token { key: lied, ..read };
    assert!(Token::from_text(&other.to_text()).is_err(), "another key than the invited one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_were_narrowed_count_for_what_was_known_before() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let a = mesh.agent(Wanted::new("a", &[], &listener("web"))).await;
    let peers = [a.address().unwrap()];
    let b = mesh.agent(Wanted::new("b", &peers, &endpoint("web", echo.address))).await;
    until_up(&a, "web").await;
    let mut held = connect(&a).await;
    ping(&mut held).await;
    drop(b);
    until_reset(&mut held).await;
    let folder = mesh.folder_of("b");
    let _list = mesh.root.revoke("b").unwrap();
    let token = mesh.invite("b", rights(&["other"], &[], false));
    let folder = within(PATIENCE, "free folder", async {
        loop {
            match MeshFolder::open(&folder) {
                Ok(folder) => return folder,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    let before = folder.enrolled().unwrap();
    folder.enrol(&join(&token, Some(&before)).unwrap()).unwrap();
    drop(folder);
    let b = mesh.start("b", &peers, &endpoint("other", echo.address)).await.unwrap();
    let is_other = |shown: &adit_mesh::view::Dashboard| {
        let keys: Vec<_> = shown.forward_routes.iter().map(|way| (way.key.as_str(), way.state)).collect();
        keys == [("other", ForwardState::NoListener), ("web", ForwardState::NoEndpoint)]
    };
    until(&a, "the other key alone", is_other).await;
    assert_eq!(b.dashboard().agent.publish, ["other"]);
}
