//! How a batch is cut into bands.

use std::ops::Range;

use crate::conv::padded::{padded_extent, span};
use crate::conv::slices::{SLACK, WIDTH, pixel};
use crate::geometry::{BlockGeometry, ConvGeometry};
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
        let width = pixel(WIDTH.min(conv.in_channels));
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

    /// The pooled elements of a band: all rows of some images, or some rows of one.
    pub fn outputs(&self, band: &Band, channels: usize) -> Range<usize> {
        let (height, width) = self.pooled;
        span([height, width, channels], band.images.clone(), band.rows.clone())
    }

    /// About what the input of a band is, as elements of the batch.
    pub fn inputs(&self, band: &Band, conv: &ConvGeometry) -> Range<usize> {
        span(conv.input_shape(), band.images.clone(), 2 * band.rows.start..2 * band.rows.end)
    }

    /// Pooled pixels of the largest band.
    pub fn most_positions(&self) -> usize {
        self.images * self.rows * self.pooled.1
    }

    /// Floats of the padded pixels in memory.
    pub fn floats(&self) -> usize {
        self.slices * self.slice + SLACK
    }
}
