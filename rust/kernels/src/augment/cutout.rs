//! A grey square.

use super::Shape;

/// Halfway between black and white.
const GREY: u8 = 128;

/// Fills the square of this side about a pixel; parts of it may lie outside.
pub(super) fn cut(
    pixels: &mut [u8],
    [height, width, channels]: Shape,
    centre: [usize; 2],
    side: usize,
) {
    let within = |centre: usize, size: usize| {
        let first = centre.saturating_sub(side / 2);
        first..(centre + side - side / 2).min(size)
    };
    let (rows, columns) = (within(centre[0], height), within(centre[1], width));
    for row in pixels.chunks_exact_mut(width * channels).take(rows.end).skip(rows.start) {
        row[columns.start * channels..columns.end * channels].fill(GREY);
    }
}
