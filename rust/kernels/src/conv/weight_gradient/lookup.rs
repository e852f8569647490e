//! The weight gradient of a 3x3 kernel over few channels, with lanes along the output channels.
//!
//! Under one tap of the kernel, the windows of the four places of a pool window read two by two
//! pixels. A vector holds them, and every lane picks the one that its winner's window reads. So no
//! list is made, and a window that is not live costs no less than one that is: 0 is multiplied with
//! a pixel there, which changes no sum as long as that is finite. One pass makes as many rows of the
//! kernel as there are registers for their sums.

use std::ops::Range;

use super::cut::{Band, Cut};
use super::pad_band;
use crate::conv::block::Pooled;
use crate::conv::padded::image_size;
use crate::conv::slices::pixel;
use crate::geometry::ConvGeometry;
use crate::pixel::Pixel;
use crate::scratch;
use crate::simd::{Kernel, Simd, add_to_slice, dispatch, isa, load};
use crate::sums::{in_groups, totals};

/// Side of the kernel.
const TAPS: usize = 3;
/// How many elements ahead the first pass over gradients and winners asks for them.
const AHEAD: usize = 1024;
/// Lanes below which a pick is no instruction.
const LEAST: usize = 8;

/// Sums that leave registers for the gradients, the picks and what they come from.
fn most_sums<S: Simd>() -> usize {
    if S::LANES == 16 { 27 } else { 9 }
}

/// Whether this is faster than lists (docs/architecture.md). A vector must hold four pixels.
pub(super) fn serves(conv: &ConvGeometry) -> bool {
    (conv.height.window, conv.width.window) == (TAPS, TAPS)
        && isa().lanes() >= LEAST.max(4 * pixel(conv.in_channels))
}

/// Overwrites `dweight` and `dbias`.
pub(super) fn overwrite<T: Pixel>(pooled: Pooled, x: &[T], dweight: &mut [f32], dbias: &mut [f32]) {
    let conv = &pooled.geometry.conv;
    let cut = Cut::new(pooled.geometry, x.len() / image_size(conv.input_shape()));
    let add_bands = |range: Range<usize>, sums: &mut [f32]| {
        scratch::with(cut.floats(), |padded| {
            dispatch(Sum { pooled, x, cut: &cut, range, padded, sums });
        });
    };
    in_groups(cut.count(), dweight.len() + dbias.len(), add_bands, |partials| {
        totals(partials, dweight, dbias);
    });
}

/// Adds the bands of a range to `sums`, the gradients of the weights and of the biases.
struct Sum<'a, T> {
    pooled: Pooled<'a>,
    x: &'a [T],
    cut: &'a Cut,
    range: Range<usize>,
    padded: &'a mut [f32],
    sums: &'a mut [f32],
}

impl<T: Pixel> Kernel for Sum<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.pooled.geometry.conv.in_channels {
            1 => self.add_bands::<S, 1>(simd),
            2 => self.add_bands::<S, 2>(simd),
            3 => self.add_bands::<S, 3>(simd),
            _ => self.add_bands::<S, 4>(simd),
        }
    }
}

impl<T: Pixel> Sum<'_, T> {
    #[inline(always)]
    fn add_bands<S: Simd, const C: usize>(mut self, simd: S) {
        let conv = &self.pooled.geometry.conv;
        assert!(conv.in_channels == C && 4 * pixel(C) <= S::LANES);
        self.padded[self.cut.slice..].fill(0.0);
        for index in self.range.clone() {
            let band = self.cut.band(index);
            pad_band(conv, self.x, &band, (0, C), self.cut.padded.1, self.padded);
            for first in (0..conv.out_channels).step_by(S::LANES) {
                if conv.out_channels - first < S::LANES {
                    self.add_band::<S, C, true>(simd, &band, first);
                } else {
                    self.add_band::<S, C, false>(simd, &band, first);
                }
            }
        }
    }

    /// Adds a band, for a vector of output channels from `first` on. `PARTIAL`: there are fewer.
    #[inline(always)]
    fn add_band<S: Simd, const C: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        band: &Band,
        first: usize,
    ) {
        match most_sums::<S>() / (TAPS * C) {
            3.. => self.add_rows::<S, C, 3, PARTIAL>(simd, band, 0, first),
            2 => {
                self.add_rows::<S, C, 2, PARTIAL>(simd, band, 0, first);
                self.add_rows::<S, C, 1, PARTIAL>(simd, band, 2, first);
            }
            _ => {
                for row in 0..TAPS {
                    self.add_rows::<S, C, 1, PARTIAL>(simd, band, row, first);
                }
            }
        }
    }

    /// Adds what a band gives to `ROWS` rows of the kernel from `row` on.
    #[inline(always)]
    fn add_rows<S: Simd, const C: usize, const ROWS: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        band: &Band,
        row: usize,
        first: usize,
    ) {
        let channels = self.pooled.geometry.conv.out_channels;
        let count = if PARTIAL { channels - first } else { S::LANES };
        let (height, width) = self.cut.pooled;
        let (rows, columns) = self.cut.padded;
        let (step, line) = (pixel(C), columns * pixel(C));
        let places = [0, step, S::LANES / 2, S::LANES / 2 + step].map(|place| place as u32);
        // Not one for each row: of arrays so deep the compiler keeps copies in memory.
        let mut sums = [[simd.splat(0.0); C]; TAPS * TAPS];
        let mut bias = simd.splat(0.0);
        for image in 0..band.images.len() {
            for y in 0..band.rows.len() {
                let pooled_row = (band.images.start + image) * height + band.rows.start + y;
                let at = pooled_row * width * channels + first;
                let grads = &self.pooled.grad[at..][..(width - 1) * channels + count];
                let winners = &self.pooled.winners[at..][..grads.len()];
                let source = &self.padded[(image * rows + 2 * y + row) * line..];
                assert!(source.len() >= ROWS * line + 2 * width * step + S::LANES);
                for x in 0..width {
                    if row == 0 {
                        let ahead = x * channels + AHEAD;
                        simd.prefetch_l2(grads.as_ptr().wrapping_add(ahead));
                        simd.prefetch_l2(winners.as_ptr().wrapping_add(ahead));
                    }
                    // SAFETY: `count` channels of `width` positions are in the slices; the last half
                    // vector starts at pixel `2 * (width - 1) + TAPS - 1` of line `ROWS`, which has
                    // `LANES` floats behind it.
                    unsafe {
                        let grad = grads.as_ptr().add(x * channels);
                        let grad = load::<S, PARTIAL>(simd, count, grad);
                        let winner = simd.load_index(winners.as_ptr().add(x * channels), count);
                        let (grad, place) = simd.place(grad, winner, places);
                        for (tap, sums) in sums[..ROWS * TAPS].iter_mut().enumerate() {
                            let pixel = tap / TAPS * columns + 2 * x + tap % TAPS;
                            let upper = source.as_ptr().add(pixel * step);
                            let pixels = simd.load_halves(upper, upper.add(line));
                            for (c, sum) in sums.iter_mut().enumerate() {
                                let picked = simd.pick(pixels, simd.shift(place, c as u32));
                                *sum = simd.mul_add(grad, picked, *sum);
                            }
                        }
                        bias = simd.add(bias, grad);
                    }
                }
            }
        }

        let (dweight, dbias) = self.sums.split_at_mut(TAPS * TAPS * C * channels);
        for (tap, &sum) in sums[..ROWS * TAPS].as_flattened().iter().enumerate() {
            let target = &mut dweight[(row * TAPS * C + tap) * channels + first..][..count];
            add_to_slice(simd, target, sum);
        }
        if row == 0 {
            add_to_slice(simd, &mut dbias[first..][..count], bias);
        }
    }
}
