//! The input gradient element by element: each is the dot product of a row of the weights and an
//! image's gradient. For few images, and for inputs of which many are the zeros of a ReLU: it passes
//! no gradient there, and they are left out.

use std::ops::Range;

use crate::simd::{Kernel, LINE, Simd, load_up_to};
use crate::threads::TileMut;

/// Input features that go through all images together: their weights stay in the nearest caches.
const FEATURES: usize = 64;
/// Images that are listed together: as in `matmul::sparse`, all lists are made before the first is
/// read.
const IMAGES: usize = 4;
/// Elements that they have at most.
const MOST: usize = FEATURES * IMAGES;
/// Lanes of a dot product, whatever the instruction set: the order of its sum.
const LANES: usize = 16;
/// The most vectors that they are.
const PARTS: usize = 4;
/// Vectors of a gradient that are held in registers.
const VECTORS: usize = 8;

pub(super) struct Dots<'a> {
    /// (image, output).
    pub grad: &'a [f32],
    /// A row for each column of `dx`.
    pub weight: &'a [f32],
    pub outputs: usize,
    /// The input of the layer, where a ReLU made it, from the first column of `dx` on, and the
    /// distance of its rows. Where it is zero, `dx` becomes zero.
    pub rectified: Option<(&'a [f32], usize)>,
    pub dx: TileMut<'a, f32>,
}

impl Kernel for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (images, features) = (self.dx.rows(), self.dx.columns());
        let mut lists = Lists {
            sums: [0.0; MOST * LANES],
            elements: [0; MOST],
            values: [0.0; LANES],
            ends: [0; IMAGES],
        };
        for first in (0..features).step_by(FEATURES) {
            let features = first..features.min(first + FEATURES);
            for first in (0..images).step_by(IMAGES) {
                let images = first..images.min(first + IMAGES);
                self.list(simd, images.clone(), features.clone(), &mut lists);
                self.multiply(simd, images.clone(), features.clone(), &mut lists);
                self.store(simd, first, features.clone(), &lists);
            }
        }
    }
}

/// Of some images and some features.
#[repr(C, align(64))]
struct Lists {
    /// For each element its products in `LANES` sums.
    sums: [f32; MOST * LANES],
    /// The elements that are not left out, image by image, numbered by `FEATURES` to each.
    elements: [u32; MOST],
    /// Of the elements listed last: `compress` writes them, nobody reads them.
    values: [f32; LANES],
    /// Where the list of each image ends.
    ends: [usize; IMAGES],
}

impl Dots<'_> {
    /// Lists the elements of some images, and zeroes `dx` there.
    #[inline(always)]
    fn list<S: Simd>(
        &mut self,
        simd: S,
        images: Range<usize>,
        features: Range<usize>,
        lists: &mut Lists,
    ) {
        let count = features.len();
        let mut listed = 0;
        for (index, image) in images.enumerate() {
            let first = index * FEATURES;
            self.dx.row(image)[features.clone()].fill(0.0);
            if let Some((x, stride)) = self.rectified {
                self.prefetch(simd, image + IMAGES, features.clone());
                let x = &x[image * stride + features.start..][..count];
                for start in (0..count).step_by(S::LANES) {
                    let left = (count - start).min(S::LANES);
                    // SAFETY: `left` floats are read; `values` is a vector. No more than `first +
                    // start` elements are listed, so there is room for a vector behind them.
                    listed += unsafe {
                        let lanes = load_up_to(simd, left, x.as_ptr().add(start));
                        let values = lists.values.as_mut_ptr();
                        let elements = lists.elements.as_mut_ptr().add(listed);
                        simd.compress(lanes, (first + start) as u32, values, elements)
                    };
                }
            } else {
                for (element, feature) in lists.elements[listed..].iter_mut().zip(0..count) {
                    *element = (first + feature) as u32;
                }
                listed += count;
            }
            lists.ends[index] = listed;
        }
    }

    /// Asks for what the list of an image needs: rows that lie so far apart come from memory, and no
    /// hardware foresees them.
    #[inline(always)]
    fn prefetch<S: Simd>(&mut self, simd: S, image: usize, features: Range<usize>) {
        let Some((x, stride)) = self.rectified else { return };
        let dx = self.dx.as_mut_ptr().wrapping_add(image * self.dx.stride());
        for feature in features.step_by(LINE) {
            simd.prefetch(x.as_ptr().wrapping_add(image * stride + feature));
            simd.prefetch(dx.wrapping_add(feature));
        }
    }

    /// The products of all elements in the lists.
    #[inline(always)]
    fn multiply<S: Simd>(
        &self,
        simd: S,
        images: Range<usize>,
        features: Range<usize>,
        lists: &mut Lists,
    ) {
        let weight = &self.weight[features.start * self.outputs..][..features.len() * self.outputs];
        let mut start = 0;
        for (image, &end) in images.zip(&lists.ends) {
            let grad = &self.grad[image * self.outputs..][..self.outputs];
            let sums = &mut lists.sums[start * LANES..end * LANES];
            products(simd, grad, weight, &lists.elements[start..end], sums);
            start = end;
        }
    }

    /// Writes the sums of all elements in the lists, which are of the images from `image` on.
    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, image: usize, features: Range<usize>, lists: &Lists) {
        let listed = lists.ends[(self.dx.rows() - image).min(IMAGES) - 1];
        let elements = lists.elements[..listed].chunks(S::LANES);
        let stride = self.dx.stride();
        let dx = self.dx.as_mut_ptr().wrapping_add(image * stride + features.start);
        for (elements, sums) in elements.zip(lists.sums.chunks_exact(S::LANES * LANES)) {
            let mut totals = [0.0; LANES];
            // SAFETY: there is room for `LANES` floats, and no vector is longer.
            unsafe {
                simd.store(totals.as_mut_ptr(), simd.totals(&halved(simd, sums)[..S::LANES]))
            };
            for (&element, total) in elements.iter().zip(totals) {
                let (image, feature) = (element as usize / FEATURES, element as usize % FEATURES);
                // SAFETY: `list` numbered the element by an image and a feature that are here.
                unsafe { *dx.add(image * stride + feature) = total };
            }
        }
    }
}

/// For each of the `elements` of an image the products of its row of `weight` with `grad`, in
/// `LANES` sums.
#[inline(always)]
fn products<S: Simd>(simd: S, grad: &[f32], weight: &[f32], elements: &[u32], sums: &mut [f32]) {
    let parts = LANES / S::LANES;
    let outputs = grad.len();
    let step = VECTORS * S::LANES;
    let whole = outputs - outputs % step;
    if whole == 0 {
        sums.fill(0.0);
    }
    assert!(sums.len() == elements.len() * LANES);
    debug_assert!(elements.iter().all(|&e| (e as usize % FEATURES + 1) * outputs <= weight.len()));
    // SAFETY: an element is that of a row of `weight`, which has as many floats as `grad`: `whole`
    // of them are whole steps, and of the others no more than there are is read. For each element
    // there are `LANES` sums.
    unsafe {
        for k in (0..whole).step_by(step) {
            let mut factors = [simd.splat(0.0); VECTORS];
            for (v, factor) in factors.iter_mut().enumerate() {
                *factor = simd.load(grad.as_ptr().add(k + v * S::LANES));
            }
            for (index, &element) in elements.iter().enumerate() {
                let row = weight.as_ptr().add(element as usize % FEATURES * outputs + k);
                let target = sums.as_mut_ptr().add(index * LANES);
                let mut sums = [simd.splat(0.0); PARTS];
                for (part, sum) in sums.iter_mut().enumerate().take(parts) {
                    if k > 0 {
                        *sum = simd.load(target.add(part * S::LANES));
                    }
                }
                for (v, &factor) in factors.iter().enumerate() {
                    let lanes = simd.load(row.add(v * S::LANES));
                    sums[v % parts] = simd.mul_add(lanes, factor, sums[v % parts]);
                }
                for (part, &sum) in sums.iter().enumerate().take(parts) {
                    simd.store(target.add(part * S::LANES), sum);
                }
            }
        }
        // All parts of the last `LANES`, so that zeros are added to the same sums in all sets.
        for k in (whole..outputs.next_multiple_of(LANES)).step_by(S::LANES) {
            let (at, count) = (k.min(outputs), outputs.saturating_sub(k).min(S::LANES));
            let factor = load_up_to(simd, count, grad.as_ptr().add(at));
            for (index, &element) in elements.iter().enumerate() {
                let row = weight.as_ptr().add(element as usize % FEATURES * outputs + at);
                let target = sums.as_mut_ptr().add(index * LANES + k % LANES);
                let sum = simd.mul_add(load_up_to(simd, count, row), factor, simd.load(target));
                simd.store(target, sum);
            }
        }
    }
}

/// The sums of `LANES` rows with as many lanes as a vector has.
#[inline(always)]
fn halved<S: Simd>(simd: S, sums: &[f32]) -> [S::F32; LANES] {
    let mut vectors = [simd.splat(0.0); LANES];
    for (vector, sums) in vectors.iter_mut().zip(sums.chunks_exact(LANES)) {
        // SAFETY: the parts are those of `LANES` floats.
        let part = |k: usize| unsafe { simd.load(sums.as_ptr().add(k * S::LANES)) };
        *vector = match LANES / S::LANES {
            1 => part(0),
            2 => simd.add(part(0), part(1)),
            _ => simd.add(simd.add(part(0), part(2)), simd.add(part(1), part(3))),
        };
    }
    vectors
}
