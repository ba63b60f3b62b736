//! Commands that are shown to be pasted into a shell.

/// A text as a POSIX shell reads it back.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@,%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_so_that_it_pastes() {
        for (text, shown) in [
            ("/home/a/id_ed25519.pub", "/home/a/id_ed25519.pub"),
            ("my key.pub", "'my key.pub'"),
            ("[bastion]:2222", "'[bastion]:2222'"),
            ("it's", r"'it'\''s'"),
            ("$(reboot)", "'$(reboot)'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(text), shown);
        }
    }
}
