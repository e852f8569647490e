//! What one band gives to both gradients.

use std::ops::Range;

use super::backward::Layer;
use super::grads::Grads;
use super::inputs::{Inputs, columns_size, padded_size, row_size};
use super::memory::panel_size;
use super::product::multiply;
use super::scatter::Scatter;
use super::{GAP, OUTPUTS, PANEL, panel_width};
use crate::conv::padded::image_size;
use crate::matmul::{Finish, Left, Product, Start};
use crate::pixel::Pixel;
use crate::simd::{Ahead, Kernel, Simd, dispatch};
use crate::threads::TileMut;

/// Some rows of tiles of some images.
pub(super) struct Band<'a, T> {
    pub layer: &'a Layer<'a, T>,
    pub images: Range<usize>,
    /// The first row of tiles.
    pub top: usize,
    /// Rows and columns of tiles of each image.
    pub grid: (usize, usize),
}

impl<T: Pixel> Band<'_, T> {
    /// Adds what the band gives to the `padded` input gradients, if there are any, and stores it in
    /// the sums or adds it; those of the biases it adds.
    pub fn add(
        &self,
        filters: &[f32],
        (v, u, work): (&mut [f32], &mut [f32], &mut [f32]),
        padded: &mut [f32],
        finish: Finish,
        (sums, dbias): (&mut [f32], &mut [f32]),
    ) {
        let conv = self.layer.conv;
        let (inputs, outputs) = (conv.in_channels, conv.out_channels);
        let tiles = self.images.len() * self.grid.0 * self.grid.1;
        dispatch(Transforms { band: self, v, u, work, dbias });
        for (plane, sums) in sums.chunks_exact_mut(inputs * outputs).enumerate() {
            Product {
                runs: 1,
                run_length: tiles,
                left: Left {
                    data: &v[plane * (tiles * inputs + GAP)..][..tiles * inputs],
                    row: 1,
                    run: 0,
                    step: inputs,
                },
                right: &u[plane * (tiles * outputs + GAP)..][..tiles * outputs],
                right_row: outputs,
                start: Start::Zero,
                finish,
                out: TileMut::new(sums, outputs),
                ahead: Ahead::new(),
            }
            .compute();
        }
        if !padded.is_empty() {
            dispatch(InputGradient { band: self, u, filters, products: work, padded });
        }
    }
}

/// Inputs and output gradients of a band into the other basis.
struct Transforms<'a, T> {
    band: &'a Band<'a, T>,
    v: &'a mut [f32],
    u: &'a mut [f32],
    work: &'a mut [f32],
    dbias: &'a mut [f32],
}

impl<T: Pixel> Kernel for Transforms<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Band { layer, ref images, top, grid } = *self.band;
        let conv = layer.conv;
        let input = image_size(conv.input_shape());
        let x = &layer.x[images.start * input..images.end * input];
        let (padded, rest) = self.work.split_at_mut(padded_size(conv, grid));
        let columns = &mut rest[..columns_size(conv, grid.1)];
        let inputs = self.v;
        Inputs { conv, x, grid, top: OUTPUTS * top, padded, columns, inputs }.transform(simd);
        let output = image_size(layer.shape);
        Grads {
            grad: layer.grad.part(images.start * output..images.end * output),
            shape: layer.shape,
            top,
            grid,
            tiles: images.len() * grid.0 * grid.1,
            grads: self.u,
            dbias: self.dbias,
        }
        .transform(simd);
    }
}

/// From the output gradients of a band to its input gradients, panel by panel.
struct InputGradient<'a, T> {
    band: &'a Band<'a, T>,
    u: &'a [f32],
    filters: &'a [f32],
    products: &'a mut [f32],
    padded: &'a mut [f32],
}

impl<T: Pixel> Kernel for InputGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Band { layer, ref images, top, grid } = *self.band;
        let (channels, outputs) = (layer.conv.in_channels, layer.conv.out_channels);
        let tiles = images.len() * grid.0 * grid.1;
        let rows = self.padded.len() / images.len() / row_size(layer.conv, grid.1);
        for (panel, filters) in self.filters.chunks_exact(panel_size(outputs)).enumerate() {
            let first = panel * PANEL;
            let (_, width) = panel_width(channels, first);
            multiply(
                simd,
                (tiles, outputs, width),
                self.u,
                filters,
                self.products,
                &mut Ahead::new(),
            );
            let (products, padded) = (&*self.products, &mut *self.padded);
            Scatter { products, width, first, top, grid, tiles, rows, padded, channels }.add(simd);
        }
    }
}
