//! `dweight = x^T grad`, a block of input features at a time: stored, or used at once for the update
//! of that block, so that the gradient of the largest matrix of a network is never in memory.

use crate::matmul::{Finish, Left, Product, Start};
use crate::optimizer::{Rate, Rule};
use crate::range::finite_range;
use crate::scratch;
use crate::simd::{Ahead, Kernel, Simd, dispatch};
use crate::squared_norm::{in_groups, squares};
use crate::threads::{TileMut, chunks_mut, for_each};
use crate::transpose::transpose;

/// Input features that one task takes.
const FEATURES: usize = 128;

/// The factors of the gradient.
#[derive(Clone, Copy)]
pub(super) struct Factors<'a> {
    grad: &'a [f32],
    x: &'a [f32],
    features: (usize, usize),
    /// Whether all of `grad` is finite: then zeros in `x` may be left out.
    finite: bool,
}

impl<'a> Factors<'a> {
    pub fn new(grad: &'a [f32], x: &'a [f32], features: (usize, usize)) -> Self {
        Self { grad, x, features, finite: finite_range(grad).is_some() }
    }

    /// Overwrites `dweight` with the gradient.
    pub fn overwrite(self, dweight: &mut [f32]) {
        for_each(chunks_mut(dweight, FEATURES * self.features.1), |block, dweight| {
            self.multiply(block, Finish::Store, dweight);
        });
    }

    /// Updates `weight`.
    pub fn update(self, weight: &mut [f32], rule: Rule<&mut [f32]>) {
        let Self { grad, x, features: (inputs, outputs), .. } = self;
        let size = FEATURES * outputs;
        let batch = x.len() / inputs;
        let blocks = (chunks_mut(weight, size), rule.chunks(size));
        for_each(blocks, |block, (weight, rule)| match rule {
            Rule::Sgd { rate } if batch == 1 => {
                dispatch(SingleDescent { x: &x[block * FEATURES..], grad, rate, weight });
            }
            Rule::Sgd { rate } if batch > 1 => {
                self.multiply(block, Finish::Descend(rate), weight);
            }
            rule => scratch::with(weight.len(), |gradient| {
                self.multiply(block, Finish::Store, gradient);
                rule.apply(weight, gradient);
            }),
        });
    }

    /// The sum of the squares of the gradient.
    pub fn squared_norm(self) -> f64 {
        let (inputs, outputs) = self.features;
        in_groups(inputs.div_ceil(FEATURES), 1, |blocks| {
            let square = |block| {
                let size = FEATURES.min(inputs - block * FEATURES) * outputs;
                scratch::with(size, |gradient| {
                    self.multiply(block, Finish::Store, gradient);
                    squares(gradient)
                })
            };
            blocks.map(square).sum()
        })
    }

    /// The gradient of the block of features number `block`, stored in `out` or descended by it;
    /// for no images it can only be stored.
    fn multiply(self, block: usize, finish: Finish, out: &mut [f32]) {
        let (inputs, outputs) = self.features;
        let (batch, first, count) = (self.x.len() / inputs, block * FEATURES, out.len() / outputs);
        if batch == 0 {
            return out.fill(0.0);
        }
        // A column of x lies in steps of a power of two, which all fall into one cache set:
        // transposed first, it is contiguous.
        scratch::with(count * batch, |columns| {
            transpose(&self.x[first..], inputs, TileMut::new(columns, batch));
            Product {
                runs: 1,
                run_length: batch,
                left: Left { data: columns, row: batch, run: 0, step: 1 },
                right: self.grad,
                right_row: outputs,
                start: Start::Zero,
                finish,
                out: TileMut::new(out, outputs),
                ahead: Ahead::new(),
            }
            .compute_sparse(self.finite);
        });
    }
}

/// Gradient descent on the weights of some inputs of a single image. Those of zero inputs have no
/// gradient and, without decay, are not touched: the time of the others is that of reading and writing them.
struct SingleDescent<'a> {
    x: &'a [f32],
    grad: &'a [f32],
    rate: Rate,
    weight: &'a mut [f32],
}

impl Kernel for SingleDescent<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (&x, weight) in self.x.iter().zip(self.weight.chunks_exact_mut(self.grad.len())) {
            if x != 0.0 || self.rate.decay != 0.0 {
                for (w, &g) in weight.iter_mut().zip(self.grad) {
                    // The sum of one product that starts at 0, as `Product` makes it.
                    self.rate.descend(w, x * g + 0.0);
                }
            }
        }
    }
}
