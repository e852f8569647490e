//! The input gradient of the block: with g a live element of the pooled gradient, f its channel
//! and (y, x) where its winner's window starts, `dx[y.., x.., :] += g * weight[:, :, :, f]`.
//!
//! For each pooled pixel and each of its four places, the channels that won there are a bit mask;
//! the window of `dx` is held in registers while their filters are added to it: for 3x3 kernels, in
//! slices no wider than a vector, all four windows at once (`patches`), else one by one in a padded
//! image (`windows`). This goes for a slice of the input channels and some output channels at a time,
//! whose filters stay in the first-level cache. The masks of a pooled row are made before its sums: in
//! the queue behind those a mask would come late, and with it the end of its loop.

mod patches;
mod windows;

use std::cell::RefCell;

use patches::Patches;
use windows::Window;

use super::after::OFF;
use super::block::Pooled;
use super::padded::{image_size, padded_extent};
use super::slices::{SLACK, WIDTH, slices};
use crate::scratch::{self, Free, lend};
use crate::simd::{Ahead, Kernel, Simd, dispatch, worth_asking};
use crate::threads::{chunks, chunks_mut, for_each};

thread_local! {
    static MASKS: Free<u32> = const { RefCell::new(Vec::new()) };
}

/// Output channels of a mask.
const CHANNELS: usize = 32;

/// Overwrites `dx`.
pub(super) fn overwrite(pooled: Pooled, weight: &[f32], dx: &mut [f32]) {
    let (conv, pool) = (&pooled.geometry.conv, &pooled.geometry.pool);
    let output = image_size(pool.output_shape());
    let (rows, columns) = padded_extent(conv);
    let padded_size = rows * columns * WIDTH.min(conv.in_channels);
    let memory_size = padded_size.max(2 * columns * WIDTH);
    let asks = worth_asking(size_of_val(dx));
    scratch::with(weight.len() + SLACK, |filters| {
        rearrange(pooled, weight, filters);
        let filters = &*filters;
        let images = chunks_mut(dx, image_size(conv.input_shape()));
        let images = (images, chunks(pooled.grad, output), chunks(pooled.winners, output));
        for_each(images, |_, (dx, grad, winners)| {
            scratch::with(memory_size, |memory| {
                lend(&MASKS, 4 * pool.width.output, |masks| {
                    let (pooled, masks) =
                        (Pooled { grad, winners, ..pooled }, masks.as_chunks_mut().0);
                    dispatch(Image { pooled, filters, masks, memory, dx, asks });
                });
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
    /// One for each position of a pooled row.
    masks: &'a mut [[u32; 4]],
    /// Room for a padded slice of the gradient, or two rows of one whose pixels are `WIDTH` wide.
    memory: &'a mut [f32],
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
        let (rows, padded_columns) = padded_extent(conv);
        for (first, width) in slices(conv.in_channels) {
            let pixels = if self.asks { height * columns } else { 0 };
            let ahead =
                Ahead::new().with_rows(&raw const self.dx[first], pixels, (width, channels));
            let positions = pool.height.output * pool.width.output;
            if (conv.height.window, conv.width.window) == (3, 3) && width <= S::LANES {
                let ahead = ahead.in_parts(positions);
                let patches = Patches {
                    pooled: self.pooled,
                    filters: &self.filters[first * 9 * conv.out_channels..],
                    slice: (first, width),
                    masks: self.masks,
                    memory: self.memory,
                    dx: self.dx,
                    ahead,
                };
                if width <= <S::Narrow as Simd>::LANES {
                    patches.overwrite(simd.narrow());
                } else {
                    patches.overwrite(simd);
                }
                continue;
            }
            let mut ahead = ahead.in_parts(conv.out_channels.div_ceil(CHANNELS) * positions);
            self.memory[..image_size([rows, padded_columns, width])].fill(0.0);
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
        let mut position = 0;
        for y in 0..pool.height.output {
            fill_masks(simd, self.pooled, channel, y, self.masks);
            for x in 0..pool.width.output {
                ahead.ask(simd);
                let element = position * channels + channel;
                let grads = &self.pooled.grad[element..][..count];
                let masks = self.masks[x];
                let corner = (2 * y * columns + 2 * x) * width;
                for (place, mask) in masks.into_iter().enumerate() {
                    let start = corner + (place / 2 * columns + place % 2) * width;
                    Window {
                        mask,
                        grads,
                        filters,
                        filter,
                        rows: kernel.0,
                        run: kernel.1 * width,
                        target: &mut self.memory[start..],
                        target_row: columns * width,
                    }
                    .add(simd);
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
        let columns = padded_extent(conv).1;
        let targets = self.dx.chunks_exact_mut(image_columns * channels);
        for (y, target) in targets.enumerate() {
            let start = ((y + conv.height.before) * columns + conv.width.before) * width;
            let source = &self.memory[start..][..image_columns * width];
            if width == channels {
                target.copy_from_slice(source);
                continue;
            }
            let pixels = target.chunks_exact_mut(channels).zip(source.chunks_exact(width));
            for (target, source) in pixels {
                // Of known length, so that it is a move or two and no call.
                match <&[f32; WIDTH]>::try_from(source) {
                    Ok(whole) => target[first..first + WIDTH].copy_from_slice(whole),
                    Err(_) => target[first..first + width].copy_from_slice(source),
                }
            }
        }
    }
}

/// For each position of a pooled row and each place, which of the `CHANNELS` channels from `channel`
/// on won there, as bits.
#[inline(always)]
fn fill_masks<S: Simd>(simd: S, pooled: Pooled, channel: usize, y: usize, masks: &mut [[u32; 4]]) {
    let channels = pooled.geometry.conv.out_channels;
    let count = CHANNELS.min(channels - channel);
    let row = masks.len() * channels;
    let winners = pooled.winners[y * row..][..row].chunks_exact(channels);
    for (masks, winners) in masks.iter_mut().zip(winners) {
        let mut bytes = [OFF; CHANNELS];
        // In eights, as their length is known, so that there is no call.
        let (eights, rest) = winners[channel..][..count].as_chunks::<8>();
        for (target, eight) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(eights) {
            *target = *eight;
        }
        for (target, &winner) in bytes[count - rest.len()..].iter_mut().zip(rest) {
            *target = winner;
        }
        *masks = [0, 1, 2, 3].map(|place| simd.bytes_of(&bytes, place));
    }
}
