//! Dense (fully connected, affine) layers.

mod dots;
mod forward;
mod input_gradient;
mod weight_gradient;

pub(crate) use forward::{Kind, overwrite as forward};
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};

use crate::error::{KernelError, Result};
use crate::optimizer::Rule;
use crate::sums::add;
use crate::view::{slice, slice_mut};
use weight_gradient::Factors;

/// `out = x weight + bias`, or the ReLU of that.
///
/// `x` is (batch, in_features), `weight` (in_features, out_features), `bias` (out_features),
/// `out` (batch, out_features).
///
/// # Errors
/// Shapes that do not fit each other; no features.
pub fn dense(
    x: ArrayView2<f32>,
    weight: ArrayView2<f32>,
    bias: Option<ArrayView1<f32>>,
    relu: bool,
    mut out: ArrayViewMut2<f32>,
) -> Result<()> {
    let (inputs, outputs) = features(&weight)?;
    let batch = x.nrows();
    let x = slice("x", &x, &[batch, inputs])?;
    let weight = slice("weight", &weight, &[inputs, outputs])?;
    let bias = match &bias {
        Some(bias) => Some(slice("bias", bias, &[outputs])?),
        None => None,
    };
    let out = slice_mut("out", &mut out, &[batch, outputs])?;
    forward(x, weight, bias, (inputs, outputs), Kind { relu, finite: false }, out);
    Ok(())
}

/// The gradients of [`dense`] but for that of the weights: overwrites `dx` (where asked for) and
/// `dbias`, shaped as `x` and `bias`, from `grad`, shaped as `out`. `rectified` is `x` where a ReLU
/// made it: as that passes nothing on where `x` is zero, `dx` may be zero there, whatever the gradient.
///
/// # Errors
/// Shapes that do not fit each other; no features.
pub fn dense_backward(
    grad: ArrayView2<f32>,
    weight: ArrayView2<f32>,
    rectified: Option<ArrayView2<f32>>,
    mut dx: Option<ArrayViewMut2<f32>>,
    mut dbias: ArrayViewMut1<f32>,
) -> Result<()> {
    let (inputs, outputs) = features(&weight)?;
    let batch = grad.nrows();
    let grad = slice("grad", &grad, &[batch, outputs])?;
    let weight = slice("weight", &weight, &[inputs, outputs])?;
    let dbias = slice_mut("dbias", &mut dbias, &[outputs])?;
    let dx = match &mut dx {
        Some(dx) => Some(slice_mut("dx", dx, &[batch, inputs])?),
        None => None,
    };
    let rectified = match &rectified {
        Some(x) => Some(slice("rectified", x, &[batch, inputs])?),
        None => None,
    };

    dbias.fill(0.0);
    for row in grad.chunks_exact(outputs) {
        add(dbias, row);
    }
    if let Some(dx) = dx {
        input_gradient::overwrite(grad, weight, rectified, (inputs, outputs), dx);
    }
    Ok(())
}

/// The gradient of the weights of [`dense`]: overwrites `dweight` with `x^T grad`.
///
/// # Errors
/// Shapes that do not fit each other; no features.
pub fn dense_weight_gradient(
    grad: ArrayView2<f32>,
    x: ArrayView2<f32>,
    mut dweight: ArrayViewMut2<f32>,
) -> Result<()> {
    let (inputs, outputs) = features(&dweight.view())?;
    let batch = x.nrows();
    let x = slice("x", &x, &[batch, inputs])?;
    let grad = slice("grad", &grad, &[batch, outputs])?;
    let dweight = slice_mut("dweight", &mut dweight, &[inputs, outputs])?;
    Factors::new(grad, x, (inputs, outputs)).overwrite(dweight);
    Ok(())
}

/// The sum of the squares of the gradient of the weights, `x^T grad`, in float64 and in an order that
/// depends on the shapes alone. The gradient is never stored as a whole.
///
/// # Errors
/// Shapes that do not fit each other; no features.
pub fn dense_squared_norm(grad: ArrayView2<f32>, x: ArrayView2<f32>) -> Result<f64> {
    let (batch, inputs) = x.dim();
    let outputs = grad.ncols();
    check_features(inputs, outputs)?;
    let x = slice("x", &x, &[batch, inputs])?;
    let grad = slice("grad", &grad, &[batch, outputs])?;
    Ok(Factors::new(grad, x, (inputs, outputs)).squared_norm())
}

/// One step of `rule` on `weight` along its gradient `x^T grad`, which is never stored as a whole:
/// the same bits as [`dense_weight_gradient`] and [`crate::optimizer::update`] one after the other.
///
/// # Errors
/// Shapes that do not fit each other; no features; a state of the rule of another length.
pub fn dense_update(
    grad: ArrayView2<f32>,
    x: ArrayView2<f32>,
    mut weight: ArrayViewMut2<f32>,
    rule: Rule<&mut [f32]>,
) -> Result<()> {
    let (inputs, outputs) = features(&weight.view())?;
    let batch = x.nrows();
    let x = slice("x", &x, &[batch, inputs])?;
    let grad = slice("grad", &grad, &[batch, outputs])?;
    let weight = slice_mut("weight", &mut weight, &[inputs, outputs])?;
    rule.check(weight.len())?;
    Factors::new(grad, x, (inputs, outputs)).update(weight, rule);
    Ok(())
}

fn features(weight: &ArrayView2<f32>) -> Result<(usize, usize)> {
    let (inputs, outputs) = weight.dim();
    check_features(inputs, outputs)?;
    Ok((inputs, outputs))
}

pub(crate) fn check_features(inputs: usize, outputs: usize) -> Result<()> {
    match (inputs, outputs) {
        (0, _) => Err(KernelError::Zero { argument: "in_features" }),
        (_, 0) => Err(KernelError::Zero { argument: "out_features" }),
        // A single image lists its inputs with 32 bits each.
        _ if u32::try_from(inputs).is_err() => {
            Err(KernelError::TooLarge { argument: "in_features", got: inputs })
        }
        _ => Ok(()),
    }
}
