//! Pooling: the largest element or the mean of each window, for each channel.
//!
//! Padding counts as absent: it never wins and is not averaged.

mod average;
mod max;

pub(crate) use average::forward as average_pool_forward;
pub use average::{
    average_pool, average_pool_backward, global_average_pool, global_average_pool_backward,
};
pub use max::{Winner, max_pool, max_pool_backward};
pub(crate) use max::{check_window, forward as max_pool_forward};
