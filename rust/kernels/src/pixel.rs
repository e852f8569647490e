//! What an image may be made of.

/// An element of an input image.
pub trait Pixel: Copy + Send + Sync {
    /// The value that the network sees.
    fn to_f32(self) -> f32;
}

impl Pixel for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Pixel for u8 {
    /// Divided by 255, as NumPy does it: to the last bit, which a product with 1/255 would miss, but
    /// without a division, which takes a vector ten cycles. 1/255 is 257/65536 and that over 65536
    /// and so on; the first product is exact.
    #[inline(always)]
    fn to_f32(self) -> f32 {
        const STEP: f32 = 1.0 / 65536.0;
        let value = f32::from(self);
        value * (257.0 * STEP) + value * (257.0 * STEP * STEP * (1.0 + STEP))
    }
}

/// The nearest byte; halves go to the even one.
#[inline(always)]
pub(crate) fn byte(value: f32) -> u8 {
    // At 2^23 a float counts in ones, so that the sum rounds and its last bits are the integer:
    // unlike a conversion that minds what is out of range, two instructions for all lanes.
    (clamp(value) + 8_388_608.0).to_bits() as u8
}

/// `value` within 0..=255; NaN becomes 0.
#[inline(always)]
pub(crate) fn clamp(value: f32) -> f32 {
    let positive = if value > 0.0 { value } else { 0.0 };
    if positive < 255.0 { positive } else { 255.0 }
}
