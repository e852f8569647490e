//! From sums over tiles to the filter gradients, `G^T D G`.

use super::transforms::transform_filter_grad;
use super::{INPUTS, PLANES};
use crate::simd::{Kernel, Simd, load_up_to, store_up_to};
use crate::sums::add;
use crate::threads::TileMut;

/// The filters of one input channel.
pub(super) struct FilterGradient<'a> {
    /// Partial sums, each (plane, in_channel, out_channel) and then what is `behind` it.
    pub partials: &'a [f32],
    pub behind: usize,
    pub in_channel: usize,
    /// Input and output channels.
    pub channels: (usize, usize),
    /// The total of the partial sums, (plane, out_channel): working memory.
    pub total: &'a mut [f32],
    /// (3 * 3, out_channel).
    pub dweight: TileMut<'a, f32>,
}

impl Kernel for FilterGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (inputs, outputs) = self.channels;
        let sums = PLANES * inputs * outputs;
        for (index, partial) in self.partials.chunks_exact(sums + self.behind).enumerate() {
            for plane in 0..PLANES {
                let source = &partial[(plane * inputs + self.in_channel) * outputs..][..outputs];
                let total = &mut self.total[plane * outputs..][..outputs];
                if index == 0 {
                    total.copy_from_slice(source);
                } else {
                    add(total, source);
                }
            }
        }
        for v in (0..outputs).step_by(S::LANES) {
            let count = (outputs - v).min(S::LANES);
            let zero = simd.splat(0.0);
            let mut columns = [[zero; 3]; INPUTS];
            for (j, column) in columns.iter_mut().enumerate() {
                let mut m = [zero; INPUTS];
                for (i, lanes) in m.iter_mut().enumerate() {
                    let source = &self.total[(i * INPUTS + j) * outputs + v..][..count];
                    // SAFETY: the slice holds `count` floats.
                    *lanes = unsafe { load_up_to(simd, count, source.as_ptr()) };
                }
                *column = transform_filter_grad(simd, m);
            }
            for y in 0..3 {
                let mut m = [zero; INPUTS];
                for (lanes, column) in m.iter_mut().zip(&columns) {
                    *lanes = column[y];
                }
                for (x, lanes) in transform_filter_grad(simd, m).into_iter().enumerate() {
                    let target = &mut self.dweight.row(3 * y + x)[v..][..count];
                    // SAFETY: the slice holds `count` floats.
                    unsafe { store_up_to(simd, count, target.as_mut_ptr(), lanes) };
                }
            }
        }
    }
}
