//! Convolution, bias, 2x2 max pool and what comes after it in one pass.
//!
//! A tile of neighbouring windows, two output rows high, is summed in registers, reduced to its
//! pooled values and winners there, and stored once: the full-resolution output never exists. The
//! windows are read in place from a padded copy of the image, as in `general`, and each sum has
//! the same terms in the same order.

use super::after::After;
use super::bands::Bands;
use super::padded::{image_size, pad_rows, padded_row};
use crate::geometry::BlockGeometry;
use crate::pixel::Pixel;
use crate::scratch;
use crate::simd::{Kernel, Simd, dispatch, load, store};
use crate::threads::for_each;

/// Pooled rows of a band: their share of the image stays in the first-level cache.
const ROWS: usize = 8;

/// As [`super::conv_pool`]; the slices have the shapes of the geometry.
pub(super) fn conv_pool<T: Pixel>(
    geometry: &BlockGeometry,
    x: &[T],
    weight: &[f32],
    bias: &[f32],
    after: After,
    out: &mut [f32],
    winners: &mut [u8],
) {
    let BlockGeometry { conv, pool } = geometry;
    let input = image_size(conv.input_shape());
    let bands = Bands::new(pool.output_shape(), x.len() / input, ROWS, 1);
    for_each((bands.cut(out), bands.cut(winners)), |index, (out, winners)| {
        let band = bands.band(index);
        let images = x[band.image * input..].chunks_exact(input);
        let size = band.rows * pool.width.output * conv.out_channels;
        let outputs = out.chunks_exact_mut(size).zip(winners.chunks_exact_mut(size));
        let (top, rows) = (2 * band.top, 2 * band.rows);
        scratch::with((rows + conv.height.window - 1) * padded_row(conv), |padded| {
            for (image, (out, winners)) in images.zip(outputs) {
                let padded = &mut *padded;
                dispatch(Rows { geometry, image, top, padded, weight, bias, after, out, winners });
            }
        });
    });
}

/// The part of one image from output row `top` of the convolution on, and the place of its result.
struct Rows<'a, T> {
    geometry: &'a BlockGeometry,
    image: &'a [T],
    top: usize,
    padded: &'a mut [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    after: After<'a>,
    out: &'a mut [f32],
    winners: &'a mut [u8],
}

impl<T: Pixel> Kernel for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        pad_rows(&self.geometry.conv, self.image, self.top, self.padded);
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

impl<T: Pixel> Rows<'_, T> {
    /// All pixels of `NV` vectors of channels from `channel` on.
    #[inline(always)]
    fn panel<S: Simd, const POOLED: usize, const NV: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        channel: usize,
    ) {
        let [_, width, channels] = self.geometry.pool.output_shape();
        for y in 0..self.out.len() / (width * channels) {
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

        // SAFETY: (y, x + POOLED - 1) is inside the pooled rows of `out`, so its four windows are
        // inside `padded`, which holds every window of those rows; `weight`, `bias`, `out` and
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
                    let indices = if PARTIAL { count } else { S::LANES };
                    let first = channel + v * S::LANES;
                    let (value, winner) = self.after.apply(simd, first, indices, best, winner);
                    store::<S, PARTIAL>(simd, count, out, value);
                    simd.store_index(self.winners.as_mut_ptr().add(at), indices, winner);
                }
            }
        }
    }
}
