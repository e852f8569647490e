//! Dropout (Srivastava et al. 2014) and spatial dropout (Tompson et al. 2015).

use crate::error::{KernelError, Result};
use crate::random;
use crate::threads::{chunks, chunks_mut, for_each};
use crate::view::check_length;

/// `out` is `x` with elements drawn for zero, each with probability `rate`, and the others divided
/// by `1 - rate`.
///
/// `x` and `out` are images of `image` elements. Where `channels` is given they are drawn for each
/// channel of each image, all pixels alike; otherwise element by element. What is drawn depends on
/// the key and the place alone.
///
/// # Errors
/// Slices whose lengths do not fit.
pub fn dropout(
    rate: f32,
    key: u64,
    image: usize,
    channels: Option<usize>,
    x: &[f32],
    out: &mut [f32],
) -> Result<()> {
    check_length("out", out.len(), x.len())?;
    check(x.len(), image, channels)?;
    for_each((chunks(x, image), chunks_mut(out, image)), |index, (x, out)| {
        out.copy_from_slice(x);
        drop_some(rate, random::child(key, index as u64), channels.unwrap_or(image), out);
    });
    Ok(())
}

/// The gradient of [`dropout`] with the same key, in place: dropped and scaled as `x` was.
///
/// # Errors
/// A slice whose length does not fit.
pub fn dropout_backward(
    rate: f32,
    key: u64,
    image: usize,
    channels: Option<usize>,
    grad: &mut [f32],
) -> Result<()> {
    check(grad.len(), image, channels)?;
    for_each(chunks_mut(grad, image), |index, grad| {
        drop_some(rate, random::child(key, index as u64), channels.unwrap_or(image), grad);
    });
    Ok(())
}

/// What is drawn for an element repeats after `period`.
fn drop_some(rate: f32, key: u64, period: usize, image: &mut [f32]) {
    let (factor, limit) = (1.0 / (1.0 - rate), (f64::from(rate) * 2f64.powi(32)) as u32);
    for pixel in image.chunks_exact_mut(period) {
        for (place, value) in pixel.iter_mut().enumerate() {
            let drawn = (random::bits(key, place as u64) >> 32) as u32;
            *value = if drawn < limit { 0.0 } else { *value * factor };
        }
    }
}

/// That `length` elements are whole images, and these whole pixels.
pub(crate) fn check(length: usize, image: usize, channels: Option<usize>) -> Result<()> {
    let period = channels.unwrap_or(image);
    if image == 0 || period == 0 {
        return Err(KernelError::Zero { argument: "image" });
    }
    check_length("image", image, image / period * period)?;
    check_length("x", length, length / image * image)
}
