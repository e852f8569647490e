//! The weight gradient of the block: with g a live element of the pooled gradient, f its channel
//! and (y, x) where its winner's window starts, `dweight[:, :, :, f] += g * x[y.., x.., :]`.
//!
//! For each output channel its live elements are listed, and the sum over the list is held in
//! registers. Both go band by band, so that the band's pixels stay in the first-level cache while
//! every output channel walks over them. Over few input channels `lookup` is faster; its sums have
//! the same terms in the same order.

mod cut;
mod lookup;
mod positions;
mod runs;

use std::cell::RefCell;
use std::ops::Range;

use cut::{Band, Cut};
use positions::{Memory, PACKED, Positions, TOGETHER};
use runs::Runs;

use super::block::Pooled;
use super::padded::image_size;
use super::slices::{WIDTH, pad_slice, pixel, slices};
use crate::geometry::ConvGeometry;
use crate::pixel::Pixel;
use crate::scratch::{self, Free, lend};
use crate::simd::{Ahead, Kernel, Simd, dispatch, worth_asking};
use crate::sums::{add, in_groups};
use crate::threads::{chunks_mut, for_each};

thread_local! {
    static LISTS: Free<u32> = const { RefCell::new(Vec::new()) };
}

/// Overwrites `dweight` and `dbias`.
pub(super) fn overwrite<T: Pixel>(pooled: Pooled, x: &[T], dweight: &mut [f32], dbias: &mut [f32]) {
    let conv = &pooled.geometry.conv;
    if lookup::serves(conv) {
        return lookup::overwrite(pooled, x, dweight, dbias);
    }
    let channels = conv.out_channels;
    let taps = conv.height.window * conv.width.window;
    let window = window(conv);
    let cut = Cut::new(pooled.geometry, x.len() / image_size(conv.input_shape()));
    // For each filter its slices, (kernel_h, kernel_w, float of the slice's pixel); then the biases.
    let size = channels * (window + 1);
    let add_bands = |range: Range<usize>, sums: &mut [f32]| {
        let most = cut.most_positions();
        lend(&LISTS, (1 + PACKED / TOGETHER + TOGETHER) * most, |lists| {
            scratch::with(TOGETHER * most, |factors| {
                scratch::with(cut.floats(), |padded| {
                    let (positions, lists) = lists.split_at_mut(most);
                    let (winners, pixels) = lists.split_at_mut(PACKED / TOGETHER * most);
                    let memory = Memory { winners, factors, pixels };
                    let sum = Sum { pooled, x, cut: &cut, range, positions, memory, padded, sums };
                    dispatch(sum);
                });
            });
        });
    };
    in_groups(cut.count(), size, add_bands, |partials| {
        for_each(chunks_mut(dweight, conv.in_channels * channels), |tap, out| {
            for f in 0..channels {
                for (first, width) in slices(conv.in_channels) {
                    let at = f * window + first * taps + tap * pixel(width);
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

/// Floats of the sums of a filter.
fn window(conv: &ConvGeometry) -> usize {
    let floats: usize = slices(conv.in_channels).map(|(_, width)| pixel(width)).sum();
    conv.height.window * conv.width.window * floats
}

/// Adds the bands of a range to `sums`.
struct Sum<'a, T> {
    pooled: Pooled<'a>,
    x: &'a [T],
    cut: &'a Cut,
    range: Range<usize>,
    positions: &'a mut [u32],
    memory: Memory<'a>,
    padded: &'a mut [f32],
    sums: &'a mut [f32],
}

impl<T: Pixel> Kernel for Sum<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        self.padded[self.cut.slices * self.cut.slice..].fill(0.0);
        for index in self.range.clone() {
            let next = self.range.contains(&(index + 1)).then(|| self.cut.band(index + 1));
            self.add_band(simd, &self.cut.band(index), next.as_ref());
        }
    }
}

impl<T: Pixel> Sum<'_, T> {
    /// Adds a band, while the `next` is asked for.
    #[inline(always)]
    fn add_band<S: Simd>(&mut self, simd: S, band: &Band, next: Option<&Band>) {
        let conv = &self.pooled.geometry.conv;
        let taps = conv.height.window * conv.width.window;
        let window = window(conv);
        let (sums, biases) = self.sums.split_at_mut(conv.out_channels * window);
        let positions = Positions::new(self.pooled, self.cut, band, self.positions);
        let Cut { padded: (_, columns), slices: together, slice: size, .. } = *self.cut;
        let mut ahead = Ahead::new();
        let bytes = size_of_val(self.x) + size_of_val(self.pooled.grad);
        if let Some(next) = next.filter(|_| worth_asking(bytes)) {
            let outputs = self.cut.outputs(next, conv.out_channels);
            ahead = ahead
                .with(&self.x[self.cut.inputs(next, conv)])
                .with(&self.pooled.grad[outputs.clone()])
                .with(&self.pooled.winners[outputs])
                .in_parts(conv.out_channels);
        }
        for skipped in (0..slices(conv.in_channels).count()).step_by(together) {
            let slices = slices(conv.in_channels).skip(skipped).take(together);
            for (slice, target) in slices.clone().zip(self.padded.chunks_exact_mut(size)) {
                pad_band(conv, self.x, band, slice, columns, target);
            }
            for f in (0..conv.out_channels).step_by(TOGETHER) {
                if f.is_multiple_of(PACKED) {
                    positions.pack(simd, f, &mut self.memory);
                }
                let lists = positions.list(simd, f, &mut self.memory);
                let filters = sums[f * window..].chunks_exact_mut(window).zip(&mut biases[f..]);
                for (terms, (sums, bias)) in lists.into_iter().zip(filters) {
                    ahead.ask(simd);
                    let mut bias = (skipped == 0).then_some(bias);
                    for (index, (first, width)) in slices.clone().enumerate() {
                        let runs = Runs {
                            terms,
                            pixel: pixel(width),
                            rows: conv.height.window,
                            run: conv.width.window * pixel(width),
                            source: &self.padded[index * size..],
                            source_row: columns * pixel(width),
                            target: &mut sums[first * taps..][..taps * pixel(width)],
                            bias: bias.take(),
                        };
                        // Small pixels fill long vectors badly, and cross cache lines in them.
                        if pixel(width) < WIDTH { runs.add(simd.narrow()) } else { runs.add(simd) }
                    }
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
    slice: (usize, usize),
    columns: usize,
    target: &mut [f32],
) {
    let size = image_size(conv.input_shape());
    let rows = 2 * band.rows.len() + conv.height.window - 1;
    let offset = (conv.height.before as isize - 2 * band.rows.start as isize, conv.width.before);
    let images = x[band.images.start * size..].chunks_exact(size).take(band.images.len());
    for (image, target) in images.zip(target.chunks_mut(rows * columns * pixel(slice.1))) {
        pad_slice(conv, image, slice, target, columns, offset);
    }
}
