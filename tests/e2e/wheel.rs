//! The Python wheel in a clean environment: what is in it, what its module does, and its types.
//!
//! What the functions promise is told by `python/tests`; here they run where `pip` has put them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use adit_e2e::{finish, python};

use crate::packaging::{made, root};

/// `pip`, `mypy` and a run of all tests, on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(60);

fn wheel() -> PathBuf {
    let folder = made("target/dist-dev/wheel/.made").parent().unwrap().to_owned();
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|file| file.extension().is_some_and(|kind| kind == "whl")).expect("a wheel")
}

/// Runs a program that must succeed, in an environment of nobody's, and returns what it said.
fn run(command: &mut Command) -> String {
    let finished =
        finish(command.env_clear().env("PATH", "/usr/bin:/bin").env("PYTHONDONTWRITEBYTECODE", "1"), PATIENCE);
    assert_eq!(finished.code(), 0, "{finished:?}");
    finished.stdout + &finished.stderr
}

/// A virtual environment that has the wheel and nothing else.
struct Clean {
    folder: tempfile::TempDir,
}

impl Clean {
    fn install() -> Clean {
        let clean = Clean { folder: tempfile::tempdir().unwrap() };
        run(Command::new(python()).args(["-m", "venv"]).arg(clean.folder.path()));
        run(clean
            .python()
            .args(["-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check"])
            .arg(wheel()));
        clean
    }

    fn interpreter(&self) -> PathBuf {
        self.folder.path().join("bin/python")
    }

    fn python(&self) -> Command {
        let mut command = Command::new(self.interpreter());
        command.env("HOME", self.folder.path());
        command
    }
}

#[test]
fn what_the_module_promises_holds_where_pip_installs_it() {
    let clean = Clean::install();
    let told = run(clean.python().args(["-m", "unittest", "--quiet"]).current_dir(root().join("python/tests")));
    assert!(told.contains("OK") && !told.contains("skipped"), "{told}");
}

/// Of the module, and of a program that uses it as it was installed: `py.typed` is in the wheel.
#[test]
fn types_are_whole() {
    let clean = Clean::install();
    let python_folder = root().join("python");
    for code in ["adit", "tests/test_adit.py"] {
        let mut judge = Command::new(python());
        judge.args(["-m", "mypy", "--strict", "--python-executable"]).arg(clean.interpreter());
        judge.arg("--cache-dir").arg(clean.folder.path().join("cache")).arg(code).current_dir(&python_folder);
        run(&mut judge);
    }
}

#[test]
fn a_wheel_has_the_program_the_module_and_the_licences() {
    let told = run(Command::new(python()).args(["-m", "zipfile", "-l"]).arg(wheel()));
    let names: Vec<&str> = told.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let is_there = |end: &str| names.iter().any(|name| name.ends_with(end));
    for end in [
        "adit/__init__.py",
        "adit/py.typed",
        ".data/scripts/adit",
        "licenses/LICENSE-MIT",
        "licenses/LICENSE-APACHE",
        "licenses/THIRD-PARTY-LICENSES",
    ] {
        assert!(is_there(end), "{end} is missing in {names:?}");
    }
    let strangers: Vec<&&str> =
        names.iter().filter(|name| name.contains("tests/") || name.contains("__pycache__")).collect();
    assert_eq!(strangers, Vec::<&&str>::new());
    let name = wheel();
    assert!(Path::new(&name).to_string_lossy().contains(&format!("adit-{}-py3-none-", env!("CARGO_PKG_VERSION"))));
}
