//! Random changes of batches of images.

use ferrocnn_kernels::augment::{self as kernels, Plan};
use ndarray::{Ix1, Ix4};
use pyo3::prelude::*;

use crate::arrays::{Array, elements, read, run, write};

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the fields of the plan")]
pub fn augment(
    py: Python<'_>,
    images: Array<'_, u8, Ix4>,
    key: u64,
    flip: bool,
    shift: u32,
    crop: f64,
    rotate: f64,
    brightness: f32,
    contrast: f32,
    saturation: f32,
    cutout: u32,
    out: Array<'_, u8, Ix4>,
) -> PyResult<()> {
    let plan = Plan { crop, flip, shift, rotate, brightness, contrast, saturation, cutout };
    let (images, mut out) = (read("images", &images)?, write("out", &out)?);
    let (images, out) = (images.as_array(), out.as_array_mut());
    run(py, || kernels::augment(&plan, images, key, out))
}

#[pyfunction]
pub fn mix(
    py: Python<'_>,
    images: Array<'_, u8, Ix4>,
    partners: Array<'_, i64, Ix1>,
    lambdas: Array<'_, f32, Ix1>,
) -> PyResult<()> {
    let mut images = write("images", &images)?;
    let (partners, lambdas) = (read("partners", &partners)?, read("lambdas", &lambdas)?);
    let partners = elements("partners", &partners)?;
    let lambdas = elements("lambdas", &lambdas)?;
    let images = images.as_array_mut();
    run(py, || kernels::mix(images, partners, lambdas))
}
