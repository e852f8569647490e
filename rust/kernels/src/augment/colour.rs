//! Brightness, contrast and saturation.

use super::{byte, clamp};

/// Shares of red, green and blue in a grey (ITU-R BT.601).
const GREY: [f32; 3] = [0.299, 0.587, 0.114];

/// Multiplies the pixels with the first factor, then their difference from the mean grey of the
/// image with the second, then that from their own grey with the third. What leaves 0..=255 on
/// the way is clipped; rounded is once.
pub(super) fn change<const CHANNELS: usize>(
    pixels: &mut [u8],
    width: usize,
    [brightness, contrast, saturation]: [f32; 3],
) {
    let mean = if contrast == 1.0 { 0.0 } else { mean_grey::<CHANNELS>(pixels, width, brightness) };
    let offset = (1.0 - contrast) * mean;
    for pixel in pixels.as_chunks_mut::<CHANNELS>().0 {
        let colour = pixel.map(|byte| {
            let bright = clamp(brightness * f32::from(byte));
            clamp(contrast * bright + offset)
        });
        let offset = (1.0 - saturation) * grey(colour);
        *pixel = colour.map(|value| byte(saturation * value + offset));
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
fn mean_grey<const CHANNELS: usize>(pixels: &[u8], width: usize, brightness: f32) -> f32 {
    let mut sum = 0.0;
    for row in pixels.chunks_exact(width * CHANNELS) {
        let mut colour = [0.0; CHANNELS];
        for pixel in row.as_chunks::<CHANNELS>().0 {
            for (sum, &byte) in colour.iter_mut().zip(pixel) {
                *sum += clamp(brightness * f32::from(byte));
            }
        }
        sum += f64::from(grey(colour));
    }
    (sum / (pixels.len() / CHANNELS) as f64) as f32
}
