//! Activations, in place.

use ndarray::ArrayViewMut2;

use crate::error::Result;
use crate::threads::{chunks, chunks_mut, for_each};
use crate::view::{check_classes, check_length, slice_mut};

/// Elements that one task takes.
const BLOCK: usize = 1 << 14;

/// `x = max(x, 0)`; NaN stays NaN.
pub fn relu(x: &mut [f32]) {
    for_each(chunks_mut(x, BLOCK), |_, block| {
        block.iter_mut().for_each(relu_of);
    });
}

#[inline(always)]
pub(crate) fn relu_of(value: &mut f32) {
    if *value <= 0.0 {
        *value = 0.0;
    }
}

/// The gradient of [`relu`]: zeros `grad` where `y`, the output (or input) of forward, is not
/// positive.
///
/// # Errors
/// Slices of different lengths.
pub fn relu_backward(grad: &mut [f32], y: &[f32]) -> Result<()> {
    check_length("grad", grad.len(), y.len())?;
    for_each((chunks_mut(grad, BLOCK), chunks(y, BLOCK)), |_, (grads, ys)| {
        for (grad, &y) in grads.iter_mut().zip(ys) {
            *grad = if y > 0.0 { *grad } else { 0.0 };
        }
    });
    Ok(())
}

/// `1 / (1 + exp(-x))`, without overflow for any x.
pub fn sigmoid(x: &mut [f32]) {
    for value in x {
        *value = sigmoid_of(*value);
    }
}

pub(crate) fn sigmoid_of(x: f32) -> f32 {
    let decay = (-x.abs()).exp();
    if x < 0.0 { decay / (1.0 + decay) } else { 1.0 / (1.0 + decay) }
}

/// `exp(x) / sum of exp(x)` over each row of (batch, classes), finite for finite x.
///
/// # Errors
/// Not contiguous; no classes.
pub fn softmax(mut x: ArrayViewMut2<f32>) -> Result<()> {
    let (batch, classes) = check_classes("x", x.dim())?;
    for logits in slice_mut("x", &mut x, &[batch, classes])?.chunks_exact_mut(classes) {
        let row = Row::new(logits);
        for z in logits {
            *z = row.probability(*z) as f32;
        }
    }
    Ok(())
}

/// What makes probabilities of the logits of one image. NaN where one of them is.
pub(crate) struct Row {
    largest: f64,
    /// The sum of `exp(z - largest)` over all but the largest. The largest adds 1, beside which
    /// that of a confident row would round away.
    others: f64,
}

impl Row {
    pub(crate) fn new(logits: &[f32]) -> Self {
        let mut place = 0;
        for (index, &z) in logits.iter().enumerate() {
            if z > logits[place] {
                place = index;
            }
        }
        let largest = f64::from(logits[place]);
        let others = logits.iter().enumerate().filter(|&(index, _)| index != place);
        Self { largest, others: others.map(|(_, &z)| (f64::from(z) - largest).exp()).sum() }
    }

    pub(crate) fn probability(&self, z: f32) -> f64 {
        (f64::from(z) - self.largest).exp() / (1.0 + self.others)
    }

    /// `-log(probability)`.
    pub(crate) fn surprise(&self, z: f32) -> f64 {
        self.largest - f64::from(z) + self.others.ln_1p()
    }
}
