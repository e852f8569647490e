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
        /// Input and output features, at least one of each.
        features: (usize, usize),
        /// (in_features, out_features), finite.
        weight: &'a [f32],
        /// (out_features).
        bias: &'a [f32],
        /// Whether a ReLU follows.
        relu: bool,
        /// (images, out_features).
        out: &'a mut [f32],
    },
}

/// What the first layer gets.
#[derive(Clone, Copy)]
pub enum Images<'a> {
    /// For a block.
    Bytes(&'a [u8]),
    /// For any layer.
    Floats(&'a [f32]),
}

/// Runs `layers` on `count` images; each fills the front of its output.
///
/// # Errors
/// A slice whose length does not fit the geometry or the layer before; bytes for a dense layer.
/// Nothing was written.
pub fn forward(count: usize, x: Images, layers: &mut [Layer]) -> Result<()> {
    let mut length = match (x, layers.first()) {
        (Images::Bytes(_), Some(Layer::Dense { .. })) => {
            return Err(KernelError::Bytes { argument: "x" });
        }
        (Images::Bytes(x), _) => x.len(),
        (Images::Floats(x), _) => x.len(),
    };
    for layer in &*layers {
        length = layer.check(count, length)?;
    }
    let (mut x, rest) = match (x, layers) {
        (Images::Bytes(x), [Layer::Block { geometry, weight, bias, out, winners }, rest @ ..]) => {
            (block(count, geometry, x, (weight, bias), out, winners), rest)
        }
        (Images::Floats(x), layers) => (x, layers),
        (Images::Bytes(_), _) => return Ok(()),
    };
    for layer in rest {
        x = match layer {
            Layer::Block { geometry, weight, bias, out, winners } => {
                block(count, geometry, x, (weight, bias), out, winners)
            }
            Layer::Dense { features, weight, bias, relu, out } => {
                let out = &mut out[..count * features.1];
                let kind = dense::Kind { relu: *relu, finite: true };
                dense::forward(x, weight, Some(bias), *features, kind, out);
                out
            }
        };
    }
    Ok(())
}

impl Layer<'_> {
    /// That the slices are long enough for `count` images that take `length` elements; returns how
    /// many elements the output has.
    fn check(&self, count: usize, length: usize) -> Result<usize> {
        match self {
            Layer::Block { geometry, weight, bias, out, winners } => {
                let size = |shape: [usize; 3]| count * shape.iter().product::<usize>();
                check_length("x", length, size(geometry.conv.input_shape()))?;
                let weights = geometry.conv.weight_shape().iter().product();
                check_length("weight", weight.len(), weights)?;
                check_length("bias", bias.len(), geometry.conv.out_channels)?;
                let output = size(geometry.pool.output_shape());
                check_room("out", out.len(), output)?;
                check_room("winners", winners.len(), output)?;
                Ok(output)
            }
            Layer::Dense { features: (inputs, outputs), weight, bias, out, .. } => {
                dense::check_features(*inputs, *outputs)?;
                check_length("x", length, count * inputs)?;
                check_length("weight", weight.len(), inputs * outputs)?;
                check_length("bias", bias.len(), *outputs)?;
                check_room("out", out.len(), count * outputs)?;
                Ok(count * outputs)
            }
        }
    }
}

fn check_room(argument: &'static str, got: usize, needed: usize) -> Result<()> {
    if got >= needed { Ok(()) } else { check_length(argument, got, needed) }
}

fn block<'a, T: Pixel>(
    count: usize,
    geometry: &BlockGeometry,
    x: &[T],
    (weight, bias): (&[f32], &[f32]),
    out: &'a mut [f32],
    winners: &mut [u8],
) -> &'a [f32] {
    let output = count * geometry.pool.output_shape().iter().product::<usize>();
    let (out, winners) = (&mut out[..output], &mut winners[..output]);
    conv::forward(geometry, x, weight, bias, out, winners);
    out
}
