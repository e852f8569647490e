//! `dx = grad weight^T`, a block of input features at a time.
//!
//! As a product with lanes along the images, the rows of the weights are read as they lie; its
//! result is transposed on the way out. A few images fill no vector: for them each element is a
//! dot product.

use wide::f32x4;

use crate::matmul::{Finish, Left, Product, Start};
use crate::scratch;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::{TileMut, for_each, tiles_mut};
use crate::transpose::transpose;

/// Input features that one task takes.
const FEATURES: usize = 128;
/// Images from which on lanes run along them.
const IMAGES: usize = 8;
/// Lanes of a dot product, whatever the instruction set: the order of its sum.
const DOT: usize = 16;

/// Overwrites `dx`.
pub(super) fn overwrite(
    grad: &[f32],
    weight: &[f32],
    (inputs, outputs): (usize, usize),
    dx: &mut [f32],
) {
    let batch = dx.len() / inputs;
    let tiles = |dx| tiles_mut(dx, inputs, batch.max(1), FEATURES);
    if batch < IMAGES {
        for_each(tiles(dx), |block, dx| {
            let weight = &weight[block * FEATURES * outputs..];
            dispatch(Dots { grad, weight, outputs, dx });
        });
        return;
    }
    scratch::with(outputs * batch, |columns| {
        transpose(grad, outputs, TileMut::new(columns, batch));
        let columns = &*columns;
        for_each(tiles(dx), |block, dx| {
            let features = dx.columns();
            scratch::with(features * batch, |product| {
                Product {
                    runs: 1,
                    run_length: outputs,
                    left: Left {
                        data: &weight[block * FEATURES * outputs..],
                        row: outputs,
                        run: 0,
                        step: 1,
                    },
                    right: columns,
                    right_row: batch,
                    start: Start::Zero,
                    finish: Finish::Store,
                    out: TileMut::new(product, batch),
                }
                .compute();
                transpose(product, batch, dx);
            });
        });
    });
}

/// Each element of `dx` by itself.
struct Dots<'a> {
    grad: &'a [f32],
    weight: &'a [f32],
    outputs: usize,
    dx: TileMut<'a, f32>,
}

impl Kernel for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, _simd: S) {
        let features = self.dx.columns();
        let rows = |feature: usize| &self.weight[feature * self.outputs..][..self.outputs];
        for (image, grad) in self.grad.chunks_exact(self.outputs).enumerate() {
            let dx = self.dx.row(image);
            let (fours, rest) = dx.as_chunks_mut::<4>();
            for (four, dx) in fours.iter_mut().enumerate() {
                let row = |k| dot(rows(4 * four + k), grad);
                *dx = last_halves([row(0), row(1), row(2), row(3)]).to_array();
            }
            let first = features - rest.len();
            for (k, dx) in rest.iter_mut().enumerate() {
                *dx = last_halves([dot(rows(first + k), grad); 4]).to_array()[0];
            }
        }
    }
}

/// A sum of products, in `DOT` lanes of which two halvings leave four: a loop that the compiler
/// vectorises, in an order that does not depend on the width of its vectors. No product is fused.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32x4 {
    let (a, a_rest) = a.as_chunks::<DOT>();
    let (b, b_rest) = b.as_chunks::<DOT>();
    let mut sums = [0.0; DOT];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..DOT {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum += a * b;
    }
    let quarter = |k: usize| f32x4::from([sums[k], sums[k + 1], sums[k + 2], sums[k + 3]]);
    (quarter(0) + quarter(8)) + (quarter(4) + quarter(12))
}

/// The last two halvings of four sums at once.
#[inline(always)]
fn last_halves(sums: [f32x4; 4]) -> f32x4 {
    let [a, b, c, d] = f32x4::transpose(sums);
    (a + c) + (b + d)
}
