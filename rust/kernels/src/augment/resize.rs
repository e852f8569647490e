//! A part of an image resized to the output: bilinear where it grows; where it shrinks the
//! triangle is widened, so that every pixel has its share.

use std::cell::RefCell;

use super::positions::Positions;
use super::{Shape, byte};
use crate::scratch::{self, Free, lend};

/// Floats of a pixel that are worked on together. The last pixel of a row has as many behind it.
const LANES: usize = 4;

thread_local! {
    static SPANS: Free<Span> = const { RefCell::new(Vec::new()) };
}

/// A part of an image, rows before columns, in pixels; it may begin and end within one.
#[derive(Clone, Copy)]
pub(super) struct Region {
    pub start: [f64; 2],
    pub size: [f64; 2],
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

/// Resizes `region` to the size of the positions, of which row and column `i` show that of
/// `rows[i]` and `columns[i]`. Pixels just outside the region count as far as the triangle reaches.
pub(super) fn resize(
    (image, [height, width, channels]): (&[u8], Shape),
    region: Region,
    positions: &Positions<'_>,
    out: &mut [u8],
) {
    with_taps(height, region.start[0], region.size[0], positions.rows, |rows| {
        with_taps(width, region.start[1], region.size[1], positions.columns, |columns| {
            let first = columns.spans.iter().map(|span| span.first).min().unwrap_or(0);
            let end = columns.spans.iter().map(|span| span.first + span.count).max().unwrap_or(0);
            let used = first * channels..end * channels;
            let row = width * channels;
            scratch::with(row + LANES, |mean| {
                let out_row = positions.columns.len() * channels;
                mean[row..].fill(0.0);
                for (out, (first, weights)) in out.chunks_exact_mut(out_row).zip(rows.iter()) {
                    let lines =
                        image[first * row..].chunks_exact(row).map(|line| &line[used.clone()]);
                    mean_of_rows(lines.zip(weights), &mut mean[used.clone()]);
                    match channels {
                        1 => mean_of_columns::<1>(mean, columns, out),
                        3 => mean_of_columns::<3>(mean, columns, out),
                        _ => mean_of_columns_any(mean, columns, channels, out),
                    }
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
    positions: &[usize],
    body: impl FnOnce(&Taps<'_>),
) {
    let scale = length / positions.len() as f64;
    let reach = scale.max(1.0);
    let most = (2.0 * reach) as usize + 2;
    lend(&SPANS, positions.len(), |spans| {
        scratch::with(positions.len() * most, |weights| {
            let places = spans.iter_mut().zip(weights.chunks_exact_mut(most));
            for ((span, weights), &position) in places.zip(positions) {
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
    let height = |index: usize| (1.0 - (distance + index as f64).abs() / reach).max(0.0);
    let sum: f64 = (0..weights.len()).map(height).sum();
    for (index, weight) in weights.iter_mut().enumerate() {
        *weight = (height(index) / sum) as f32;
    }
}

/// The weighted sum of rows of bytes.
fn mean_of_rows<'a>(lines: impl Iterator<Item = (&'a [u8], &'a f32)>, mean: &mut [f32]) {
    for (index, (line, &weight)) in lines.enumerate() {
        for (mean, &pixel) in mean.iter_mut().zip(line) {
            let before = if index == 0 { 0.0 } else { *mean };
            *mean = before + weight * f32::from(pixel);
        }
    }
}

/// The weighted sums of the pixels of a row.
fn mean_of_columns<const CHANNELS: usize>(row: &[f32], columns: &Taps<'_>, out: &mut [u8]) {
    for (out, (first, weights)) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(columns.iter())
    {
        let sum = sum(row, first * CHANNELS, CHANNELS, weights).map(byte);
        out.copy_from_slice(&sum[..CHANNELS]);
    }
}

fn mean_of_columns_any(row: &[f32], columns: &Taps<'_>, channels: usize, out: &mut [u8]) {
    for (out, (first, weights)) in out.chunks_exact_mut(channels).zip(columns.iter()) {
        for (group, out) in out.chunks_mut(LANES).enumerate() {
            let sum = sum(row, first * channels + group * LANES, channels, weights).map(byte);
            out.copy_from_slice(&sum[..out.len()]);
        }
    }
}

/// The weighted sum of the floats at `start`, a pixel further each time.
#[inline(always)]
fn sum(row: &[f32], start: usize, channels: usize, weights: &[f32]) -> [f32; LANES] {
    let mut sum = [0.0; LANES];
    for (tap, &weight) in weights.iter().enumerate() {
        let floats = &row[start + tap * channels..][..LANES];
        for (sum, &float) in sum.iter_mut().zip(floats) {
            *sum += weight * float;
        }
    }
    sum
}
