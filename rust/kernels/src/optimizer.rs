//! Updates of parameters, in place and in one pass.

use crate::error::Result;
use crate::simd::elementwise;
use crate::threads::{ChunksMut, Parts, chunks, chunks_mut, for_each};
use crate::view::check_length;

/// Elements that one task takes.
const BLOCK: usize = 1 << 14;

/// How far a step goes, and how much of the weights it takes away.
///
/// Every rule ends with `w -= learning_rate * direction + learning_rate * weight_decay * w`, where
/// the direction is its own: weight decay that is decoupled from the gradient (Loshchilov and
/// Hutter 2019). The two terms are added first, so that decay too small to change the weight by
/// itself is not lost. Without decay the bits are those of `w -= learning_rate * direction`.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub(crate) step: f32,
    pub(crate) decay: f32,
}

impl Rate {
    /// `weight_decay` is 0 for parameters that are not to shrink.
    pub fn new(learning_rate: f64, weight_decay: f64) -> Self {
        Self { step: learning_rate as f32, decay: (learning_rate * weight_decay) as f32 }
    }

    #[inline(always)]
    pub(crate) fn descend(self, w: &mut f32, direction: f32) {
        *w -= self.step * direction + self.decay * *w;
    }
}

/// A rule that moves parameters against their gradient, and its state, of the parameters' length.
#[derive(Debug)]
pub enum Rule<S> {
    /// Along `g`.
    Sgd {
        /// Step size and decay.
        rate: Rate,
    },
    /// `velocity = momentum * velocity + g`, then along the velocity (Sutskever et al. 2013, in the
    /// form that deep-learning libraries use).
    Momentum {
        /// Step size and decay.
        rate: Rate,
        /// Decay of the velocity.
        momentum: f32,
        /// Along `g + momentum * velocity` instead: the velocity after the next step, were the
        /// gradient the same.
        nesterov: bool,
        /// Zero at first.
        velocity: S,
    },
    /// Kingma and Ba 2015, algorithm 1:
    /// `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;` then along
    /// `m / (1 - b1^step) / (sqrt(v / (1 - b2^step)) + epsilon)`.
    Adam {
        /// The constants of the step.
        constants: Adam,
        /// m, zero at first.
        first_moment: S,
        /// v, zero at first.
        second_moment: S,
    },
    /// Chen et al. 2023, "Symbolic discovery of optimization algorithms": along
    /// `sign(b1 m + (1 - b1) g)`, then `m = b2 m + (1 - b2) g`.
    Lion {
        /// The constants of the step.
        constants: Lion,
        /// m, zero at first.
        moment: S,
    },
}

/// The constants of one step of [`Rule::Adam`].
#[derive(Debug, Clone, Copy)]
pub struct Adam {
    rate: Rate,
    spread: f32,
    keep: (f32, f32),
    take: (f32, f32),
    epsilon: f32,
}

impl Adam {
    /// Those of step number `step`, counted from 1.
    pub fn new(
        step: u64,
        (learning_rate, weight_decay): (f64, f64),
        betas: (f64, f64),
        epsilon: f64,
    ) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        let Rate { decay, .. } = Rate::new(learning_rate, weight_decay);
        Self {
            rate: Rate { step: (learning_rate / correction(betas.0)) as f32, decay },
            spread: (1.0 / correction(betas.1).sqrt()) as f32,
            keep: (betas.0 as f32, betas.1 as f32),
            take: ((1.0 - betas.0) as f32, (1.0 - betas.1) as f32),
            epsilon: epsilon as f32,
        }
    }
}

/// The constants of [`Rule::Lion`].
#[derive(Debug, Clone, Copy)]
pub struct Lion {
    rate: Rate,
    keep: (f32, f32),
    take: (f32, f32),
}

impl Lion {
    /// Those of every step at this rate.
    pub fn new(rate: Rate, betas: (f64, f64)) -> Self {
        Self {
            rate,
            keep: (betas.0 as f32, betas.1 as f32),
            take: ((1.0 - betas.0) as f32, (1.0 - betas.1) as f32),
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
            Rule::Lion { moment, .. } => check_length("moment", moment.len(), length),
        }
    }

    /// The rule for each piece of `size` parameters.
    pub(crate) fn chunks(self, size: usize) -> Rule<ChunksMut<'a, f32>> {
        match self {
            Rule::Sgd { rate } => Rule::Sgd { rate },
            Rule::Momentum { rate, momentum, nesterov, velocity } => {
                let velocity = chunks_mut(velocity, size);
                Rule::Momentum { rate, momentum, nesterov, velocity }
            }
            Rule::Adam { constants, first_moment, second_moment } => Rule::Adam {
                constants,
                first_moment: chunks_mut(first_moment, size),
                second_moment: chunks_mut(second_moment, size),
            },
            Rule::Lion { constants, moment } => {
                Rule::Lion { constants, moment: chunks_mut(moment, size) }
            }
        }
    }

    /// Takes one step. All slices have one length.
    pub(crate) fn apply(self, parameter: &mut [f32], gradient: &[f32]) {
        let elements = parameter.iter_mut().zip(gradient);
        match self {
            Rule::Sgd { rate } => elementwise(
                #[inline(always)]
                || {
                    for (w, &g) in elements {
                        rate.descend(w, g);
                    }
                },
            ),
            Rule::Momentum { rate, momentum, nesterov: false, velocity } => elementwise(
                #[inline(always)]
                || {
                    for ((w, &g), v) in elements.zip(velocity) {
                        *v = momentum * *v + g;
                        rate.descend(w, *v);
                    }
                },
            ),
            Rule::Momentum { rate, momentum, nesterov: true, velocity } => elementwise(
                #[inline(always)]
                || {
                    for ((w, &g), v) in elements.zip(velocity) {
                        *v = momentum * *v + g;
                        rate.descend(w, g + momentum * *v);
                    }
                },
            ),
            Rule::Adam { constants, first_moment, second_moment } => elementwise(
                #[inline(always)]
                || {
                    let Adam { rate, spread, keep, take, epsilon } = constants;
                    for (((w, &g), m), v) in elements.zip(first_moment).zip(second_moment) {
                        *m = keep.0 * *m + take.0 * g;
                        *v = keep.1 * *v + take.1 * (g * g);
                        *w -= rate.step * *m / (v.sqrt() * spread + epsilon) + rate.decay * *w;
                    }
                },
            ),
            Rule::Lion { constants, moment } => elementwise(
                #[inline(always)]
                || {
                    let Lion { rate, keep, take } = constants;
                    for ((w, &g), m) in elements.zip(moment) {
                        let mean = keep.0 * *m + take.0 * g;
                        *m = keep.1 * *m + take.1 * g;
                        // `signum` makes something of zero.
                        let sign = if mean == 0.0 { 0.0 } else { mean.signum() };
                        rate.descend(w, sign);
                    }
                },
            ),
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
            Rule::Lion { moment, .. } => moment.count(),
        }
    }

    // SAFETY: what the trait asks of the caller.
    unsafe fn part(&self, index: usize) -> Rule<&'a mut [f32]> {
        // SAFETY: the caller's promise, handed on.
        unsafe {
            match *self {
                Rule::Sgd { rate } => Rule::Sgd { rate },
                Rule::Momentum { rate, momentum, nesterov, ref velocity } => {
                    let velocity = velocity.part(index);
                    Rule::Momentum { rate, momentum, nesterov, velocity }
                }
                Rule::Adam { constants, ref first_moment, ref second_moment } => Rule::Adam {
                    constants,
                    first_moment: first_moment.part(index),
                    second_moment: second_moment.part(index),
                },
                Rule::Lion { constants, ref moment } => {
                    Rule::Lion { constants, moment: moment.part(index) }
                }
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

/// One step of an exponential moving average: `average += (1 - decay) * (parameter - average)`.
///
/// # Errors
/// Arrays of two lengths.
pub fn average(average: &mut [f32], parameter: &[f32], decay: f64) -> Result<()> {
    check_length("parameter", parameter.len(), average.len())?;
    let take = (1.0 - decay) as f32;
    let blocks = (chunks_mut(average, BLOCK), chunks(parameter, BLOCK));
    for_each(blocks, |_, (average, parameter)| {
        elementwise(
            #[inline(always)]
            || {
                for (a, &p) in average.iter_mut().zip(parameter) {
                    *a += take * (p - *a);
                }
            },
        );
    });
    Ok(())
}
