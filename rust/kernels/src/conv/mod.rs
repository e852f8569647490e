//! Two-dimensional convolution (cross-correlation, as every deep-learning library calls it).
//!
//! `general` serves any kernel size, stride, padding and channel count, and is the truth that
//! faster special kernels are tested against. The others are the block of the model,
//! convolution -> 2x2 max pool -> ReLU: `block` chooses, `direct` and `winograd` are its forward
//! in one pass, `weight_gradient` and `input_gradient` its backward without the zeros.

mod bands;
mod block;
mod direct;
mod general;
mod input_gradient;
mod padded;
mod slices;
mod weight_gradient;
mod winograd;

pub(crate) use block::forward;
pub use block::{OFF, conv_pool_relu, conv_pool_relu_backward};
pub use general::{conv2d, conv2d_backward};
