//! One band of the forward over few input channels.
//!
//! Sums over two to four channels are so short that as matrix products of planes they would be
//! bound by the loads and stores of their results. So the 36 sums of a few tiles are made column by
//! column in registers, lanes along the output channels, and transformed vertically there. For the
//! inputs a pixel is too short a vector: their columns are split by their place in a tile, so that
//! lanes run along the tiles side by side.

use super::forward::{Frame, asked};
use super::outputs::Output;
use super::transforms::{transform_input, transform_output};
use super::{GAP, INPUTS, OUTPUTS, PANEL, PLANES, panel_width};
use crate::conv::bands::Band;
use crate::conv::padded::{copy, image_size};
use crate::geometry::ConvGeometry;
use crate::pixel::Pixel;
use crate::simd::{Kernel, Simd};

/// Tiles of a band, about: their part of the image stays in the first-level cache.
pub(super) const TILES: usize = 64;
/// Floats of a transformed plane: a block of tiles side by side, and their channels.
const PLANE: usize = 64;
/// Most tiles whose products are made together, and floats of their vertical transforms.
const TOGETHER: usize = 4;
const COLUMNS: usize = TOGETHER * INPUTS * OUTPUTS * 16;

pub(super) struct Tiles<'a, T, O> {
    pub frame: &'a Frame<'a>,
    pub band: Band,
    /// Whole images.
    pub x: &'a [T],
    /// Of the band that comes next, if anything is to be asked for ahead.
    pub next: Option<&'a [T]>,
    pub filters: &'a [f32],
    /// Floats of a panel of `filters`.
    pub panel: usize,
    pub memory: &'a mut [f32],
    pub output: O,
}

/// Floats that the tiles of `rows` output rows of a frame work with.
pub(super) fn memory_size(frame: &Frame, rows: usize) -> usize {
    let rows = OUTPUTS * rows.div_ceil(frame.side) + INPUTS - OUTPUTS;
    rows * OUTPUTS * phase_size(frame) + line_size(frame) + PLANES * PLANE + COLUMNS
}

/// Floats of a padded row, and a vector.
fn line_size(frame: &Frame) -> usize {
    (OUTPUTS * (frame.columns + 1) * frame.conv.in_channels).next_multiple_of(GAP) + GAP
}

/// Floats of every fourth pixel of a padded row: one for each tile, one behind them, and what whole
/// vectors read behind that.
fn phase_size(frame: &Frame) -> usize {
    (frame.columns * frame.conv.in_channels).next_multiple_of(GAP) + GAP
}

impl<T: Pixel, O: Output> Kernel for Tiles<'_, T, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let Frame { conv, side, columns, .. } = *self.frame;
        let (channels, phase) = (conv.in_channels, phase_size(self.frame));
        let rows = self.band.rows.div_ceil(side);
        let top = OUTPUTS / side * self.band.top;
        let block = PLANE / channels / TOGETHER * TOGETHER;
        let size = (OUTPUTS * rows + INPUTS - OUTPUTS) * OUTPUTS * phase;
        let (padded, rest) = std::mem::take(&mut self.memory).split_at_mut(size);
        let (line, rest) = rest.split_at_mut(line_size(self.frame));
        let (inputs, transformed) = rest.split_at_mut(PLANES * PLANE);
        let parts = self.band.images * rows * columns.div_ceil(block);
        let mut ahead = asked(self.next, &self.output, parts);
        for (index, image) in self.x.chunks_exact(image_size(conv.input_shape())).enumerate() {
            split(conv, image, top, phase, columns + 1, line, padded);
            for y in 0..rows {
                for x in (0..columns).step_by(block) {
                    let tiles = block.min(columns - x);
                    ahead.ask(simd);
                    let source = &padded[OUTPUTS * y * OUTPUTS * phase + x * channels..];
                    transform(simd, source, phase, channels, tiles, inputs);
                    self.outputs(simd, inputs, (index, y, x), tiles, transformed);
                }
            }
        }
    }
}

impl<T: Pixel, O: Output> Tiles<'_, T, O> {
    /// From the transformed inputs to the outputs of `tiles` tiles, the first of which is (image,
    /// row, column).
    #[inline(always)]
    fn outputs<S: Simd>(
        &mut self,
        simd: S,
        inputs: &[f32],
        first: (usize, usize, usize),
        tiles: usize,
        columns: &mut [f32],
    ) {
        let channels = self.frame.conv.out_channels;
        for (panel, filters) in self.filters.chunks_exact(self.panel).enumerate() {
            let (width, padded) = panel_width(channels, panel * PANEL);
            for v in (0..width).step_by(S::LANES) {
                let filters = Filters { from: &filters[v..], width: padded };
                let part = (panel * PANEL + v, (width - v).min(S::LANES));
                let mut tile = 0;
                match S::LANES {
                    16 => {
                        while tiles - tile >= 4 {
                            self.few::<S, 4>(simd, inputs, filters, first, tile, part, columns);
                            tile += 4;
                        }
                    }
                    _ => {
                        while tiles - tile >= 2 {
                            self.few::<S, 2>(simd, inputs, filters, first, tile, part, columns);
                            tile += 2;
                        }
                    }
                }
                while tile < tiles {
                    self.few::<S, 1>(simd, inputs, filters, first, tile, part, columns);
                    tile += 1;
                }
            }
        }
    }

    /// `N` tiles from `tile` on.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "where tiles come from and where they go")]
    fn few<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        inputs: &[f32],
        filters: Filters,
        (image, y, x): (usize, usize, usize),
        tile: usize,
        part: (usize, usize),
        columns: &mut [f32],
    ) {
        let channels = self.frame.conv.in_channels;
        let columns = &mut columns[..N * INPUTS * OUTPUTS * S::LANES];
        let inputs = &inputs[tile * channels..];
        transform_products::<S, N>(simd, inputs, channels, filters, columns);
        for (t, columns) in columns.chunks_exact(INPUTS * OUTPUTS * S::LANES).enumerate() {
            let mut vectors = [[simd.splat(0.0); OUTPUTS]; INPUTS];
            for (index, lanes) in vectors.as_flattened_mut().iter_mut().enumerate() {
                // SAFETY: `columns` are so many vectors.
                *lanes = unsafe { simd.load(columns.as_ptr().add(index * S::LANES)) };
            }
            let corner = self.frame.corner(&self.band, image, (y, x + tile + t));
            self.output.store(simd, &vectors, corner, part);
        }
    }
}

/// The transformed filters of a panel from some channel on: (plane, in_channel, channel).
#[derive(Clone, Copy)]
struct Filters<'a> {
    from: &'a [f32],
    /// Channels of the panel.
    width: usize,
}

/// Fills `columns`, (tile, column, row, lane), with the vertical transforms of the products of `N`
/// tiles. The inputs of the first tile start each plane of `inputs`.
#[inline(always)]
fn transform_products<S: Simd, const N: usize>(
    simd: S,
    inputs: &[f32],
    channels: usize,
    filters: Filters,
    columns: &mut [f32],
) {
    let plane = channels * filters.width + GAP;
    let inputs = &inputs[..(PLANES - 1) * PLANE + N * channels];
    let weights = &filters.from[..PLANES * plane - GAP - filters.width + S::LANES];
    let columns = &mut columns[..N * INPUTS * OUTPUTS * S::LANES];
    for j in 0..INPUTS {
        let mut sums = [[simd.splat(0.0); INPUTS]; N];
        // SAFETY: each plane of `inputs` holds `channels` floats of `N` tiles, and each of `weights`
        // a vector for each channel; `columns` are `N * INPUTS * OUTPUTS` vectors.
        unsafe {
            let mut input = inputs.as_ptr().add(j * PLANE);
            let mut weight = weights.as_ptr().add(j * plane);
            for _ in 0..channels {
                for i in 0..INPUTS {
                    let vector = simd.load(weight.add(i * INPUTS * plane));
                    for (t, sums) in sums.iter_mut().enumerate() {
                        let factor = simd.splat(*input.add(i * INPUTS * PLANE + t * channels));
                        sums[i] = simd.mul_add(factor, vector, sums[i]);
                    }
                }
                input = input.wrapping_add(1);
                weight = weight.wrapping_add(filters.width);
            }
            for (t, &sums) in sums.iter().enumerate() {
                for (y, value) in transform_output(simd, sums).into_iter().enumerate() {
                    let at = ((t * INPUTS + j) * OUTPUTS + y) * S::LANES;
                    simd.store(columns.as_mut_ptr().add(at), value);
                }
            }
        }
    }
}

/// Both transforms of the inputs of `tiles` tiles side by side, to (plane, tile, channel). `source` is
/// what [`split`] made, from the first pixel of the first tile on.
#[inline(always)]
fn transform<S: Simd>(
    simd: S,
    source: &[f32],
    phase: usize,
    channels: usize,
    tiles: usize,
    inputs: &mut [f32],
) {
    let width = (tiles * channels).next_multiple_of(GAP);
    let row = OUTPUTS * phase;
    let source = &source[..INPUTS * row - phase + width];
    let inputs = &mut inputs[..(PLANES - 1) * PLANE + width];
    for at in (0..width).step_by(S::LANES) {
        let mut columns = [[simd.splat(0.0); INPUTS]; INPUTS];
        for (j, column) in columns.iter_mut().enumerate() {
            let start = j % OUTPUTS * phase + j / OUTPUTS * channels + at;
            let mut d = [simd.splat(0.0); INPUTS];
            for (i, lanes) in d.iter_mut().enumerate() {
                // SAFETY: at most `5 * row + 3 * phase + at`, as `channels <= phase`, and `at +
                // LANES <= width`.
                *lanes = unsafe { simd.load(source.as_ptr().add(i * row + start)) };
            }
            *column = transform_input(simd, d);
        }
        for i in 0..INPUTS {
            let mut d = [simd.splat(0.0); INPUTS];
            for (lanes, column) in d.iter_mut().zip(&columns) {
                *lanes = column[i];
            }
            for (j, value) in transform_input(simd, d).into_iter().enumerate() {
                let target = (i * INPUTS + j) * PLANE + at;
                // SAFETY: at most `35 * PLANE + at`, and `at + LANES <= width`.
                unsafe { simd.store(inputs.as_mut_ptr().add(target), value) };
            }
        }
    }
}

/// Overwrites `target`, rows of four phases of `phase` floats, with the padded rows of the image from
/// output row `top` on: pixel `4 * x + r` of a row goes to place `x` of phase `r`, `x` below `places`.
/// `line` is room for one row.
#[inline(always)]
fn split<T: Pixel>(
    conv: &ConvGeometry,
    image: &[T],
    top: usize,
    phase: usize,
    places: usize,
    line: &mut [f32],
    target: &mut [f32],
) {
    let [height, width, channels] = conv.input_shape();
    let before = conv.width.before.min(OUTPUTS * places);
    let length = width.min(OUTPUTS * places - before) * channels;
    line.fill(0.0);
    for (row, target) in target.chunks_exact_mut(OUTPUTS * phase).enumerate() {
        let y = (top + row).checked_sub(conv.height.before).filter(|&y| y < height);
        let Some(y) = y else {
            target.fill(0.0);
            continue;
        };
        let source = &image[y * width * channels..][..length];
        copy(source, &mut line[before * channels..][..length]);
        for (r, target) in target.chunks_exact_mut(phase).enumerate() {
            copy_every_fourth(&line[r * channels..], target, places, channels);
        }
    }
}

/// Copies every fourth of up to four channels, `places` of them. Four floats go at a time; what is too
/// much of them the next pixel overwrites.
#[inline(always)]
fn copy_every_fourth(source: &[f32], target: &mut [f32], places: usize, channels: usize) {
    let source = &source[..(places - 1) * OUTPUTS * channels + 4];
    let target = &mut target[..(places - 1) * channels + 4];
    for x in 0..places {
        // SAFETY: `x < places`, and the slices hold four floats from the last pixel on.
        unsafe {
            let from = source.as_ptr().add(x * OUTPUTS * channels).cast::<[f32; 4]>();
            let to = target.as_mut_ptr().add(x * channels).cast::<[f32; 4]>();
            to.write_unaligned(from.read_unaligned());
        }
    }
}
