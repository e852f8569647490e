//! Two-dimensional convolution (cross-correlation, as every deep-learning library calls it).
//!
//! `general` serves any kernel size, stride, padding and channel count, and is the truth that
//! faster special kernels are tested against. `fused` and `sparse` are the block of the model,
//! convolution -> 2x2 max pool -> ReLU: forward in one pass, backward without the zeros.

mod fused;
mod general;
mod padded;
mod runs;
mod sparse;

pub use fused::conv_pool_relu;
pub use general::{conv2d, conv2d_backward};
pub use sparse::conv_pool_backward;
