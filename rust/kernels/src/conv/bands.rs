//! How a convolution forward deals the output rows of a batch out to the threads.

use crate::threads::{self, ChunksMut, bands_mut};

/// The cut of a batch into bands: some output rows of one image, or some whole images.
pub(super) struct Bands {
    height: usize,
    /// Elements of an output row.
    row: usize,
    batch: usize,
    images: usize,
    rows: usize,
}

/// What one turn works on: `rows` output rows from `top` on, in each of `images` images from
/// `image` on.
pub(super) struct Band {
    pub image: usize,
    pub images: usize,
    pub top: usize,
    pub rows: usize,
}

impl Bands {
    /// Bands of about `rows` output rows, a multiple of `step`; smaller where the images are too few
    /// for the threads.
    pub fn new(
        [height, width, channels]: [usize; 3],
        batch: usize,
        rows: usize,
        step: usize,
    ) -> Self {
        let threads = threads::threads().unwrap_or(1);
        let images = (rows / height).clamp(1, batch.div_ceil(threads).max(1));
        // An even cut: of three bands on two threads the last would be waited for.
        let bands = height.div_ceil(rows).next_multiple_of(threads.div_ceil(batch.max(1)));
        let rows = height.div_ceil(bands).next_multiple_of(step).min(height);
        Self { height, row: width * channels, batch, images, rows }
    }

    /// The output of the batch, cut into bands.
    pub fn cut<'a, T: Send>(&self, out: &'a mut [T]) -> ChunksMut<'a, T> {
        if self.images > 1 {
            let size = out.len() / self.batch * self.images;
            return bands_mut(out, self.batch * self.height * self.row, size);
        }
        bands_mut(out, self.height * self.row, self.rows * self.row)
    }

    fn per_image(&self) -> usize {
        self.height.div_ceil(self.rows)
    }

    /// The band of a turn.
    pub fn band(&self, index: usize) -> Band {
        if self.images > 1 {
            let image = index * self.images;
            let images = self.images.min(self.batch - image);
            return Band { image, images, top: 0, rows: self.height };
        }
        let top = index % self.per_image() * self.rows;
        let rows = self.rows.min(self.height - top);
        Band { image: index / self.per_image(), images: 1, top, rows }
    }

    /// The band that the thread of a turn probably gets next.
    pub fn next(&self, index: usize) -> Option<Band> {
        let index = index + 1;
        (index < self.batch.div_ceil(self.images) * self.per_image()).then(|| self.band(index))
    }

    /// The most images that a band has, and the most rows of each.
    pub fn largest(&self) -> (usize, usize) {
        (self.images, self.rows)
    }
}
