//! A step while its arrays are borrowed, and as a layer of the kernels.

use ferrocnn_kernels::activation::Activation;
use ferrocnn_kernels::batch_norm::Moments;
use ferrocnn_kernels::conv::After;
use ferrocnn_kernels::network::Layer;
use ferrocnn_kernels::{self as kernels};
use numpy::{
    PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray4, PyReadwriteArray1, PyReadwriteArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::arrays::{elements, elements_mut, read, write};
use crate::pointwise::BorrowedNorm;
use crate::steps::{Kind, Step, Vector};

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
        weight: PyReadonlyArray4<'py, f32>,
        bias: Read1<'py>,
        affine: Option<(Read1<'py>, Read1<'py>)>,
        relu: bool,
        winners: PyReadwriteArrayDyn<'py, u8>,
    },
    Conv {
        geometry: &'py kernels::ConvGeometry,
        weight: PyReadonlyArray4<'py, f32>,
        bias: Read1<'py>,
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

impl<'py> Borrowed<'py> {
    pub fn new(py: Python<'py>, step: &'py Step) -> PyResult<Self> {
        let vector = |name, array: &'py Vector| read(name, array.bind(py));
        let (kind, out) = match &step.0 {
            Kind::ConvPool { geometry, weight, bias, affine, relu, out, winners } => {
                let affine = match affine {
                    Some((factor, addend)) => {
                        Some((vector("factor", factor)?, vector("addend", addend)?))
                    }
                    None => None,
                };
                let operation = Operation::ConvPool {
                    geometry: &geometry.get().0,
                    weight: read("weight", weight.bind(py))?,
                    bias: vector("bias", bias)?,
                    affine,
                    relu: *relu,
                    winners: write("winners", winners.bind(py))?,
                };
                (operation, out)
            }
            Kind::Conv { geometry, weight, bias, out } => {
                let operation = Operation::Conv {
                    geometry: &geometry.get().0,
                    weight: read("weight", weight.bind(py))?,
                    bias: vector("bias", bias)?,
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
            Operation::ConvPool { geometry, weight, bias, affine, relu, winners } => {
                let affine = match affine {
                    Some((factor, addend)) => {
                        Some((elements("factor", factor)?, elements("addend", addend)?))
                    }
                    None => None,
                };
                Layer::ConvPool {
                    geometry,
                    weight: elements("weight", weight)?,
                    bias: elements("bias", bias)?,
                    after: After { affine, relu: *relu },
                    out,
                    winners: elements_mut("winners", winners)?,
                }
            }
            Operation::Conv { geometry, weight, bias } => Layer::Conv {
                geometry,
                weight: elements("weight", weight)?,
                bias: elements("bias", bias)?,
                out,
            },
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
