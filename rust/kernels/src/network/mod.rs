//! Layers one after the other, in one call.

mod layer;

pub use layer::Layer;

use crate::activation;
use crate::batch_norm::{self, Moments};
use crate::conv;
use crate::dense;
use crate::dropout::dropout;
use crate::error::{KernelError, Result};
use crate::pixel::Pixel;
use crate::pool;

/// What the first layer gets.
#[derive(Clone, Copy)]
pub enum Images<'a> {
    /// For a convolution.
    Bytes(&'a [u8]),
    /// For any layer.
    Floats(&'a [f32]),
}

/// Runs `layers` on `count` images; each fills the front of its output.
///
/// # Errors
/// A slice whose length does not fit the geometry or the layer before; bytes for a layer that is
/// no convolution; a batch norm without images. Nothing was written.
pub fn forward(count: usize, x: Images, layers: &mut [Layer]) -> Result<()> {
    let mut length = match x {
        Images::Bytes(x) => x.len(),
        Images::Floats(x) => x.len(),
    };
    for layer in &*layers {
        length = layer.check(count, length)?;
    }
    let Some((first, rest)) = layers.split_first_mut() else { return Ok(()) };
    let takes_bytes = matches!(first, Layer::ConvPool { .. } | Layer::Conv { .. });
    if matches!(x, Images::Bytes(_)) && !takes_bytes {
        return Err(KernelError::Bytes { argument: "x" });
    }
    let mut x = match x {
        Images::Bytes(x) => convolve(first, count, x),
        Images::Floats(x) => run(first, count, x)?,
    };
    for layer in rest {
        x = run(layer, count, x)?;
    }
    Ok(())
}

/// Runs a layer that has been checked; returns its output.
fn run<'a>(layer: &'a mut Layer, count: usize, x: &[f32]) -> Result<&'a [f32]> {
    let size = count * layer.output();
    match layer {
        Layer::ConvPool { .. } | Layer::Conv { .. } => {
            return Ok(convolve(layer, count, x));
        }
        Layer::MaxPool { geometry, out, winners } => {
            pool::max_pool_forward(geometry, x, &mut out[..size], &mut winners[..size]);
        }
        Layer::AveragePool { geometry, out } => {
            pool::average_pool_forward(geometry, x, &mut out[..size]);
        }
        Layer::BatchNorm { norm, image, moments, out } => {
            let moments = Moments { mean: &mut *moments.mean, variance: &mut *moments.variance };
            batch_norm::batch_norm(*norm, *image, x, moments, &mut out[..size])?;
        }
        Layer::BatchNormInference { norm, image, moments, out } => {
            let moments = Moments { mean: moments.mean, variance: moments.variance };
            batch_norm::batch_norm_inference(*norm, *image, x, moments, &mut out[..size])?;
        }
        Layer::Activation { kind, out, .. } => {
            activation::activation(*kind, x, &mut out[..size])?;
        }
        Layer::Dropout { rate, key, image, channels, out } => {
            dropout(*rate, *key, *image, *channels, x, &mut out[..size])?;
        }
        Layer::Dense { features, weight, bias, relu, out } => {
            let kind = dense::Kind { relu: *relu, finite: true };
            dense::forward(x, weight, Some(bias), *features, kind, &mut out[..size]);
        }
    }
    Ok(&layer.out()[..size])
}

/// Runs a convolution, the kind of layer that takes bytes as well; others are left alone.
fn convolve<'a, T: Pixel>(layer: &'a mut Layer, count: usize, x: &[T]) -> &'a [f32] {
    let size = count * layer.output();
    match layer {
        Layer::ConvPool { geometry, parameters, after, out, winners } => {
            let (out, winners) = (&mut out[..size], &mut winners[..size]);
            conv::conv_pool_forward(geometry, x, parameters, *after, out, winners);
            out
        }
        Layer::Conv { geometry, parameters, out } => {
            let out = &mut out[..size];
            conv::conv_forward(geometry, x, parameters, out);
            out
        }
        _ => &[],
    }
}
