//! What the local agent's store promises.

use std::convert::Infallible;
use std::fs;

use adit_store::agent::{
    AddRecordError, AgentStore, AuthMethod, ChangeRecordError, Forward, ForwardType, HostKeyPolicy, JumpHost,
    JumpHostChange, JumpRef, Profile, ProfileChange, Record, RecordKind, RemoveRecordError, Saved, SecretRef, Session,
    SessionChange, SessionForward, Settings, SettingsChange, Tunnel, TunnelChange,
};
use adit_store::{OpenError, Store};

use crate::harness::bounded;

fn profile(name: &str) -> Profile {
    Profile {
        name: name.to_owned(),
        username: "ops".to_owned(),
        auth_method: AuthMethod::Key,
        key_path: Some("/home/ops/.ssh/id_ed25519".to_owned()),
        password_secret: None,
        passphrase_secret: Some(SecretRef("profile passphrase".to_owned())),
        legacy_algorithms: true,
        jump: None,
        enabled: true,
    }
}

fn jump_host(name: &str, profile: &Saved<Profile>) -> JumpHost {
    let host = format!("{name}.example.net");
    JumpHost { name: name.to_owned(), host, port: 2222, profile_id: profile.id.clone(), enabled: true }
}

fn local(port: u16) -> Forward {
    Forward {
        forward_type: ForwardType::Local,
        local_port: port,
        bind_address: "127.0.0.1".to_owned(),
        remote_host: Some("10.0.0.5".to_owned()),
        remote_port: Some(443),
    }
}

fn dynamic(port: u16) -> Forward {
    Forward { forward_type: ForwardType::Dynamic, remote_host: None, remote_port: None, ..local(port) }
}

fn session(name: &str, profile: &Saved<Profile>) -> Session {
    Session {
        name: name.to_owned(),
        host: "core.example.net".to_owned(),
        port: 22,
        profile_id: profile.id.clone(),
        jump: None,
        forwards: vec![
            SessionForward { forward: local(8443), enabled: true },
            SessionForward { forward: dynamic(1080), enabled: false },
        ],
        enabled: true,
    }
}

fn tunnel(name: &str, profile: &Saved<Profile>) -> Tunnel {
    Tunnel {
        name: name.to_owned(),
        host: "bastion.example.net".to_owned(),
        port: 22,
        profile_id: profile.id.clone(),
        jump: None,
        forward: local(8443),
        auto_start: false,
        auto_reconnect: true,
        max_retries: 5,
        enabled: true,
    }
}

async fn change<R: Record>(store: &AgentStore, id: &str, change: R::Change) -> Saved<R> {
    store.change::<R, Infallible>(id, change, |_| Ok(())).await.expect("the change is made")
}

async fn refused<R: Record>(store: &AgentStore, id: &str, change: R::Change) -> ChangeRecordError<Infallible> {
    store.change::<R, Infallible>(id, change, |_| Ok(())).await.map(|_| ()).expect_err("it must be refused")
}

async fn store() -> AgentStore {
    AgentStore::open_in_memory().await.expect("a store in memory")
}

#[tokio::test]
async fn every_record_outlives_the_process() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.db");
        let before = AgentStore::open(&path).await.unwrap();
        let mut with_jump = profile("core");
        let edge = before.add(profile("edge")).await.unwrap();
        let jump = before.add(jump_host("edge", &edge)).await.unwrap();
        with_jump.jump = Some(JumpRef::Host(jump.id.clone()));
        let core = before.add(with_jump).await.unwrap();
        let console = before.add(session("console", &core)).await.unwrap();
        let mut socks = tunnel("socks", &core);
        (socks.forward, socks.jump, socks.max_retries) = (dynamic(1080), Some(JumpRef::Session(console.id.clone())), 0);
        let socks = before.add(socks).await.unwrap();
        let web = before.add(tunnel("Switch UI", &core)).await.unwrap();
        before.close().await;

        let after = AgentStore::open(&path).await.unwrap();
        assert_eq!(after.list::<Profile>().await.unwrap(), [core, edge]);
        assert_eq!(after.list::<JumpHost>().await.unwrap(), [jump]);
        assert_eq!(after.list::<Session>().await.unwrap(), std::slice::from_ref(&console));
        assert_eq!(after.get::<Session>(&console.id).await.unwrap(), Some(console));
        assert_eq!(after.list::<Tunnel>().await.unwrap(), [web.clone(), socks]);
        assert_eq!(after.get::<Tunnel>(&web.id).await.unwrap(), Some(web));
    })
    .await;
}

#[tokio::test]
async fn an_id_tells_the_kind_and_times_tell_the_change() {
    let store = store().await;
    let core = store.add(profile("core")).await.unwrap();
    let web = store.add(tunnel("web", &core)).await.unwrap();
    let console = store.add(session("console", &core)).await.unwrap();
    let edge = store.add(jump_host("edge", &core)).await.unwrap();
    for (id, prefix) in [(&core.id, "prof_"), (&web.id, "tun_"), (&console.id, "sess_"), (&edge.id, "jump_")] {
        assert!(id.starts_with(prefix) && id.len() == prefix.len() + 32, "{id}");
    }
    assert_eq!(web.created_at, web.updated_at);
    let changed = change::<Tunnel>(&store, &web.id, TunnelChange::default()).await;
    assert_eq!((changed.created_at, &changed.record), (web.created_at, &web.record));
    assert!(web.updated_at <= changed.updated_at && changed.updated_at <= store.now().await.unwrap());
    assert_eq!(store.get::<Tunnel>(&core.id).await.unwrap(), None, "a profile is no tunnel");
}

#[tokio::test]
async fn a_change_tells_absent_from_null() {
    let store = store().await;
    let core = store.add(profile("core")).await.unwrap();
    let edge = store.add(jump_host("edge", &core)).await.unwrap();
    let mut web = tunnel("web", &core);
    web.jump = Some(JumpRef::Host(edge.id.clone()));
    let web = store.add(web).await.unwrap();

    let cleared = TunnelChange { jump_host_id: Some(None), ..TunnelChange::default() };
    let changed = change::<Tunnel>(&store, &web.id, cleared).await;
    assert_eq!(changed.record, Tunnel { jump: None, ..web.record.clone() });
    assert_eq!(store.get::<Tunnel>(&web.id).await.unwrap(), Some(changed));

    let to_dynamic = TunnelChange {
        forward_type: Some(ForwardType::Dynamic),
        local_port: Some(1080),
        remote_host: Some(None),
        remote_port: Some(None),
        ..TunnelChange::default()
    };
    let changed = change::<Tunnel>(&store, &web.id, to_dynamic).await;
    assert_eq!(changed.record, Tunnel { jump: None, forward: dynamic(1080), ..web.record });

    let no_passphrase = ProfileChange { passphrase_secret: Some(None), ..ProfileChange::default() };
    let changed = change::<Profile>(&store, &core.id, no_passphrase).await;
    assert_eq!(changed.record, Profile { passphrase_secret: None, ..core.record });
}

#[tokio::test]
async fn every_field_of_every_kind_can_be_changed() {
    let store = store().await;
    let (core, other) = (store.add(profile("core")).await.unwrap(), store.add(profile("other")).await.unwrap());
    let edge = store.add(jump_host("edge", &core)).await.unwrap();

    let wanted = Profile {
        name: "new".to_owned(),
        username: "root".to_owned(),
        auth_method: AuthMethod::Password,
        key_path: None,
        password_secret: Some(SecretRef("profile password".to_owned())),
        passphrase_secret: None,
        legacy_algorithms: false,
        jump: Some(JumpRef::Host(edge.id.clone())),
        enabled: false,
    };
    let all = ProfileChange {
        name: Some("new".to_owned()),
        username: Some("root".to_owned()),
        auth_method: Some(AuthMethod::Password),
        key_path: Some(None),
        password_secret: Some(wanted.password_secret.clone()),
        passphrase_secret: Some(None),
        legacy_algorithms: Some(false),
        jump_host_id: Some(Some(edge.id.clone())),
        jump_session_id: Some(None),
        enabled: Some(false),
    };
    assert_eq!(change::<Profile>(&store, &other.id, all).await.record, wanted);
    assert_eq!(store.get::<Profile>(&other.id).await.unwrap().unwrap().record, wanted);

    let all = JumpHostChange {
        name: Some("gate".to_owned()),
        host: Some("gate.example.org".to_owned()),
        port: Some(22),
        profile_id: Some(core.id.clone()),
        enabled: Some(false),
    };
    let (name, host) = ("gate".to_owned(), "gate.example.org".to_owned());
    let wanted = JumpHost { name, host, port: 22, profile_id: core.id.clone(), enabled: false };
    assert_eq!(change::<JumpHost>(&store, &edge.id, all).await.record, wanted);
    assert_eq!(store.get::<JumpHost>(&edge.id).await.unwrap().unwrap().record, wanted);

    let console = store.add(session("console", &core)).await.unwrap();
    let forwards = vec![SessionForward { forward: dynamic(1081), enabled: true }];
    let all = SessionChange {
        name: Some("tty".to_owned()),
        host: Some("tty.example.org".to_owned()),
        port: Some(2200),
        profile_id: Some(other.id.clone()),
        jump_host_id: Some(Some(edge.id.clone())),
        jump_session_id: None,
        forwards: Some(forwards.clone()),
        enabled: Some(false),
    };
    let wanted = Session {
        name: "tty".to_owned(),
        host: "tty.example.org".to_owned(),
        port: 2200,
        profile_id: other.id.clone(),
        jump: Some(JumpRef::Host(edge.id.clone())),
        forwards,
        enabled: false,
    };
    assert_eq!(change::<Session>(&store, &console.id, all).await.record, wanted);
    assert_eq!(store.get::<Session>(&console.id).await.unwrap().unwrap().record, wanted);

    let web = store.add(tunnel("web", &core)).await.unwrap();
    let all = TunnelChange {
        name: Some("db".to_owned()),
        host: Some("db.example.org".to_owned()),
        port: Some(2200),
        profile_id: Some(other.id.clone()),
        jump_host_id: None,
        jump_session_id: Some(Some(console.id.clone())),
        forward_type: Some(ForwardType::Remote),
        local_port: Some(5432),
        bind_address: Some("::1".to_owned()),
        remote_host: Some(None),
        remote_port: Some(Some(0)),
        auto_start: Some(true),
        auto_reconnect: Some(false),
        max_retries: Some(0),
        enabled: Some(false),
    };
    let wanted = Tunnel {
        name: "db".to_owned(),
        host: "db.example.org".to_owned(),
        port: 2200,
        profile_id: other.id.clone(),
        jump: Some(JumpRef::Session(console.id.clone())),
        forward: Forward {
            forward_type: ForwardType::Remote,
            local_port: 5432,
            bind_address: "::1".to_owned(),
            remote_host: None,
            remote_port: Some(0),
        },
        auto_start: true,
        auto_reconnect: false,
        max_retries: 0,
        enabled: false,
    };
    assert_eq!(change::<Tunnel>(&store, &web.id, all).await.record, wanted);
    assert_eq!(store.get::<Tunnel>(&web.id).await.unwrap().unwrap().record, wanted);
}

#[tokio::test]
async fn a_record_may_refer_only_to_what_is_there() {
    let store = store().await;
    let core = store.add(profile("core")).await.unwrap();
    let mut lost = tunnel("web", &core);
    lost.profile_id = "prof_gone".to_owned();
    let error = store.add(lost).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no profile with id \"prof_gone\"");
    assert!(matches!(error, AddRecordError::Unknown((RecordKind::Profile, _))));
    // The id of a profile names no jump host.
    let mut wrong = tunnel("web", &core);
    wrong.jump = Some(JumpRef::Host(core.id.clone()));
    assert!(matches!(store.add(wrong).await.unwrap_err(), AddRecordError::Unknown((RecordKind::JumpHost, _))));
    assert!(store.list::<Tunnel>().await.unwrap().is_empty());

    let web = store.add(tunnel("web", &core)).await.unwrap();
    let away = TunnelChange { jump_session_id: Some(Some("sess_gone".to_owned())), ..TunnelChange::default() };
    let error = refused::<Tunnel>(&store, &web.id, away).await;
    assert!(matches!(error, ChangeRecordError::Unknown((RecordKind::Session, _))), "{error:?}");
    assert_eq!(store.get::<Tunnel>(&web.id).await.unwrap(), Some(web));
    let error = refused::<Tunnel>(&store, "tun_gone", TunnelChange::default()).await;
    assert_eq!(error.to_string(), "there is no tunnel with id \"tun_gone\"");
}

#[tokio::test]
async fn there_is_one_jump_at_most() {
    let store = store().await;
    let core = store.add(profile("core")).await.unwrap();
    let edge = store.add(jump_host("edge", &core)).await.unwrap();
    let console = store.add(session("console", &core)).await.unwrap();
    let mut web = tunnel("web", &core);
    web.jump = Some(JumpRef::Host(edge.id.clone()));
    let web = store.add(web).await.unwrap();

    assert!(JumpRef::from_ids(Some(edge.id.clone()), Some(console.id.clone())).is_err());
    let second = TunnelChange { jump_session_id: Some(Some(console.id.clone())), ..TunnelChange::default() };
    let error = refused::<Tunnel>(&store, &web.id, second.clone()).await;
    assert!(matches!(error, ChangeRecordError::BothJumps(_)), "{error:?}");
    let instead = TunnelChange { jump_host_id: Some(None), ..second };
    let changed = change::<Tunnel>(&store, &web.id, instead).await;
    assert_eq!(changed.record.jump, Some(JumpRef::Session(console.id)));
}

#[tokio::test]
async fn no_way_leads_through_itself() {
    let store = store().await;
    let core = store.add(profile("core")).await.unwrap();
    let edge = store.add(jump_host("edge", &core)).await.unwrap();
    // A jump host is reached as its profile says, and here that is itself.
    let around = ProfileChange { jump_host_id: Some(Some(edge.id.clone())), ..ProfileChange::default() };
    let error = refused::<Profile>(&store, &core.id, around).await;
    assert_eq!(error.to_string(), "jump host \"edge\" would be reached through itself");

    let one = store.add(session("one", &core)).await.unwrap();
    let itself = SessionChange { jump_session_id: Some(Some(one.id.clone())), ..SessionChange::default() };
    assert!(matches!(refused::<Session>(&store, &one.id, itself).await, ChangeRecordError::JumpLoop { .. }));

    let mut two = session("two", &core);
    two.jump = Some(JumpRef::Session(one.id.clone()));
    let two = store.add(two).await.unwrap();
    let back = SessionChange { jump_session_id: Some(Some(two.id.clone())), ..SessionChange::default() };
    assert!(matches!(refused::<Session>(&store, &one.id, back).await, ChangeRecordError::JumpLoop { .. }));
    assert_eq!(store.get::<Session>(&one.id).await.unwrap(), Some(one.clone()));

    // What a profile says counts only where the session says nothing itself.
    let mut through_two = profile("through two");
    through_two.jump = Some(JumpRef::Session(two.id.clone()));
    let through_two = store.add(through_two).await.unwrap();
    let inherit = SessionChange { profile_id: Some(through_two.id.clone()), ..SessionChange::default() };
    assert!(matches!(refused::<Session>(&store, &one.id, inherit.clone()).await, ChangeRecordError::JumpLoop { .. }));
    let own_way = SessionChange { jump_host_id: Some(Some(edge.id.clone())), ..inherit };
    assert_eq!(change::<Session>(&store, &one.id, own_way).await.record.jump, Some(JumpRef::Host(edge.id)));
}

#[tokio::test]
async fn what_is_in_use_names_its_users_and_stays() {
    let store = store().await;
    let core = store.add(profile("core")).await.unwrap();
    let edge = store.add(jump_host("edge", &core)).await.unwrap();
    let console = store.add(session("console", &core)).await.unwrap();
    let mut web = tunnel("web", &core);
    web.jump = Some(JumpRef::Host(edge.id.clone()));
    let web = store.add(web).await.unwrap();
    let mut far = session("far", &core);
    far.jump = Some(JumpRef::Session(console.id.clone()));
    let far = store.add(far).await.unwrap();

    let refusal = |error: RemoveRecordError| error.to_string();
    assert_eq!(
        refusal(store.remove::<Profile>(&core.id).await.unwrap_err()),
        "the profile \"core\" is used by jump host \"edge\", session \"console\", session \"far\", tunnel \"web\""
    );
    assert_eq!(
        refusal(store.remove::<JumpHost>(&edge.id).await.unwrap_err()),
        "the jump host \"edge\" is used by tunnel \"web\""
    );
    let error = store.remove::<Session>(&console.id).await.unwrap_err();
    let RemoveRecordError::InUse { users, .. } = &error else { panic!("{error:?}") };
    assert_eq!(users.iter().map(|user| (user.kind, &user.id)).collect::<Vec<_>>(), [(RecordKind::Session, &far.id)]);

    assert_eq!(store.remove::<Tunnel>(&web.id).await.unwrap(), web);
    assert_eq!(store.remove::<Session>(&far.id).await.unwrap(), far);
    assert_eq!(store.remove::<Session>(&console.id).await.unwrap(), console);
    store.remove::<JumpHost>(&edge.id).await.unwrap();
    store.remove::<Profile>(&core.id).await.unwrap();
    let error = store.remove::<Profile>(&core.id).await.unwrap_err();
    assert!(matches!(error, RemoveRecordError::NotFound { kind: RecordKind::Profile, .. }), "{error:?}");
}

#[tokio::test]
async fn what_the_caller_refuses_is_not_written() {
    let store = store().await;
    let core = store.add(profile("core")).await.unwrap();
    let web = store.add(tunnel("web", &core)).await.unwrap();
    let to_lan = TunnelChange { bind_address: Some("0.0.0.0".to_owned()), ..TunnelChange::default() };
    let error = store
        .change::<Tunnel, String>(&web.id, to_lan, |tunnel| Err(format!("not on {}", tunnel.forward.bind_address)))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "not on 0.0.0.0");
    assert_eq!(store.get::<Tunnel>(&web.id).await.unwrap(), Some(web));
}

#[tokio::test]
async fn settings_are_remembered() {
    let store = store().await;
    let first = Settings { controller_mode: false, host_key_policy: HostKeyPolicy::Ask };
    assert_eq!(store.settings().await.unwrap(), first);
    let strict = SettingsChange { host_key_policy: Some(HostKeyPolicy::Strict), ..SettingsChange::default() };
    let wanted = Settings { host_key_policy: HostKeyPolicy::Strict, ..first };
    assert_eq!(store.change_settings(strict).await.unwrap(), wanted);
    let controlled = SettingsChange { controller_mode: Some(true), ..SettingsChange::default() };
    store.change_settings(controlled).await.unwrap();
    assert_eq!(store.settings().await.unwrap(), Settings { controller_mode: true, ..wanted });
}

#[tokio::test]
async fn names_travel_as_they_are_written() {
    for name in ["local", "dynamic", "remote"] {
        assert_eq!(name.parse::<ForwardType>().unwrap().name(), name);
    }
    let error = "sideways".parse::<ForwardType>().unwrap_err();
    assert_eq!(error.to_string(), "\"sideways\" is none of local, dynamic, remote");
}

#[tokio::test]
async fn the_two_stores_do_not_open_each_others_files() {
    let folder = tempfile::tempdir().unwrap();
    let (agents, hosts) = (folder.path().join("agent.db"), folder.path().join("adit.db"));
    AgentStore::open(&agents).await.unwrap().close().await;
    Store::open(&hosts).await.unwrap().close().await;
    let before = (fs::read(&agents).unwrap(), fs::read(&hosts).unwrap());
    assert!(matches!(AgentStore::open(&hosts).await.unwrap_err(), OpenError::Foreign { .. }));
    assert!(matches!(Store::open(&agents).await.unwrap_err(), OpenError::Foreign { .. }));
    assert_eq!((fs::read(&agents).unwrap(), fs::read(&hosts).unwrap()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_at_once_lose_nothing() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let store = AgentStore::open(folder.path().join("agent.db")).await.unwrap();
        let core = store.add(profile("core")).await.unwrap();
        let web = store.add(tunnel("web", &core)).await.unwrap();
        let changes = [
            TunnelChange { name: Some("db".to_owned()), ..TunnelChange::default() },
            TunnelChange { max_retries: Some(7), ..TunnelChange::default() },
            TunnelChange { remote_host: Some(None), ..TunnelChange::default() },
            TunnelChange { enabled: Some(false), ..TunnelChange::default() },
        ];
        let id = std::sync::Arc::<str>::from(web.id.as_str());
        let tasks = changes.map(|wanted| {
            let (store, id) = (store.clone(), id.clone());
            tokio::spawn(async move { change::<Tunnel>(&store, &id, wanted).await })
        });
        for task in tasks {
            task.await.unwrap();
        }
        let forward = Forward { remote_host: None, ..local(8443) };
        let wanted = Tunnel { name: "db".to_owned(), max_retries: 7, forward, enabled: false, ..web.record };
        assert_eq!(store.get::<Tunnel>(&web.id).await.unwrap().unwrap().record, wanted);
    })
    .await;
}
