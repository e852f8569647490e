//! Padded images in slices of channels, the layout of the sparse gradients.
//!
//! A slice is (rows, columns, up to 16 channels): a pixel of it is one cache line, so that the
//! windows around scattered pixels are read in whole lines, and a band of rows stays in the
//! first-level cache however many channels the image has.

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

/// Overwrites `target`, rows of `columns` pixels of `width` channels, with the channels from
/// `first` on of the image, whose first row goes to row `offset.0` and first column to column
/// `offset.1`, and zeros.
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
    for (row, target) in target.chunks_exact_mut(columns * width).enumerate() {
        let y = row as isize - offset.0;
        if y < 0 || y >= height as isize {
            target.fill(0.0);
            continue;
        }
        let (before, rest) = target.split_at_mut(offset.1.min(columns) * width);
        let (inside, after) = rest.split_at_mut(copied * width);
        before.fill(0.0);
        after.fill(0.0);
        let source = &image[y as usize * image_columns * channels..][..copied * channels];
        if width == channels {
            for (target, value) in inside.iter_mut().zip(source) {
                *target = value.to_f32();
            }
        } else if width == WIDTH {
            // The number of channels is written out, so that a pixel is a vector or two.
            let pixels = inside.as_chunks_mut::<WIDTH>().0.iter_mut();
            for (target, pixel) in pixels.zip(source.chunks_exact(channels)) {
                for (target, value) in target.iter_mut().zip(&pixel[first..first + WIDTH]) {
                    *target = value.to_f32();
                }
            }
        } else {
            let pixels = inside.chunks_exact_mut(width).zip(source.chunks_exact(channels));
            for (target, pixel) in pixels {
                for (target, value) in target.iter_mut().zip(&pixel[first..]) {
                    *target = value.to_f32();
                }
            }
        }
    }
}
