//! A shared connection (`-M`) whose forwards come and go while it runs (lines 10 and 14).

use std::time::Duration;

use adit_e2e::{
    EchoService, HttpService, JumpHost, Member, OpenSsh, ServiceAddress, asks_and_hears, http_get, remains,
};

use crate::SOON;

fn control(host: &JumpHost, member: &Member, order: &str, forward: Option<&str>) -> adit_e2e::Finished {
    let ssh = OpenSsh::new(host, member).through(&host.folder().join("master")).args(["-O", order]);
    match forward {
        None => ssh.run(SOON),
        Some(spec) => ssh.forward_spec(spec).run(SOON),
    }
}

#[test]
fn forwards_are_added_and_cancelled_in_a_running_connection() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let (first, second) = (EchoService::start(), HttpService::start("added later"));
    let socket = host.folder().join("master");
    let mut master = OpenSsh::new(&host, &alice).no_session().master(&socket).forward(10080, first.port()).spawn();
    host.await_port(10080);

    assert_eq!(control(&host, &alice, "check", None).code(), 0);
    let later = format!("*:10081:localhost:{}", second.port());
    let added = control(&host, &alice, "forward", Some(&later));
    assert_eq!(added.code(), 0, "{added:?}");
    assert_eq!(http_get(host.forwarded(10081), "jump", "/", SOON).unwrap().body, "added later");

    let cancelled = control(&host, &alice, "cancel", Some(&later));
    assert_eq!(cancelled.code(), 0, "{cancelled:?}");
    host.await_port_free(10081, Duration::from_secs(1));
    assert!(asks_and_hears(host.forwarded(10080), "hello", SOON), "the other forward serves on");

    // What was cancelled can be had again, in the same session or another.
    assert_eq!(control(&host, &alice, "forward", Some(&later)).code(), 0);
    assert_eq!(http_get(host.forwarded(10081), "jump", "/", SOON).unwrap().body, "added later");

    assert_eq!(control(&host, &alice, "exit", None).code(), 0);
    master.wait_exit(SOON);
    host.await_port_free(10080, Duration::from_secs(1));
    host.await_port_free(10081, Duration::from_secs(1));
}

#[test]
fn a_forward_refused_later_is_told_and_harms_nothing() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let socket = host.folder().join("master");
    let _master = OpenSsh::new(&host, &alice).no_session().master(&socket).forward(10080, echo.port()).spawn();
    host.await_port(10080);
    let refused = control(&host, &alice, "forward", Some("9999:localhost:9"));
    assert_eq!(refused.code(), 255, "{refused:?}");
    assert!(refused.stderr.contains("remote port forwarding failed for listen port 9999"), "{refused:?}");
    assert!(asks_and_hears(host.forwarded(10080), "hello", SOON));
}

/// Line 10: cancelled with the original address and the allocated port.
#[test]
fn an_allocated_port_is_cancelled() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let socket = host.folder().join("master");
    let _master = OpenSsh::new(&host, &alice).no_session().master(&socket).forward(10080, 9).spawn();
    host.await_port(10080);
    let spec = format!("0:localhost:{}", echo.port());
    let added = control(&host, &alice, "forward", Some(&spec));
    let port: u16 = added.stdout.trim().parse().unwrap_or_else(|_| panic!("ssh prints the port: {added:?}"));
    assert!(asks_and_hears(host.forwarded(port), "hello", SOON));
    let cancelled = control(&host, &alice, "cancel", Some(&spec));
    assert_eq!(cancelled.code(), 0, "{cancelled:?}");
    host.await_port_free(port, Duration::from_secs(1));
}

/// A cancelled forward takes no new visitors; those inside may finish, as with sshd.
#[test]
fn visitors_inside_outlive_a_cancelled_forward() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let socket = host.folder().join("master");
    let spec = format!("10080:localhost:{}", echo.port());
    let _master = OpenSsh::new(&host, &alice).no_session().master(&socket).forward_spec(&spec).spawn();
    host.await_port(10080);
    let mut inside = std::net::TcpStream::connect(host.forwarded(10080)).unwrap();
    inside.set_read_timeout(Some(SOON)).unwrap();
    let mut ask = |text: &[u8]| {
        std::io::Write::write_all(&mut inside, text).unwrap();
        let mut echoed = vec![0; text.len()];
        std::io::Read::read_exact(&mut inside, &mut echoed).unwrap();
        assert_eq!(echoed, text);
    };
    ask(b"before");
    assert_eq!(control(&host, &alice, "cancel", Some(&spec)).code(), 0);
    host.await_port_free(10080, Duration::from_secs(1));
    ask(b"after");
    remains(Duration::from_millis(100), "the port stays closed", || !host.listens_on(10080));
}
