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
    /// Divides, as NumPy does: a product with 1/255 would differ in the last bit.
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(self) / 255.0
    }
}
