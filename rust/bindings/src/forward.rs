//! Several layers forward in one call: at batch 1 a layer takes some twenty microseconds, and a
//! crossing from Python one or two.

use ferrocnn_kernels::{self as kernels, network};
use numpy::{PyArrayDyn, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArrayMethods};
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
    Dense(Kept<f32>, Kept<f32>, bool, Kept<f32>),
}

/// Layers that run one after the other, the first of them a block. The arrays are those that it
/// was made with; their content may change between calls.
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
        let mut borrowed: Vec<Borrowed> =
            self.0.iter().map(|step| Borrowed::new(py, step)).collect::<PyResult<_>>()?;
        let layers: Vec<_> = borrowed.iter_mut().map(Borrowed::layer).collect::<PyResult<_>>()?;
        if let Ok(bytes) = x.cast::<PyArrayDyn<u8>>() {
            let x = read("x", bytes)?;
            let (count, x) = (first_axis(x.shape()), elements("x", &x)?);
            return run(py, || network::forward(count, x, layers));
        }
        let floats = x.cast::<PyArrayDyn<f32>>();
        let x = read(
            "x",
            floats.map_err(|_| PyTypeError::new_err("x: expected a uint8 or float32 array"))?,
        )?;
        let (count, x) = (first_axis(x.shape()), elements("x", &x)?);
        run(py, || network::forward(count, x, layers))
    }
}

/// The number of images.
fn first_axis(shape: &[usize]) -> usize {
    shape.first().copied().unwrap_or(0)
}

/// A step while its arrays are borrowed.
struct Borrowed<'py> {
    weight: PyReadonlyArrayDyn<'py, f32>,
    bias: PyReadonlyArrayDyn<'py, f32>,
    out: PyReadwriteArrayDyn<'py, f32>,
    kind: Kind<'py>,
}

enum Kind<'py> {
    Block(&'py kernels::BlockGeometry, PyReadwriteArrayDyn<'py, u8>),
    Dense(bool),
}

impl<'py> Borrowed<'py> {
    fn new(py: Python<'py>, step: &'py Step) -> PyResult<Self> {
        let (weight, bias, out, kind) = match step {
            Step::Block(geometry, weight, bias, out, winners) => {
                let winners = write("winners", winners.bind(py))?;
                (weight, bias, out, Kind::Block(&geometry.get().0, winners))
            }
            Step::Dense(weight, bias, relu, out) => (weight, bias, out, Kind::Dense(*relu)),
        };
        Ok(Self {
            weight: read("weight", weight.bind(py))?,
            bias: read("bias", bias.bind(py))?,
            out: write("out", out.bind(py))?,
            kind,
        })
    }

    fn layer(&mut self) -> PyResult<network::Layer<'_>> {
        let weight = elements("weight", &self.weight)?;
        let bias = elements("bias", &self.bias)?;
        let out = elements_mut("out", &mut self.out)?;
        Ok(match &mut self.kind {
            Kind::Block(geometry, winners) => network::Layer::Block {
                geometry,
                weight,
                bias,
                out,
                winners: elements_mut("winners", winners)?,
            },
            Kind::Dense(relu) => network::Layer::Dense { weight, bias, relu: *relu, out },
        })
    }
}
