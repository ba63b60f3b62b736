//! A program that is started for a measurement, and ended with all that descends from it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Doing, Failure};
use crate::process_tree::ProcessTree;

/// From the start of a program to its first answer.
const START: Duration = Duration::from_secs(15);
/// How long a stopped program may take.
const STOP: Duration = Duration::from_secs(5);
/// Between two looks at something that is awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A running program. Dropping it ends it; its clients should be gone by then.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; whatever it says is in the file `log`.
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Result<Self, Failure> {
        let file = fs::File::create(&log).doing("make a log file")?;
        let errors = file.try_clone().doing("share a log file")?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().doing("start the program")?;
        Ok(Self { child, log })
    }

    /// Waits until `answer` gives one.
    pub(crate) fn await_start<T>(&mut self, answer: impl Fn(&Self) -> Option<T>) -> Result<T, Failure> {
        let give_up = Instant::now() + START;
        loop {
            if let Some(answer) = answer(self) {
                return Ok(answer);
            }
            let ended = !matches!(self.child.try_wait(), Ok(None));
            if ended || Instant::now() > give_up {
                return Err(Failure::new(format!("it did not start: {}", self.said())));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// What it said so far, on both its streams.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it costs.
    pub(crate) fn tree(&self) -> ProcessTree {
        ProcessTree::new(self.child.id())
    }
}

impl Drop for Process {
    /// Ends the program and what is left of its children, each by its id.
    fn drop(&mut self) {
        for pid in self.tree().pids() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may have ended meanwhile.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        await_bounded(|| !matches!(self.child.try_wait(), Ok(None)));
        // No more than can be done; a program that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so, as long as a stopped program may take; whether it is.
pub(crate) fn await_bounded(mut is_so: impl FnMut() -> bool) -> bool {
    let give_up = Instant::now() + STOP;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > give_up {
            return false;
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// A loopback address where nobody listens, for programs that cannot say which one the system gave them.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("find a free port")?;
    probe.local_addr().doing("find a free port")
}
