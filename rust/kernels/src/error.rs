//! Every fault that a kernel can report, one variant each.

use thiserror::Error;

/// What is wrong with a call. Nothing has been written when a kernel returns one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KernelError {
    /// An array does not have the shape that the geometry or another array demands.
    #[error("{argument}: expected shape {expected:?}, got {got:?}")]
    Shape {
        /// The name of the array.
        argument: &'static str,
        /// The shape that it should have.
        expected: Vec<usize>,
        /// The shape that it has.
        got: Vec<usize>,
    },
    /// An array has gaps or another order than C.
    #[error("{argument}: expected a C-contiguous array")]
    NotContiguous {
        /// The name of the array.
        argument: &'static str,
    },
    /// An array of bytes where only floats serve.
    #[error("{argument}: expected float32, got uint8")]
    Bytes {
        /// The name of the array.
        argument: &'static str,
    },
    /// A size that must be at least one is zero.
    #[error("{argument}: expected at least 1, got 0")]
    Zero {
        /// The name of the size.
        argument: &'static str,
    },
    /// A part of an image that is not one.
    #[error("region: expected a part of the image, not empty and inside it")]
    Region,
    /// The window does not fit into the padded input even once.
    #[error(
        "{axis}: expected at least {window} (the window), got {size} with {padding} of padding; \
         use a larger image, a smaller window or padding=\"same\""
    )]
    WindowTooLarge {
        /// `height` or `width`.
        axis: &'static str,
        /// Window size along this axis.
        window: usize,
        /// Input size along this axis.
        size: usize,
        /// Padding at both ends together.
        padding: usize,
    },
    /// A pooling window could lie in the padding alone, where it has no elements.
    #[error("padding: expected less than the window ({window}) on each side, got {padding}")]
    PoolPadding {
        /// Window size along this axis.
        window: usize,
        /// The larger of the paddings at the two ends.
        padding: usize,
    },
    /// A size or a product of sizes does not fit into memory.
    #[error("{argument}: expected sizes whose arrays fit into memory, got {got}")]
    TooLarge {
        /// The name of the size.
        argument: &'static str,
        /// Its value.
        got: usize,
    },
    /// Images have another number of channels than a change of colours can serve.
    #[error("{argument}: expected images of {expected:?} channels, got {got}")]
    Channels {
        /// The name of the change.
        argument: &'static str,
        /// The numbers of channels that it serves.
        expected: &'static [usize],
        /// The number of channels.
        got: usize,
    },
    /// There is no image of an index.
    #[error("{argument}: expected indices from 0 to below {count}, got {got}")]
    Index {
        /// The name of the indices.
        argument: &'static str,
        /// The index found.
        got: i64,
        /// The number of images.
        count: usize,
    },
    /// A winner index points outside its window or into the padding.
    #[error("winners: expected indices into the window, got {got} at pooled element {position}")]
    Winner {
        /// The index found.
        got: usize,
        /// Its position in the flattened array.
        position: usize,
    },
}

/// The result of a kernel.
pub type Result<T> = std::result::Result<T, KernelError>;
