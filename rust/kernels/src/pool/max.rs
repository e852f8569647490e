//! Max pooling. Forward also gives each window's winner, which is all that backward needs.

use std::sync::{Mutex, PoisonError};

use ndarray::{ArrayView4, ArrayViewMut4};

use crate::error::{KernelError, Result};
use crate::geometry::PoolGeometry;
use crate::threads::{chunks, chunks_mut, for_each};
use crate::view::{batch_of, slice, slice_mut};

/// The index of an element in its window, `row * window_width + column`: one byte, or four where
/// a window has more than 256 elements.
pub trait Winner: Copy + Default + Send + Sync {
    /// Elements that a window may have.
    const LARGEST_WINDOW: usize;

    /// Narrows; `index < LARGEST_WINDOW`.
    fn from_index(index: usize) -> Self;

    /// Widens.
    fn index(self) -> usize;
}

impl Winner for u8 {
    const LARGEST_WINDOW: usize = 1 << 8;

    fn from_index(index: usize) -> Self {
        index as u8
    }

    fn index(self) -> usize {
        self.into()
    }
}

impl Winner for u32 {
    const LARGEST_WINDOW: usize = u32::MAX as usize;

    fn from_index(index: usize) -> Self {
        index as u32
    }

    fn index(self) -> usize {
        self as usize
    }
}

pub(crate) fn check_window<W: Winner>(g: &PoolGeometry) -> Result<()> {
    if g.window_area() > W::LARGEST_WINDOW {
        return Err(KernelError::TooLarge { argument: "window", got: g.window_area() });
    }
    Ok(())
}

/// `out` is the largest element of each window, `winners` its index there. The first of equals in
/// row order wins; NaN beats every number.
///
/// `x` is (batch, height, width, channels), `out` and `winners` (batch, out_height, out_width,
/// channels).
///
/// # Errors
/// An array whose shape is not that of the geometry; a window too large for `W`.
pub fn max_pool<W: Winner>(
    geometry: &PoolGeometry,
    x: ArrayView4<f32>,
    mut out: ArrayViewMut4<f32>,
    mut winners: ArrayViewMut4<W>,
) -> Result<()> {
    let g = geometry;
    check_window::<W>(g)?;
    let batch = x.shape()[0];
    let x = slice("x", &x, &batch_of(batch, g.input_shape()))?;
    let out = slice_mut("out", &mut out, &batch_of(batch, g.output_shape()))?;
    let winners = slice_mut("winners", &mut winners, &batch_of(batch, g.output_shape()))?;
    forward(g, x, out, winners);
    Ok(())
}

/// [`max_pool`] on slices of the shapes of the geometry.
pub(crate) fn forward<W: Winner>(g: &PoolGeometry, x: &[f32], out: &mut [f32], winners: &mut [W]) {
    let input: usize = g.input_shape().iter().product();
    let output: usize = g.output_shape().iter().product();
    let images = (chunks(x, input), chunks_mut(out, output), chunks_mut(winners, output));
    for_each(images, |_, (image, out, winners)| max_pool_image(g, image, out, winners));
}

fn max_pool_image<W: Winner>(g: &PoolGeometry, x: &[f32], out: &mut [f32], winners: &mut [W]) {
    let c = g.channels;
    let windows = out.chunks_exact_mut(c).zip(winners.chunks_exact_mut(c)).enumerate();
    for (position, (best, winners)) in windows {
        let (oy, ox) = (position / g.width.output, position % g.width.output);
        let mut empty = true;
        for a in g.height.inside(oy) {
            for b in g.width.inside(ox) {
                let values = &x[pixel(g, oy, ox, a, b) * c..][..c];
                let winner = W::from_index(a * g.width.window + b);
                if empty {
                    best.copy_from_slice(values);
                    winners.fill(winner);
                    empty = false;
                    continue;
                }
                for ((best, index), &value) in best.iter_mut().zip(winners.iter_mut()).zip(values) {
                    if value > *best || (value.is_nan() && !best.is_nan()) {
                        *best = value;
                        *index = winner;
                    }
                }
            }
        }
    }
}

/// The input pixel at (a, b) of the window at (oy, ox).
fn pixel(g: &PoolGeometry, oy: usize, ox: usize, a: usize, b: usize) -> usize {
    let y = oy * g.height.stride + a - g.height.before;
    let x = ox * g.width.stride + b - g.width.before;
    y * g.width.size + x
}

/// The gradient of [`max_pool`]: overwrites `dx` with each element of `grad` at its winner, the
/// sum where windows overlap, and zeros elsewhere.
///
/// # Errors
/// An array whose shape is not that of the geometry; a winner outside its window, in which case
/// the content of `dx` is unspecified.
pub fn max_pool_backward<W: Winner>(
    geometry: &PoolGeometry,
    grad: ArrayView4<f32>,
    winners: ArrayView4<W>,
    mut dx: ArrayViewMut4<f32>,
) -> Result<()> {
    let g = geometry;
    check_window::<W>(g)?;
    let batch = grad.shape()[0];
    let grad = slice("grad", &grad, &batch_of(batch, g.output_shape()))?;
    let winners = slice("winners", &winners, &batch_of(batch, g.output_shape()))?;
    let dx = slice_mut("dx", &mut dx, &batch_of(batch, g.input_shape()))?;

    let input: usize = g.input_shape().iter().product();
    let output: usize = g.output_shape().iter().product();
    let fault = Mutex::new(None);
    let images = (chunks_mut(dx, input), chunks(grad, output), chunks(winners, output));
    for_each(images, |_, (dx, grad, winners)| {
        if let Err(error) = max_pool_backward_image(g, grad, winners, dx) {
            *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    });
    fault.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn max_pool_backward_image<W: Winner>(
    g: &PoolGeometry,
    grad: &[f32],
    winners: &[W],
    dx: &mut [f32],
) -> Result<()> {
    let c = g.channels;
    dx.fill(0.0);
    for (position, (grads, winners)) in
        grad.chunks_exact(c).zip(winners.chunks_exact(c)).enumerate()
    {
        let (oy, ox) = (position / g.width.output, position % g.width.output);
        let (rows, columns) = (g.height.inside(oy), g.width.inside(ox));
        for (channel, (&grad, winner)) in grads.iter().zip(winners).enumerate() {
            let index = winner.index();
            let (a, b) = (index / g.width.window, index % g.width.window);
            if !rows.contains(&a) || !columns.contains(&b) {
                return Err(KernelError::Winner { got: index, position: position * c + channel });
            }
            dx[pixel(g, oy, ox, a, b) * c + channel] += grad;
        }
    }
    Ok(())
}
