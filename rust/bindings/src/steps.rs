//! The layers of [`crate::forward::Forward`], each with the arrays that it reads and writes.

use std::sync::Mutex;

use ferrocnn_kernels::activation::Activation;
use ferrocnn_kernels::conv::Filters;
use numpy::{PyArray1, PyArray2, PyArray4, PyArrayDyn};
use pyo3::prelude::*;

use crate::geometry::{BlockGeometry, ConvGeometry, PoolGeometry};
use crate::pointwise::{ActivationName, check_rate};

pub(crate) type Kept<T> = Py<PyArrayDyn<T>>;
pub(crate) type Vector = Py<PyArray1<f32>>;
pub(crate) type Kernel = Py<PyArray4<f32>>;

/// A layer and where its output goes: arrays for as many images as they have rows.
#[pyclass(frozen, module = "ferrocnn._kernels")]
pub struct Step(pub(crate) Kind);

pub(crate) enum Kind {
    ConvPool {
        geometry: Py<BlockGeometry>,
        parameters: Parameters,
        affine: Option<(Vector, Vector)>,
        relu: bool,
        out: Kept<f32>,
        winners: Kept<u8>,
    },
    Conv {
        geometry: Py<ConvGeometry>,
        parameters: Parameters,
        out: Kept<f32>,
    },
    MaxPool {
        geometry: Py<PoolGeometry>,
        out: Kept<f32>,
        winners: Kept<u8>,
    },
    AveragePool {
        geometry: Py<PoolGeometry>,
        out: Kept<f32>,
    },
    BatchNorm {
        norm: Norm,
        mean: Vector,
        variance: Vector,
        training: bool,
        out: Kept<f32>,
    },
    Activation {
        kind: Activation,
        out: Kept<f32>,
    },
    Dropout {
        rate: f32,
        key: Py<PyArray1<u64>>,
        spatial: bool,
        out: Kept<f32>,
    },
    Dense {
        weight: Py<PyArray2<f32>>,
        bias: Vector,
        relu: bool,
        out: Kept<f32>,
    },
}

/// The parameters of a convolution, and what the last run made of them.
pub(crate) struct Parameters {
    pub weight: Kernel,
    pub bias: Vector,
    pub filters: Mutex<Filters>,
}

impl Parameters {
    fn new(weight: Kernel, bias: Vector) -> Self {
        Self { weight, bias, filters: Mutex::default() }
    }
}

/// The parameters and constants of a batch norm.
pub(crate) struct Norm {
    pub gamma: Vector,
    pub beta: Vector,
    pub epsilon: f32,
    pub activation: Activation,
}

#[pymethods]
impl Step {
    /// `affine` is a factor and an addend for each channel, or None.
    #[staticmethod]
    fn conv_pool(
        geometry: Py<BlockGeometry>,
        weight: Kernel,
        bias: Vector,
        affine: Option<(Vector, Vector)>,
        relu: bool,
        out: Kept<f32>,
        winners: Kept<u8>,
    ) -> Self {
        let parameters = Parameters::new(weight, bias);
        Self(Kind::ConvPool { geometry, parameters, affine, relu, out, winners })
    }

    #[staticmethod]
    fn conv(geometry: Py<ConvGeometry>, weight: Kernel, bias: Vector, out: Kept<f32>) -> Self {
        Self(Kind::Conv { geometry, parameters: Parameters::new(weight, bias), out })
    }

    #[staticmethod]
    fn max_pool(geometry: Py<PoolGeometry>, out: Kept<f32>, winners: Kept<u8>) -> Self {
        Self(Kind::MaxPool { geometry, out, winners })
    }

    #[staticmethod]
    fn average_pool(geometry: Py<PoolGeometry>, out: Kept<f32>) -> Self {
        Self(Kind::AveragePool { geometry, out })
    }

    /// Writes mean and variance of the batch in training, reads them otherwise.
    #[staticmethod]
    #[allow(clippy::too_many_arguments, reason = "the arrays and constants of one layer")]
    fn batch_norm(
        gamma: Vector,
        beta: Vector,
        epsilon: f32,
        activation: ActivationName,
        mean: Vector,
        variance: Vector,
        training: bool,
        out: Kept<f32>,
    ) -> Self {
        let norm = Norm { gamma, beta, epsilon, activation: activation.0 };
        Self(Kind::BatchNorm { norm, mean, variance, training, out })
    }

    #[staticmethod]
    fn activation(kind: ActivationName, out: Kept<f32>) -> Self {
        Self(Kind::Activation { kind: kind.0, out })
    }

    /// `key` is an array of one number, read at each run.
    #[staticmethod]
    fn dropout(rate: f32, key: Py<PyArray1<u64>>, spatial: bool, out: Kept<f32>) -> PyResult<Self> {
        check_rate(rate)?;
        Ok(Self(Kind::Dropout { rate, key, spatial, out }))
    }

    #[staticmethod]
    fn dense(weight: Py<PyArray2<f32>>, bias: Vector, relu: bool, out: Kept<f32>) -> Self {
        Self(Kind::Dense { weight, bias, relu, out })
    }
}
