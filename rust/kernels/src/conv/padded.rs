//! Copies of one image with zeros around it, so that kernels have no edge branches.

use std::ops::Range;

use crate::geometry::{Axis, ConvGeometry};
use crate::pixel::Pixel;

/// Overwrites `target`, of shape (rows, columns, channels), with zeros and the `image`, of shape
/// (height, width, channels): its pixel (y, x) goes to
/// `(y * spacing.0 + offset.0, x * spacing.1 + offset.1)`; what falls outside is dropped.
#[inline(always)]
pub(crate) fn place<T: Pixel>(
    image: &[T],
    shape: [usize; 3],
    target: &mut [f32],
    target_size: (usize, usize),
    offset: (isize, isize),
    spacing: (usize, usize),
) {
    let [height, width, channels] = shape;
    let rows = landing(height, target_size.0, offset.0, spacing.0);
    let columns = landing(width, target_size.1, offset.1, spacing.1);
    target.fill(0.0);
    if columns.is_empty() {
        return;
    }
    for y in rows {
        let source = &image[(y * width + columns.start) * channels..][..columns.len() * channels];
        let row = position(y, offset.0, spacing.0);
        let start = row * target_size.1 + position(columns.start, offset.1, spacing.1);
        let target = &mut target[start * channels..];
        if spacing.1 == 1 {
            copy(source, &mut target[..source.len()]);
        } else {
            let targets = target.chunks_mut(spacing.1 * channels);
            for (pixel, target) in source.chunks_exact(channels).zip(targets) {
                copy(pixel, &mut target[..channels]);
            }
        }
    }
}

/// As numbers from 0 to 1.
#[inline(always)]
pub(super) fn copy<T: Pixel>(source: &[T], target: &mut [f32]) {
    for (target, &value) in target.iter_mut().zip(source) {
        *target = value.to_f32();
    }
}

fn position(index: usize, offset: isize, spacing: usize) -> usize {
    (index * spacing).wrapping_add_signed(offset)
}

/// The indices below `size` whose position is inside `0..limit`.
fn landing(size: usize, limit: usize, offset: isize, spacing: usize) -> Range<usize> {
    let first = if offset < 0 { offset.unsigned_abs().div_ceil(spacing) } else { 0 };
    let end = match limit.checked_add_signed(-offset) {
        Some(room) => room.div_ceil(spacing).min(size),
        None => 0,
    };
    first.min(end)..end
}

/// Elements of one image.
pub(crate) fn image_size(shape: [usize; 3]) -> usize {
    shape.iter().product()
}

/// The elements of a batch from the first of `rows` in the first of `images` to the last in the last;
/// rows beyond the height are left out.
pub(super) fn span(
    [height, width, channels]: [usize; 3],
    images: Range<usize>,
    rows: Range<usize>,
) -> Range<usize> {
    let start = images.start * height + rows.start.min(height);
    let end = (images.end - 1) * height + rows.end.min(height);
    start * width * channels..end * width * channels
}

/// Rows and columns that windows reach; padding beyond them is never read.
pub(crate) fn padded_extent(g: &ConvGeometry) -> (usize, usize) {
    let extent = |axis: &Axis| (axis.output - 1) * axis.stride + axis.window;
    (extent(&g.height), extent(&g.width))
}

/// Elements in a row of a padded image.
pub(crate) fn padded_row(g: &ConvGeometry) -> usize {
    padded_extent(g).1 * g.in_channels
}

/// Elements of a padded image.
pub(crate) fn padded_size(g: &ConvGeometry) -> usize {
    padded_extent(g).0 * padded_row(g)
}

/// Overwrites `padded` with the zeros and the rows of the image that the windows from output row
/// `top` on reach, as many as it holds.
#[inline(always)]
pub(crate) fn pad_rows<T: Pixel>(g: &ConvGeometry, image: &[T], top: usize, padded: &mut [f32]) {
    let offset = g.height.before as isize - (top * g.height.stride) as isize;
    let size = (padded.len() / padded_row(g), padded_extent(g).1);
    place(image, g.input_shape(), padded, size, (offset, g.width.before as isize), (1, 1));
}
