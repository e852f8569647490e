//! AVX-512 with its byte and short-vector parts, which all but Xeon Phi have: 16 lanes, 32 registers,
//! masks.

use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::{Kernel, Simd};

/// Proof that AVX-512 F, BW and VL run here, and AVX2 as well.
#[derive(Debug, Clone, Copy)]
pub struct Avx512(Avx2);

impl Avx512 {
    /// A token, where the machine has the set.
    pub fn detect() -> Option<Self> {
        let narrow = Avx2::detect()?;
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl");
        found.then_some(Self(narrow))
    }

    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
        fn entered<K: Kernel>(token: Avx512, kernel: K) -> K::Output {
            kernel.run(token)
        }
        // SAFETY: a token exists only where `detect` found the features.
        unsafe { entered(self, kernel) }
    }
}

fn mask(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}

// SAFETY (all blocks below): a token exists only where the set was found; the pointers are the
// caller's promise, stated at the trait.
impl Simd for Avx512 {
    type F32 = __m512;
    type Index = __m512i;
    type Narrow = Avx2;
    const LANES: usize = 16;

    #[inline(always)]
    fn narrow(self) -> Avx2 {
        self.0
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn relu(self, value: __m512, winner: __m512i, off: u8) -> (__m512, __m512i) {
        // SAFETY: as above.
        unsafe {
            let zero = _mm512_setzero_ps();
            let on = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(value, zero);
            let off = _mm512_set1_epi32(off.into());
            let winner = _mm512_mask_mov_epi32(off, on, winner);
            // The second operand is returned where one is NaN, and where the value is -0, which
            // the sum makes 0.
            (_mm512_add_ps(_mm512_max_ps(zero, value), zero), winner)
        }
    }

    #[inline(always)]
    fn zero_index(self) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn challenge(
        self,
        best: __m512,
        winner: __m512i,
        candidate: __m512,
        index: u8,
    ) -> (__m512, __m512i) {
        // SAFETY: as above.
        unsafe {
            let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(best, best);
            let wins = _mm512_mask_cmp_ps_mask::<_CMP_NLE_UQ>(number, candidate, best);
            let index = _mm512_set1_epi32(index.into());
            (_mm512_mask_mov_ps(best, wins, candidate), _mm512_mask_mov_epi32(winner, wins, index))
        }
    }

    #[inline(always)]
    fn select(self, value: __m512, winner: __m512i, index: u8) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let wins = _mm512_cmpeq_epi32_mask(winner, _mm512_set1_epi32(index.into()));
            _mm512_maskz_mov_ps(wins, value)
        }
    }

    #[inline(always)]
    fn bytes_of(self, bytes: &[u8; 32], byte: u8) -> u32 {
        // SAFETY: as above; 32 bytes are readable.
        unsafe {
            let bytes = _mm256_loadu_si256(bytes.as_ptr().cast());
            _mm256_cmpeq_epi8_mask(bytes, _mm256_set1_epi8(byte as i8))
        }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn compress(
        self,
        value: __m512,
        first: u32,
        values: *mut f32,
        numbers: *mut u32,
    ) -> usize {
        // SAFETY: as above. Compressed in registers: the form that stores is slow on Zen 4.
        unsafe {
            let some = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(value, _mm512_setzero_ps());
            let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let all = _mm512_add_epi32(lanes, _mm512_set1_epi32(first as i32));
            _mm512_storeu_ps(values, _mm512_maskz_compress_ps(some, value));
            _mm512_storeu_si512(numbers.cast(), _mm512_maskz_compress_epi32(some, all));
            some.count_ones() as usize
        }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load_index(self, source: *const u8, count: usize) -> __m512i {
        // SAFETY: as above; bytes that the mask leaves out are not read.
        unsafe { _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask(count), source.cast())) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn store_index(self, target: *mut u8, count: usize, value: __m512i) {
        // SAFETY: as above; bytes that the mask leaves out are not written.
        unsafe {
            if count == Self::LANES {
                _mm_storeu_si128(target.cast(), _mm512_cvtepi32_epi8(value));
            } else {
                _mm512_mask_cvtepi32_storeu_epi8(target.cast(), mask(count), value);
            }
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
    unsafe fn load(self, source: *const f32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_loadu_ps(source) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load_partial(self, source: *const f32, count: usize) -> __m512 {
        // SAFETY: as above; lanes that the mask leaves out are not read.
        unsafe { _mm512_maskz_loadu_ps(mask(count), source) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn store(self, target: *mut f32, value: __m512) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(target, value) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn store_partial(self, target: *mut f32, count: usize, value: __m512) {
        // SAFETY: as above; lanes that the mask leaves out are not written.
        unsafe { _mm512_mask_storeu_ps(target, mask(count), value) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load_columns(self, source: *const f32, stride: usize) -> [__m512; 4] {
        // SAFETY: as above; rows `i`, `i + 4`, `i + 8` and `i + 12` are the quarters of a vector.
        unsafe {
            let fourth = 4 * stride;
            let starts = [0, 1, 2, 3].map(|r| source.add(r * fourth));
            let quarters = |i: usize| {
                let row = |r: usize| _mm_loadu_ps(starts[r].add(i * stride));
                let rows = _mm512_castps128_ps512(row(0));
                let rows = _mm512_insertf32x4::<1>(rows, row(1));
                let rows = _mm512_insertf32x4::<2>(rows, row(2));
                _mm512_insertf32x4::<3>(rows, row(3))
            };
            let (a, b, c, d) = (quarters(0), quarters(1), quarters(2), quarters(3));
            let pairs = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
            let later = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
            [
                _mm512_shuffle_ps::<0x44>(pairs.0, pairs.1),
                _mm512_shuffle_ps::<0xee>(pairs.0, pairs.1),
                _mm512_shuffle_ps::<0x44>(later.0, later.1),
                _mm512_shuffle_ps::<0xee>(later.0, later.1),
            ]
        }
    }

    #[inline(always)]
    fn totals(self, vectors: &[__m512]) -> __m512 {
        let v: &[__m512; 16] = vectors.try_into().expect("as many vectors as lanes");
        // SAFETY: as above.
        unsafe {
            let eights = |k: usize| {
                let (a, b) = (v[k], v[k + 8]);
                let low = _mm512_shuffle_f32x4::<0x44>(a, b);
                _mm512_add_ps(low, _mm512_shuffle_f32x4::<0xee>(a, b))
            };
            let fours = |k: usize| {
                let (a, b) = (eights(k), eights(k + 4));
                let even = _mm512_shuffle_f32x4::<0x88>(a, b);
                _mm512_add_ps(even, _mm512_shuffle_f32x4::<0xdd>(a, b))
            };
            let twos = |k: usize| {
                let (a, b) = (fours(k), fours(k + 1));
                let low = _mm512_shuffle_ps::<0x44>(a, b);
                _mm512_add_ps(low, _mm512_shuffle_ps::<0xee>(a, b))
            };
            let (a, b) = (twos(0), twos(2));
            let even = _mm512_shuffle_ps::<0x88>(a, b);
            let sums = _mm512_add_ps(even, _mm512_shuffle_ps::<0xdd>(a, b));
            // Its quarters are of vectors 0 to 3, 8 to 11, 4 to 7 and 12 to 15.
            _mm512_shuffle_f32x4::<0xd8>(sums, sums)
        }
    }

    #[inline(always)]
    fn place(self, value: __m512, winner: __m512i, places: [u32; 4]) -> (__m512, __m512i) {
        // SAFETY: as above.
        unsafe {
            let live = _mm512_cmplt_epu32_mask(winner, _mm512_set1_epi32(4));
            let places = _mm512_broadcast_i32x4(_mm_loadu_si128(places.as_ptr().cast()));
            let place = _mm512_maskz_permutexvar_epi32(live, winner, places);
            (_mm512_maskz_mov_ps(live, value), place)
        }
    }

    #[inline(always)]
    fn shift(self, index: __m512i, by: u32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_add_epi32(index, _mm512_set1_epi32(by as i32)) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load_halves(self, first: *const f32, second: *const f32) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let first = _mm512_castps_pd(_mm512_castps256_ps512(_mm256_loadu_ps(first)));
            let second = _mm256_castps_pd(_mm256_loadu_ps(second));
            _mm512_castpd_ps(_mm512_insertf64x4::<1>(first, second))
        }
    }

    #[inline(always)]
    fn pick(self, values: __m512, index: __m512i) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_permutexvar_ps(index, values) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn keep_live(
        self,
        values: __m512,
        winners: *const u32,
        byte: u32,
        places: [u32; 4],
        starts: *const u32,
        kept: *mut f32,
        kept_starts: *mut u32,
    ) -> usize {
        // SAFETY: as above. Registers are compressed, then stored whole: compressing to memory is
        // slow on Zen 4.
        unsafe {
            let winners = _mm512_loadu_si512(winners.cast());
            let winners = _mm512_srl_epi32(winners, _mm_cvtsi32_si128(8 * byte as i32));
            let winners = _mm512_and_si512(winners, _mm512_set1_epi32(0xff));
            let live = _mm512_cmplt_epi32_mask(winners, _mm512_set1_epi32(4));
            let places = _mm512_broadcast_i32x4(_mm_loadu_si128(places.as_ptr().cast()));
            let place = _mm512_permutexvar_epi32(winners, places);
            let starts = _mm512_add_epi32(_mm512_loadu_si512(starts.cast()), place);
            _mm512_storeu_ps(kept, _mm512_maskz_compress_ps(live, values));
            let starts = _mm512_maskz_compress_epi32(live, starts);
            _mm512_storeu_si512(kept_starts.cast(), starts);
            live.count_ones() as usize
        }
    }
}
