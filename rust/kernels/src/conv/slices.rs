//! Padded images in slices of channels, the layout of the sparse gradients.
//!
//! A slice is (rows, columns, up to 16 channels): a pixel of it is one cache line, so that the
//! windows around scattered pixels are read in whole lines, and a band of rows stays in the
//! first-level cache however many channels the image has.

use super::padded::copy;
use crate::geometry::ConvGeometry;
use crate::pixel::Pixel;

/// Channels of a slice.
pub(super) const WIDTH: usize = 16;

/// Floats that must be readable behind the last pixel of a slice, since whole vectors are read.
pub(super) const SLACK: usize = 16;

/// The slices of the channels below `channels`: first channel and number of channels of each.
#[inline(always)]
pub(super) fn slices(channels: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..channels).step_by(WIDTH).map(move |first| (first, WIDTH.min(channels - first)))
}

/// Floats from one pixel of a padded slice of `width` channels to the next: a power of two, so that
/// few vectors cross a cache line. What is behind the channels is of no account.
#[inline(always)]
pub(super) fn pixel(width: usize) -> usize {
    width.next_power_of_two()
}

/// Overwrites `target`, rows of `columns` pixels, with the `width` channels from `first` on of the
/// image, whose first row goes to row `offset.0` and first column to column `offset.1`, and zeros.
#[inline(always)]
pub(super) fn pad_slice<T: Pixel>(
    g: &ConvGeometry,
    image: &[T],
    (first, width): (usize, usize),
    target: &mut [f32],
    columns: usize,
    offset: (isize, usize),
) {
    let [height, image_columns, channels] = g.input_shape();
    let copied = image_columns.min(columns.saturating_sub(offset.1));
    let pixel = pixel(width);
    for (row, target) in target.chunks_exact_mut(columns * pixel).enumerate() {
        let y = row as isize - offset.0;
        if y < 0 || y >= height as isize {
            target.fill(0.0);
            continue;
        }
        let (before, rest) = target.split_at_mut(offset.1.min(columns) * pixel);
        let (inside, after) = rest.split_at_mut(copied * pixel);
        before.fill(0.0);
        after.fill(0.0);
        let source = &image[y as usize * image_columns * channels..][..copied * channels];
        if pixel == channels {
            copy(source, inside);
        } else if width == WIDTH {
            // The number of channels is written out, so that a pixel is a vector or two.
            let pixels = inside.as_chunks_mut::<WIDTH>().0.iter_mut();
            for (target, pixel) in pixels.zip(source.chunks_exact(channels)) {
                copy(&pixel[first..first + WIDTH], target);
            }
        } else if channels == 3 {
            let pixels = inside.as_chunks_mut::<4>().0.iter_mut().zip(source.as_chunks::<3>().0);
            for (target, pixel) in pixels {
                *target = [pixel[0].to_f32(), pixel[1].to_f32(), pixel[2].to_f32(), 0.0];
            }
        } else {
            let pixels = inside.chunks_exact_mut(pixel).zip(source.chunks_exact(channels));
            for (target, pixel) in pixels {
                copy(&pixel[first..first + width], target);
            }
        }
    }
}
