//! The truth: one loop for each index, in f64.

#![allow(dead_code, reason = "each test binary uses its own part")]

use ferrocnn_kernels::{Axis, BlockGeometry, ConvGeometry, Padding};
use ndarray::{Array, Array4, Dimension, ShapeBuilder};
use proptest::prelude::*;

/// Numbers in -1..1 that depend on the seed and the position alone.
pub fn values<D: Dimension, S: ShapeBuilder<Dim = D>>(shape: S, seed: u64) -> Array<f32, D> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    Array::from_shape_simple_fn(shape, || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    })
}

pub fn paddings() -> impl Strategy<Value = Padding> {
    prop_oneof![
        Just(Padding::Same),
        Just(Padding::Valid),
        (0..4usize, 0..4usize, 0..4usize, 0..4usize)
            .prop_map(|(top, bottom, left, right)| Padding::Explicit { top, bottom, left, right }),
    ]
}

/// Geometries that fit; those that do not are drawn again.
pub fn geometries() -> impl Strategy<Value = ConvGeometry> {
    let channels = || prop_oneof![1..20usize, Just(24), Just(33), Just(100)];
    (
        (1..10usize, 1..10usize, channels()),
        (1..6usize, 1..6usize),
        channels(),
        (1..4usize, 1..4usize),
        paddings(),
    )
        .prop_filter_map("fits", |(input, kernel, filters, stride, padding)| {
            ConvGeometry::new(input, kernel, filters, stride, padding).ok()
        })
}

/// Blocks of the model that fit.
pub fn block_geometries() -> impl Strategy<Value = BlockGeometry> {
    let channels = || prop_oneof![1..10usize, Just(16), Just(24), Just(32), Just(40), Just(100)];
    let padding = prop_oneof![
        Just(Padding::Same),
        Just(Padding::Valid),
        Just(Padding::Explicit { top: 2, bottom: 0, left: 1, right: 3 })
    ];
    ((1..14usize, 1..14usize, channels()), (1..6usize, 1..6usize), channels(), padding)
        .prop_filter_map("fits", |(input, kernel, filters, padding)| {
            BlockGeometry::new(input, kernel, filters, padding).ok()
        })
}

/// The input position under offset `k` of window `o`, if it is not padding.
fn position(axis: &Axis, o: usize, k: usize) -> Option<usize> {
    (o * axis.stride + k).checked_sub(axis.before).filter(|&position| position < axis.size)
}

/// Calls `body` with (image, oy, ox, filter, y, x, channel, a, b) for every product of a
/// convolution: the seven loops.
pub fn for_each_product(
    g: &ConvGeometry,
    batch: usize,
    mut body: impl FnMut([usize; 4], [usize; 4], [usize; 4]),
) {
    for i in 0..batch {
        for oy in 0..g.height.output {
            for ox in 0..g.width.output {
                for f in 0..g.out_channels {
                    for a in 0..g.height.window {
                        for b in 0..g.width.window {
                            let at = (position(&g.height, oy, a), position(&g.width, ox, b));
                            let (Some(y), Some(x)) = at else { continue };
                            for c in 0..g.in_channels {
                                body([i, oy, ox, f], [i, y, x, c], [a, b, c, f]);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Every element within `tolerance`, which the caller derives from the number of terms.
pub fn assert_close<D: Dimension>(got: &Array<f32, D>, expected: &Array<f64, D>, tolerance: f64) {
    assert_eq!(got.shape(), expected.shape());
    for (index, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let difference = (f64::from(got) - expected).abs();
        assert!(difference <= tolerance, "element {index}: got {got}, expected {expected}");
    }
}

/// The error of a float32 sum of `terms` products of numbers below 1.
pub fn rounding(terms: usize) -> f64 {
    (terms as f64 + 2.0) * f64::from(f32::EPSILON)
}

/// The error of a Winograd F(4x4, 3x3) sum over `terms` tiles of numbers below 1.
///
/// Numbers drawn from -1 to 1 have mean square 1/3. A transformed place k of a tile has, along one
/// axis, that times the sum of squares of its row in each matrix; summed over k with those of the
/// last matrix, 24.5 for an output, 21.6 for an input's gradient and 26.2 for a weight's. Each of
/// some 16 transform steps rounds a term once, and each sum its part so far, by u / sqrt(3) at
/// most. Taken as independent, eight standard deviations leave out one in 10^15.
pub fn winograd_rounding(terms: usize) -> f64 {
    let terms = terms as f64;
    let rounding = f64::from(f32::EPSILON) / 2.0 / 3f64.sqrt();
    8.0 * (26.2 / 3.0) * rounding * (terms * (16.0 + terms / 2.0)).sqrt()
}

/// Zeros in f64 of the shape (batch, shape...).
pub fn zeros(batch: usize, shape: [usize; 3]) -> Array4<f64> {
    Array4::zeros((batch, shape[0], shape[1], shape[2]))
}
