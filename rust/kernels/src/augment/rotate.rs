//! Rotation about the centre, with the flip and the shift in the same bilinear pass.

use wide::f32x4;

use super::Shape;
use super::positions::{Move, period};
use crate::pixel::byte;
use crate::scratch;

/// Floats of a pixel that are worked on together; the last pixel has as many behind it.
const LANES: usize = 4;

/// Output pixels whose places are worked out together.
const BLOCK: usize = 8;

/// The image flipped, then shifted, then turned by `angle` radians (anticlockwise as seen) about
/// its centre; border pixels are mirrors.
pub(super) fn rotate(image: &[u8], shape: Shape, angle: f64, moves: Move, out: &mut [u8]) {
    let [height, width, channels] = shape;
    let rows = Fold::new(height, moves.down, false);
    let columns = Fold::new(width, moves.right, moves.flip);
    let (sin, cos) = (angle.sin() as f32, angle.cos() as f32);
    let length = width * channels;
    scratch::with(image.len() + length + 2 * LANES, |floats| {
        let (pixels, result) = floats.split_at_mut(image.len() + LANES);
        for (float, &byte) in pixels.iter_mut().zip(image) {
            *float = f32::from(byte);
        }
        pixels[image.len()..].fill(0.0);
        for (row, out) in out.chunks_exact_mut(length).enumerate() {
            let up = row as f32 - rows.centre;
            for first in (0..width).step_by(BLOCK) {
                let mut places = [(0.0, 0.0); BLOCK];
                for (index, place) in places.iter_mut().enumerate() {
                    let across = (first + index) as f32 - columns.centre;
                    *place = (
                        rows.fold(cos * up + sin * across + rows.origin),
                        columns.fold(cos * across - sin * up + columns.origin),
                    );
                }
                for (column, (y, x)) in (first..width).zip(places) {
                    let (top, bottom, below) = rows.split(y);
                    let (left, right, beside) = columns.split(x);
                    let corners = [(top, left), (top, right), (bottom, left), (bottom, right)]
                        .map(|(row, column)| (row * width + column) * channels);
                    let result = &mut result[column * channels..];
                    match channels {
                        1 => mean(pixels, corners, beside, below, 1, result),
                        3 => mean(pixels, corners, beside, below, 3, result),
                        _ => mean(pixels, corners, beside, below, channels, result),
                    }
                }
            }
            for (out, &value) in out.iter_mut().zip(result.iter()) {
                *out = byte(value);
            }
        }
    });
}

/// The mean of four pixels. It is written with a few floats too many, which the next pixel
/// overwrites.
#[inline(always)]
fn mean(
    pixels: &[f32],
    corners: [usize; 4],
    beside: f32,
    below: f32,
    channels: usize,
    result: &mut [f32],
) {
    for group in (0..channels).step_by(LANES) {
        let at = corners.map(|corner| lanes(&pixels[corner + group..]));
        let above = mix(at[0], at[1], beside);
        let under = mix(at[2], at[3], beside);
        result[group..][..LANES].copy_from_slice(mix(above, under, below).as_array());
    }
}

#[inline(always)]
fn lanes(floats: &[f32]) -> f32x4 {
    f32x4::new(std::array::from_fn(|lane| floats[lane]))
}

/// From `a` to `b` as `share` goes from 0 to 1.
#[inline(always)]
fn mix(a: f32x4, b: f32x4, share: f32) -> f32x4 {
    a + f32x4::splat(share) * (b - a)
}

/// One axis of the image, which reflects at its ends.
struct Fold {
    centre: f32,
    /// The place that the centre of the output shows.
    origin: f32,
    end: usize,
    last: f32,
    period: f32,
    flip: bool,
}

impl Fold {
    fn new(size: usize, shift: i64, flip: bool) -> Self {
        let (end, period) = (size - 1, period(size));
        let (last, shift) = (end as f32, shift.rem_euclid(period as i64) as f32);
        let (centre, period) = (last / 2.0, period as f32);
        Self { centre, origin: centre - shift, end, last, period, flip }
    }

    /// A place within the image.
    #[inline(always)]
    fn fold(&self, place: f32) -> f32 {
        let within = place - self.period * (place / self.period).floor();
        let back = self.period - within;
        let nearer = if within < back { within } else { back };
        let from = if nearer < self.last { nearer } else { self.last };
        if self.flip { self.last - from } else { from }
    }

    /// The pixels on both sides of a place, and how near it is to the second.
    #[inline(always)]
    fn split(&self, place: f32) -> (usize, usize, f32) {
        let first = place as i32; // towards zero: a place may be a rounding below it
        let share = place - first as f32;
        let first = (first as usize).min(self.end);
        (first, (first + 1).min(self.end), share)
    }
}
