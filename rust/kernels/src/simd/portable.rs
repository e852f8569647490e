//! Four lanes: one register of SSE or NEON, whatever the target has by default, through `wide`.

use wide::bytemuck::cast;
use wide::{f32x4, u8x32, u32x4};

use super::Simd;

/// Needs no proof: every machine has it.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn is(winner: u32x4, index: u8) -> u32x4 {
    winner.simd_eq(u32x4::splat(index.into()))
}

impl Simd for Portable {
    type F32 = f32x4;
    type Index = u32x4;
    type Narrow = Self;
    const LANES: usize = 4;

    #[inline(always)]
    fn narrow(self) -> Self {
        self
    }

    #[inline(always)]
    fn splat(self, value: f32) -> f32x4 {
        f32x4::splat(value)
    }

    #[inline(always)]
    fn add(self, a: f32x4, b: f32x4) -> f32x4 {
        a + b
    }

    #[inline(always)]
    fn sub(self, a: f32x4, b: f32x4) -> f32x4 {
        a - b
    }

    #[inline(always)]
    fn mul(self, a: f32x4, b: f32x4) -> f32x4 {
        a * b
    }

    #[inline(always)]
    fn mul_add(self, a: f32x4, b: f32x4, c: f32x4) -> f32x4 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn relu(self, value: f32x4, winner: u32x4, off: u8) -> (f32x4, u32x4) {
        let zero = f32x4::splat(0.0);
        let on: u32x4 = cast(value.simd_gt(zero));
        let result = value.simd_le(zero).select(zero, value);
        (result, on.select(winner, u32x4::splat(off.into())))
    }

    #[inline(always)]
    fn zero_index(self) -> u32x4 {
        u32x4::splat(0)
    }

    #[inline(always)]
    fn challenge(self, best: f32x4, winner: u32x4, candidate: f32x4, index: u8) -> (f32x4, u32x4) {
        let larger = candidate.simd_gt(best) | candidate.simd_ne(candidate);
        let wins = best.simd_eq(best) & larger;
        let index = u32x4::splat(index.into());
        (wins.select(candidate, best), cast::<_, u32x4>(wins).select(index, winner))
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn store_index(self, target: *mut u8, count: usize, value: u32x4) {
        let bytes = value.to_array().map(|lane| lane as u8);
        // SAFETY: the caller promises `count <= 4` writable bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, count) }
    }

    #[inline(always)]
    fn select(self, value: f32x4, winner: u32x4, index: u8) -> f32x4 {
        value & cast::<_, f32x4>(is(winner, index))
    }

    #[inline(always)]
    fn bytes_of(self, bytes: &[u8; 32], byte: u8) -> u32 {
        u8x32::from(*bytes).simd_eq(u8x32::splat(byte)).to_bitmask()
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load_index(self, source: *const u8, count: usize) -> u32x4 {
        let mut bytes = [0; 4];
        // SAFETY: the caller promises `count <= 4` readable bytes.
        unsafe { std::ptr::copy_nonoverlapping(source, bytes.as_mut_ptr(), count) }
        u32x4::from(bytes.map(u32::from))
    }

    #[inline(always)]
    fn prefetch<T>(self, _: *const T) {}

    #[inline(always)]
    fn prefetch_l2<T>(self, _: *const T) {}

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load(self, source: *const f32) -> f32x4 {
        // SAFETY: the caller promises four readable floats.
        f32x4::from(unsafe { source.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load_partial(self, source: *const f32, count: usize) -> f32x4 {
        let mut lanes = [0.0; 4];
        // SAFETY: the caller promises `count < 4` readable floats; no others are read.
        unsafe { std::ptr::copy_nonoverlapping(source, lanes.as_mut_ptr(), count) }
        f32x4::from(lanes)
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn store(self, target: *mut f32, value: f32x4) {
        // SAFETY: the caller promises four writable floats.
        unsafe { target.cast::<[f32; 4]>().write_unaligned(value.to_array()) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn store_partial(self, target: *mut f32, count: usize, value: f32x4) {
        let lanes = value.to_array();
        // SAFETY: the caller promises `count < 4` writable floats; no others are written.
        unsafe { std::ptr::copy_nonoverlapping(lanes.as_ptr(), target, count) }
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load_columns(self, source: *const f32, stride: usize) -> [f32x4; 4] {
        // SAFETY: the caller promises four readable floats of each of four rows.
        f32x4::transpose([0, 1, 2, 3].map(|row| unsafe { self.load(source.add(row * stride)) }))
    }

    #[inline(always)]
    fn totals(self, vectors: &[f32x4]) -> f32x4 {
        let v: &[f32x4; 4] = vectors.try_into().expect("as many vectors as lanes");
        let [a, b, c, d] = f32x4::transpose(*v);
        (a + c) + (b + d)
    }

    #[inline(always)]
    fn place(self, value: f32x4, winner: u32x4, places: [u32; 4]) -> (f32x4, u32x4) {
        let live = u32x4::splat(4).simd_gt(winner);
        let place = winner.to_array().map(|winner| places[winner as usize % 4]);
        (value & cast::<_, f32x4>(live), u32x4::from(place) & live)
    }

    #[inline(always)]
    fn shift(self, index: u32x4, by: u32) -> u32x4 {
        index + u32x4::splat(by)
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn load_halves(self, first: *const f32, second: *const f32) -> f32x4 {
        // SAFETY: the caller promises two readable floats at each.
        cast(unsafe { [first, second].map(|half| half.cast::<[f32; 2]>().read_unaligned()) })
    }

    #[inline(always)]
    fn pick(self, values: f32x4, index: u32x4) -> f32x4 {
        let values = values.to_array();
        f32x4::from(index.to_array().map(|index| values[index as usize % 4]))
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn keep_live(
        self,
        values: f32x4,
        winners: *const u32,
        byte: u32,
        places: [u32; 4],
        starts: *const u32,
        kept: *mut f32,
        kept_starts: *mut u32,
    ) -> usize {
        let mut live = 0;
        for (lane, value) in values.to_array().into_iter().enumerate() {
            // SAFETY: the caller promises four elements in each array; `live <= lane < 4`.
            unsafe {
                let winner = *winners.add(lane) >> (8 * byte) & 0xff;
                *kept.add(live) = value;
                *kept_starts.add(live) = *starts.add(lane) + places[winner as usize % 4];
                live += usize::from(winner < 4);
            }
        }
        live
    }
}
