//! A newer Debian beside this one, for its OpenSSH: a folder tree that `scripts/prepare` makes.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Enters the tree with this machine's temporary files, where the tests keep keys and sockets, at their own path. The mounts are
/// in a namespace of the process and end with it.
const ENTER: &str = r#"
set -e
root=$1 shared=$2
shift 2
mkdir -p "$root$shared"
mount --bind "$shared" "$root$shared"
mount --rbind /dev "$root/dev"
exec chroot "$root" "$@"
"#;

/// Debian 13 ("trixie"), which has OpenSSH 10.
pub struct Trixie {
    root: PathBuf,
}

impl Trixie {
    /// Where `scripts/prepare` has made it; `None` where `ADIT_E2E_SKIP` excuses `trixie`.
    pub fn find() -> Option<Trixie> {
        if crate::tools::is_excused("trixie") {
            return None;
        }
        let root = env::var_os("ADIT_TRIXIE")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/trixie"), PathBuf::from);
        let made = root.join("usr/bin/ssh").is_file();
        assert!(made, "{} is missing: run scripts/prepare, or set ADIT_E2E_SKIP=trixie", root.display());
        Some(Trixie { root })
    }

    /// The words that stand before a command which is to run in the tree. Needs root.
    pub(crate) fn enter(&self) -> Vec<OsString> {
        let words = ["unshare", "--mount", "sh", "-c", ENTER, "enter"].map(OsString::from);
        words.into_iter().chain([self.root.clone().into(), env::temp_dir().into()]).collect()
    }
}
