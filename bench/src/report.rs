//! Rows of figures, as a Markdown table for people and as JSON for the next run.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::server::Subject;
use crate::stats::median;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// 10^6 bytes per second.
    MegabytesPerSecond,
    /// Processor seconds per 2^30 bytes.
    SecondsPerGib,
    /// Things per second.
    PerSecond,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// 2^10 bytes.
    Kib,
    /// 2^20 bytes.
    Mib,
    /// A ratio.
    Factor,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::MegabytesPerSecond => "MB/s",
            Self::SecondsPerGib => "s/GiB",
            Self::PerSecond => "/s",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Kib => "KiB",
            Self::Mib => "MiB",
            Self::Factor => "×",
        }
    }
}

/// What we promise of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    /// Nothing; it is told for comparison.
    Free,
    /// Ours is no more than this.
    AtMost(f64),
    /// Ours is no less than this.
    AtLeast(f64),
    /// Ours divided by sshd's is no less than this.
    RatioAtLeast(f64),
}

/// One line of the table before it is measured.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    what: String,
    unit: Unit,
    bound: Bound,
    /// No ratio is given.
    kept_apart: bool,
}

impl Figure {
    /// What is measured, in which unit, and what is promised of it.
    pub(crate) fn new(what: impl Into<String>, unit: Unit, bound: Bound) -> Self {
        Self { what: what.into(), unit, bound, kept_apart: false }
    }

    /// The same without a ratio: for figures around zero, where it says nothing.
    pub(crate) fn kept_apart(self) -> Self {
        Self { kept_apart: true, ..self }
    }
}

/// What was read on one server.
#[derive(Debug, Default)]
struct Readings {
    values: Vec<f64>,
    failure: Option<String>,
}

/// A figure with its readings, in the order they were made: the n-th of each side are a pair.
#[derive(Debug)]
pub(crate) struct Row {
    figure: Figure,
    adit: Readings,
    sshd: Readings,
}

impl Row {
    /// A row without readings.
    pub(crate) fn new(figure: Figure) -> Self {
        Self { figure, adit: Readings::default(), sshd: Readings::default() }
    }

    /// What the row is about.
    pub(crate) fn what(&self) -> &str {
        &self.figure.what
    }

    /// One reading with its unit.
    pub(crate) fn describe_reading(&self, reading: f64) -> String {
        format!("{} {}", number(reading), self.figure.unit.name())
    }

    /// Adds a reading.
    pub(crate) fn push(&mut self, subject: Subject, reading: f64) {
        self.side_mut(subject).values.push(reading);
    }

    /// Notes that a subject could not be measured.
    pub(crate) fn fail(&mut self, subject: Subject, failure: &Failure) {
        self.side_mut(subject).failure = Some(failure.to_string());
    }

    /// Whether it could not.
    pub(crate) fn has_failed(&self, subject: Subject) -> bool {
        self.side(subject).failure.is_some()
    }

    /// A row made from two others, reading by reading.
    pub(crate) fn divided_by(&self, other: &Self, figure: Figure) -> Self {
        let mut row = Self::new(figure);
        for subject in Subject::PAIR {
            let readings = self.side(subject).values.iter().zip(&other.side(subject).values);
            row.side_mut(subject).values = readings.map(|(above, below)| above / below).collect();
        }
        row
    }

    fn side(&self, subject: Subject) -> &Readings {
        match subject {
            Subject::Adit => &self.adit,
            Subject::Sshd => &self.sshd,
        }
    }

    fn side_mut(&mut self, subject: Subject) -> &mut Readings {
        match subject {
            Subject::Adit => &mut self.adit,
            Subject::Sshd => &mut self.sshd,
        }
    }

    /// The median of the pairs' ratios: what moved the machine during a pair moved both its halves.
    fn ratio(&self) -> Option<f64> {
        if self.figure.kept_apart {
            return None;
        }
        let pairs = self.adit.values.iter().zip(&self.sshd.values).filter(|(_, sshd)| **sshd > 0.0);
        median(&pairs.map(|(adit, sshd)| adit / sshd).collect::<Vec<_>>())
    }

    /// Whether the promise was held; `None` where there is none or nothing to judge it by.
    fn holds(&self) -> Option<bool> {
        // A promise about something that could not be measured is not held.
        if self.adit.failure.is_some() && self.figure.bound != Bound::Free {
            return Some(false);
        }
        match self.figure.bound {
            Bound::Free => None,
            Bound::AtMost(most) => median(&self.adit.values).map(|value| value <= most),
            Bound::AtLeast(least) => median(&self.adit.values).map(|value| value >= least),
            Bound::RatioAtLeast(least) => self.ratio().map(|ratio| ratio >= least),
        }
    }

    fn promise(&self) -> String {
        match self.figure.bound {
            Bound::Free => "—".to_owned(),
            Bound::AtMost(most) => format!("≤ {}", number(most)),
            Bound::AtLeast(least) => format!("≥ {}", number(least)),
            Bound::RatioAtLeast(least) => format!("≥ {} × sshd", number(least)),
        }
    }

    fn markdown(&self) -> String {
        let ratio = self.ratio().map_or("—".to_owned(), |ratio| format!("{ratio:.2}"));
        let holds = match self.holds() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "—",
        };
        let (what, unit) = (&self.figure.what, self.figure.unit.name());
        format!(
            "| {what} | {unit} | {} | {} | {ratio} | {} | {holds} |",
            self.adit.cell(),
            self.sshd.cell(),
            self.promise()
        )
    }

    fn json(&self) -> Value {
        let side = |readings: &Readings| json!({ "readings": readings.values, "failure": readings.failure });
        json!({
            "what": self.figure.what,
            "unit": self.figure.unit.name(),
            "adit": side(&self.adit),
            "sshd": side(&self.sshd),
            "ratio": self.ratio(),
            "promise": self.promise(),
            "holds": self.holds(),
        })
    }
}

impl Readings {
    fn cell(&self) -> String {
        let Some(middle) = median(&self.values) else {
            return if self.failure.is_some() { "failed".to_owned() } else { "—".to_owned() };
        };
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match self.values.len() {
            1 => number(middle),
            _ => format!("{} ({}–{})", number(middle), number(least), number(most)),
        }
    }
}

/// The whole table, and beneath it why cells are missing.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| What | Unit | adit, median (min–max) | sshd, median (min–max) | adit / sshd | Promised | Held |\n\
         |---|---|---:|---:|---:|---|---|\n",
    );
    for row in rows {
        text.push_str(&row.markdown());
        text.push('\n');
    }
    for row in rows {
        for subject in Subject::PAIR {
            if let Some(failure) = &row.side(subject).failure {
                text.push_str(&format!("\n{} failed in “{}”: {failure}\n", subject.name(), row.figure.what));
            }
        }
    }
    text
}

/// The same as data, each reading by itself.
pub(crate) fn json(rows: &[Row], about: &[(&str, String)]) -> Value {
    let about: serde_json::Map<_, _> = about.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({ "about": about, "rows": rows.iter().map(Row::json).collect::<Vec<_>>() })
}

/// Three digits that matter, no more than that can be read off a shared machine.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bound: Bound, adit: &[f64], sshd: &[f64]) -> Row {
        let mut row = Row::new(Figure::new("it", Unit::Seconds, bound));
        adit.iter().for_each(|reading| row.push(Subject::Adit, *reading));
        sshd.iter().for_each(|reading| row.push(Subject::Sshd, *reading));
        row
    }

    #[test]
    fn the_ratio_is_the_median_of_pairs() {
        let row = row(Bound::RatioAtLeast(2.0), &[2.0, 30.0, 4.0], &[1.0, 10.0, 4.0]);
        assert_eq!(row.ratio(), Some(2.0));
        assert_eq!(row.holds(), Some(true));
        assert_eq!(row.markdown(), "| it | s | 4.00 (2.00–30.0) | 4.00 (1.00–10.0) | 2.00 | ≥ 2.00 × sshd | yes |");
    }

    #[test]
    fn a_promise_about_a_failed_measurement_is_not_held() {
        let mut row = row(Bound::AtMost(5.0), &[1.0], &[]);
        assert_eq!(row.holds(), Some(true));
        row.fail(Subject::Adit, &Failure::new("no"));
        assert_eq!(row.holds(), Some(false));
    }

    #[test]
    fn what_is_not_promised_is_not_judged() {
        assert_eq!(row(Bound::Free, &[1.0], &[1.0]).holds(), None);
        assert_eq!(row(Bound::AtLeast(1.0), &[], &[]).holds(), None);
    }
}
