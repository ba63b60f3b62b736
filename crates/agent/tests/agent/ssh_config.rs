//! Records from a person's `~/.ssh/config`.

use std::fs;

use adit_agent::agent::Agent;
use adit_agent::ssh_config::{ImportError, Imported};
use adit_store::agent::{AuthMethod, JumpHost, JumpRef, Profile, Record, RecordKind, RecordRef, Session, Tunnel};

use crate::free_port::free_port;
use crate::home::Home;
use crate::services::{Service, ask, connect, loopback, make_pipe, soon};
use crate::sshd::Sshd;

impl Home {
    fn write_ssh_config(&self, text: &str) {
        let folder = self.folder().join(".ssh");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config"), text).unwrap();
    }

    async fn import(&self) -> Vec<Imported> {
        self.agent.import_ssh_hosts(None).await.unwrap()
    }
}

fn names(records: &[RecordRef]) -> Vec<(RecordKind, &str)> {
    records.iter().map(|record| (record.kind, &*record.name)).collect()
}

fn left_out(imported: &Imported) -> Vec<String> {
    imported.left_out.iter().map(|left| format!("{}: {}", left.what, left.why)).collect()
}

async fn record<R: Record>(agent: &Agent, imported: &Imported, name: &str) -> R {
    let all = imported.added.iter().chain(&imported.present);
    let found = all.into_iter().find(|record| record.kind == R::KIND && record.name == name);
    let found = found.unwrap_or_else(|| panic!("there is no {} {name} in {imported:?}", R::KIND));
    agent.store().get::<R>(&found.id).await.unwrap().unwrap().record
}

#[tokio::test]
async fn a_host_becomes_a_session_and_its_forwards_tunnels_that_work() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let port = free_port();
    home.write_ssh_config(&format!(
        "Host far\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  LocalForward {port} 127.0.0.1:{}\n",
        sshd.port(),
        sshd.user(),
        sshd.path("login").display(),
        service.port
    ));
    let imported = home.import().await;
    let [far] = &imported[..] else { panic!("{imported:?}") };
    let (user, tunnel) = (format!("{}@far", sshd.user()), format!("far L :{port}"));
    let expected = [(RecordKind::Profile, &*user), (RecordKind::Session, "far"), (RecordKind::Tunnel, &*tunnel)];
    assert_eq!((names(&far.added), left_out(far)), (expected.to_vec(), Vec::new()));

    let id = &far.added[2].id;
    assert_eq!(home.status(id), "disconnected", "an import starts nothing");
    home.agent.start_tunnel(id).await.unwrap();
    home.becomes(id, "connected").await;
    assert_eq!(ask(&mut connect(loopback(port)).await, b"hello").await.unwrap(), b"5 bytes");

    let again = home.import().await;
    assert_eq!((again[0].added.len(), names(&again[0].present)), (0, expected.to_vec()));
    assert_eq!(home.status(id), "connected", "what is there stays as it is");
}

#[tokio::test]
async fn jumps_become_jump_hosts_in_their_order() {
    let home = Home::new().await;
    home.write_ssh_config(
        "Host outer\n  HostName outer.example\n  User gate\nHost inner\n  ProxyJump outer\n  User guard\n\
         Host deep\n  HostName 10.0.0.9\n  User jane\n  ProxyJump inner,joe@last:2222\n  DynamicForward 1080\n",
    );
    let imported = home.agent.import_ssh_hosts(Some(vec!["deep".to_owned()])).await.unwrap();
    let [deep] = &imported[..] else { panic!("{imported:?}") };
    assert_eq!(left_out(deep), [""; 0]);
    let agent = &home.agent;
    let id = |jump: Option<JumpRef>| match jump {
        Some(JumpRef::Host(id)) => deep.added.iter().find(|record| record.id == id).unwrap().name.clone(),
        other => panic!("{other:?}"),
    };
    let tunnel: Tunnel = record(agent, deep, "deep D :1080").await;
    assert_eq!((&*tunnel.host, id(tunnel.jump)), ("10.0.0.9", "joe@last:2222".to_owned()));
    let session: Session = record(agent, deep, "deep").await;
    assert_eq!(id(session.jump), "joe@last:2222");
    let last: JumpHost = record(agent, deep, "joe@last:2222").await;
    assert_eq!((&*last.host, last.port), ("last", 2222));
    let joe: Profile = record(agent, deep, "joe@last via inner").await;
    assert_eq!((&*joe.username, id(joe.jump)), ("joe", "inner".to_owned()));
    let guard: Profile = record(agent, deep, "guard@inner via outer").await;
    assert_eq!(id(guard.jump), "outer");
    let gate: Profile = record(agent, deep, "gate@outer").await;
    assert_eq!((gate.jump, gate.auth_method), (None, AuthMethod::Agent), "no key is there");
    let outer: JumpHost = record(agent, deep, "outer").await;
    assert_eq!((&*outer.host, outer.port), ("outer.example", 22));

    // Now as a host of its own, which is reached through outer too.
    let inner = &home.agent.import_ssh_hosts(Some(vec!["inner".to_owned()])).await.unwrap()[0];
    let session: Session = record(agent, inner, "inner").await;
    assert!(matches!(session.jump, Some(JumpRef::Host(_))));
    assert_eq!(names(&inner.added), [(RecordKind::Profile, "guard@inner"), (RecordKind::Session, "inner")]);
}

#[tokio::test]
async fn what_no_record_can_hold_is_told_and_the_rest_imported() {
    let home = Home::new().await;
    home.write_ssh_config(
        "Host open\n  LocalForward *:8084 db:1\n  LocalForward localhost:8085 db:1\n  LocalForward 8086 /run/x.sock\n  \
         RemoteForward 9002 otherbox:92\n  RemoteForward 9003\n  LocalForward 8087 db:1\n\
         Host program\n  ProxyCommand nc %h %p\nHost circle\n  ProxyJump ring\nHost ring\n  ProxyJump circle\nHost \"bad name\"\nHost -oProxyCommand=id\nHost fine\n",
    );
    let imported = home.import().await;
    let of = |host: &str| imported.iter().find(|imported| imported.host == host).unwrap();
    let tunnels = |host: &Imported| host.added.iter().filter(|added| added.kind == RecordKind::Tunnel).count();
    assert_eq!((tunnels(of("open")), of("open").left_out.len()), (1, 5), "{:?}", of("open"));
    for (host, part) in [
        ("open", "LocalForward [*]:8084 [db]:1: bind_address '*' must be a loopback address"),
        ("open", "LocalForward [localhost]:8085 [db]:1: bind_address 'localhost' must be a loopback address"),
        ("open", "RemoteForward 9002 [otherbox]:92: otherbox is another machine"),
        ("open", "RemoteForward 9003 [socks]:0: a SOCKS proxy"),
        ("program", "ProxyCommand nc %h %p: a program leads there"),
        ("circle", "leads through itself"),
        ("bad name", "hostname contains invalid characters"),
        ("-oProxyCommand=id", "hostname contains invalid characters"),
    ] {
        let told = left_out(of(host));
        assert!(told.iter().any(|told| told.contains(part)), "{host}: {part} is not in {told:#?}");
    }
    assert_eq!(names(&of("program").added), []);
    assert!(of("fine").added.iter().any(|added| added.kind == RecordKind::Session));
}

#[tokio::test]
async fn without_a_configuration_there_is_nothing_to_import() {
    let home = Home::new().await;
    let error = home.agent.import_ssh_hosts(None).await.unwrap_err();
    assert!(matches!(&error, ImportError::NoConfiguration(path) if path.ends_with(".ssh/config")), "{error}");
    assert!(home.agent.ssh_hosts().await.is_err());
    home.write_ssh_config("Host one two *.example\n");
    assert_eq!(home.agent.ssh_hosts().await.unwrap(), ["one", "two"]);
}

#[tokio::test]
async fn files_that_include_each_other_end_quickly() {
    let home = Home::new().await;
    // ssh looks for a relative one in the home of whoever runs it.
    let folder = home.folder().join(".ssh/conf.d");
    let include = format!("Include {}/*\n", folder.display());
    home.write_ssh_config(&format!("{include}Host last\n"));
    fs::create_dir(&folder).unwrap();
    for number in 0..6 {
        fs::write(folder.join(number.to_string()), format!("Host web-{number}\n{include}")).unwrap();
    }
    let hosts = soon("the names", home.agent.ssh_hosts()).await.unwrap();
    assert_eq!(hosts, ["web-0", "web-1", "web-2", "web-3", "web-4", "web-5", "last"]);
    // What ssh thinks of it is told with each host.
    let imported = home.agent.import_ssh_hosts(Some(vec!["last".to_owned()])).await.unwrap();
    assert!(left_out(&imported[0])[0].contains("Too many recursive configuration includes"), "{imported:?}");
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_holds_nobody_up() {
    let home = Home::new().await;
    let (ssh, config) = (home.folder().join(".ssh"), home.folder().join(".ssh/config"));
    fs::create_dir(&ssh).unwrap();
    make_pipe(&config);
    let error = soon("a refusal", home.agent.ssh_hosts()).await.unwrap_err();
    assert!(
        matches!(&error, ImportError::Unreadable(path, why) if *path == config && why.to_string().contains("not a file"))
    );
    // A key in a pipe is one that does not open.
    fs::remove_file(&config).unwrap();
    let key = ssh.join("key");
    make_pipe(&key);
    home.write_ssh_config(&format!("Host far\n  User jane\n  IdentityFile {}\n", key.display()));
    let imported = soon("the import", home.import()).await;
    let jane: Profile = record(&home.agent, &imported[0], "jane@far").await;
    assert_eq!((jane.auth_method, jane.key_path), (AuthMethod::Agent, None));
}
