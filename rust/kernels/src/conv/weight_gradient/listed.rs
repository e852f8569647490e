//! The weight gradient from lists. For each output channel a list of its live elements is made,
//! and the sum over the list is held in registers. Both go band by band, so that the band's
//! pixels stay in the first-level cache while every output channel walks over them.

use std::cell::RefCell;
use std::ops::Range;

use super::runs::{Runs, SLACK, Term};
use crate::conv::block::{OFF, Pooled};
use crate::conv::padded::image_size;
use crate::conv::slices::{WIDTH, pad_slice, padded_extent, slices};
use crate::geometry::{BlockGeometry, ConvGeometry};
use crate::pixel::Pixel;
use crate::scratch::{self, Free, lend};
use crate::simd::{Kernel, Simd, dispatch};
use crate::sums::{add, in_groups};
use crate::threads::{chunks_mut, for_each};

/// Bytes of the padded pixels of a band.
const BAND: usize = 24 << 10;

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
    let bands = Bands::new(pooled.geometry, x.len() / image_size(conv.input_shape()));
    // For each filter its slices, (kernel_h, kernel_w, channel of the slice); then the biases.
    let size = channels * (window + 1);
    let add_bands = |range: Range<usize>, sums: &mut [f32]| {
        lend(&PIXELS, bands.most_positions(), |pixels| {
            lend(&TERMS, bands.most_positions(), |terms| {
                scratch::with(bands.floats(), |padded| {
                    let memory = Memory { pixels, terms, padded };
                    dispatch(Sum { pooled, x, bands: &bands, range, memory, sums });
                });
            });
        });
    };
    in_groups(bands.count(), size, add_bands, |partials| {
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

/// How a batch is cut into bands: some pooled rows of an image, or some whole images.
struct Bands {
    batch: usize,
    images: usize,
    rows: usize,
    per_image: usize,
    pooled: (usize, usize),
    /// Rows and columns of the padded part of an image.
    padded: (usize, usize),
    /// Slices that are in memory together, and floats of each.
    slices: usize,
    slice: usize,
}

/// Some pooled rows of some images.
struct Band {
    images: Range<usize>,
    rows: Range<usize>,
}

impl Bands {
    fn new(geometry: &BlockGeometry, batch: usize) -> Self {
        let BlockGeometry { conv, pool } = geometry;
        let (padded_rows, columns) = padded_extent(conv);
        let width = WIDTH.min(conv.in_channels);
        let room = BAND / size_of::<f32>() / (columns * width);
        let fitting = (room.saturating_sub(conv.height.window - 1) / 2).max(1);
        let per_image = pool.height.output.div_ceil(fitting);
        let rows = pool.height.output.div_ceil(per_image);
        let padded = (2 * rows + conv.height.window - 1, columns);
        // A few images of each group at a time; `GROUPS` would be too few for many threads.
        let images =
            if per_image > 1 { 1 } else { (room / padded_rows).clamp(1, batch.div_ceil(8).max(1)) };
        let slice = images * padded.0 * columns * width;
        let slices = (BAND / size_of::<f32>() / slice).max(1);
        let pooled = (pool.height.output, pool.width.output);
        Self { batch, images, rows, per_image, pooled, padded, slices, slice }
    }

    fn count(&self) -> usize {
        self.batch.div_ceil(self.images) * self.per_image
    }

    fn band(&self, index: usize) -> Band {
        let image = index / self.per_image * self.images;
        let top = index % self.per_image * self.rows;
        Band {
            images: image..self.batch.min(image + self.images),
            rows: top..self.pooled.0.min(top + self.rows),
        }
    }

    /// Pooled pixels of the largest band.
    fn most_positions(&self) -> usize {
        self.images * self.rows * self.pooled.1
    }

    /// Floats of the padded pixels in memory.
    fn floats(&self) -> usize {
        self.slices * self.slice + SLACK
    }

    /// The elements of a band.
    #[inline(always)]
    fn positions<'a>(
        &self,
        pooled: Pooled<'a>,
        band: &Band,
        pixels: &'a mut [u32],
    ) -> Positions<'a> {
        let channels = pooled.geometry.conv.out_channels;
        let ((height, width), (rows, columns)) = (self.pooled, self.padded);
        let mut count = 0;
        for image in 0..band.images.len() {
            for y in 0..band.rows.len() {
                for x in 0..width {
                    pixels[count] = ((image * rows + 2 * y) * columns + 2 * x) as u32;
                    count += 1;
                }
            }
        }
        // They are contiguous: all rows of some images, or some rows of one.
        let start = (band.images.start * height + band.rows.start) * width * channels;
        let elements = start..start + count * channels;
        let columns = columns as u32;
        Positions {
            grads: &pooled.grad[elements.clone()],
            winners: &pooled.winners[elements],
            pixels: &pixels[..count],
            channels,
            places: [0, 1, columns, columns + 1, 0, 0, 0, 0],
        }
    }
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
    bands: &'a Bands,
    range: Range<usize>,
    memory: Memory<'a>,
    sums: &'a mut [f32],
}

impl<T: Pixel> Kernel for Sum<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        self.memory.padded[self.bands.slices * self.bands.slice..].fill(0.0);
        for index in self.range.clone() {
            self.add_band(simd, &self.bands.band(index));
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
        let positions = self.bands.positions(self.pooled, band, self.memory.pixels);
        positions.add_biases(simd, biases);
        let Bands { padded: (_, columns), slices: together, slice: size, .. } = *self.bands;
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
                    .run(simd);
                }
            }
        }
    }
}

/// The pooled elements of a band, (position, channel), and the pixel at which the windows of each
/// position start.
struct Positions<'a> {
    grads: &'a [f32],
    winners: &'a [u8],
    pixels: &'a [u32],
    channels: usize,
    /// How far the window of each winner is from there; the last four are never live.
    places: [u32; 8],
}

impl Positions<'_> {
    /// Lists the live elements of channel `f`; returns their number.
    #[inline(always)]
    fn list(&self, f: usize, terms: &mut [Term]) -> usize {
        let count = self.pixels.len();
        let (grads, winners) = (&self.grads[f..], &self.winners[f..]);
        let last = count.saturating_sub(1) * self.channels;
        assert!(count <= terms.len() && last < grads.len() && last < winners.len());
        let mut live = 0;
        for (position, &pixel) in self.pixels.iter().enumerate() {
            // SAFETY: `position < count`, and `live <= position`; see the assertion.
            unsafe {
                let winner = *winners.get_unchecked(position * self.channels);
                let factor = *grads.get_unchecked(position * self.channels);
                let pixel = pixel + self.places[usize::from(winner & 7)];
                *terms.get_unchecked_mut(live) = Term { factor, pixel };
                live += usize::from(winner < OFF);
            }
        }
        live
    }

    /// Adds the live elements to the biases of their channels.
    #[inline(always)]
    fn add_biases<S: Simd>(&self, simd: S, biases: &mut [f32]) {
        let pixels =
            || self.grads.chunks_exact(self.channels).zip(self.winners.chunks_exact(self.channels));
        let whole = self.channels / S::LANES * S::LANES;
        for channel in (0..whole).step_by(S::LANES) {
            let bias = &mut biases[channel..][..S::LANES];
            // SAFETY: `channel + LANES` elements are inside `bias` and each pixel.
            unsafe {
                let mut sum = simd.load(bias.as_ptr());
                for (grads, winners) in pixels() {
                    let grad = simd.load(grads.as_ptr().add(channel));
                    let winner = simd.load_index(winners.as_ptr().add(channel), S::LANES);
                    sum = simd.add(sum, simd.below(grad, winner, OFF));
                }
                simd.store(bias.as_mut_ptr(), sum);
            }
        }
        for (grads, winners) in pixels() {
            let elements = grads.iter().zip(winners).skip(whole);
            for (bias, (&grad, &winner)) in biases[whole..].iter_mut().zip(elements) {
                *bias += if winner < OFF { grad } else { 0.0 };
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
