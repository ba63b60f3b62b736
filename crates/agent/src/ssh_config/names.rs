//! The hosts that a configuration names (ssh_config(5), `Host` and `Include`).

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::plain_file;

/// As deep as ssh follows; it refuses a configuration that goes deeper.
const DEPTH: usize = 16;

/// Files that are read and folders that are looked through. Who has a file for each host has some hundred.
const MAX_FILES: usize = 1_000;

/// What is in all of the files: some ten thousand hosts.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the file and what it includes. Each name once. It blocks.
///
/// # Errors
/// The file itself cannot be read, or all of it is too much; what it includes may be missing.
pub(super) fn read(path: &Path) -> io::Result<Vec<String>> {
    let mut reading = Reading {
        folder: path.parent().unwrap_or(Path::new("")),
        names: Vec::new(),
        known: HashSet::new(),
        seen: HashSet::new(),
        files_left: MAX_FILES,
        bytes_left: MAX_BYTES,
    };
    reading.read(&plain_file::open(path)?, DEPTH)?;
    Ok(reading.names)
}

struct Reading<'a> {
    /// Where the configuration lies.
    folder: &'a Path,
    names: Vec<String>,
    /// The same names, to be looked up.
    known: HashSet<String>,
    /// Device and number of each file. One that is included again, maybe by itself, has no further names.
    seen: HashSet<(u64, u64)>,
    files_left: usize,
    bytes_left: u64,
}

impl Reading<'_> {
    fn read(&mut self, file: &File, depth: usize) -> io::Result<()> {
        let metadata = file.metadata()?;
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        self.spend(metadata.len())?;
        // Not all that stands in comments is UTF-8.
        let bytes = plain_file::read_all(file, MAX_BYTES)?;
        for (keyword, words) in String::from_utf8_lossy(&bytes).lines().filter_map(setting) {
            match &*keyword {
                "host" => self.add(words),
                "include" if depth > 0 => {
                    for pattern in words {
                        self.include(&pattern, depth - 1)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn include(&mut self, pattern: &str, depth: usize) -> io::Result<()> {
        self.spend(0)?;
        for path in files(pattern, self.folder) {
            if let Ok(file) = plain_file::open(&path) {
                self.read(&file, depth)?;
            }
        }
        Ok(())
    }

    /// Patterns are no names.
    fn add(&mut self, words: Vec<String>) {
        for word in words {
            if !word.contains(['*', '?', '!']) && self.known.insert(word.clone()) {
                self.names.push(word);
            }
        }
    }

    fn spend(&mut self, bytes: u64) -> io::Result<()> {
        match (self.files_left.checked_sub(1), self.bytes_left.checked_sub(bytes)) {
            (Some(files), Some(bytes)) => (self.files_left, self.bytes_left) = (files, bytes),
            _ => {
                let told = format!("with what it includes, it is more than {MAX_FILES} files or {MAX_BYTES} bytes");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, told));
            }
        }
        Ok(())
    }
}

/// A line's keyword, in small letters, and its words. Between them stand blanks, or one `=`; a word with blanks is in quotes.
fn setting(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (keyword, rest) = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
    let rest = rest.trim_start();
    let mut rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let mut words = Vec::new();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once([' ', '\t']).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Some((keyword.to_ascii_lowercase(), words))
}

/// The files of an `Include`, which lie beside the configuration unless it says otherwise. Wildcards in folders are not followed.
fn files(pattern: &str, folder: &Path) -> Vec<PathBuf> {
    let in_home = pattern.strip_prefix("~/").and_then(|rest| Some(folder.parent()?.join(rest)));
    let path = in_home.unwrap_or_else(|| folder.join(pattern));
    let (Some(inside), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    if !name.contains(['*', '?']) {
        return vec![path.clone()];
    }
    let is_meant = |found: &PathBuf| {
        let found = found.file_name().and_then(|found| found.to_str());
        // As in glob(7), a hidden file is not meant by a wildcard.
        found.is_some_and(|found| !found.starts_with('.') && matches(name.as_bytes(), found.as_bytes()))
    };
    let mut found: Vec<PathBuf> =
        fs::read_dir(inside).into_iter().flatten().flatten().map(|entry| entry.path()).filter(is_meant).collect();
    found.sort();
    found
}

/// Whether a name is one that a pattern of `*` and `?` means. Takes time in proportion to both lengths multiplied.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // Where the last star stands, and how far the name was read when it took nothing more.
    let (mut star, mut at, mut read) = (None, 0, 0);
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || *wanted == name[read] => (at, read) = (at + 1, read + 1),
            _ => match star {
                Some((stands, taken)) => {
                    (at, read) = (stands + 1, taken + 1);
                    star = Some((stands, taken + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_found_where_ssh_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        let ssh = folder.path().join(".ssh");
        fs::create_dir_all(ssh.join("conf.d")).unwrap();
        let write = |name: &str, text: &str| fs::write(ssh.join(name), text).unwrap();
        write(
            "config",
            "# Host commented\nInclude conf.d/*.conf ~/more missing\nhost=eq\nHOST\tone two # three\n  Host = three \"in quotes\" one\n\
             Host *.example !not web-? *\nMatch host four\nHostName five\nHostkeyalias six\nHost",
        );
        // A circle, which ssh refuses when it is asked for one of the hosts.
        write("conf.d/a.conf", "Host a\nInclude config ./conf.d/*.conf");
        write("conf.d/.hidden.conf", "Host hidden");
        write("conf.d/b.txt", "Host b");
        fs::write(folder.path().join("more"), "Host more\n").unwrap();
        let found = read(&ssh.join("config")).unwrap();
        assert_eq!(found, ["a", "more", "eq", "one", "two", "three", "in quotes"]);
        assert_eq!(read(&ssh.join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn more_than_a_person_has_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        fs::write(&config, "Host one\nInclude many/*").unwrap();
        let many = folder.path().join("many");
        fs::create_dir(&many).unwrap();
        let write = |number: usize| fs::write(many.join(number.to_string()), format!("Host web-{number}")).unwrap();
        // The file itself and the folder count as well.
        (0..MAX_FILES - 2).for_each(write);
        assert_eq!(read(&config).unwrap().len(), MAX_FILES - 1);
        write(MAX_FILES);
        let told = read(&config).unwrap_err().to_string();
        assert!(told.contains("more than 1000 files"), "{told}");
        fs::remove_dir_all(&many).unwrap();
        assert_eq!(read(&config).unwrap(), ["one"]);
        fs::write(&config, "# much\n".repeat(MAX_BYTES as usize / 7 + 1)).unwrap();
        assert_eq!(read(&config).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn wildcards_mean_what_glob_means() {
        for (pattern, meant, not) in [
            ("*.conf", "a.conf", "a.confx"),
            ("a?c", "abc", "ac"),
            ("*a*b", "xaxxb", "xaxxbc"),
            ("**", "", "-"),
            ("a*", "a", "ba"),
        ] {
            assert!(matches(pattern.as_bytes(), meant.as_bytes()), "{pattern} {meant}");
            assert!(not == "-" || !matches(pattern.as_bytes(), not.as_bytes()), "{pattern} {not}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(?s).{0,200}", pattern in "[*?ab]{0,8}", name in "[ab]{0,8}") {
            text.lines().filter_map(setting).for_each(|(keyword, _)| assert!(!keyword.is_empty() || text.contains('=')));
            // The slow and obvious way.
            fn slow(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern, name) {
                    ([], name) => name.is_empty(),
                    ([b'*', rest @ ..], name) => (0..=name.len()).any(|taken| slow(rest, &name[taken..])),
                    ([b'?', rest @ ..], [_, after @ ..]) => slow(rest, after),
                    ([wanted, rest @ ..], [found, after @ ..]) => wanted == found && slow(rest, after),
                    (_, []) => false,
                }
            }
            prop_assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), slow(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
