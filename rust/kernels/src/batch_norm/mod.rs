//! Batch norm (Ioffe and Szegedy 2015) and the activation behind it, one pass over the elements
//! each where mean and variance are known.
//!
//! Elements are pixels by channels; each channel has a mean and a variance of its own. All sums are
//! taken image by image in `f32`, lanes along the channels, and over the images in `f64`.

mod panels;

use panels::{Affine, Centre, Normalise, Sums};

use crate::activation::Activation;
use crate::error::{KernelError, Result};
use crate::scratch;
use crate::simd::dispatch;
use crate::threads::{Parts, chunks, chunks_mut, for_each};
use crate::view::check_length;

/// Floats of a piece that goes through two passes while it is in the first-level cache.
const PIECE: usize = 4096;
/// Pixels whose mean is near enough to that of all to take differences from.
const SAMPLE: usize = 64;

/// A batch norm with the activation behind it.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm<'a> {
    /// Factor of each channel.
    pub gamma: &'a [f32],
    /// Addend of each channel.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
    /// Of the normalised elements.
    pub activation: Activation,
}

/// Mean and variance (over n, not n - 1) of each channel of a batch.
#[derive(Debug)]
pub struct Moments<M> {
    /// Of each channel.
    pub mean: M,
    /// Of each channel.
    pub variance: M,
}

impl BatchNorm<'_> {
    /// That `x` elements are whole images, and these whole pixels, and that all vectors have one
    /// value a channel.
    pub(crate) fn check(&self, x: usize, image: usize, mean: usize, variance: usize) -> Result<()> {
        let channels = self.gamma.len();
        check_length("beta", self.beta.len(), channels)?;
        check_length("mean", mean, channels)?;
        check_length("variance", variance, channels)?;
        if channels == 0 || image == 0 {
            return Err(KernelError::Zero { argument: "channels" });
        }
        check_length("image", image, image / channels * channels)?;
        check_length("x", x, x / image * image)
    }

    /// That there are mean and variance to take.
    pub(crate) fn check_images(&self, count: usize) -> Result<()> {
        if count == 0 { Err(KernelError::Zero { argument: "images" }) } else { Ok(()) }
    }

    /// `(x - mean) * factor + beta` is the normalised element.
    fn factors(&self, variance: &[f32], factors: &mut [f32]) {
        for ((factor, gamma), variance) in factors.iter_mut().zip(self.gamma).zip(variance) {
            *factor = gamma / (variance + self.epsilon).sqrt();
        }
    }
}

/// `out` is the activation of `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, with mean and
/// variance those of `x`, which `moments` gives.
///
/// `x` and `out` are images of `image` elements, channels last.
///
/// # Errors
/// Slices of other lengths; no image at all.
pub fn batch_norm(
    norm: BatchNorm,
    image: usize,
    x: &[f32],
    moments: Moments<&mut [f32]>,
    out: &mut [f32],
) -> Result<()> {
    let Moments { mean, variance } = moments;
    norm.check(x.len(), image, mean.len(), variance.len())?;
    norm.check_images(x.len())?;
    check_length("out", out.len(), x.len())?;
    let channels = norm.gamma.len();

    let count = (x.len() / channels) as f64;
    scratch::with(channels, |origin| {
        // Of differences from about the mean: those from zero, or from a pixel that is far off,
        // would lose the digits of a small variance.
        sample_mean(x, origin);
        let origin = &*origin;
        let sum = |x: &[f32], first: &mut [f32], second: &mut [f32]| {
            dispatch(Sums { a: None, x, origin, first, second });
        };
        sum_images(chunks(x, image), channels, sum, |channel, [sum, square]| {
            let offset = sum / count;
            mean[channel] = (f64::from(origin[channel]) + offset) as f32;
            let difference = square / count - offset * offset;
            variance[channel] = if difference < 0.0 { 0.0 } else { difference as f32 }; // NaN stays
        });
    });
    apply(norm, image, x, Moments { mean, variance }, out);
    Ok(())
}

/// The mean of `SAMPLE` pixels, evenly spread over the batch, for each channel.
fn sample_mean(x: &[f32], mean: &mut [f32]) {
    let channels = mean.len();
    let pixels = x.len() / channels;
    let count = pixels.min(SAMPLE);
    mean.fill(0.0);
    for k in 0..count {
        let pixel = &x[k * pixels / count * channels..][..channels];
        for (mean, value) in mean.iter_mut().zip(pixel) {
            *mean += value / count as f32;
        }
    }
}

/// [`batch_norm`] with the mean and variance given.
///
/// # Errors
/// Slices of other lengths.
pub fn batch_norm_inference(
    norm: BatchNorm,
    image: usize,
    x: &[f32],
    moments: Moments<&[f32]>,
    out: &mut [f32],
) -> Result<()> {
    norm.check(x.len(), image, moments.mean.len(), moments.variance.len())?;
    check_length("out", out.len(), x.len())?;
    apply(norm, image, x, moments, out);
    Ok(())
}

fn apply(norm: BatchNorm, image: usize, x: &[f32], moments: Moments<&[f32]>, out: &mut [f32]) {
    let channels = norm.gamma.len();
    scratch::with(channels, |factors| {
        norm.factors(moments.variance, factors);
        let affine = Affine { mean: moments.mean, factor: factors, addend: norm.beta };
        for_each((chunks(x, image), chunks_mut(out, image)), |_, (x, out)| {
            let piece = piece_of(channels);
            for (x, out) in x.chunks(piece).zip(out.chunks_mut(piece)) {
                dispatch(Normalise { affine, x, out });
                norm.activation.apply(out);
            }
        });
    });
}

/// The gradients of [`batch_norm`]: overwrites `dgamma` and `dbeta`, and replaces `grad`, that of
/// `out`, with that of `x`. `moments` are those that forward gave.
///
/// # Errors
/// Slices of other lengths; no image at all.
pub fn batch_norm_backward(
    norm: BatchNorm,
    image: usize,
    grad: &mut [f32],
    x: &[f32],
    moments: Moments<&[f32]>,
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) -> Result<()> {
    let Moments { mean, variance } = moments;
    norm.check(x.len(), image, mean.len(), variance.len())?;
    norm.check_images(x.len())?;
    let channels = norm.gamma.len();
    check_length("grad", grad.len(), x.len())?;
    check_length("dgamma", dgamma.len(), channels)?;
    check_length("dbeta", dbeta.len(), channels)?;

    scratch::with(3 * channels, |vectors| {
        let (factors, shares) = vectors.split_at_mut(channels);
        norm.factors(variance, factors);
        let factor = &*factors;
        let affine = Affine { mean, factor, addend: norm.beta };
        let count = (x.len() / channels) as f64;
        let (of_offset, of_mean) = shares.split_at_mut(channels);
        let sum = |(x, grad): (&[f32], &mut [f32]), first: &mut [f32], second: &mut [f32]| {
            through_activation(norm.activation, affine, x, grad);
            dispatch(Sums { a: Some(grad), x, origin: mean, first, second });
        };
        let images = (chunks(x, image), chunks_mut(grad, image));
        sum_images(images, channels, sum, |channel, [sum, product]| {
            let spread = f64::from(variance[channel]) + f64::from(norm.epsilon);
            dbeta[channel] = sum as f32;
            dgamma[channel] = (product / spread.sqrt()) as f32;
            let factor = f64::from(factor[channel]);
            of_offset[channel] = (-factor * product / (spread * count)) as f32;
            of_mean[channel] = (-factor * sum / count) as f32;
        });
        for_each((chunks(x, image), chunks_mut(grad, image)), |_, (x, grad)| {
            dispatch(Centre { mean, factor, of_offset, of_mean, x, grad });
        });
    });
    Ok(())
}

/// From the gradient of the activation's output to that of its input, which is made again.
fn through_activation(activation: Activation, affine: Affine, x: &[f32], grad: &mut [f32]) {
    if activation == Activation::Identity {
        return;
    }
    let piece = piece_of(affine.mean.len());
    scratch::with(piece.min(x.len()), |normalised| {
        for (x, grad) in x.chunks(piece).zip(grad.chunks_mut(piece)) {
            let normalised = &mut normalised[..x.len()];
            dispatch(Normalise { affine, x, out: normalised });
            activation.apply_backward(grad, normalised);
        }
    });
}

/// Whole pixels, about [`PIECE`] floats.
fn piece_of(channels: usize) -> usize {
    PIECE.div_ceil(channels) * channels
}

/// Hands `finish` the totals of each channel over all images; `sum` overwrites the two sums of one.
fn sum_images<P: Parts>(
    images: P,
    channels: usize,
    sum: impl Fn(P::Part, &mut [f32], &mut [f32]) + Sync,
    mut finish: impl FnMut(usize, [f64; 2]),
) {
    let count = images.count().unwrap_or(0);
    scratch::with(count * 2 * channels, |sums| {
        for_each((images, chunks_mut(sums, 2 * channels)), |_, (image, sums)| {
            let (first, second) = sums.split_at_mut(channels);
            sum(image, first, second);
        });
        for channel in 0..channels {
            let of = |start: usize| -> f64 {
                sums[start..].iter().step_by(2 * channels).map(|&sum| f64::from(sum)).sum()
            };
            finish(channel, [of(channel), of(channels + channel)]);
        }
    });
}
