//! The weight gradient for few input channels. A piece of the kernel by a vector of output
//! channels is held in registers over a whole band. For each pooled pixel, the gradient goes to
//! the place that won in each lane, zeros to the three others, and each of these four vectors is
//! multiplied with the pixels of its window.

use std::ops::Range;

use crate::conv::OFF;
use crate::conv::block::Pooled;
use crate::conv::padded::{image_size, pad_rows, padded_row};
use crate::pixel::Pixel;
use crate::scratch;
use crate::simd::{Kernel, Simd, dispatch, load, store};
use crate::sums::{in_groups, totals};

/// Pooled rows of a band.
const ROWS: usize = 4;

/// Overwrites `dweight` and `dbias`.
pub(super) fn overwrite<T: Pixel>(pooled: Pooled, x: &[T], dweight: &mut [f32], dbias: &mut [f32]) {
    let (conv, pool) = (&pooled.geometry.conv, &pooled.geometry.pool);
    let input = image_size(conv.input_shape());
    let weights = dweight.len();
    let per_image = pool.height.output.div_ceil(ROWS);
    let add_bands = |bands: Range<usize>, sums: &mut [f32]| {
        let (dweight, dbias) = sums.split_at_mut(weights);
        scratch::with((2 * ROWS + conv.height.window - 1) * padded_row(conv), |padded| {
            for index in bands {
                let (image, top) = (index / per_image, index % per_image * ROWS);
                let rows = top..pool.height.output.min(top + ROWS);
                let x = &x[image * input..][..input];
                let (padded, dweight, dbias) = (&mut *padded, &mut *dweight, &mut *dbias);
                dispatch(Band { pooled, image, x, rows, padded, dweight, dbias });
            }
        });
    };
    in_groups(x.len() / input * per_image, weights + dbias.len(), add_bands, |partials| {
        totals(partials, dweight, dbias);
    });
}

/// Some pooled rows of one image, and the sums that they are added to.
struct Band<'a, T> {
    pooled: Pooled<'a>,
    image: usize,
    x: &'a [T],
    rows: Range<usize>,
    padded: &'a mut [f32],
    dweight: &'a mut [f32],
    dbias: &'a mut [f32],
}

impl<T: Pixel> Kernel for Band<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let conv = &self.pooled.geometry.conv;
        pad_rows(conv, self.x, 2 * self.rows.start, self.padded);
        let channels = conv.out_channels;
        let mut channel = 0;
        while channel < channels {
            if channels - channel >= S::LANES {
                self.add_channels::<S, false>(simd, channel);
            } else {
                self.add_channels::<S, true>(simd, channel);
            }
            channel += S::LANES;
        }
    }
}

impl<T: Pixel> Band<'_, T> {
    /// A vector of output channels, from `channel` on.
    #[inline(always)]
    fn add_channels<S: Simd, const PARTIAL: bool>(&mut self, simd: S, channel: usize) {
        let conv = &self.pooled.geometry.conv;
        let run = conv.width.window * conv.in_channels;
        for row in 0..conv.height.window {
            let mut at = 0;
            while at < run {
                let piece = Piece { channel, row, at };
                at += match run - at {
                    9.. => self.add_piece::<S, 9, PARTIAL>(simd, piece),
                    3.. => self.add_piece::<S, 3, PARTIAL>(simd, piece),
                    _ => self.add_piece::<S, 1, PARTIAL>(simd, piece),
                };
            }
        }
    }

    /// Gradient and winners of this band, (pooled row, pooled column, channel).
    #[inline(always)]
    fn elements(&self) -> (&[f32], &[u8]) {
        let [height, width, channels] = self.pooled.geometry.pool.output_shape();
        let row = width * channels;
        let start = (self.image * height + self.rows.start) * row;
        let elements = start..start + self.rows.len() * row;
        (&self.pooled.grad[elements.clone()], &self.pooled.winners[elements])
    }

    /// `RUN` floats of a kernel row; returns `RUN`. The first piece also adds the bias.
    #[inline(always)]
    fn add_piece<S: Simd, const RUN: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        Piece { channel, row, at }: Piece,
    ) -> usize {
        let conv = &self.pooled.geometry.conv;
        let width = self.pooled.geometry.pool.width.output;
        let (channels, run) = (conv.out_channels, conv.width.window * conv.in_channels);
        let (count, lanes) = lanes::<S, PARTIAL>(channels - channel);
        let (padded_row, pixel) = (padded_row(conv), conv.in_channels);
        let (grads, winners) = self.elements();
        // The end of this piece of the last window.
        let last =
            (2 * self.rows.len() - 1 + row) * padded_row + (2 * width - 1) * pixel + at + RUN;
        assert!(last <= self.padded.len());
        let mut sums = [simd.splat(0.0); RUN];
        let mut bias = simd.splat(0.0);
        for y in 0..self.rows.len() {
            for x in 0..width {
                let element = (y * width + x) * channels + channel;
                let (grads, winners) = (&grads[element..][..lanes], &winners[element..][..lanes]);
                // SAFETY: the slices hold `lanes` elements; the windows are inside `padded`, as
                // asserted above.
                unsafe {
                    let grad = load::<S, PARTIAL>(simd, count, grads.as_ptr());
                    let winner = simd.load_index(winners.as_ptr(), lanes);
                    let upper = self.padded.as_ptr();
                    let upper = upper.add((2 * y + row) * padded_row + 2 * x * pixel + at);
                    let lower = upper.add(padded_row);
                    let windows = [upper, upper.add(pixel), lower, lower.add(pixel)];
                    bias = simd.add(bias, simd.below(grad, winner, OFF));
                    for (window, place) in windows.into_iter().zip(0..) {
                        let live = simd.select(grad, winner, place);
                        for (k, sum) in sums.iter_mut().enumerate() {
                            *sum = simd.mul_add(simd.splat(*window.add(k)), live, *sum);
                        }
                    }
                }
            }
        }
        for (k, &sum) in sums.iter().enumerate() {
            let tap = row * run + at + k;
            let target = &mut self.dweight[tap * channels + channel..][..lanes];
            add_to::<S, PARTIAL>(simd, target, sum);
        }
        if (row, at) == (0, 0) {
            add_to::<S, PARTIAL>(simd, &mut self.dbias[channel..][..lanes], bias);
        }
        RUN
    }
}

/// Where a piece of the kernel begins: output channel, row, and float of the row.
#[derive(Clone, Copy)]
struct Piece {
    channel: usize,
    row: usize,
    at: usize,
}

/// Adds the first lanes of `sum`, as many as `target` has.
#[inline(always)]
fn add_to<S: Simd, const PARTIAL: bool>(simd: S, target: &mut [f32], sum: S::F32) {
    let count = target.len();
    assert!(if PARTIAL { count < S::LANES } else { count == S::LANES });
    // SAFETY: the slice holds that many floats.
    unsafe {
        let old = load::<S, PARTIAL>(simd, count, target.as_ptr());
        store::<S, PARTIAL>(simd, count, target.as_mut_ptr(), simd.add(old, sum));
    }
}

/// What partial loads take, and the number of channels in a vector.
#[inline(always)]
fn lanes<S: Simd, const PARTIAL: bool>(left: usize) -> (usize, usize) {
    (left, if PARTIAL { left } else { S::LANES })
}
