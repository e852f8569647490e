//! Convolution, bias, 2x2 max pool and ReLU in one pass.
//!
//! A tile of neighbouring windows, two output rows high, is summed in registers, reduced to its
//! pooled values and winners there, and stored once: the full-resolution output never exists. The
//! windows are read in place from a padded copy of the image, as in `general`, and each sum has
//! the same terms in the same order.

use ndarray::{ArrayView1, ArrayView4, ArrayViewMut4};

use super::padded::{image_size, pad, padded_row, padded_size};
use crate::error::Result;
use crate::geometry::BlockGeometry;
use crate::pixel::Pixel;
use crate::scratch;
use crate::simd::{Kernel, Simd, dispatch, load, store};
use crate::threads::{chunks, chunks_mut, for_each};
use crate::view::{batch_of, slice, slice_mut};

/// `out` is the ReLU of the largest of each 2x2 windows of the convolution of `x`, `winners` the
/// place of that largest: `2 * row + column`, the first of equals. NaN beats every number.
///
/// `x` is (batch, height, width, in_channels), `weight` (kernel_h, kernel_w, in_channels,
/// out_channels), `bias` (out_channels), `out` and `winners` (batch, pooled_height, pooled_width,
/// out_channels).
///
/// # Errors
/// An array whose shape is not that of the geometry.
pub fn conv_pool_relu<T: Pixel>(
    geometry: &BlockGeometry,
    x: ArrayView4<T>,
    weight: ArrayView4<f32>,
    bias: ArrayView1<f32>,
    mut out: ArrayViewMut4<f32>,
    mut winners: ArrayViewMut4<u8>,
) -> Result<()> {
    let BlockGeometry { conv, pool } = geometry;
    let batch = x.shape()[0];
    let x = slice("x", &x, &batch_of(batch, conv.input_shape()))?;
    let weight = slice("weight", &weight, &conv.weight_shape())?;
    let bias = slice("bias", &bias, &[conv.out_channels])?;
    let out = slice_mut("out", &mut out, &batch_of(batch, pool.output_shape()))?;
    let winners = slice_mut("winners", &mut winners, &batch_of(batch, pool.output_shape()))?;

    let output = image_size(pool.output_shape());
    let images = chunks(x, image_size(conv.input_shape()));
    let images = (images, chunks_mut(out, output), chunks_mut(winners, output));
    for_each(images, |_, (image, out, winners)| {
        scratch::with(padded_size(conv), |padded| {
            pad(conv, image, padded);
            let padded = &*padded;
            dispatch(Image { geometry, padded, weight, bias, out, winners });
        });
    });
    Ok(())
}

/// One padded image and the place of its result.
struct Image<'a> {
    geometry: &'a BlockGeometry,
    padded: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    out: &'a mut [f32],
    winners: &'a mut [u8],
}

impl Kernel for Image<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        // Pooled pixels by vectors of channels in a tile, four sums each: 16 of 32 registers
        // (AVX-512), 12 of 16 (AVX2), 8 of 16 (SSE, NEON).
        let channels = self.geometry.conv.out_channels;
        let mut channel = 0;
        while channel < channels {
            let left = channels - channel;
            if S::LANES == 16 && left >= 2 * S::LANES {
                self.panel::<S, 2, 2, false>(simd, channel);
                channel += 2 * S::LANES;
                continue;
            }
            match (S::LANES, left >= S::LANES) {
                (16, true) => self.panel::<S, 4, 1, false>(simd, channel),
                (16, false) => self.panel::<S, 4, 1, true>(simd, channel),
                (8, true) => self.panel::<S, 3, 1, false>(simd, channel),
                (8, false) => self.panel::<S, 3, 1, true>(simd, channel),
                (_, true) => self.panel::<S, 2, 1, false>(simd, channel),
                (_, false) => self.panel::<S, 2, 1, true>(simd, channel),
            }
            channel += S::LANES;
        }
    }
}

impl Image<'_> {
    /// All pixels of `NV` vectors of channels from `channel` on.
    #[inline(always)]
    fn panel<S: Simd, const POOLED: usize, const NV: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        channel: usize,
    ) {
        let [height, width, _] = self.geometry.pool.output_shape();
        for y in 0..height {
            let mut x = 0;
            while width - x >= POOLED {
                self.tile::<S, POOLED, NV, PARTIAL>(simd, y, x, channel);
                x += POOLED;
            }
            while x < width {
                self.tile::<S, 1, NV, PARTIAL>(simd, y, x, channel);
                x += 1;
            }
        }
    }

    /// `POOLED` pooled pixels of row `y` from column `x` on. `PARTIAL`: the vector is wider than
    /// the channels left.
    #[inline(always)]
    fn tile<S: Simd, const POOLED: usize, const NV: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        y: usize,
        x: usize,
        channel: usize,
    ) {
        let BlockGeometry { conv, pool } = self.geometry;
        let channels = conv.out_channels;
        let count = channels - channel;
        let row = padded_row(conv);
        let pixel = conv.in_channels;
        let run = conv.width.window * pixel;

        // SAFETY: (y, x + POOLED - 1) is inside the pooled image, so its four windows are inside
        // `padded`, which holds every window of the convolution; `weight`, `bias`, `out` and
        // `winners` have the shapes of the geometry, and `NV` vectors of channels from `channel`
        // on are inside them unless PARTIAL, where `count < LANES` channels are.
        unsafe {
            let mut sums = [[[simd.splat(0.0); NV]; POOLED]; 4];
            for v in 0..NV {
                let start = self.bias.as_ptr().add(channel + v * S::LANES);
                let bias = load::<S, PARTIAL>(simd, count, start);
                for pooled in sums.as_flattened_mut() {
                    pooled[v] = bias;
                }
            }
            let windows = self.padded.as_ptr().add(2 * y * row + 2 * x * pixel);
            let mut weight = self.weight.as_ptr().add(channel);
            for a in 0..conv.height.window {
                let mut upper = windows.add(a * row);
                let mut lower = upper.add(row);
                for _ in 0..run {
                    let mut vectors = [simd.splat(0.0); NV];
                    for (v, lanes) in vectors.iter_mut().enumerate() {
                        *lanes = load::<S, PARTIAL>(simd, count, weight.add(v * S::LANES));
                    }
                    for (place, sums) in sums.iter_mut().enumerate() {
                        let window = if place < 2 { upper } else { lower };
                        for (p, sums) in sums.iter_mut().enumerate() {
                            let factor = simd.splat(*window.add((2 * p + place % 2) * pixel));
                            for v in 0..NV {
                                sums[v] = simd.mul_add(factor, vectors[v], sums[v]);
                            }
                        }
                    }
                    upper = upper.wrapping_add(1);
                    lower = lower.wrapping_add(1);
                    weight = weight.wrapping_add(channels);
                }
            }
            for p in 0..POOLED {
                let start = (y * pool.width.output + x + p) * channels + channel;
                for v in 0..NV {
                    let [first, others @ ..] = sums.each_ref().map(|sums| sums[p][v]);
                    let (mut best, mut winner) = (first, simd.zero_index());
                    for (candidate, place) in others.into_iter().zip(1..) {
                        (best, winner) = simd.challenge(best, winner, candidate, place);
                    }
                    let at = start + v * S::LANES;
                    let out = self.out.as_mut_ptr().add(at);
                    store::<S, PARTIAL>(simd, count, out, simd.relu(best));
                    let indices = if PARTIAL { count } else { S::LANES };
                    simd.store_index(self.winners.as_mut_ptr().add(at), indices, winner);
                }
            }
        }
    }
}
