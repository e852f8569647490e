//! Convolution for any geometry, as products over padded copies of the images.
//!
//! - forward: for each output row, a product of its windows (read in place) and the weights;
//! - weight gradient: for each kernel row, the product of the transposed windows and the output
//!   gradient, summed over a fixed group of images, then over the groups in order;
//! - input gradient: the forward product again, over the output gradient with `stride - 1` zeros
//!   between its pixels, and the weights rotated by 180 degrees with in and out exchanged.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView4, ArrayViewMut1, ArrayViewMut4};

use super::padded::{image_size, pad_rows, padded_row, padded_size, place};
use crate::error::Result;
use crate::geometry::ConvGeometry;
use crate::matmul::{Finish, Left, Product, Start};
use crate::pixel::Pixel;
use crate::scratch;
use crate::simd::Ahead;
use crate::sums::{add, in_groups, totals};
use crate::threads::{TileMut, chunks, chunks_mut, for_each};
use crate::view::{batch_of, slice, slice_mut};

/// `out[i, y, x, :] = bias + sum over (a, b, c) of x[i, y*sh + a - top, x*sw + b - left, c] *
/// weight[a, b, c, :]`, with zeros outside the image.
///
/// `x` is (batch, height, width, in_channels), `weight` (kernel_h, kernel_w, in_channels,
/// out_channels), `bias` (out_channels), `out` (batch, out_height, out_width, out_channels).
///
/// # Errors
/// An array whose shape is not that of the geometry.
pub fn conv2d<T: Pixel>(
    geometry: &ConvGeometry,
    x: ArrayView4<T>,
    weight: ArrayView4<f32>,
    bias: Option<ArrayView1<f32>>,
    mut out: ArrayViewMut4<f32>,
) -> Result<()> {
    let g = geometry;
    let batch = x.shape()[0];
    let x = slice("x", &x, &batch_of(batch, g.input_shape()))?;
    let weight = slice("weight", &weight, &g.weight_shape())?;
    let bias = match &bias {
        Some(bias) => Some(slice("bias", bias, &[g.out_channels])?),
        None => None,
    };
    let out = slice_mut("out", &mut out, &batch_of(batch, g.output_shape()))?;
    forward(g, x, weight, bias, out);
    Ok(())
}

/// [`conv2d`] on slices of the shapes of the geometry.
pub(super) fn forward<T: Pixel>(
    g: &ConvGeometry,
    x: &[T],
    weight: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let images = chunks(x, image_size(g.input_shape()));
    let outputs = chunks_mut(out, image_size(g.output_shape()));
    for_each((images, outputs), |_, (image, out)| {
        scratch::with(padded_size(g), |padded| {
            pad_rows(g, image, 0, padded);
            correlate(g.width.output, out, g.out_channels, |row| Windows {
                padded: &padded[row * g.height.stride * padded_row(g)..],
                row: padded_row(g),
                pixel: g.width.stride * g.in_channels,
                kernel: (g.height.window, g.width.window * g.in_channels),
                weight,
                bias,
            });
        });
    });
}

/// The gradients of [`conv2d`]: overwrites `dx` (where asked for), `dweight` and `dbias`, shaped
/// as `x`, `weight` and `bias`, from `grad`, shaped as `out`.
///
/// For a `u8` image `dx` is the gradient with respect to the scaled values.
///
/// # Errors
/// An array whose shape is not that of the geometry.
pub fn conv2d_backward<T: Pixel>(
    geometry: &ConvGeometry,
    grad: ArrayView4<f32>,
    x: ArrayView4<T>,
    weight: ArrayView4<f32>,
    mut dx: Option<ArrayViewMut4<f32>>,
    mut dweight: ArrayViewMut4<f32>,
    mut dbias: ArrayViewMut1<f32>,
) -> Result<()> {
    let g = geometry;
    let batch = x.shape()[0];
    let x = slice("x", &x, &batch_of(batch, g.input_shape()))?;
    let grad = slice("grad", &grad, &batch_of(batch, g.output_shape()))?;
    let weight = slice("weight", &weight, &g.weight_shape())?;
    let dweight = slice_mut("dweight", &mut dweight, &g.weight_shape())?;
    let dbias = slice_mut("dbias", &mut dbias, &[g.out_channels])?;
    let dx = match &mut dx {
        Some(dx) => Some(slice_mut("dx", dx, &batch_of(batch, g.input_shape()))?),
        None => None,
    };

    weight_gradient(g, grad, x, dweight, dbias);
    if let Some(dx) = dx {
        input_gradient(g, grad, weight, dx);
    }
    Ok(())
}

fn weight_gradient<T: Pixel>(
    g: &ConvGeometry,
    grad: &[f32],
    x: &[T],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    let input = image_size(g.input_shape());
    let output = image_size(g.output_shape());
    let weights = dweight.len();
    let add_images = |images: Range<usize>, sums: &mut [f32]| {
        let (dweight, dbias) = sums.split_at_mut(weights);
        for image in images {
            let grad = &grad[image * output..][..output];
            add_weight_gradient(g, grad, &x[image * input..][..input], dweight);
            for pixel in grad.chunks_exact(g.out_channels) {
                add(dbias, pixel);
            }
        }
    };
    in_groups(x.len() / input, weights + dbias.len(), add_images, |partials| {
        totals(partials, dweight, dbias);
    });
}

fn add_weight_gradient<T: Pixel>(g: &ConvGeometry, grad: &[f32], image: &[T], dweight: &mut [f32]) {
    scratch::with(padded_size(g), |padded| {
        pad_rows(g, image, 0, padded);
        let run = g.width.window * g.in_channels;
        for (a, dweight) in dweight.chunks_exact_mut(run * g.out_channels).enumerate() {
            Product {
                runs: g.height.output,
                run_length: g.width.output,
                left: Left {
                    data: &padded[a * padded_row(g)..],
                    row: 1,
                    run: g.height.stride * padded_row(g),
                    step: g.width.stride * g.in_channels,
                },
                right: grad,
                right_row: g.out_channels,
                start: Start::Out,
                finish: Finish::Store,
                out: TileMut::new(dweight, g.out_channels),
                ahead: Ahead::new(),
            }
            .compute();
        }
    });
}

fn input_gradient(g: &ConvGeometry, grad: &[f32], weight: &[f32], dx: &mut [f32]) {
    let (height, width) = (g.height.size + g.height.window - 1, g.width.size + g.width.window - 1);
    let corner = |window: usize, before: usize| window as isize - 1 - before as isize;
    let offset = (corner(g.height.window, g.height.before), corner(g.width.window, g.width.before));
    let row = width * g.out_channels;
    scratch::with(weight.len(), |rotated| {
        rotate(g, weight, rotated);
        let rotated = &*rotated;
        let grads = chunks(grad, image_size(g.output_shape()));
        let images = chunks_mut(dx, image_size(g.input_shape()));
        for_each((grads, images), |_, (grad, dx)| {
            scratch::with(height * row, |spread| {
                let spacing = (g.height.stride, g.width.stride);
                place(grad, g.output_shape(), spread, (height, width), offset, spacing);
                correlate(g.width.size, dx, g.in_channels, |y| Windows {
                    padded: &spread[y * row..],
                    row,
                    pixel: g.out_channels,
                    kernel: (g.height.window, g.width.window * g.out_channels),
                    weight: rotated,
                    bias: None,
                });
            });
        });
    });
}

/// The windows of one output row, and what they are multiplied with.
struct Windows<'a> {
    /// From the first element of the first window on.
    padded: &'a [f32],
    /// Distance between rows of `padded`.
    row: usize,
    /// Distance between the windows of neighbouring pixels.
    pixel: usize,
    /// Rows of a window, and contiguous floats in each.
    kernel: (usize, usize),
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
}

/// Fills `out`, rows of `width` pixels of `channels`, from the windows of each row.
fn correlate<'a>(
    width: usize,
    out: &mut [f32],
    channels: usize,
    windows_of: impl Fn(usize) -> Windows<'a>,
) {
    for (y, out) in out.chunks_exact_mut(width * channels).enumerate() {
        let windows = windows_of(y);
        Product {
            runs: windows.kernel.0,
            run_length: windows.kernel.1,
            left: Left { data: windows.padded, row: windows.pixel, run: windows.row, step: 1 },
            right: windows.weight,
            right_row: channels,
            start: windows.bias.map_or(Start::Zero, Start::Bias),
            finish: Finish::Store,
            out: TileMut::new(out, channels),
            ahead: Ahead::new(),
        }
        .compute();
    }
}

/// `rotated[kh-1-a, kw-1-b, o, c] = weight[a, b, c, o]`.
fn rotate(g: &ConvGeometry, weight: &[f32], rotated: &mut [f32]) {
    let position = g.in_channels * g.out_channels;
    let sources = weight.chunks_exact(position).rev();
    for (source, target) in sources.zip(rotated.chunks_exact_mut(position)) {
        for (c, row) in source.chunks_exact(g.out_channels).enumerate() {
            for (o, &value) in row.iter().enumerate() {
                target[o * g.in_channels + c] = value;
            }
        }
    }
}
