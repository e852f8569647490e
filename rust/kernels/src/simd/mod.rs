//! Instruction sets.
//!
//! A kernel is written once, as a [`Kernel`] whose body is generic over a token that implements
//! [`Simd`]. A token can only be had where its instruction set was found at run time, so holding
//! one is the proof that its instructions may run. Per-set code is the few lines in `avx512.rs`,
//! `avx2.rs` and `portable.rs`: loads, stores, arithmetic.
//!
//! Lanes run along the last axis of an array, hardly ever along a summed one, and then they are 16
//! whatever a vector holds (`dense/dots.rs`). So an element is summed in the same order whatever the
//! number of lanes, and AVX2 and AVX-512, which both fuse the multiply and the add, give the same
//! bits.

mod ahead;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod isa;
mod partial;
mod portable;
#[cfg(test)]
mod tests;

pub(crate) use ahead::{Ahead, worth_asking};
pub use isa::{Isa, isa};
pub(crate) use partial::{add_to_slice, from_slice, load, load_up_to, store, to_slice};
pub(crate) use portable::Portable;

/// Floats of a cache line.
pub(crate) const LINE: usize = 16;

/// The operations of one instruction set on vectors of `LANES` floats.
pub trait Simd: Copy {
    /// A vector register.
    type F32: Copy;
    /// A small index for each lane.
    type Index: Copy;
    /// The set of at most 8 lanes on the same machine.
    type Narrow: Simd;
    /// Floats in a vector.
    const LANES: usize;

    /// Its token: for runs that fill longer vectors badly.
    fn narrow(self) -> Self::Narrow;

    /// All lanes `value`.
    fn splat(self, value: f32) -> Self::F32;

    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// `a * b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// `a * b + c`, fused where the set can.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;

    /// `max(value, 0)`, NaN stays NaN; and `winner`, or `off` where the value is not positive.
    fn relu(self, value: Self::F32, winner: Self::Index, off: u8) -> (Self::F32, Self::Index);

    /// All lanes 0.
    fn zero_index(self) -> Self::Index;

    /// Where `candidate` is larger than `best`, or the only NaN of the two, it takes its place,
    /// and `index` that of `winner`.
    fn challenge(
        self,
        best: Self::F32,
        winner: Self::Index,
        candidate: Self::F32,
        index: u8,
    ) -> (Self::F32, Self::Index);

    /// `value` where `winner` is `index`, else 0.
    fn select(self, value: Self::F32, winner: Self::Index, index: u8) -> Self::F32;

    /// The `bytes` that are `byte`, as bits.
    fn bytes_of(self, bytes: &[u8; 32], byte: u8) -> u32;

    /// The lanes that are not zero, in order, and their numbers, counted from `first`; returns how
    /// many they are. Whole vectors are written, the rest of them unspecified.
    ///
    /// # Safety
    /// `LANES` elements must be writable at each target.
    #[inline(always)]
    unsafe fn compress(
        self,
        value: Self::F32,
        first: u32,
        values: *mut f32,
        numbers: *mut u32,
    ) -> usize {
        const MOST: usize = 16;
        assert!(Self::LANES <= MOST);
        let mut lanes = [0.0; MOST];
        let mut count = 0;
        // SAFETY: the lanes fit; an element is written behind as many as lanes went before at most.
        unsafe {
            self.store(lanes.as_mut_ptr(), value);
            for (number, &lane) in lanes[..Self::LANES].iter().enumerate() {
                values.add(count).write(lane);
                numbers.add(count).write(first + number as u32);
                count += usize::from(lane != 0.0);
            }
        }
        count
    }

    /// The first `count <= LANES` indices at `source`, a byte each, zeros behind them.
    ///
    /// # Safety
    /// `count` bytes must be readable; no others are touched.
    unsafe fn load_index(self, source: *const u8, count: usize) -> Self::Index;

    /// Writes the first `count <= LANES` indices, a byte each.
    ///
    /// # Safety
    /// `count` bytes must be writable; no others are touched.
    unsafe fn store_index(self, target: *mut u8, count: usize, value: Self::Index);

    /// Asks for the cache line at `address` soon; a hint, for any address.
    fn prefetch<T>(self, address: *const T);

    /// As `prefetch`, but only as near as the second-level cache: for what is touched so much later
    /// that it would push out what is in use.
    fn prefetch_l2<T>(self, address: *const T);

    /// Four columns of a matrix whose rows start every `stride` floats: lane `i` of the `c`-th
    /// vector is the float at `source + i * stride + c`.
    ///
    /// # Safety
    /// Four floats of each of `LANES` rows must be readable.
    unsafe fn load_columns(self, source: *const f32, stride: usize) -> [Self::F32; 4];

    /// The sum of the lanes of each of `LANES` vectors: halves are added, then quarters, and so on.
    fn totals(self, vectors: &[Self::F32]) -> Self::F32;

    /// Where `winner` is one of the four `places` the value and that place, elsewhere zeros.
    fn place(
        self,
        value: Self::F32,
        winner: Self::Index,
        places: [u32; 4],
    ) -> (Self::F32, Self::Index);

    /// `index + by`.
    fn shift(self, index: Self::Index, by: u32) -> Self::Index;

    /// Half a vector from each address, one behind the other.
    ///
    /// # Safety
    /// `LANES / 2` floats must be readable at each.
    unsafe fn load_halves(self, first: *const f32, second: *const f32) -> Self::F32;

    /// In each lane the one of `values` whose number is `index`.
    fn pick(self, values: Self::F32, index: Self::Index) -> Self::F32;

    /// Appends the lanes whose winner is one of the `places`, and returns their number: of
    /// `values` to `kept`, and of the sums of `starts` and the winner's place to `kept_starts`.
    /// The winners are the `byte`-th bytes of `winners`, the lowest being the 0th.
    ///
    /// # Safety
    /// `LANES` elements must be readable at `winners` and `starts` and writable at `kept` and
    /// `kept_starts`; those behind the last lane appended are of unspecified content.
    #[allow(clippy::too_many_arguments, reason = "three arrays in, two out")]
    unsafe fn keep_live(
        self,
        values: Self::F32,
        winners: *const u32,
        byte: u32,
        places: [u32; 4],
        starts: *const u32,
        kept: *mut f32,
        kept_starts: *mut u32,
    ) -> usize;

    /// The `LANES` floats at `source`.
    ///
    /// # Safety
    /// They must be readable. No alignment is needed.
    unsafe fn load(self, source: *const f32) -> Self::F32;

    /// The first `count < LANES` floats at `source`, zeros behind them.
    ///
    /// # Safety
    /// Those `count` floats must be readable; no others are touched.
    unsafe fn load_partial(self, source: *const f32, count: usize) -> Self::F32;

    /// Writes all lanes to `target`.
    ///
    /// # Safety
    /// `LANES` floats must be writable there. No alignment is needed.
    unsafe fn store(self, target: *mut f32, value: Self::F32);

    /// Writes the first `count < LANES` lanes to `target`.
    ///
    /// # Safety
    /// Those `count` floats must be writable; no others are touched.
    unsafe fn store_partial(self, target: *mut f32, count: usize, value: Self::F32);
}

/// A computation written once for every instruction set.
pub trait Kernel {
    /// What it returns.
    type Output;

    /// The body. Must be `#[inline(always)]`, as must be all that it calls in its inner loops:
    /// only code inlined here is compiled for the instruction set of the token.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs a kernel with the instruction set in force.
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    match isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(token) => token.enter(kernel),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(token) => token.enter(kernel),
        Isa::Portable(token) => kernel.run(token),
    }
}

/// Runs a loop that the compiler vectorises by itself, compiled for the instruction set in force.
/// `body` must be `#[inline(always)]`. Plain arithmetic is never fused by the compiler, so all sets
/// give the same bits.
#[inline(always)]
pub(crate) fn elementwise(body: impl FnOnce()) {
    struct Elementwise<F>(F);

    impl<F: FnOnce()> Kernel for Elementwise<F> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, _simd: S) {
            (self.0)();
        }
    }

    dispatch(Elementwise(body));
}
