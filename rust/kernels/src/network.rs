//! Layers one after the other, in one call.

use crate::conv;
use crate::dense;
use crate::error::{KernelError, Result};
use crate::geometry::BlockGeometry;
use crate::pixel::Pixel;
use crate::view::check_length;

/// A layer, and where its output goes: room for as many images as are ever given at a time.
pub enum Layer<'a> {
    /// [`conv::conv_pool_relu`].
    Block {
        /// Of the layer.
        geometry: &'a BlockGeometry,
        /// (kernel_h, kernel_w, in_channels, out_channels).
        weight: &'a [f32],
        /// (out_channels).
        bias: &'a [f32],
        /// (images, pooled_height, pooled_width, out_channels).
        out: &'a mut [f32],
        /// As `out`.
        winners: &'a mut [u8],
    },
    /// [`dense::dense`].
    Dense {
        /// (in_features, out_features).
        weight: &'a [f32],
        /// (out_features).
        bias: &'a [f32],
        /// Whether a ReLU follows.
        relu: bool,
        /// (images, out_features).
        out: &'a mut [f32],
    },
}

/// Runs `layers` on `count` images; each fills the front of its output. Bytes are taken by blocks
/// alone.
///
/// # Errors
/// A slice whose length does not fit the geometry or the layer before.
pub fn forward<'a, T: Pixel>(
    count: usize,
    x: &[T],
    layers: impl IntoIterator<Item = Layer<'a>>,
) -> Result<()> {
    let mut layers = layers.into_iter();
    let mut x: &[f32] = match layers.next() {
        None => return Ok(()),
        Some(Layer::Block { geometry, weight, bias, out, winners }) => {
            block(count, geometry, x, (weight, bias), out, winners)?
        }
        Some(layer) => run(count, T::floats(x).unwrap_or(&[]), layer)?,
    };
    for layer in layers {
        x = run(count, x, layer)?;
    }
    Ok(())
}

fn run<'a>(count: usize, x: &[f32], layer: Layer<'a>) -> Result<&'a [f32]> {
    match layer {
        Layer::Block { geometry, weight, bias, out, winners } => {
            block(count, geometry, x, (weight, bias), out, winners)
        }
        Layer::Dense { weight, bias, relu, out } => {
            let (inputs, outputs) = (x.len() / count.max(1), bias.len());
            check_length("weight", weight.len(), inputs * outputs)?;
            let out = front("out", out, count * outputs)?;
            if count > 0 {
                dense::forward(x, weight, Some(bias), (inputs, outputs), relu, out);
            }
            Ok(out)
        }
    }
}

fn block<'a, T: Pixel>(
    count: usize,
    geometry: &BlockGeometry,
    x: &[T],
    (weight, bias): (&[f32], &[f32]),
    out: &'a mut [f32],
    winners: &mut [u8],
) -> Result<&'a [f32]> {
    let size = |shape: [usize; 3]| count * shape.iter().product::<usize>();
    check_length("x", x.len(), size(geometry.conv.input_shape()))?;
    check_length("weight", weight.len(), geometry.conv.weight_shape().iter().product())?;
    check_length("bias", bias.len(), geometry.conv.out_channels)?;
    let output = size(geometry.pool.output_shape());
    let (out, winners) = (front("out", out, output)?, front("winners", winners, output)?);
    conv::forward(geometry, x, weight, bias, out, winners);
    Ok(out)
}

/// The first `length` elements.
fn front<'a, T>(argument: &'static str, slice: &'a mut [T], length: usize) -> Result<&'a mut [T]> {
    let got = slice.len();
    slice.get_mut(..length).ok_or_else(|| KernelError::Shape {
        argument,
        expected: vec![length],
        got: vec![got],
    })
}
