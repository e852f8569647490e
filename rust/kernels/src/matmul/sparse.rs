//! The product where many elements on the left are zero: each row lists those that are not, and only
//! they are multiplied. The terms of a sum keep their order, and a product of zero changes no sum,
//! so of a finite right matrix all bits are those of the dense product, but for the sign of zero.

use super::{Product, Start};
use crate::scratch;
use crate::simd::{Kernel, LINE, Simd, dispatch, load, store};

/// The longest row of a product that is computed alone.
pub(crate) const LONGEST: usize = 512;
/// Rows on the left that go through the steps together: their lists and sums stay in the first-level
/// cache.
const ROWS: usize = 16;
/// The most rows on the right of a step, with which all of those are multiplied before the next: a
/// multiply-add waits for a load of its own here. There are fewer where they would be more than
/// `FLOATS` together, the size of that cache, and always whole vectors of places.
const STEP: usize = 64;
const FLOATS: usize = 1 << 13;
const VECTOR: usize = 16;

/// Columns from which on lists pay.
const COLUMNS: usize = 64;
/// The largest share of elements that are not zero, parts of a whole, at which it pays to leave out
/// the others: see `docs/architecture.md`.
const SHARE: (usize, usize) = (9, 16);
/// One row of so many is looked at to tell.
const SAMPLE: usize = 8;

/// How many rows ahead those on the right are asked for, where a single row on the left reads them
/// from memory: that is all that its product waits for, and the skipped rows hide the pattern from
/// the hardware.
const AHEAD: usize = 32;
/// How many rows ahead those of `out` are asked for.
const OUT_AHEAD: usize = 2;

impl Product<'_> {
    /// Of one run with contiguous rows on the left: by lists where they pay, and where the right
    /// matrix is known to be finite.
    pub fn compute_sparse(self, finite: bool) {
        let (rows, columns) = (self.out.rows(), self.out.columns());
        if !finite || !lists_pay(self.left.data, self.left.row, (rows, self.run_length), columns) {
            return self.compute();
        }
        if !self.check() {
            return;
        }
        assert!(self.runs == 1 && self.left.step == 1);
        let step = (FLOATS / columns / VECTOR * VECTOR).clamp(VECTOR, STEP);
        let size = if self.run_length > step { rows.min(ROWS) * columns } else { 0 };
        scratch::with(size, |partials| {
            dispatch(Sparse::<false> { product: self, step, partials });
        });
    }

    /// Of one run with one contiguous row of up to `LONGEST` on the left, by a list.
    pub fn compute_alone(self) {
        if self.check() {
            assert!(self.runs == 1 && self.left.step == 1);
            assert!(self.out.rows() == 1 && self.run_length <= LONGEST);
            dispatch(Sparse::<true> { product: self, step: LONGEST, partials: &mut [] });
        }
    }

    /// Part of a row on the left.
    #[inline(always)]
    fn left_row(&self, row: usize, first: usize, count: usize) -> &[f32] {
        &self.left.data[row * self.left.row + first..][..count]
    }
}

/// The elements of some rows that are not zero, and their places. All rows are listed before the
/// first is read: a load of part of a vector that was stored just now would wait until all that
/// came before is done, which took twice the time.
struct Lists {
    values: [f32; ROWS * STEP],
    places: [u32; ROWS * STEP],
    counts: [usize; ROWS],
}

impl Lists {
    #[inline(always)]
    fn new() -> Self {
        Self { values: [0.0; ROWS * STEP], places: [0; ROWS * STEP], counts: [0; ROWS] }
    }

    /// Lists a row in the room of `length` for number `index`.
    #[inline(always)]
    fn fill<S: Simd>(&mut self, simd: S, row: &[f32], index: usize, length: usize) {
        let room = index * length..(index + 1) * length;
        let (values, places) = (&mut self.values[room.clone()], &mut self.places[room]);
        assert!(row.len() <= length && length.is_multiple_of(S::LANES));
        let mut count = 0;
        let whole = row.len() - row.len() % S::LANES;
        // SAFETY: the floats are those left of `row`. At most `first` are listed, a multiple of the
        // lanes below `length`, so there is room for a whole vector behind them.
        unsafe {
            let (values, places) = (values.as_mut_ptr(), places.as_mut_ptr());
            for first in (0..whole).step_by(S::LANES) {
                let lanes = simd.load(row.as_ptr().add(first));
                count += simd.compress(lanes, first as u32, values.add(count), places.add(count));
            }
            if whole < row.len() {
                let lanes = simd.load_partial(row.as_ptr().add(whole), row.len() - whole);
                count += simd.compress(lanes, whole as u32, values.add(count), places.add(count));
            }
        }
        self.counts[index] = count;
    }

    #[inline(always)]
    fn of(&self, index: usize, length: usize) -> (&[f32], &[u32]) {
        let room = index * length..index * length + self.counts[index];
        (&self.values[room.clone()], &self.places[room])
    }
}

/// Whether it pays to leave out the zeros of `rows` on the left, `stride` apart and `depth` long,
/// where as many columns are on the right.
pub(crate) fn lists_pay(
    left: &[f32],
    stride: usize,
    (rows, depth): (usize, usize),
    columns: usize,
) -> bool {
    if columns < COLUMNS {
        return false;
    }
    let sample = (0..rows).step_by(SAMPLE);
    let all = sample.len() * depth;
    let listed: usize = sample.map(|row| dispatch(NotZero(&left[row * stride..][..depth]))).sum();
    SHARE.1 * listed <= SHARE.0 * all
}

/// How many elements are not zero.
struct NotZero<'a>(&'a [f32]);

impl Kernel for NotZero<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> usize {
        self.0.iter().map(|&value| u32::from(value != 0.0)).sum::<u32>() as usize
    }
}

/// `ALONE`: the right matrix comes from memory.
struct Sparse<'a, const ALONE: bool> {
    product: Product<'a>,
    /// Up to `STEP`, or `LONGEST` for a single row.
    step: usize,
    /// The sums between steps: `ROWS` rows of all columns. Without use where there is one step.
    partials: &'a mut [f32],
}

impl<const ALONE: bool> Kernel for Sparse<'_, ALONE> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (rows, columns) = (self.product.out.rows(), self.product.out.columns());
        let depth = self.product.run_length;
        assert!(depth <= self.step || self.partials.len() == rows.min(ROWS) * columns);
        let mut lists = Lists::new();
        for top in (0..rows).step_by(ROWS) {
            let tile = ROWS.min(rows - top);
            for first in (0..depth).step_by(self.step) {
                let count = self.step.min(depth - first);
                for row in 0..tile {
                    let left = self.product.left_row(top + row, first, count);
                    lists.fill(simd, left, row, self.step);
                }
                for row in 0..tile {
                    if first + count == depth {
                        let out = self.product.out.as_mut_ptr();
                        let ahead = (top + row + OUT_AHEAD) * self.product.out.stride();
                        for column in (0..columns).step_by(LINE) {
                            simd.prefetch(out.wrapping_add(ahead + column));
                        }
                    }
                    self.row(simd, lists.of(row, self.step), top + row, first);
                }
            }
        }
    }
}

impl<const ALONE: bool> Sparse<'_, ALONE> {
    /// The step from `first` on of a row. The places of `list` are counted from `first`.
    #[inline(always)]
    fn row<S: Simd>(&mut self, simd: S, list: (&[f32], &[u32]), row: usize, first: usize) {
        let columns = self.product.out.columns();
        let mut column = 0;
        while column < columns {
            let at = (row, first, column);
            column += match columns - column {
                left if left >= 8 * S::LANES => self.sum::<S, 8, false>(simd, list, at),
                left if left >= 4 * S::LANES => self.sum::<S, 4, false>(simd, list, at),
                left if left >= S::LANES => self.sum::<S, 1, false>(simd, list, at),
                _ => self.sum::<S, 1, true>(simd, list, at),
            };
        }
    }

    /// `NV` vectors of it from `column` on; returns how many floats they are.
    #[inline(always)]
    fn sum<S: Simd, const NV: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        (values, places): (&[f32], &[u32]),
        (row, first, column): (usize, usize, usize),
    ) -> usize {
        let Self { product, step, partials } = self;
        let (columns, right_row) = (product.out.columns(), product.right_row);
        let left = columns - column;
        let out_row = product.out.stride();
        // SAFETY: `check` found all of `out`, of the bias and of the rows on the right, of which
        // there is one for each place, inside their slices; `run` the same of `partials`, which is
        // read and written only where there is more than one step. `left` columns are left, and a
        // vector for which that is too few is `PARTIAL`.
        unsafe {
            let mut sums = [simd.splat(0.0); NV];
            let out = product.out.as_mut_ptr().add(row * out_row + column);
            let partial = partials.as_mut_ptr().wrapping_add(row % ROWS * columns + column);
            let start = match product.start {
                _ if first > 0 => Some(partial.cast_const()),
                Start::Zero => None,
                Start::Bias(bias) => Some(bias.as_ptr().add(column)),
                Start::Out => Some(out.cast_const()),
            };
            if let Some(start) = start {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = load::<S, PARTIAL>(simd, left, start.add(v * S::LANES));
                }
            }

            let right = product.right.as_ptr().add(first * right_row + column);
            for (position, (&value, &place)) in values.iter().zip(places).enumerate() {
                if ALONE {
                    let ahead = places[(position + AHEAD).min(places.len() - 1)] as usize;
                    for v in (0..NV * S::LANES).step_by(LINE) {
                        simd.prefetch(right.wrapping_add(ahead * right_row + v));
                    }
                }
                let factor = simd.splat(value);
                let right = right.add(place as usize * right_row);
                for (v, sum) in sums.iter_mut().enumerate() {
                    let lanes = load::<S, PARTIAL>(simd, left, right.add(v * S::LANES));
                    *sum = simd.mul_add(factor, lanes, *sum);
                }
            }

            let last = first + *step >= product.run_length;
            for (v, &sum) in sums.iter().enumerate() {
                if last {
                    product.finish.apply::<S, PARTIAL>(simd, left, out.add(v * S::LANES), sum);
                } else {
                    store::<S, PARTIAL>(simd, left, partial.add(v * S::LANES), sum);
                }
            }
        }
        if PARTIAL { left } else { NV * S::LANES }
    }
}
