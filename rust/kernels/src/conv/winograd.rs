//! The block forward by minimal filtering, F(4x4, 3x3) (Winograd 1980; Lavin and Gray 2016).
//!
//! Four by four outputs of a 3x3 convolution take 36 products instead of 144, in another basis:
//!
//!     Y = A^T ((G g G^T) * (B^T d B)) A
//!
//! with g the filter, d the 6x6 inputs under the tile and * element by element. Summed over the
//! input channels, each of the 36 places ("planes") is a matrix product, tiles by filters. A tile
//! is also two by two windows of the pool, so the last transform, bias, pool and ReLU are one
//! pass, and the full-resolution output never exists.
//!
//! The transforms are not free of rounding: against float64 the error is two to three times that
//! of the direct sum (docs/architecture.md; tests/block.rs has a bound). A NaN or an infinity
//! reaches every output of its tile, not only those whose window holds it.

use super::bands::{Band, Bands};
use super::block::OFF;
use super::padded::{image_size, place};
use crate::geometry::BlockGeometry;
use crate::pixel::Pixel;
use crate::scratch;
use crate::simd::{Kernel, Simd, dispatch, load, store};
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

/// As [`super::conv_pool_relu`], for a geometry that [`suits`]; the slices have its shapes.
pub(super) fn conv_pool_relu<T: Pixel>(
    geometry: &BlockGeometry,
    x: &[T],
    weight: &[f32],
    bias: &[f32],
    out: &mut [f32],
    winners: &mut [u8],
) {
    let BlockGeometry { conv, pool } = geometry;
    let input = image_size(conv.input_shape());
    let columns = pool.width.output.div_ceil(POOLED);
    let bands = Bands::new(pool, x.len() / input, TILES.div_ceil(columns) * POOLED);
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
                let outputs = Outputs { bias, out, winners };
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

/// The points of the basis: 0, A, -A, B, -B and infinity. Dyadic, so that all constants below but
/// those of the filters are exact; of such pairs, the one of the least rounding error: half that of
/// the usual 1 and 2.
const A: f32 = 0.625;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;

/// `factor * value + sum`.
#[inline(always)]
fn plus<S: Simd>(simd: S, factor: f32, value: S::F32, sum: S::F32) -> S::F32 {
    simd.mul_add(simd.splat(factor), value, sum)
}

/// `G g`: the transform of a filter's three values along one axis.
#[inline(always)]
fn transform_filter<S: Simd>(simd: S, g: [S::F32; 3]) -> [S::F32; INPUTS] {
    const NEAR: f32 = 0.5 / (AA * (AA - BB));
    const FAR: f32 = 0.5 / (BB * (BB - AA));
    let zero = simd.splat(0.0);
    let near = plus(simd, NEAR, g[0], plus(simd, NEAR * AA, g[2], zero));
    let far = plus(simd, FAR, g[0], plus(simd, FAR * BB, g[2], zero));
    [
        plus(simd, 1.0 / (AA * BB), g[0], zero),
        plus(simd, NEAR * A, g[1], near),
        plus(simd, -NEAR * A, g[1], near),
        plus(simd, FAR * B, g[1], far),
        plus(simd, -FAR * B, g[1], far),
        g[2],
    ]
}

/// `B^T d`: the transform of six inputs along one axis.
#[inline(always)]
fn transform_input<S: Simd>(simd: S, d: [S::F32; INPUTS]) -> [S::F32; INPUTS] {
    let (near_even, near_odd) = (plus(simd, -BB, d[2], d[4]), plus(simd, -BB, d[1], d[3]));
    let (far_even, far_odd) = (plus(simd, -AA, d[2], d[4]), plus(simd, -AA, d[1], d[3]));
    [
        plus(simd, AA * BB, d[0], plus(simd, -(AA + BB), d[2], d[4])),
        plus(simd, A, near_odd, near_even),
        plus(simd, -A, near_odd, near_even),
        plus(simd, B, far_odd, far_even),
        plus(simd, -B, far_odd, far_even),
        plus(simd, AA * BB, d[1], plus(simd, -(AA + BB), d[3], d[5])),
    ]
}

/// `A^T m`: four outputs along one axis.
#[inline(always)]
fn transform_output<S: Simd>(simd: S, m: [S::F32; INPUTS]) -> [S::F32; OUTPUTS] {
    let zero = simd.splat(0.0);
    let (near_even, near_odd) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (far_even, far_odd) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    [
        simd.add(simd.add(m[0], near_even), far_even),
        plus(simd, B, far_odd, plus(simd, A, near_odd, zero)),
        plus(simd, BB, far_even, plus(simd, AA, near_even, zero)),
        plus(simd, B * BB, far_odd, plus(simd, A * AA, near_odd, m[5])),
    ]
}

/// The transformed filters of one panel: (plane, in_channel, channel of the panel), zeros behind
/// the last channel.
struct Filters<'a> {
    geometry: &'a BlockGeometry,
    first: usize,
    weight: &'a [f32],
    filters: &'a mut [f32],
}

impl Kernel for Filters<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let conv = &self.geometry.conv;
        let (width, padded) = panel_width(conv.out_channels, self.first);
        let plane = conv.in_channels * padded + GAP;
        for c in 0..conv.in_channels {
            for v in (0..padded).step_by(S::LANES) {
                let count = width.saturating_sub(v).min(S::LANES);
                // SAFETY: `count` channels from `first + v` on are inside each of the nine
                // positions of `weight`.
                let mut rows = [[simd.splat(0.0); 3]; 3];
                for (position, lanes) in rows.as_flattened_mut().iter_mut().enumerate() {
                    let at = (position * conv.in_channels + c) * conv.out_channels;
                    let from = &self.weight[at..][self.first..][v.min(width)..][..count];
                    *lanes = match count == S::LANES {
                        true => unsafe { simd.load(from.as_ptr()) },
                        false => unsafe { simd.load_partial(from.as_ptr(), count) },
                    };
                }
                let mut columns = [[simd.splat(0.0); INPUTS]; 3];
                for (b, column) in columns.iter_mut().enumerate() {
                    *column = transform_filter(simd, [rows[0][b], rows[1][b], rows[2][b]]);
                }
                for i in 0..INPUTS {
                    let row = transform_filter(simd, [columns[0][i], columns[1][i], columns[2][i]]);
                    for (j, value) in row.into_iter().enumerate() {
                        let at = (i * INPUTS + j) * plane + c * padded + v;
                        let target = &mut self.filters[at..][..S::LANES];
                        // SAFETY: the slice holds `LANES` floats.
                        unsafe { simd.store(target.as_mut_ptr(), value) };
                    }
                }
            }
        }
    }
}

/// Floats of each array that a band works with.
#[derive(Clone, Copy)]
struct Sizes {
    /// The transformed filters of a panel.
    panel: usize,
    /// A row of the padded band.
    row: usize,
    padded: usize,
    columns: usize,
    inputs: usize,
    products: usize,
}

struct Memory<'a> {
    /// The rows of the band with zeros around them.
    padded: &'a mut [f32],
    /// Six rows of it, transformed vertically.
    columns: &'a mut [f32],
    /// (plane, tile, in_channel).
    inputs: &'a mut [f32],
    /// (plane, tile, channel of the panel).
    products: &'a mut [f32],
}

impl Sizes {
    fn new(geometry: &BlockGeometry, columns: usize, bands: &Bands) -> Self {
        let channels = geometry.conv.in_channels;
        let row = (OUTPUTS * columns + INPUTS - OUTPUTS) * channels;
        let (images, rows) = bands.largest();
        let tile_rows = rows.div_ceil(POOLED);
        let tiles = images * tile_rows * columns;
        Self {
            panel: PLANES * (channels * PANEL + GAP),
            row,
            padded: ((OUTPUTS * tile_rows + INPUTS - OUTPUTS) * row + GAP).next_multiple_of(GAP),
            columns: INPUTS * row.next_multiple_of(GAP),
            inputs: PLANES * (tiles * channels + GAP),
            products: PLANES * (tiles * PANEL + GAP),
        }
    }

    fn memory(&self) -> usize {
        self.padded + self.columns + self.inputs + self.products
    }

    fn split<'a>(&self, memory: &'a mut [f32]) -> Memory<'a> {
        let (padded, rest) = memory.split_at_mut(self.padded);
        let (columns, rest) = rest.split_at_mut(self.columns);
        let (inputs, products) = rest.split_at_mut(self.inputs);
        Memory { padded, columns, inputs, products }
    }
}

/// What one panel writes to, and its bias.
struct Outputs<'a> {
    bias: &'a [f32],
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
                            if count == S::LANES {
                                let sum = simd.add(best, simd.load(bias.as_ptr()));
                                let (value, winner) = simd.relu(sum, winner, OFF);
                                simd.store(out.as_mut_ptr(), value);
                                simd.store_index(winners.as_mut_ptr(), count, winner);
                            } else {
                                let sum = simd.add(best, simd.load_partial(bias.as_ptr(), count));
                                let (value, winner) = simd.relu(sum, winner, OFF);
                                simd.store_partial(out.as_mut_ptr(), count, value);
                                simd.store_index(winners.as_mut_ptr(), count, winner);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The vertical transform of six rows of `row` floats; those of `target` are rounded up to whole
/// vectors, and so is what is read.
#[inline(always)]
fn transform_rows<S: Simd>(simd: S, source: &[f32], row: usize, target: &mut [f32]) {
    let target_row = row.next_multiple_of(GAP);
    let source = &source[..(INPUTS - 1) * row + target_row];
    let target = &mut target[..INPUTS * target_row];
    for at in (0..target_row).step_by(S::LANES) {
        // SAFETY: `at + LANES <= target_row`, and the slices hold that many floats from the start
        // of each row on.
        unsafe {
            let mut d = [simd.splat(0.0); INPUTS];
            for (i, lanes) in d.iter_mut().enumerate() {
                *lanes = simd.load(source.as_ptr().add(i * row + at));
            }
            for (i, value) in transform_input(simd, d).into_iter().enumerate() {
                simd.store(target.as_mut_ptr().add(i * target_row + at), value);
            }
        }
    }
}

/// The horizontal transform of six pixels; its results go to six planes.
///
/// # Safety
/// `LANES` floats (`count`, if PARTIAL) must be readable at six places `pixel` apart and writable at
/// six places `plane` apart.
#[inline(always)]
unsafe fn transform_six<S: Simd, const PARTIAL: bool>(
    simd: S,
    source: *const f32,
    target: *mut f32,
    pixel: usize,
    plane: usize,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut d = [simd.splat(0.0); INPUTS];
        for (j, lanes) in d.iter_mut().enumerate() {
            *lanes = load::<S, PARTIAL>(simd, count, source.add(j * pixel));
        }
        for (j, value) in transform_input(simd, d).into_iter().enumerate() {
            store::<S, PARTIAL>(simd, count, target.add(j * plane), value);
        }
    }
}

/// The two by two pooled outputs of a tile, without bias, and their winners.
///
/// # Safety
/// `LANES` floats must be readable at 36 places `plane` apart.
#[inline(always)]
unsafe fn pool_tile<S: Simd>(
    simd: S,
    products: *const f32,
    plane: usize,
) -> [[(S::F32, S::Index); POOLED]; POOLED] {
    let zero = simd.splat(0.0);
    let mut columns = [[zero; OUTPUTS]; INPUTS];
    for (j, column) in columns.iter_mut().enumerate() {
        let mut m = [zero; INPUTS];
        for (i, lanes) in m.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *lanes = unsafe { simd.load(products.add((i * INPUTS + j) * plane)) };
        }
        *column = transform_output(simd, m);
    }
    let mut pooled = [[(zero, simd.zero_index()); POOLED]; POOLED];
    for (y, pooled) in pooled.iter_mut().enumerate() {
        let mut rows = [[zero; OUTPUTS]; POOLED];
        for (a, row) in rows.iter_mut().enumerate() {
            let mut m = [zero; INPUTS];
            for (lanes, column) in m.iter_mut().zip(&columns) {
                *lanes = column[POOLED * y + a];
            }
            *row = transform_output(simd, m);
        }
        for (x, (best, winner)) in pooled.iter_mut().enumerate() {
            *best = rows[0][2 * x];
            let others = [rows[0][2 * x + 1], rows[1][2 * x], rows[1][2 * x + 1]];
            for (candidate, place) in others.into_iter().zip(1..) {
                (*best, *winner) = simd.challenge(*best, *winner, candidate, place);
            }
        }
    }
    pooled
}

/// The product of one plane: `products[t][f]` is the sum over c of
/// `inputs[t][c] * filters[c][f]`, f below `width`.
struct Plane<'a> {
    depth: usize,
    width: usize,
    inputs: &'a [f32],
    filters: &'a [f32],
    products: &'a mut [f32],
}

impl Plane<'_> {
    /// Cuts the product into pieces of `TILES` tiles by two vectors, and smaller ones at the edges.
    #[inline(always)]
    fn cover<S: Simd, const TILES: usize>(mut self, simd: S) {
        let mut f = 0;
        while f < self.width {
            if self.width - f >= 2 * S::LANES {
                self.cover_tiles::<S, TILES, 2>(simd, f);
                f += 2 * S::LANES;
            } else {
                self.cover_tiles::<S, TILES, 1>(simd, f);
                f += S::LANES;
            }
        }
    }

    #[inline(always)]
    fn cover_tiles<S: Simd, const TILES: usize, const NV: usize>(&mut self, simd: S, f: usize) {
        let tiles = self.inputs.len() / self.depth;
        let mut t = 0;
        while tiles - t >= TILES {
            self.piece::<S, TILES, NV>(simd, t, f);
            t += TILES;
        }
        while tiles - t >= 2 {
            self.piece::<S, 2, NV>(simd, t, f);
            t += 2;
        }
        if t < tiles {
            self.piece::<S, 1, NV>(simd, t, f);
        }
    }

    #[inline(always)]
    fn piece<S: Simd, const TILES: usize, const NV: usize>(&mut self, simd: S, t: usize, f: usize) {
        let (depth, width) = (self.depth, self.width);
        let inputs = &self.inputs[t * depth..][..TILES * depth];
        let filters = &self.filters[f..][..(depth - 1) * width + NV * S::LANES];
        let products = &mut self.products[t * width + f..][..(TILES - 1) * width + NV * S::LANES];
        // SAFETY: the slices are cut to what is addressed: `depth` floats of each tile, `NV`
        // vectors of each of the `depth` filter rows and of each tile's products.
        unsafe {
            let mut sums = [[simd.splat(0.0); NV]; TILES];
            let (mut input, mut filter) = (inputs.as_ptr(), filters.as_ptr());
            for _ in 0..depth {
                let mut vectors = [simd.splat(0.0); NV];
                for (v, lanes) in vectors.iter_mut().enumerate() {
                    *lanes = simd.load(filter.add(v * S::LANES));
                }
                for (tile, sums) in sums.iter_mut().enumerate() {
                    let factor = simd.splat(*input.add(tile * depth));
                    for v in 0..NV {
                        sums[v] = simd.mul_add(factor, vectors[v], sums[v]);
                    }
                }
                input = input.wrapping_add(1);
                filter = filter.wrapping_add(width);
            }
            for (tile, sums) in sums.iter().enumerate() {
                for (v, &lanes) in sums.iter().enumerate() {
                    simd.store(products.as_mut_ptr().add(tile * width + v * S::LANES), lanes);
                }
            }
        }
    }
}
