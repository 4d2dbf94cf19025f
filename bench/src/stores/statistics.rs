//! Percentiles of many numbers.

/// The one below which this share of them is; they are sorted.
pub(super) fn quantile(sorted: &[u32], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .map_or(f64::NAN, |found| f64::from(*found))
}
