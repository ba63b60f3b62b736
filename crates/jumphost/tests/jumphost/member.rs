//! What members see and change of their own, and what administrators see of all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_jumphost::admin::{
    AccountRemove, AccountSearch, AuditSearch, Fault, FaultKind, Health, SessionSearch, Settings,
};
use adit_jumphost::member::{
    AddKey, ChangePort, CloseSession, DirectoryEntry, DirectorySearch, Member, Overview, PortSearch, PortTraffic,
    RegisterPort, RemoveKey, Tunnels, TunnelsView, UnregisterPort,
};
use adit_jumphost::search::SearchText;
use adit_ssh::ForwardDenied;
use adit_ssh::crypto::HostKey;
use adit_store::{Store, UnixMillis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::host::{PATIENCE, TestHost, eventually};

fn register(port: u16, shared: bool) -> RegisterPort {
    RegisterPort { port, description: "a\u{202e}page".into(), shared }
}

/// All that is shared, as far as one page shows it.
async fn directory(member: &Member) -> Vec<DirectoryEntry> {
    member.call(DirectorySearch::default()).await.unwrap().items
}

async fn tunnels(member: &Member) -> TunnelsView {
    member.call(Tunnels {}).await.unwrap()
}

#[tokio::test]
async fn a_members_page_has_all_that_it_needs() {
    let host = TestHost::start().await;
    let alice = host.newcomer("alice", false).await;
    let me = alice.call(Overview {}).await.unwrap();
    assert_eq!(
        (me.account.as_str(), me.tier.as_str(), me.has_password, me.keys.len()),
        ("alice", "community", true, 0)
    );
    assert_eq!((me.limits.forwards_per_account, me.limits.bytes_per_second_to_owner), (20, 0));
    assert_eq!((me.connection.ssh_port, me.connection.login.as_str()), (host.ssh.port(), "tunnel"));
    assert!(
        me.connection.host_keys[0].known_hosts.starts_with(&format!("[127.0.0.1]:{} ssh-ed25519 ", host.ssh.port()))
    );

    let text = HostKey::generate_ed25519().unwrap().public_key().to_text("laptop");
    let add = || AddKey { text: text.clone(), label: None, expires_in_ms: None, ports: None };
    let mut changed = alice.changes().account(alice.account_id());
    let key = alice.call(add()).await.unwrap();
    changed.changed().await.unwrap();
    assert_eq!((key.account.as_str(), key.label.as_str()), ("alice", "laptop"));
    assert_eq!(alice.call(add()).await.unwrap_err().code(), "key-already-yours");
    let bob = host.newcomer("bob", false).await;
    assert_eq!(bob.call(add()).await.unwrap_err().code(), "key-held-by-other");
    let theirs = bob.call(RemoveKey { fingerprint: key.fingerprint.clone() }).await.unwrap_err();
    assert_eq!(theirs.kind(), FaultKind::NotFound);
    assert_eq!(alice.call(Overview {}).await.unwrap().keys, std::slice::from_ref(&key));
    alice.call(RemoveKey { fingerprint: key.fingerprint }).await.unwrap();
    assert!(alice.call(Overview {}).await.unwrap().keys.is_empty());
}

#[tokio::test]
async fn a_registered_port_is_a_note_that_can_be_shared() {
    let host = TestHost::start().await;
    let (alice, bob) = (host.newcomer("alice", false).await, host.newcomer("bob", false).await);
    let key = host.key_for("alice").await;
    let mut client = key.connect().await;
    let port = client.forward(0).await.unwrap().unwrap();
    let entry = alice.call(register(port, false)).await.unwrap();
    assert!(entry.live && entry.description == "a\\u{202e}page", "{entry:?}");
    assert_eq!(alice.call(register(port, true)).await.unwrap_err().code(), "already-registered");
    let outside = alice.call(register(9, false)).await.unwrap_err();
    assert_eq!((outside.kind(), outside.code()), (FaultKind::BadInput, "out-of-range"));
    assert!(directory(&bob).await.is_empty(), "private unless shared");

    let share = |id: &str| ChangePort { id: id.into(), description: Some("web".into()), shared: Some(true) };
    assert_eq!(bob.call(share(&entry.id)).await.unwrap_err().kind(), FaultKind::NotFound);
    assert_eq!(bob.call(UnregisterPort { id: entry.id.clone() }).await.unwrap_err().kind(), FaultKind::NotFound);
    let (mut own, bobs) = (alice.changes().ports(alice.account_id()), bob.changes().ports(bob.account_id()));
    alice.call(share(&entry.id)).await.unwrap();
    own.changed().await.unwrap();
    assert!(!bobs.has_changed().unwrap(), "bob's list is what it was");
    let listed = directory(&bob).await;
    assert_eq!((listed[0].owner.as_str(), listed[0].description.as_str(), listed[0].live), ("alice", "web", true));
    assert_eq!(listed[0].address, format!("127.0.0.1:{port}"));
    drop(client);
    eventually("the tunnel is gone", || async { !directory(&bob).await[0].live }).await;
    alice.call(UnregisterPort { id: entry.id }).await.unwrap();
    assert!(directory(&bob).await.is_empty());
}

#[tokio::test]
async fn lists_of_ports_are_read_by_the_page() {
    let host = TestHost::start().await;
    let (alice, bob) = (host.newcomer("alice", false).await, host.newcomer("bob", false).await);
    let first = alice.call(Overview {}).await.unwrap().connection.first_port;
    for port in first..first + 60 {
        alice.call(register(port, true)).await.unwrap();
    }
    let own = async |q: Option<&str>, offset, limit| {
        let search = PortSearch { q: q.map(text), port: None, offset, limit };
        let page = alice.call(search).await.unwrap();
        (page.total, page.items.iter().map(|entry| entry.port - first).collect::<Vec<_>>())
    };
    assert_eq!(own(None, 0, None).await, (60, (0..50).collect()), "as many as a page usually has");
    assert_eq!(own(Some(""), 50, Some(u32::MAX)).await, (60, (50..60).collect()));
    assert_eq!(own(None, u32::MAX, None).await, (60, vec![]));
    assert_eq!(own(Some(&(first + 7).to_string()), 0, None).await, (1, vec![7]));
    let one = alice.call(PortSearch { port: Some(first + 9), ..PortSearch::default() }).await.unwrap();
    assert_eq!((one.total, one.items[0].port), (1, first + 9));
    assert_eq!(bob.call(PortSearch::default()).await.unwrap().total, 0);

    let shared = async |q: &str, offset, limit| {
        let page = bob.call(DirectorySearch { q: Some(text(q)), port: None, offset, limit }).await.unwrap();
        (page.total, page.items.len())
    };
    assert_eq!(shared("", 0, None).await, (60, 50));
    assert_eq!(shared("alic", 55, Some(50)).await, (60, 5));
    assert_eq!(shared("bob", 0, None).await, (0, 0));
}

#[tokio::test]
async fn tunnels_and_refusals_are_shown_as_they_happen() {
    let host = TestHost::start().await;
    let (alice, bob) = (host.newcomer("alice", false).await, host.newcomer("bob", false).await);
    let (alices, bobs) = (host.key_for("alice").await, host.key_for("bob").await);
    let mut live = alice.changes().live(alice.account_id());
    let mut first = alices.connect().await;
    let port = first.forward(0).await.unwrap().unwrap();
    timeout(PATIENCE, live.changed()).await.unwrap().unwrap();
    let shown = tunnels(&alice).await;
    assert_eq!((shown.tunnels.len(), shown.tunnels[0].port, shown.refusals.len()), (1, port, 0));
    assert_eq!(shown.tunnels[0].fingerprint, alices.fingerprint());
    let serving = first.echo();

    let mut second = alices.connect().await;
    assert_eq!(second.forward(port).await.unwrap(), Err(ForwardDenied));
    assert_eq!(second.forward(9).await.unwrap(), Err(ForwardDenied));
    let mut other = bobs.connect().await;
    assert_eq!(other.forward(port).await.unwrap(), Err(ForwardDenied));
    let refusals = tunnels(&alice).await.refusals;
    let reasons: Vec<_> = refusals.iter().map(|refusal| refusal.reason.as_str()).collect();
    assert_eq!(reasons, ["out_of_range", "own_session"]);
    assert!(refusals[0].message.starts_with("Port 9 is not one of this jump host's. Ask for one from "));
    let held = format!("Your other session {} has held port {port} for ", shown.tunnels[0].session);
    assert!(refusals[1].message.starts_with(&held), "{}", refusals[1].message);
    let bobs_view = tunnels(&bob).await;
    assert!(bobs_view.tunnels.is_empty());
    assert_eq!(bobs_view.refusals[0].reason, "other_account");
    assert!(!bobs_view.refusals[0].message.contains("alice"), "whose it is, is nobody's business");

    let close = CloseSession { session: shown.tunnels[0].session };
    assert_eq!(bob.call(close.clone()).await.unwrap_err().kind(), FaultKind::NotFound);
    let nobody = CloseSession { session: 4711 };
    assert_eq!(bob.call(nobody).await.unwrap_err().code(), bob.call(close.clone()).await.unwrap_err().code());
    live.mark_unchanged();
    alice.call(close).await.unwrap();
    timeout(PATIENCE, serving).await.unwrap().unwrap();
    eventually("the tunnel is gone", || async { tunnels(&alice).await.tunnels.is_empty() }).await;
    timeout(PATIENCE, live.changed()).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_port_carried_is_written_in_the_end() {
    let host = TestHost::start().await;
    let alice = host.newcomer("alice", false).await;
    let key = host.key_for("alice").await;
    let mut client = key.connect().await;
    let port = client.forward(0).await.unwrap().unwrap();
    let serving = client.echo();
    for sent in [1_000, 2_000] {
        let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        visitor.write_all(&vec![7; sent]).await.unwrap();
        let mut back = vec![0; sent];
        timeout(PATIENCE, visitor.read_exact(&mut back)).await.unwrap().unwrap();
    }
    let account = alice.account_id();
    let folder = host.stop().await;
    timeout(PATIENCE, serving).await.unwrap().unwrap();
    let store = Store::open(folder.path().join("data/store.sqlite")).await.unwrap();
    let minutes = store.list_traffic(account.0, port, UnixMillis(0)).await.unwrap();
    // The clock's minute may have changed in between.
    let sum = |of: fn(&adit_store::Carried) -> u64| minutes.iter().map(|minute| of(&minute.carried)).sum::<u64>();
    assert_eq!((sum(|one| one.bytes_in), sum(|one| one.bytes_out), sum(|one| one.visitors)), (3_000, 3_000, 2));
}

#[tokio::test]
async fn the_last_day_of_a_port_is_shown_to_its_member() {
    let host = TestHost::start().await;
    let (alice, bob) = (host.newcomer("alice", false).await, host.newcomer("bob", false).await);
    let folder = host.store_path();
    let store = Store::open(folder).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let carried = adit_store::Carried { bytes_in: 1, bytes_out: 2, visitors: 3 };
    let rows = [adit_store::PortTraffic { account: alice.account_id().0, port: 10_080, carried }];
    for age in [Duration::from_secs(60), Duration::from_secs(25 * 3_600)] {
        store.add_traffic(UnixMillis(now).before(age), &rows).await.unwrap();
    }
    let shown = alice.call(PortTraffic { port: 10_080 }).await.unwrap();
    let minutes: Vec<_> =
        shown.minutes.iter().map(|minute| (minute.bytes_in, minute.bytes_out, minute.visitors)).collect();
    assert_eq!(minutes, [(1, 2, 3)]);
    assert!(bob.call(PortTraffic { port: 10_080 }).await.unwrap().minutes.is_empty());
}

#[tokio::test]
async fn an_administrator_finds_accounts_sessions_and_events() {
    let host = TestHost::start().await;
    let root = host.newcomer("root", true).await;
    let admin = root.admin().unwrap();
    let mut clients = Vec::new();
    for name in ["alice", "bob", "bobby"] {
        let mut client = host.account(name).await.connect().await;
        client.forward(0).await.unwrap().unwrap();
        clients.push(client);
    }
    let search = |q: &str, offset, limit| SessionSearch { q: Some(text(q)), offset, limit };
    let all = admin.call(SessionSearch::default()).await.unwrap();
    assert_eq!((all.total, all.items.len(), all.forwards), (3, 3, 3));
    let bobs = admin.call(search("bob", 1, Some(1))).await.unwrap();
    assert_eq!((bobs.total, bobs.items.len(), bobs.items[0].account.as_str()), (2, 1, "bobby"));
    let by_port = admin.call(search(&all.items[0].ports[0].to_string(), 0, None)).await.unwrap();
    assert_eq!((by_port.total, by_port.items[0].account.as_str()), (1, "alice"));

    let accounts = AccountSearch { q: Some(text("bob")), offset: 0, limit: Some(1) };
    let page = admin.call(accounts).await.unwrap();
    assert_eq!((page.total, page.items[0].name.as_str(), page.items[0].sessions), (2, "bob", 1));
    let refused = admin.call(AccountRemove { name: "root".into() }).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (FaultKind::Conflict, "last-administrator"));
    admin.call(AccountRemove { name: "bobby".into() }).await.unwrap();

    let removed = || AuditSearch { kind: Some("account-removed".into()), ..AuditSearch::default() };
    let found = async || admin.call(removed()).await.unwrap();
    eventually("it is in the audit log", || async { !found().await.items.is_empty() }).await;
    let event = &found().await.items[0];
    assert_eq!((event.account.as_deref(), &event.detail["by"]), (Some("bobby"), &"root".into()));
    assert!(event.source.as_deref().unwrap().starts_with("192.0.2.1:"));
    let first = admin.call(AuditSearch { limit: Some(2), ..AuditSearch::default() }).await.unwrap();
    let before = first.next.unwrap();
    let second =
        admin.call(AuditSearch { limit: Some(2), before: Some(before), ..AuditSearch::default() }).await.unwrap();
    assert!(second.items.iter().all(|event| event.id < before));
    assert!(first.kinds.iter().any(|kind| kind == "sign-in-refused"));
    assert!(
        admin
            .call(AuditSearch { q: Some(text("no such text")), ..AuditSearch::default() })
            .await
            .unwrap()
            .next
            .is_none()
    );
}

#[tokio::test]
async fn an_administrator_sees_how_the_server_is_and_what_it_runs_on() {
    let host = TestHost::start().await;
    let _client = host.account("alice").await.connect().await;
    let health = host.admin.call(Health {}).await.unwrap();
    assert_eq!((health.sessions, health.forwards, health.visitors), (1, 0, 0));
    assert_eq!(health.addresses.ssh, host.ssh);
    assert!(health.store_bytes.unwrap() > 0 && health.memory_bytes.unwrap() > 1_000_000);
    assert!(health.open_files.unwrap() > 3);
    let settings = host.admin.call(Settings {}).await.unwrap();
    let grace = settings.iter().find(|setting| setting.name == "login_grace").unwrap();
    assert_eq!((grace.value.as_str(), grace.origin.as_str()), ("30s", "default"));
}

fn text(q: &str) -> SearchText {
    q.try_into().unwrap()
}
