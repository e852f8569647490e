//! Several layers forward in one call: at batch 1 a layer takes some twenty microseconds, and a
//! crossing from Python one or two.

use ferrocnn_kernels::network::{self, Images};
use ferrocnn_kernels::{self as kernels};
use numpy::{
    PyArray2, PyArrayDyn, PyReadonlyArray2, PyReadonlyArrayDyn, PyReadwriteArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::arrays::{elements, elements_mut, read, run, write};
use crate::geometry::BlockGeometry;

type Kept<T> = Py<PyArrayDyn<T>>;

/// A layer and where its output goes: arrays for as many images as they have rows.
#[derive(FromPyObject)]
enum Step {
    /// Geometry, weight, bias, output, winners.
    Block(Py<BlockGeometry>, Kept<f32>, Kept<f32>, Kept<f32>, Kept<u8>),
    /// Weight, bias, whether a ReLU follows, output.
    Dense(Py<PyArray2<f32>>, Kept<f32>, bool, Kept<f32>),
}

/// Layers that run one after the other. The arrays are those that it was made with; their content
/// may change between calls.
#[pyclass(frozen, module = "ferrocnn._kernels")]
pub struct Forward(Vec<Step>);

#[pymethods]
impl Forward {
    #[new]
    fn new(steps: Vec<Step>) -> Self {
        Self(steps)
    }

    /// Fills the first rows of every output, one for each image of `x`.
    fn run(&self, py: Python<'_>, x: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut borrowed: Vec<_> =
            self.0.iter().map(|step| Borrowed::new(py, step)).collect::<PyResult<_>>()?;
        let mut layers: Vec<_> =
            borrowed.iter_mut().map(Borrowed::layer).collect::<PyResult<_>>()?;
        if let Ok(x) = x.cast::<PyArrayDyn<u8>>() {
            let x = read("x", x)?;
            let (count, x) = (count(x.shape()), Images::Bytes(elements("x", &x)?));
            return run(py, || network::forward(count, x, &mut layers));
        }
        let Ok(x) = x.cast::<PyArrayDyn<f32>>() else {
            let got = x.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "x: expected a uint8 or float32 array, got another {got}"
            )));
        };
        let x = read("x", x)?;
        let (count, x) = (count(x.shape()), Images::Floats(elements("x", &x)?));
        run(py, || network::forward(count, x, &mut layers))
    }
}

/// The number of images.
fn count(shape: &[usize]) -> usize {
    shape.first().copied().unwrap_or(0)
}

/// A step while its arrays are borrowed.
enum Borrowed<'py> {
    Block {
        geometry: &'py kernels::BlockGeometry,
        weight: PyReadonlyArrayDyn<'py, f32>,
        bias: PyReadonlyArrayDyn<'py, f32>,
        out: PyReadwriteArrayDyn<'py, f32>,
        winners: PyReadwriteArrayDyn<'py, u8>,
    },
    Dense {
        weight: PyReadonlyArray2<'py, f32>,
        bias: PyReadonlyArrayDyn<'py, f32>,
        relu: bool,
        out: PyReadwriteArrayDyn<'py, f32>,
    },
}

impl<'py> Borrowed<'py> {
    fn new(py: Python<'py>, step: &'py Step) -> PyResult<Self> {
        Ok(match step {
            Step::Block(geometry, weight, bias, out, winners) => Self::Block {
                geometry: &geometry.get().0,
                weight: read("weight", weight.bind(py))?,
                bias: read("bias", bias.bind(py))?,
                out: write("out", out.bind(py))?,
                winners: write("winners", winners.bind(py))?,
            },
            Step::Dense(weight, bias, relu, out) => Self::Dense {
                weight: read("weight", weight.bind(py))?,
                bias: read("bias", bias.bind(py))?,
                relu: *relu,
                out: write("out", out.bind(py))?,
            },
        })
    }

    fn layer(&mut self) -> PyResult<network::Layer<'_>> {
        Ok(match self {
            Self::Block { geometry, weight, bias, out, winners } => network::Layer::Block {
                geometry,
                weight: elements("weight", weight)?,
                bias: elements("bias", bias)?,
                out: elements_mut("out", out)?,
                winners: elements_mut("winners", winners)?,
            },
            Self::Dense { weight, bias, relu, out } => network::Layer::Dense {
                features: (weight.shape()[0], weight.shape()[1]),
                weight: elements("weight", weight)?,
                bias: elements("bias", bias)?,
                relu: *relu,
                out: elements_mut("out", out)?,
            },
        })
    }
}
