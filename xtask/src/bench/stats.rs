//! Many samples of one thing as few numbers.

use serde::Serialize;

/// Median and spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// How many samples.
    pub n: usize,
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Stats {
    /// Of at least one sample.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { n: sorted.len(), median, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::Stats;

    #[test]
    fn a_median_is_the_middle() {
        let stats = |samples: &[f64]| Stats::of(samples).unwrap();
        assert_eq!(stats(&[9.0, 1.0, 2.0]), Stats { n: 3, median: 2.0, min: 1.0, max: 9.0 });
        assert_eq!(stats(&[9.0, 1.0, 4.0, 2.0]), Stats { n: 4, median: 3.0, min: 1.0, max: 9.0 });
        assert_eq!(stats(&[7.0]), Stats { n: 1, median: 7.0, min: 7.0, max: 7.0 });
        assert_eq!(Stats::of(&[]), None);
    }
}
