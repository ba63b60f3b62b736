//! A program under watch: its output is captured, its exit awaited with a bound, and it never outlives its test.

use std::fs;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::wait::{eventually, settles, within};

/// A running program whose output is captured from its first byte.
///
/// Dropping it ends the program: first politely, so that autossh takes its `ssh` along, then for certain.
pub struct Running {
    name: String,
    child: Child,
    stdin: Option<File>,
    stdout: Captured,
    stderr: Captured,
}

/// How a program ended and what it had said by then.
#[derive(Debug)]
pub struct Finished {
    /// The exit status; see [`Finished::code`].
    pub status: ExitStatus,
    /// Everything it wrote to standard output.
    pub stdout: String,
    /// Everything it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code; a program that a signal ended has none and fails the test.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }
}

impl Running {
    /// Starts `command` with a pipe as its standard input, which stays open until [`Running::close_stdin`].
    pub fn spawn(command: &mut Command) -> Running {
        let name = describe(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdin = child.stdin.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let stdout = Captured::from(child.stdout.take().unwrap());
        let stderr = Captured::from(child.stderr.take().unwrap());
        Running { name, child, stdin, stdout, stderr }
    }

    /// Starts `command` on a terminal of its own; what it writes there is [`Running::stdout`], with its `\r\n`.
    pub fn spawn_on_terminal(command: &mut Command) -> Running {
        let name = describe(command);
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let path = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let far_end = File::options().read(true).write(true).open(&path).unwrap();
        command.stdin(far_end.try_clone().unwrap()).stdout(far_end).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        // The builder keeps the far end open, and with it the terminal; it must not.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let terminal = File::from(terminal);
        let stdout = Captured::from(terminal.try_clone().unwrap());
        let stderr = Captured::from(child.stderr.take().unwrap());
        Running { name, child, stdin: Some(terminal), stdout, stderr }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        descriptors(self.pid())
    }

    /// Its memory without files, in bytes.
    pub fn memory(&self) -> u64 {
        memory(self.pid())
    }

    /// How much processor time it has used, in user and in system mode.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // Behind the program's name, which may have blanks in it, utime and stime are fields 12 and 13 (proc(5)).
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// Stops the process where it stands: its sockets stay open and nobody reads them.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends the process as a power cut would, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Types `bytes` into the program.
    pub fn type_in(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().expect("standard input is open").write_all(bytes).unwrap();
    }

    /// Gives the program an end of file on standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// What the program has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What the program has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until standard error contains `text`.
    pub fn await_stderr(&self, bound: Duration, text: &str) {
        eventually(bound, &format!("{} says {text:?} on stderr", self.name), || self.stderr().contains(text));
    }

    /// Waits until standard output contains `text`.
    pub fn await_stdout(&self, bound: Duration, text: &str) {
        eventually(bound, &format!("{} says {text:?} on stdout", self.name), || self.stdout().contains(text));
    }

    /// Whether the process has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end of the program; fails the test if it outlives `bound`.
    pub fn wait_exit(&mut self, bound: Duration) -> Finished {
        let what = format!("{} ends", self.name);
        let status = within(bound, &what, || self.child.try_wait().unwrap());
        // A daemon left behind (`ssh -f`) may hold the pipes open for ever; what is said at the end comes at once.
        settles(Duration::from_secs(1), || self.stdout.is_complete() && self.stderr.is_complete());
        Finished { status, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} (process {})\n{}{}", self.name, self.pid(), self.stdout(), self.stderr());
        }
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, Signal::TERM);
        let _ = kill_process(pid, Signal::CONT);
        settles(Duration::from_millis(700), || !matches!(self.child.try_wait(), Ok(None)));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

pub(crate) fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells RssAnon");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Lets this test have `count` descriptors, where it has fewer; root alone may go beyond what its machine gives at most.
pub fn raise_descriptor_limit(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return;
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(count));
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum }).unwrap();
}

/// Runs `command` with an empty standard input to its end, which must come within `bound`.
pub fn finish(command: &mut Command, bound: Duration) -> Finished {
    let mut running = Running::spawn(command);
    running.close_stdin();
    running.wait_exit(bound)
}

/// Output that a thread collects until the last writer closes it.
///
/// The thread is not waited for: a daemon that inherited the pipe would keep the test from ending.
struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
}

impl Captured {
    fn from(mut source: impl Read + Send + 'static) -> Captured {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // A terminal whose far end is closed answers EIO; that is its end of file.
            while let Ok(count @ 1..) = source.read(&mut chunk) {
                sink.lock().unwrap().extend_from_slice(&chunk[..count]);
            }
        });
        Captured { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn is_complete(&self) -> bool {
        self.reader.is_finished()
    }
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
