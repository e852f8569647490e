//! `dweight = x^T grad`, a block of input features at a time: stored, or used at once for the update
//! of that block, so that the gradient of the largest matrix of a network is never in memory.

use super::transpose;
use crate::matmul::{Left, Product, Start};
use crate::optimizer::Rule;
use crate::scratch;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::{TileMut, chunks_mut, for_each};

/// Input features that one task takes.
const FEATURES: usize = 128;

/// Overwrites `dweight`.
pub(super) fn overwrite(grad: &[f32], x: &[f32], features: (usize, usize), dweight: &mut [f32]) {
    for_each(chunks_mut(dweight, FEATURES * features.1), |block, dweight| {
        block_gradient(grad, x, features, block, dweight);
    });
}

/// Updates `weight`.
pub(super) fn update(
    grad: &[f32],
    x: &[f32],
    features: (usize, usize),
    weight: &mut [f32],
    rule: Rule<&mut [f32]>,
) {
    let size = FEATURES * features.1;
    for_each((chunks_mut(weight, size), rule.chunks(size)), |block, (weight, rule)| {
        scratch::with(weight.len(), |gradient| {
            block_gradient(grad, x, features, block, gradient);
            rule.apply(weight, gradient);
        });
    });
}

/// The gradient of the block of features number `block`.
fn block_gradient(
    grad: &[f32],
    x: &[f32],
    (inputs, outputs): (usize, usize),
    block: usize,
    gradient: &mut [f32],
) {
    let (batch, first, count) = (x.len() / inputs, block * FEATURES, gradient.len() / outputs);
    if batch == 0 {
        gradient.fill(0.0);
        return;
    }
    // A column of x lies in steps of a power of two, which all fall into one cache set: transposed
    // first, it is contiguous.
    scratch::with(count * batch, |columns| {
        dispatch(Columns { x: &x[first..], inputs, batch, columns });
        Product {
            runs: 1,
            run_length: batch,
            left: Left { data: columns, row: batch, run: 0, step: 1 },
            right: grad,
            right_row: outputs,
            start: Start::Zero,
            out: TileMut::new(gradient, outputs),
        }
        .compute();
    });
}

/// Transposes `batch` rows of features, as many as `columns` has room for.
struct Columns<'a> {
    x: &'a [f32],
    inputs: usize,
    batch: usize,
    columns: &'a mut [f32],
}

impl Kernel for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        transpose(self.x, self.inputs, TileMut::new(self.columns, self.batch));
    }
}
