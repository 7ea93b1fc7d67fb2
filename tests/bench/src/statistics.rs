//! Of many values, the few that are printed.

use std::fmt;

/// The median and the quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// A quarter of the values is below.
    pub lower: f64,
    /// Half of them.
    pub median: f64,
    /// Three quarters.
    pub upper: f64,
}

impl Spread {
    /// # Panics
    /// If there are no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |share| *percentile(&values, share).expect("there are values");
        Self {
            lower: at(0.25),
            median: at(0.5),
            upper: at(0.75),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.lower, self.upper)
    }
}

/// The value that this share of the sorted values does not exceed.
pub fn percentile<T>(sorted: &[T], share: f64) -> Option<&T> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&values, 0.99), Some(&198));
        assert_eq!(percentile(&values, 0.5), Some(&100));
        assert_eq!(percentile(&values[..1], 0.99), Some(&1));
        assert_eq!(percentile::<u32>(&[], 0.99), None);
    }

    #[test]
    fn a_spread_has_the_quartiles_of_unsorted_values() {
        let spread = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(spread.to_string(), "3.00 (2.00–4.00)");
    }
}
