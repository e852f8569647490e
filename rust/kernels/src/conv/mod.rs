//! Two-dimensional convolution (cross-correlation, as every deep-learning library calls it).
//!
//! `general` serves any kernel size, stride, padding and channel count, and is the truth that
//! faster special kernels are tested against. The others are the block of the model,
//! convolution -> 2x2 max pool -> [norm] -> ReLU: `block` chooses, `direct` and `winograd` are its forward
//! in one pass, `weight_gradient` and `input_gradient` its backward without the zeros.

mod after;
mod bands;
mod block;
mod direct;
mod general;
mod input_gradient;
mod padded;
mod plain;
mod slices;
mod weight_gradient;
mod winograd;

pub use after::{After, OFF};
pub(crate) use block::forward as conv_pool_forward;
pub use block::{conv_pool, conv_pool_backward};
pub use general::{conv2d, conv2d_backward};
pub use plain::conv_backward;
pub(crate) use plain::forward as conv_forward;
pub use winograd::Filters;

/// The parameters of a layer's convolution.
pub struct Parameters<'a> {
    /// (kernel_h, kernel_w, in_channels, out_channels).
    pub weight: &'a [f32],
    /// (out_channels).
    pub bias: &'a [f32],
    /// Of this layer alone.
    pub filters: &'a mut Filters,
}
