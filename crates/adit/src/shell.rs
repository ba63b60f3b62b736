//! Commands that are shown to be pasted into a shell.

use std::path::Path;

/// A text as a POSIX shell reads it back.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@,%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The same for a path.
pub(crate) fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// ` --data DIR`
pub(crate) fn data_flag(folder: &Path) -> String {
    format!(" --data {}", quoted_path(folder))
}

/// Whom an example logs in as: whoever reads it.
pub(crate) fn user() -> String {
    crate::oneoff::login_name().map_or_else(|| "alice".to_owned(), |user| quoted(&user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_so_that_it_pastes() {
        for (text, shown) in [
            ("/home/a/id_ed25519.pub", "/home/a/id_ed25519.pub"),
            ("my key.pub", "'my key.pub'"),
            ("it's", r"'it'\''s'"),
            ("$(reboot)", "'$(reboot)'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(text), shown);
        }
        assert_eq!(data_flag(Path::new("/a b")), " --data '/a b'");
    }
}
