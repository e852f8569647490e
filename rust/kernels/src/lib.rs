//! Kernels of small convolutional image classifiers, forward and backward.
//!
//! Conventions, for every function here:
//!
//! - Activations are `f32`, C-contiguous, NHWC: `(batch, height, width, channels)`. Images may
//!   also be `u8`, meaning 0..=255, and are then scaled to `0.0..=1.0` as they are read.
//! - Convolution weights are `(kernel_h, kernel_w, in_channels, out_channels)`, dense weights
//!   `(in_features, out_features)`.
//! - A kernel writes into buffers that its caller allocated, and overwrites them.
//! - What backward needs is an explicit input or output of forward, never hidden state.
//! - Shapes are checked first; an error means that nothing was written, unless it says otherwise.
//! - Results have the same bits for any number of threads: work is cut into pieces that depend
//!   on the shapes alone, and partial sums are added in a fixed order.

pub mod activation;
pub mod augment;
pub mod batch_norm;
pub mod conv;
pub mod dense;
pub mod dropout;
mod error;
pub mod gather;
mod geometry;
pub mod jpeg;
pub mod loss;
mod matmul;
pub mod network;
pub mod optimizer;
mod pixel;
pub mod pool;
mod random;
pub mod range;
pub mod resize;
mod scratch;
pub mod simd;
pub mod squared_norm;
mod sums;
pub mod threads;
mod transpose;
mod view;

pub use error::{KernelError, Result};
pub use geometry::{Axis, BlockGeometry, ConvGeometry, Padding, PoolGeometry};
pub use pixel::Pixel;
