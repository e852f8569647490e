//! The input gradient of the block: with g a live element of the pooled gradient, f its channel
//! and (y, x) where its winner's window starts, `dx[y.., x.., :] += g * weight[:, :, :, f]`.
//!
//! For each pooled pixel and each of its four places, the channels that won there are a bit mask;
//! the window of `dx` is held in registers while their filters are added to it. This goes for a
//! slice of the input channels and some output channels at a time, whose filters stay in the
//! first-level cache.

mod windows;

use windows::{Patch, Window};

use super::block::Pooled;
use super::padded::{image_size, padded_extent};
use super::slices::{SLACK, WIDTH, slices};
use crate::scratch;
use crate::simd::{Ahead, Kernel, Simd, dispatch, worth_asking};
use crate::threads::{chunks, chunks_mut, for_each};

/// Output channels of a mask.
const CHANNELS: usize = 32;

/// Overwrites `dx`.
pub(super) fn overwrite(pooled: Pooled, weight: &[f32], dx: &mut [f32]) {
    let (conv, pool) = (&pooled.geometry.conv, &pooled.geometry.pool);
    let output = image_size(pool.output_shape());
    let (rows, columns) = padded_extent(conv);
    let padded_size = rows * columns * WIDTH.min(conv.in_channels);
    let asks = worth_asking(size_of_val(dx));
    scratch::with(weight.len() + SLACK, |filters| {
        rearrange(pooled, weight, filters);
        let filters = &*filters;
        let images = chunks_mut(dx, image_size(conv.input_shape()));
        let images = (images, chunks(pooled.grad, output), chunks(pooled.winners, output));
        for_each(images, |_, (dx, grad, winners)| {
            scratch::with(padded_size, |padded| {
                let pooled = Pooled { geometry: pooled.geometry, grad, winners };
                dispatch(Image { pooled, filters, padded, dx, asks });
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
    /// Whether `dx` is asked for ahead.
    asks: bool,
}

impl Kernel for Image<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (conv, pool) = (&self.pooled.geometry.conv, &self.pooled.geometry.pool);
        let [height, columns, channels] = conv.input_shape();
        for (first, width) in slices(conv.in_channels) {
            self.padded.fill(0.0);
            let passes = conv.out_channels.div_ceil(CHANNELS);
            let pixels = if self.asks { height * columns } else { 0 };
            let mut ahead = Ahead::new()
                .with_rows(&raw const self.dx[first], pixels, (width, channels))
                .in_parts(passes * pool.height.output * pool.width.output);
            for channel in (0..conv.out_channels).step_by(CHANNELS) {
                self.add_channels(simd, channel, (first, width), &mut ahead);
            }
            self.crop(first, width);
        }
    }
}

impl Image<'_> {
    /// Adds what `CHANNELS` output channels from `channel` on give to one slice.
    #[inline(always)]
    fn add_channels<S: Simd>(
        &mut self,
        simd: S,
        channel: usize,
        (first, width): (usize, usize),
        ahead: &mut Ahead,
    ) {
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
                ahead.ask(simd);
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
