//! What a desktop session has and a server lacks: a D-Bus of its own, and GNOME Keyring on it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Running, finish};
use crate::tools::require;
use crate::wait::eventually;

/// A bus is up at once; a keyring asks it first.
const START: Duration = Duration::from_secs(15);

/// What the person types when they log in.
const PASSWORD: &str = "the password of the desktop";

/// A bus that starts nothing by itself, so that what runs on it is what a test says.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=BUS_SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;

/// A person's desktop session, in a home of its own. It ends with the test.
pub struct Desktop {
    // Before the bus, and all before their files.
    keyring: Option<Running>,
    _bus: Running,
    folder: TempDir,
}

impl Desktop {
    /// Starts one whose person has logged in, so that its keyring is open; `None` where `ADIT_E2E_SKIP` excuses one of its programs.
    pub fn start() -> Option<Desktop> {
        let (bus, _, _) = (require("dbus-daemon")?, require("dbus-send")?, require("gnome-keyring-daemon")?);
        let folder = tempfile::tempdir().unwrap();
        let (socket, configuration) = (folder.path().join("bus"), folder.path().join("bus.conf"));
        fs::write(&configuration, BUS.replace("BUS_SOCKET", socket.to_str().unwrap())).unwrap();
        let mut command = Command::new(bus);
        command.args(["--nofork", "--nopidfile"]);
        let bus = Running::spawn(command.arg(format!("--config-file={}", configuration.display())));
        eventually(START, "the bus is there", || socket.exists());
        let mut desktop = Desktop { keyring: None, _bus: bus, folder };
        desktop.log_in();
        Some(desktop)
    }

    /// What makes a program belong to this session.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let folder = self.folder.path().display();
        vec![("XDG_RUNTIME_DIR", folder.to_string()), ("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={folder}/bus"))]
    }

    /// The person logs in: the keyring is there, and open.
    pub fn log_in(&mut self) {
        self.run_keyring(&["--unlock"]);
        let keyring = self.keyrings().join("login.keyring");
        eventually(START, "the keyring is open", || keyring.exists());
    }

    /// The keyring is there, and locked: it was started by something else than a login.
    pub fn lock(&mut self) {
        self.run_keyring(&[]);
    }

    /// The person logs out: the keyring is gone.
    pub fn log_out(&mut self) {
        drop(self.keyring.take());
    }

    fn run_keyring(&mut self, flags: &[&str]) {
        self.log_out();
        let mut command = Command::new("gnome-keyring-daemon");
        command.args(["--foreground", "--components=secrets"]).args(flags).envs(self.environment());
        // Nobody is to be asked in a window.
        command
            .env("HOME", self.folder.path())
            .env_remove("XDG_DATA_HOME")
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY");
        let mut running = Running::spawn(&mut command);
        running.type_in(PASSWORD.as_bytes());
        running.close_stdin();
        self.keyring = Some(running);
        eventually(START, "the keyring is on the bus", || self.is_on_bus("org.freedesktop.secrets"));
    }

    fn is_on_bus(&self, name: &str) -> bool {
        let mut command = Command::new("dbus-send");
        command.args(["--session", "--print-reply", "--dest=org.freedesktop.DBus", "/"]);
        command.args(["org.freedesktop.DBus.NameHasOwner", &format!("string:{name}")]).envs(self.environment());
        finish(&mut command, START).stdout.contains("boolean true")
    }

    /// Everything that its keyring has written, which is to hold no secret of ours in the clear.
    pub fn keyring_files(&self) -> Vec<u8> {
        fs::read_dir(self.keyrings()).unwrap().flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
    }

    fn keyrings(&self) -> PathBuf {
        self.folder.path().join(".local/share/keyrings")
    }
}
