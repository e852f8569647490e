//! Activations, dropout and batch norm.

use ferrocnn_kernels::activation::{self, Activation};
use ferrocnn_kernels::batch_norm::{self as norm, BatchNorm, Moments};
use ferrocnn_kernels::dropout;
use numpy::{PyArray1, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{Flat, elements, elements_mut, read, run, write};

type Vector<'py> = Bound<'py, PyArray1<f32>>;

/// An activation, by its name.
pub struct ActivationName(pub Activation);

impl<'py> FromPyObject<'_, 'py> for ActivationName {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let name: String = object.extract()?;
        let found = Activation::NAMES.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| Self(kind)).ok_or_else(|| {
            let known = Activation::NAMES.map(|(name, _)| name).join(", ");
            PyValueError::new_err(format!("activation: expected one of {known}, got {name:?}"))
        })
    }
}

/// The names that `activation` takes.
pub fn activations() -> Vec<&'static str> {
    Activation::NAMES.map(|(name, _)| name).to_vec()
}

/// That `rate` is a probability below 1.
pub fn check_rate(rate: f32) -> PyResult<()> {
    if (0.0..1.0).contains(&rate) {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("rate: expected at least 0 and below 1, got {rate}")))
}

#[pyfunction(name = "activation")]
pub fn activate(py: Python<'_>, kind: ActivationName, x: Flat<'_>, out: Flat<'_>) -> PyResult<()> {
    let (x, mut out) = (read("x", &x)?, write("out", &out)?);
    let (x, out) = (elements("x", &x)?, elements_mut("out", &mut out)?);
    run(py, || activation::activation(kind.0, x, out))
}

#[pyfunction]
pub fn activation_backward(
    py: Python<'_>,
    kind: ActivationName,
    grad: Flat<'_>,
    x: Flat<'_>,
) -> PyResult<()> {
    let (mut grad, x) = (write("grad", &grad)?, read("x", &x)?);
    let (grad, x) = (elements_mut("grad", &mut grad)?, elements("x", &x)?);
    run(py, || activation::activation_backward(kind.0, grad, x))
}

#[pyfunction(name = "dropout")]
pub fn drop_out(
    py: Python<'_>,
    rate: f32,
    key: u64,
    spatial: bool,
    x: Flat<'_>,
    out: Flat<'_>,
) -> PyResult<()> {
    check_rate(rate)?;
    let (image, channels) = image_of(&x, spatial);
    let (x, mut out) = (read("x", &x)?, write("out", &out)?);
    let (x, out) = (elements("x", &x)?, elements_mut("out", &mut out)?);
    run(py, || dropout::dropout(rate, key, image, channels, x, out))
}

#[pyfunction]
pub fn dropout_backward(
    py: Python<'_>,
    rate: f32,
    key: u64,
    spatial: bool,
    grad: Flat<'_>,
) -> PyResult<()> {
    check_rate(rate)?;
    let (image, channels) = image_of(&grad, spatial);
    let mut grad = write("grad", &grad)?;
    let grad = elements_mut("grad", &mut grad)?;
    run(py, || dropout::dropout_backward(rate, key, image, channels, grad))
}

/// Elements of an image, and its channels where they are drawn as a whole.
fn image_of(x: &Flat<'_>, spatial: bool) -> (usize, Option<usize>) {
    let channels = x.shape().last().copied();
    (x.shape().iter().skip(1).product(), channels.filter(|_| spatial))
}

/// A batch norm while its parameters are borrowed.
pub struct BorrowedNorm<'py> {
    gamma: PyReadonlyArray1<'py, f32>,
    beta: PyReadonlyArray1<'py, f32>,
    epsilon: f32,
    activation: Activation,
}

impl<'py> BorrowedNorm<'py> {
    pub fn read(
        gamma: &Vector<'py>,
        beta: &Vector<'py>,
        epsilon: f32,
        activation: Activation,
    ) -> PyResult<Self> {
        Ok(Self { gamma: read("gamma", gamma)?, beta: read("beta", beta)?, epsilon, activation })
    }

    pub fn kernel(&self) -> PyResult<BatchNorm<'_>> {
        Ok(BatchNorm {
            gamma: elements("gamma", &self.gamma)?,
            beta: elements("beta", &self.beta)?,
            epsilon: self.epsilon,
            activation: self.activation,
        })
    }
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the arrays of one layer's forward pass")]
pub fn batch_norm(
    py: Python<'_>,
    gamma: Vector<'_>,
    beta: Vector<'_>,
    epsilon: f32,
    activation: ActivationName,
    x: Flat<'_>,
    mean: Vector<'_>,
    variance: Vector<'_>,
    training: bool,
    out: Flat<'_>,
) -> PyResult<()> {
    let image = x.shape().iter().skip(1).product();
    let norm = BorrowedNorm::read(&gamma, &beta, epsilon, activation.0)?;
    let (x, mut out) = (read("x", &x)?, write("out", &out)?);
    let (x, out) = (elements("x", &x)?, elements_mut("out", &mut out)?);
    let norm = norm.kernel()?;
    if training {
        let (mut mean, mut variance) = (write("mean", &mean)?, write("variance", &variance)?);
        let mean = elements_mut("mean", &mut mean)?;
        let moments = Moments { mean, variance: elements_mut("variance", &mut variance)? };
        return run(py, || norm::batch_norm(norm, image, x, moments, out));
    }
    let (mean, variance) = (read("mean", &mean)?, read("variance", &variance)?);
    let mean = elements("mean", &mean)?;
    let moments = Moments { mean, variance: elements("variance", &variance)? };
    run(py, || norm::batch_norm_inference(norm, image, x, moments, out))
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the arrays of one layer's backward pass")]
pub fn batch_norm_backward(
    py: Python<'_>,
    gamma: Vector<'_>,
    beta: Vector<'_>,
    epsilon: f32,
    activation: ActivationName,
    grad: Flat<'_>,
    x: Flat<'_>,
    mean: Vector<'_>,
    variance: Vector<'_>,
    dgamma: Vector<'_>,
    dbeta: Vector<'_>,
) -> PyResult<()> {
    let image = x.shape().iter().skip(1).product();
    let norm = BorrowedNorm::read(&gamma, &beta, epsilon, activation.0)?;
    let (mean, variance) = (read("mean", &mean)?, read("variance", &variance)?);
    let (mut grad, x) = (write("grad", &grad)?, read("x", &x)?);
    let (mut dgamma, mut dbeta) = (write("dgamma", &dgamma)?, write("dbeta", &dbeta)?);
    let (grad, x) = (elements_mut("grad", &mut grad)?, elements("x", &x)?);
    let norm = norm.kernel()?;
    let mean = elements("mean", &mean)?;
    let moments = Moments { mean, variance: elements("variance", &variance)? };
    let dgamma = elements_mut("dgamma", &mut dgamma)?;
    let dbeta = elements_mut("dbeta", &mut dbeta)?;
    run(py, || norm::batch_norm_backward(norm, image, grad, x, moments, dgamma, dbeta))
}
