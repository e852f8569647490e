//! Bytes as numbers from 0 to 1.

use ferrocnn_kernels::Pixel;

#[test]
fn a_byte_is_divided_by_255_to_the_last_bit() {
    for byte in u8::MIN..=u8::MAX {
        assert_eq!(byte.to_f32(), f32::from(byte) / 255.0, "{byte}");
    }
}
