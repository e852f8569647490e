//! The inputs in the other basis.

use super::transforms::{transform_rows, transform_six};
use super::{GAP, INPUTS, OUTPUTS};
use crate::conv::padded::{image_size, place};
use crate::geometry::ConvGeometry;
use crate::pixel::Pixel;
use crate::simd::Simd;

/// Some rows of tiles of some images.
pub(super) struct Inputs<'a, T> {
    pub conv: &'a ConvGeometry,
    /// Whole images.
    pub x: &'a [T],
    /// Tiles of each image, rows and columns.
    pub grid: (usize, usize),
    /// The output row of the convolution where the first row of tiles starts.
    pub top: usize,
    /// A row more than the tiles of an image reach, with zeros around them.
    pub padded: &'a mut [f32],
    /// Six rows of it, transformed vertically.
    pub columns: &'a mut [f32],
    /// (plane, tile, in_channel).
    pub inputs: &'a mut [f32],
}

/// Floats of a padded row under `columns` tiles.
pub(super) fn row_size(conv: &ConvGeometry, columns: usize) -> usize {
    (OUTPUTS * columns + INPUTS - OUTPUTS) * conv.in_channels
}

/// Floats of `padded` under so many rows and columns of tiles.
pub(super) fn padded_size(conv: &ConvGeometry, (rows, columns): (usize, usize)) -> usize {
    let rows = OUTPUTS * rows + INPUTS - OUTPUTS;
    (rows * row_size(conv, columns) + GAP).next_multiple_of(GAP)
}

/// Floats of `columns`.
pub(super) fn columns_size(conv: &ConvGeometry, columns: usize) -> usize {
    INPUTS * row_size(conv, columns).next_multiple_of(GAP)
}

impl<T: Pixel> Inputs<'_, T> {
    /// Fills `inputs`.
    #[inline(always)]
    pub fn transform<S: Simd>(&mut self, simd: S) {
        let conv = self.conv;
        let (tile_rows, columns) = self.grid;
        let row = row_size(conv, columns);
        let size = (OUTPUTS * tile_rows + INPUTS - OUTPUTS, row / conv.in_channels);
        let offset = (conv.height.before as isize - self.top as isize, conv.width.before as isize);
        let images = self.x.chunks_exact(image_size(conv.input_shape()));
        for (index, image) in images.enumerate() {
            place(image, conv.input_shape(), self.padded, size, offset, (1, 1));
            for y in 0..tile_rows {
                transform_rows(simd, &self.padded[OUTPUTS * y * row..], row, self.columns);
                self.transform_columns(simd, (index * tile_rows + y) * columns);
            }
        }
    }

    /// From `columns` to the `inputs` of a row of tiles, `first` and those behind it.
    #[inline(always)]
    fn transform_columns<S: Simd>(&mut self, simd: S, first: usize) {
        let channels = self.conv.in_channels;
        let tiles = self.x.len() / image_size(self.conv.input_shape()) * self.grid.0 * self.grid.1;
        let plane = tiles * channels + GAP;
        let row = row_size(self.conv, self.grid.1).next_multiple_of(GAP);
        for x in 0..self.grid.1 {
            for i in 0..INPUTS {
                let source = &self.columns[i * row + OUTPUTS * x * channels..][..INPUTS * channels];
                let at = i * INPUTS * plane + (first + x) * channels;
                let target = &mut self.inputs[at..][..(INPUTS - 1) * plane + channels];
                let (source, target) = (source.as_ptr(), target.as_mut_ptr());
                let mut c = 0;
                // SAFETY: six pixels of `channels` are readable in `source`, and `channels` floats
                // are writable at the start of each of six planes from `target` on.
                unsafe {
                    while channels - c >= S::LANES {
                        transform_six::<S, false>(
                            simd,
                            source.add(c),
                            target.add(c),
                            channels,
                            plane,
                            0,
                        );
                        c += S::LANES;
                    }
                    if c < channels {
                        let left = channels - c;
                        transform_six::<S, true>(
                            simd,
                            source.add(c),
                            target.add(c),
                            channels,
                            plane,
                            left,
                        );
                    }
                }
            }
        }
    }
}
