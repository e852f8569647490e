//! The filters in the other basis.

use super::transforms::transform_filter;
use super::{GAP, INPUTS, panel_width};
use crate::simd::{Kernel, Simd, load_up_to};

/// The transformed filters of one panel: (plane, in_channel, channel of the panel), zeros behind
/// the last channel.
pub(super) struct Filters<'a> {
    /// Input and output channels.
    pub channels: (usize, usize),
    /// The first channel of the panel.
    pub first: usize,
    /// (3, 3, in_channels, out_channels).
    pub weight: &'a [f32],
    pub filters: &'a mut [f32],
}

impl Kernel for Filters<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (in_channels, out_channels) = self.channels;
        let (width, padded) = panel_width(out_channels, self.first);
        let plane = in_channels * padded + GAP;
        for c in 0..in_channels {
            for v in (0..padded).step_by(S::LANES) {
                let count = width.saturating_sub(v).min(S::LANES);
                let mut rows = [[simd.splat(0.0); 3]; 3];
                for (position, lanes) in rows.as_flattened_mut().iter_mut().enumerate() {
                    let at = (position * in_channels + c) * out_channels;
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
