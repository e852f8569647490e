//! A step while its arrays are borrowed, and as a layer of the kernels.

use std::sync::{MutexGuard, TryLockError};

use ferrocnn_kernels::activation::Activation;
use ferrocnn_kernels::batch_norm::Moments;
use ferrocnn_kernels::conv::{After, Filters};
use ferrocnn_kernels::network::Layer;
use ferrocnn_kernels::{self as kernels};
use numpy::{
    PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray4, PyReadwriteArray1, PyReadwriteArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{elements, elements_mut, read, write};
use crate::pointwise::BorrowedNorm;
use crate::steps::{Kind, Parameters, Step, Vector};

type Read1<'py> = PyReadonlyArray1<'py, f32>;
type Write1<'py> = PyReadwriteArray1<'py, f32>;

/// A step while its arrays are borrowed.
pub struct Borrowed<'py> {
    kind: Operation<'py>,
    /// Elements of an image that goes out.
    image: usize,
    /// The last axis of the output.
    channels: usize,
    out: PyReadwriteArrayDyn<'py, f32>,
}

enum Operation<'py> {
    ConvPool {
        geometry: &'py kernels::BlockGeometry,
        parameters: BorrowedParameters<'py>,
        affine: Option<(Read1<'py>, Read1<'py>)>,
        relu: bool,
        winners: PyReadwriteArrayDyn<'py, u8>,
    },
    Conv {
        geometry: &'py kernels::ConvGeometry,
        parameters: BorrowedParameters<'py>,
    },
    MaxPool {
        geometry: &'py kernels::PoolGeometry,
        winners: PyReadwriteArrayDyn<'py, u8>,
    },
    AveragePool {
        geometry: &'py kernels::PoolGeometry,
    },
    BatchNorm {
        norm: BorrowedNorm<'py>,
        mean: Write1<'py>,
        variance: Write1<'py>,
    },
    BatchNormInference {
        norm: BorrowedNorm<'py>,
        mean: Read1<'py>,
        variance: Read1<'py>,
    },
    Activation {
        kind: Activation,
    },
    Dropout {
        rate: f32,
        key: u64,
        spatial: bool,
    },
    Dense {
        weight: PyReadonlyArray2<'py, f32>,
        bias: Read1<'py>,
        relu: bool,
    },
}

struct BorrowedParameters<'py> {
    weight: PyReadonlyArray4<'py, f32>,
    bias: Read1<'py>,
    filters: MutexGuard<'py, Filters>,
}

impl<'py> BorrowedParameters<'py> {
    fn new(py: Python<'py>, parameters: &'py Parameters) -> PyResult<Self> {
        let filters = match parameters.filters.try_lock() {
            Ok(filters) => filters,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            // Its holder waits for the interpreter: this thread must not wait for it.
            Err(TryLockError::WouldBlock) => {
                return Err(PyValueError::new_err("step: expected one run at a time"));
            }
        };
        let weight = read("weight", parameters.weight.bind(py))?;
        Ok(Self { weight, bias: read("bias", parameters.bias.bind(py))?, filters })
    }

    fn kernel(&mut self) -> PyResult<kernels::conv::Parameters<'_>> {
        let weight = elements("weight", &self.weight)?;
        let bias = elements("bias", &self.bias)?;
        Ok(kernels::conv::Parameters { weight, bias, filters: &mut self.filters })
    }
}

impl<'py> Borrowed<'py> {
    pub fn new(py: Python<'py>, step: &'py Step) -> PyResult<Self> {
        let vector = |name, array: &'py Vector| read(name, array.bind(py));
        let (kind, out) = match &step.0 {
            Kind::ConvPool { geometry, parameters, affine, relu, out, winners } => {
                let affine = match affine {
                    Some((factor, addend)) => {
                        Some((vector("factor", factor)?, vector("addend", addend)?))
                    }
                    None => None,
                };
                let operation = Operation::ConvPool {
                    geometry: &geometry.get().0,
                    parameters: BorrowedParameters::new(py, parameters)?,
                    affine,
                    relu: *relu,
                    winners: write("winners", winners.bind(py))?,
                };
                (operation, out)
            }
            Kind::Conv { geometry, parameters, out } => {
                let operation = Operation::Conv {
                    geometry: &geometry.get().0,
                    parameters: BorrowedParameters::new(py, parameters)?,
                };
                (operation, out)
            }
            Kind::MaxPool { geometry, out, winners } => {
                let winners = write("winners", winners.bind(py))?;
                (Operation::MaxPool { geometry: &geometry.get().0, winners }, out)
            }
            Kind::AveragePool { geometry, out } => {
                (Operation::AveragePool { geometry: &geometry.get().0 }, out)
            }
            Kind::BatchNorm { norm, mean, variance, training, out } => {
                let (gamma, beta) = (norm.gamma.bind(py), norm.beta.bind(py));
                let norm = BorrowedNorm::read(gamma, beta, norm.epsilon, norm.activation)?;
                let operation = if *training {
                    let mean = write("mean", mean.bind(py))?;
                    let variance = write("variance", variance.bind(py))?;
                    Operation::BatchNorm { norm, mean, variance }
                } else {
                    let (mean, variance) = (vector("mean", mean)?, vector("variance", variance)?);
                    Operation::BatchNormInference { norm, mean, variance }
                };
                (operation, out)
            }
            Kind::Activation { kind, out } => (Operation::Activation { kind: *kind }, out),
            Kind::Dropout { rate, key, spatial, out } => {
                let key = read("key", key.bind(py))?;
                let key = elements("key", &key)?.first().copied().unwrap_or_default();
                (Operation::Dropout { rate: *rate, key, spatial: *spatial }, out)
            }
            Kind::Dense { weight, bias, relu, out } => {
                let (weight, bias) = (read("weight", weight.bind(py))?, vector("bias", bias)?);
                (Operation::Dense { weight, bias, relu: *relu }, out)
            }
        };
        let out = write("out", out.bind(py))?;
        let shape = out.shape();
        let image = shape.iter().skip(1).product();
        let channels = shape.last().copied().unwrap_or_default();
        Ok(Self { kind, image, channels, out })
    }

    pub fn layer(&mut self) -> PyResult<Layer<'_>> {
        let (image, out) = (self.image, elements_mut("out", &mut self.out)?);
        Ok(match &mut self.kind {
            Operation::ConvPool { geometry, parameters, affine, relu, winners } => {
                let affine = match affine {
                    Some((factor, addend)) => {
                        Some((elements("factor", factor)?, elements("addend", addend)?))
                    }
                    None => None,
                };
                Layer::ConvPool {
                    geometry,
                    parameters: parameters.kernel()?,
                    after: After { affine, relu: *relu },
                    out,
                    winners: elements_mut("winners", winners)?,
                }
            }
            Operation::Conv { geometry, parameters } => {
                Layer::Conv { geometry, parameters: parameters.kernel()?, out }
            }
            Operation::MaxPool { geometry, winners } => {
                Layer::MaxPool { geometry, out, winners: elements_mut("winners", winners)? }
            }
            Operation::AveragePool { geometry } => Layer::AveragePool { geometry, out },
            Operation::BatchNorm { norm, mean, variance } => {
                let moments = Moments {
                    mean: elements_mut("mean", mean)?,
                    variance: elements_mut("variance", variance)?,
                };
                Layer::BatchNorm { norm: norm.kernel()?, image, moments, out }
            }
            Operation::BatchNormInference { norm, mean, variance } => {
                let moments = Moments {
                    mean: elements("mean", mean)?,
                    variance: elements("variance", variance)?,
                };
                Layer::BatchNormInference { norm: norm.kernel()?, image, moments, out }
            }
            Operation::Activation { kind } => Layer::Activation { kind: *kind, image, out },
            Operation::Dropout { rate, key, spatial } => {
                let channels = spatial.then_some(self.channels);
                Layer::Dropout { rate: *rate, key: *key, image, channels, out }
            }
            Operation::Dense { weight, bias, relu } => Layer::Dense {
                features: (weight.shape()[0], weight.shape()[1]),
                weight: elements("weight", weight)?,
                bias: elements("bias", bias)?,
                relu: *relu,
                out,
            },
        })
    }
}
