//! The input gradient of the block: with g a live element of the pooled gradient, f its channel
//! and (y, x) where its winner's window starts, `dx[y.., x.., :] += g * weight[:, :, :, f]`.
//!
//! For each pooled pixel and each of its four places, the channels that won there are a bit mask;
//! the window of `dx` is held in registers while their filters are added to it. This goes for a
//! slice of the input channels and some output channels at a time, whose filters stay in the
//! first-level cache.

use super::block::Pooled;
use super::padded::image_size;
use super::slices::{WIDTH, padded_extent, slices};
use crate::scratch;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::{chunks, chunks_mut, for_each};

/// Output channels of a mask.
const CHANNELS: usize = 32;

/// Floats that must be readable behind the last filter, since whole vectors are read.
const SLACK: usize = 16;

/// Overwrites `dx`.
pub(super) fn overwrite(pooled: Pooled, weight: &[f32], dx: &mut [f32]) {
    let (conv, pool) = (&pooled.geometry.conv, &pooled.geometry.pool);
    let output = image_size(pool.output_shape());
    let (rows, columns) = padded_extent(conv);
    let padded_size = rows * columns * WIDTH.min(conv.in_channels);
    scratch::with(weight.len() + SLACK, |filters| {
        rearrange(pooled, weight, filters);
        let filters = &*filters;
        let images = chunks_mut(dx, image_size(conv.input_shape()));
        let images = (images, chunks(pooled.grad, output), chunks(pooled.winners, output));
        for_each(images, |_, (dx, grad, winners)| {
            scratch::with(padded_size, |padded| {
                let pooled = Pooled { geometry: pooled.geometry, grad, winners };
                dispatch(Image { pooled, filters, padded, dx });
            });
        });
    });
}

/// Fills `filters` with (slice, out_channel, kernel_h, kernel_w, channel of the slice).
fn rearrange(pooled: Pooled, weight: &[f32], filters: &mut [f32]) {
    let conv = &pooled.geometry.conv;
    let (inputs, outputs) = (conv.in_channels, conv.out_channels);
    let taps = conv.height.window * conv.width.window;
    filters[weight.len()..].fill(0.0);
    for (first, width) in slices(inputs) {
        let slice = &mut filters[first * taps * outputs..];
        for (tap, weight) in weight.chunks_exact(inputs * outputs).enumerate() {
            for (c, row) in weight.chunks_exact(outputs).skip(first).take(width).enumerate() {
                for (f, &value) in row.iter().enumerate() {
                    slice[(f * taps + tap) * width + c] = value;
                }
            }
        }
    }
}

/// One image.
struct Image<'a> {
    pooled: Pooled<'a>,
    filters: &'a [f32],
    /// One slice of the gradient, padded.
    padded: &'a mut [f32],
    dx: &'a mut [f32],
}

impl Kernel for Image<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let conv = &self.pooled.geometry.conv;
        for (first, width) in slices(conv.in_channels) {
            self.padded.fill(0.0);
            for channel in (0..conv.out_channels).step_by(CHANNELS) {
                self.add_channels(simd, channel, first, width);
            }
            self.crop(first, width);
        }
    }
}

impl Image<'_> {
    /// Adds what `CHANNELS` output channels from `channel` on give to one slice.
    #[inline(always)]
    fn add_channels<S: Simd>(&mut self, simd: S, channel: usize, first: usize, width: usize) {
        let (conv, pool) = (&self.pooled.geometry.conv, &self.pooled.geometry.pool);
        let channels = conv.out_channels;
        let count = CHANNELS.min(channels - channel);
        let (kernel, columns) = ((conv.height.window, conv.width.window), padded_extent(conv).1);
        let filter = kernel.0 * kernel.1 * width;
        let filters = &self.filters[first * kernel.0 * kernel.1 * channels..][channel * filter..];
        let patches = kernel == (3, 3) && width == S::LANES;
        let mut position = 0;
        for y in 0..pool.height.output {
            for x in 0..pool.width.output {
                let element = position * channels + channel;
                let grads = &self.pooled.grad[element..][..count];
                let masks = place_masks(simd, &self.pooled.winners[element..][..count]);
                let corner = (2 * y * columns + 2 * x) * width;
                if patches {
                    let target = &mut self.padded[corner..];
                    Patch { masks, grads, filters, target, row: columns * width }.add(simd);
                } else {
                    for (place, mask) in masks.into_iter().enumerate() {
                        let start = corner + (place / 2 * columns + place % 2) * width;
                        Window {
                            mask,
                            grads,
                            filters,
                            filter,
                            rows: kernel.0,
                            run: kernel.1 * width,
                            target: &mut self.padded[start..],
                            target_row: columns * width,
                        }
                        .add(simd);
                    }
                }
                position += 1;
            }
        }
    }

    /// Copies the part of a padded slice that is the image to its channels of `dx`.
    #[inline(always)]
    fn crop(&mut self, first: usize, width: usize) {
        let conv = &self.pooled.geometry.conv;
        let [_, image_columns, channels] = conv.input_shape();
        let (rows, columns) = padded_extent(conv);
        let (top, left) = (conv.height.before, conv.width.before);
        // Without padding, windows may not reach the last rows and columns.
        let reached = image_columns.min(columns.saturating_sub(left));
        let targets = self.dx.chunks_exact_mut(image_columns * channels);
        for (y, target) in targets.enumerate() {
            let reached = if y + top < rows { reached } else { 0 };
            let start = ((y + top) * columns + left) * width;
            let source = if reached > 0 { &self.padded[start..][..reached * width] } else { &[] };
            let (inside, outside) = target.split_at_mut(reached * channels);
            if width == channels {
                inside.copy_from_slice(source);
                outside.fill(0.0);
                continue;
            }
            let pixels = inside.chunks_exact_mut(channels).zip(source.chunks_exact(width));
            for (target, source) in pixels {
                // Of known length, so that it is a move or two and no call.
                match <&[f32; WIDTH]>::try_from(source) {
                    Ok(whole) => target[first..first + WIDTH].copy_from_slice(whole),
                    Err(_) => target[first..first + width].copy_from_slice(source),
                }
            }
            for target in outside.chunks_exact_mut(channels) {
                target[first..first + width].fill(0.0);
            }
        }
    }
}

/// For each place, the channels that won there, as bits.
#[inline(always)]
fn place_masks<S: Simd>(simd: S, winners: &[u8]) -> [u32; 4] {
    let mut masks = [0; 4];
    for start in (0..winners.len()).step_by(S::LANES) {
        let count = (winners.len() - start).min(S::LANES);
        // SAFETY: `count` bytes are readable. Lanes beyond them are zero, and masked.
        let lanes = unsafe { simd.load_index(winners.as_ptr().add(start), count) };
        for (mask, place) in masks.iter_mut().zip(0..) {
            *mask |= (simd.lanes_of(lanes, place) & (u32::MAX >> (32 - count))) << start;
        }
    }
    masks
}

/// Adds the filters of the channels in `mask`, each times its gradient, to the window at the start
/// of `target`.
struct Window<'a> {
    mask: u32,
    grads: &'a [f32],
    filters: &'a [f32],
    /// Floats of a filter.
    filter: usize,
    rows: usize,
    run: usize,
    target: &'a mut [f32],
    target_row: usize,
}

impl Window<'_> {
    #[inline(always)]
    fn add<S: Simd>(mut self, simd: S) {
        let mut row = 0;
        while self.rows - row >= 3 {
            self.band::<S, 3>(simd, row);
            row += 3;
        }
        while row < self.rows {
            self.band::<S, 1>(simd, row);
            row += 1;
        }
    }

    /// `ROWS` rows of the window from `row` on, in pieces that fit into registers.
    #[inline(always)]
    fn band<S: Simd, const ROWS: usize>(&mut self, simd: S, row: usize) {
        let mut start = 0;
        while start < self.run {
            let left = self.run - start;
            start += if left >= 3 * S::LANES {
                self.piece::<S, ROWS, 3, false>(simd, row, start)
            } else if left >= S::LANES {
                self.piece::<S, ROWS, 1, false>(simd, row, start)
            } else {
                self.piece::<S, ROWS, 1, true>(simd, row, start)
            };
        }
    }

    #[inline(always)]
    fn piece<S: Simd, const ROWS: usize, const VECTORS: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        row: usize,
        start: usize,
    ) -> usize {
        use crate::simd::{load, store};
        let count = self.run - start;
        let (target_row, run) = (self.target_row, self.run);
        let target = &mut self.target[row * target_row + start..];
        let _ = &target[..(ROWS - 1) * target_row + count.min(VECTORS * S::LANES)];
        let target = target.as_mut_ptr();
        let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
        // SAFETY: the slice above shows that the window's part of `target` is there. Bits of the
        // mask stand for channels of `grads`, whose filters, `ROWS` rows from `row` on, are inside
        // `filters`, and `SLACK >= LANES` floats behind the last of them.
        unsafe {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    let at = target.add(r * target_row + v * S::LANES);
                    *sum = load::<S, PARTIAL>(simd, count, at);
                }
            }
            let filters = self.filters.as_ptr().add(row * run + start);
            let mut mask = self.mask;
            while mask != 0 {
                let f = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let factor = simd.splat(*self.grads.get_unchecked(f));
                let filter = filters.add(f * self.filter);
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let lanes = simd.load(filter.add(r * run + v * S::LANES));
                        *sum = simd.mul_add(factor, lanes, *sum);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    store::<S, PARTIAL>(
                        simd,
                        count,
                        target.add(r * target_row + v * S::LANES),
                        sum,
                    );
                }
            }
        }
        VECTORS * S::LANES
    }
}

/// All four windows of a pooled pixel, for 3x3 kernels and a slice as wide as a vector: they cover
/// four by four pixels, which 16 registers hold. The terms of each element come in the order of
/// `Window`.
struct Patch<'a> {
    masks: [u32; 4],
    grads: &'a [f32],
    filters: &'a [f32],
    target: &'a mut [f32],
    /// Floats from one row of `target` to the next.
    row: usize,
}

impl Patch<'_> {
    #[inline(always)]
    fn add<S: Simd>(self, simd: S) {
        let target = &mut self.target[..3 * self.row + 4 * S::LANES];
        let target = target.as_mut_ptr();
        let mut sums = [[simd.splat(0.0); 4]; 4];
        // SAFETY: the slice above holds four vectors at the start of each of four rows; bits of
        // the masks stand for channels of `grads`, whose filters are inside `filters`.
        unsafe {
            for (a, sums) in sums.iter_mut().enumerate() {
                for (b, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.load(target.add(a * self.row + b * S::LANES));
                }
            }
            self.add_place::<S, 0, 0>(simd, &mut sums);
            self.add_place::<S, 0, 1>(simd, &mut sums);
            self.add_place::<S, 1, 0>(simd, &mut sums);
            self.add_place::<S, 1, 1>(simd, &mut sums);
            for (a, sums) in sums.iter().enumerate() {
                for (b, &sum) in sums.iter().enumerate() {
                    simd.store(target.add(a * self.row + b * S::LANES), sum);
                }
            }
        }
    }

    /// Adds the filters of the channels that won at row `Y` and column `X`.
    ///
    /// # Safety
    /// Bits of the mask must stand for channels of `grads` and filters of `filters`.
    #[inline(always)]
    unsafe fn add_place<S: Simd, const Y: usize, const X: usize>(
        &self,
        simd: S,
        sums: &mut [[S::F32; 4]; 4],
    ) {
        let mut mask = self.masks[2 * Y + X];
        while mask != 0 {
            let f = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            // SAFETY: the caller's promise.
            let (grad, filter) = unsafe {
                (self.grads.get_unchecked(f), self.filters.as_ptr().add(f * 9 * S::LANES))
            };
            let grad = simd.splat(*grad);
            for a in 0..3 {
                for b in 0..3 {
                    // SAFETY: as above.
                    let lanes = unsafe { simd.load(filter.add((3 * a + b) * S::LANES)) };
                    sums[Y + a][X + b] = simd.mul_add(grad, lanes, sums[Y + a][X + b]);
                }
            }
        }
    }
}
