//! The losses as Python functions.

use ferrocnn_kernels::loss;
use ndarray::{Ix1, Ix2};
use pyo3::prelude::*;

use crate::arrays::{Array, Flat, elements, elements_mut, read, run, write};

#[pyfunction]
pub fn sigmoid_cross_entropy(
    py: Python<'_>,
    logits: Flat<'_>,
    targets: Flat<'_>,
    weights: Option<Array<'_, f32, Ix1>>,
) -> PyResult<f64> {
    let (logits, targets) = (read("logits", &logits)?, read("targets", &targets)?);
    let weights = weights.map(|weights| read("weights", &weights)).transpose()?;
    let (logits, targets) = (elements("logits", &logits)?, elements("targets", &targets)?);
    let weights = weights.as_ref().map(|weights| elements("weights", weights)).transpose()?;
    run(py, || loss::sigmoid_cross_entropy(logits, targets, weights))
}

#[pyfunction]
pub fn sigmoid_cross_entropy_backward(
    py: Python<'_>,
    logits: Flat<'_>,
    targets: Flat<'_>,
    weights: Option<Array<'_, f32, Ix1>>,
    scale: f32,
    dlogits: Flat<'_>,
) -> PyResult<()> {
    let (logits, targets) = (read("logits", &logits)?, read("targets", &targets)?);
    let weights = weights.map(|weights| read("weights", &weights)).transpose()?;
    let mut dlogits = write("dlogits", &dlogits)?;
    let (logits, targets) = (elements("logits", &logits)?, elements("targets", &targets)?);
    let weights = weights.as_ref().map(|weights| elements("weights", weights)).transpose()?;
    let dlogits = elements_mut("dlogits", &mut dlogits)?;
    run(py, || loss::sigmoid_cross_entropy_backward(logits, targets, weights, scale, dlogits))
}

#[pyfunction]
pub fn hits(
    py: Python<'_>,
    logits: Array<'_, f32, Ix2>,
    targets: Array<'_, f32, Ix2>,
) -> PyResult<usize> {
    let (logits, targets) = (read("logits", &logits)?, read("targets", &targets)?);
    let (logits, targets) = (logits.as_array(), targets.as_array());
    run(py, || loss::hits(logits, targets))
}

#[pyfunction]
pub fn softmax_cross_entropy(
    py: Python<'_>,
    logits: Array<'_, f32, Ix2>,
    targets: Array<'_, f32, Ix2>,
    weights: Option<Array<'_, f32, Ix1>>,
) -> PyResult<f64> {
    let (logits, targets) = (read("logits", &logits)?, read("targets", &targets)?);
    let weights = weights.map(|weights| read("weights", &weights)).transpose()?;
    let (logits, targets) = (logits.as_array(), targets.as_array());
    let weights = weights.as_ref().map(|weights| weights.as_array());
    run(py, || loss::softmax_cross_entropy(logits, targets, weights))
}

#[pyfunction]
pub fn softmax_cross_entropy_backward(
    py: Python<'_>,
    logits: Array<'_, f32, Ix2>,
    targets: Array<'_, f32, Ix2>,
    weights: Option<Array<'_, f32, Ix1>>,
    scale: f32,
    dlogits: Array<'_, f32, Ix2>,
) -> PyResult<()> {
    let (logits, targets) = (read("logits", &logits)?, read("targets", &targets)?);
    let weights = weights.map(|weights| read("weights", &weights)).transpose()?;
    let mut dlogits = write("dlogits", &dlogits)?;
    let (logits, targets) = (logits.as_array(), targets.as_array());
    let weights = weights.as_ref().map(|weights| weights.as_array());
    let dlogits = dlogits.as_array_mut();
    run(py, || loss::softmax_cross_entropy_backward(logits, targets, weights, scale, dlogits))
}
