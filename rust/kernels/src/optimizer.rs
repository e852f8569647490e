//! Updates of parameters, in place and in one pass. Slices of different lengths are an error.

use crate::error::Result;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::{chunks, chunks_mut, for_each};
use crate::view::check_length;

/// Elements that one task takes.
const BLOCK: usize = 1 << 14;

/// `parameter -= learning_rate * gradient`.
///
/// # Errors
/// Slices of different lengths.
pub fn sgd(parameter: &mut [f32], gradient: &[f32], learning_rate: f32) -> Result<()> {
    check_length("gradient", gradient.len(), parameter.len())?;
    let blocks = (chunks_mut(parameter, BLOCK), chunks(gradient, BLOCK));
    for_each(blocks, |_, (parameter, gradient)| {
        dispatch(Elementwise(
            #[inline(always)]
            || {
                for (w, &g) in parameter.iter_mut().zip(gradient) {
                    *w -= learning_rate * g;
                }
            },
        ));
    });
    Ok(())
}

/// `velocity = momentum * velocity + gradient; parameter -= learning_rate * velocity`
/// (Sutskever et al. 2013, in the form that deep-learning libraries use).
///
/// # Errors
/// Slices of different lengths.
pub fn momentum(
    parameter: &mut [f32],
    gradient: &[f32],
    velocity: &mut [f32],
    learning_rate: f32,
    momentum: f32,
) -> Result<()> {
    check_length("gradient", gradient.len(), parameter.len())?;
    check_length("velocity", velocity.len(), parameter.len())?;
    let blocks =
        (chunks_mut(parameter, BLOCK), chunks(gradient, BLOCK), chunks_mut(velocity, BLOCK));
    for_each(blocks, |_, (parameter, gradient, velocity)| {
        dispatch(Elementwise(
            #[inline(always)]
            || {
                for ((w, &g), v) in parameter.iter_mut().zip(gradient).zip(velocity) {
                    *v = momentum * *v + g;
                    *w -= learning_rate * *v;
                }
            },
        ));
    });
    Ok(())
}

/// The constants of [`adam`].
#[derive(Debug, Clone, Copy)]
pub struct Adam {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

/// One step of Adam (Kingma & Ba 2015, algorithm 1). `step` counts from 1.
///
/// `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;`
/// `w -= learning_rate * m / (1 - b1^step) / (sqrt(v / (1 - b2^step)) + epsilon)`.
///
/// # Errors
/// Slices of different lengths.
pub fn adam(
    parameter: &mut [f32],
    gradient: &[f32],
    first_moment: &mut [f32],
    second_moment: &mut [f32],
    step: u64,
    constants: Adam,
) -> Result<()> {
    check_length("gradient", gradient.len(), parameter.len())?;
    check_length("first_moment", first_moment.len(), parameter.len())?;
    check_length("second_moment", second_moment.len(), parameter.len())?;
    let power = |beta: f64| beta.powf(step as f64);
    let rate = (constants.learning_rate / (1.0 - power(constants.beta1))) as f32;
    let spread = (1.0 / (1.0 - power(constants.beta2)).sqrt()) as f32;
    let (keep1, take1) = (constants.beta1 as f32, (1.0 - constants.beta1) as f32);
    let (keep2, take2) = (constants.beta2 as f32, (1.0 - constants.beta2) as f32);
    let epsilon = constants.epsilon as f32;

    let blocks = (
        chunks_mut(parameter, BLOCK),
        chunks(gradient, BLOCK),
        chunks_mut(first_moment, BLOCK),
        chunks_mut(second_moment, BLOCK),
    );
    for_each(blocks, |_, (parameter, gradient, first, second)| {
        dispatch(Elementwise(
            #[inline(always)]
            || {
                let elements = parameter.iter_mut().zip(gradient).zip(first).zip(second);
                for (((w, &g), m), v) in elements {
                    *m = keep1 * *m + take1 * g;
                    *v = keep2 * *v + take2 * (g * g);
                    *w -= rate * *m / (v.sqrt() * spread + epsilon);
                }
            },
        ));
    });
    Ok(())
}

/// A loop that the compiler vectorises by itself, compiled for each instruction set. Plain
/// arithmetic is never fused by the compiler, so all sets give the same bits.
struct Elementwise<F>(F);

impl<F: FnOnce()> Kernel for Elementwise<F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        (self.0)();
    }
}
