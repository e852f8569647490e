//! Sums of squares in float64, in an order that does not depend on the number of threads.

use std::ops::Range;

use crate::simd::{Kernel, Simd, dispatch};
use crate::sums::GROUPS;
use crate::threads::{chunks_mut, for_each};

/// Elements that are worth a task of their own.
const BLOCK: usize = 1 << 14;

/// The sum of the squares.
pub fn squared_norm(values: &[f32]) -> f64 {
    in_groups(values.len(), BLOCK, |range| squares(&values[range]))
}

/// The sum over the terms `0..count`, each group of `least` or more added by `add_terms`.
pub(crate) fn in_groups(
    count: usize,
    least: usize,
    add_terms: impl Fn(Range<usize>) -> f64 + Sync,
) -> f64 {
    let mut partials = [0.0; GROUPS];
    let group = count.div_ceil(GROUPS).max(least);
    let groups = count.div_ceil(group);
    for_each(chunks_mut(&mut partials[..groups], 1), |index, partial| {
        partial[0] = add_terms(index * group..count.min((index + 1) * group));
    });
    partials.iter().sum()
}

/// The sum of the squares, on the thread that calls.
pub(crate) fn squares(values: &[f32]) -> f64 {
    dispatch(Squares(values))
}

struct Squares<'a>(&'a [f32]);

impl Kernel for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> f64 {
        // Two vectors of the widest set; the same sums whatever the set.
        const SUMS: usize = 16;
        let mut sums = [0.0; SUMS];
        let (chunks, rest) = self.0.as_chunks::<SUMS>();
        for chunk in chunks {
            for (sum, &value) in sums.iter_mut().zip(chunk) {
                // The square of a float32 is exact.
                *sum += f64::from(value) * f64::from(value);
            }
        }
        for (sum, &value) in sums.iter_mut().zip(rest) {
            *sum += f64::from(value) * f64::from(value);
        }
        sums.iter().sum()
    }
}
