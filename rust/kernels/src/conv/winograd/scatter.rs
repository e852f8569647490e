//! From products to input gradients, `B M B^T`: the six by six gradients of a tile's inputs, which
//! overlap with those of its neighbours and are added.

use super::transforms::transform_input_grad;
use super::{GAP, INPUTS, OUTPUTS};
use crate::simd::{Simd, add_to_slice};

/// The products of one panel, and the padded gradients that they are added to.
pub(super) struct Scatter<'a> {
    /// (plane, tile, channel of the panel), rows of `width`.
    pub products: &'a [f32],
    pub width: usize,
    /// The first channel of the panel.
    pub first: usize,
    /// The first row of tiles.
    pub top: usize,
    /// Tiles of each image from there on, rows and columns.
    pub grid: (usize, usize),
    pub tiles: usize,
    /// Rows of a padded image.
    pub rows: usize,
    /// (image, row, column, channel), with zeros around it.
    pub padded: &'a mut [f32],
    pub channels: usize,
}

impl Scatter<'_> {
    #[inline(always)]
    pub fn add<S: Simd>(&mut self, simd: S) {
        let columns = OUTPUTS * self.grid.1 + INPUTS - OUTPUTS;
        let row = columns * self.channels;
        for tile in 0..self.tiles {
            let (y, x) = (tile / self.grid.1, OUTPUTS * (tile % self.grid.1));
            let (image, y) = (y / self.grid.0, OUTPUTS * (self.top + y % self.grid.0));
            let corner = (image * self.rows + y) * row + x * self.channels + self.first;
            for v in (0..self.width.min(self.channels - self.first)).step_by(S::LANES) {
                let count = (self.channels - self.first - v).min(S::LANES);
                self.tile(simd, tile * self.width + v, corner + v, row, count);
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd>(&mut self, simd: S, product: usize, at: usize, row: usize, count: usize) {
        let plane = self.tiles * self.width + GAP;
        let products = &self.products[product..][..(INPUTS * INPUTS - 1) * plane + S::LANES];
        let zero = simd.splat(0.0);
        let mut columns = [[zero; INPUTS]; INPUTS];
        for (j, column) in columns.iter_mut().enumerate() {
            let mut m = [zero; INPUTS];
            for (i, lanes) in m.iter_mut().enumerate() {
                // SAFETY: the slice holds `LANES` floats at the start of each of 36 planes.
                *lanes = unsafe { simd.load(products.as_ptr().add((i * INPUTS + j) * plane)) };
            }
            *column = transform_input_grad(simd, m);
        }
        for y in 0..INPUTS {
            let mut m = [zero; INPUTS];
            for (lanes, column) in m.iter_mut().zip(&columns) {
                *lanes = column[y];
            }
            for (x, lanes) in transform_input_grad(simd, m).into_iter().enumerate() {
                let target = &mut self.padded[at + y * row + x * self.channels..][..count];
                add_to_slice(simd, target, lanes);
            }
        }
    }
}
