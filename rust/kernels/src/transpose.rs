//! Transposes of matrices.

use wide::f32x4;

use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::TileMut;

/// `out[c][r] = source[r * stride + c]`.
///
/// Four by four elements in registers, and squares of those: the rows of a whole power of two fall
/// into few cache sets and would push each other out.
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
    fn run<S: Simd>(self, _simd: S) {
        let Self { source, stride, mut out } = self;
        const SQUARE: usize = 16;
        const BLOCK: usize = 4;
        let (rows, columns) = (out.columns(), out.rows());
        for top in (0..rows).step_by(SQUARE) {
            for left in (0..columns).step_by(SQUARE) {
                for r in (top..rows.min(top + SQUARE)).step_by(BLOCK) {
                    for c in (left..columns.min(left + SQUARE)).step_by(BLOCK) {
                        if r + BLOCK <= rows && c + BLOCK <= columns {
                            let row = |k: usize| {
                                let row = &source[(r + k) * stride + c..][..BLOCK];
                                f32x4::from([row[0], row[1], row[2], row[3]])
                            };
                            let block = f32x4::transpose([row(0), row(1), row(2), row(3)]);
                            for (k, lanes) in block.into_iter().enumerate() {
                                out.row(c + k)[r..r + BLOCK].copy_from_slice(&lanes.to_array());
                            }
                        } else {
                            for r in r..rows.min(r + BLOCK) {
                                for c in c..columns.min(c + BLOCK) {
                                    out.row(c)[r] = source[r * stride + c];
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
