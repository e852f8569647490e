//! The windows of `dx` that filters are added to.

use crate::simd::{Simd, load, store};

/// Adds the filters of the channels in `mask`, each times its gradient, to the window at the start
/// of `target`.
pub(super) struct Window<'a> {
    pub mask: u32,
    pub grads: &'a [f32],
    pub filters: &'a [f32],
    /// Floats of a filter.
    pub filter: usize,
    pub rows: usize,
    pub run: usize,
    pub target: &'a mut [f32],
    pub target_row: usize,
}

impl Window<'_> {
    #[inline(always)]
    pub fn add<S: Simd>(mut self, simd: S) {
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

    /// `ROWS` rows of the window from `row` on, in pieces that fit into registers.
    #[inline(always)]
    fn band<S: Simd, const ROWS: usize>(&mut self, simd: S, row: usize) {
        let mut start = 0;
        while start < self.run {
            let left = self.run - start;
            start += if left >= 3 * S::LANES {
                self.piece::<S, ROWS, 3, false>(simd, row, start)
            } else if left >= S::LANES {
                self.piece::<S, ROWS, 1, false>(simd, row, start)
            } else {
                self.piece::<S, ROWS, 1, true>(simd, row, start)
            };
        }
    }

    #[inline(always)]
    fn piece<S: Simd, const ROWS: usize, const VECTORS: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        row: usize,
        start: usize,
    ) -> usize {
        let count = self.run - start;
        let (target_row, run) = (self.target_row, self.run);
        let target = &mut self.target[row * target_row + start..];
        let _ = &target[..(ROWS - 1) * target_row + count.min(VECTORS * S::LANES)];
        let target = target.as_mut_ptr();
        let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
        // SAFETY: the slice above shows that the window's part of `target` is there. Bits of the
        // mask stand for channels of `grads`, whose filters, `ROWS` rows from `row` on, are inside
        // `filters`, and `SLACK >= LANES` floats behind the last of them.
        unsafe {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    let at = target.add(r * target_row + v * S::LANES);
                    *sum = load::<S, PARTIAL>(simd, count, at);
                }
            }
            let filters = self.filters.as_ptr().add(row * run + start);
            let mut mask = self.mask;
            while mask != 0 {
                let f = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let factor = simd.splat(*self.grads.get_unchecked(f));
                let filter = filters.add(f * self.filter);
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let lanes = simd.load(filter.add(r * run + v * S::LANES));
                        *sum = simd.mul_add(factor, lanes, *sum);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    store::<S, PARTIAL>(
                        simd,
                        count,
                        target.add(r * target_row + v * S::LANES),
                        sum,
                    );
                }
            }
        }
        VECTORS * S::LANES
    }
}
