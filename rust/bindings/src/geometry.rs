//! Geometries, made once in Python and handed to both directions.

use ferrocnn_kernels::Padding;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// "same", "valid", or (top, bottom, left, right).
#[derive(FromPyObject)]
pub enum PaddingArgument {
    Name(String),
    Sides(usize, usize, usize, usize),
}

impl PaddingArgument {
    fn resolve(self) -> PyResult<Padding> {
        match self {
            Self::Sides(top, bottom, left, right) => {
                Ok(Padding::Explicit { top, bottom, left, right })
            }
            Self::Name(name) => match name.as_str() {
                "same" => Ok(Padding::Same),
                "valid" => Ok(Padding::Valid),
                _ => Err(PyValueError::new_err(format!(
                    "padding: expected \"same\", \"valid\" or numbers, got {name:?}"
                ))),
            },
        }
    }
}

fn invalid(error: ferrocnn_kernels::KernelError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

#[pyclass(frozen, module = "ferrocnn._kernels")]
pub struct ConvGeometry(pub ferrocnn_kernels::ConvGeometry);

#[pymethods]
impl ConvGeometry {
    #[new]
    fn new(
        input_shape: (usize, usize, usize),
        kernel_size: (usize, usize),
        out_channels: usize,
        stride: (usize, usize),
        padding: PaddingArgument,
    ) -> PyResult<Self> {
        let padding = padding.resolve()?;
        ferrocnn_kernels::ConvGeometry::new(input_shape, kernel_size, out_channels, stride, padding)
            .map(Self)
            .map_err(invalid)
    }

    #[getter]
    fn output_shape(&self) -> (usize, usize, usize) {
        self.0.output_shape().into()
    }
}

#[pyclass(frozen, module = "ferrocnn._kernels")]
pub struct PoolGeometry(pub ferrocnn_kernels::PoolGeometry);

#[pymethods]
impl PoolGeometry {
    #[new]
    fn new(
        input_shape: (usize, usize, usize),
        window: (usize, usize),
        stride: (usize, usize),
        padding: PaddingArgument,
    ) -> PyResult<Self> {
        let padding = padding.resolve()?;
        ferrocnn_kernels::PoolGeometry::new(input_shape, window, stride, padding)
            .map(Self)
            .map_err(invalid)
    }

    #[getter]
    fn output_shape(&self) -> (usize, usize, usize) {
        self.0.output_shape().into()
    }
}

#[pyclass(frozen, module = "ferrocnn._kernels")]
pub struct BlockGeometry(pub ferrocnn_kernels::BlockGeometry);

#[pymethods]
impl BlockGeometry {
    #[new]
    fn new(
        input_shape: (usize, usize, usize),
        kernel_size: (usize, usize),
        out_channels: usize,
        padding: PaddingArgument,
    ) -> PyResult<Self> {
        let padding = padding.resolve()?;
        ferrocnn_kernels::BlockGeometry::new(input_shape, kernel_size, out_channels, padding)
            .map(Self)
            .map_err(invalid)
    }

    #[getter]
    fn conv_output_shape(&self) -> (usize, usize, usize) {
        self.0.conv.output_shape().into()
    }

    #[getter]
    fn output_shape(&self) -> (usize, usize, usize) {
        self.0.pool.output_shape().into()
    }
}
