//! What is done to a pooled value in registers, before it is stored.

use crate::error::Result;
use crate::simd::{Simd, load_up_to};
use crate::view::check_length;

/// The winner of a window whose ReLU is off: no element of it carries gradient. Backward takes any
/// larger byte for the same.
pub const OFF: u8 = 4;

/// First the factors and addends, then the ReLU.
#[derive(Debug, Clone, Copy, Default)]
pub struct After<'a> {
    /// Factor and addend of each channel: a batch norm whose mean and variance are known.
    pub affine: Option<(&'a [f32], &'a [f32])>,
    /// Whether there is a ReLU.
    pub relu: bool,
}

impl After<'_> {
    /// A ReLU alone.
    pub const RELU: Self = Self { affine: None, relu: true };

    pub(crate) fn check(&self, channels: usize) -> Result<()> {
        let Some((factor, addend)) = self.affine else { return Ok(()) };
        check_length("factor", factor.len(), channels)?;
        check_length("addend", addend.len(), channels)
    }

    /// Of `count` channels from `first` on.
    ///
    /// # Safety
    /// The vectors of `affine` hold these channels.
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd>(
        &self,
        simd: S,
        first: usize,
        count: usize,
        mut value: S::F32,
        winner: S::Index,
    ) -> (S::F32, S::Index) {
        if let Some((factor, addend)) = self.affine {
            // SAFETY: the caller's promise.
            let (factor, addend) = unsafe {
                (
                    load_up_to(simd, count, factor.as_ptr().add(first)),
                    load_up_to(simd, count, addend.as_ptr().add(first)),
                )
            };
            value = simd.mul_add(value, factor, addend);
        }
        if self.relu { simd.relu(value, winner, OFF) } else { (value, winner) }
    }
}
