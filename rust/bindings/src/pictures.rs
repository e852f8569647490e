//! Files to pixels, and pixels in another size.

use std::path::PathBuf;

use ferrocnn_kernels::jpeg::{self, Limits};
use ferrocnn_kernels::resize::{Region, resize as kernel_resize};
use ndarray::{Ix3, Ix4};
use pyo3::prelude::*;

use crate::arrays::{Array, read, run, write};

/// Writes the pictures of those files that are plain JPEG files, and says of each file whether it is.
#[pyfunction]
pub fn decode_jpegs(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    side_limit: usize,
    pixel_limit: Option<usize>,
    out: Array<'_, u8, Ix4>,
) -> PyResult<Vec<bool>> {
    let limits = Limits { side: side_limit, pixels: pixel_limit.unwrap_or(usize::MAX) };
    let mut out = write("out", &out)?;
    let mut out = out.as_array_mut();
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
