//! A configuration that changes while connections run.

use crate::net::{
    PATIENCE, TestMesh, Wanted, connect, echo, endpoint, exchange, forward, free_address, listener, listens_at, ping,
    until, until_reset, until_up, within,
};
use adit_core::mesh::Protocol;
use adit_mesh::view::ForwardState;
use tokio::net::{TcpListener, TcpStream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_is_not_touched_by_what_changes() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let target = echo.address;
    let three = format!(
        "endpoints: [{{key: stays, target: '{target}'}}, {{key: changes, target: '{target}'}}, {{key: goes, target: '{target}'}}]"
    );
    let exit = mesh.agent(Wanted::new("exit", &[], &three)).await;
    let port = free_address().port();
    let before = format!(
        "listeners: [{{key: stays, address: '127.0.0.1:0'}}, {{key: goes, address: '127.0.0.1:0'}}, \
         {{key: changes, address: '127.0.0.1:{port}', max_connections: 1}}]"
    );
    let ingress = mesh.agent(Wanted::new("ingress", &[exit.address().unwrap()], &before)).await;
    until(&ingress, "three ways", |shown| {
        shown.forward_routes.iter().filter(|way| way.hop_count.is_some()).count() == 3
    })
    .await;
    let at = |key: &str| listens_at(&ingress, key);
    let mut held = Vec::new();
    for key in ["stays", "goes", "changes"] {
        let mut client = TcpStream::connect(at(key)).await.unwrap();
        ping(&mut client).await;
        held.push(client);
    }
    let (stays, goes) = (at("stays"), at("goes"));
    let after = format!(
        "listeners: [{{key: stays, address: '127.0.0.1:0'}}, {{key: new, address: '127.0.0.1:0'}}, \
         {{key: changes, address: '127.0.0.1:{port}', max_connections: 2}}]"
    );
    ingress.reload(forward(&after)).unwrap();
    let exits = format!(
        "endpoints: [{{key: stays, target: '{target}'}}, {{key: changes, target: '{target}'}}, {{key: new, target: '{target}'}}]"
    );
    exit.reload(forward(&exits)).unwrap();
    let shown = until(&ingress, "the new way", |shown| {
        shown.forward_routes.iter().any(|way| way.key == "new" && way.state == ForwardState::Up)
            && shown.forward_routes.iter().all(|way| way.key != "goes")
    });
    assert_eq!(shown.await.forward_routes.len(), 3);
    assert_eq!(at("stays"), stays, "the same port");
    for client in &mut held {
        ping(client).await;
    }
    let mut second = TcpStream::connect(at("changes")).await.unwrap();
    ping(&mut second).await;
    if let Ok(mut third) = TcpStream::connect(at("changes")).await {
        until_reset(&mut third).await;
    }
    let mut new = TcpStream::connect(at("new")).await.unwrap();
    ping(&mut new).await;
    until(&ingress, "a closed port", |_| std::net::TcpStream::connect(goes).is_err()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_whole_changes_nothing() {
    let (echo, nowhere) = (echo().await, free_address());
    let mut mesh = TestMesh::new();
    let exit = mesh.agent(Wanted::new("exit", &[], &endpoint("web", echo.address))).await;
    let down = endpoint("down", nowhere);
    let before = format!("{down}\n{}", listener("web"));
    let rights = crate::net::rights(&["down", "new"], &["web", "down", "new"], true);
    let peers = [exit.address().unwrap()];
    let ingress = mesh.agent(Wanted { rights, ..Wanted::new("ingress", &peers, &before) }).await;
    until_up(&ingress, "web").await;
    assert!(ingress.probe(&"down".parse().unwrap(), Protocol::Tcp).await.is_err());
    let mut held = connect(&ingress).await;
    ping(&mut held).await;
    let before = ingress.listeners();
    let targets_down = |shown: &adit_mesh::view::Dashboard| shown.forward_routes.clone();
    let ways = targets_down(&ingress.dashboard());
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap();
    for (bad, problem) in [
        (
            format!("listeners: [{{key: new, address: '127.0.0.1:0'}}, {{key: down, address: '{taken}'}}]"),
            "cannot listen",
        ),
        (format!("{}\n{}", endpoint("web", nowhere), listener("new")), "no right to publish the key “web”"),
        (format!("{}\n{}", endpoint("new", nowhere), listener("other")), "no right to listen on the key “other”"),
    ] {
        let error = ingress.reload(forward(&bad)).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
        assert_eq!(ingress.listeners(), before);
        assert_eq!(targets_down(&ingress.dashboard()), ways);
        ping(&mut held).await;
        assert_eq!(exchange(&ingress, b"hello").await.unwrap(), b"hello");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_goes_and_comes_at_another_address_is_told_to_be_our_own() {
    let mut mesh = TestMesh::new();
    let one = mesh.agent(Wanted::new("one", &[], "listeners: [{key: web, address: ':0'}]")).await;
    let port = listens_at(&one, "web").port();
    let listens = |address: &str| forward(&format!("listeners: [{{key: web, address: '{address}:{port}'}}]"));
    let told = one.reload(listens("127.0.0.1")).unwrap_err().to_string();
    assert!(told.contains("this agent has the port"), "{told}");
    assert_eq!(one.listeners().len(), 1, "and nothing has changed");
    one.reload(forward("listeners: []")).unwrap();
    // The port is free as soon as its task has heard of it.
    let again = async {
        while one.reload(listens("127.0.0.1")).is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, "port", again).await;
}
