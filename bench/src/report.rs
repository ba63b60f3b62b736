//! Rows of figures, as Markdown tables for people and as JSON for the next run.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::stats::median;

/// Whoever is measured: we, or a peer that stands beside us in the table.
pub(crate) trait Measured: Copy + 'static {
    /// We.
    const OURS: Self;
    /// The others, in the table's order.
    const PEERS: &'static [Self];

    /// In the table.
    fn name(self) -> &'static str;
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// 10^9 bits per second.
    GigabitsPerSecond,
    /// 10^6 bytes per second.
    MegabytesPerSecond,
    /// Processor seconds per 2^30 bytes.
    SecondsPerGib,
    /// Things per second.
    PerSecond,
    /// Things per 2^20 bytes.
    PerMib,
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
            Self::GigabitsPerSecond => "Gbit/s",
            Self::MegabytesPerSecond => "MB/s",
            Self::SecondsPerGib => "s/GiB",
            Self::PerSecond => "/s",
            Self::PerMib => "/MiB",
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
    /// Ours divided by the first peer's is no less than this.
    RatioAtLeast(f64),
    /// Ours divided by the first peer's is no more than this.
    RatioAtMost(f64),
    /// Ours divided by the last peer's, which only shows what the machine takes for such work, is no more than this.
    ReferenceAtMost(f64),
}

/// One line of the table before it is measured.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    what: String,
    unit: Unit,
    bound: Bound,
    /// No ratio is given.
    kept_apart: bool,
    /// The same is measured at other sizes too: of what, and how many here.
    along: Option<(&'static str, usize)>,
}

impl Figure {
    /// What is measured, in which unit, and what is promised of it.
    pub(crate) fn new(what: impl Into<String>, unit: Unit, bound: Bound) -> Self {
        Self { what: what.into(), unit, bound, kept_apart: false, along: None }
    }

    /// The same without a ratio: for figures around zero, where it says nothing.
    pub(crate) fn kept_apart(self) -> Self {
        Self { kept_apart: true, ..self }
    }

    /// The same as one of several sizes of a crowd, which a plot shows side by side.
    pub(crate) fn along(self, crowd: &'static str, count: usize) -> Self {
        Self { along: Some((crowd, count)), ..self }
    }
}

/// What was read on one of those who are measured.
#[derive(Debug)]
struct Side {
    name: &'static str,
    values: Vec<f64>,
    failure: Option<String>,
}

/// A figure with its readings, in the order they were made: the n-th of all sides were made in one turn.
#[derive(Debug)]
pub(crate) struct Row {
    figure: Figure,
    ours: Side,
    peers: Vec<Side>,
}

impl Row {
    /// A row without readings.
    pub(crate) fn new<S: Measured>(figure: Figure) -> Self {
        let peers = S::PEERS.iter().map(|peer| Side::new(peer.name())).collect();
        Self { figure, ours: Side::new(S::OURS.name()), peers }
    }

    /// What the row is about.
    pub(crate) fn what(&self) -> &str {
        &self.figure.what
    }

    /// Whether more is better; `None` where it is neither.
    fn more_is_better(&self) -> Option<bool> {
        match self.figure.unit {
            Unit::GigabitsPerSecond | Unit::MegabytesPerSecond | Unit::PerSecond => Some(true),
            Unit::Factor | Unit::PerMib => None,
            _ => Some(false),
        }
    }

    /// How many times better we are than each peer: 2 where a rate is twice theirs, or a cost half of it.
    pub(crate) fn advantages(&self) -> Vec<(&'static str, f64)> {
        let Some(more_is_better) = self.more_is_better() else { return Vec::new() };
        let advantage = |peer: &Side| {
            let ratio = self.ratio(peer).filter(|ratio| *ratio > 0.0)?;
            Some((peer.name, if more_is_better { ratio } else { 1.0 / ratio }))
        };
        self.peers.iter().filter_map(advantage).collect()
    }

    /// What the crowd is called that this row stands beside, what is measured, and in which unit.
    pub(crate) fn series(&self) -> Option<(&'static str, &str, &'static str)> {
        let (crowd, _) = self.figure.along?;
        let what = self.figure.what.split_once(": ").map_or(self.figure.what.as_str(), |(_, what)| what);
        Some((crowd, what, self.figure.unit.name()))
    }

    /// The size of that crowd, and each side's median.
    pub(crate) fn points(&self) -> Vec<(&'static str, usize, f64)> {
        let Some((_, count)) = self.figure.along else { return Vec::new() };
        // On an axis of powers nothing is less than a little.
        let point = |side: &Side| Some((side.name, count, median(&side.values).filter(|median| *median > 0.0)?));
        self.sides().filter_map(point).collect()
    }

    /// One reading with its unit.
    pub(crate) fn describe_reading(&self, reading: f64) -> String {
        format!("{} {}", number(reading), self.figure.unit.name())
    }

    /// Adds a reading.
    pub(crate) fn push(&mut self, subject: impl Measured, reading: f64) {
        self.side_mut(subject.name()).values.push(reading);
    }

    /// Notes that a subject could not be measured.
    pub(crate) fn fail(&mut self, subject: impl Measured, failure: &Failure) {
        self.side_mut(subject.name()).failure = Some(failure.to_string());
    }

    /// Whether it could not.
    pub(crate) fn has_failed(&self, subject: impl Measured) -> bool {
        self.sides().any(|side| side.name == subject.name() && side.failure.is_some())
    }

    /// A row made from two others with the same sides, reading by reading.
    pub(crate) fn divided_by(&self, other: &Self, figure: Figure) -> Self {
        let peers = self.peers.iter().zip(&other.peers).map(|(above, below)| above.divided_by(below)).collect();
        Self { figure, ours: self.ours.divided_by(&other.ours), peers }
    }

    fn sides(&self) -> impl Iterator<Item = &Side> {
        std::iter::once(&self.ours).chain(&self.peers)
    }

    fn side_mut(&mut self, name: &'static str) -> &mut Side {
        if self.ours.name == name {
            return &mut self.ours;
        }
        let place = self.peers.iter().position(|side| side.name == name);
        let place = place.unwrap_or_else(|| {
            self.peers.push(Side::new(name));
            self.peers.len() - 1
        });
        &mut self.peers[place]
    }

    /// The median of the turns' ratios: what moved the machine during a turn moved all who were measured in it.
    fn ratio(&self, peer: &Side) -> Option<f64> {
        if self.figure.kept_apart {
            return None;
        }
        let pairs = self.ours.values.iter().zip(&peer.values).filter(|(_, theirs)| **theirs > 0.0);
        median(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
    }

    /// Whose figure the promise is about.
    fn judged_by(&self) -> Option<&Side> {
        match self.figure.bound {
            Bound::RatioAtLeast(_) | Bound::RatioAtMost(_) => self.peers.first(),
            Bound::ReferenceAtMost(_) => self.peers.last(),
            Bound::Free | Bound::AtMost(_) | Bound::AtLeast(_) => None,
        }
    }

    /// Whether the promise was held; `None` where there is none or nothing to judge it by.
    fn holds(&self) -> Option<bool> {
        // A promise about something that could not be measured is not held.
        if self.ours.failure.is_some() && self.figure.bound != Bound::Free {
            return Some(false);
        }
        match self.figure.bound {
            Bound::Free => None,
            Bound::AtMost(most) => median(&self.ours.values).map(|value| value <= most),
            Bound::AtLeast(least) => median(&self.ours.values).map(|value| value >= least),
            Bound::RatioAtLeast(least) => self.ratio(self.judged_by()?).map(|ratio| ratio >= least),
            Bound::RatioAtMost(most) => self.ratio(self.judged_by()?).map(|ratio| ratio <= most),
            // What cannot be told is not held.
            Bound::ReferenceAtMost(most) => Some(self.ratio(self.judged_by()?).is_some_and(|ratio| ratio <= most)),
        }
    }

    fn promise(&self) -> String {
        let peer = self.judged_by().map_or("—", |peer| peer.name);
        match self.figure.bound {
            Bound::Free => "—".to_owned(),
            Bound::AtMost(most) => format!("≤ {}", number(most)),
            Bound::AtLeast(least) => format!("≥ {}", number(least)),
            Bound::RatioAtLeast(least) => format!("≥ {} × {peer}", number(least)),
            Bound::RatioAtMost(most) | Bound::ReferenceAtMost(most) => format!("≤ {} × {peer}", number(most)),
        }
    }

    /// The promise with what was measured instead, where it was not held.
    pub(crate) fn missed(&self) -> Option<String> {
        let is_missed = self.holds() == Some(false);
        let measured = match self.judged_by().and_then(|peer| self.ratio(peer)) {
            Some(ratio) => format!("{} ×", number(ratio)),
            None => self.ours.cell(),
        };
        is_missed.then(|| format!("`{}`: {measured}, promised {}", self.figure.what, self.promise()))
    }

    /// The lines above a table of such rows.
    fn markdown_head(&self) -> String {
        let ours = self.ours.name;
        let mut head = format!("| What | Unit | {ours}, median (min–max) |");
        let mut rule = "|---|---|---:|".to_owned();
        for peer in &self.peers {
            head.push_str(&format!(" {}, median (min–max) | {ours} / {} |", peer.name, peer.name));
            rule.push_str("---:|---:|");
        }
        format!("{head} Promised | Held |\n{rule}---|---|\n")
    }

    fn markdown(&self) -> String {
        let mut line = format!("| {} | {} | {} |", self.figure.what, self.figure.unit.name(), self.ours.cell());
        for peer in &self.peers {
            let ratio = self.ratio(peer).map_or("—".to_owned(), |ratio| format!("{ratio:.2}"));
            line.push_str(&format!(" {} | {ratio} |", peer.cell()));
        }
        let holds = match self.holds() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "—",
        };
        format!("{line} {} | {holds} |", self.promise())
    }

    /// Each reading by itself.
    pub(crate) fn json(&self) -> Value {
        let peers = self.peers.iter().map(|peer| {
            json!({
                "name": peer.name,
                "readings": peer.values,
                "failure": peer.failure,
                "ratio": self.ratio(peer),
            })
        });
        json!({
            "what": self.figure.what,
            "unit": self.figure.unit.name(),
            "ours": { "name": self.ours.name, "readings": self.ours.values, "failure": self.ours.failure },
            "peers": peers.collect::<Vec<_>>(),
            "promise": self.promise(),
            "holds": self.holds(),
        })
    }
}

impl Side {
    fn new(name: &'static str) -> Self {
        Self { name, values: Vec::new(), failure: None }
    }

    fn divided_by(&self, other: &Self) -> Self {
        let values = self.values.iter().zip(&other.values).map(|(above, below)| above / below).collect();
        Self { name: self.name, values, failure: self.failure.clone().or_else(|| other.failure.clone()) }
    }

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

/// A table for each group of rows with the same peers, and beneath them why cells are missing.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let alike = |one: &Row, other: &Row| one.sides().map(|side| side.name).eq(other.sides().map(|side| side.name));
    let table = |rows: &[Row]| {
        let head = rows.first().map(Row::markdown_head).unwrap_or_default();
        head + &rows.iter().map(|row| row.markdown() + "\n").collect::<String>()
    };
    let mut text = rows.chunk_by(alike).map(table).collect::<Vec<_>>().join("\n");
    // Who cannot be measured is missing in many rows, for one reason.
    let mut told = BTreeSet::new();
    for row in rows {
        for side in row.sides() {
            let Some(failure) = &side.failure else { continue };
            if told.insert((side.name, failure)) {
                text.push_str(&format!("\n{} failed in “{}”: {failure}\n", side.name, row.figure.what));
            }
        }
    }
    text
}

/// Three digits that matter, no more than that can be read off a shared machine.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Who is measured in stories about figures.
#[cfg(test)]
pub(crate) mod testing {
    use super::Measured;

    #[derive(Clone, Copy)]
    pub(crate) enum Someone {
        Adit,
        Peer,
        Other,
    }

    impl Measured for Someone {
        const OURS: Self = Self::Adit;
        const PEERS: &'static [Self] = &[Self::Peer, Self::Other];

        fn name(self) -> &'static str {
            match self {
                Self::Adit => "adit",
                Self::Peer => "peer",
                Self::Other => "other",
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Someone;
    use super::*;

    fn row(bound: Bound, adit: &[f64], peer: &[f64]) -> Row {
        let mut row = Row::new::<Someone>(Figure::new("it", Unit::Seconds, bound));
        adit.iter().for_each(|reading| row.push(Someone::Adit, *reading));
        peer.iter().for_each(|reading| row.push(Someone::Peer, *reading));
        row
    }

    #[test]
    fn the_ratio_is_the_median_of_pairs() {
        let row = row(Bound::RatioAtLeast(2.0), &[2.0, 30.0, 4.0], &[1.0, 10.0, 4.0]);
        assert_eq!(row.ratio(&row.peers[0]), Some(2.0));
        assert_eq!(row.holds(), Some(true));
        let cells = "4.00 (2.00–30.0) | 4.00 (1.00–10.0) | 2.00 | — | — | ≥ 2.00 × peer | yes";
        assert_eq!(row.markdown(), format!("| it | s | {cells} |"));
    }

    #[test]
    fn each_peer_has_a_ratio_of_its_own() {
        let mut row = row(Bound::Free, &[6.0], &[3.0]);
        row.push(Someone::Other, 12.0);
        assert_eq!(row.markdown(), "| it | s | 6.00 | 3.00 | 2.00 | 12.0 | 0.50 | — | — |");
        let columns = |line: &str| line.matches('|').count();
        assert!(row.markdown_head().lines().all(|line| columns(line) == columns(&row.markdown())));
    }

    #[test]
    fn a_reference_is_the_last_that_stands_there() {
        let mut row = row(Bound::ReferenceAtMost(1.3), &[6.0], &[1.0]);
        row.push(Someone::Other, 5.0);
        assert_eq!((row.holds(), row.promise().as_str()), (Some(true), "≤ 1.30 × other"));
        assert_eq!(row.missed(), None);
        row.push(Someone::Adit, 60.0);
        row.push(Someone::Other, 5.0);
        assert_eq!(row.holds(), Some(false));
        assert_eq!(row.missed().unwrap(), "`it`: 6.60 ×, promised ≤ 1.30 × other");
    }

    #[test]
    fn a_failure_is_told_once_for_all_its_rows() {
        let mut rows = [row(Bound::Free, &[1.0], &[]), row(Bound::Free, &[1.0], &[])];
        rows.iter_mut().for_each(|row| row.fail(Someone::Peer, &Failure::new("not installed")));
        let text = markdown(&rows);
        assert_eq!(text.matches("peer failed in “it”: not installed").count(), 1);
        assert_eq!(text.matches("| failed |").count(), 2);
    }

    #[test]
    fn a_promise_about_a_failed_measurement_is_not_held() {
        let mut row = row(Bound::AtMost(5.0), &[1.0], &[]);
        assert_eq!(row.holds(), Some(true));
        row.fail(Someone::Adit, &Failure::new("no"));
        assert_eq!(row.holds(), Some(false));
    }

    #[test]
    fn what_is_not_promised_is_not_judged() {
        assert_eq!(row(Bound::Free, &[1.0], &[1.0]).holds(), None);
        assert_eq!(row(Bound::AtLeast(1.0), &[], &[]).holds(), None);
    }
}
