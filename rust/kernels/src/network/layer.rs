//! The layers of a network, and the lengths that their slices must have.

use crate::activation::Activation;
use crate::batch_norm::{BatchNorm, Moments};
use crate::conv::{self, After};
use crate::dense;
use crate::error::{KernelError, Result};
use crate::geometry::{BlockGeometry, ConvGeometry, PoolGeometry};
use crate::pool;
use crate::view::check_length;

/// A layer, and where its output goes: room for as many images as are ever given at a time.
pub enum Layer<'a> {
    /// [`crate::conv::conv_pool`].
    ConvPool {
        /// Of the layer.
        geometry: &'a BlockGeometry,
        /// Of the layer.
        parameters: conv::Parameters<'a>,
        /// What comes after the pool.
        after: After<'a>,
        /// (images, pooled_height, pooled_width, out_channels).
        out: &'a mut [f32],
        /// As `out`.
        winners: &'a mut [u8],
    },
    /// [`crate::conv::conv2d`].
    Conv {
        /// Of the layer.
        geometry: &'a ConvGeometry,
        /// Of the layer.
        parameters: conv::Parameters<'a>,
        /// (images, height, width, out_channels).
        out: &'a mut [f32],
    },
    /// [`crate::pool::max_pool`].
    MaxPool {
        /// Of the layer.
        geometry: &'a PoolGeometry,
        /// (images, height, width, channels).
        out: &'a mut [f32],
        /// As `out`.
        winners: &'a mut [u8],
    },
    /// [`crate::pool::average_pool`].
    AveragePool {
        /// Of the layer.
        geometry: &'a PoolGeometry,
        /// (images, height, width, channels).
        out: &'a mut [f32],
    },
    /// [`crate::batch_norm::batch_norm`].
    BatchNorm {
        /// Of the layer.
        norm: BatchNorm<'a>,
        /// Elements of an image.
        image: usize,
        /// Those of the batch, (channels) each.
        moments: Moments<&'a mut [f32]>,
        /// As the input.
        out: &'a mut [f32],
    },
    /// [`crate::batch_norm::batch_norm_inference`].
    BatchNormInference {
        /// Of the layer.
        norm: BatchNorm<'a>,
        /// Elements of an image.
        image: usize,
        /// (channels) each.
        moments: Moments<&'a [f32]>,
        /// As the input.
        out: &'a mut [f32],
    },
    /// [`crate::activation::activation`].
    Activation {
        /// Which.
        kind: Activation,
        /// Elements of an image.
        image: usize,
        /// As the input.
        out: &'a mut [f32],
    },
    /// [`crate::dropout::dropout`].
    Dropout {
        /// The probability of a zero, at least 0 and below 1.
        rate: f32,
        /// What is drawn.
        key: u64,
        /// Elements of an image.
        image: usize,
        /// Where whole channels are drawn, their number.
        channels: Option<usize>,
        /// As the input.
        out: &'a mut [f32],
    },
    /// [`crate::dense::dense`].
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

impl Layer<'_> {
    /// Elements of an image that goes in.
    fn input(&self) -> usize {
        match self {
            Layer::ConvPool { geometry, .. } => geometry.conv.input_shape().iter().product(),
            Layer::Conv { geometry, .. } => geometry.input_shape().iter().product(),
            Layer::MaxPool { geometry, .. } | Layer::AveragePool { geometry, .. } => {
                geometry.input_shape().iter().product()
            }
            Layer::BatchNorm { image, .. }
            | Layer::BatchNormInference { image, .. }
            | Layer::Activation { image, .. }
            | Layer::Dropout { image, .. } => *image,
            Layer::Dense { features, .. } => features.0,
        }
    }

    /// Elements of an image that comes out.
    pub(super) fn output(&self) -> usize {
        match self {
            Layer::ConvPool { geometry, .. } => geometry.pool.output_shape().iter().product(),
            Layer::Conv { geometry, .. } => geometry.output_shape().iter().product(),
            Layer::MaxPool { geometry, .. } | Layer::AveragePool { geometry, .. } => {
                geometry.output_shape().iter().product()
            }
            Layer::Dense { features, .. } => features.1,
            _ => self.input(),
        }
    }

    pub(super) fn out(&self) -> &[f32] {
        match self {
            Layer::ConvPool { out, .. }
            | Layer::Conv { out, .. }
            | Layer::MaxPool { out, .. }
            | Layer::AveragePool { out, .. }
            | Layer::BatchNorm { out, .. }
            | Layer::BatchNormInference { out, .. }
            | Layer::Activation { out, .. }
            | Layer::Dropout { out, .. }
            | Layer::Dense { out, .. } => out,
        }
    }

    /// That the slices are long enough for `count` images that take `length` elements; returns how
    /// many elements the output has.
    pub(super) fn check(&self, count: usize, length: usize) -> Result<usize> {
        let input = elements(count, self.input())?;
        let output = elements(count, self.output())?;
        match self {
            Layer::ConvPool { geometry, parameters, after, winners, .. } => {
                check_parameters(&geometry.conv, parameters)?;
                after.check(geometry.conv.out_channels)?;
                check_room("winners", winners.len(), output)?;
            }
            Layer::Conv { geometry, parameters, .. } => check_parameters(geometry, parameters)?,
            Layer::MaxPool { geometry, winners, .. } => {
                pool::check_window::<u8>(geometry)?;
                check_room("winners", winners.len(), output)?;
            }
            Layer::BatchNorm { norm, image, moments, .. } => {
                norm.check(input, *image, moments.mean.len(), moments.variance.len())?;
                norm.check_images(count)?;
            }
            Layer::BatchNormInference { norm, image, moments, .. } => {
                norm.check(input, *image, moments.mean.len(), moments.variance.len())?;
            }
            Layer::Dropout { image, channels, .. } => {
                crate::dropout::check(input, *image, *channels)?;
            }
            Layer::Dense { features: (inputs, outputs), weight, bias, .. } => {
                dense::check_features(*inputs, *outputs)?;
                check_length("weight", weight.len(), inputs * outputs)?;
                check_length("bias", bias.len(), *outputs)?;
            }
            Layer::AveragePool { .. } | Layer::Activation { .. } => {}
        }
        check_length("x", length, input)?;
        check_room("out", self.out().len(), output)?;
        Ok(output)
    }
}

/// Those of `count` images.
fn elements(count: usize, image: usize) -> Result<usize> {
    count.checked_mul(image).ok_or(KernelError::TooLarge { argument: "x", got: count })
}

fn check_parameters(conv: &ConvGeometry, parameters: &conv::Parameters) -> Result<()> {
    check_length("weight", parameters.weight.len(), conv.weight_shape().iter().product())?;
    check_length("bias", parameters.bias.len(), conv.out_channels)
}

fn check_room(argument: &'static str, got: usize, needed: usize) -> Result<()> {
    if got >= needed { Ok(()) } else { check_length(argument, got, needed) }
}
