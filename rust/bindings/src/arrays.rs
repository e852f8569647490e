//! Borrowing NumPy arrays, and running a kernel without the interpreter.

use ndarray::Dimension;
use numpy::{
    Element, PyArray, PyArray4, PyArrayDyn, PyArrayMethods, PyReadonlyArray, PyReadwriteArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

pub type Array<'py, T, D> = Bound<'py, PyArray<T, D>>;
pub type Flat<'py> = Bound<'py, PyArrayDyn<f32>>;

/// Borrows for reading.
pub fn read<'py, T: Element, D: Dimension>(
    argument: &str,
    array: &Array<'py, T, D>,
) -> PyResult<PyReadonlyArray<'py, T, D>> {
    check_alignment(argument, array)?;
    array.try_readonly().map_err(|error| PyValueError::new_err(format!("{argument}: {error}")))
}

/// Borrows for writing.
pub fn write<'py, T: Element, D: Dimension>(
    argument: &str,
    array: &Array<'py, T, D>,
) -> PyResult<PyReadwriteArray<'py, T, D>> {
    check_alignment(argument, array)?;
    array.try_readwrite().map_err(|error| PyValueError::new_err(format!("{argument}: {error}")))
}

/// NumPy allows elements at any address, Rust does not.
fn check_alignment<T: Element, D: Dimension>(
    argument: &str,
    array: &Array<'_, T, D>,
) -> PyResult<()> {
    if array.data().is_aligned() {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("{argument}: expected an aligned array")))
}

/// The elements of a C-contiguous array.
pub fn elements<'a, T: Element, D: Dimension>(
    argument: &str,
    array: &'a PyReadonlyArray<'_, T, D>,
) -> PyResult<&'a [T]> {
    // `as_slice` takes Fortran's order as well.
    if !array.is_c_contiguous() {
        return Err(not_contiguous(argument));
    }
    array.as_slice().map_err(|_| not_contiguous(argument))
}

/// As [`elements`], for writing.
pub fn elements_mut<'a, T: Element, D: Dimension>(
    argument: &str,
    array: &'a mut PyReadwriteArray<'_, T, D>,
) -> PyResult<&'a mut [T]> {
    if !array.is_c_contiguous() {
        return Err(not_contiguous(argument));
    }
    array.as_slice_mut().map_err(|_| not_contiguous(argument))
}

pub fn not_contiguous(argument: &str) -> PyErr {
    PyValueError::new_err(format!("{argument}: expected a C-contiguous array"))
}

/// A batch of images as they come: bytes or floats.
pub enum Images<'py> {
    Bytes(PyReadonlyArray<'py, u8, ndarray::Ix4>),
    Floats(PyReadonlyArray<'py, f32, ndarray::Ix4>),
}

impl<'py> Images<'py> {
    pub fn read(argument: &str, array: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = array.cast::<PyArray4<u8>>() {
            return Ok(Self::Bytes(read(argument, bytes)?));
        }
        match array.cast::<PyArray4<f32>>() {
            Ok(floats) => Ok(Self::Floats(read(argument, floats)?)),
            Err(_) => Err(PyTypeError::new_err(format!(
                "{argument}: expected a 4-dimensional uint8 or float32 array"
            ))),
        }
    }
}

/// Runs `$body` with `$view` the view of the images, of whichever type they are.
macro_rules! with_images {
    ($images:expr, $view:ident => $body:expr) => {
        match &$images {
            $crate::arrays::Images::Bytes(images) => {
                let $view = images.as_array();
                $body
            }
            $crate::arrays::Images::Floats(images) => {
                let $view = images.as_array();
                $body
            }
        }
    };
}
pub(crate) use with_images;

/// Runs a kernel on the threads of ferrocnn while other Python threads go on.
pub fn run<R: Send>(
    py: Python<'_>,
    kernel: impl FnOnce() -> ferrocnn_kernels::Result<R> + Send,
) -> PyResult<R> {
    py.detach(kernel).map_err(|error| PyValueError::new_err(error.to_string()))
}
