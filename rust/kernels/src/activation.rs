//! Activations, element by element and in place.

use crate::error::Result;
use crate::threads::{chunks, chunks_mut, for_each};
use crate::view::check_length;

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
