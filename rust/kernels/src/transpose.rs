//! Transposes of matrices.

use crate::simd::{Kernel, Simd, dispatch};
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
        for top in (0..rows).step_by(SQUARE) {
            for left in (0..columns).step_by(SQUARE) {
                let row_blocks = (top..rows.min(top + SQUARE)).step_by(S::LANES);
                let column_blocks = (left..columns.min(left + SQUARE)).step_by(COLUMNS);
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
    }
}

impl Transpose<'_> {
    /// `LANES` rows of `COLUMNS` columns, or what is left of them.
    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, (r, c): (usize, usize)) {
        let rows = (self.out.columns() - r).min(S::LANES);
        let columns = (self.out.rows() - c).min(COLUMNS);
        if rows == S::LANES && columns == COLUMNS {
            // SAFETY: the rows and columns are inside the matrix, which `run` found inside `source`.
            let vectors = unsafe {
                simd.load_columns(self.source.as_ptr().add(r * self.stride + c), self.stride)
            };
            for (k, vector) in vectors.into_iter().enumerate() {
                let target = &mut self.out.row(c + k)[r..r + S::LANES];
                // SAFETY: the slice holds `LANES` floats.
                unsafe { simd.store(target.as_mut_ptr(), vector) }
            }
        } else {
            for c in c..c + columns {
                for r in r..r + rows {
                    self.out.row(c)[r] = self.source[r * self.stride + c];
                }
            }
        }
    }
}
