//! Optimiser updates, in place, and the norm of gradients.

use ferrocnn_kernels::dense::{dense_squared_norm, dense_update};
use ferrocnn_kernels::optimizer::{self, Adam, Lion, Rate, Rule, update};
use ferrocnn_kernels::squared_norm::squared_norm as of_array;
use ndarray::Ix2;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::arrays::{Array, Flat, elements, elements_mut, read, run, write};

/// A gradient: an array, or the pair (x, grad) whose product `x^T grad` it is.
#[derive(FromPyObject)]
pub enum Gradient<'py> {
    Product(Array<'py, f32, Ix2>, Array<'py, f32, Ix2>),
    Array(Flat<'py>),
}

/// One step of `rule`, for either kind of gradient.
fn step(
    py: Python<'_>,
    parameter: &Flat<'_>,
    gradient: &Gradient<'_>,
    rule: Rule<&mut [f32]>,
) -> PyResult<()> {
    match gradient {
        Gradient::Array(gradient) => {
            let (mut parameter, gradient) =
                (write("parameter", parameter)?, read("gradient", gradient)?);
            let parameter = elements_mut("parameter", &mut parameter)?;
            let gradient = elements("gradient", &gradient)?;
            run(py, || update(parameter, gradient, rule))
        }
        Gradient::Product(x, grad) => {
            let (x, grad) = (read("gradient", x)?, read("gradient", grad)?);
            let weight = parameter.cast::<numpy::PyArray2<f32>>();
            let weight = weight.map_err(|_| {
                PyTypeError::new_err("parameter: expected a matrix, as its gradient is a product")
            })?;
            let mut weight = write("parameter", weight)?;
            let (x, grad, weight) = (x.as_array(), grad.as_array(), weight.as_array_mut());
            run(py, || dense_update(grad, x, weight, rule))
        }
    }
}

#[pyfunction]
pub fn sgd_update(
    py: Python<'_>,
    parameter: Flat<'_>,
    gradient: Gradient<'_>,
    learning_rate: f64,
    weight_decay: f64,
) -> PyResult<()> {
    step(py, &parameter, &gradient, Rule::Sgd { rate: Rate::new(learning_rate, weight_decay) })
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the state and constants of the rule")]
pub fn momentum_update(
    py: Python<'_>,
    parameter: Flat<'_>,
    gradient: Gradient<'_>,
    velocity: Flat<'_>,
    learning_rate: f64,
    momentum: f32,
    nesterov: bool,
    weight_decay: f64,
) -> PyResult<()> {
    let mut velocity = write("velocity", &velocity)?;
    let velocity = elements_mut("velocity", &mut velocity)?;
    let rate = Rate::new(learning_rate, weight_decay);
    step(py, &parameter, &gradient, Rule::Momentum { rate, momentum, nesterov, velocity })
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the state and constants of the rule")]
pub fn adam_update(
    py: Python<'_>,
    parameter: Flat<'_>,
    gradient: Gradient<'_>,
    first_moment: Flat<'_>,
    second_moment: Flat<'_>,
    step: u64,
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
) -> PyResult<()> {
    let mut first = write("first_moment", &first_moment)?;
    let mut second = write("second_moment", &second_moment)?;
    let first_moment = elements_mut("first_moment", &mut first)?;
    let second_moment = elements_mut("second_moment", &mut second)?;
    let constants = Adam::new(step, (learning_rate, weight_decay), (beta1, beta2), epsilon);
    let rule = Rule::Adam { constants, first_moment, second_moment };
    self::step(py, &parameter, &gradient, rule)
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the state and constants of the rule")]
pub fn lion_update(
    py: Python<'_>,
    parameter: Flat<'_>,
    gradient: Gradient<'_>,
    moment: Flat<'_>,
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    weight_decay: f64,
) -> PyResult<()> {
    let mut moment = write("moment", &moment)?;
    let moment = elements_mut("moment", &mut moment)?;
    let constants = Lion::new(Rate::new(learning_rate, weight_decay), (beta1, beta2));
    step(py, &parameter, &gradient, Rule::Lion { constants, moment })
}

#[pyfunction]
pub fn average_update(
    py: Python<'_>,
    average: Flat<'_>,
    parameter: Flat<'_>,
    decay: f64,
) -> PyResult<()> {
    let (mut average, parameter) = (write("average", &average)?, read("parameter", &parameter)?);
    let average = elements_mut("average", &mut average)?;
    let parameter = elements("parameter", &parameter)?;
    run(py, || optimizer::average(average, parameter, decay))
}

/// The sum of the squares of a gradient of either kind.
#[pyfunction]
pub fn squared_norm(py: Python<'_>, gradient: Gradient<'_>) -> PyResult<f64> {
    match &gradient {
        Gradient::Array(gradient) => {
            let gradient = read("gradient", gradient)?;
            let gradient = elements("gradient", &gradient)?;
            run(py, || Ok(of_array(gradient)))
        }
        Gradient::Product(x, grad) => {
            let (x, grad) = (read("gradient", x)?, read("gradient", grad)?);
            let (x, grad) = (x.as_array(), grad.as_array());
            run(py, || dense_squared_norm(grad, x))
        }
    }
}
