//! Transposes of matrices.

use crate::simd::{Kernel, Portable, Simd, dispatch};
use crate::threads::TileMut;

/// Rows and columns of a square, a cache line each way: of rows that are a power of two apart only
/// a few lines stay in the first-level cache, so all of a line is used at once.
const SQUARE: usize = 16;
/// Columns that are taken at a time.
const COLUMNS: usize = 4;

/// `out[c][r] = source[r * stride + c]`.
///
/// # Panics
/// `source` is shorter than that.
pub(crate) fn transpose(source: &[f32], stride: usize, out: TileMut<f32>) {
    dispatch(Transpose { source, stride, out });
}

struct Transpose<'a> {
    source: &'a [f32],
    stride: usize,
    out: TileMut<'a, f32>,
}

impl Kernel for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (rows, columns) = (self.out.columns(), self.out.rows());
        if rows == 0 || columns == 0 {
            return;
        }
        assert!((rows - 1) * self.stride + columns <= self.source.len());
        let far_out = self.out.stride() > self.stride;
        let whole = (rows - rows % S::LANES, columns - columns % COLUMNS);
        for top in (0..whole.0).step_by(SQUARE) {
            for left in (0..whole.1).step_by(SQUARE) {
                let row_blocks = (top..whole.0.min(top + SQUARE)).step_by(S::LANES);
                let column_blocks = (left..whole.1.min(left + SQUARE)).step_by(COLUMNS);
                // Lines of the side whose rows are further apart are finished one after the other.
                if far_out {
                    for c in column_blocks {
                        row_blocks.clone().for_each(|r| self.block(simd, (r, c)));
                    }
                } else {
                    for r in row_blocks {
                        column_blocks.clone().for_each(|c| self.block(simd, (r, c)));
                    }
                }
            }
        }
        self.last_rows(simd.narrow(), whole);
        for c in whole.1..columns {
            for r in 0..rows {
                self.out.row(c)[r] = self.source[r * self.stride + c];
            }
        }
    }
}

impl Transpose<'_> {
    /// `LANES` rows of `COLUMNS` columns.
    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, (r, c): (usize, usize)) {
        // SAFETY: the rows and columns are inside the matrix, which `run` found inside `source`.
        let vectors = unsafe {
            simd.load_columns(self.source.as_ptr().add(r * self.stride + c), self.stride)
        };
        for (k, vector) in vectors.into_iter().enumerate() {
            let target = &mut self.out.row(c + k)[r..r + S::LANES];
            // SAFETY: the slice holds `LANES` floats.
            unsafe { simd.store(target.as_mut_ptr(), vector) }
        }
    }

    /// Rows that do not fill a long vector, the first of them and the columns given.
    #[inline(always)]
    fn last_rows<S: Simd>(&mut self, narrow: S, (first, columns): (usize, usize)) {
        let rows = self.out.columns();
        for c in (0..columns).step_by(COLUMNS) {
            let mut r = first;
            while rows - r >= S::LANES {
                self.block(narrow, (r, c));
                r += S::LANES;
            }
            while rows - r >= Portable::LANES {
                self.block(Portable, (r, c));
                r += Portable::LANES;
            }
            for r in r..rows {
                for c in c..c + COLUMNS {
                    self.out.row(c)[r] = self.source[r * self.stride + c];
                }
            }
        }
    }
}
