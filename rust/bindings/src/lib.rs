//! Python bindings: borrow the arrays, detach from the interpreter, call the kernel, convert the
//! error. Everything a person touches is in the Python package above.

mod arrays;
mod augment;
mod block;
mod borrowed;
mod forward;
mod geometry;
mod losses;
mod ops;
mod pictures;
mod pointwise;
mod steps;
mod updates;

use pyo3::prelude::*;

/// Compiled kernels of ferrocnn. Use `ferrocnn.ops` instead: it accepts what NumPy users pass.
#[pymodule(gil_used = true)]
mod _kernels {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::augment::{augment, mix};
    #[pymodule_export]
    use super::block::conv_pool_backward;
    #[pymodule_export]
    use super::forward::Forward;
    #[pymodule_export]
    use super::geometry::{BlockGeometry, ConvGeometry, PoolGeometry};
    #[pymodule_export]
    use super::losses::{
        hits, sigmoid_cross_entropy, sigmoid_cross_entropy_backward, softmax_cross_entropy,
        softmax_cross_entropy_backward,
    };
    #[pymodule_export]
    use super::ops::{
        avg_pool2d, avg_pool2d_backward, conv_backward, conv2d, conv2d_backward, dense,
        dense_backward, dense_weight_gradient, finite_range, global_avg_pool2d,
        global_avg_pool2d_backward, max_pool2d, max_pool2d_backward, relu, relu_backward, sigmoid,
        softmax,
    };
    #[pymodule_export]
    use super::pictures::{decode_jpegs, gather, resize};
    #[pymodule_export]
    use super::pointwise::{
        activate, activation_backward, batch_norm, batch_norm_backward, drop_out, dropout_backward,
    };
    #[pymodule_export]
    use super::steps::Step;
    #[pymodule_export]
    use super::updates::{
        adam_update, average_update, lion_update, momentum_update, sgd_update, squared_norm,
    };
    #[pymodule_export]
    use super::{get_num_threads, instruction_set, instruction_sets, set_num_threads};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        ferrocnn_kernels::threads::default_threads()
            .map_err(pyo3::exceptions::PyValueError::new_err)?;
        ferrocnn_kernels::simd::Isa::select(std::env::var("FERROCNN_ISA").ok().as_deref())
            .map_err(pyo3::exceptions::PyValueError::new_err)?;
        module.add("ACTIVATIONS", super::pointwise::activations())?;
        module.add("MOST_THREADS", ferrocnn_kernels::threads::MOST)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

#[pyfunction]
fn set_num_threads(py: Python<'_>, count: usize) -> PyResult<()> {
    py.detach(|| ferrocnn_kernels::threads::set_threads(count))
        .map_err(|error| pyo3::exceptions::PyRuntimeError::new_err(format!("count: {error}")))
}

#[pyfunction]
fn get_num_threads() -> PyResult<usize> {
    ferrocnn_kernels::threads::threads().map_err(pyo3::exceptions::PyValueError::new_err)
}

#[pyfunction]
fn instruction_set() -> &'static str {
    ferrocnn_kernels::simd::isa().name()
}

/// Those that this machine has, fastest first.
#[pyfunction]
fn instruction_sets() -> Vec<&'static str> {
    ferrocnn_kernels::simd::Isa::available().into_iter().map(|set| set.name()).collect()
}
