//! Brightness, contrast and saturation.

use crate::pixel::{byte, clamp};
use crate::simd::elementwise;

/// Shares of red, green and blue in a grey (ITU-R BT.601).
const GREY: [f32; 3] = [0.299, 0.587, 0.114];

/// Pixels that are rounded together.
const BLOCK: usize = 16;

/// Sums side by side: whole vectors, and whole pixels of one channel or of three. A quarter of them is
/// left of a row.
const LANES: usize = 48;
const LEFT: usize = LANES / 4;

/// Multiplies the pixels with the first factor, then their difference from the mean grey of the
/// image with the second, then that from their own grey with the third. What leaves 0..=255 on
/// the way is clipped; the end is rounded.
pub(super) fn change<const CHANNELS: usize>(pixels: &mut [u8], width: usize, factors: [f32; 3]) {
    elementwise(|| change_all::<CHANNELS>(pixels, width, factors));
}

#[inline(always)]
fn change_all<const CHANNELS: usize>(
    pixels: &mut [u8],
    width: usize,
    [brightness, contrast, saturation]: [f32; 3],
) {
    let mut table: [f32; 256] = std::array::from_fn(|value| clamp(brightness * value as f32));
    if contrast != 1.0 {
        let offset = (1.0 - contrast) * mean_grey::<CHANNELS>(pixels, width, brightness);
        table = table.map(|value| clamp(contrast * value + offset));
    }
    if saturation == 1.0 {
        let table = table.map(byte);
        for pixel in pixels {
            *pixel = table[usize::from(*pixel)];
        }
        return;
    }
    for block in pixels.chunks_mut(BLOCK * CHANNELS) {
        let mut colours = [[0.0; CHANNELS]; BLOCK];
        for (colour, pixel) in colours.iter_mut().zip(block.as_chunks::<CHANNELS>().0) {
            *colour = pixel.map(|value| table[usize::from(value)]);
            let offset = (1.0 - saturation) * grey(*colour);
            *colour = colour.map(|value| saturation * value + offset);
        }
        for (value, &colour) in block.iter_mut().zip(colours.as_flattened()) {
            *value = byte(colour);
        }
    }
}

#[inline(always)]
fn grey<const CHANNELS: usize>(pixel: [f32; CHANNELS]) -> f32 {
    match pixel[..] {
        [red, green, blue] => GREY[0] * red + GREY[1] * green + GREY[2] * blue,
        _ => pixel[0],
    }
}

/// The mean grey of an image, made brighter. Each row is summed by itself, which rounds less.
#[inline(always)]
fn mean_grey<const CHANNELS: usize>(pixels: &[u8], width: usize, brightness: f32) -> f32 {
    let mut total = 0.0;
    for row in pixels.chunks_exact(width * CHANNELS) {
        let mut sums = [0.0; LANES];
        let (groups, rest) = row.as_chunks::<LANES>();
        for group in groups {
            for (sum, &value) in sums.iter_mut().zip(group) {
                *sum += clamp(brightness * f32::from(value));
            }
        }
        for (sum, &value) in sums.iter_mut().zip(rest) {
            *sum += clamp(brightness * f32::from(value));
        }
        let mut left = [0.0; LEFT];
        for sums in sums.as_chunks::<LEFT>().0 {
            for (left, sum) in left.iter_mut().zip(sums) {
                *left += sum;
            }
        }
        total +=
            left.as_chunks().0.iter().map(|&sums| f64::from(grey::<CHANNELS>(sums))).sum::<f64>();
    }
    (total / (pixels.len() / CHANNELS) as f64) as f32
}
