//! A shared connection (`-M`) whose forwards come and go while it runs (lines 10 and 14).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use adit_e2e::{EchoService, Finished, HttpService, ServiceAddress, Share, asks_and_hears, http_get, remains};

use crate::SOON;

/// `ssh -O order`, about a forward or the whole connection.
fn control(share: &Share<EchoService>, order: &str, forward: Option<&str>) -> Finished {
    let ssh = share.through_master().args(["-O", order]);
    match forward {
        None => ssh.run(SOON),
        Some(spec) => ssh.forward_spec(spec).run(SOON),
    }
}

#[test]
fn forwards_are_added_and_cancelled_in_a_running_connection() {
    let (mut share, second) = (Share::by_master(EchoService::start()), HttpService::start("added later"));
    assert_eq!(control(&share, "check", None).code(), 0);
    let later = format!("*:10081:localhost:{}", second.port());
    let added = control(&share, "forward", Some(&later));
    assert_eq!(added.code(), 0, "{added:?}");
    assert_eq!(http_get(share.host.forwarded(10081), "jump", "/", SOON).unwrap().body, "added later");

    let cancelled = control(&share, "cancel", Some(&later));
    assert_eq!(cancelled.code(), 0, "{cancelled:?}");
    share.host.await_port_free(10081, Duration::from_secs(1));
    assert!(asks_and_hears(share.address(), "hello", SOON), "the other forward serves on");

    // What was cancelled can be had again, in the same session or another.
    assert_eq!(control(&share, "forward", Some(&later)).code(), 0);
    assert_eq!(http_get(share.host.forwarded(10081), "jump", "/", SOON).unwrap().body, "added later");

    assert_eq!(control(&share, "exit", None).code(), 0);
    share.tunnel.wait_exit(SOON);
    share.host.await_port_free(10080, Duration::from_secs(1));
    share.host.await_port_free(10081, Duration::from_secs(1));
}

#[test]
fn a_forward_refused_later_is_told_and_harms_nothing() {
    let share = Share::by_master(EchoService::start());
    let refused = control(&share, "forward", Some("9999:localhost:9"));
    assert_eq!(refused.code(), 255, "{refused:?}");
    assert!(refused.stderr.contains("remote port forwarding failed for listen port 9999"), "{refused:?}");
    assert!(asks_and_hears(share.address(), "hello", SOON));
}

/// Line 10: cancelled with the original address and the allocated port.
#[test]
fn an_allocated_port_is_cancelled() {
    let share = Share::by_master(EchoService::start());
    let spec = format!("0:localhost:{}", share.service.port());
    let added = control(&share, "forward", Some(&spec));
    let port: u16 = added.stdout.trim().parse().unwrap_or_else(|_| panic!("ssh prints the port: {added:?}"));
    assert!(asks_and_hears(share.host.forwarded(port), "hello", SOON));
    let cancelled = control(&share, "cancel", Some(&spec));
    assert_eq!(cancelled.code(), 0, "{cancelled:?}");
    share.host.await_port_free(port, Duration::from_secs(1));
}

/// A cancelled forward takes no new visitors; those inside may finish, as with sshd.
#[test]
fn visitors_inside_outlive_a_cancelled_forward() {
    let share = Share::by_master(EchoService::start());
    let mut inside = TcpStream::connect(share.address()).unwrap();
    inside.set_read_timeout(Some(SOON)).unwrap();
    let mut ask = |text: &[u8]| {
        inside.write_all(text).unwrap();
        let mut echoed = vec![0; text.len()];
        inside.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, text);
    };
    ask(b"before");
    let spec = format!("10080:localhost:{}", share.service.port());
    assert_eq!(control(&share, "cancel", Some(&spec)).code(), 0);
    share.host.await_port_free(10080, Duration::from_secs(1));
    ask(b"after");
    remains(Duration::from_millis(100), "the port stays closed", || !share.host.listens_on(10080));
}
