//! Commands that are shown to be pasted into a shell.

use std::path::Path;

pub(crate) use adit_core::quoted;

/// A path as a POSIX shell reads it back.
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
    fn a_folder_is_shown_so_that_it_pastes() {
        assert_eq!(data_flag(Path::new("/a b")), " --data '/a b'");
    }
}
