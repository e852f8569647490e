//! A look at the values of an array before they are used.

use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::{chunks, for_each};

/// Elements that one task takes.
const BLOCK: usize = 1 << 14;

/// The smallest and the largest value, or `None` where one is NaN or infinite. An empty slice
/// gives (inf, -inf).
pub fn finite_range(values: &[f32]) -> Option<(f32, f32)> {
    let (low, high) = (AtomicI32::new(i32::MAX), AtomicI32::new(i32::MIN));
    for_each(chunks(values, BLOCK), |_, block| {
        let extremes = dispatch(Extremes(block));
        low.fetch_min(extremes.0, Relaxed);
        high.fetch_max(extremes.1, Relaxed);
    });
    if values.is_empty() {
        return Some((f32::INFINITY, f32::NEG_INFINITY));
    }
    let (low, high) = (low.into_inner(), high.into_inner());
    let finite = key(f32::NEG_INFINITY) < low && high < key(f32::INFINITY);
    finite.then_some((value(low), value(high)))
}

/// The smallest and the largest key of a block. Unlike those of floats, minima and maxima of
/// integers may be taken in any order, so that the compiler vectorises them.
struct Extremes<'a>(&'a [f32]);

impl Kernel for Extremes<'_> {
    type Output = (i32, i32);

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> (i32, i32) {
        let (mut low, mut high) = (i32::MAX, i32::MIN);
        for &value in self.0 {
            low = low.min(key(value));
            high = high.max(key(value));
        }
        (low, high)
    }
}

/// An integer that sorts as the float does; NaNs sort beyond the infinities.
#[inline(always)]
fn key(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    bits ^ ((bits >> 31) & i32::MAX)
}

/// The float of a key: the same exchange undoes itself.
fn value(key: i32) -> f32 {
    f32::from_bits((key ^ ((key >> 31) & i32::MAX)) as u32)
}
