//! The product under convolutions and dense layers.
//!
//! `out[m][n] = start + sum over r, k of left(m, r, k) * right[r * run_length + k][n]`, where
//! `left(m, r, k)` lies at `m * row + r * run + k * step`. With one run this is an ordinary matrix
//! product with any strides on the left. With a run for each kernel row it is a convolution read
//! in place: in NHWC the window of an output pixel is `kernel_h` contiguous runs of
//! `kernel_w * channels` floats, and the windows of neighbours overlap by just moving the start.
//!
//! A tile of `MR` rows by `NV` vectors is held in registers over the whole sum, so the terms of
//! an element are added in the order of (r, k) whatever the tile and the lanes.

mod sparse;

pub(crate) use sparse::{LONGEST as LONGEST_LIST, lists_pay};

use crate::optimizer::Rate;
use crate::simd::{Ahead, Kernel, LINE, Simd, dispatch, load, store};
use crate::threads::TileMut;

/// After so many terms the next part of what is ahead is asked for: of many lines at once the last
/// would be waited for.
const TERMS: usize = 8;

/// The left operand: element (m, r, k) is `data[m * row + r * run + k * step]`.
pub(crate) struct Left<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub run: usize,
    pub step: usize,
}

/// What the sums start from.
pub(crate) enum Start<'a> {
    Zero,
    /// One value for each column.
    Bias(&'a [f32]),
    /// The content of `out`.
    Out,
}

/// What becomes of the sums.
#[derive(Clone, Copy)]
pub(crate) enum Finish {
    /// They go to `out`.
    Store,
    /// `out += sum`.
    Add,
    /// `out -= rate * sum + decay * out`, every product rounded.
    Descend(Rate),
}

impl Finish {
    /// Of a vector of sums, or of its first `count` lanes.
    ///
    /// # Safety
    /// `LANES` floats at `out` must be readable and writable, `count < LANES` of them if PARTIAL.
    #[inline(always)]
    unsafe fn apply<S: Simd, const PARTIAL: bool>(
        self,
        simd: S,
        count: usize,
        out: *mut f32,
        sum: S::F32,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let result = match self {
                Finish::Store => sum,
                Finish::Add => simd.add(load::<S, PARTIAL>(simd, count, out), sum),
                Finish::Descend(rate) => {
                    let old = load::<S, PARTIAL>(simd, count, out);
                    let step = simd.mul(simd.splat(rate.step), sum);
                    let decay = simd.mul(simd.splat(rate.decay), old);
                    simd.sub(old, simd.add(step, decay))
                }
            };
            store::<S, PARTIAL>(simd, count, out, result);
        }
    }
}

/// A product to compute; see the module.
pub(crate) struct Product<'a> {
    pub runs: usize,
    pub run_length: usize,
    pub left: Left<'a>,
    /// `runs * run_length` rows of at least `columns`, `right_row` apart.
    pub right: &'a [f32],
    pub right_row: usize,
    pub start: Start<'a>,
    pub finish: Finish,
    pub out: TileMut<'a, f32>,
    /// What is asked for while dense sums are made.
    pub ahead: Ahead,
}

impl Product<'_> {
    /// Computes with the instruction set in force.
    pub fn compute(self) {
        if self.check() {
            dispatch(self);
        }
    }

    /// That all that is addressed is inside its slice; returns whether there is anything to do.
    fn check(&self) -> bool {
        let (rows, columns) = (self.out.rows(), self.out.columns());
        if rows == 0 || columns == 0 {
            return false;
        }
        let Left { data, row, run, step } = self.left;
        assert!(self.runs > 0 && self.run_length > 0);
        let last = (rows - 1) * row + (self.runs - 1) * run + (self.run_length - 1) * step;
        assert!(last < data.len());
        let depth = self.runs * self.run_length;
        assert!(
            columns <= self.right_row && (depth - 1) * self.right_row + columns <= self.right.len()
        );
        if let Start::Bias(bias) = self.start {
            assert_eq!(bias.len(), columns);
        }
        true
    }
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // Rows that fill the registers: 16 accumulators of 32 registers (AVX-512), 12 of 16
        // (AVX2), 8 of 16 (SSE, NEON).
        match S::LANES {
            16 => self.cover_asking::<S, 8>(simd),
            8 => self.cover_asking::<S, 6>(simd),
            _ => self.cover_asking::<S, 4>(simd),
        }
    }
}

impl Product<'_> {
    /// A product that asks for nothing is spared the turns in which it would.
    #[inline(always)]
    fn cover_asking<S: Simd, const MR: usize>(self, simd: S) {
        if self.ahead.is_empty() {
            self.cover::<S, MR, false>(simd);
        } else {
            self.cover::<S, MR, true>(simd);
        }
    }

    /// Cuts the output into tiles of `MR` rows by two vectors, and smaller ones at the edges. `ASKS`:
    /// for what is ahead.
    #[inline(always)]
    fn cover<S: Simd, const MR: usize, const ASKS: bool>(mut self, simd: S) {
        let tiles = self.out.rows().div_ceil(MR) * self.out.columns().div_ceil(2 * S::LANES);
        self.ahead = self.ahead.in_parts(tiles * self.runs * self.run_length.div_ceil(TERMS));
        let mut column = 0;
        while column < self.out.columns() {
            let left = self.out.columns() - column;
            if left >= 2 * S::LANES {
                self.column_of_tiles::<S, MR, 2, false, ASKS>(simd, column);
                column += 2 * S::LANES;
            } else if left >= S::LANES {
                self.column_of_tiles::<S, MR, 1, false, ASKS>(simd, column);
                column += S::LANES;
            } else {
                self.column_of_tiles::<S, MR, 1, true, ASKS>(simd, column);
                column += left;
            }
        }
    }

    #[inline(always)]
    fn column_of_tiles<
        S: Simd,
        const MR: usize,
        const NV: usize,
        const PARTIAL: bool,
        const ASKS: bool,
    >(
        &mut self,
        simd: S,
        column: usize,
    ) {
        let mut row = 0;
        let rows = self.out.rows();
        while rows - row >= MR {
            self.tile::<S, MR, NV, PARTIAL, ASKS>(simd, row, column);
            row += MR;
        }
        while rows - row >= 2 {
            self.tile::<S, 2, NV, PARTIAL, ASKS>(simd, row, column);
            row += 2;
        }
        if row < rows {
            self.tile::<S, 1, NV, PARTIAL, ASKS>(simd, row, column);
        }
    }

    /// `MR` rows by `NV` vectors from (row, column) on. `PARTIAL`: the vector is wider than the
    /// columns left.
    #[inline(always)]
    fn tile<S: Simd, const MR: usize, const NV: usize, const PARTIAL: bool, const ASKS: bool>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
    ) {
        let count = self.out.columns() - column;
        let out_row = self.out.stride();
        // SAFETY: `compute` checked that the furthest element of each operand is inside its
        // slice; rows below `rows` and columns below `columns` are all that is addressed.
        unsafe {
            let out = self.out.as_mut_ptr().add(row * out_row + column);
            if !matches!(self.finish, Finish::Store) {
                // It is read and written at the end: asked for now, it comes while the sums are made.
                for m in 0..MR {
                    for v in (0..NV * S::LANES).step_by(LINE) {
                        simd.prefetch(out.wrapping_add(m * out_row + v));
                    }
                }
            }
            let mut sums = [[simd.splat(0.0); NV]; MR];
            match self.start {
                Start::Zero => {}
                Start::Bias(bias) => {
                    for v in 0..NV {
                        let value = load::<S, PARTIAL>(
                            simd,
                            count,
                            bias.as_ptr().add(column + v * S::LANES),
                        );
                        for sum in &mut sums {
                            sum[v] = value;
                        }
                    }
                }
                Start::Out => {
                    for (m, sum) in sums.iter_mut().enumerate() {
                        for (v, lanes) in sum.iter_mut().enumerate() {
                            *lanes = load::<S, PARTIAL>(
                                simd,
                                count,
                                out.add(m * out_row + v * S::LANES),
                            );
                        }
                    }
                }
            }

            let Left { data, row: left_row, run, step } = self.left;
            let mut right = self.right.as_ptr().add(column);
            for r in 0..self.runs {
                let mut left = data.as_ptr().add(row * left_row + r * run);
                for term in 0..self.run_length {
                    if ASKS && term % TERMS == 0 {
                        self.ahead.ask(simd);
                    }
                    let mut vectors = [simd.splat(0.0); NV];
                    for (v, lanes) in vectors.iter_mut().enumerate() {
                        *lanes = load::<S, PARTIAL>(simd, count, right.add(v * S::LANES));
                    }
                    for (m, sum) in sums.iter_mut().enumerate() {
                        let factor = simd.splat(*left.add(m * left_row));
                        for v in 0..NV {
                            sum[v] = simd.mul_add(factor, vectors[v], sum[v]);
                        }
                    }
                    left = left.wrapping_add(step);
                    right = right.wrapping_add(self.right_row);
                }
            }

            for (m, sum) in sums.iter().enumerate() {
                for (v, &lanes) in sum.iter().enumerate() {
                    let out = out.add(m * out_row + v * S::LANES);
                    self.finish.apply::<S, PARTIAL>(simd, count, out, lanes);
                }
            }
        }
    }
}
