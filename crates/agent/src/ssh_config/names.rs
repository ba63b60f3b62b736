//! The hosts that a configuration names (ssh_config(5), `Host` and `Include`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// As deep as ssh follows.
const DEPTH: usize = 16;

/// Reads the file and what it includes. Each name once.
///
/// # Errors
/// The file itself cannot be read; what it includes may be missing.
pub(super) fn read(file: &Path) -> io::Result<Vec<String>> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut names = Vec::new();
    collect(&fs::read_to_string(file)?, folder, DEPTH, &mut names);
    Ok(names)
}

fn collect(text: &str, folder: &Path, depth: usize, names: &mut Vec<String>) {
    for (keyword, words) in text.lines().filter_map(setting) {
        match &*keyword {
            "host" => {
                let is_new = |word: &String| !word.contains(['*', '?', '!']) && !names.contains(word);
                let new: Vec<String> = words.into_iter().filter(is_new).collect();
                names.extend(new);
            }
            "include" if depth > 0 => {
                for included in words.iter().flat_map(|pattern| files(pattern, folder)) {
                    if let Ok(text) = fs::read_to_string(included) {
                        collect(&text, folder, depth - 1, names);
                    }
                }
            }
            _ => {}
        }
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
        write("conf.d/a.conf", "Host a\nInclude config");
        write("conf.d/.hidden.conf", "Host hidden");
        write("conf.d/b.txt", "Host b");
        fs::write(folder.path().join("more"), "Host more\n").unwrap();
        let found = read(&ssh.join("config")).unwrap();
        // What a.conf includes comes before what stands behind the line that includes a.conf.
        assert_eq!(found, ["a", "eq", "one", "two", "three", "in quotes", "more"]);
        assert_eq!(read(&ssh.join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
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
