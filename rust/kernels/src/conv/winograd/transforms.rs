//! The transforms of filters, inputs and outputs, one axis at a time, and both axes of a tile.

use super::{GAP, INPUTS, OUTPUTS, POOLED};
use crate::simd::{Simd, load, store};

/// The points of the basis: 0, A, -A, B, -B and infinity. Dyadic, so that all constants below but
/// those of the filters are exact; of such pairs, the one of the least rounding error: half that of
/// the usual 1 and 2.
const A: f32 = 0.625;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;
/// What the filters are scaled with at A and -A, at B and -B.
const NEAR: f32 = 0.5 / (AA * (AA - BB));
const FAR: f32 = 0.5 / (BB * (BB - AA));

/// `factor * value + sum`.
#[inline(always)]
fn plus<S: Simd>(simd: S, factor: f32, value: S::F32, sum: S::F32) -> S::F32 {
    simd.mul_add(simd.splat(factor), value, sum)
}

/// `G g`: the transform of a filter's three values along one axis.
#[inline(always)]
pub(super) fn transform_filter<S: Simd>(simd: S, g: [S::F32; 3]) -> [S::F32; INPUTS] {
    let zero = simd.splat(0.0);
    let near = plus(simd, NEAR, g[0], plus(simd, NEAR * AA, g[2], zero));
    let far = plus(simd, FAR, g[0], plus(simd, FAR * BB, g[2], zero));
    [
        plus(simd, 1.0 / (AA * BB), g[0], zero),
        plus(simd, NEAR * A, g[1], near),
        plus(simd, -NEAR * A, g[1], near),
        plus(simd, FAR * B, g[1], far),
        plus(simd, -FAR * B, g[1], far),
        g[2],
    ]
}

/// `B^T d`: the transform of six inputs along one axis.
#[inline(always)]
pub(super) fn transform_input<S: Simd>(simd: S, d: [S::F32; INPUTS]) -> [S::F32; INPUTS] {
    let (near_even, near_odd) = (plus(simd, -BB, d[2], d[4]), plus(simd, -BB, d[1], d[3]));
    let (far_even, far_odd) = (plus(simd, -AA, d[2], d[4]), plus(simd, -AA, d[1], d[3]));
    [
        plus(simd, AA * BB, d[0], plus(simd, -(AA + BB), d[2], d[4])),
        plus(simd, A, near_odd, near_even),
        plus(simd, -A, near_odd, near_even),
        plus(simd, B, far_odd, far_even),
        plus(simd, -B, far_odd, far_even),
        plus(simd, AA * BB, d[1], plus(simd, -(AA + BB), d[3], d[5])),
    ]
}

/// `A^T m`: four outputs along one axis.
#[inline(always)]
pub(super) fn transform_output<S: Simd>(simd: S, m: [S::F32; INPUTS]) -> [S::F32; OUTPUTS] {
    let zero = simd.splat(0.0);
    let (near_even, near_odd) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (far_even, far_odd) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    [
        simd.add(simd.add(m[0], near_even), far_even),
        plus(simd, B, far_odd, plus(simd, A, near_odd, zero)),
        plus(simd, BB, far_even, plus(simd, AA, near_even, zero)),
        plus(simd, B * BB, far_odd, plus(simd, A * AA, near_odd, m[5])),
    ]
}

/// The vertical transform of six rows of `row` floats; those of `target` are rounded up to whole
/// vectors, and so is what is read.
#[inline(always)]
pub(super) fn transform_rows<S: Simd>(simd: S, source: &[f32], row: usize, target: &mut [f32]) {
    let target_row = row.next_multiple_of(GAP);
    let source = &source[..(INPUTS - 1) * row + target_row];
    let target = &mut target[..INPUTS * target_row];
    for at in (0..target_row).step_by(S::LANES) {
        // SAFETY: `at + LANES <= target_row`, and the slices hold that many floats from the start
        // of each row on.
        unsafe {
            let mut d = [simd.splat(0.0); INPUTS];
            for (i, lanes) in d.iter_mut().enumerate() {
                *lanes = simd.load(source.as_ptr().add(i * row + at));
            }
            for (i, value) in transform_input(simd, d).into_iter().enumerate() {
                simd.store(target.as_mut_ptr().add(i * target_row + at), value);
            }
        }
    }
}

/// The horizontal transform of six pixels; its results go to six planes.
///
/// # Safety
/// `LANES` floats (`count`, if PARTIAL) must be readable at six places `pixel` apart and writable at
/// six places `plane` apart.
#[inline(always)]
pub(super) unsafe fn transform_six<S: Simd, const PARTIAL: bool>(
    simd: S,
    source: *const f32,
    target: *mut f32,
    pixel: usize,
    plane: usize,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut d = [simd.splat(0.0); INPUTS];
        for (j, lanes) in d.iter_mut().enumerate() {
            *lanes = load::<S, PARTIAL>(simd, count, source.add(j * pixel));
        }
        for (j, value) in transform_input(simd, d).into_iter().enumerate() {
            store::<S, PARTIAL>(simd, count, target.add(j * plane), value);
        }
    }
}

/// `A y`: four output gradients along one axis, in the other basis.
#[inline(always)]
pub(super) fn transform_grad<S: Simd>(simd: S, y: [S::F32; OUTPUTS]) -> [S::F32; INPUTS] {
    let zero = simd.splat(0.0);
    let near_even = plus(simd, AA, y[2], y[0]);
    let near_odd = plus(simd, A * AA, y[3], plus(simd, A, y[1], zero));
    let far_even = plus(simd, BB, y[2], y[0]);
    let far_odd = plus(simd, B * BB, y[3], plus(simd, B, y[1], zero));
    [
        y[0],
        simd.add(near_even, near_odd),
        simd.sub(near_even, near_odd),
        simd.add(far_even, far_odd),
        simd.sub(far_even, far_odd),
        y[3],
    ]
}

/// `B m`: what six places give to the gradients of six inputs along one axis.
#[inline(always)]
pub(super) fn transform_input_grad<S: Simd>(simd: S, m: [S::F32; INPUTS]) -> [S::F32; INPUTS] {
    let zero = simd.splat(0.0);
    let (near_even, near_odd) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (far_even, far_odd) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    let evens = plus(simd, -AA, far_even, plus(simd, -BB, near_even, zero));
    let odds = plus(simd, B, far_odd, plus(simd, A, near_odd, zero));
    let crossed = plus(simd, -B * AA, far_odd, plus(simd, -A * BB, near_odd, zero));
    [
        plus(simd, AA * BB, m[0], zero),
        plus(simd, AA * BB, m[5], crossed),
        plus(simd, -(AA + BB), m[0], evens),
        plus(simd, -(AA + BB), m[5], odds),
        simd.add(m[0], simd.add(near_even, far_even)),
        m[5],
    ]
}

/// `G^T m`: what six places give to the gradient of a filter's three values along one axis.
#[inline(always)]
pub(super) fn transform_filter_grad<S: Simd>(simd: S, m: [S::F32; INPUTS]) -> [S::F32; 3] {
    let zero = simd.splat(0.0);
    let (near_even, near_odd) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (far_even, far_odd) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    let evens = plus(simd, FAR, far_even, plus(simd, NEAR, near_even, zero));
    let squares = plus(simd, FAR * BB, far_even, plus(simd, NEAR * AA, near_even, m[5]));
    [
        plus(simd, 1.0 / (AA * BB), m[0], evens),
        plus(simd, FAR * B, far_odd, plus(simd, NEAR * A, near_odd, zero)),
        squares,
    ]
}

/// The four by four outputs of a tile from the vertical transforms of its products, without bias.
#[inline(always)]
pub(super) fn output_tile<S: Simd>(
    simd: S,
    columns: &[[S::F32; OUTPUTS]; INPUTS],
) -> [[S::F32; OUTPUTS]; OUTPUTS] {
    let mut outputs = [[simd.splat(0.0); OUTPUTS]; OUTPUTS];
    for (y, row) in outputs.iter_mut().enumerate() {
        *row = output_row(simd, columns, y);
    }
    outputs
}

/// The vertical transforms of a tile's products.
///
/// # Safety
/// `LANES` floats must be readable at 36 places `plane` apart.
#[inline(always)]
pub(super) unsafe fn output_columns<S: Simd>(
    simd: S,
    products: *const f32,
    plane: usize,
) -> [[S::F32; OUTPUTS]; INPUTS] {
    let zero = simd.splat(0.0);
    let mut columns = [[zero; OUTPUTS]; INPUTS];
    for (j, column) in columns.iter_mut().enumerate() {
        let mut m = [zero; INPUTS];
        for (i, lanes) in m.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *lanes = unsafe { simd.load(products.add((i * INPUTS + j) * plane)) };
        }
        *column = transform_output(simd, m);
    }
    columns
}

/// Row `y` of the outputs.
#[inline(always)]
fn output_row<S: Simd>(
    simd: S,
    columns: &[[S::F32; OUTPUTS]; INPUTS],
    y: usize,
) -> [S::F32; OUTPUTS] {
    let mut m = [simd.splat(0.0); INPUTS];
    for (lanes, column) in m.iter_mut().zip(columns) {
        *lanes = column[y];
    }
    transform_output(simd, m)
}

/// The two by two pooled outputs of a tile, without bias, and their winners; from the same.
#[inline(always)]
pub(super) fn pool_tile<S: Simd>(
    simd: S,
    columns: &[[S::F32; OUTPUTS]; INPUTS],
) -> [[(S::F32, S::Index); POOLED]; POOLED] {
    let mut pooled = [[(simd.splat(0.0), simd.zero_index()); POOLED]; POOLED];
    for (y, pooled) in pooled.iter_mut().enumerate() {
        let rows =
            [output_row(simd, columns, POOLED * y), output_row(simd, columns, POOLED * y + 1)];
        for (x, (best, winner)) in pooled.iter_mut().enumerate() {
            *best = rows[0][2 * x];
            let others = [rows[0][2 * x + 1], rows[1][2 * x], rows[1][2 * x + 1]];
            for (candidate, place) in others.into_iter().zip(1..) {
                (*best, *winner) = simd.challenge(*best, *winner, candidate, place);
            }
        }
    }
    pooled
}
