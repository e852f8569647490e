//! A part of an image resized to the output: bilinear where it grows; where it shrinks the
//! triangle is widened, so that every pixel has its share. It is Pillow's `BILINEAR`, rounded once.

use std::cell::RefCell;

use ndarray::{ArrayView3, ArrayViewMut3};

use crate::error::{KernelError, Result};
use crate::pixel::byte;
use crate::scratch::{self, Free, lend};
use crate::simd::elementwise;
use crate::view::{slice, slice_mut};

/// Floats of a pixel that are worked on together; the last pixel of a row has as many behind it.
const LANES: usize = 4;

thread_local! {
    static SPANS: Free<Span> = const { RefCell::new(Vec::new()) };
}

/// A part of an image, rows before columns, in pixels; it may begin and end within one.
#[derive(Clone, Copy)]
pub struct Region {
    /// Of its first pixel.
    pub start: [f64; 2],
    /// Height and width, above 0.
    pub size: [f64; 2],
}

/// Resizes `region` of `image`, (height, width, channels), to the height and width of `out`.
///
/// # Errors
/// Arrays without pixels, of different channels or with gaps; a region that is not inside the image.
pub fn resize(image: ArrayView3<u8>, region: Region, mut out: ArrayViewMut3<u8>) -> Result<()> {
    let (shape, (rows, columns, _)) = (image.dim(), out.dim());
    let shape = [shape.0, shape.1, shape.2];
    let output = [rows, columns, shape[2]];
    let image = slice("image", &image, &shape)?;
    let out = slice_mut("out", &mut out, &output)?;
    for (argument, shape) in [("image", shape), ("out", output)] {
        if shape.contains(&0) {
            return Err(KernelError::Zero { argument });
        }
    }
    for ((start, size), all) in region.start.into_iter().zip(region.size).zip(shape) {
        if !(start >= 0.0 && size > 0.0 && start + size <= all as f64) {
            return Err(KernelError::Region);
        }
    }
    pick((image, shape), region, 0..rows, 0..columns, out);
    Ok(())
}

/// The pixels along one axis that an output pixel is a weighted mean of.
#[derive(Clone, Copy, Default)]
struct Span {
    first: usize,
    count: usize,
}

/// The spans of one axis of the output, and `most` places for the weights of each.
struct Taps<'a> {
    spans: &'a [Span],
    weights: &'a [f32],
    most: usize,
}

impl Taps<'_> {
    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.spans
            .iter()
            .zip(self.weights.chunks_exact(self.most))
            .map(|(span, weights)| (span.first, &weights[..span.count]))
    }
}

/// Resizes `region` to as many rows and columns as are given, and picks these: the `i`-th of the
/// output shows the one whose number is the `i`-th. Pixels just outside the region count as far as the
/// triangle reaches.
pub(crate) fn pick(
    (image, [height, width, channels]): (&[u8], [usize; 3]),
    region: Region,
    rows: impl ExactSizeIterator<Item = usize>,
    columns: impl ExactSizeIterator<Item = usize>,
    out: &mut [u8],
) {
    with_taps(height, region.start[0], region.size[0], rows, |rows| {
        with_taps(width, region.start[1], region.size[1], columns, |columns| {
            let first = columns.spans.iter().map(|span| span.first).min().unwrap_or(0);
            let end = columns.spans.iter().map(|span| span.first + span.count).max().unwrap_or(0);
            let used = first * channels..end * channels;
            let row = width * channels;
            let out_row = columns.spans.len() * channels;
            scratch::with(row + out_row + 2 * LANES, |means| {
                let (mean, result) = means.split_at_mut(row + LANES);
                mean[row..].fill(0.0);
                for (out, (first, weights)) in out.chunks_exact_mut(out_row).zip(rows.iter()) {
                    let lines = image[first * row..].chunks_exact(row);
                    let lines = lines.map(|line| &line[used.clone()]);
                    elementwise(|| mean_of_rows(lines, weights, &mut mean[used.clone()]));
                    match channels {
                        1 => mean_of_columns(mean, columns, 1, result),
                        3 => mean_of_columns(mean, columns, 3, result),
                        _ => mean_of_columns(mean, columns, channels, result),
                    }
                    elementwise(|| {
                        for (out, &mean) in out.iter_mut().zip(result.iter()) {
                            *out = byte(mean);
                        }
                    });
                }
            });
        });
    });
}

/// Lends the taps of an axis of `size` pixels whose part from `start` on is resized.
fn with_taps(
    size: usize,
    start: f64,
    length: f64,
    positions: impl ExactSizeIterator<Item = usize>,
    body: impl FnOnce(&Taps<'_>),
) {
    let scale = length / positions.len() as f64;
    let reach = scale.max(1.0);
    let most = (2.0 * reach) as usize + 2;
    let count = positions.len();
    lend(&SPANS, count, |spans| {
        scratch::with(count * most, |weights| {
            let places = spans.iter_mut().zip(weights.chunks_exact_mut(most));
            for ((span, weights), position) in places.zip(positions) {
                let centre = start + (position as f64 + 0.5) * scale;
                // A cast takes what lies outside, or is NaN, to the nearest index or 0.
                let first = ((centre - reach + 0.5).floor() as usize).min(size - 1);
                let end = ((centre + reach + 0.5).floor() as usize).clamp(first + 1, size);
                *span = Span { first, count: (end - first).min(most) };
                fill(&mut weights[..span.count], first as f64 + 0.5 - centre, reach);
            }
            body(&Taps { spans, weights, most });
        });
    });
}

/// The triangle of half width `reach` from `distance` off its top on, as weights of sum 1.
fn fill(weights: &mut [f32], distance: f64, reach: f64) {
    let height = |index: usize| (reach - (distance + index as f64).abs()).max(0.0);
    let factor = 1.0 / (0..weights.len()).map(height).sum::<f64>();
    for (index, weight) in weights.iter_mut().enumerate() {
        *weight = (height(index) * factor) as f32;
    }
}

/// The weighted sum of rows of bytes, two at a time.
#[inline(always)]
fn mean_of_rows<'a>(mut lines: impl Iterator<Item = &'a [u8]>, weights: &[f32], mean: &mut [f32]) {
    let (pairs, rest) = weights.as_chunks::<2>();
    mean.fill(0.0);
    for (pair, lines) in pairs.iter().zip(std::iter::from_fn(|| lines.next().zip(lines.next()))) {
        for (mean, (&upper, &lower)) in mean.iter_mut().zip(lines.0.iter().zip(lines.1)) {
            *mean += pair[0] * f32::from(upper) + pair[1] * f32::from(lower);
        }
    }
    for (&weight, line) in rest.iter().zip(lines) {
        for (mean, &pixel) in mean.iter_mut().zip(line) {
            *mean += weight * f32::from(pixel);
        }
    }
}

/// The weighted sums of the pixels of a row. Each pixel is written with a few floats too many,
/// which the next one overwrites.
#[inline(always)]
fn mean_of_columns(row: &[f32], columns: &Taps<'_>, channels: usize, result: &mut [f32]) {
    for (index, (first, weights)) in columns.iter().enumerate() {
        for group in (0..channels).step_by(LANES) {
            let mut sums = [0.0; LANES];
            for (tap, &weight) in weights.iter().enumerate() {
                let floats = &row[(first + tap) * channels + group..][..LANES];
                for (sum, &float) in sums.iter_mut().zip(floats) {
                    *sum += weight * float;
                }
            }
            result[index * channels + group..][..LANES].copy_from_slice(&sums);
        }
    }
}
