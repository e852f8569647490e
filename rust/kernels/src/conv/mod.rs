//! Two-dimensional convolution (cross-correlation, as every deep-learning library calls it).
//!
//! `general` serves any kernel size, stride, padding and channel count, and is the truth that
//! faster special kernels are tested against.

mod general;
mod padded;

pub use general::{conv2d, conv2d_backward};
