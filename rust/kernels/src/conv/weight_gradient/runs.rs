//! Sums of scaled runs: the body of the weight gradient.

use crate::conv::slices::SLACK;
use crate::simd::{Simd, load_up_to, store_up_to};

/// A factor, and the pixel of the source at which the rows that it scales start.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(8))]
pub(super) struct Term {
    pub factor: f32,
    pub pixel: u32,
}

/// Adds to each of the `rows` runs of `target` the sum over all terms of factor times the run of
/// `source` that lies there.
pub(super) struct Runs<'a> {
    pub terms: &'a [Term],
    /// Floats of a pixel.
    pub pixel: usize,
    pub rows: usize,
    /// Floats in a run.
    pub run: usize,
    /// Behind the last run of the furthest term, `SLACK` floats follow.
    pub source: &'a [f32],
    pub source_row: usize,
    pub target: &'a mut [f32],
    pub target_row: usize,
}

impl Runs<'_> {
    #[inline(always)]
    pub fn add<S: Simd>(mut self, simd: S) {
        if self.terms.is_empty() {
            return;
        }
        let mut row = 0;
        while self.rows - row >= 3 {
            self.band::<S, 3>(simd, row);
            row += 3;
        }
        while row < self.rows {
            self.band::<S, 1>(simd, row);
            row += 1;
        }
    }

    /// `ROWS` runs from `row` on, in pieces whose sums fit into registers.
    #[inline(always)]
    fn band<S: Simd, const ROWS: usize>(&mut self, simd: S, row: usize) {
        let mut start = 0;
        while start < self.run {
            let left = (self.run - start).div_ceil(S::LANES);
            let vectors = match left {
                6.. if S::LANES == 16 => self.piece::<S, ROWS, 6>(simd, row, start),
                4.. if S::LANES != 16 && left != 6 => self.piece::<S, ROWS, 4>(simd, row, start),
                3.. => self.piece::<S, ROWS, 3>(simd, row, start),
                2 => self.piece::<S, ROWS, 2>(simd, row, start),
                _ => self.piece::<S, ROWS, 1>(simd, row, start),
            };
            start += vectors * S::LANES;
        }
    }

    /// `VECTORS` vectors of each run, from float `start` on.
    #[inline(always)]
    fn piece<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        row: usize,
        start: usize,
    ) -> usize {
        // SAFETY: terms are made from pooled pixels and places inside the geometry, so their runs
        // lie inside `source`, and `SLACK >= LANES` floats behind the last of them; of `target`
        // no more than `run` floats of each of the `rows` runs is touched.
        unsafe {
            let source = self.source.as_ptr().add(row * self.source_row + start);
            let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
            for term in self.terms {
                let start = term.pixel as usize * self.pixel;
                debug_assert!(
                    start + (self.rows - 1) * self.source_row + self.run + SLACK
                        <= self.source.len()
                );
                let factor = simd.splat(term.factor);
                let source = source.add(start);
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let lanes = simd.load(source.add(r * self.source_row + v * S::LANES));
                        *sum = simd.mul_add(factor, lanes, *sum);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                let first = (row + r) * self.target_row + start;
                for (v, &sum) in sums.iter().enumerate() {
                    let count = (self.run - start - v * S::LANES).min(S::LANES);
                    let target = &mut self.target[first + v * S::LANES..][..count];
                    let target = target.as_mut_ptr();
                    let old = load_up_to(simd, count, target);
                    store_up_to(simd, count, target, simd.add(sum, old));
                }
            }
        }
        VECTORS
    }
}
