//! A look at the values of an array before they are used.

use rayon::prelude::*;

/// Elements that one task takes.
const BLOCK: usize = 1 << 14;

/// The smallest and the largest value, or `None` where one is NaN or infinite. An empty slice
/// gives (inf, -inf).
pub fn finite_range(values: &[f32]) -> Option<(f32, f32)> {
    let of_block = |block: &[f32]| {
        let (mut low, mut high, mut finite) = (f32::INFINITY, f32::NEG_INFINITY, true);
        for &value in block {
            low = low.min(value);
            high = high.max(value);
            finite &= value.is_finite();
        }
        finite.then_some((low, high))
    };
    values.par_chunks(BLOCK).map(of_block).try_reduce(
        || (f32::INFINITY, f32::NEG_INFINITY),
        |a, b| Some((a.0.min(b.0), a.1.max(b.1))),
    )
}
