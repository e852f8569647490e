//! AVX2 with FMA: 8 lanes, 16 registers.

use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// Proof that AVX2 and FMA run here.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// A token, where the machine has the set.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma")]
        fn entered<K: Kernel>(token: Avx2, kernel: K) -> K::Output {
            kernel.run(token)
        }
        // SAFETY: a token exists only where `detect` found the features.
        unsafe { entered(self, kernel) }
    }
}

/// All ones in the first `count <= 8` lanes.
#[inline(always)]
fn mask(count: usize) -> __m256i {
    const ONES_THEN_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    let window = &ONES_THEN_ZEROS[8 - count..16 - count];
    // SAFETY: the slice holds eight integers; AVX2 was found, or there were no token to call this.
    unsafe { _mm256_loadu_si256(window.as_ptr().cast()) }
}

// SAFETY (all blocks below): a token exists only where AVX2 and FMA were found; the pointers are
// the caller's promise, stated at the trait.
impl Simd for Avx2 {
    type F32 = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_loadu_ps(source) }
    }

    #[inline(always)]
    unsafe fn load_partial(self, source: *const f32, count: usize) -> __m256 {
        // SAFETY: as above; lanes that the mask leaves out are not read.
        unsafe { _mm256_maskload_ps(source, mask(count)) }
    }

    #[inline(always)]
    unsafe fn store(self, target: *mut f32, value: __m256) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(target, value) }
    }

    #[inline(always)]
    unsafe fn store_partial(self, target: *mut f32, count: usize, value: __m256) {
        // SAFETY: as above; lanes that the mask leaves out are not written.
        unsafe { _mm256_maskstore_ps(target, mask(count), value) }
    }
}
