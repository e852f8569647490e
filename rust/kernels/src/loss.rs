//! Losses from logits: weighted means over a batch, in float64.

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2};

use crate::activation::{Row, sigmoid_of};
use crate::error::Result;
use crate::view::{check_classes, check_length, slice, slice_mut};

/// The weights of a batch's samples: some, or 1 for each.
#[derive(Clone, Copy)]
struct Weights<'a> {
    each: Option<&'a [f32]>,
    sum: f64,
}

impl<'a> Weights<'a> {
    fn new(each: Option<&'a [f32]>, count: usize) -> Result<Self> {
        let Some(values) = each else { return Ok(Self { each, sum: count as f64 }) };
        check_length("weights", values.len(), count)?;
        Ok(Self { each, sum: values.iter().map(|&w| f64::from(w)).sum() })
    }

    fn of(&self, sample: usize) -> f64 {
        self.each.map_or(1.0, |values| values[sample].into())
    }

    /// The mean of the terms; 0 where all weights are.
    fn mean(&self, terms: impl Iterator<Item = f64>) -> f64 {
        let sum: f64 = terms.enumerate().map(|(sample, term)| self.of(sample) * term).sum();
        if self.sum == 0.0 { 0.0 } else { sum / self.sum }
    }

    /// The gradient of `scale * mean` by one term.
    fn share(&self, sample: usize, scale: f32) -> f64 {
        if self.sum == 0.0 { 0.0 } else { f64::from(scale) * self.of(sample) / self.sum }
    }
}

/// The mean of `-t log(sigmoid(z)) - (1 - t) log(1 - sigmoid(z))` over all logits z and targets
/// t in 0..=1, as `max(z, 0) - z t + log(1 + exp(-|z|))`, which is finite for every finite z.
///
/// With `weights`, one of at least 0 for each logit, the weighted mean; 0 where all of them are 0.
///
/// # Errors
/// Slices of different lengths.
pub fn sigmoid_cross_entropy(
    logits: &[f32],
    targets: &[f32],
    weights: Option<&[f32]>,
) -> Result<f64> {
    check_length("targets", targets.len(), logits.len())?;
    let weights = Weights::new(weights, logits.len())?;
    Ok(weights.mean(logits.iter().zip(targets).map(|(&z, &t)| loss_of(z.into(), t.into()))))
}

fn loss_of(z: f64, t: f64) -> f64 {
    // Not z.max(0.0), which would turn NaN into a harmless zero.
    let positive = if z < 0.0 { 0.0 } else { z };
    positive - z * t + (-z.abs()).exp().ln_1p()
}

/// The gradient of [`sigmoid_cross_entropy`] times `scale`: `scale * (sigmoid(z) - t) * w / sum(w)`.
///
/// # Errors
/// Slices of different lengths.
pub fn sigmoid_cross_entropy_backward(
    logits: &[f32],
    targets: &[f32],
    weights: Option<&[f32]>,
    scale: f32,
    dlogits: &mut [f32],
) -> Result<()> {
    check_length("targets", targets.len(), logits.len())?;
    check_length("dlogits", dlogits.len(), logits.len())?;
    let weights = Weights::new(weights, logits.len())?;
    for (sample, ((out, &z), &t)) in dlogits.iter_mut().zip(logits).zip(targets).enumerate() {
        *out = weights.share(sample, scale) as f32 * (sigmoid_of(z) - t);
    }
    Ok(())
}

/// The number of samples whose logits name the class that their targets do: of one logit, whether it is
/// at least 0 and its target at least a half, of several the largest, the first of equals.
///
/// `logits` and `targets` are (batch, classes).
///
/// # Errors
/// Shapes that do not fit each other; no classes.
pub fn hits(logits: ArrayView2<f32>, targets: ArrayView2<f32>) -> Result<usize> {
    let (batch, classes) = check_classes("logits", logits.dim())?;
    let logits = slice("logits", &logits, &[batch, classes])?;
    let targets = slice("targets", &targets, &[batch, classes])?;
    let largest = |row: &[f32]| {
        let first = |best, (i, &value)| if value > row[best] { i } else { best };
        row.iter().enumerate().fold(0, first)
    };
    let rows = logits.chunks_exact(classes).zip(targets.chunks_exact(classes));
    let hit = |&(logits, targets): &(&[f32], &[f32])| match (logits, targets) {
        ([z], [t]) => (*z >= 0.0) == (*t >= 0.5),
        _ => largest(logits) == largest(targets),
    };
    Ok(rows.filter(hit).count())
}

/// The mean over the rows of `-sum of t log(p)`, p being the softmax of the row's logits and t its
/// targets, which sum to 1. `log(p)` comes from the logits, and is finite where they are.
///
/// `logits` and `targets` are (batch, classes). With `weights`, (batch,) of at least 0, the weighted
/// mean; 0 where all of them are 0.
///
/// # Errors
/// Shapes that do not fit each other; no classes.
pub fn softmax_cross_entropy(
    logits: ArrayView2<f32>,
    targets: ArrayView2<f32>,
    weights: Option<ArrayView1<f32>>,
) -> Result<f64> {
    let (batch, classes) = check_classes("logits", logits.dim())?;
    let logits = slice("logits", &logits, &[batch, classes])?;
    let targets = slice("targets", &targets, &[batch, classes])?;
    let weights = weights.as_ref().map(|w| slice("weights", w, &[batch])).transpose()?;
    let rows = logits.chunks_exact(classes).zip(targets.chunks_exact(classes));
    Ok(Weights::new(weights, batch)?.mean(rows.map(|(logits, targets)| {
        let row = Row::new(logits);
        let terms = logits.iter().zip(targets);
        terms.map(|(&z, &t)| f64::from(t) * row.surprise(z)).sum()
    })))
}

/// The gradient of [`softmax_cross_entropy`] times `scale`: `scale * (p - t) * w / sum(w)`.
///
/// # Errors
/// Shapes that do not fit each other; no classes.
pub fn softmax_cross_entropy_backward(
    logits: ArrayView2<f32>,
    targets: ArrayView2<f32>,
    weights: Option<ArrayView1<f32>>,
    scale: f32,
    mut dlogits: ArrayViewMut2<f32>,
) -> Result<()> {
    let (batch, classes) = check_classes("logits", logits.dim())?;
    let logits = slice("logits", &logits, &[batch, classes])?;
    let targets = slice("targets", &targets, &[batch, classes])?;
    let weights = weights.as_ref().map(|w| slice("weights", w, &[batch])).transpose()?;
    let dlogits = slice_mut("dlogits", &mut dlogits, &[batch, classes])?;
    let weights = Weights::new(weights, batch)?;
    let rows = logits.chunks_exact(classes).zip(targets.chunks_exact(classes));
    for (sample, (out, (logits, targets))) in
        dlogits.chunks_exact_mut(classes).zip(rows).enumerate()
    {
        let (row, share) = (Row::new(logits), weights.share(sample, scale));
        for ((out, &z), &t) in out.iter_mut().zip(logits).zip(targets) {
            *out = (share * (row.probability(z) - f64::from(t))) as f32;
        }
    }
    Ok(())
}
