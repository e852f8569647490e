//! Backward, as the adjoint of forward: with the output gradients in the other basis,
//! `U = A dY A^T`, and the inputs `V` and filters `W` as forward has them, each of the 36 places is
//! two matrix products,
//!
//! ```text
//! dX = B (U W^T) B^T        dW = G^T (V^T U) G
//! ```
//!
//! a quarter of the products of a direct sum over all outputs, as forward. Behind a max pool three
//! of four output gradients are zero, and sums over the others alone take no more products; but
//! they gather, where these are dense.
//!
//! Images go band by band, so that what a band works with stays in the second-level cache.

use std::ops::Range;

use super::band::Band;
use super::filter_gradient::FilterGradient;
use super::filters::Transform;
pub(in crate::conv) use super::grads::Grad;
use super::inputs::{columns_size, padded_size, row_size};
use super::memory::panel_size;
use super::{GAP, INPUTS, OUTPUTS, PANEL, PLANES, is_3x3};
use crate::conv::padded::image_size;
use crate::geometry::ConvGeometry;
use crate::matmul::Finish;
use crate::pixel::Pixel;
use crate::scratch;
use crate::simd::dispatch;
use crate::sums::{GROUPS, totals};
use crate::threads::{TileMut, chunks_mut, for_each};
use crate::transpose::transpose;

/// Tiles of a band, about: the more, the less often the sums of the filter gradient are read and
/// written.
const TILES: usize = 32;
/// Floats that the sums of all groups of images take together, where each has a thread.
const FLOATS: usize = 1 << 22;

/// Whether this algorithm serves the geometry, and is faster than sums over the winners of a max
/// pool (docs/architecture.md).
pub(in crate::conv) fn serves(conv: &ConvGeometry, pooled: bool) -> bool {
    let channels = conv.in_channels.min(conv.out_channels);
    is_3x3(conv) && channels >= if pooled { 32 } else { 8 }
}

/// The arrays of a layer's backward pass.
pub(in crate::conv) struct Layer<'a, T> {
    pub conv: &'a ConvGeometry,
    pub grad: Grad<'a>,
    /// Height, width and channels of `grad`.
    pub shape: [usize; 3],
    pub x: &'a [T],
    pub weight: &'a [f32],
}

/// Overwrites `dx` (where asked for), `dweight` and `dbias`.
pub(in crate::conv) fn backward<T: Pixel>(
    layer: &Layer<T>,
    dx: Option<&mut [f32]>,
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    let Layer { conv, weight, x, .. } = *layer;
    let (inputs, outputs) = (conv.in_channels, conv.out_channels);
    let (image, batch) = (image_size(conv.input_shape()), x.len() / image_size(conv.input_shape()));
    if batch == 0 {
        dweight.fill(0.0);
        dbias.fill(0.0);
        return;
    }
    let sums = PLANES * inputs * outputs;
    let most = (FLOATS / sums).clamp(2, GROUPS);
    let groups = 1 << most.ilog2(); // of three groups on two threads the last would be waited for
    let group = batch.div_ceil(groups).max(1);
    let groups = batch.div_ceil(group).max(1);
    let panels = if dx.is_some() { inputs.div_ceil(PANEL) } else { 0 };
    let panel = panel_size(outputs);
    // Of each group the filter gradients, which are a quarter of the sums, and then the biases'.
    let size = weight.len() + outputs;
    scratch::with(groups * size, |partials| {
        scratch::with(panels * panel, |filters| {
            turn_filters(weight, (inputs, outputs), panel, filters);
            let filters = &*filters;
            let groups = chunks_mut(partials, size);
            let images = |index| index * group..batch.min((index + 1) * group);
            match dx {
                None => for_each(groups, |index, gradients| {
                    layer.add_images(images(index), filters, None, gradients);
                }),
                Some(dx) => {
                    for_each((groups, chunks_mut(dx, group * image)), |index, (gradients, dx)| {
                        layer.add_images(images(index), filters, Some(dx), gradients);
                    })
                }
            }
        });
        totals(partials, dweight, dbias);
    });
}

/// Fills `filters` with the transformed filters of each panel of input channels, (plane,
/// out_channel, channel of the panel).
fn turn_filters(
    weight: &[f32],
    (inputs, outputs): (usize, usize),
    panel: usize,
    filters: &mut [f32],
) {
    if filters.is_empty() {
        return;
    }
    scratch::with(weight.len(), |turned| {
        let taps = chunks_mut(turned, inputs * outputs);
        for_each(taps, |tap, turned| {
            let weight = &weight[tap * inputs * outputs..][..inputs * outputs];
            transpose(weight, outputs, TileMut::new(turned, inputs));
        });
        let weight = &*turned;
        for_each(chunks_mut(filters, panel), |panel, filters| {
            let channels = (outputs, inputs);
            dispatch(Transform { channels, first: panel * PANEL, weight, filters });
        });
    });
}

/// How a group of images is cut: some whole images at a time, or some rows of tiles of one.
struct Cut {
    images: usize,
    rows: usize,
    /// Rows and columns of tiles of an image.
    grid: (usize, usize),
}

impl Cut {
    fn new([height, width, _]: [usize; 3], side: usize) -> Self {
        let grid = (height.div_ceil(side), width.div_ceil(side));
        let images = (TILES / (grid.0 * grid.1)).max(1);
        let rows = TILES.div_ceil(grid.1).min(grid.0);
        Self { images, rows, grid }
    }

    /// Tiles of the largest band.
    fn tiles(&self) -> usize {
        self.images * self.rows * self.grid.1
    }
}

impl<T: Pixel> Layer<'_, T> {
    /// Overwrites `gradients`, those of filters and biases, with what the images give, and their `dx`.
    fn add_images(
        &self,
        images: Range<usize>,
        filters: &[f32],
        mut dx: Option<&mut [f32]>,
        gradients: &mut [f32],
    ) {
        let conv = self.conv;
        let cut = Cut::new(self.shape, self.grad.side());
        let (inputs, outputs, tiles) = (conv.in_channels, conv.out_channels, cut.tiles());
        let padded_rows = OUTPUTS * cut.grid.0 + INPUTS - OUTPUTS;
        let row = row_size(conv, cut.grid.1);
        let image = padded_rows * row;
        let sizes = [
            PLANES * (tiles * inputs + GAP),
            PLANES * (tiles * outputs + GAP),
            (padded_size(conv, (cut.rows, cut.grid.1)) + columns_size(conv, cut.grid.1))
                .max(PLANES * (tiles * PANEL + GAP)),
            PLANES * inputs * outputs,
            if dx.is_some() { cut.images * image } else { 0 },
        ];
        let (dweight, dbias) = gradients.split_at_mut(self.weight.len());
        dbias.fill(0.0);
        scratch::with(sizes.iter().sum(), |memory| {
            let (v, memory) = memory.split_at_mut(sizes[0]);
            let (u, memory) = memory.split_at_mut(sizes[1]);
            let (work, memory) = memory.split_at_mut(sizes[2]);
            let (sums, padded) = memory.split_at_mut(sizes[3]);
            let first = images.start;
            let mut finish = Finish::Store;
            for start in images.clone().step_by(cut.images) {
                let part = start..images.end.min(start + cut.images);
                let padded = &mut padded[..if dx.is_some() { part.len() * image } else { 0 }];
                padded.fill(0.0);
                for top in (0..cut.grid.0).step_by(cut.rows) {
                    let grid = (cut.rows.min(cut.grid.0 - top), cut.grid.1);
                    let band = Band { layer: self, images: part.clone(), top, grid };
                    let work = (&mut *v, &mut *u, &mut *work);
                    band.add(filters, work, padded, finish, (&mut *sums, &mut *dbias));
                    finish = Finish::Add;
                }
                if let Some(dx) = &mut dx {
                    let size = image_size(conv.input_shape());
                    let dx = &mut dx[(start - first) * size..][..part.len() * size];
                    self.crop(padded, (image, row), dx);
                }
            }
            dispatch(FilterGradient { sums, filters: inputs * outputs, dweight });
        });
    }

    /// Takes the gradients of the images out of their padding; the sizes are those of a padded
    /// image and of its rows.
    fn crop(&self, padded: &[f32], (image, row): (usize, usize), dx: &mut [f32]) {
        let [height, width, channels] = self.conv.input_shape();
        let (above, before) = (self.conv.height.before, self.conv.width.before * channels);
        let length = (row - before).min(width * channels);
        let images = dx.chunks_exact_mut(height * width * channels);
        for (dx, padded) in images.zip(padded.chunks_exact(image)) {
            dx.fill(0.0); // what no tile reaches
            let rows = padded.chunks_exact(row).skip(above);
            for (dx, source) in dx.chunks_exact_mut(width * channels).zip(rows) {
                dx[..length].copy_from_slice(&source[before..][..length]);
            }
        }
    }
}
