//! The activations of one number and their derivatives, written so that the compiler vectorises a
//! loop over them: no branches, no calls, and plain arithmetic, which is never fused, so that all
//! instruction sets give the same bits.

/// Slope of [`leaky_relu`] below zero (Maas et al. 2013).
const LEAK: f32 = 0.01;

#[inline(always)]
pub(super) fn relu(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

#[inline(always)]
pub(super) fn relu_slope(x: f32) -> f32 {
    if x > 0.0 { 1.0 } else { 0.0 }
}

#[inline(always)]
pub(super) fn leaky_relu(x: f32) -> f32 {
    if x <= 0.0 { LEAK * x } else { x }
}

#[inline(always)]
pub(super) fn leaky_relu_slope(x: f32) -> f32 {
    if x > 0.0 { 1.0 } else { LEAK }
}

/// Clevert et al. 2016, with alpha 1.
#[inline(always)]
pub(super) fn elu(x: f32) -> f32 {
    let far = decay(-x) - 1.0;
    // exp(x) - 1 from tanh(x / 2), the quotient of these, where the difference would lose digits.
    let (above, below) = lambert(0.5 * x);
    let near = 2.0 * above / (below - above);
    if x > 0.0 {
        x
    } else if x > -1.0 {
        near
    } else {
        far
    }
}

#[inline(always)]
pub(super) fn elu_slope(x: f32) -> f32 {
    let below = decay(-x);
    if x > 0.0 { 1.0 } else { below }
}

/// `x * P(N <= x)` for a standard normal N (Hendrycks and Gimpel 2016), the exact form.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    // From here on the product is 0, and infinity times 0 would not be.
    let near = if x < -16.0 { -16.0 } else { x };
    near * normal_below(near)
}

#[inline(always)]
pub(super) fn gelu_slope(x: f32) -> f32 {
    const DENSITY_AT_0: f32 = 0.398_942_3;
    // The product below is 0 from here on, and infinity times 0 would not be.
    let near = clamp(x, 16.0);
    normal_below(x) + near * (DENSITY_AT_0 * decay(0.5 * near * near))
}

/// `x * sigmoid(x)` (Ramachandran et al. 2017).
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    // From here on the product is 0 below and x above, and infinity times 0 would not be.
    let near = if x < -120.0 { -120.0 } else { x };
    near * sigmoid(near)
}

#[inline(always)]
pub(super) fn silu_slope(x: f32) -> f32 {
    let near = clamp(x, 120.0);
    sigmoid(near) + near * sigmoid_slope(near)
}

/// `1 / (1 + exp(-x))`, without overflow for any x.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let e = decay(x.abs());
    let above = 1.0 / (1.0 + e);
    if x < 0.0 { e * above } else { above }
}

#[inline(always)]
pub(super) fn sigmoid_slope(x: f32) -> f32 {
    let e = decay(x.abs());
    let above = 1.0 / (1.0 + e);
    e * above * above
}

#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let e = decay(2.0 * x.abs());
    let far = ((1.0 - e) / (1.0 + e)).copysign(x);
    let (above, below) = lambert(x);
    // Where 1 - e would lose digits.
    if x.abs() < 0.5 { above / below } else { far }
}

#[inline(always)]
pub(super) fn tanh_slope(x: f32) -> f32 {
    let e = decay(2.0 * x.abs());
    let half = 1.0 / (1.0 + e);
    4.0 * e * half * half
}

/// Numerator and denominator of tanh(x), its continued fraction (Lambert) cut off where it is
/// exact to `f32` up to 0.5 on either side of 0.
#[inline(always)]
fn lambert(x: f32) -> (f32, f32) {
    let square = x * x;
    let numerator = x * (945.0 + square * (105.0 + square));
    (numerator, 945.0 + square * (420.0 + square * 15.0))
}

/// The probability that a standard normal number is at most x, by `erf`'s approximation 7.1.26 of
/// Abramowitz and Stegun (1964), whose error is below 1.5e-7.
#[inline(always)]
fn normal_below(x: f32) -> f32 {
    let z = clamp(x, 16.0).abs();
    let t = 1.0 / (1.0 + (0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2) * z);
    let series = t
        * (0.254_829_6
            + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    let tail = 0.5 * series * decay(0.5 * z * z);
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// `x` in `-limit..=limit`; NaN stays NaN.
#[inline(always)]
fn clamp(x: f32, limit: f32) -> f32 {
    let x = if x < -limit { -limit } else { x };
    if x > limit { limit } else { x }
}

/// `exp(-x)` for x of 0 and more, within 2 units in the last place; 1 for x below 0.
///
/// With n the whole number nearest to -x / ln 2, it is 2^n times the exponential of the rest, at
/// most ln 2 / 2, whose Taylor series needs eight terms.
#[inline(always)]
fn decay(x: f32) -> f32 {
    // From here on it rounds to 0.
    const LAST: f32 = -104.0;
    // Adding this rounds to whole numbers, and leaves them in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first so short that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // 2^64 and 2^-64: 2^n times the first is a normal number.
    const UP: f32 = 18_446_744_073_709_551_616.0;
    const DOWN: f32 = 1.0 / UP;
    let negative = -(if x < 0.0 { 0.0 } else { x });
    let z = if negative < LAST { LAST } else { negative };
    let rounded = z * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = z - n * LN_2_HIGH - n * LN_2_LOW;
    let tail = 1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0)));
    let series = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * tail)));
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(UP.to_bits()));
    series * power * DOWN
}
