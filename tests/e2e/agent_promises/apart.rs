//! Lines 1 to 4, 7 and 8: a machine without `ssh`, without a home and without a name server, and what leaves it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use adit_e2e::{Finished, HttpService, Netns, Running, ServiceAddress, adit_as, eventually, finish, http_get, within};
use serde_json::Value;
use tempfile::TempDir;

use super::bastion::Bastion;
use super::me;
use crate::SOON;
use crate::free_port::free_port;

const FAR: Ipv4Addr = Ipv4Addr::new(10, 78, 1, 1);
/// A name that stands in the bastion's `/etc/hosts`, and nowhere else.
const INTRANET: &str = "intranet.bastion.test";

/// Counts what leaves for anywhere else than the SSH server, and lets none of it out.
const WATCH: &str = "add table inet watch; \
    add counter inet watch ssh; add counter inet watch other; \
    add chain inet watch out { type filter hook output priority 0; policy accept; }; \
    add rule inet watch out oif lo accept; \
    add rule inet watch out ip daddr 10.78.1.1 tcp dport 2222 counter name ssh accept; \
    add rule inet watch out meta l4proto { tcp, udp, sctp, icmp } counter name other drop";

/// A machine apart, whose programs see no environment: no PATH, no HOME.
struct Machine {
    netns: Netns,
    data: TempDir,
}

impl Machine {
    fn command(&self, role: &str, words: &[&str]) -> Command {
        let mut command = self.netns.command("env");
        command.args(["-i", "PATH="]).arg(adit_as(role).get_program()).arg(role).args(words);
        command.arg("--data").arg(self.data.path().join("data"));
        command
    }

    #[track_caller]
    fn ok(&self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let finished = finish(&mut self.command(words[0], &words[1..]), 2 * SOON);
        assert_eq!(finished.code(), 0, "{line}: {finished:?}");
        finished.stdout
    }

    fn curl(&self, words: &[&str]) -> Finished {
        finish(self.netns.command("curl").args(["-s", "--noproxy", "", "--max-time", "5"]).args(words), 2 * SOON)
    }

    /// How many packets left, by counter.
    fn packets(&self, counter: &str) -> u64 {
        let told = finish(self.netns.command("nft").args(["-j", "list", "counter", "inet", "watch", counter]), SOON);
        let told: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
        let found = told["nftables"].as_array().unwrap().iter().find_map(|row| row["counter"]["packets"].as_u64());
        found.unwrap_or_else(|| panic!("{told}"))
    }
}

/// The local addresses on which a process' network has listeners, as the kernel writes them.
fn listeners(pid: u32) -> Vec<String> {
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        let rows = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap();
        let fields = rows.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
        // 0A: it listens.
        found.extend(fields.filter(|row| row[3] == "0A").map(|row| row[1].split(':').next().unwrap().to_owned()));
    }
    found
}

#[test]
fn nothing_leaves_but_the_ssh_connection_and_the_bastion_knows_the_names() {
    let (Some(netns), Some(far)) = (Netns::make(), Netns::make()) else { return };
    netns.join("10.78.1.2", &far, &FAR.to_string());
    // Where questions about names would go, and everything else.
    netns.write_etc("resolv.conf", &format!("nameserver {FAR}\n"));
    netns.write_etc("hosts", "127.0.0.1 localhost\n");
    far.write_etc("hosts", &format!("127.0.0.1 localhost {INTRANET}\n"));
    let route = ["route", "add", "default", "via", &FAR.to_string()];
    assert_eq!(finish(netns.command("ip").args(route), SOON).code(), 0);
    let watched = finish(netns.command("nft").arg(WATCH), SOON);
    assert_eq!(watched.code(), 0, "{watched:?}");
    let Some(bastion) = Bastion::inside(&far, FAR) else { return };
    let Some(inner) = Bastion::inside(&far, Ipv4Addr::LOCALHOST) else { return };
    let intranet = far.inside(|| HttpService::start("only the bastion knows"));
    let here = netns.inside(|| HttpService::start("from here"));

    let machine = Machine { netns, data: tempfile::tempdir().unwrap() };
    let mut agent = Running::spawn(&mut machine.command("agent", &["--listen", "127.0.0.1:0"]));
    within(SOON, "the agent answers", || {
        assert!(agent.is_running(), "{}", agent.stderr());
        machine.data.path().join("data/addresses.json").exists().then_some(())
    });
    let (web, socks, deep, remote) = (free_port(), free_port(), free_port(), free_port());
    machine.ok(&format!("profile add me --user {} --key {}", me(), bastion.key().display()));
    let via = format!("--via {}:{} --profile me", bastion.ip(), bastion.port());
    machine.ok(&format!("tunnel add web {via} -L {web}:{INTRANET}:{}", intranet.port()));
    machine.ok(&format!("tunnel add socks {via} -D {socks}"));
    machine.ok(&format!("tunnel add back {via} -R {remote}:localhost:{}", here.port()));
    let up = machine.ok(&format!("tunnel start web --accept-host-key {}", bastion.fingerprint()));
    assert!(up.contains(&format!("L :{web} → {INTRANET}:{}", intranet.port())), "{up}");
    // A server that the bastion alone can name and reach, with another key.
    machine.ok(&format!("profile add inner --user {} --key {}", me(), inner.key().display()));
    machine.ok(&format!("jump add edge --host {}:{} --profile me", bastion.ip(), bastion.port()));
    let spec = format!("-L {deep}:127.0.0.1:{}", intranet.port());
    machine.ok(&format!("tunnel add deep --via {INTRANET}:{} --profile inner --jump edge {spec}", inner.port()));
    machine.ok(&format!("tunnel start deep --accept-host-key {}", inner.fingerprint()));
    let up = machine.ok("tunnel start all") + &machine.ok("tunnel list");
    for spec in [format!("D :{socks} SOCKS5"), format!("R :{remote} → localhost:{}", here.port())] {
        assert!(up.contains(&spec), "{spec}: {up}");
    }

    let url = format!("http://{INTRANET}:{}/", intranet.port());
    assert_eq!(machine.curl(&[&format!("http://127.0.0.1:{web}/")]).stdout, "only the bastion knows");
    assert_eq!(machine.curl(&[&format!("http://127.0.0.1:{deep}/")]).stdout, "only the bastion knows");
    let proxy = format!("socks5h://127.0.0.1:{socks}");
    assert_eq!(machine.curl(&["--proxy", &proxy, &url]).stdout, "only the bastion knows");
    let visit = || http_get(SocketAddr::from((Ipv4Addr::LOCALHOST, remote)), "far", "/", SOON);
    assert_eq!(far.inside(visit).map(|answer| answer.body).as_deref(), Some("from here"));
    let refused = machine.curl(&["--proxy", &proxy, "http://nowhere.bastion.test/"]);
    assert_ne!(refused.code(), 0, "there is no such name: {refused:?}");
    // The last hop is a channel that the server connects, by the name it was given.
    let channel = format!("target {INTRANET} port {}", intranet.port());
    assert_eq!(bastion.log().matches(&channel).count(), 2, "{}", bastion.log());
    for server in [&bastion, &inner] {
        assert_eq!(server.log().matches("Accepted publickey").count(), 1, "{}", server.log());
    }

    let all = listeners(agent.pid());
    assert!(all.len() >= 4 && all.iter().all(|address| address == "0100007F"), "{all:?}");
    assert!(machine.packets("ssh") > 20);
    assert_eq!(machine.packets("other"), 0, "something else left the machine");
    // Who asks for the name here is heard: the counter does count.
    machine.curl(&[&url]);
    eventually(SOON, "the question about the name is counted", || machine.packets("other") > 0);
}
