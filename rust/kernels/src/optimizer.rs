//! Updates of parameters, in place and in one pass.

use crate::error::Result;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::{ChunksMut, Parts, chunks, chunks_mut, for_each};
use crate::view::check_length;

/// Elements that one task takes.
const BLOCK: usize = 1 << 14;

/// A rule that moves parameters against their gradient, and its state, of the parameters' length.
#[derive(Debug)]
pub enum Rule<S> {
    /// `w -= learning_rate * g`.
    Sgd {
        /// Step size.
        learning_rate: f32,
    },
    /// `velocity = momentum * velocity + g; w -= learning_rate * velocity` (Sutskever et al. 2013,
    /// in the form that deep-learning libraries use).
    Momentum {
        /// Step size.
        learning_rate: f32,
        /// Decay of the velocity.
        momentum: f32,
        /// Zero at first.
        velocity: S,
    },
    /// Kingma and Ba 2015, algorithm 1:
    /// `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;`
    /// `w -= learning_rate * m / (1 - b1^step) / (sqrt(v / (1 - b2^step)) + epsilon)`.
    Adam {
        /// The constants of the step.
        constants: Adam,
        /// m, zero at first.
        first_moment: S,
        /// v, zero at first.
        second_moment: S,
    },
}

/// The constants of one step of [`Rule::Adam`].
#[derive(Debug, Clone, Copy)]
pub struct Adam {
    rate: f32,
    spread: f32,
    keep: (f32, f32),
    take: (f32, f32),
    epsilon: f32,
}

impl Adam {
    /// Those of step number `step`, counted from 1.
    pub fn new(step: u64, learning_rate: f64, betas: (f64, f64), epsilon: f64) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        Self {
            rate: (learning_rate / correction(betas.0)) as f32,
            spread: (1.0 / correction(betas.1).sqrt()) as f32,
            keep: (betas.0 as f32, betas.1 as f32),
            take: ((1.0 - betas.0) as f32, (1.0 - betas.1) as f32),
            epsilon: epsilon as f32,
        }
    }
}

impl<'a> Rule<&'a mut [f32]> {
    /// That the state fits `length` parameters.
    pub(crate) fn check(&self, length: usize) -> Result<()> {
        match self {
            Rule::Sgd { .. } => Ok(()),
            Rule::Momentum { velocity, .. } => check_length("velocity", velocity.len(), length),
            Rule::Adam { first_moment, second_moment, .. } => {
                check_length("first_moment", first_moment.len(), length)?;
                check_length("second_moment", second_moment.len(), length)
            }
        }
    }

    /// The rule for each piece of `size` parameters.
    pub(crate) fn chunks(self, size: usize) -> Rule<ChunksMut<'a, f32>> {
        match self {
            Rule::Sgd { learning_rate } => Rule::Sgd { learning_rate },
            Rule::Momentum { learning_rate, momentum, velocity } => {
                Rule::Momentum { learning_rate, momentum, velocity: chunks_mut(velocity, size) }
            }
            Rule::Adam { constants, first_moment, second_moment } => Rule::Adam {
                constants,
                first_moment: chunks_mut(first_moment, size),
                second_moment: chunks_mut(second_moment, size),
            },
        }
    }

    /// Takes one step. All slices have one length.
    pub(crate) fn apply(self, parameter: &mut [f32], gradient: &[f32]) {
        let elements = parameter.iter_mut().zip(gradient);
        match self {
            Rule::Sgd { learning_rate } => dispatch(Elementwise(
                #[inline(always)]
                || {
                    for (w, &g) in elements {
                        *w -= learning_rate * g;
                    }
                },
            )),
            Rule::Momentum { learning_rate, momentum, velocity } => dispatch(Elementwise(
                #[inline(always)]
                || {
                    for ((w, &g), v) in elements.zip(velocity) {
                        *v = momentum * *v + g;
                        *w -= learning_rate * *v;
                    }
                },
            )),
            Rule::Adam { constants, first_moment, second_moment } => dispatch(Elementwise(
                #[inline(always)]
                || {
                    let Adam { rate, spread, keep, take, epsilon } = constants;
                    for (((w, &g), m), v) in elements.zip(first_moment).zip(second_moment) {
                        *m = keep.0 * *m + take.0 * g;
                        *v = keep.1 * *v + take.1 * (g * g);
                        *w -= rate * *m / (v.sqrt() * spread + epsilon);
                    }
                },
            )),
        }
    }
}

// SAFETY: the parts of the state do not overlap.
unsafe impl<'a> Parts for Rule<ChunksMut<'a, f32>> {
    type Part = Rule<&'a mut [f32]>;

    fn count(&self) -> Option<usize> {
        match self {
            Rule::Sgd { .. } => None,
            Rule::Momentum { velocity, .. } => velocity.count(),
            Rule::Adam { first_moment, second_moment, .. } => {
                assert_eq!(first_moment.count(), second_moment.count());
                first_moment.count()
            }
        }
    }

    unsafe fn part(&self, index: usize) -> Rule<&'a mut [f32]> {
        // SAFETY: the caller's promise, handed on.
        unsafe {
            match *self {
                Rule::Sgd { learning_rate } => Rule::Sgd { learning_rate },
                Rule::Momentum { learning_rate, momentum, ref velocity } => {
                    Rule::Momentum { learning_rate, momentum, velocity: velocity.part(index) }
                }
                Rule::Adam { constants, ref first_moment, ref second_moment } => Rule::Adam {
                    constants,
                    first_moment: first_moment.part(index),
                    second_moment: second_moment.part(index),
                },
            }
        }
    }
}

/// One step of `rule`.
///
/// # Errors
/// A gradient or a state of another length than the parameters.
pub fn update(parameter: &mut [f32], gradient: &[f32], rule: Rule<&mut [f32]>) -> Result<()> {
    check_length("gradient", gradient.len(), parameter.len())?;
    rule.check(parameter.len())?;
    let blocks = (chunks_mut(parameter, BLOCK), chunks(gradient, BLOCK), rule.chunks(BLOCK));
    for_each(blocks, |_, (parameter, gradient, rule)| rule.apply(parameter, gradient));
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
