//! From which folders a model may name a private key. The file itself is read by whoever logs in with it; here only its place is judged.

use std::path::{Path, PathBuf};
use std::{fs, io};

use adit_core::Printable;

use crate::failure::Failure;

/// Folders with keys that may be used.
#[derive(Debug, Clone)]
pub struct KeyFolders {
    folders: Vec<PathBuf>,
    home: Option<PathBuf>,
}

impl KeyFolders {
    /// These folders; `home` is what `~` stands for.
    #[must_use]
    pub fn new(folders: Vec<PathBuf>, home: Option<PathBuf>) -> Self {
        Self { folders, home }
    }

    /// The folders, as they were named.
    #[must_use]
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The file that a path leads to, if it lies in one of the folders whatever links are on the way. It blocks.
    ///
    /// # Errors
    /// One for everything: a file that is missing is told apart from one elsewhere by nobody who asks, so nothing can be learnt of the
    /// rest of the file system.
    pub fn permit(&self, path: &Path) -> Result<PathBuf, Failure> {
        self.find(path).map_err(|_| {
            let named = path.to_string_lossy();
            let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
            let told = format!(
                "the key {} is no file in {}; keys are taken from there alone, and `adit mcp start --key-folder DIR` names another folder",
                Printable::from(&*named),
                folders.join(" or ")
            );
            Failure::new(told, "key-not-allowed")
        })
    }

    fn find(&self, path: &Path) -> io::Result<PathBuf> {
        let at_home = path.strip_prefix("~").ok().zip(self.home.as_deref()).map(|(rest, home)| home.join(rest));
        let path = at_home.unwrap_or_else(|| path.to_owned());
        // Where a relative one begins would be decided by whoever started the program.
        if !path.is_absolute() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = fs::canonicalize(path)?;
        let is_in = |folder: &PathBuf| fs::canonicalize(folder).is_ok_and(|folder| file.starts_with(folder));
        match self.folders.iter().any(is_in) && fs::metadata(&file)?.is_file() {
            true => Ok(file),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_what_lies_in_the_folders_is_a_key() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in [".ssh/keys", "elsewhere"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in [".ssh/id", ".ssh/keys/two", "elsewhere/id", ".ssh-other"] {
            fs::write(at(file), "secret").unwrap();
        }
        symlink(at(".ssh/id"), at(".ssh/same")).unwrap();
        symlink(at("elsewhere/id"), at(".ssh/out")).unwrap();
        symlink(at("elsewhere"), at(".ssh/way-out")).unwrap();
        symlink(at(".ssh/keys/two"), at("way-in")).unwrap();
        symlink("nowhere", at(".ssh/dangling")).unwrap();
        let folders = KeyFolders::new(vec![at(".ssh"), at("not-yet-there")], Some(root.path().to_owned()));

        let real = fs::canonicalize(root.path()).unwrap();
        for (named, file) in [
            (at(".ssh/id"), ".ssh/id"),
            (at(".ssh/keys/../id"), ".ssh/id"),
            (at(".ssh/same"), ".ssh/id"),
            (at("way-in"), ".ssh/keys/two"),
            ("~/.ssh/id".into(), ".ssh/id"),
        ] {
            assert_eq!(folders.permit(&named).unwrap(), real.join(file), "{}", named.display());
        }
        let told = |path: &Path| {
            let refused = folders.permit(path).unwrap_err();
            assert_eq!(refused.code, "key-not-allowed");
            refused.error.replacen(&path.display().to_string(), "KEY", 1)
        };
        let missing = told(&at(".ssh/missing"));
        assert!(missing.contains("--key-folder") && missing.contains(&at(".ssh").display().to_string()), "{missing}");
        for other in [
            "elsewhere/id",
            "elsewhere/missing",
            ".ssh/out",
            ".ssh/way-out/id",
            ".ssh/way-out/missing",
            ".ssh/dangling",
            ".ssh/../elsewhere/id",
            ".ssh-other",
            ".ssh/keys",
            ".ssh",
            "not-yet-there/id",
        ] {
            assert_eq!(told(&at(other)), missing, "{other} is told from a file that is missing");
        }
        for other in ["id", "", "~other/.ssh/id", "/dev/null", "/etc/passwd"] {
            assert!(folders.permit(Path::new(other)).is_err(), "{other}");
        }
    }
}
