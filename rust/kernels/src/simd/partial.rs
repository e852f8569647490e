//! Vectors of which only some lanes are in memory.

use super::Simd;

/// A vector, or its first `count` lanes.
///
/// # Safety
/// `LANES` floats at `source` must be readable, `count < LANES` of them if PARTIAL.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd, const PARTIAL: bool>(
    simd: S,
    count: usize,
    source: *const f32,
) -> S::F32 {
    // SAFETY: the caller's promise.
    unsafe { if PARTIAL { simd.load_partial(source, count) } else { simd.load(source) } }
}

/// Writes a vector, or its first `count` lanes.
///
/// # Safety
/// `LANES` floats at `target` must be writable, `count < LANES` of them if PARTIAL.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, const PARTIAL: bool>(
    simd: S,
    count: usize,
    target: *mut f32,
    value: S::F32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if PARTIAL {
            simd.store_partial(target, count, value);
        } else {
            simd.store(target, value);
        }
    }
}

/// A vector, or its first `count` lanes where there are fewer than a vector.
///
/// # Safety
/// `count <= LANES` floats at `source` must be readable.
#[inline(always)]
pub(crate) unsafe fn load_up_to<S: Simd>(simd: S, count: usize, source: *const f32) -> S::F32 {
    // SAFETY: the caller's promise.
    unsafe { if count == S::LANES { simd.load(source) } else { simd.load_partial(source, count) } }
}

/// Writes a vector, or its first `count` lanes where there are fewer than a vector.
///
/// # Safety
/// `count <= LANES` floats at `target` must be writable.
#[inline(always)]
unsafe fn store_up_to<S: Simd>(simd: S, count: usize, target: *mut f32, value: S::F32) {
    // SAFETY: the caller's promise.
    unsafe {
        if count == S::LANES {
            simd.store(target, value);
        } else {
            simd.store_partial(target, count, value);
        }
    }
}

/// A vector of the first floats, zeros behind them where there are too few.
#[inline(always)]
pub(crate) fn from_slice<S: Simd>(simd: S, source: &[f32]) -> S::F32 {
    // SAFETY: no more floats than the slice has.
    unsafe { load_up_to(simd, source.len().min(S::LANES), source.as_ptr()) }
}

/// Writes as many lanes as there is room for.
#[inline(always)]
pub(crate) fn to_slice<S: Simd>(simd: S, target: &mut [f32], value: S::F32) {
    // SAFETY: no more floats than the slice has.
    unsafe { store_up_to(simd, target.len().min(S::LANES), target.as_mut_ptr(), value) }
}

/// Adds as many lanes as there are floats.
#[inline(always)]
pub(crate) fn add_to_slice<S: Simd>(simd: S, target: &mut [f32], value: S::F32) {
    let sum = simd.add(from_slice(simd, target), value);
    to_slice(simd, target, sum);
}
