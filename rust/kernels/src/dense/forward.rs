//! The output of a dense layer: a product in tiles of images by output features, a block of inputs at
//! a time. Of finite weights, an image that is alone reads only the rows whose input is not zero:
//! the time of such a product is that of reading them, and behind a ReLU many inputs are zero. Its
//! sums have the same terms in the same order, but for zeros, so that all bits are the same but for
//! the sign of zero, which is made positive.

use std::cell::RefCell;

use crate::activation;
use crate::matmul::{Finish, Left, Product, Start};
use crate::scratch::{self, Free, lend};
use crate::simd::{Kernel, Simd, dispatch, load, store};
use crate::sums::total;
use crate::threads::{self, TileMut, chunks, chunks_mut, for_each, tiles_mut};

/// Images of a tile.
const IMAGES: usize = 16;
/// Output features of a tile, where there are too few images for all threads.
const FEATURES: usize = 64;
/// Outputs that one task takes through the activation.
const VALUES: usize = 1 << 13;
/// Inputs of a block. The sum over a block starts at 0, that over the first at the bias, and blocks
/// are added in order; at 128 columns its weights are 256 KB, and stay in the second-level cache
/// for all images of a tile.
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
    if batch == 1 && kind.finite {
        single(x, weight, bias, outputs, out);
    } else {
        let crowded = batch.div_ceil(IMAGES) >= threads::threads().unwrap_or(1);
        let columns = if crowded { outputs } else { FEATURES.min(outputs) };
        for_each(tiles_mut(out, outputs, IMAGES, columns), |index, out| {
            let per_row = outputs.div_ceil(columns);
            let first = index % per_row * columns;
            let x = &x[index / per_row * IMAGES * inputs..][..out.rows() * inputs];
            let bias = bias.map(|bias| &bias[first..][..out.columns()]);
            multiply(x, &weight[first..], bias, (inputs, outputs), out);
        });
    }
    for_each(chunks_mut(out, VALUES), |_, values| {
        if kind.relu {
            values.iter_mut().for_each(activation::relu_of);
        } else {
            values.iter_mut().for_each(|value| *value += 0.0);
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
                (0, Some(bias)) => Start::Bias(bias),
                _ => Start::Zero,
            },
            finish: if first == 0 { Finish::Store } else { Finish::Add },
            out: out.reborrow(),
        }
        .compute();
    }
}

/// The product for one image: the blocks side by side, then their sums in order.
fn single(x: &[f32], weight: &[f32], bias: Option<&[f32]>, outputs: usize, out: &mut [f32]) {
    scratch::with(x.len().div_ceil(DEPTH) * outputs, |sums| {
        let blocks = (chunks(x, DEPTH), chunks(weight, DEPTH * outputs), chunks_mut(sums, outputs));
        for_each(blocks, |block, (x, weight, sums)| {
            let bias = bias.filter(|_| block == 0);
            lend(&INPUTS, x.len(), |list| dispatch(Single { x, weight, bias, list, sums }));
        });
        total(sums, out);
    });
}

/// An input that is not zero, and its place.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(8))]
struct Input {
    value: f32,
    index: u32,
}

/// The sum over one block of inputs.
struct Single<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    /// As long as `x`.
    list: &'a mut [Input],
    sums: &'a mut [f32],
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
        let outputs = self.sums.len();
        let mut column = 0;
        while column < outputs {
            column += match outputs - column {
                left if left >= 8 * S::LANES => self.sum::<S, 8, false>(simd, count, column),
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
        let outputs = self.sums.len();
        let left = outputs - column;
        let width = if PARTIAL { left } else { NV * S::LANES };
        assert_eq!(self.x.len() * outputs, self.weight.len());
        let mut sums = [simd.splat(0.0); NV];
        // SAFETY: `width` floats from `column` on are inside `bias`, `sums`, and each of the rows
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
                    simd.prefetch(weight.wrapping_add(ahead * outputs + v));
                }
                let factor = simd.splat(input.value);
                let row = weight.add(input.index as usize * outputs);
                for (v, sum) in sums.iter_mut().enumerate() {
                    let lanes = load::<S, PARTIAL>(simd, left, row.add(v * S::LANES));
                    *sum = simd.mul_add(factor, lanes, *sum);
                }
            }
            let target = &mut self.sums[column..][..width];
            for (v, &sum) in sums.iter().enumerate() {
                store::<S, PARTIAL>(simd, left, target.as_mut_ptr().add(v * S::LANES), sum);
            }
        }
        width
    }
}
