//! How a batch is cut into bands, and the live elements of a band.

use std::ops::Range;

use super::runs::Term;
use crate::conv::OFF;
use crate::conv::block::Pooled;
use crate::conv::padded::padded_extent;
use crate::conv::slices::{SLACK, WIDTH};
use crate::geometry::BlockGeometry;
use crate::simd::Simd;
use crate::sums::GROUPS;

/// Bytes of the padded pixels of a band.
const BAND: usize = 24 << 10;

/// How a batch is cut into bands: some pooled rows of an image, or some whole images.
pub(super) struct Cut {
    pub batch: usize,
    pub images: usize,
    pub rows: usize,
    pub per_image: usize,
    pub pooled: (usize, usize),
    /// Rows and columns of the padded part of an image.
    pub padded: (usize, usize),
    /// Slices that are in memory together, and floats of each.
    pub slices: usize,
    pub slice: usize,
}

/// Some pooled rows of some images.
pub(super) struct Band {
    pub images: Range<usize>,
    pub rows: Range<usize>,
}

impl Cut {
    pub fn new(geometry: &BlockGeometry, batch: usize) -> Self {
        let BlockGeometry { conv, pool } = geometry;
        let (padded_rows, columns) = padded_extent(conv);
        let width = WIDTH.min(conv.in_channels);
        let room = BAND / size_of::<f32>() / (columns * width);
        let fitting = (room.saturating_sub(conv.height.window - 1) / 2).max(1);
        let per_image = pool.height.output.div_ceil(fitting);
        let rows = pool.height.output.div_ceil(per_image);
        let padded = (2 * rows + conv.height.window - 1, columns);
        // No more than a group of the sum has.
        let images = if per_image > 1 {
            1
        } else {
            (room / padded_rows).clamp(1, batch.div_ceil(GROUPS).max(1))
        };
        let slice = images * padded.0 * columns * width;
        let slices = (BAND / size_of::<f32>() / slice).max(1);
        let pooled = (pool.height.output, pool.width.output);
        Self { batch, images, rows, per_image, pooled, padded, slices, slice }
    }

    pub fn count(&self) -> usize {
        self.batch.div_ceil(self.images) * self.per_image
    }

    pub fn band(&self, index: usize) -> Band {
        let image = index / self.per_image * self.images;
        let top = index % self.per_image * self.rows;
        Band {
            images: image..self.batch.min(image + self.images),
            rows: top..self.pooled.0.min(top + self.rows),
        }
    }

    /// Pooled pixels of the largest band.
    pub fn most_positions(&self) -> usize {
        self.images * self.rows * self.pooled.1
    }

    /// Floats of the padded pixels in memory.
    pub fn floats(&self) -> usize {
        self.slices * self.slice + SLACK
    }

    /// The elements of a band.
    #[inline(always)]
    pub fn positions<'a>(
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

/// The pooled elements of a band, (position, channel), and the pixel at which the windows of each
/// position start.
pub(super) struct Positions<'a> {
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
    pub fn list(&self, f: usize, terms: &mut [Term]) -> usize {
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
    pub fn add_biases<S: Simd>(&self, simd: S, biases: &mut [f32]) {
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
