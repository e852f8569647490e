//! The range of values, and that nothing that is not finite slips through.

mod common;

use common::values;
use ferrocnn_kernels::range::finite_range;

#[test]
fn the_range_is_that_of_a_plain_search() {
    for (length, seed) in [(1, 1), (7, 2), (100, 3), (40_000, 4)] {
        let array = values(length, seed);
        let low = array.iter().copied().fold(f32::INFINITY, f32::min);
        let high = array.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(finite_range(array.as_slice().unwrap()), Some((low, high)));
    }
    assert_eq!(finite_range(&[f32::MAX, f32::MIN]), Some((f32::MIN, f32::MAX)));
    assert_eq!(finite_range(&[]), Some((f32::INFINITY, f32::NEG_INFINITY)));
}

#[test]
fn what_is_not_finite_is_found_anywhere() {
    let negative_nan = f32::from_bits(f32::NAN.to_bits() | 1 << 31);
    for wrong in [f32::NAN, negative_nan, f32::INFINITY, f32::NEG_INFINITY] {
        for place in [0, 15, 16_383, 16_384, 39_999] {
            let mut array = values(40_000, 5);
            array[place] = wrong;
            assert_eq!(finite_range(array.as_slice().unwrap()), None, "{wrong} at {place}");
        }
    }
}
