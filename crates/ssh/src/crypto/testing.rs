//! Helpers of the tests beside this file: reading the vectors in `testdata`.
//!
//! A vector file has sections `[name]`, fields `name:` and, indented below each, spaced hex. Its first lines say how it was made.

use std::collections::HashMap;

/// One `[section]` of a vector file.
pub(super) struct Section {
    pub(super) name: String,
    fields: HashMap<String, Vec<u8>>,
}

impl Section {
    pub(super) fn field(&self, name: &str) -> &[u8] {
        self.fields.get(name).unwrap_or_else(|| panic!("[{}] has no field {name}", self.name))
    }
}

/// All sections of a vector file, in order.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut field = String::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            sections.push(Section { name: name.to_owned(), fields: HashMap::new() });
        } else if let Some(name) = line.strip_suffix(':') {
            field = name.to_owned();
        } else {
            let section = sections.last_mut().expect("a section comes before its fields");
            section.fields.entry(field.clone()).or_default().extend(hex(line));
        }
    }
    sections
}

/// The section of this name.
pub(super) fn section(text: &str, name: &str) -> Section {
    sections(text).into_iter().find(|section| section.name == name).unwrap_or_else(|| panic!("no section [{name}]"))
}

/// Reads spaced hex.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).unwrap_or_else(|| panic!("{c:?} is no hex digit")))
        .collect();
    assert!(digits.len().is_multiple_of(2), "half a byte in {text:?}");
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}
