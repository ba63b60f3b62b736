//! Plots as SVG. There are two kinds, of dots and lines alone, which take less here than a library for plots would bring.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::report::Row;

const WIDTH: f64 = 960.0;
/// Of the names beside the dots.
const NAMES: f64 = 430.0;
const LINE: f64 = 18.0;
const MARGIN: f64 = 24.0;
/// Colours that colour-blind people tell apart (Okabe and Ito), in the order of the sides.
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

/// A row for each figure and a dot for each peer, where a line says "as good as theirs"; `None` without figures that can be compared.
pub(crate) fn advantages(title: &str, rows: &[&Row]) -> Option<String> {
    let compared: Vec<(&str, Vec<(&str, f64)>)> =
        rows.iter().map(|row| (row.what(), row.advantages())).filter(|(_, peers)| !peers.is_empty()).collect();
    let mut peers: Vec<&str> = Vec::new();
    for (_, advantages) in &compared {
        for (peer, _) in advantages {
            if !peers.contains(peer) {
                peers.push(peer);
            }
        }
    }
    let all = || compared.iter().flat_map(|(_, advantages)| advantages.iter().map(|(_, times)| *times));
    // A power of ten at either side, with the line of 1 between them.
    let (low, high) = all().fold((0.5_f64, 2.0_f64), |(low, high), times| (low.min(times), high.max(times)));
    let (low, high) = (low.log10().floor(), high.log10().ceil());
    let x = |times: f64| NAMES + (times.log10() - low) / (high - low) * (WIDTH - NAMES - MARGIN);
    let top = 3.0 * LINE + MARGIN;
    let bottom = top + LINE * compared.len() as f64;
    let mut svg = Svg::new(title, bottom + 2.0 * LINE);
    svg.legend(&peers);
    for power in low as i32..=high as i32 {
        let at = x(10f64.powi(power));
        let class = if power == 0 { "one" } else { "grid" };
        svg.add(format_args!(r#"<line class="{class}" x1="{at:.1}" y1="{top}" x2="{at:.1}" y2="{bottom}"/>"#));
        svg.text(at, bottom + LINE, "middle", &times(10f64.powi(power)));
    }
    for (index, (what, advantages)) in compared.iter().enumerate() {
        let y = top + LINE * (index as f64 + 0.5);
        svg.text(NAMES - 8.0, y + 4.0, "end", what);
        for (peer, times) in advantages {
            let colour = colour(peers.iter().position(|one| one == peer));
            svg.add(format_args!(r#"<circle cx="{:.1}" cy="{y:.1}" r="4.5" fill="{colour}"/>"#, x(*times)));
        }
    }
    (!compared.is_empty()).then(|| svg.finish())
}

fn times(value: f64) -> String {
    format!("{value} ×")
}

fn colour(index: Option<usize>) -> &'static str {
    COLOURS[index.unwrap_or(0) % COLOURS.len()]
}

/// One figure beside crowds of several sizes.
pub(crate) struct Series {
    crowd: &'static str,
    what: String,
    unit: &'static str,
    /// Each side's medians by the size of the crowd.
    lines: Vec<(&'static str, BTreeMap<usize, f64>)>,
}

/// What rows at several sizes belong to.
pub(crate) fn all_series(rows: &[&Row]) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for row in rows {
        let Some((crowd, what, unit)) = row.series() else { continue };
        let place = all.iter().position(|series| series.crowd == crowd && series.what == what).unwrap_or_else(|| {
            all.push(Series { crowd, what: what.to_owned(), unit, lines: Vec::new() });
            all.len() - 1
        });
        for (side, count, median) in row.points() {
            let lines = &mut all[place].lines;
            let line = lines.iter().position(|(name, _)| *name == side).unwrap_or_else(|| {
                lines.push((side, BTreeMap::new()));
                lines.len() - 1
            });
            lines[line].1.insert(count, median);
        }
    }
    all
}

impl Series {
    /// Words joined by hyphens.
    pub(crate) fn file_name(&self) -> String {
        let letters = self.title().to_lowercase();
        let words = letters.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-")
    }

    /// What the plot shows.
    pub(crate) fn title(&self) -> String {
        format!("{} by {}", self.what, self.crowd)
    }

    /// The plot: both axes by powers of ten; a crowd of nobody stands where a crowd of one would.
    pub(crate) fn draw(&self) -> String {
        let (left, right, top, bottom) = (90.0, WIDTH - MARGIN, 3.0 * LINE + MARGIN, 400.0);
        let points = || self.lines.iter().flat_map(|(_, line)| line.iter().map(|(count, value)| (*count, *value)));
        let positive = || points().map(|(_, value)| value).filter(|value| *value > 0.0);
        let low = positive().fold(f64::INFINITY, f64::min).log10().floor();
        let high = positive().fold(f64::NEG_INFINITY, f64::max).log10().ceil().max(low + 1.0);
        let most = points().map(|(count, _)| count).max().unwrap_or(10).max(10) as f64;
        let x = |count: usize| left + (count.max(1) as f64).log10() / most.log10() * (right - left);
        let y = |value: f64| bottom - (value.log10().clamp(low, high) - low) / (high - low) * (bottom - top);
        let mut svg = Svg::new(&format!("{}, {}", self.title(), self.unit), bottom + 2.0 * LINE);
        svg.legend(&self.lines.iter().map(|(side, _)| *side).collect::<Vec<_>>());
        for power in low as i32..=high as i32 {
            let at = y(10f64.powi(power));
            svg.add(format_args!(r#"<line class="grid" x1="{left}" y1="{at:.1}" x2="{right}" y2="{at:.1}"/>"#));
            svg.text(left - 8.0, at + 4.0, "end", &format!("{} {}", 10f64.powi(power), self.unit));
        }
        let counts: std::collections::BTreeSet<usize> = points().map(|(count, _)| count).collect();
        for count in counts {
            svg.text(x(count), bottom + LINE, "middle", &count.to_string());
        }
        for (index, (_, line)) in self.lines.iter().enumerate() {
            let colour = colour(Some(index));
            let corners: Vec<String> =
                line.iter().map(|(count, value)| format!("{:.1},{:.1}", x(*count), y(*value))).collect();
            svg.add(format_args!(
                r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
                corners.join(" ")
            ));
            for (count, value) in line {
                svg.add(format_args!(r#"<circle cx="{:.1}" cy="{:.1}" r="4" fill="{colour}"/>"#, x(*count), y(*value)));
            }
        }
        svg.finish()
    }
}

/// A drawing that grows.
struct Svg(String);

impl Svg {
    fn new(title: &str, height: f64) -> Self {
        let mut svg = Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<title>{}</title>\n<style>.one {{ stroke: #555 }} .grid {{ stroke: #ddd }}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
            escaped(title)
        ));
        svg.add(format_args!(r#"<text x="{MARGIN}" y="{MARGIN}" font-size="15">{}</text>"#, escaped(title)));
        svg
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{element}");
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        self.add(format_args!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escaped(text)));
    }

    /// A dot and a name for each side, in the order of their colours.
    fn legend(&mut self, names: &[&str]) {
        for (index, name) in names.iter().enumerate() {
            let (x, y) = (MARGIN + 5.0 + 170.0 * index as f64, 2.0 * LINE + MARGIN / 2.0);
            self.add(format_args!(r#"<circle cx="{x}" cy="{y}" r="4.5" fill="{}"/>"#, colour(Some(index))));
            self.text(x + 10.0, y + 4.0, "start", name);
        }
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::Someone;
    use crate::report::{Bound, Figure, Unit};

    fn row(figure: Figure, adit: f64, peer: f64) -> Row {
        let mut row = Row::new::<Someone>(figure);
        row.push(Someone::Adit, adit);
        row.push(Someone::Peer, peer);
        row
    }

    #[test]
    fn a_lower_cost_and_a_higher_rate_are_both_better() {
        let cost = row(Figure::new("cost <1>", Unit::Kib, Bound::Free), 2.0, 8.0);
        let rate = row(Figure::new("rate", Unit::PerSecond, Bound::Free), 8.0, 2.0);
        assert_eq!([&cost, &rate].map(Row::advantages), [vec![("peer", 4.0)], vec![("peer", 4.0)]]);
        let drawn = advantages("both", &[&cost, &rate]).unwrap();
        assert!(drawn.contains("cost &lt;1&gt;"), "{drawn}");
        // One for each row, and one for the peer's name.
        assert_eq!(drawn.matches("<circle").count(), 3, "{drawn}");
        assert_eq!(advantages("none", &[]), None);
    }

    #[test]
    fn the_sizes_of_a_crowd_are_one_line_for_each_side() {
        let figure = |count: usize| {
            Figure::new(format!("beside {count}: login"), Unit::Milliseconds, Bound::Free).along("idle tunnels", count)
        };
        let rows = [row(figure(0), 1.0, 20.0), row(figure(1_000), 1.1, 40.0)];
        let series = all_series(&rows.iter().collect::<Vec<_>>());
        assert_eq!(series.len(), 1);
        assert_eq!(series[0].file_name(), "login-by-idle-tunnels");
        assert_eq!(series[0].lines[1].1, BTreeMap::from([(0, 20.0), (1_000, 40.0)]));
        assert_eq!(series[0].draw().matches("<polyline").count(), 2);
    }
}
