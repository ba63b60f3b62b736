//! What a server costs: processor time and memory of its process and of all that descend from it, because sshd makes a process
//! per session and we make none.
//!
//! Processor time is `utime + stime + cutime + cstime` of `/proc/PID/stat`: the kernel adds an ended child's time to its parent
//! once that has waited for it, so nothing is lost. Memory is PSS (`smaps_rollup`), where a page shared by n processes counts
//! as 1/n in each; the kernel's own memory, such as socket buffers, is not in it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Doing, Failure};

/// Memory that moved less than this in each of [`LOOKS`] looks is at rest.
const AT_REST: u64 = 64 * 1024;
/// Allocators give back with a delay, so that one quiet look is not enough.
const LOOKS: u32 = 5;
/// Between two looks at memory.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// jemalloc gives back what was free for 10 s, in steps that look like rest.
const GIVEN_BACK: Duration = Duration::from_secs(15);
/// Memory that never rests is taken as it is after this.
const REST_BOUND: Duration = Duration::from_secs(8);

/// A process and its descendants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessTree {
    root: u32,
}

impl ProcessTree {
    /// The tree below, and with, `root`.
    pub(crate) fn new(root: u32) -> Self {
        Self { root }
    }

    /// All its processes now, the root first.
    pub(crate) fn pids(self) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if let Some(parent) = stat_fields(pid).and_then(|fields| fields.get(PARENT).copied()) {
                children.entry(parent as u32).or_default().push(pid);
            }
        }
        let mut tree = vec![self.root];
        let mut next = 0;
        while next < tree.len() {
            tree.extend(children.remove(&tree[next]).unwrap_or_default());
            next += 1;
        }
        tree
    }

    /// Processor time spent so far, in steps of the kernel's clock tick (mostly 10 ms).
    pub(crate) fn cpu(self) -> Duration {
        let ticks: u64 =
            self.pids().into_iter().filter_map(stat_fields).map(|fields| fields[TIMES].iter().sum::<u64>()).sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// How often its threads have waited for something so far (`voluntary_ctxt_switches` of proc(5)). Each ends with being woken, which is
    /// work of the one who wakes.
    pub(crate) fn waits(self) -> u64 {
        let threads = |pid: u32| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let statuses = self.pids().into_iter().flat_map(threads).map(|thread| thread.path().join("status"));
        statuses.filter_map(|status| number_after(&status, "voluntary_ctxt_switches:")).sum()
    }

    /// PSS of all processes, in bytes.
    pub(crate) fn memory(self) -> u64 {
        self.pids().into_iter().filter_map(|pid| kilobytes(pid, "smaps_rollup", "Pss:")).sum::<u64>() * 1024
    }

    /// PSS once it has come to rest.
    pub(crate) fn memory_at_rest(self) -> u64 {
        let give_up = Instant::now() + REST_BOUND;
        let (mut last, mut quiet) = (self.memory(), 0);
        while quiet < LOOKS && Instant::now() < give_up {
            thread::sleep(LOOK_AGAIN);
            let now = self.memory();
            quiet = if now.abs_diff(last) < AT_REST { quiet + 1 } else { 0 };
            last = now;
        }
        last
    }

    /// PSS once what was in use has been given back: the least that is seen within [`GIVEN_BACK`].
    pub(crate) fn memory_given_back(self) -> u64 {
        let give_up = Instant::now() + GIVEN_BACK;
        let mut least = self.memory();
        while Instant::now() < give_up {
            thread::sleep(LOOK_AGAIN);
            least = least.min(self.memory());
        }
        least
    }

    /// Forgets the peaks so far.
    pub(crate) fn reset_peak(self) -> Result<(), Failure> {
        // proc(5): 5 resets the peak resident set.
        let reset = |pid| fs::write(format!("/proc/{pid}/clear_refs"), "5");
        self.pids().into_iter().try_for_each(reset).doing("reset the peak memory of the server")
    }

    /// The sum of the processes' peak resident sets, in bytes. Pages that processes share count in each.
    pub(crate) fn peak_memory(self) -> u64 {
        self.pids().into_iter().filter_map(|pid| kilobytes(pid, "status", "VmHWM:")).sum::<u64>() * 1024
    }
}

/// Places in what [`stat_fields`] gives.
const PARENT: usize = 0;
const TIMES: std::ops::Range<usize> = 10..14;

/// The numbers of `/proc/PID/stat` from the parent's id on (field 4 of proc(5)), up to `cstime`.
fn stat_fields(pid: u32) -> Option<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in field 2 may hold anything, also spaces and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    // Fields 4 to 17; some, the terminal for one, may be negative and do not matter here.
    let fields: Vec<u64> =
        rest.split_whitespace().skip(1).take(TIMES.end).map(|field| field.parse().unwrap_or_default()).collect();
    (fields.len() == TIMES.end).then_some(fields)
}

fn kilobytes(pid: u32, file: &str, key: &str) -> Option<u64> {
    number_after(Path::new(&format!("/proc/{pid}/{file}")), key)
}

fn number_after(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_below_its_parent_and_costs_memory() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let tree = ProcessTree::new(std::process::id());
        assert_eq!(tree.pids()[0], std::process::id());
        assert!(tree.pids().contains(&child.id()));
        assert!(tree.memory() > ProcessTree::new(child.id()).memory());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!tree.pids().contains(&child.id()));
    }

    #[test]
    fn who_waits_is_seen_to_wait() {
        let tree = ProcessTree::new(std::process::id());
        let before = tree.waits();
        (0..10).for_each(|_| thread::sleep(Duration::from_millis(1)));
        assert!(tree.waits() >= before + 10, "{before} and then {}", tree.waits());
    }

    #[test]
    fn time_spent_is_counted() {
        let tree = ProcessTree::new(std::process::id());
        let before = tree.cpu();
        let bound = Instant::now() + Duration::from_secs(20);
        while tree.cpu() <= before {
            assert!(Instant::now() < bound, "twenty seconds of work were not seen");
        }
    }
}
