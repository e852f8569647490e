//! The weight gradient from lists. For each output channel a list of its live elements is made,
//! and the sum over the list is held in registers. Both go band by band, so that the band's
//! pixels stay in the first-level cache while every output channel walks over them.

use std::cell::RefCell;
use std::ops::Range;

use super::cut::{Band, Cut};
use super::runs::{Runs, Term};
use crate::conv::block::Pooled;
use crate::conv::padded::image_size;
use crate::conv::slices::{WIDTH, pad_slice, slices};
use crate::geometry::ConvGeometry;
use crate::pixel::Pixel;
use crate::scratch::{self, Free, lend};
use crate::simd::{Kernel, Simd, dispatch};
use crate::sums::{add, in_groups};
use crate::threads::{chunks_mut, for_each};

thread_local! {
    static PIXELS: Free<u32> = const { RefCell::new(Vec::new()) };
    static TERMS: Free<Term> = const { RefCell::new(Vec::new()) };
}

/// Overwrites `dweight` and `dbias`.
pub(super) fn overwrite<T: Pixel>(pooled: Pooled, x: &[T], dweight: &mut [f32], dbias: &mut [f32]) {
    let conv = &pooled.geometry.conv;
    let channels = conv.out_channels;
    let taps = conv.height.window * conv.width.window;
    let window = taps * conv.in_channels;
    let cut = Cut::new(pooled.geometry, x.len() / image_size(conv.input_shape()));
    // For each filter its slices, (kernel_h, kernel_w, channel of the slice); then the biases.
    let size = channels * (window + 1);
    let add_bands = |range: Range<usize>, sums: &mut [f32]| {
        lend(&PIXELS, cut.most_positions(), |pixels| {
            lend(&TERMS, cut.most_positions(), |terms| {
                scratch::with(cut.floats(), |padded| {
                    let memory = Memory { pixels, terms, padded };
                    dispatch(Sum { pooled, x, cut: &cut, range, memory, sums });
                });
            });
        });
    };
    in_groups(cut.count(), size, add_bands, |partials| {
        for_each(chunks_mut(dweight, conv.in_channels * channels), |tap, out| {
            for f in 0..channels {
                for (first, width) in slices(conv.in_channels) {
                    let at = f * window + first * taps + tap * width;
                    let mut sums = [0.0; WIDTH];
                    for partial in partials.chunks_exact(size) {
                        add(&mut sums[..width], &partial[at..]);
                    }
                    let rows = out[first * channels..].chunks_exact_mut(channels);
                    for (row, sum) in rows.zip(&sums[..width]) {
                        row[f] = *sum;
                    }
                }
            }
        });
        dbias.fill(0.0);
        for partial in partials.chunks_exact(size) {
            add(dbias, &partial[channels * window..]);
        }
    });
}

struct Memory<'a> {
    pixels: &'a mut [u32],
    terms: &'a mut [Term],
    padded: &'a mut [f32],
}

/// Adds the bands of a range to `sums`.
struct Sum<'a, T> {
    pooled: Pooled<'a>,
    x: &'a [T],
    cut: &'a Cut,
    range: Range<usize>,
    memory: Memory<'a>,
    sums: &'a mut [f32],
}

impl<T: Pixel> Kernel for Sum<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        self.memory.padded[self.cut.slices * self.cut.slice..].fill(0.0);
        for index in self.range.clone() {
            self.add_band(simd, &self.cut.band(index));
        }
    }
}

impl<T: Pixel> Sum<'_, T> {
    #[inline(always)]
    fn add_band<S: Simd>(&mut self, simd: S, band: &Band) {
        let conv = &self.pooled.geometry.conv;
        let taps = conv.height.window * conv.width.window;
        let window = taps * conv.in_channels;
        let (sums, biases) = self.sums.split_at_mut(conv.out_channels * window);
        let positions = self.cut.positions(self.pooled, band, self.memory.pixels);
        positions.add_biases(simd, biases);
        let Cut { padded: (_, columns), slices: together, slice: size, .. } = *self.cut;
        for skipped in (0..slices(conv.in_channels).count()).step_by(together) {
            let slices = slices(conv.in_channels).skip(skipped).take(together);
            for (slice, target) in slices.clone().zip(self.memory.padded.chunks_exact_mut(size)) {
                pad_band(conv, self.x, band, slice, columns, target);
            }
            for (f, sums) in sums.chunks_exact_mut(window).enumerate() {
                let count = positions.list(f, self.memory.terms);
                for (index, (first, width)) in slices.clone().enumerate() {
                    Runs {
                        terms: &self.memory.terms[..count],
                        pixel: width,
                        rows: conv.height.window,
                        run: conv.width.window * width,
                        source: &self.memory.padded[index * size..],
                        source_row: columns * width,
                        target: &mut sums[first * taps..][..width * taps],
                        target_row: conv.width.window * width,
                    }
                    .add(simd);
                }
            }
        }
    }
}

/// The padded pixels of one slice that the windows of a band reach, one image behind the other.
#[inline(always)]
fn pad_band<T: Pixel>(
    conv: &ConvGeometry,
    x: &[T],
    band: &Band,
    (first, width): (usize, usize),
    columns: usize,
    target: &mut [f32],
) {
    let size = image_size(conv.input_shape());
    let image_rows = 2 * band.rows.len() + conv.height.window - 1;
    let offset = (conv.height.before as isize - 2 * band.rows.start as isize, conv.width.before);
    let images = x[band.images.start * size..].chunks_exact(size).take(band.images.len());
    for (image, target) in images.zip(target.chunks_mut(image_rows * columns * width)) {
        pad_slice(conv, image, (first, width), target, columns, offset);
    }
}
