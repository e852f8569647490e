//! `dx = grad weight^T`, a block of input features at a time.
//!
//! As a product with lanes along the images, the rows of the weights are read as they lie; its
//! result is transposed on the way out. A few images fill no vector: for them each element is a
//! dot product.

use super::transpose;
use crate::matmul::{Left, Product, Start};
use crate::scratch;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::{TileMut, for_each, tiles_mut};

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
                    out: TileMut::new(product, batch),
                }
                .compute();
                dispatch(Transposed { product, dx });
            });
        });
    });
}

/// Writes the transpose of `product` to `dx`.
struct Transposed<'a> {
    product: &'a [f32],
    dx: TileMut<'a, f32>,
}

impl Kernel for Transposed<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        transpose(self.product, self.dx.rows(), self.dx);
    }
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
        for (feature, row) in
            self.weight.chunks_exact(self.outputs).take(self.dx.columns()).enumerate()
        {
            for (image, grad) in self.grad.chunks_exact(self.outputs).enumerate() {
                self.dx.row(image)[feature] = dot(row, grad);
            }
        }
    }
}

/// The sum of products, in `DOT` lanes that are then added in halves: a loop that the compiler
/// vectorises, in an order that does not depend on the width of its vectors. No product is fused.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<DOT>();
    let (b, b_rest) = b.as_chunks::<DOT>();
    let mut sums = [0.0; DOT];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..DOT {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for lane in 0..a_rest.len() {
        sums[lane] += a_rest[lane] * b_rest[lane];
    }
    let mut width = DOT;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}
