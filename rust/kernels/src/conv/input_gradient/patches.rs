//! The input gradient of 3x3 kernels, in a slice no wider than a vector.
//!
//! The four windows of a pooled pixel cover four by four padded pixels, which 16 registers hold. For
//! the next pooled pixel they move on by two columns: two are left, two are entered, two stay. Of the
//! four rows, the sums of the upper two are then whole, and those of the lower two wait in memory
//! for the pooled row below. So a pixel is loaded once and stored twice, however many windows hold
//! it, and there is no padded image.

use super::{CHANNELS, fill_masks};
use crate::conv::block::Pooled;
use crate::conv::padded::image_size;
use crate::simd::{Ahead, Simd, load, store};

/// Pixels under the windows of a pooled pixel, in a row and in a column.
const SIDE: usize = 4;
/// Pixels of a filter.
const TAPS: usize = 9;

/// One slice of an image.
pub(super) struct Patches<'a> {
    pub pooled: Pooled<'a>,
    /// (out_channel, kernel_h, kernel_w, channel of the slice).
    pub filters: &'a [f32],
    /// The first channel of the slice, and how many it has.
    pub first: usize,
    pub width: usize,
    /// One for each position of a pooled row.
    pub masks: &'a mut [[u32; 4]],
    /// Room for two padded rows and a pixel.
    pub memory: &'a mut [f32],
    pub dx: &'a mut [f32],
}

impl Patches<'_> {
    /// Overwrites the slice of `dx`, except for pixels that no window reaches. The terms of an element
    /// come in the order of `Window`.
    #[inline(always)]
    pub fn overwrite<S: Simd>(self, simd: S, ahead: &mut Ahead) {
        if self.width < S::LANES {
            self.overwrite_channels::<S, true>(simd, ahead);
        } else {
            self.overwrite_channels::<S, false>(simd, ahead);
        }
    }

    /// `PARTIAL`: the slice is narrower than a vector.
    #[inline(always)]
    fn overwrite_channels<S: Simd, const PARTIAL: bool>(mut self, simd: S, ahead: &mut Ahead) {
        let (conv, pool) = (&self.pooled.geometry.conv, &self.pooled.geometry.pool);
        assert_eq!((conv.height.window, conv.width.window), (3, 3));
        assert!(self.width <= S::LANES && self.first + self.width <= conv.in_channels);
        assert_eq!(self.dx.len(), image_size(conv.input_shape()));
        assert_eq!(self.masks.len(), pool.width.output);
        assert!(self.memory.len() >= (2 * row_pixels(self.pooled) + 1) * S::LANES);
        let (channels, rows) = (conv.out_channels, pool.height.output);
        for channel in (0..channels).step_by(CHANNELS) {
            for y in 0..rows {
                fill_masks(simd, self.pooled, channel, y, self.masks);
                self.add_row::<S, PARTIAL>(simd, channel, y, ahead);
            }
            let band = self.band::<S>(rows, channel);
            for (row, waiting) in band.rows.iter().zip(band.waiting) {
                for column in 0..row_pixels(self.pooled) {
                    // SAFETY: a column of the padded row.
                    unsafe {
                        let sum = simd.load(waiting.add(column * S::LANES));
                        store::<S, PARTIAL>(simd, self.width, row.pixel(column), sum);
                    }
                }
            }
        }
    }

    /// Adds the filters of the channels from `channel` on to the windows of a pooled row.
    #[inline(always)]
    fn add_row<S: Simd, const PARTIAL: bool>(
        &mut self,
        simd: S,
        channel: usize,
        y: usize,
        ahead: &mut Ahead,
    ) {
        let channels = self.pooled.geometry.conv.out_channels;
        let columns = self.pooled.geometry.pool.width.output;
        let count = CHANNELS.min(channels - channel);
        // Where it is that of a vector, the compiler is to know it.
        let width = if PARTIAL { self.width } else { S::LANES };
        let filters = &self.filters[channel * TAPS * width..];
        // Whole vectors are read: what is behind the channels is summed as well, and never stored.
        let filters = &filters[..(count * TAPS - 1) * width + S::LANES];
        let band = self.band::<S>(y, channel);
        let mut sums = [[simd.splat(0.0); SIDE]; SIDE];
        // SAFETY: up to `columns`, pixels of all columns are there; the masks have `count` channels.
        unsafe {
            band.enter::<S, PARTIAL>(simd, 0, &mut sums);
            for x in 0..columns {
                ahead.ask(simd);
                for sums in &mut sums {
                    (sums[0], sums[1]) = (sums[2], sums[3]);
                }
                band.enter::<S, PARTIAL>(simd, x + 1, &mut sums);
                let element = (y * columns + x) * channels + channel;
                let grads = &self.pooled.grad[element..][..count];
                let [a, b, c, d] = self.masks[x];
                add_place::<S, 0, 0>(simd, a, grads, filters, width, &mut sums);
                add_place::<S, 0, 1>(simd, b, grads, filters, width, &mut sums);
                add_place::<S, 1, 0>(simd, c, grads, filters, width, &mut sums);
                add_place::<S, 1, 1>(simd, d, grads, filters, width, &mut sums);
                band.leave::<S, PARTIAL>(simd, x, sums.map(|[a, b, _, _]| [a, b]));
            }
            band.leave::<S, PARTIAL>(simd, columns, sums.map(|[_, _, c, d]| [c, d]));
        }
    }

    /// The padded rows from the first under pooled row `y` on.
    #[inline(always)]
    fn band<S: Simd>(&mut self, y: usize, channel: usize) -> Band {
        let conv = &self.pooled.geometry.conv;
        let [height, width, channels] = conv.input_shape();
        let row = row_pixels(self.pooled) * S::LANES;
        let memory = self.memory.as_mut_ptr();
        let (first, image) = (self.first, self.dx.as_mut_ptr());
        let outside = memory.wrapping_add(2 * row);
        let rows = [0, 1, 2, 3].map(|row| {
            let row = (2 * y + row).wrapping_sub(conv.height.before);
            let (start, step) = if row < height {
                (image.wrapping_add(row * width * channels + first), channels)
            } else {
                (outside, 0)
            };
            Row { start, step, before: conv.width.before, width, outside }
        });
        Band {
            rows,
            waiting: [memory, memory.wrapping_add(row)],
            top: y == 0,
            fresh: channel == 0,
            width: self.width,
        }
    }
}

/// Pixels of a padded row that windows reach.
#[inline(always)]
fn row_pixels(pooled: Pooled) -> usize {
    2 * pooled.geometry.pool.width.output + 2
}

/// Four padded rows of a slice: of each, pixels `2 * x` and `2 * x + 1` are its `x`-th two.
struct Band {
    rows: [Row; SIDE],
    /// The memory in which the lower two wait, and in which the upper two have waited.
    waiting: [*mut f32; 2],
    /// Whether these are the first rows: none waits.
    top: bool,
    /// Whether nothing was added before.
    fresh: bool,
    /// Channels of the slice.
    width: usize,
}

/// A padded row in `dx`.
#[derive(Clone, Copy)]
struct Row {
    start: *mut f32,
    /// Floats from pixel to pixel, 0 if all of them are padding.
    step: usize,
    /// Columns of padding before the image, and its columns.
    before: usize,
    width: usize,
    /// Where the pixels of the padding are: all in one place.
    outside: *mut f32,
}

impl Row {
    #[inline(always)]
    fn pixel(&self, column: usize) -> *mut f32 {
        let x = column.wrapping_sub(self.before);
        if x < self.width { self.start.wrapping_add(x * self.step) } else { self.outside }
    }
}

impl Band {
    /// Fills the right half of `sums` with what the `x`-th two pixels of each row start from.
    ///
    /// # Safety
    /// These pixels must be among the `row_pixels`.
    #[inline(always)]
    unsafe fn enter<S: Simd, const PARTIAL: bool>(
        &self,
        simd: S,
        x: usize,
        sums: &mut [[S::F32; SIDE]; SIDE],
    ) {
        let start = |row: &Row, column: usize| {
            if self.fresh {
                simd.splat(0.0)
            } else {
                // SAFETY: a pixel of the slice, or the place outside.
                unsafe { load::<S, PARTIAL>(simd, self.width, row.pixel(column)) }
            }
        };
        for r in 0..2 {
            for c in 0..2 {
                let column = 2 * x + c;
                sums[r][2 + c] = if self.top {
                    start(&self.rows[r], column)
                } else {
                    // SAFETY: the row above left all its pixels there.
                    unsafe { simd.load(self.waiting[r].add(column * S::LANES)) }
                };
                sums[2 + r][2 + c] = start(&self.rows[2 + r], column);
            }
        }
    }

    /// Stores the sums of the `x`-th two pixels of each row.
    ///
    /// # Safety
    /// These pixels must be among the `row_pixels`.
    #[inline(always)]
    unsafe fn leave<S: Simd, const PARTIAL: bool>(
        &self,
        simd: S,
        x: usize,
        sums: [[S::F32; 2]; SIDE],
    ) {
        let (upper, lower) = sums.split_at(2);
        let rows = self.rows.iter().zip(self.waiting);
        for ((row, waiting), (upper, lower)) in rows.zip(upper.iter().zip(lower)) {
            for (column, (&whole, &part)) in (2 * x..).zip(upper.iter().zip(lower)) {
                // SAFETY: a pixel of the slice, or the place outside; a place of a waiting row.
                unsafe {
                    store::<S, PARTIAL>(simd, self.width, row.pixel(column), whole);
                    simd.store(waiting.add(column * S::LANES), part);
                }
            }
        }
    }
}

/// Adds the filters of the channels that won at row `Y` and column `X`.
///
/// # Safety
/// Bits of the mask must stand for channels of `grads` and filters of `filters`.
#[inline(always)]
unsafe fn add_place<S: Simd, const Y: usize, const X: usize>(
    simd: S,
    mut mask: u32,
    grads: &[f32],
    filters: &[f32],
    width: usize,
    sums: &mut [[S::F32; SIDE]; SIDE],
) {
    while mask != 0 {
        let f = mask.trailing_zeros() as usize;
        mask &= mask - 1;
        // SAFETY: the caller's promise.
        let (grad, filter) =
            unsafe { (grads.get_unchecked(f), filters.as_ptr().add(f * TAPS * width)) };
        let grad = simd.splat(*grad);
        for a in 0..3 {
            for b in 0..3 {
                // SAFETY: as above.
                let lanes = unsafe { simd.load(filter.add((3 * a + b) * width)) };
                sums[Y + a][X + b] = simd.mul_add(grad, lanes, sums[Y + a][X + b]);
            }
        }
    }
}
