//! Answers for people: aligned tables, times as "3 min ago", colours where a terminal shows them.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use adit_core::Printable;
use serde::Serialize;

use crate::failure::Failure;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Where answers go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    colours: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, colours: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints an answer: as JSON, or as `text` makes it for people.
    pub(crate) fn answer<T: Serialize>(self, answer: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        self.tell(answer, text).map(drop)
    }

    /// The same, of several. Says whether somebody still reads them.
    pub(crate) fn tell<T: Serialize>(self, answer: &T, text: impl FnOnce(&T) -> String) -> Result<bool, Failure> {
        let mut whole = match self.json {
            true => serde_json::to_string(answer).map_err(|error| Failure::Output(error.into()))?,
            false => text(answer),
        };
        whole.push('\n');
        let mut stdout = io::stdout().lock();
        match stdout.write_all(whole.as_bytes()).and_then(|()| stdout.flush()) {
            // `adit … | head` has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::Output(error)),
            Ok(()) => Ok(true),
        }
    }

    /// Tells a trouble that is not the end: among the answers for a program, on stderr for people.
    pub(crate) fn notice<T: Serialize>(self, notice: &T, text: &str) -> Result<(), Failure> {
        if self.json {
            return self.answer(notice, |_| String::new());
        }
        eprintln!("adit: {text}");
        Ok(())
    }

    /// Whether a person looks at the answers.
    pub(crate) fn is_on_terminal(self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.in_style(BOLD, text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.in_style(DIM, text)
    }

    fn in_style(self, style: &str, text: &str) -> String {
        if self.colours { format!("{style}{text}{PLAIN}") } else { text.to_owned() }
    }

    /// Names with what they stand for, one per line.
    pub(crate) fn facts(self, facts: &[(&str, String)]) -> String {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let lines = facts.iter().map(|(name, value)| format!("  {} {value}", self.dim(&format!("{name:<width$}"))));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// A table with its columns aligned. The last column is not padded, so that a narrow terminal wraps less.
    pub(crate) fn table<const N: usize>(self, heads: [&str; N], rows: Vec<[String; N]>) -> String {
        let mut widths = heads.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut table = self.dim(&line(&heads.map(str::to_owned), &widths));
        for row in &rows {
            table.push('\n');
            table.push_str(&line(row, &widths));
        }
        table
    }
}

fn line<const N: usize>(cells: &[String; N], widths: &[usize; N]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        // Writing to a `String` cannot fail.
        let _ = write!(line, "{cell:width$}  ");
    }
    line.trim_end().to_owned()
}

/// Milliseconds since 1970 as a distance from now.
pub(crate) fn ago(millis: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    match distance(now - millis) {
        (text, false) => format!("{text} ago"),
        (text, true) => format!("in {text}"),
    }
}

fn distance(millis: i64) -> (String, bool) {
    let seconds = millis.unsigned_abs() / 1_000;
    let text = match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    };
    (text, millis < 0)
}

/// A time that has passed, in one unit.
pub(crate) fn span(seconds: u64) -> String {
    distance(i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX)).0
}

/// Milliseconds since 1970 as date and time in UTC: `2026-11-21 09:05:00`.
pub(crate) fn clock(millis: i64) -> String {
    let seconds = millis.div_euclid(1_000);
    let (mut days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years of the Gregorian calendar begin in March here, so that a leap day is the last of its year; an era has 400 of them.
    days += 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

/// A byte count in the largest unit that leaves something before the point.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match UNITS.into_iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", count as f64 / size as f64),
        None => format!("{count} B"),
    }
}

/// `1 key`, `2 keys`
pub(crate) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Text of elsewhere on one line: it cannot act on the terminal.
pub(crate) fn shown(text: &str) -> String {
    Printable::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN_OUTPUT: Output = Output { json: false, colours: false };

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = vec![["a".to_owned(), "1".to_owned()], ["żółw".to_owned(), "22".to_owned()]];
        assert_eq!(PLAIN_OUTPUT.table(["NAME", "N"], rows), "NAME  N\na     1\nżółw  22");
    }

    #[test]
    fn distances_are_told_in_one_unit() {
        for (millis, text) in
            [(0, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (7_200_000, "2 h"), (172_800_000, "2 days")]
        {
            assert_eq!(distance(millis), (text.to_owned(), false));
        }
        assert_eq!(distance(-120_000), ("2 min".to_owned(), true));
    }

    #[test]
    fn the_clock_knows_leap_years() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_709_251_199, "2024-02-29 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
        ] {
            assert_eq!(clock(seconds * 1_000), text);
        }
    }

    #[test]
    fn bytes_are_told_in_one_unit() {
        for (count, text) in [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (2_000_000_000, "2.0 GB")] {
            assert_eq!(bytes(count), text);
        }
    }
}
