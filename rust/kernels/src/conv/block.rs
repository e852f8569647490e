//! The block of the model: convolution of stride 1, bias, 2x2 max pool and what comes after it in
//! one pass, and its gradients from the pooled gradient alone.

use ndarray::{ArrayView1, ArrayView4, ArrayViewMut1, ArrayViewMut4};

use super::after::After;
use super::{Filters, Parameters, direct, input_gradient, weight_gradient, winograd};
use crate::error::Result;
use crate::geometry::BlockGeometry;
use crate::pixel::Pixel;
use crate::view::{batch_of, slice, slice_mut};

/// `out` is the largest of each 2x2 windows of the convolution of `x`, `after` which comes what that
/// says. `winners` is the place of that largest, `2 * row + column`, the first of equals; with a
/// ReLU [`OFF`] where the output is not positive. NaN beats every number.
///
/// `x` is (batch, height, width, in_channels), `weight` (kernel_h, kernel_w, in_channels,
/// out_channels), `bias` (out_channels), `out` and `winners` (batch, pooled_height, pooled_width,
/// out_channels).
///
/// # Errors
/// An array whose shape is not that of the geometry.
pub fn conv_pool<T: Pixel>(
    geometry: &BlockGeometry,
    x: ArrayView4<T>,
    weight: ArrayView4<f32>,
    bias: ArrayView1<f32>,
    after: After,
    mut out: ArrayViewMut4<f32>,
    mut winners: ArrayViewMut4<u8>,
) -> Result<()> {
    let BlockGeometry { conv, pool } = geometry;
    let batch = x.shape()[0];
    let x = slice("x", &x, &batch_of(batch, conv.input_shape()))?;
    let weight = slice("weight", &weight, &conv.weight_shape())?;
    let bias = slice("bias", &bias, &[conv.out_channels])?;
    let out = slice_mut("out", &mut out, &batch_of(batch, pool.output_shape()))?;
    let winners = slice_mut("winners", &mut winners, &batch_of(batch, pool.output_shape()))?;
    after.check(conv.out_channels)?;
    let mut parameters = Parameters { weight, bias, filters: &mut Filters::default() };
    forward(geometry, x, &mut parameters, after, out, winners);
    Ok(())
}

/// [`conv_pool`] on slices of the shapes of the geometry.
pub(crate) fn forward<T: Pixel>(
    geometry: &BlockGeometry,
    x: &[T],
    parameters: &mut Parameters,
    after: After,
    out: &mut [f32],
    winners: &mut [u8],
) {
    if winograd::suits(&geometry.conv) {
        winograd::conv_pool(geometry, x, parameters, after, out, winners);
    } else {
        let Parameters { weight, bias, .. } = *parameters;
        direct::conv_pool(geometry, x, weight, bias, after, out, winners);
    }
}

/// The gradients of [`conv_pool`]: overwrites `dx` (where asked for), `dweight` and `dbias`,
/// shaped as `x`, `weight` and `bias`, from `grad`, shaped as `out`, and the winners that forward
/// gave. `relu` says whether forward had the ReLU, which leaves about half of the windows without
/// gradient: it decides on the algorithm, not on what is computed. Where a pixel of `x` is not finite,
/// `dweight` may be NaN even if no live window holds it.
///
/// # Errors
/// An array whose shape is not that of the geometry.
#[allow(clippy::too_many_arguments, reason = "the arrays of one layer's backward pass")]
pub fn conv_pool_backward<T: Pixel>(
    geometry: &BlockGeometry,
    grad: ArrayView4<f32>,
    winners: ArrayView4<u8>,
    relu: bool,
    x: ArrayView4<T>,
    weight: ArrayView4<f32>,
    mut dx: Option<ArrayViewMut4<f32>>,
    mut dweight: ArrayViewMut4<f32>,
    mut dbias: ArrayViewMut1<f32>,
) -> Result<()> {
    let BlockGeometry { conv, pool } = geometry;
    let batch = x.shape()[0];
    let x = slice("x", &x, &batch_of(batch, conv.input_shape()))?;
    let grad = slice("grad", &grad, &batch_of(batch, pool.output_shape()))?;
    let winners = slice("winners", &winners, &batch_of(batch, pool.output_shape()))?;
    let weight = slice("weight", &weight, &conv.weight_shape())?;
    let dweight = slice_mut("dweight", &mut dweight, &conv.weight_shape())?;
    let dbias = slice_mut("dbias", &mut dbias, &[conv.out_channels])?;
    let dx = match &mut dx {
        Some(dx) => Some(slice_mut("dx", dx, &batch_of(batch, conv.input_shape()))?),
        None => None,
    };

    if !relu && winograd::serves(conv, true) {
        let grad = winograd::Grad::Pooled(grad, winners);
        let shape = pool.output_shape();
        winograd::backward(&winograd::Layer { conv, grad, shape, x, weight }, dx, dweight, dbias);
        return Ok(());
    }
    let pooled = Pooled { geometry, grad, winners };
    weight_gradient::overwrite(pooled, x, dweight, dbias);
    if let Some(dx) = dx {
        input_gradient::overwrite(pooled, weight, dx);
    }
    Ok(())
}

/// What both gradients start from: the pooled gradient of a batch and the winners of forward.
///
/// Of four outputs of the convolution only the winner carries gradient, and where the ReLU was off
/// not even that one does. So instead of spreading the gradient over a full-resolution map that is
/// at least 3/4 zeros, both gradients are summed over the *live* elements. This is exact: what is
/// left out is a product with zero, of numbers that are finite.
#[derive(Clone, Copy)]
pub(super) struct Pooled<'a> {
    pub geometry: &'a BlockGeometry,
    pub grad: &'a [f32],
    pub winners: &'a [u8],
}
