//! Several layers forward in one call: at batch 1 a layer takes some twenty microseconds, and a
//! crossing from Python one or two.

use ferrocnn_kernels::network::{self, Images};
use numpy::{PyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::arrays::{elements, read, run};
use crate::borrowed::Borrowed;
use crate::steps::Step;

/// Layers that run one after the other. The arrays are those that the steps were made with; their
/// content may change between calls.
#[pyclass(frozen, module = "ferrocnn._kernels")]
pub struct Forward(Vec<Py<Step>>);

#[pymethods]
impl Forward {
    #[new]
    fn new(steps: Vec<Py<Step>>) -> Self {
        Self(steps)
    }

    /// Fills the first rows of every output, one for each image of `x`.
    fn run(&self, py: Python<'_>, x: &Bound<'_, PyAny>) -> PyResult<()> {
        let steps = self.0.iter().map(|step| Borrowed::new(py, step.bind(py).get()));
        let mut borrowed: Vec<_> = steps.collect::<PyResult<_>>()?;
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
