//! The filters in the other basis.

use super::transforms::transform_filter;
use super::{GAP, INPUTS, panel_width};
use crate::geometry::BlockGeometry;
use crate::simd::{Kernel, Simd, load_up_to};

/// The transformed filters of one panel: (plane, in_channel, channel of the panel), zeros behind
/// the last channel.
pub(super) struct Filters<'a> {
    pub geometry: &'a BlockGeometry,
    /// The first channel of the panel.
    pub first: usize,
    pub weight: &'a [f32],
    pub filters: &'a mut [f32],
}

impl Kernel for Filters<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let conv = &self.geometry.conv;
        let (width, padded) = panel_width(conv.out_channels, self.first);
        let plane = conv.in_channels * padded + GAP;
        for c in 0..conv.in_channels {
            for v in (0..padded).step_by(S::LANES) {
                let count = width.saturating_sub(v).min(S::LANES);
                let mut rows = [[simd.splat(0.0); 3]; 3];
                for (position, lanes) in rows.as_flattened_mut().iter_mut().enumerate() {
                    let at = (position * conv.in_channels + c) * conv.out_channels;
                    let from = &self.weight[at..][self.first..][v.min(width)..][..count];
                    // SAFETY: the slice holds `count` floats.
                    *lanes = unsafe { load_up_to(simd, count, from.as_ptr()) };
                }
                let mut columns = [[simd.splat(0.0); INPUTS]; 3];
                for (b, column) in columns.iter_mut().enumerate() {
                    *column = transform_filter(simd, [rows[0][b], rows[1][b], rows[2][b]]);
                }
                let [left, middle, right] = columns;
                for (i, ((left, middle), right)) in
                    left.into_iter().zip(middle).zip(right).enumerate()
                {
                    let row = transform_filter(simd, [left, middle, right]);
                    for (j, value) in row.into_iter().enumerate() {
                        let at = (i * INPUTS + j) * plane + c * padded + v;
                        let target = &mut self.filters[at..][..S::LANES];
                        // SAFETY: the slice holds `LANES` floats.
                        unsafe { simd.store(target.as_mut_ptr(), value) };
                    }
                }
            }
        }
    }
}
