//! Softmax: logits to the probabilities of classes.

use ndarray::ArrayViewMut2;

use crate::error::Result;
use crate::view::{check_classes, slice_mut};

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
