//! The output of a dense layer: a product in tiles of images by output features. Of finite weights,
//! an image that is alone reads only the rows whose input is not zero: the time of such a product
//! is that of reading them, and behind a ReLU many inputs are zero. Its sums have the same terms in
//! the same order, but for zeros, so that all bits are the same but for the sign of zero, which is
//! made positive.

use std::cell::RefCell;

use crate::activation;
use crate::matmul::{Finish, Left, Product, Start};
use crate::scratch::{Free, lend};
use crate::simd::{Kernel, Simd, dispatch, load, store};
use crate::threads::{self, TileMut, for_each, tiles_mut};

/// Images of a tile.
const IMAGES: usize = 16;
/// Output features of a tile, where there are too few images for all threads.
const FEATURES: usize = 64;
/// Rows of the weights that are read for all images of a tile before the next: at 128 columns they
/// are 256 KB, and stay in the second-level cache meanwhile.
const DEPTH: usize = 512;

/// How many rows ahead the weights of a single image are asked for: reading them is all that its
/// product waits for, and the skipped rows hide the pattern from the hardware.
const AHEAD: usize = 32;
/// Floats of a cache line.
const LINE: usize = 16;

thread_local! {
    static INPUTS: Free<Input> = const { RefCell::new(Vec::new()) };
}

/// Of a layer: what it does beside the product.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// Whether a ReLU follows.
    pub relu: bool,
    /// Whether all weights are known to be finite.
    pub finite: bool,
}

/// Overwrites `out`.
pub(crate) fn overwrite(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    (inputs, outputs): (usize, usize),
    kind: Kind,
    out: &mut [f32],
) {
    let batch = x.len() / inputs;
    let crowded = batch.div_ceil(IMAGES) >= threads::threads().unwrap_or(1);
    let columns = if crowded { outputs } else { FEATURES.min(outputs) };
    let tiles = tiles_mut(out, outputs, IMAGES, columns);
    for_each(tiles, |index, mut out| {
        let per_row = outputs.div_ceil(columns);
        let first = index % per_row * columns;
        let x = &x[index / per_row * IMAGES * inputs..][..out.rows() * inputs];
        let bias = bias.map(|bias| &bias[first..][..out.columns()]);
        let weight = &weight[first..];
        if out.rows() == 1 && kind.finite {
            lend(&INPUTS, inputs, |list| {
                dispatch(Single { x, weight, outputs, bias, list, out: out.reborrow() });
            });
        } else {
            multiply(x, weight, bias, (inputs, outputs), out.reborrow());
        }
        for row in 0..out.rows() {
            if kind.relu {
                out.row(row).iter_mut().for_each(activation::relu_of);
            } else {
                out.row(row).iter_mut().for_each(|value| *value += 0.0);
            }
        }
    });
}

fn multiply(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    (inputs, outputs): (usize, usize),
    mut out: TileMut<f32>,
) {
    for first in (0..inputs).step_by(DEPTH) {
        Product {
            runs: 1,
            run_length: DEPTH.min(inputs - first),
            left: Left { data: &x[first..], row: inputs, run: 0, step: 1 },
            right: &weight[first * outputs..],
            right_row: outputs,
            start: match (first, bias) {
                (0, None) => Start::Zero,
                (0, Some(bias)) => Start::Bias(bias),
                _ => Start::Out,
            },
            finish: Finish::Store,
            out: out.reborrow(),
        }
        .compute();
    }
}

/// An input that is not zero, and its place.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(8))]
struct Input {
    value: f32,
    index: u32,
}

/// The product for one image.
struct Single<'a> {
    x: &'a [f32],
    /// Rows `outputs` apart.
    weight: &'a [f32],
    outputs: usize,
    bias: Option<&'a [f32]>,
    /// As long as `x`.
    list: &'a mut [Input],
    out: TileMut<'a, f32>,
}

impl Kernel for Single<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let mut count = 0;
        for (index, &value) in self.x.iter().enumerate() {
            self.list[count] = Input { value, index: index as u32 };
            count += usize::from(value != 0.0);
        }
        let columns = self.out.columns();
        let mut column = 0;
        while column < columns {
            column += match columns - column {
                left if left >= 4 * S::LANES => self.sum::<S, 4, false>(simd, count, column),
                left if left >= S::LANES => self.sum::<S, 1, false>(simd, count, column),
                _ => self.sum::<S, 1, true>(simd, count, column),
            };
        }
    }
}

impl Single<'_> {
    /// `NV` vectors of output features from `column` on; returns how many floats they are.
    #[inline(always)]
    fn sum<S: Simd, const NV: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        count: usize,
        column: usize,
    ) -> usize {
        let left = self.out.columns() - column;
        let width = if PARTIAL { left } else { NV * S::LANES };
        assert!((self.x.len() - 1) * self.outputs + column + width <= self.weight.len());
        let mut sums = [simd.splat(0.0); NV];
        // SAFETY: `width` floats are inside `bias`, `out` and, from `column` on, each of the rows
        // of `weight`, one for each element of `x`.
        unsafe {
            if let Some(bias) = self.bias {
                let bias = &bias[column..][..width];
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = load::<S, PARTIAL>(simd, left, bias.as_ptr().add(v * S::LANES));
                }
            }
            let weight = self.weight.as_ptr().add(column);
            for (position, input) in self.list[..count].iter().enumerate() {
                let ahead = self.list[(position + AHEAD).min(count - 1)].index as usize;
                for v in (0..NV * S::LANES).step_by(LINE) {
                    simd.prefetch(weight.wrapping_add(ahead * self.outputs + v));
                }
                let factor = simd.splat(input.value);
                let row = weight.add(input.index as usize * self.outputs);
                for (v, sum) in sums.iter_mut().enumerate() {
                    let lanes = load::<S, PARTIAL>(simd, left, row.add(v * S::LANES));
                    *sum = simd.mul_add(factor, lanes, *sum);
                }
            }
            let out = &mut self.out.row(0)[column..][..width];
            for (v, &sum) in sums.iter().enumerate() {
                store::<S, PARTIAL>(simd, left, out.as_mut_ptr().add(v * S::LANES), sum);
            }
        }
        width
    }
}
