//! The gradients of the model's block, convolution -> 2x2 max pool.

use ferrocnn_kernels::conv;
use ndarray::{Ix1, Ix4};
use pyo3::prelude::*;

use crate::arrays::{Array, Images, read, run, with_images, write};
use crate::geometry::BlockGeometry;

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the arrays of one layer's backward pass")]
pub fn conv_pool_backward(
    py: Python<'_>,
    geometry: &BlockGeometry,
    grad: Array<'_, f32, Ix4>,
    winners: Array<'_, u8, Ix4>,
    relu: bool,
    x: &Bound<'_, PyAny>,
    weight: Array<'_, f32, Ix4>,
    dx: Option<Array<'_, f32, Ix4>>,
    dweight: Array<'_, f32, Ix4>,
    dbias: Array<'_, f32, Ix1>,
) -> PyResult<()> {
    let images = Images::read("x", x)?;
    let (grad, winners) = (read("grad", &grad)?, read("winners", &winners)?);
    let weight = read("weight", &weight)?;
    let mut dx = dx.map(|dx| write("dx", &dx)).transpose()?;
    let (mut dweight, mut dbias) = (write("dweight", &dweight)?, write("dbias", &dbias)?);
    let (grad, winners, weight) = (grad.as_array(), winners.as_array(), weight.as_array());
    let dx = dx.as_mut().map(|dx| dx.as_array_mut());
    let (dweight, dbias) = (dweight.as_array_mut(), dbias.as_array_mut());
    let g = &geometry.0;
    with_images!(images, x => run(py, || conv::conv_pool_backward(g, grad, winners, relu, x, weight, dx, dweight, dbias)))
}
