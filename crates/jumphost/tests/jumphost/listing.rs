//! Pages that show what members share hear when that changes.

use std::time::Duration;

use adit_jumphost::changes::Version;
use adit_jumphost::member::{ChangePort, DirectorySearch, RegisterPort};
use tokio::time::timeout;

use crate::host::{PATIENCE, TestHost};

/// Longer than the watcher takes to look.
const LONG_ENOUGH: Duration = Duration::from_secs(2);

async fn heard(listing: &mut Version) {
    timeout(PATIENCE, listing.changed()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_shared_port_is_told_when_it_comes_goes_live_and_goes_down() {
    let host = TestHost::start().await;
    let (alice, bob) = (host.newcomer("alice", false).await, host.newcomer("bob", false).await);
    let key = host.key_for("alice").await;
    let is_live = async || bob.call(DirectorySearch::default()).await.unwrap().items[0].live;
    let mut client = key.connect().await;
    let (private, shared) = (client.forward(0).await.unwrap().unwrap(), client.forward(0).await.unwrap().unwrap());
    client.cancel(private).await;
    client.cancel(shared).await;
    let register = |port, shared| alice.call(RegisterPort { port, description: "a page".into(), shared });

    let mut listing = bob.changes().listing();
    register(private, false).await.unwrap();
    assert!(timeout(LONG_ENOUGH, listing.changed()).await.is_err(), "a private note is nobody else's business");
    let noted = register(shared, true).await.unwrap();
    heard(&mut listing).await;
    assert!(!is_live().await);
    let change = |description: &str| {
        let description = Some(description.to_owned());
        alice.call(ChangePort { id: noted.id.clone(), description, shared: None })
    };
    change("a page").await.unwrap();
    assert!(timeout(LONG_ENOUGH, listing.changed()).await.is_err(), "a change that changes nothing is no news");
    change("another page").await.unwrap();
    heard(&mut listing).await;

    client.forward(private).await.unwrap().unwrap();
    assert!(timeout(LONG_ENOUGH, listing.changed()).await.is_err(), "nor is its tunnel");
    client.forward(shared).await.unwrap().unwrap();
    heard(&mut listing).await;
    assert!(is_live().await);
    drop(client);
    heard(&mut listing).await;
    assert!(!is_live().await);
}
