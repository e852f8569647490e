//! The gradients of a convolution behind a 2x2 max pool, from the pooled gradient alone.
//!
//! Of four outputs of the convolution only the winner carries gradient, and where a ReLU was dead
//! not even that one does. So instead of spreading the gradient over a full-resolution map that
//! is at least 3/4 zeros, both gradients are summed over the *live* elements: those of the pooled
//! gradient that are not zero. With g the gradient of a live element of output channel f whose
//! window starts at (y, x):
//!
//! - `dweight[:, :, :, f] += g * x[y.., x.., :]`: for each channel a list of its live elements is
//!   made, and the sum over it is held in registers;
//! - `dx[y.., x.., :] += g * weight[:, :, :, f]`: for each pooled pixel and each of the four
//!   places a list of the channels that won there is made, and their sum is held in registers.
//!
//! In NHWC a window is `kernel_h` contiguous runs of `kernel_w * in_channels` floats, so both are
//! sums of scaled runs, and `runs` is their common body. This is exact: what is left out is a
//! product with zero.

use ndarray::{ArrayView4, ArrayViewMut1, ArrayViewMut4};

use super::padded::{crop, image_size, pad, padded_row, padded_size};
use super::runs::{Runs, SLACK, Term, lists};
use crate::error::Result;
use crate::geometry::BlockGeometry;
use crate::pixel::Pixel;
use crate::scratch;
use crate::simd::{Kernel, Simd, dispatch};
use crate::sums::{add, over_images};
use crate::threads::{chunks, chunks_mut, for_each};
use crate::view::{batch_of, slice, slice_mut};

/// Bytes.
const CACHE_LINE: usize = 64;

/// The gradients of a convolution of stride 1 behind a 2x2 max pool: overwrites `dx` (where asked
/// for), `dweight` and `dbias`.
///
/// `grad` and `winners` are (batch, pooled_height, pooled_width, out_channels): the gradient of
/// the pooled output and the winners that forward gave. `x`, `dx` are (batch, height, width,
/// in_channels), `weight`, `dweight` (kernel_h, kernel_w, in_channels, out_channels), `dbias`
/// (out_channels).
///
/// # Errors
/// An array whose shape is not that of the geometry.
#[allow(clippy::too_many_arguments, reason = "the arrays of one layer's backward pass")]
pub fn conv_pool_backward<T: Pixel>(
    geometry: &BlockGeometry,
    grad: ArrayView4<f32>,
    winners: ArrayView4<u8>,
    x: ArrayView4<T>,
    weight: ArrayView4<f32>,
    mut dx: Option<ArrayViewMut4<f32>>,
    mut dweight: ArrayViewMut4<f32>,
    mut dbias: ArrayViewMut1<f32>,
) -> Result<()> {
    let BlockGeometry { conv, pool } = geometry;
    let batch = x.shape()[0];
    let x = slice("x", &x, &batch_of(batch, conv.input_shape()))?;
    let grad = slice("grad", &grad, &batch_of(batch, pool.output_shape()))?;
    let winners = slice("winners", &winners, &batch_of(batch, pool.output_shape()))?;
    let weight = slice("weight", &weight, &conv.weight_shape())?;
    let dweight = slice_mut("dweight", &mut dweight, &conv.weight_shape())?;
    let dbias = slice_mut("dbias", &mut dbias, &[conv.out_channels])?;
    let dx = match &mut dx {
        Some(dx) => Some(slice_mut("dx", dx, &batch_of(batch, conv.input_shape()))?),
        None => None,
    };

    weight_gradient(geometry, grad, winners, x, dweight, dbias);
    if let Some(dx) = dx {
        input_gradient(geometry, grad, winners, weight, dx);
    }
    Ok(())
}

fn weight_gradient<T: Pixel>(
    geometry: &BlockGeometry,
    grad: &[f32],
    winners: &[u8],
    x: &[T],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    let BlockGeometry { conv, pool } = geometry;
    let (input, output) = (image_size(conv.input_shape()), image_size(pool.output_shape()));
    // The sums are (out_channels, kernel_h, kernel_w * in_channels), then the biases.
    let weights = dweight.len();
    let add_image = |image: usize, sums: &mut [f32]| {
        let (dweight, dbias) = sums.split_at_mut(weights);
        let grad = &grad[image * output..][..output];
        let winners = &winners[image * output..][..output];
        add_weight_gradient(geometry, grad, winners, &x[image * input..][..input], dweight);
        for pixel in grad.chunks_exact(conv.out_channels) {
            add(dbias, pixel);
        }
    };
    over_images(x.len() / input, weights + dbias.len(), add_image, |sums| {
        let window = weights / conv.out_channels;
        for (position, values) in dweight.chunks_exact_mut(conv.out_channels).enumerate() {
            for (f, value) in values.iter_mut().enumerate() {
                *value = sums[f * window + position];
            }
        }
        dbias.copy_from_slice(&sums[weights..]);
    });
}

fn add_weight_gradient<T: Pixel>(
    geometry: &BlockGeometry,
    grad: &[f32],
    winners: &[u8],
    image: &[T],
    dweight: &mut [f32],
) {
    let BlockGeometry { conv, pool } = geometry;
    let (row, channels) = (padded_row(conv), conv.out_channels);
    // Lists a power of two apart would fall into one cache set.
    let capacity = pool.height.output * pool.width.output + CACHE_LINE / size_of::<Term>();
    let places = places(conv.in_channels, row);
    scratch::with(padded_size(conv) + SLACK, |padded| {
        let (image_part, slack) = padded.split_at_mut(padded_size(conv));
        pad(conv, image, image_part);
        slack.fill(0.0);
        let padded = &*padded;
        lists(channels, capacity, |terms, lengths| {
            for (position, (grads, winners)) in
                grad.chunks_exact(channels).zip(winners.chunks_exact(channels)).enumerate()
            {
                let (y, x) = (position / pool.width.output, position % pool.width.output);
                let start = 2 * (y * row + x * conv.in_channels);
                for (f, (&factor, &winner)) in grads.iter().zip(winners).enumerate() {
                    let source = start + places[usize::from(winner & 3)];
                    terms[f * capacity + lengths[f]] = Term { factor, source: source as u32 };
                    lengths[f] += usize::from(factor != 0.0);
                }
            }
            let window = dweight.len() / channels;
            for (f, target) in dweight.chunks_exact_mut(window).enumerate() {
                dispatch(Runs {
                    terms: &terms[f * capacity..][..lengths[f]],
                    rows: conv.height.window,
                    run: window / conv.height.window,
                    source: padded,
                    source_row: row,
                    target,
                    target_row: window / conv.height.window,
                });
            }
        });
    });
}

fn input_gradient(
    geometry: &BlockGeometry,
    grad: &[f32],
    winners: &[u8],
    weight: &[f32],
    dx: &mut [f32],
) {
    let BlockGeometry { conv, pool } = geometry;
    let output = image_size(pool.output_shape());
    let channels = conv.out_channels;
    let window = weight.len() / channels;
    scratch::with(weight.len() + SLACK, |filters| {
        for (position, values) in weight.chunks_exact(channels).enumerate() {
            for (f, &value) in values.iter().enumerate() {
                filters[f * window + position] = value;
            }
        }
        filters[weight.len()..].fill(0.0);
        let filters = &*filters;
        let images = chunks_mut(dx, image_size(conv.input_shape()));
        let images = (images, chunks(grad, output), chunks(winners, output));
        for_each(images, |_, (dx, grad, winners)| {
            scratch::with(padded_size(conv), |padded| {
                padded.fill(0.0);
                lists(4, channels, |terms, lengths| {
                    dispatch(Spread { geometry, grad, winners, filters, padded, terms, lengths });
                });
                crop(conv, padded, dx);
            });
        });
    });
}

/// Adds the input gradient of one image to `padded`.
struct Spread<'a> {
    geometry: &'a BlockGeometry,
    grad: &'a [f32],
    winners: &'a [u8],
    filters: &'a [f32],
    padded: &'a mut [f32],
    /// Room for four lists, one for each place, of as many terms as there are channels.
    terms: &'a mut [Term],
    lengths: &'a mut [usize],
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let BlockGeometry { conv, pool } = self.geometry;
        let (row, channels) = (padded_row(conv), conv.out_channels);
        let run = conv.width.window * conv.in_channels;
        let places = places(conv.in_channels, row);
        let pixels = self.grad.chunks_exact(channels).zip(self.winners.chunks_exact(channels));
        for (position, (grads, winners)) in pixels.enumerate() {
            let (y, x) = (position / pool.width.output, position % pool.width.output);
            let start = 2 * (y * row + x * conv.in_channels);
            self.lengths.fill(0);
            for (f, (&factor, &winner)) in grads.iter().zip(winners).enumerate() {
                let place = usize::from(winner & 3);
                let length = &mut self.lengths[place];
                let source = (f * conv.height.window * run) as u32;
                self.terms[place * channels + *length] = Term { factor, source };
                *length += usize::from(factor != 0.0);
            }
            for (place, offset) in places.into_iter().enumerate() {
                Runs {
                    terms: &self.terms[place * channels..][..self.lengths[place]],
                    rows: conv.height.window,
                    run,
                    source: self.filters,
                    source_row: run,
                    target: &mut self.padded[start + offset..],
                    target_row: row,
                }
                .run(simd);
            }
        }
    }
}

/// Where the window of each of the four places of a 2x2 pool starts in a padded image.
fn places(channels: usize, row: usize) -> [usize; 4] {
    [0, channels, row, row + channels]
}
