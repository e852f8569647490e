//! The convolution of a layer without the max pool of a block: the faster of `winograd` and
//! `general`.

use ndarray::{ArrayView4, ArrayViewMut1, ArrayViewMut4};

use super::{Parameters, general, winograd};
use crate::error::Result;
use crate::geometry::ConvGeometry;
use crate::pixel::Pixel;
use crate::view::{batch_of, slice, slice_mut};

/// As [`super::conv2d`], on slices of the shapes of the geometry.
pub(crate) fn forward<T: Pixel>(
    geometry: &ConvGeometry,
    x: &[T],
    parameters: &mut Parameters,
    out: &mut [f32],
) {
    if winograd::suits(geometry) {
        winograd::conv(geometry, x, parameters, out);
    } else {
        general::forward(geometry, x, parameters.weight, Some(parameters.bias), out);
    }
}

/// As [`super::conv2d_backward`].
///
/// # Errors
/// An array whose shape is not that of the geometry.
pub fn conv_backward<T: Pixel>(
    geometry: &ConvGeometry,
    grad: ArrayView4<f32>,
    x: ArrayView4<T>,
    weight: ArrayView4<f32>,
    mut dx: Option<ArrayViewMut4<f32>>,
    mut dweight: ArrayViewMut4<f32>,
    mut dbias: ArrayViewMut1<f32>,
) -> Result<()> {
    if !winograd::serves(geometry, false) {
        return general::conv2d_backward(geometry, grad, x, weight, dx, dweight, dbias);
    }
    let conv = geometry;
    let batch = x.shape()[0];
    let x = slice("x", &x, &batch_of(batch, conv.input_shape()))?;
    let shape = conv.output_shape();
    let grad = winograd::Grad::Whole(slice("grad", &grad, &batch_of(batch, shape))?);
    let weight = slice("weight", &weight, &conv.weight_shape())?;
    let dweight = slice_mut("dweight", &mut dweight, &conv.weight_shape())?;
    let dbias = slice_mut("dbias", &mut dbias, &[conv.out_channels])?;
    let dx = match &mut dx {
        Some(dx) => Some(slice_mut("dx", dx, &batch_of(batch, conv.input_shape()))?),
        None => None,
    };
    winograd::backward(&winograd::Layer { conv, grad, shape, x, weight }, dx, dweight, dbias);
    Ok(())
}
