//! Files to pixels, pixels in another size, and images of a batch.

use std::path::PathBuf;

use ferrocnn_kernels::gather::gather as kernel_gather;
use ferrocnn_kernels::jpeg::{self, Limits};
use ferrocnn_kernels::resize::{Region, resize as kernel_resize};
use ndarray::{Ix1, Ix3, Ix4};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{Array, elements, read, run, write};

/// Writes the pictures of those files that are plain JPEG files, and says of each file whether it is.
#[pyfunction]
pub fn decode_jpegs(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    side_limit: usize,
    pixel_limit: Option<f64>,
    out: Array<'_, u8, Ix4>,
) -> PyResult<Vec<bool>> {
    let limits = Limits { side: side_limit, pixels: pixel_limit.unwrap_or(f64::INFINITY) };
    let mut out = write("out", &out)?;
    let mut out = out.as_array_mut();
    let (expected, got) = (paths.len(), out.shape());
    if got[0] != expected || got[3] != 3 {
        let message = format!("out: expected {expected} images of 3 channels, got shape {got:?}");
        return Err(PyValueError::new_err(message));
    }
    let files = paths.iter().zip(out.outer_iter_mut());
    Ok(py.detach(|| files.map(|(path, out)| jpeg::decode(path, limits, out)).collect()))
}

/// `region` is (top, left, height, width), in pixels.
#[pyfunction]
pub fn resize(
    py: Python<'_>,
    image: Array<'_, u8, Ix3>,
    region: (f64, f64, f64, f64),
    out: Array<'_, u8, Ix3>,
) -> PyResult<()> {
    let (image, mut out) = (read("image", &image)?, write("out", &out)?);
    let (image, out) = (image.as_array(), out.as_array_mut());
    let region = Region { start: [region.0, region.1], size: [region.2, region.3] };
    run(py, || kernel_resize(image, region, out))
}

#[pyfunction]
pub fn gather(
    py: Python<'_>,
    images: Array<'_, u8, Ix4>,
    indices: Array<'_, i64, Ix1>,
    out: Array<'_, u8, Ix4>,
) -> PyResult<()> {
    let (images, indices) = (read("images", &images)?, read("indices", &indices)?);
    let mut out = write("out", &out)?;
    let indices = elements("indices", &indices)?;
    let (images, out) = (images.as_array(), out.as_array_mut());
    run(py, || kernel_gather(images, indices, out))
}
