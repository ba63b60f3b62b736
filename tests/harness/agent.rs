//! The local agent under test: the real binary on a data folder of its own, in an empty home, and commands that talk to it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::desktop::Desktop;
use crate::jump_host::adit_as;
use crate::process::{Finished, Running, finish};
use crate::wait::within;

/// From the start of the program to `addresses.json`; generous, because a debug build starts beside other tests.
const START: Duration = Duration::from_secs(15);
/// How long a command may take; a login with an encrypted key is among them.
const COMMAND: Duration = Duration::from_secs(30);
/// A stopped agent says goodbye and is gone.
const STOP: Duration = Duration::from_secs(15);

/// An agent. Dropping it ends it and removes its home.
pub struct Agent {
    // Before the home, so that the program ends first; `None` while it does not run.
    running: Option<Running>,
    home: TempDir,
    url: String,
    /// The desktop session it belongs to. By default there is none, as on a server: never that of whoever runs the tests.
    session: Vec<(&'static str, String)>,
}

impl Agent {
    /// Starts one with all defaults, but on a free port.
    pub fn start() -> Agent {
        Self::start_with(vec![("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere".to_owned())])
    }

    /// Starts one that belongs to a desktop session.
    pub fn start_on(desktop: &Desktop) -> Agent {
        Self::start_with(desktop.environment())
    }

    fn start_with(session: Vec<(&'static str, String)>) -> Agent {
        let mut agent = Agent { running: None, home: tempfile::tempdir().unwrap(), url: String::new(), session };
        agent.start_again();
        agent
    }

    /// Starts it again on the same folder.
    pub fn start_again(&mut self) {
        self.start_as(&[]);
    }

    /// The same, with these flags.
    pub fn start_as(&mut self, flags: &[&str]) {
        let mut command = self.command("agent", ["--listen", "127.0.0.1:0"]);
        self.watch(Running::spawn(command.args(flags)));
    }

    /// From a terminal of its own, at which `answer` is typed when `question` is asked.
    pub fn start_on_terminal(&mut self, question: &str, answer: &str) {
        let mut running = Running::spawn_on_terminal(&mut self.command("agent", ["--listen", "127.0.0.1:0"]));
        running.await_stderr(START, question);
        running.type_in(format!("{answer}\n").as_bytes());
        self.watch(running);
    }

    fn watch(&mut self, mut running: Running) {
        assert!(self.running.is_none(), "stop it first");
        let file = self.data().join("addresses.json");
        self.url = within(START, "the agent says where it answers", || {
            assert!(running.is_running(), "the agent ended at once:\n{}{}", running.stdout(), running.stderr());
            let addresses: Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
            (addresses["pid"] == running.pid()).then(|| addresses["url"].as_str().unwrap().to_owned())
        });
        self.running = Some(running);
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub fn stop(&mut self) -> Finished {
        let mut running = self.running.take().expect("the agent runs");
        running.signal(Signal::TERM);
        running.wait_exit(STOP)
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.running.take().expect("the agent runs").kill();
    }

    /// The program.
    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("the agent runs")
    }

    /// What it has printed and logged since it last started.
    pub fn log(&self) -> String {
        format!("{}{}", self.running().stdout(), self.running().stderr())
    }

    /// Where its API answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What programs show.
    pub fn token(&self) -> String {
        fs::read_to_string(self.data().join("token")).unwrap().trim_end().to_owned()
    }

    /// An empty home, but for what a test puts there.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// `adit ROLE words… --data DATA`
    pub fn command<I: IntoIterator<Item: AsRef<OsStr>>>(&self, role: &str, words: I) -> Command {
        let mut command = adit_as(role);
        command.args(words).arg("--data").arg(self.data());
        command.env("HOME", self.home()).env_remove("SSH_AUTH_SOCK").current_dir(self.home());
        command.envs(self.session.iter().cloned());
        command
    }

    /// Runs a command, whose words have blanks between them, to its end.
    pub fn adit(&self, line: &str) -> Finished {
        let (role, words) = line.split_once(' ').expect("a role and more");
        finish(&mut self.command(role, words.split(' ')), COMMAND)
    }

    /// The same, with a line on its standard input.
    pub fn adit_with_input(&self, line: &str, input: &str) -> Finished {
        let (role, words) = line.split_once(' ').expect("a role and more");
        let mut running = Running::spawn(&mut self.command(role, words.split(' ')));
        running.type_in(format!("{input}\n").as_bytes());
        running.close_stdin();
        running.wait_exit(COMMAND)
    }

    /// Runs a command that must succeed, and returns what it printed.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        let finished = self.adit(line);
        assert!(finished.status.success(), "{line}: {finished:?}");
        finished.stdout
    }

    /// The same with `--json`.
    #[track_caller]
    pub fn json(&self, line: &str) -> Value {
        let text = self.ok(&format!("{line} --json"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line} --json printed {text:?}: {error}"))
    }

    /// How a tunnel stands.
    #[track_caller]
    pub fn status(&self, tunnel: &str) -> String {
        self.json(&format!("tunnel show {tunnel}"))["status"].as_str().unwrap().to_owned()
    }

    /// Asks its API with `curl`, which brings `token`: the status, and the body.
    pub fn curl(&self, token: &str, words: &[&str], path: &str) -> (u16, String) {
        let mut command = Command::new("curl");
        command.args([
            "-s",
            "--max-time",
            "10",
            "-w",
            "\n%{http_code}",
            "-H",
            &format!("Authorization: Bearer {token}"),
        ]);
        command.args(words).arg(format!("{}{path}", self.url));
        let told = finish(&mut command, COMMAND);
        let (body, status) = told.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("curl: {told:?}"));
        (status.parse().unwrap(), body.to_owned())
    }
}

impl Drop for Agent {
    /// No peer may make the program panic, not even in a task that nobody waits for: then the test has failed too.
    fn drop(&mut self) {
        let Some(running) = self.running.take().filter(|_| !std::thread::panicking()) else { return };
        let log = format!("{}{}", running.stdout(), running.stderr());
        drop(running);
        assert!(!log.contains("panicked at"), "the agent panicked:\n{log}");
    }
}
