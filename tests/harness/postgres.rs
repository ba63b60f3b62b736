//! PostgreSQL, as the private service of someone who shares a database.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Finished, Running, finish};
use crate::services::ServiceAddress;
use crate::tools::require;
use crate::wait::eventually;

/// Making a cluster takes some seconds, on a busy machine some more.
const INITDB: Duration = Duration::from_secs(60);
/// A table of some megabytes, twice, on a busy machine.
const QUERY: Duration = Duration::from_secs(60);

/// A cluster of its own on a loopback port. Its only user is `postgres`, who needs no password.
pub struct Postgres {
    _server: Running,
    psql: PathBuf,
    pgbench: PathBuf,
    port: u16,
    folder: TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it; `None` where `ADIT_E2E_SKIP` excuses one of its programs.
    pub fn start() -> Option<Postgres> {
        let (initdb, postgres) = (require("initdb")?, require("postgres")?);
        let (psql, pgbench) = (require("psql")?, require("pgbench")?);
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let owner = owner();
        if let Some((user, group)) = owner {
            for path in [folder.path(), &data] {
                chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let as_owner = |program: PathBuf| {
            let mut command = Command::new(program);
            command.current_dir(folder.path());
            if let Some((user, group)) = owner {
                command.uid(user).gid(group);
            }
            command
        };
        let mut make = as_owner(initdb);
        make.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        let made = finish(make.arg(&data), INITDB);
        assert_eq!(made.code(), 0, "initdb: {made:?}");

        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut serve = as_owner(postgres);
        serve.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        // It goes with the test, so nothing has to reach the disk.
        serve.args(["-c", "unix_socket_directories=", "-c", "fsync=off"]);
        let server = Running::spawn(&mut serve);
        let started = || {
            let listening = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            listening && server.stderr().contains("ready to accept connections")
        };
        eventually(Duration::from_secs(20), "PostgreSQL is ready", started);
        Some(Postgres { _server: server, psql, pgbench, port, folder })
    }

    /// Runs SQL and `\copy` lines through another address, each in turn, in a folder where files may be left; the rows come
    /// bare.
    pub fn psql_via(&self, address: SocketAddr, lines: &[&str]) -> Finished {
        let mut command = self.client(&self.psql, address);
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        for line in lines {
            command.args(["--command", line]);
        }
        finish(&mut command, QUERY)
    }

    /// Runs `pgbench words…` through another address.
    pub fn pgbench_via(&self, address: SocketAddr, words: &[&str]) -> Finished {
        finish(self.client(&self.pgbench, address).args(words), QUERY)
    }

    fn client(&self, program: &PathBuf, address: SocketAddr) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path());
        command.env("PGHOST", address.ip().to_string()).env("PGPORT", address.port().to_string());
        command.env("PGUSER", "postgres").env("PGDATABASE", "postgres").env("PGPASSFILE", "/dev/null");
        command
    }
}

impl ServiceAddress for Postgres {
    fn port(&self) -> u16 {
        self.port
    }
}

/// PostgreSQL refuses to run as root, so then it runs as the user that Debian's package makes for it.
fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let number = |flag: &str| {
        let told = finish(Command::new("id").args([flag, "postgres"]), Duration::from_secs(10));
        told.stdout.trim().parse().unwrap_or_else(|_| panic!("there is no user postgres: {told:?}"))
    };
    Some((number("-u"), number("-g")))
}
