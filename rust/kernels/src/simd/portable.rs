//! Four lanes in plain Rust: one register of SSE or NEON, which every compiler finds by itself.

use super::Simd;

/// Needs no proof: every machine has it.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

/// Where the target has no fused multiply-add, `f32::mul_add` is a slow library call.
const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

impl Simd for Portable {
    type F32 = [f32; 4];
    type Index = [u8; 4];
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 4] {
        [value; 4]
    }

    #[inline(always)]
    fn add(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul_add(self, a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if FUSED { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] })
    }

    #[inline(always)]
    fn relu(self, value: [f32; 4], winner: [u8; 4], off: u8) -> ([f32; 4], [u8; 4]) {
        (
            value.map(|lane| if lane <= 0.0 { 0.0 } else { lane }),
            std::array::from_fn(|i| if value[i] > 0.0 { winner[i] } else { off }),
        )
    }

    #[inline(always)]
    fn zero_index(self) -> [u8; 4] {
        [0; 4]
    }

    #[inline(always)]
    fn challenge(
        self,
        best: [f32; 4],
        winner: [u8; 4],
        candidate: [f32; 4],
        index: u8,
    ) -> ([f32; 4], [u8; 4]) {
        let wins: [bool; 4] = std::array::from_fn(|i| {
            candidate[i] > best[i] || (candidate[i].is_nan() && !best[i].is_nan())
        });
        (
            std::array::from_fn(|i| if wins[i] { candidate[i] } else { best[i] }),
            std::array::from_fn(|i| if wins[i] { index } else { winner[i] }),
        )
    }

    #[inline(always)]
    fn select(self, value: [f32; 4], winner: [u8; 4], index: u8) -> [f32; 4] {
        std::array::from_fn(|i| if winner[i] == index { value[i] } else { 0.0 })
    }

    #[inline(always)]
    fn lanes_of(self, winner: [u8; 4], index: u8) -> u32 {
        let bit = |lane: usize| u32::from(winner[lane] == index) << lane;
        bit(0) | bit(1) | bit(2) | bit(3)
    }

    #[inline(always)]
    unsafe fn load_index(self, source: *const u8, count: usize) -> [u8; 4] {
        let mut bytes = [0; 4];
        // SAFETY: the caller promises `count <= 4` readable bytes.
        unsafe { std::ptr::copy_nonoverlapping(source, bytes.as_mut_ptr(), count) }
        bytes
    }

    #[inline(always)]
    unsafe fn store_index(self, target: *mut u8, count: usize, value: [u8; 4]) {
        // SAFETY: the caller promises `count` writable bytes.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), target, count) }
    }

    #[inline(always)]
    fn prefetch(self, _: *const f32) {}

    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> [f32; 4] {
        // SAFETY: the caller promises four readable floats.
        unsafe { source.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_partial(self, source: *const f32, count: usize) -> [f32; 4] {
        // SAFETY: the caller promises `count` readable floats; no others are read.
        std::array::from_fn(|i| if i < count { unsafe { source.add(i).read() } } else { 0.0 })
    }

    #[inline(always)]
    unsafe fn store(self, target: *mut f32, value: [f32; 4]) {
        // SAFETY: the caller promises four writable floats.
        unsafe { target.cast::<[f32; 4]>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn store_partial(self, target: *mut f32, count: usize, value: [f32; 4]) {
        for (i, lane) in value.into_iter().enumerate().take(count) {
            // SAFETY: the caller promises `count` writable floats; no others are written.
            unsafe { target.add(i).write(lane) }
        }
    }
}
