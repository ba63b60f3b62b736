//! The results as files: all readings as JSON, tables as Markdown, and plots. A folder that has been published to is written anew
//! after each kind of measurement, so that what was measured before a failure is kept.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::failure::{Doing, Failure};
use crate::measure::{Group, Kind};
use crate::plot;
use crate::report::{self, Row};

/// What was measured: each kind with its rows, or why it has none.
#[derive(Default)]
pub(crate) struct Results {
    kinds: Vec<(&'static Kind, Result<Vec<Row>, Failure>)>,
    /// Where, when and with what.
    about: Vec<(&'static str, String)>,
}

impl Results {
    /// Nothing yet.
    pub(crate) fn new(about: Vec<(&'static str, String)>) -> Self {
        Self { kinds: Vec::new(), about }
    }

    /// Adds a kind.
    pub(crate) fn push(&mut self, kind: &'static Kind, rows: Result<Vec<Row>, Failure>) {
        self.kinds.push((kind, rows));
    }

    /// Adds something that is known at the end.
    pub(crate) fn tell(&mut self, what: &'static str, told: String) {
        self.about.retain(|(about, _)| *about != what);
        self.about.push((what, told));
    }

    /// Kinds that could not be measured at all.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&'static str, &Failure)> {
        self.kinds.iter().filter_map(|(kind, rows)| Some((kind.name, rows.as_ref().err()?)))
    }

    fn rows_of(&self, group: Group) -> impl Iterator<Item = &Row> {
        self.kinds.iter().filter(move |(kind, _)| group.has(kind)).filter_map(|(_, rows)| rows.as_ref().ok()).flatten()
    }

    /// Each reading by itself.
    pub(crate) fn json(&self) -> Value {
        let about: serde_json::Map<_, _> =
            self.about.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let kinds = self.kinds.iter().map(|(kind, rows)| match rows {
            Ok(rows) => json!({ "kind": kind.name, "rows": rows.iter().map(Row::json).collect::<Vec<_>>() }),
            Err(failure) => json!({ "kind": kind.name, "failure": failure.to_string() }),
        });
        json!({ "about": about, "kinds": kinds.collect::<Vec<_>>() })
    }

    /// A table for each kind, below what all have in common.
    pub(crate) fn markdown(&self) -> String {
        let mut text: String = self.about.iter().map(|(key, value)| format!("- {key}: {value}\n")).collect();
        for group in Group::ALL {
            let kinds = self.kinds.iter().filter(|(kind, _)| group.has(kind));
            let mut kinds = kinds.peekable();
            if kinds.peek().is_none() {
                continue;
            }
            text.push_str(&format!("\n## {}\n", capitalised(group.tells())));
            for (kind, rows) in kinds {
                text.push_str(&format!("\n### {}\n\n`bench/run {}`\n\n", capitalised(kind.tells), kind.name));
                match rows {
                    Ok(rows) => text.push_str(&report::markdown(rows)),
                    Err(failure) => text.push_str(&format!("failed: {failure}\n")),
                }
            }
        }
        text
    }

    /// Writes the folder.
    pub(crate) fn publish(&self, folder: &Path) -> Result<(), Failure> {
        fs::create_dir_all(folder).doing(format!("make {}", folder.display()))?;
        let write = |name: &str, text: String| {
            let file = folder.join(name);
            fs::write(&file, text).doing(format!("write {}", file.display()))
        };
        let mut pictures = String::new();
        let mut drawn_now = BTreeSet::new();
        for group in Group::ALL {
            let rows: Vec<&Row> = self.rows_of(group).collect();
            let mut draw = |name: String, title: String, drawn: Option<String>| match drawn {
                Some(drawn) => {
                    drawn_now.insert(name.clone());
                    pictures.push_str(&format!("\n![{title}]({name})\n"));
                    write(&name, drawn)
                }
                None => Ok(()),
            };
            let title = format!("How many times better: {}", group.tells());
            draw(format!("{}.svg", group.name()), title.clone(), plot::advantages(&title, &rows))?;
            for series in plot::all_series(&rows) {
                draw(format!("{}.svg", series.file_name()), series.title(), Some(series.draw()))?;
            }
        }
        for old in fs::read_dir(folder).doing(format!("look into {}", folder.display()))?.flatten() {
            let name = old.file_name().to_string_lossy().into_owned();
            if name.ends_with(".svg") && !drawn_now.contains(&name) {
                fs::remove_file(old.path()).doing(format!("remove {name}"))?;
            }
        }
        write("results.json", format!("{:#}\n", self.json()))?;
        let method = include_str!("../published.md");
        write("README.md", format!("{method}{}{pictures}\n{}", self.not_held(), self.markdown()))
    }

    /// The promises that this run did not hold.
    fn not_held(&self) -> String {
        let rows = self.kinds.iter().filter_map(|(_, rows)| rows.as_ref().ok()).flatten();
        let missed: String = rows.filter_map(Row::missed).map(|missed| format!("- {missed}\n")).collect();
        let missed = if missed.is_empty() { "Nothing: each promise was held.\n".to_owned() } else { missed };
        format!("\n## What is not held\n\n{missed}")
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(file: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks");
        fs::read_to_string(folder.join(file)).unwrap()
    }

    /// The kinds of the run that was published last.
    fn published_kinds() -> Vec<Value> {
        let results: Value = serde_json::from_str(&published("results.json")).unwrap();
        results["kinds"].as_array().unwrap().clone()
    }

    #[test]
    fn all_kinds_are_published() {
        let known: Vec<&str> = Group::ALL.into_iter().flat_map(Group::kinds).map(|kind| kind.name).collect();
        let kinds = published_kinds();
        let published: Vec<&str> = kinds.iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
        assert_eq!(published, known, "`make bench` publishes anew");
    }

    /// What stands in the published folder was measured, and people have said why it is so, and no longer where it is otherwise now.
    #[test]
    fn each_promise_that_is_not_held_has_its_reason_and_no_other() {
        let reasons = published("reasons.md");
        let kinds = published_kinds();
        let rows: Vec<&Value> = kinds.iter().flat_map(|kind| kind["rows"].as_array().unwrap()).collect();
        assert!(rows.iter().any(|row| row["holds"] == true), "promises were judged");
        let is_missed = |row: &&&Value| row["holds"] == false;
        let has_reason = |row: &&&Value| reasons.contains(&format!("`{}`", row["what"].as_str().unwrap()));
        let unexplained: Vec<&Value> =
            rows.iter().filter(is_missed).filter(|row| !has_reason(row)).map(|row| &row["what"]).collect();
        assert!(unexplained.is_empty(), "no reason in reasons.md: {unexplained:#?}");
        let outdated: Vec<&Value> =
            rows.iter().filter(|row| !is_missed(row)).filter(has_reason).map(|row| &row["what"]).collect();
        assert!(outdated.is_empty(), "held, and a reason for not being so in reasons.md: {outdated:#?}");
    }
}
