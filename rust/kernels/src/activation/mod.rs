//! Activations, element by element, and their gradients.

mod functions;
mod softmax;

pub(crate) use functions::sigmoid as sigmoid_of;
pub(crate) use softmax::Row;
pub use softmax::softmax;

use crate::error::Result;
use crate::simd::elementwise;
use crate::threads::{chunks, chunks_mut, for_each};
use crate::view::check_length;

/// Elements that one task takes.
const BLOCK: usize = 1 << 14;

/// An activation by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x`, below zero 0.01 x (Maas et al. 2013).
    LeakyRelu,
    /// `x`, below zero exp(x) - 1 (Clevert et al. 2016).
    Elu,
    /// `x P(N <= x)` for a standard normal N (Hendrycks and Gimpel 2016).
    Gelu,
    /// `x sigmoid(x)` (Ramachandran et al. 2017).
    Silu,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

/// Runs `$body` with `$function` and `$slope` those of the activation.
macro_rules! with_function {
    ($activation:expr, ($function:ident, $slope:ident) => $body:expr) => {
        match $activation {
            Activation::Identity => {}
            Activation::Relu => with_function!(@ relu, relu_slope, $function, $slope, $body),
            Activation::LeakyRelu => {
                with_function!(@ leaky_relu, leaky_relu_slope, $function, $slope, $body)
            }
            Activation::Elu => with_function!(@ elu, elu_slope, $function, $slope, $body),
            Activation::Gelu => with_function!(@ gelu, gelu_slope, $function, $slope, $body),
            Activation::Silu => with_function!(@ silu, silu_slope, $function, $slope, $body),
            Activation::Tanh => with_function!(@ tanh, tanh_slope, $function, $slope, $body),
            Activation::Sigmoid => with_function!(@ sigmoid, sigmoid_slope, $function, $slope, $body),
        }
    };
    (@ $f:ident, $s:ident, $function:ident, $slope:ident, $body:expr) => {{
        #[allow(unused_imports, reason = "forward needs no slope, backward no function")]
        use functions::{$f as $function, $s as $slope};
        $body
    }};
}

impl Activation {
    /// Every activation and its name.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("identity", Self::Identity),
        ("relu", Self::Relu),
        ("leaky_relu", Self::LeakyRelu),
        ("elu", Self::Elu),
        ("gelu", Self::Gelu),
        ("silu", Self::Silu),
        ("tanh", Self::Tanh),
        ("sigmoid", Self::Sigmoid),
    ];

    /// In place, on one thread.
    pub(crate) fn apply(self, x: &mut [f32]) {
        with_function!(self, (function, _slope) => elementwise(
            #[inline(always)]
            || {
                for value in x {
                    *value = function(*value);
                }
            },
        ));
    }

    /// Multiplies `grad` with the derivative at `x`, the input of forward, on one thread.
    pub(crate) fn apply_backward(self, grad: &mut [f32], x: &[f32]) {
        if self == Self::Relu {
            return relu_backward_of(grad, x);
        }
        with_function!(self, (_function, slope) => elementwise(
            #[inline(always)]
            || {
                for (grad, &x) in grad.iter_mut().zip(x) {
                    *grad *= slope(x);
                }
            },
        ));
    }
}

/// `out` is the activation of `x`.
///
/// # Errors
/// Slices of different lengths.
pub fn activation(kind: Activation, x: &[f32], out: &mut [f32]) -> Result<()> {
    check_length("out", out.len(), x.len())?;
    for_each((chunks_mut(out, BLOCK), chunks(x, BLOCK)), |_, (out, x)| {
        out.copy_from_slice(x);
        kind.apply(out);
    });
    Ok(())
}

/// The gradient of [`activation`]: multiplies `grad` with the derivative at `x`.
///
/// # Errors
/// Slices of different lengths.
pub fn activation_backward(kind: Activation, grad: &mut [f32], x: &[f32]) -> Result<()> {
    check_length("grad", grad.len(), x.len())?;
    for_each((chunks_mut(grad, BLOCK), chunks(x, BLOCK)), |_, (grad, x)| {
        kind.apply_backward(grad, x);
    });
    Ok(())
}

/// `x = max(x, 0)`; NaN stays NaN.
pub fn relu(x: &mut [f32]) {
    for_each(chunks_mut(x, BLOCK), |_, block| Activation::Relu.apply(block));
}

#[inline(always)]
pub(crate) fn relu_of(value: &mut f32) {
    *value = functions::relu(*value);
}

/// The gradient of [`relu`]: zeros `grad` where `y`, the output (or input) of forward, is not
/// positive.
///
/// # Errors
/// Slices of different lengths.
pub fn relu_backward(grad: &mut [f32], y: &[f32]) -> Result<()> {
    activation_backward(Activation::Relu, grad, y)
}

fn relu_backward_of(grad: &mut [f32], y: &[f32]) {
    elementwise(
        #[inline(always)]
        || {
            for (grad, &y) in grad.iter_mut().zip(y) {
                *grad = if y > 0.0 { *grad } else { 0.0 };
            }
        },
    );
}

/// `1 / (1 + exp(-x))`, without overflow for any x.
pub fn sigmoid(x: &mut [f32]) {
    Activation::Sigmoid.apply(x);
}
