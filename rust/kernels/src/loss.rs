//! Losses from logits.

use crate::activation::sigmoid_of;
use crate::error::Result;
use crate::view::check_length;

/// The mean of `-t log(sigmoid(z)) - (1 - t) log(1 - sigmoid(z))` over all logits z and targets
/// t in 0..=1, as `max(z, 0) - z t + log(1 + exp(-|z|))`, which is finite for every finite z.
///
/// # Errors
/// Slices of different lengths.
pub fn sigmoid_cross_entropy(logits: &[f32], targets: &[f32]) -> Result<f64> {
    check_length("targets", targets.len(), logits.len())?;
    let sum: f64 = logits.iter().zip(targets).map(|(&z, &t)| loss_of(z.into(), t.into())).sum();
    Ok(sum / logits.len() as f64)
}

fn loss_of(z: f64, t: f64) -> f64 {
    // Not z.max(0.0), which would turn NaN into a harmless zero.
    let positive = if z < 0.0 { 0.0 } else { z };
    positive - z * t + (-z.abs()).exp().ln_1p()
}

/// The gradient of [`sigmoid_cross_entropy`] times `scale`: `scale * (sigmoid(z) - t) / count`.
///
/// # Errors
/// Slices of different lengths.
pub fn sigmoid_cross_entropy_backward(
    logits: &[f32],
    targets: &[f32],
    scale: f32,
    dlogits: &mut [f32],
) -> Result<()> {
    check_length("targets", targets.len(), logits.len())?;
    check_length("dlogits", dlogits.len(), logits.len())?;
    let factor = scale / logits.len() as f32;
    for ((out, &z), &t) in dlogits.iter_mut().zip(logits).zip(targets) {
        *out = factor * (sigmoid_of(z) - t);
    }
    Ok(())
}
