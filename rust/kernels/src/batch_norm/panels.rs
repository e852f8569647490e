//! The loops of batch norm over one image.

use crate::simd::{Kernel, Simd, load, store};

/// Pixels that are summed before their sum is added to the others: the rounding of a long sum grows
/// with its length.
const RUN: usize = 1024;

/// Vectors of one value a channel, and an image of `pixels` pixels. Their kernels go down the
/// image with the values of some channels in registers.
trait Panels: Sized {
    fn channels(&self) -> usize;

    /// The channels from `c` on, `LANES` of them or, if PARTIAL, the last `count`.
    ///
    /// # Safety
    /// Those channels are inside each vector and each pixel.
    unsafe fn panel<S: Simd, const PARTIAL: bool>(&mut self, simd: S, c: usize, count: usize);

    /// All channels.
    ///
    /// # Safety
    /// All vectors have one length, all images another, a multiple of that.
    #[inline(always)]
    unsafe fn cover<S: Simd>(&mut self, simd: S) {
        let channels = self.channels();
        for c in (0..channels).step_by(S::LANES) {
            // SAFETY: `channels` are in each vector and each pixel, by the caller's promise.
            unsafe {
                if channels - c >= S::LANES {
                    self.panel::<S, false>(simd, c, S::LANES);
                } else {
                    self.panel::<S, true>(simd, c, channels - c);
                }
            }
        }
    }
}

/// `(x - mean) * factor + addend`.
#[derive(Clone, Copy)]
pub(super) struct Affine<'a> {
    pub mean: &'a [f32],
    pub factor: &'a [f32],
    pub addend: &'a [f32],
}

pub(super) struct Normalise<'a> {
    pub affine: Affine<'a>,
    pub x: &'a [f32],
    pub out: &'a mut [f32],
}

impl Kernel for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let Affine { mean, factor, addend } = self.affine;
        assert!(factor.len() == mean.len() && addend.len() == mean.len());
        assert!(self.out.len() == self.x.len() && self.x.len().is_multiple_of(mean.len()));
        // SAFETY: as just checked.
        unsafe { self.cover(simd) }
    }
}

impl Panels for Normalise<'_> {
    fn channels(&self) -> usize {
        self.affine.mean.len()
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn panel<S: Simd, const PARTIAL: bool>(&mut self, simd: S, c: usize, count: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let mean = load::<S, PARTIAL>(simd, count, self.affine.mean.as_ptr().add(c));
            let factor = load::<S, PARTIAL>(simd, count, self.affine.factor.as_ptr().add(c));
            let addend = load::<S, PARTIAL>(simd, count, self.affine.addend.as_ptr().add(c));
            for at in (c..self.x.len()).step_by(self.affine.mean.len()) {
                let x = load::<S, PARTIAL>(simd, count, self.x.as_ptr().add(at));
                let y = simd.mul_add(simd.sub(x, mean), factor, addend);
                store::<S, PARTIAL>(simd, count, self.out.as_mut_ptr().add(at), y);
            }
        }
    }
}

/// `grad = grad * factor + (x - mean) * of_offset + of_mean`.
pub(super) struct Centre<'a> {
    pub mean: &'a [f32],
    pub factor: &'a [f32],
    pub of_offset: &'a [f32],
    pub of_mean: &'a [f32],
    pub x: &'a [f32],
    pub grad: &'a mut [f32],
}

impl Kernel for Centre<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let channels = self.mean.len();
        assert!(self.factor.len() == channels && self.of_offset.len() == channels);
        assert!(self.of_mean.len() == channels);
        assert!(self.grad.len() == self.x.len() && self.x.len().is_multiple_of(channels));
        // SAFETY: as just checked.
        unsafe { self.cover(simd) }
    }
}

impl Panels for Centre<'_> {
    fn channels(&self) -> usize {
        self.mean.len()
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn panel<S: Simd, const PARTIAL: bool>(&mut self, simd: S, c: usize, count: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let mean = load::<S, PARTIAL>(simd, count, self.mean.as_ptr().add(c));
            let factor = load::<S, PARTIAL>(simd, count, self.factor.as_ptr().add(c));
            let of_offset = load::<S, PARTIAL>(simd, count, self.of_offset.as_ptr().add(c));
            let of_mean = load::<S, PARTIAL>(simd, count, self.of_mean.as_ptr().add(c));
            for at in (c..self.x.len()).step_by(self.mean.len()) {
                let x = load::<S, PARTIAL>(simd, count, self.x.as_ptr().add(at));
                let target = self.grad.as_mut_ptr().add(at);
                let grad = load::<S, PARTIAL>(simd, count, target);
                let rest = simd.mul_add(simd.sub(x, mean), of_offset, of_mean);
                store::<S, PARTIAL>(simd, count, target, simd.mul_add(grad, factor, rest));
            }
        }
    }
}

/// The sums over an image of `a`, and of `a * (x - origin)`; `a` is `x - origin` where none is given.
pub(super) struct Sums<'a> {
    pub a: Option<&'a [f32]>,
    pub x: &'a [f32],
    pub origin: &'a [f32],
    pub first: &'a mut [f32],
    pub second: &'a mut [f32],
}

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let channels = self.origin.len();
        assert!(self.first.len() == channels && self.second.len() == channels);
        assert!(self.a.is_none_or(|a| a.len() == self.x.len()));
        assert!(self.x.len().is_multiple_of(channels));
        // SAFETY: as just checked.
        unsafe { self.cover(simd) }
    }
}

impl Panels for Sums<'_> {
    fn channels(&self) -> usize {
        self.origin.len()
    }

    #[inline(always)]
    // SAFETY: what the trait asks of the caller.
    unsafe fn panel<S: Simd, const PARTIAL: bool>(&mut self, simd: S, c: usize, count: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let origin = load::<S, PARTIAL>(simd, count, self.origin.as_ptr().add(c));
            let pixel = self.origin.len();
            let zero = simd.splat(0.0);
            let (mut first, mut second) = (zero, zero);
            let mut at = c;
            while at < self.x.len() {
                let end = self.x.len().min(at + RUN * pixel);
                // Two of each sum, for the latency of an addition.
                let (mut even, mut odd) = ([zero; 2], [zero; 2]);
                while at + pixel < end {
                    let (a, offset) = self.term::<S, PARTIAL>(simd, count, origin, at);
                    even = [simd.add(even[0], a), simd.mul_add(a, offset, even[1])];
                    let (a, offset) = self.term::<S, PARTIAL>(simd, count, origin, at + pixel);
                    odd = [simd.add(odd[0], a), simd.mul_add(a, offset, odd[1])];
                    at += 2 * pixel;
                }
                if at < end {
                    let (a, offset) = self.term::<S, PARTIAL>(simd, count, origin, at);
                    even = [simd.add(even[0], a), simd.mul_add(a, offset, even[1])];
                    at += pixel;
                }
                first = simd.add(first, simd.add(even[0], odd[0]));
                second = simd.add(second, simd.add(even[1], odd[1]));
            }
            store::<S, PARTIAL>(simd, count, self.first.as_mut_ptr().add(c), first);
            store::<S, PARTIAL>(simd, count, self.second.as_mut_ptr().add(c), second);
        }
    }
}

impl Sums<'_> {
    /// `a` and `x - origin`.
    ///
    /// # Safety
    /// `LANES` floats (`count`, if PARTIAL) are readable from `at` on.
    #[inline(always)]
    unsafe fn term<S: Simd, const PARTIAL: bool>(
        &self,
        simd: S,
        count: usize,
        origin: S::F32,
        at: usize,
    ) -> (S::F32, S::F32) {
        // SAFETY: the caller's promise.
        unsafe {
            let x = load::<S, PARTIAL>(simd, count, self.x.as_ptr().add(at));
            let offset = simd.sub(x, origin);
            let Some(a) = self.a else { return (offset, offset) };
            (load::<S, PARTIAL>(simd, count, a.as_ptr().add(at)), offset)
        }
    }
}
