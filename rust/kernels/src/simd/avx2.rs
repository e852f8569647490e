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

/// For each set of lanes, as bits, their numbers in order.
static NUMBERS: [[u8; 8]; 256] = {
    let mut numbers = [[0; 8]; 256];
    let mut set = 0;
    while set < numbers.len() {
        let (mut lane, mut count) = (0, 0);
        while lane < 8 {
            if set >> lane & 1 == 1 {
                numbers[set][count] = lane;
                count += 1;
            }
            lane += 1;
        }
        set += 1;
    }
    numbers
};

/// The numbers of a set of lanes, in order, as `_mm256_permutevar8x32_ps` takes them.
#[inline(always)]
fn numbers(set: usize) -> __m256i {
    // SAFETY: eight bytes are read from eight; AVX2 was found, as above.
    unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(NUMBERS[set].as_ptr().cast())) }
}

// SAFETY (all blocks below): a token exists only where AVX2 and FMA were found; the pointers are
// the caller's promise, stated at the trait.
impl Simd for Avx2 {
    type F32 = __m256;
    type Index = __m256i;
    type Narrow = Self;
    const LANES: usize = 8;

    #[inline(always)]
    fn narrow(self) -> Self {
        self
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn relu(self, value: __m256, winner: __m256i, off: u8) -> (__m256, __m256i) {
        // SAFETY: as above.
        unsafe {
            let zero = _mm256_setzero_ps();
            let on = _mm256_cmp_ps::<_CMP_GT_OQ>(value, zero);
            let off = _mm256_set1_epi32(off.into());
            let winner = _mm256_blendv_epi8(off, winner, _mm256_castps_si256(on));
            // The second operand is returned where one is NaN, and where the value is -0, which
            // the sum makes 0.
            (_mm256_add_ps(_mm256_max_ps(zero, value), zero), winner)
        }
    }

    #[inline(always)]
    fn zero_index(self) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn challenge(
        self,
        best: __m256,
        winner: __m256i,
        candidate: __m256,
        index: u8,
    ) -> (__m256, __m256i) {
        // SAFETY: as above.
        unsafe {
            let number = _mm256_cmp_ps::<_CMP_ORD_Q>(best, best);
            let larger = _mm256_cmp_ps::<_CMP_NLE_UQ>(candidate, best);
            let wins = _mm256_and_ps(number, larger);
            let index = _mm256_set1_epi32(index.into());
            (
                _mm256_blendv_ps(best, candidate, wins),
                _mm256_blendv_epi8(winner, index, _mm256_castps_si256(wins)),
            )
        }
    }

    #[inline(always)]
    fn select(self, value: __m256, winner: __m256i, index: u8) -> __m256 {
        // SAFETY: as above.
        unsafe {
            let wins = _mm256_cmpeq_epi32(winner, _mm256_set1_epi32(index.into()));
            _mm256_and_ps(value, _mm256_castsi256_ps(wins))
        }
    }

    #[inline(always)]
    fn bytes_of(self, bytes: &[u8; 32], byte: u8) -> u32 {
        // SAFETY: as above; 32 bytes are readable.
        unsafe {
            let bytes = _mm256_loadu_si256(bytes.as_ptr().cast());
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8))) as u32
        }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn compress(
        self,
        value: __m256,
        first: u32,
        values: *mut f32,
        places: *mut u32,
    ) -> usize {
        // SAFETY: as above.
        unsafe {
            let some = _mm256_cmp_ps::<_CMP_NEQ_UQ>(value, _mm256_setzero_ps());
            let some = _mm256_movemask_ps(some) as usize;
            let lanes = numbers(some);
            let all = _mm256_add_epi32(lanes, _mm256_set1_epi32(first as i32));
            _mm256_storeu_ps(values, _mm256_permutevar8x32_ps(value, lanes));
            _mm256_storeu_si256(places.cast(), all);
            some.count_ones() as usize
        }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load_index(self, source: *const u8, count: usize) -> __m256i {
        // SAFETY: as above; `count` bytes are copied into eight.
        unsafe {
            let mut bytes = [0u8; 8];
            std::ptr::copy_nonoverlapping(source, bytes.as_mut_ptr(), count);
            _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)))
        }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn store_index(self, target: *mut u8, count: usize, value: __m256i) {
        // SAFETY: as above; `count` bytes are copied out of eight.
        unsafe {
            let halves = (_mm256_castsi256_si128(value), _mm256_extracti128_si256::<1>(value));
            let words = _mm_packus_epi32(halves.0, halves.1);
            let bytes = _mm_cvtsi128_si64(_mm_packus_epi16(words, words)).to_le_bytes();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, count);
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, address: *const T) {
        // SAFETY: a prefetch reads nothing that the program could see, and cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    fn prefetch_l2<T>(self, address: *const T) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load(self, source: *const f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_loadu_ps(source) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load_partial(self, source: *const f32, count: usize) -> __m256 {
        // SAFETY: as above; lanes that the mask leaves out are not read.
        unsafe { _mm256_maskload_ps(source, mask(count)) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn store(self, target: *mut f32, value: __m256) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(target, value) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn store_partial(self, target: *mut f32, count: usize, value: __m256) {
        // SAFETY: as above; lanes that the mask leaves out are not written.
        unsafe { _mm256_maskstore_ps(target, mask(count), value) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load_columns(self, source: *const f32, stride: usize) -> [__m256; 4] {
        // SAFETY: as above; rows `i` and `i + 4` are the halves of a vector.
        unsafe {
            let halves = |i: usize| {
                let row = |r: usize| _mm_loadu_ps(source.add((i + 4 * r) * stride));
                _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(row(0)), row(1))
            };
            let (a, b, c, d) = (halves(0), halves(1), halves(2), halves(3));
            let pairs = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let later = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            [
                _mm256_shuffle_ps::<0x44>(pairs.0, pairs.1),
                _mm256_shuffle_ps::<0xee>(pairs.0, pairs.1),
                _mm256_shuffle_ps::<0x44>(later.0, later.1),
                _mm256_shuffle_ps::<0xee>(later.0, later.1),
            ]
        }
    }

    #[inline(always)]
    fn totals(self, vectors: &[__m256]) -> __m256 {
        let v: &[__m256; 8] = vectors.try_into().expect("as many vectors as lanes");
        // SAFETY: as above.
        unsafe {
            let fours = |k: usize| {
                let (a, b) = (v[k], v[k + 4]);
                let low = _mm256_permute2f128_ps::<0x20>(a, b);
                _mm256_add_ps(low, _mm256_permute2f128_ps::<0x31>(a, b))
            };
            let twos = |k: usize| {
                let (a, b) = (fours(k), fours(k + 1));
                let low = _mm256_shuffle_ps::<0x44>(a, b);
                _mm256_add_ps(low, _mm256_shuffle_ps::<0xee>(a, b))
            };
            let (a, b) = (twos(0), twos(2));
            let even = _mm256_shuffle_ps::<0x88>(a, b);
            _mm256_add_ps(even, _mm256_shuffle_ps::<0xdd>(a, b))
        }
    }

    #[inline(always)]
    fn place(self, value: __m256, winner: __m256i, places: [u32; 4]) -> (__m256, __m256i) {
        // SAFETY: as above; four integers are read from four.
        unsafe {
            let live = _mm256_cmpgt_epi32(_mm256_set1_epi32(4), winner);
            let places = _mm256_broadcastsi128_si256(_mm_loadu_si128(places.as_ptr().cast()));
            let place = _mm256_permutevar8x32_epi32(places, winner);
            let value = _mm256_and_ps(value, _mm256_castsi256_ps(live));
            (value, _mm256_and_si256(place, live))
        }
    }

    #[inline(always)]
    fn shift(self, index: __m256i, by: u32) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_add_epi32(index, _mm256_set1_epi32(by as i32)) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load_halves(self, first: *const f32, second: *const f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_set_m128(_mm_loadu_ps(second), _mm_loadu_ps(first)) }
    }

    #[inline(always)]
    fn pick(self, values: __m256, index: __m256i) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_permutevar8x32_ps(values, index) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn keep_live(
        self,
        values: __m256,
        winners: *const u32,
        byte: u32,
        places: [u32; 4],
        starts: *const u32,
        kept: *mut f32,
        kept_starts: *mut u32,
    ) -> usize {
        // SAFETY: as above.
        unsafe {
            let winners = _mm256_loadu_si256(winners.cast());
            let winners = _mm256_srl_epi32(winners, _mm_cvtsi32_si128(8 * byte as i32));
            let winners = _mm256_and_si256(winners, _mm256_set1_epi32(0xff));
            let live = _mm256_cmpgt_epi32(_mm256_set1_epi32(4), winners);
            let live = _mm256_movemask_ps(_mm256_castsi256_ps(live)) as usize;
            let places = _mm256_broadcastsi128_si256(_mm_loadu_si128(places.as_ptr().cast()));
            let place = _mm256_permutevar8x32_epi32(places, winners);
            let starts = _mm256_add_epi32(_mm256_loadu_si256(starts.cast()), place);
            let lanes = numbers(live);
            _mm256_storeu_ps(kept, _mm256_permutevar8x32_ps(values, lanes));
            let starts = _mm256_permutevar8x32_epi32(starts, lanes);
            _mm256_storeu_si256(kept_starts.cast(), starts);
            live.count_ones() as usize
        }
    }
}
