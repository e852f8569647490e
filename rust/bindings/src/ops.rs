//! The kernels as Python functions. All write into arrays that the caller made.

use ferrocnn_kernels::{activation, conv, dense as affine, pool, range};
use ndarray::{Ix1, Ix2, Ix4};
use numpy::PyArray4;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::arrays::{Array, Flat, Images, elements, elements_mut, read, run, with_images, write};
use crate::geometry::{ConvGeometry, PoolGeometry};

#[pyfunction]
pub fn conv2d(
    py: Python<'_>,
    geometry: &ConvGeometry,
    x: &Bound<'_, PyAny>,
    weight: Array<'_, f32, Ix4>,
    bias: Option<Array<'_, f32, Ix1>>,
    out: Array<'_, f32, Ix4>,
) -> PyResult<()> {
    let images = Images::read("x", x)?;
    let weight = read("weight", &weight)?;
    let bias = bias.map(|bias| read("bias", &bias)).transpose()?;
    let mut out = write("out", &out)?;
    let (weight, out) = (weight.as_array(), out.as_array_mut());
    let bias = bias.as_ref().map(|bias| bias.as_array());
    let g = &geometry.0;
    with_images!(images, x => run(py, || conv::conv2d(g, x, weight, bias, out)))
}

/// A Python function over a kernel that gives the gradients of a convolution.
macro_rules! convolution_backward {
    ($name:ident, $kernel:path) => {
        #[pyfunction]
        #[allow(clippy::too_many_arguments, reason = "the arrays of one layer's backward pass")]
        pub fn $name(
            py: Python<'_>,
            geometry: &ConvGeometry,
            grad: Array<'_, f32, Ix4>,
            x: &Bound<'_, PyAny>,
            weight: Array<'_, f32, Ix4>,
            dx: Option<Array<'_, f32, Ix4>>,
            dweight: Array<'_, f32, Ix4>,
            dbias: Array<'_, f32, Ix1>,
        ) -> PyResult<()> {
            let images = Images::read("x", x)?;
            let (grad, weight) = (read("grad", &grad)?, read("weight", &weight)?);
            let mut dx = dx.map(|dx| write("dx", &dx)).transpose()?;
            let (mut dweight, mut dbias) = (write("dweight", &dweight)?, write("dbias", &dbias)?);
            let (grad, weight) = (grad.as_array(), weight.as_array());
            let dx = dx.as_mut().map(|dx| dx.as_array_mut());
            let (dweight, dbias) = (dweight.as_array_mut(), dbias.as_array_mut());
            let g = &geometry.0;
            with_images!(images, x => run(py, || $kernel(g, grad, x, weight, dx, dweight, dbias)))
        }
    };
}
convolution_backward!(conv2d_backward, conv::conv2d_backward);
convolution_backward!(conv_backward, conv::conv_backward);

/// Winner arrays come with one byte or four for each element.
enum Winners<'a, 'py> {
    Bytes(&'a Bound<'py, PyArray4<u8>>),
    Words(&'a Bound<'py, PyArray4<u32>>),
}

impl<'a, 'py> Winners<'a, 'py> {
    fn new(winners: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = winners.cast() {
            return Ok(Self::Bytes(bytes));
        }
        winners.cast().map(Self::Words).map_err(|_| {
            PyTypeError::new_err("winners: expected a 4-dimensional uint8 or uint32 array")
        })
    }
}

#[pyfunction]
pub fn max_pool2d(
    py: Python<'_>,
    geometry: &PoolGeometry,
    x: Array<'_, f32, Ix4>,
    out: Array<'_, f32, Ix4>,
    winners: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let (x, mut out) = (read("x", &x)?, write("out", &out)?);
    let (x, out, g) = (x.as_array(), out.as_array_mut(), &geometry.0);
    match Winners::new(winners)? {
        Winners::Bytes(winners) => {
            let mut winners = write("winners", winners)?;
            let winners = winners.as_array_mut();
            run(py, || pool::max_pool(g, x, out, winners))
        }
        Winners::Words(winners) => {
            let mut winners = write("winners", winners)?;
            let winners = winners.as_array_mut();
            run(py, || pool::max_pool(g, x, out, winners))
        }
    }
}

#[pyfunction]
pub fn max_pool2d_backward(
    py: Python<'_>,
    geometry: &PoolGeometry,
    grad: Array<'_, f32, Ix4>,
    winners: &Bound<'_, PyAny>,
    dx: Array<'_, f32, Ix4>,
) -> PyResult<()> {
    let (grad, mut dx) = (read("grad", &grad)?, write("dx", &dx)?);
    let (grad, dx, g) = (grad.as_array(), dx.as_array_mut(), &geometry.0);
    match Winners::new(winners)? {
        Winners::Bytes(winners) => {
            let winners = read("winners", winners)?;
            let winners = winners.as_array();
            run(py, || pool::max_pool_backward(g, grad, winners, dx))
        }
        Winners::Words(winners) => {
            let winners = read("winners", winners)?;
            let winners = winners.as_array();
            run(py, || pool::max_pool_backward(g, grad, winners, dx))
        }
    }
}

#[pyfunction]
pub fn avg_pool2d(
    py: Python<'_>,
    geometry: &PoolGeometry,
    x: Array<'_, f32, Ix4>,
    out: Array<'_, f32, Ix4>,
) -> PyResult<()> {
    let (x, mut out) = (read("x", &x)?, write("out", &out)?);
    let (x, out, g) = (x.as_array(), out.as_array_mut(), &geometry.0);
    run(py, || pool::average_pool(g, x, out))
}

#[pyfunction]
pub fn avg_pool2d_backward(
    py: Python<'_>,
    geometry: &PoolGeometry,
    grad: Array<'_, f32, Ix4>,
    dx: Array<'_, f32, Ix4>,
) -> PyResult<()> {
    let (grad, mut dx) = (read("grad", &grad)?, write("dx", &dx)?);
    let (grad, dx, g) = (grad.as_array(), dx.as_array_mut(), &geometry.0);
    run(py, || pool::average_pool_backward(g, grad, dx))
}

#[pyfunction]
pub fn global_avg_pool2d(
    py: Python<'_>,
    x: Array<'_, f32, Ix4>,
    out: Array<'_, f32, Ix2>,
) -> PyResult<()> {
    let (x, mut out) = (read("x", &x)?, write("out", &out)?);
    let (x, out) = (x.as_array(), out.as_array_mut());
    run(py, || pool::global_average_pool(x, out))
}

#[pyfunction]
pub fn global_avg_pool2d_backward(
    py: Python<'_>,
    grad: Array<'_, f32, Ix2>,
    dx: Array<'_, f32, Ix4>,
) -> PyResult<()> {
    let (grad, mut dx) = (read("grad", &grad)?, write("dx", &dx)?);
    let (grad, dx) = (grad.as_array(), dx.as_array_mut());
    run(py, || pool::global_average_pool_backward(grad, dx))
}

#[pyfunction]
pub fn dense(
    py: Python<'_>,
    x: Array<'_, f32, Ix2>,
    weight: Array<'_, f32, Ix2>,
    bias: Option<Array<'_, f32, Ix1>>,
    relu: bool,
    out: Array<'_, f32, Ix2>,
) -> PyResult<()> {
    let (x, weight, mut out) = (read("x", &x)?, read("weight", &weight)?, write("out", &out)?);
    let bias = bias.map(|bias| read("bias", &bias)).transpose()?;
    let (x, weight, out) = (x.as_array(), weight.as_array(), out.as_array_mut());
    let bias = bias.as_ref().map(|bias| bias.as_array());
    run(py, || affine::dense(x, weight, bias, relu, out))
}

#[pyfunction]
pub fn dense_backward(
    py: Python<'_>,
    grad: Array<'_, f32, Ix2>,
    weight: Array<'_, f32, Ix2>,
    rectified: Option<Array<'_, f32, Ix2>>,
    dx: Option<Array<'_, f32, Ix2>>,
    dbias: Array<'_, f32, Ix1>,
) -> PyResult<()> {
    let (grad, weight) = (read("grad", &grad)?, read("weight", &weight)?);
    let rectified = rectified.map(|x| read("rectified", &x)).transpose()?;
    let mut dx = dx.map(|dx| write("dx", &dx)).transpose()?;
    let mut dbias = write("dbias", &dbias)?;
    let (grad, weight, dbias) = (grad.as_array(), weight.as_array(), dbias.as_array_mut());
    let dx = dx.as_mut().map(|dx| dx.as_array_mut());
    let rectified = rectified.as_ref().map(|x| x.as_array());
    run(py, || affine::dense_backward(grad, weight, rectified, dx, dbias))
}

#[pyfunction]
pub fn dense_weight_gradient(
    py: Python<'_>,
    grad: Array<'_, f32, Ix2>,
    x: Array<'_, f32, Ix2>,
    dweight: Array<'_, f32, Ix2>,
) -> PyResult<()> {
    let (grad, x, mut dweight) =
        (read("grad", &grad)?, read("x", &x)?, write("dweight", &dweight)?);
    let (grad, x, dweight) = (grad.as_array(), x.as_array(), dweight.as_array_mut());
    run(py, || affine::dense_weight_gradient(grad, x, dweight))
}

#[pyfunction]
pub fn relu(py: Python<'_>, x: Flat<'_>) -> PyResult<()> {
    let mut x = write("x", &x)?;
    let x = elements_mut("x", &mut x)?;
    run(py, || {
        activation::relu(x);
        Ok(())
    })
}

#[pyfunction]
pub fn relu_backward(py: Python<'_>, grad: Flat<'_>, y: Flat<'_>) -> PyResult<()> {
    let (mut grad, y) = (write("grad", &grad)?, read("y", &y)?);
    let (grad, y) = (elements_mut("grad", &mut grad)?, elements("y", &y)?);
    run(py, || activation::relu_backward(grad, y))
}

#[pyfunction]
pub fn sigmoid(py: Python<'_>, x: Flat<'_>) -> PyResult<()> {
    let mut x = write("x", &x)?;
    let x = elements_mut("x", &mut x)?;
    run(py, || {
        activation::sigmoid(x);
        Ok(())
    })
}

#[pyfunction]
pub fn softmax(py: Python<'_>, x: Array<'_, f32, Ix2>) -> PyResult<()> {
    let mut x = write("x", &x)?;
    let x = x.as_array_mut();
    run(py, || activation::softmax(x))
}

#[pyfunction]
pub fn finite_range(py: Python<'_>, x: Flat<'_>) -> PyResult<Option<(f32, f32)>> {
    let x = read("x", &x)?;
    let x = elements("x", &x)?;
    run(py, || Ok(range::finite_range(x)))
}
