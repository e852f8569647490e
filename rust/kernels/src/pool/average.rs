//! Average pooling over windows, and over the whole image.

use ndarray::{ArrayView2, ArrayView4, ArrayViewMut2, ArrayViewMut4};

use crate::error::Result;
use crate::geometry::PoolGeometry;
use crate::sums::add;
use crate::threads::{chunks, chunks_mut, for_each};
use crate::view::{batch_of, slice, slice_mut};

/// `out` is the mean of each window's elements, padding not counted.
///
/// `x` is (batch, height, width, channels), `out` (batch, out_height, out_width, channels).
///
/// # Errors
/// An array whose shape is not that of the geometry.
pub fn average_pool(
    geometry: &PoolGeometry,
    x: ArrayView4<f32>,
    mut out: ArrayViewMut4<f32>,
) -> Result<()> {
    let g = geometry;
    let batch = x.shape()[0];
    let x = slice("x", &x, &batch_of(batch, g.input_shape()))?;
    let out = slice_mut("out", &mut out, &batch_of(batch, g.output_shape()))?;
    forward(g, x, out);
    Ok(())
}

/// [`average_pool`] on slices of the shapes of the geometry.
pub(crate) fn forward(g: &PoolGeometry, x: &[f32], out: &mut [f32]) {
    let input: usize = g.input_shape().iter().product();
    let output: usize = g.output_shape().iter().product();
    for_each((chunks(x, input), chunks_mut(out, output)), |_, (image, out)| {
        for (position, sums) in out.chunks_exact_mut(g.channels).enumerate() {
            sums.fill(0.0);
            let count = for_each_pixel(g, position, |start| {
                add(sums, &image[start..][..g.channels]);
            });
            for sum in sums {
                *sum /= count as f32;
            }
        }
    });
}

/// The gradient of [`average_pool`]: overwrites `dx` with each element of `grad` shared equally
/// among its window.
///
/// # Errors
/// An array whose shape is not that of the geometry.
pub fn average_pool_backward(
    geometry: &PoolGeometry,
    grad: ArrayView4<f32>,
    mut dx: ArrayViewMut4<f32>,
) -> Result<()> {
    let g = geometry;
    let batch = grad.shape()[0];
    let grad = slice("grad", &grad, &batch_of(batch, g.output_shape()))?;
    let dx = slice_mut("dx", &mut dx, &batch_of(batch, g.input_shape()))?;

    let input: usize = g.input_shape().iter().product();
    let output: usize = g.output_shape().iter().product();
    for_each((chunks_mut(dx, input), chunks(grad, output)), |_, (dx, grad)| {
        dx.fill(0.0);
        for (position, grads) in grad.chunks_exact(g.channels).enumerate() {
            let count = for_each_pixel(g, position, |_| {}) as f32;
            for_each_pixel(g, position, |start| {
                for (sum, grad) in dx[start..].iter_mut().zip(grads) {
                    *sum += grad / count;
                }
            });
        }
    });
    Ok(())
}

/// Calls `body` with the start of each pixel of the window at `position`; returns their number.
fn for_each_pixel(g: &PoolGeometry, position: usize, mut body: impl FnMut(usize)) -> usize {
    let (oy, ox) = (position / g.width.output, position % g.width.output);
    let (rows, columns) = (g.height.inside(oy), g.width.inside(ox));
    let count = rows.len() * columns.len();
    for a in rows {
        let y = oy * g.height.stride + a - g.height.before;
        for b in columns.clone() {
            let x = ox * g.width.stride + b - g.width.before;
            body((y * g.width.size + x) * g.channels);
        }
    }
    count
}

/// `out` is the mean over all pixels of an image, for each channel.
///
/// `x` is (batch, height, width, channels), `out` (batch, channels).
///
/// # Errors
/// An `out` of another shape.
pub fn global_average_pool(x: ArrayView4<f32>, mut out: ArrayViewMut2<f32>) -> Result<()> {
    let (batch, height, width, channels) = x.dim();
    let out = slice_mut("out", &mut out, &[batch, channels])?;
    let x = slice("x", &x, &[batch, height, width, channels])?;
    if x.is_empty() {
        out.fill(f32::NAN);
        return Ok(());
    }
    let images = chunks(x, height * width * channels);
    for_each((images, chunks_mut(out, channels)), |_, (image, sums)| {
        sums.fill(0.0);
        for pixel in image.chunks_exact(channels) {
            add(sums, pixel);
        }
        for sum in sums {
            *sum /= (height * width) as f32;
        }
    });
    Ok(())
}

/// The gradient of [`global_average_pool`]: overwrites `dx` (batch, height, width, channels) with
/// `grad` (batch, channels) shared equally among the pixels.
///
/// # Errors
/// A `grad` of another shape.
pub fn global_average_pool_backward(
    grad: ArrayView2<f32>,
    mut dx: ArrayViewMut4<f32>,
) -> Result<()> {
    let (batch, height, width, channels) = dx.dim();
    let grad = slice("grad", &grad, &[batch, channels])?;
    let dx = slice_mut("dx", &mut dx, &[batch, height, width, channels])?;
    if dx.is_empty() {
        return Ok(());
    }
    let images = chunks_mut(dx, height * width * channels);
    for_each((images, chunks(grad, channels)), |_, (image, grads)| {
        for pixel in image.chunks_exact_mut(channels) {
            for (value, grad) in pixel.iter_mut().zip(grads) {
                *value = grad / (height * width) as f32;
            }
        }
    });
    Ok(())
}
