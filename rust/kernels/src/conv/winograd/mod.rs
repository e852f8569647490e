//! The block forward by minimal filtering, F(4x4, 3x3) (Winograd 1980; Lavin and Gray 2016).
//!
//! Four by four outputs of a 3x3 convolution take 36 products instead of 144, in another basis:
//!
//! ```text
//! Y = A^T ((G g G^T) * (B^T d B)) A
//! ```
//!
//! with g the filter, d the 6x6 inputs under the tile and * element by element. Summed over the
//! input channels, each of the 36 places ("planes") is a matrix product, tiles by filters. A tile
//! is also two by two windows of the pool, so the last transform, bias, pool and what comes after it are one
//! pass, and the full-resolution output never exists.
//!
//! The transforms are not free of rounding: against float64 the error is two to three times that
//! of the direct sum (docs/architecture.md; tests/block.rs has a bound). A NaN or an infinity
//! reaches every output of its tile, not only those whose window holds it.

mod filters;
mod memory;
mod product;
mod transforms;

use filters::Filters;
use memory::{Memory, Sizes};
use product::Plane;
use transforms::{pool_tile, transform_rows, transform_six};

use super::after::After;
use super::bands::{Band, Bands};
use super::padded::{image_size, place};
use crate::geometry::BlockGeometry;
use crate::pixel::Pixel;
use crate::scratch;
use crate::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::threads::{chunks_mut, for_each};

/// Places of a transformed tile.
const PLANES: usize = INPUTS * INPUTS;
/// Side of the inputs under a tile.
const INPUTS: usize = 6;
/// Side of a tile in outputs, and in pooled outputs.
const OUTPUTS: usize = 4;
const POOLED: usize = 2;
/// Output channels whose products are made together; a last panel may be half as wide.
const PANEL: usize = 32;
const HALF_PANEL: usize = 16;
/// Floats between planes: planes a power of two apart would share one cache set.
const GAP: usize = 16;
/// Tiles of a band, about: so many share one pass over the transformed filters.
const TILES: usize = 24;

/// Whether this algorithm serves the geometry, and is the faster one (docs/architecture.md).
pub(super) fn suits(geometry: &BlockGeometry) -> bool {
    let conv = &geometry.conv;
    (conv.height.window, conv.width.window) == (3, 3) && conv.in_channels >= 8
}

/// As [`super::conv_pool`], for a geometry that [`suits`]; the slices have its shapes.
pub(super) fn conv_pool<T: Pixel>(
    geometry: &BlockGeometry,
    x: &[T],
    weight: &[f32],
    bias: &[f32],
    after: After,
    out: &mut [f32],
    winners: &mut [u8],
) {
    let BlockGeometry { conv, pool } = geometry;
    let input = image_size(conv.input_shape());
    let columns = pool.width.output.div_ceil(POOLED);
    let bands = Bands::new(pool, x.len() / input, TILES.div_ceil(columns) * POOLED, POOLED);
    let sizes = Sizes::new(geometry, columns, &bands);
    scratch::with(conv.out_channels.div_ceil(PANEL) * sizes.panel, |filters| {
        for_each(chunks_mut(filters, sizes.panel), |panel, filters| {
            dispatch(Filters { geometry, first: panel * PANEL, weight, filters });
        });
        let filters = &*filters;
        for_each((bands.cut(out), bands.cut(winners)), |index, (out, winners)| {
            let band = bands.band(index);
            let x = &x[band.image * input..][..band.images * input];
            scratch::with(sizes.memory(), |memory| {
                let memory = sizes.split(memory);
                let outputs = Outputs { bias, after, out, winners };
                dispatch(Tiles { geometry, columns, band, x, filters, sizes, memory, outputs });
            });
        });
    });
}

/// Output channels of a panel, and those that it is rounded up to.
fn panel_width(channels: usize, first: usize) -> (usize, usize) {
    let width = (channels - first).min(PANEL);
    (width, width.next_multiple_of(HALF_PANEL))
}

/// What one panel writes to, and what is done on the way.
struct Outputs<'a> {
    bias: &'a [f32],
    after: After<'a>,
    out: &'a mut [f32],
    winners: &'a mut [u8],
}

/// One band.
struct Tiles<'a, T> {
    geometry: &'a BlockGeometry,
    /// Tiles side by side.
    columns: usize,
    band: Band,
    x: &'a [T],
    filters: &'a [f32],
    sizes: Sizes,
    memory: Memory<'a>,
    outputs: Outputs<'a>,
}

impl<T: Pixel> Kernel for Tiles<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let channels = self.geometry.conv.out_channels;
        self.transform_inputs(simd);
        for (panel, filters) in self.filters.chunks_exact(self.sizes.panel).enumerate() {
            let (_, width) = panel_width(channels, panel * PANEL);
            self.multiply(simd, filters, width);
            self.pool(simd, panel * PANEL, width);
        }
    }
}

impl<T: Pixel> Tiles<'_, T> {
    fn tile_rows(&self) -> usize {
        self.band.rows.div_ceil(POOLED)
    }

    fn tiles(&self) -> usize {
        self.band.images * self.tile_rows() * self.columns
    }

    /// Fills `inputs`.
    #[inline(always)]
    fn transform_inputs<S: Simd>(&mut self, simd: S) {
        let conv = &self.geometry.conv;
        let (tile_rows, row) = (self.tile_rows(), self.sizes.row);
        let size = (OUTPUTS * tile_rows + INPUTS - OUTPUTS, row / conv.in_channels);
        let offset = (
            conv.height.before as isize - (POOLED * self.band.top) as isize,
            conv.width.before as isize,
        );
        let images = self.x.chunks_exact(image_size(conv.input_shape()));
        for (index, image) in images.enumerate() {
            place(image, conv.input_shape(), self.memory.padded, size, offset, (1, 1));
            for y in 0..tile_rows {
                transform_rows(
                    simd,
                    &self.memory.padded[OUTPUTS * y * row..],
                    row,
                    self.memory.columns,
                );
                self.transform_columns(simd, (index * tile_rows + y) * self.columns);
            }
        }
    }

    /// From `columns` to the `inputs` of a row of tiles, `first` and those behind it.
    #[inline(always)]
    fn transform_columns<S: Simd>(&mut self, simd: S, first: usize) {
        let channels = self.geometry.conv.in_channels;
        let (plane, row) = (self.tiles() * channels + GAP, self.sizes.row.next_multiple_of(GAP));
        for x in 0..self.columns {
            for i in 0..INPUTS {
                let source =
                    &self.memory.columns[i * row + OUTPUTS * x * channels..][..INPUTS * channels];
                let at = i * INPUTS * plane + (first + x) * channels;
                let target = &mut self.memory.inputs[at..][..(INPUTS - 1) * plane + channels];
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

    /// Fills `products` for one panel, `width` channels wide.
    #[inline(always)]
    fn multiply<S: Simd>(&mut self, simd: S, filters: &[f32], width: usize) {
        let (tiles, depth) = (self.tiles(), self.geometry.conv.in_channels);
        for plane in 0..PLANES {
            let inputs = &self.memory.inputs[plane * (tiles * depth + GAP)..][..tiles * depth];
            let filters = &filters[plane * (depth * width + GAP)..][..depth * width];
            let products =
                &mut self.memory.products[plane * (tiles * width + GAP)..][..tiles * width];
            let product = Plane { depth, width, inputs, filters, products };
            match S::LANES {
                16 => product.cover::<S, 8>(simd),
                8 => product.cover::<S, 6>(simd),
                _ => product.cover::<S, 4>(simd),
            }
        }
    }

    /// From `products` to the pooled outputs of one panel.
    #[inline(always)]
    fn pool<S: Simd>(&mut self, simd: S, first: usize, width: usize) {
        let [_, pooled_width, channels] = self.geometry.pool.output_shape();
        let plane = self.tiles() * width + GAP;
        let (rows, tile_rows) = (self.band.rows, self.tile_rows());
        for tile in 0..self.tiles() {
            let (y, x) = (tile / self.columns, POOLED * (tile % self.columns));
            let (image, y) = (y / tile_rows, POOLED * (y % tile_rows));
            for v in (0..width.min(channels - first)).step_by(S::LANES) {
                let count = (channels - first - v).min(S::LANES);
                let products =
                    &self.memory.products[tile * width + v..][..(PLANES - 1) * plane + S::LANES];
                // SAFETY: the slice holds `LANES` floats at the start of each of 36 planes.
                let pooled = unsafe { pool_tile(simd, products.as_ptr(), plane) };
                let bias = &self.outputs.bias[first + v..][..count];
                for (dy, pooled) in pooled.into_iter().enumerate().take(rows - y) {
                    for (dx, (best, winner)) in
                        pooled.into_iter().enumerate().take(pooled_width - x)
                    {
                        let at = ((image * rows + y + dy) * pooled_width + x + dx) * channels
                            + first
                            + v;
                        let out = &mut self.outputs.out[at..][..count];
                        let winners = &mut self.outputs.winners[at..][..count];
                        // SAFETY: the slices hold `count` elements.
                        unsafe {
                            let sum = simd.add(best, load_up_to(simd, count, bias.as_ptr()));
                            let (value, winner) =
                                self.outputs.after.apply(simd, first + v, count, sum, winner);
                            store_up_to(simd, count, out.as_mut_ptr(), value);
                            simd.store_index(winners.as_mut_ptr(), count, winner);
                        }
                    }
                }
            }
        }
    }
}
