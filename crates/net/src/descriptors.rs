//! How many files and sockets this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Each connection takes one or two. Below this we warn.
const FEW: u64 = 4_096;

/// Raises the soft limit of open files to the hard one: the soft one is for programs that use `select`.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let files = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    if files.is_some_and(|files| files < FEW) {
        tracing::warn!(files, "few open files are allowed; each connection takes one or two (see `ulimit -n`)");
    }
}
