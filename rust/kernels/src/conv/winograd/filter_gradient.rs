//! From sums over tiles to the filter gradients, `G^T D G`.

use super::INPUTS;
use super::transforms::transform_filter_grad;
use crate::simd::{Kernel, Simd, from_slice, to_slice};

pub(super) struct FilterGradient<'a> {
    /// (plane, filter), a filter for each pair of channels.
    pub sums: &'a [f32],
    pub filters: usize,
    /// (3 * 3, filter).
    pub dweight: &'a mut [f32],
}

impl Kernel for FilterGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let zero = simd.splat(0.0);
        for at in (0..self.filters).step_by(S::LANES) {
            let count = (self.filters - at).min(S::LANES);
            let mut columns = [[zero; 3]; INPUTS];
            for (j, column) in columns.iter_mut().enumerate() {
                let mut m = [zero; INPUTS];
                for (i, lanes) in m.iter_mut().enumerate() {
                    let source = &self.sums[(i * INPUTS + j) * self.filters + at..][..count];
                    *lanes = from_slice(simd, source);
                }
                *column = transform_filter_grad(simd, m);
            }
            for y in 0..3 {
                let mut m = [zero; INPUTS];
                for (lanes, column) in m.iter_mut().zip(&columns) {
                    *lanes = column[y];
                }
                for (x, lanes) in transform_filter_grad(simd, m).into_iter().enumerate() {
                    let target = &mut self.dweight[(3 * y + x) * self.filters + at..][..count];
                    to_slice(simd, target, lanes);
                }
            }
        }
    }
}
