//! The filters in the other basis.

use super::memory::panel_size;
use super::transforms::transform_filter;
use super::{GAP, INPUTS, PANEL, panel_width};
use crate::geometry::ConvGeometry;
use crate::scratch::aligned;
use crate::simd::{Kernel, Simd, dispatch, from_slice};
use crate::threads::{chunks_mut, for_each};

/// What forward makes of the weights of a layer. It is kept from call to call for as long as they stay
/// the same: a single image would wait for it, and other cores for its way from the one that made it.
#[derive(Default)]
pub struct Filters {
    /// Input and output channels, and the weights.
    of: ((usize, usize), Vec<f32>),
    /// Panel by panel, as `Transform` makes them.
    transformed: Vec<f32>,
}

impl Filters {
    pub(super) fn transformed(&mut self, conv: &ConvGeometry, weight: &[f32]) -> &[f32] {
        let channels = (conv.in_channels, conv.out_channels);
        let panel = panel_size(conv.in_channels);
        let transformed = aligned(&mut self.transformed, conv.out_channels.div_ceil(PANEL) * panel);
        let (of_channels, of_weight) = &mut self.of;
        if *of_channels != channels || !same_bits(of_weight, weight) {
            *of_channels = (0, 0); // nothing is kept of what does not come to its end
            of_weight.clear();
            of_weight.extend_from_slice(weight);
            let weight = &**of_weight;
            for_each(chunks_mut(transformed, panel), |panel, filters| {
                dispatch(Transform { channels, first: panel * PANEL, weight, filters });
            });
            *of_channels = channels;
        }
        transformed
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    /// Without a branch inside, so that the compiler vectorises it.
    const BLOCK: usize = 256;
    let differ = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).fold(0, |bits, (a, b)| bits | (a.to_bits() ^ b.to_bits())) != 0
    };
    let mut blocks = a.chunks(BLOCK).zip(b.chunks(BLOCK));
    a.len() == b.len() && !blocks.any(|(a, b)| differ(a, b))
}

/// The transformed filters of one panel: (plane, in_channel, channel of the panel), zeros behind
/// the last channel.
pub(super) struct Transform<'a> {
    /// Input and output channels.
    pub channels: (usize, usize),
    /// The first channel of the panel.
    pub first: usize,
    /// (3, 3, in_channels, out_channels).
    pub weight: &'a [f32],
    pub filters: &'a mut [f32],
}

impl Kernel for Transform<'_> {
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
                    *lanes = from_slice(simd, from);
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
