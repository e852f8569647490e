//! Optimiser updates, in place.

use ferrocnn_kernels::optimizer;
use pyo3::prelude::*;

use crate::arrays::{Flat, elements, elements_mut, read, run, write};

#[pyfunction]
pub fn sgd_update(
    py: Python<'_>,
    parameter: Flat<'_>,
    gradient: Flat<'_>,
    learning_rate: f32,
) -> PyResult<()> {
    let (mut parameter, gradient) = (write("parameter", &parameter)?, read("gradient", &gradient)?);
    let parameter = elements_mut("parameter", &mut parameter)?;
    let gradient = elements("gradient", &gradient)?;
    run(py, || optimizer::sgd(parameter, gradient, learning_rate))
}

#[pyfunction]
pub fn momentum_update(
    py: Python<'_>,
    parameter: Flat<'_>,
    gradient: Flat<'_>,
    velocity: Flat<'_>,
    learning_rate: f32,
    momentum: f32,
) -> PyResult<()> {
    let (mut parameter, gradient) = (write("parameter", &parameter)?, read("gradient", &gradient)?);
    let mut velocity = write("velocity", &velocity)?;
    let parameter = elements_mut("parameter", &mut parameter)?;
    let gradient = elements("gradient", &gradient)?;
    let velocity = elements_mut("velocity", &mut velocity)?;
    run(py, || optimizer::momentum(parameter, gradient, velocity, learning_rate, momentum))
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "Adam's own state and constants")]
pub fn adam_update(
    py: Python<'_>,
    parameter: Flat<'_>,
    gradient: Flat<'_>,
    first_moment: Flat<'_>,
    second_moment: Flat<'_>,
    step: u64,
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
) -> PyResult<()> {
    let (mut parameter, gradient) = (write("parameter", &parameter)?, read("gradient", &gradient)?);
    let mut first = write("first_moment", &first_moment)?;
    let mut second = write("second_moment", &second_moment)?;
    let parameter = elements_mut("parameter", &mut parameter)?;
    let gradient = elements("gradient", &gradient)?;
    let first = elements_mut("first_moment", &mut first)?;
    let second = elements_mut("second_moment", &mut second)?;
    let constants = optimizer::Adam { learning_rate, beta1, beta2, epsilon };
    run(py, || optimizer::adam(parameter, gradient, first, second, step, constants))
}
