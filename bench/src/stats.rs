//! The few statistics a table of medians needs.

use std::time::Duration;

/// What lies in the middle of these numbers; `None` of none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (last, first) = (sorted.get(sorted.len() / 2)?, sorted.get((sorted.len() - 1) / 2)?);
    Some((first + last) / 2.0)
}

/// How long each of many small things took.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds one.
    pub(crate) fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> f64 {
        self.0.len() as f64
    }

    /// The latency that `share` of them do not exceed, in microseconds; 0 when there are none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_quantile_is_a_latency_that_was_seen() {
        let mut latencies = Latencies::default();
        (1..=100).for_each(|micros| latencies.push(Duration::from_micros(micros)));
        assert_eq!(latencies.quantile(0.5).round(), 50.0);
        assert_eq!(latencies.quantile(0.99).round(), 99.0);
        assert_eq!(latencies.quantile(1.0).round(), 100.0);
    }
}
