//! Lines 23, 25 and 26 on a real clock: each pause, the probe of every kind of account, and a machine that slept.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use adit_e2e::{Agent, HttpService, JumpHost, ServiceAddress, Sshd, eventually, long_runs_wanted, remains, within};
use serde_json::{Value, json};

use super::{AT_ONCE, ask, me};
use crate::SOON;
use crate::agent_command::{add_profile, curl};
use crate::free_port::free_port;

/// What stands in the place of a server that is gone: it hangs up on whoever comes, and the time of that is told.
struct Gate(TcpListener);

impl Gate {
    fn at(port: u16) -> Gate {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Gate(listener)
    }

    fn next(&self, bound: Duration) -> Instant {
        within(bound, "somebody comes", || self.0.accept().ok());
        Instant::now()
    }

    fn nobody_came(&self) -> bool {
        self.0.accept().is_err()
    }
}

/// How the tunnel `web` stands, as every page sees it.
fn listed(agent: &Agent) -> Value {
    let (status, all) = ask(agent, "GET", "/tunnels/status", &Value::Null);
    assert_eq!(status, 200);
    all[0].clone()
}

/// An agent whose tunnel `web` is up and has no bound to its retries; and the tunnel's port.
fn with_web(sshd: &Sshd, service: &HttpService) -> (Agent, u16) {
    let (agent, port) = (Agent::start(), free_port());
    add_profile(&agent, sshd);
    let spec = format!("-L {port}:127.0.0.1:{} --max-retries 0", service.port());
    agent.ok(&format!("tunnel add web --via 127.0.0.1:{} --profile me {spec}", sshd.port()));
    agent.ok(&format!("tunnel start web --accept-host-key {}", sshd.fingerprint()));
    (agent, port)
}

#[test]
fn the_pauses_are_those_that_are_promised() {
    let Some(mut sshd) = Sshd::start() else { return };
    let service = HttpService::start("back");
    let (agent, port) = with_web(&sshd, &service);
    let pauses: &[u64] = if long_runs_wanted() { &[1, 2, 4, 8, 16, 32, 60] } else { &[1, 2, 4, 8, 16] };
    sshd.kill();
    let gate = Gate::at(sshd.port());
    let mut last = Instant::now();
    for (number, pause) in pauses.iter().enumerate() {
        eventually(AT_ONCE, "it is listed, with the number of the retry", || {
            let row = listed(&agent);
            row["status"] == "reconnecting" && row["retry_count"] == number + 1 && row["last_error"].is_string()
        });
        let pause = Duration::from_secs(*pause);
        let now = gate.next(pause + AT_ONCE);
        let measured = now - last;
        eprintln!("a pause of {measured:?}");
        // A login and a look of ours may fall on either side.
        let early = Duration::from_millis(100);
        assert!(measured + early >= pause && measured < pause + AT_ONCE, "{measured:?} instead of {pause:?}");
        last = now;
    }
    drop(gate);
    sshd.start_again();
    // Somebody does not want to wait for the rest.
    agent.ok("tunnel reconnect web");
    assert_eq!(curl(&[&format!("http://127.0.0.1:{port}/")]).stdout, "back");
    let row = listed(&agent);
    assert_eq!(
        (&row["status"], &row["retry_count"], &row["last_error"]),
        (&json!("connected"), &json!(0), &Value::Null)
    );
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "one fresh connection");
}

/// Longer than the agent takes to say that nobody looked: its pace and its tolerance, of 5 s each.
const NAP: Duration = Duration::from_secs(12);

/// "Reconnect on wake." For the agent a stopped process and a closed lid are one: time went by and nobody looked.
#[test]
fn who_slept_does_not_wait_for_the_rest_of_a_pause() {
    let Some(mut sshd) = Sshd::start() else { return };
    let service = HttpService::start("awake");
    let (agent, _port) = with_web(&sshd, &service);
    sshd.kill();
    let gate = Gate::at(sshd.port());
    for pause in [1, 2, 4, 8] {
        gate.next(Duration::from_secs(pause) + AT_ONCE);
    }
    // Somebody who falls asleep during a try has no pause yet.
    eventually(AT_ONCE, "the fifth pause has begun", || listed(&agent)["retry_count"] == 5);
    let pause_began = Instant::now();
    agent.running().freeze();
    remains(NAP, "nobody comes", || gate.nobody_came());
    agent.running().thaw();
    gate.next(2 * AT_ONCE);
    assert!(
        pause_began.elapsed() < Duration::from_secs(15),
        "the pause of 16 s is not over: {:?}",
        pause_began.elapsed()
    );
    agent.running().await_stderr(SOON, "the machine was asleep");
}

/// From one probe to the next, and the time-out of one.
const PROBE: Duration = Duration::from_secs(30);
const VERDICT: Duration = Duration::from_secs(10);

/// An account that may do nothing but forward is probed like any other, refuses or ends what it is asked for, and lives. So does one at
/// our jump host.
#[test]
fn accounts_that_refuse_a_probe_stay_connected() {
    let seen = "LogLevel DEBUG1";
    let servers = [
        Sshd::start_with(&format!("{seen}\nMaxSessions 0")),
        Sshd::start_with(&format!("{seen}\nForceCommand /bin/false")),
        Sshd::start_with(seen),
    ];
    let [Some(sessionless), Some(forced), Some(restricted)] = &servers else { return };
    let authorized = restricted.key().with_file_name("authorized_keys");
    let key = fs::read_to_string(&authorized).unwrap();
    fs::write(&authorized, format!("restrict,port-forwarding {key}")).unwrap();
    let (agent, service, host) = (Agent::start(), HttpService::start("through"), JumpHost::start());
    assert_eq!(ask(&agent, "PUT", "/settings", &json!({"host_key_policy": "accept-new"})).0, 200);
    let mut urls = Vec::new();
    for (number, sshd) in [sessionless, forced, restricted].into_iter().enumerate() {
        let port = free_port();
        agent.ok(&format!("profile add p{number} --user {} --key {}", me(), sshd.key().display()));
        let spec = format!("-L {port}:127.0.0.1:{} --no-reconnect", service.port());
        agent.ok(&format!("tunnel add t{number} --via 127.0.0.1:{} --profile p{number} {spec}", sshd.port()));
        urls.push(format!("http://127.0.0.1:{port}/"));
    }
    let alice = host.member("alice");
    agent.ok(&format!("profile add alice --user tunnel --key {}", alice.key.display()));
    let spec = format!("-R 10080:localhost:{} --no-reconnect", service.port());
    agent.ok(&format!("tunnel add t3 --via {} --profile alice {spec}", host.ssh()));
    urls.push(format!("http://{}/", host.forwarded(10080)));
    agent.ok("tunnel start all");

    let probes = |sshd: &Sshd| sshd.log().matches("server_input_channel_open: ctype session").count();
    let up = || {
        let (_, all) = ask(&agent, "GET", "/tunnels/status", &Value::Null);
        let rows = all.as_array().unwrap();
        rows.iter().filter(|row| row["status"] == "connected").count() == 4
    };
    assert!(up());
    eventually(PROBE + 2 * AT_ONCE, "each was probed", || {
        [sessionless, forced, restricted].into_iter().all(|sshd| probes(sshd) >= 1)
    });
    remains(VERDICT + AT_ONCE, "all of them live", up);
    for url in &urls {
        assert_eq!(curl(&[url]).stdout, "through", "{url}");
    }
    for sshd in [sessionless, forced, restricted] {
        assert_eq!((probes(sshd), sshd.log().matches("Accepted publickey").count()), (1, 1), "{}", sshd.log());
        for asked in ["Starting session", "session_pty_req", "channel 0: request"] {
            assert!(!sshd.log().contains(asked), "{asked}: {}", sshd.log());
        }
    }
    assert_eq!(host.sessions().len(), 1);
}
