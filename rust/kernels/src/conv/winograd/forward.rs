//! Forward, with the pool or without.

use std::ops::Range;

use super::inputs::Inputs;
use super::memory::{Memory, Sizes};
use super::outputs::{Corner, Output, Pooled, Whole};
use super::product::multiply;
use super::transforms::output_columns;
use super::{
    GAP, OUTPUTS, PANEL, PLANES, POOLED, TILES, few_channels, has_few_channels, panel_width,
};
use crate::conv::Parameters;
use crate::conv::after::After;
use crate::conv::bands::{Band, Bands};
use crate::conv::padded::{image_size, span};
use crate::geometry::{BlockGeometry, ConvGeometry};
use crate::pixel::Pixel;
use crate::scratch;
use crate::simd::{Ahead, Kernel, Simd, dispatch, worth_asking};
use crate::threads::{Parts, for_each};

/// As [`crate::conv::conv_pool`], for a geometry that [`super::suits`]; the slices have its shapes.
pub(in crate::conv) fn conv_pool<T: Pixel>(
    geometry: &BlockGeometry,
    x: &[T],
    parameters: &mut Parameters,
    after: After,
    out: &mut [f32],
    winners: &mut [u8],
) {
    let Parameters { weight, bias, filters } = parameters;
    let frame = Frame::new(&geometry.conv, geometry.pool.output_shape(), POOLED);
    let bands = frame.bands(x);
    let outputs = (bands.cut(out), bands.cut(winners));
    let filters = filters.transformed(&geometry.conv, weight);
    run(&frame, &bands, x, filters, outputs, |(out, winners)| Pooled { bias, after, out, winners });
}

/// As [`crate::conv::conv2d`], for a geometry that [`super::suits`]; the slices have its shapes.
pub(in crate::conv) fn conv<T: Pixel>(
    geometry: &ConvGeometry,
    x: &[T],
    parameters: &mut Parameters,
    out: &mut [f32],
) {
    let Parameters { weight, bias, filters } = parameters;
    let frame = Frame::new(geometry, geometry.output_shape(), OUTPUTS);
    let bands = frame.bands(x);
    let filters = filters.transformed(geometry, weight);
    run(&frame, &bands, x, filters, bands.cut(out), |out| Whole { bias, out });
}

fn run<T: Pixel, P: Parts, O: Output>(
    frame: &Frame,
    bands: &Bands,
    x: &[T],
    filters: &[f32],
    outputs: P,
    output: impl Fn(P::Part) -> O + Sync,
) {
    let conv = frame.conv;
    let input = image_size(conv.input_shape());
    let sizes = Sizes::new(frame, bands);
    let outputs_size = x.len() / input * image_size(frame.output) * size_of::<f32>();
    let asks = worth_asking(size_of_val(x) + outputs_size);
    for_each(outputs, |index, part| {
        let band = bands.band(index);
        let next = asks.then(|| bands.next(index).map_or(&x[..0], |next| &x[frame.input(&next)]));
        let x = &x[band.image * input..][..band.images * input];
        let output = output(part);
        if has_few_channels(conv) {
            scratch::with(few_channels::memory_size(frame, band.rows), |memory| {
                let panel = sizes.panel;
                dispatch(few_channels::Tiles {
                    frame,
                    band,
                    x,
                    next,
                    filters,
                    panel,
                    memory,
                    output,
                });
            });
        } else {
            scratch::with(sizes.memory(), |memory| {
                let memory = sizes.split(memory);
                dispatch(Tiles { frame, band, x, next, filters, sizes, memory, output });
            });
        }
    });
}

/// The inputs of the band that comes next, and where this one stores.
#[inline(always)]
pub(super) fn asked<T, O: Output>(next: Option<&[T]>, output: &O, parts: usize) -> Ahead {
    let ahead = next.map(|next| output.add_to(Ahead::new().with(next)));
    ahead.unwrap_or_else(Ahead::new).in_parts(parts)
}

/// What is convolved, and how tiles lie on what is stored.
pub(super) struct Frame<'a> {
    pub conv: &'a ConvGeometry,
    /// Height, width and channels of what is stored.
    pub output: [usize; 3],
    /// Side of a tile there.
    pub side: usize,
    /// Tiles side by side.
    pub columns: usize,
}

impl<'a> Frame<'a> {
    pub fn new(conv: &'a ConvGeometry, output: [usize; 3], side: usize) -> Self {
        Self { conv, output, side, columns: output[1].div_ceil(side) }
    }

    fn bands<T>(&self, x: &[T]) -> Bands {
        let batch = x.len() / image_size(self.conv.input_shape());
        let tiles = if has_few_channels(self.conv) { few_channels::TILES } else { TILES };
        Bands::new(self.output, batch, tiles.div_ceil(self.columns) * self.side, self.side)
    }

    /// About what a band is computed from, as elements of the batch.
    fn input(&self, band: &Band) -> Range<usize> {
        let (scale, images) = (OUTPUTS / self.side, band.image..band.image + band.images);
        let rows = scale * band.top..scale * (band.top + band.rows);
        span(self.conv.input_shape(), images, rows)
    }

    /// Of a tile, (row, column) of those of an image in a band.
    #[inline(always)]
    pub fn corner(&self, band: &Band, image: usize, (y, x): (usize, usize)) -> Corner {
        let ([_, width, channels], y, x) = (self.output, self.side * y, self.side * x);
        Corner {
            at: ((image * band.rows + y) * width + x) * channels,
            strides: (width * channels, channels),
            extent: (band.rows - y, width - x),
        }
    }
}

/// One band.
struct Tiles<'a, T, O> {
    frame: &'a Frame<'a>,
    band: Band,
    x: &'a [T],
    /// Of the band that comes next, if anything is to be asked for ahead.
    next: Option<&'a [T]>,
    filters: &'a [f32],
    sizes: Sizes,
    memory: Memory<'a>,
    output: O,
}

impl<T: Pixel, O: Output> Kernel for Tiles<'_, T, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let channels = self.frame.conv.out_channels;
        let rows = self.band.rows.div_ceil(self.frame.side);
        let Memory { padded, columns, inputs, .. } = &mut self.memory;
        let grid = (rows, self.frame.columns);
        let top = OUTPUTS / self.frame.side * self.band.top;
        Inputs { conv: self.frame.conv, x: self.x, grid, top, padded, columns, inputs }
            .transform(simd);
        let mut ahead = asked(self.next, &self.output, PLANES);
        for (panel, filters) in self.filters.chunks_exact(self.sizes.panel).enumerate() {
            let (_, width) = panel_width(channels, panel * PANEL);
            let tiles = self.band.images * rows * self.frame.columns;
            let depth = self.frame.conv.in_channels;
            multiply(
                simd,
                (tiles, depth, width),
                self.memory.inputs,
                filters,
                self.memory.products,
                &mut ahead,
            );
            self.store(simd, panel * PANEL, width, rows);
        }
    }
}

impl<T: Pixel, O: Output> Tiles<'_, T, O> {
    /// From `products` to the outputs of one panel.
    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, first: usize, width: usize, tile_rows: usize) {
        let Frame { output: [_, _, channels], columns, .. } = *self.frame;
        let tiles = self.band.images * tile_rows * columns;
        let plane = tiles * width + GAP;
        for tile in 0..tiles {
            let (y, x) = (tile / columns, tile % columns);
            let corner = self.frame.corner(&self.band, y / tile_rows, (y % tile_rows, x));
            for v in (0..width.min(channels - first)).step_by(S::LANES) {
                let count = (channels - first - v).min(S::LANES);
                let products =
                    &self.memory.products[tile * width + v..][..(PLANES - 1) * plane + S::LANES];
                // SAFETY: the slice holds `LANES` floats at the start of each of 36 planes.
                let columns = unsafe { output_columns(simd, products.as_ptr(), plane) };
                self.output.store(simd, &columns, corner, (first + v, count));
            }
        }
    }
}
