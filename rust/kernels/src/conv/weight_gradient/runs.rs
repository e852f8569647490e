//! Sums of scaled runs: the body of the weight gradient.

use super::positions::Terms;
use crate::conv::slices::SLACK;
use crate::simd::{Simd, from_slice, to_slice};

/// Adds to each of the `rows` runs of `target`, which lie one behind the other, the sum over all
/// terms of factor times the run of `source` that lies there; and the sum of the factors to `bias`.
pub(super) struct Runs<'a> {
    pub terms: Terms<'a>,
    /// Floats of a pixel.
    pub pixel: usize,
    pub rows: usize,
    /// Floats in a run.
    pub run: usize,
    /// Behind the last run of the furthest term, `SLACK` floats follow.
    pub source: &'a [f32],
    pub source_row: usize,
    pub target: &'a mut [f32],
    pub bias: Option<&'a mut f32>,
}

impl Runs<'_> {
    #[inline(always)]
    pub fn add<S: Simd>(mut self, simd: S) {
        if self.terms.factors.is_empty() {
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

    /// `VECTORS` vectors of each run, from float `start` on. The last of several ends where the
    /// run ends: it overlaps the one before, but does not reach into another cache line.
    #[inline(always)]
    fn piece<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        row: usize,
        start: usize,
    ) -> usize {
        let left = self.run - start;
        let last = if VECTORS == 1 { 0 } else { left.min(VECTORS * S::LANES) - S::LANES };
        let at = |v: usize| if v + 1 == VECTORS { last } else { v * S::LANES };
        let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
        let mut bias = simd.splat(0.0);
        // SAFETY: terms are made from pooled pixels and places inside the geometry, so their runs lie
        // inside `source`, and `SLACK >= LANES` floats behind the last of them.
        unsafe {
            let source = self.source.as_ptr().add(row * self.source_row + start);
            for (factor, &pixel) in self.terms.factors.iter().zip(self.terms.pixels) {
                let start = pixel as usize * self.pixel;
                debug_assert!(
                    start + (self.rows - 1) * self.source_row + self.run + SLACK
                        <= self.source.len()
                );
                let factor = simd.splat(*factor);
                let source = source.add(start);
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let lanes = simd.load(source.add(r * self.source_row + at(v)));
                        *sum = simd.mul_add(factor, lanes, *sum);
                    }
                }
                bias = simd.add(bias, factor);
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let target = &mut self.target[(row + r) * self.run + start..][..left];
            let mut totals = *sums;
            for (v, total) in totals.iter_mut().enumerate() {
                *total = simd.add(*total, from_slice(simd, &target[at(v)..]));
            }
            for (v, &total) in totals.iter().enumerate() {
                to_slice(simd, &mut target[at(v)..], total);
            }
        }
        if let Some(target) = self.bias.take() {
            let mut total = [0.0];
            to_slice(simd, &mut total, bias);
            *target += total[0];
        }
        VECTORS
    }
}
