//! What the agent makes of the network of its machine (`spec/agent.md`, "beyond the seed").

use std::time::Duration;

use adit_e2e::{HttpService, JumpHost, Netns, Running, ServiceAddress, adit_inside, eventually, http_get};

use crate::SOON;

/// 10 s until a dead connection is noticed, and pauses of 1, 2, 4 and 8 s.
const FOUR_RETRIES: Duration = Duration::from_secs(60);

/// The fifth pause is of 16 s; noticing takes one, and the login what a login takes.
const AT_ONCE: Duration = Duration::from_secs(8);

/// A laptop whose cable is pulled for a while is not left waiting for the rest of a pause.
#[test]
fn a_cable_that_is_put_back_ends_the_wait() {
    let (Some(mesh), Some(home)) = (Netns::make(), Netns::make()) else { return };
    let cable = home.join("10.77.1.2", &mesh, "10.77.1.1");
    let host = JumpHost::builder().inside(&mesh, "0.0.0.0:2222", "127.0.0.1").start();
    let alice = host.member("alice");
    let page = home.inside(|| HttpService::start("at home"));
    let data = tempfile::tempdir().unwrap();
    let mut share = adit_inside(&home, "share");
    share.env("HOME", data.path()).env_remove("SSH_AUTH_SOCK").env("ADIT_LOG", "info").arg("--data").arg(data.path());
    share.args(["--via", "10.77.1.1:2222", "--host-keys", "accept-new", "--port", "10080", "--key"]).arg(&alice.key);
    let share = Running::spawn(share.arg(page.port().to_string()));
    let visit = || mesh.inside(|| http_get(host.forwarded(10080), "jump", "/", Duration::from_millis(500)));
    host.await_port(10080);
    assert_eq!(visit().map(|answer| answer.body).as_deref(), Some("at home"));

    cable.pull();
    // Each retry is told when its pause begins and when it is made.
    eventually(FOUR_RETRIES, "the fifth pause begins", || {
        share.stderr().matches("status=\"reconnecting\"").count() >= 9
    });
    cable.put_back();
    let back = eventually(AT_ONCE, "the page is there again", || visit().is_some());
    eprintln!("back after {back:?}");
    share.await_stderr(SOON, "the network of this machine changed");
}
