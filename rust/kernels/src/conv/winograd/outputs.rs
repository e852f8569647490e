//! Where the outputs of tiles go, with the pool or without.

use super::transforms::{output_tile, pool_tile};
use super::{INPUTS, OUTPUTS};
use crate::conv::after::After;
use crate::simd::{Ahead, Simd, from_slice, to_slice};

/// Where the results of a band go.
pub(super) trait Output {
    /// Stores the outputs of one tile at `corner`: (first, count) of its channels. `columns` are
    /// its products, transformed vertically.
    fn store<S: Simd>(
        &mut self,
        simd: S,
        columns: &[[S::F32; OUTPUTS]; INPUTS],
        corner: Corner,
        channels: (usize, usize),
    );

    /// With where it stores.
    fn add_to(&self, ahead: Ahead) -> Ahead;
}

/// Where a tile lies in its output.
#[derive(Clone, Copy)]
pub(super) struct Corner {
    /// The first element of its first pixel.
    pub at: usize,
    /// Elements of a row and of a pixel.
    pub strides: (usize, usize),
    /// Rows and columns that are there.
    pub extent: (usize, usize),
}

impl Corner {
    #[inline(always)]
    fn element(&self, y: usize, x: usize) -> usize {
        self.at + y * self.strides.0 + x * self.strides.1
    }
}

pub(super) struct Pooled<'a> {
    pub bias: &'a [f32],
    pub after: After<'a>,
    pub out: &'a mut [f32],
    pub winners: &'a mut [u8],
}

impl Output for Pooled<'_> {
    fn add_to(&self, ahead: Ahead) -> Ahead {
        ahead.with(self.out).with(self.winners)
    }

    #[inline(always)]
    fn store<S: Simd>(
        &mut self,
        simd: S,
        columns: &[[S::F32; OUTPUTS]; INPUTS],
        corner: Corner,
        (channel, count): (usize, usize),
    ) {
        let pooled = pool_tile(simd, columns);
        let bias = &self.bias[channel..][..count];
        for (y, pooled) in pooled.into_iter().enumerate().take(corner.extent.0) {
            for (x, (best, winner)) in pooled.into_iter().enumerate().take(corner.extent.1) {
                let at = corner.element(y, x) + channel;
                let out = &mut self.out[at..][..count];
                let winners = &mut self.winners[at..][..count];
                let sum = simd.add(best, from_slice(simd, bias));
                // SAFETY: `after` has `count` channels from `channel` on, and the slice as many bytes.
                unsafe {
                    let (value, winner) = self.after.apply(simd, channel, count, sum, winner);
                    to_slice(simd, out, value);
                    simd.store_index(winners.as_mut_ptr(), count, winner);
                }
            }
        }
    }
}

pub(super) struct Whole<'a> {
    pub bias: &'a [f32],
    pub out: &'a mut [f32],
}

impl Output for Whole<'_> {
    fn add_to(&self, ahead: Ahead) -> Ahead {
        ahead.with(self.out)
    }

    #[inline(always)]
    fn store<S: Simd>(
        &mut self,
        simd: S,
        columns: &[[S::F32; OUTPUTS]; INPUTS],
        corner: Corner,
        (channel, count): (usize, usize),
    ) {
        let outputs = output_tile(simd, columns);
        let bias = &self.bias[channel..][..count];
        for (y, outputs) in outputs.into_iter().enumerate().take(corner.extent.0) {
            for (x, sum) in outputs.into_iter().enumerate().take(corner.extent.1) {
                let out = &mut self.out[corner.element(y, x) + channel..][..count];
                to_slice(simd, out, simd.add(sum, from_slice(simd, bias)));
            }
        }
    }
}
