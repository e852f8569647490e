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
    pub slice: (usize, usize),
    /// One for each position of a pooled row.
    pub masks: &'a mut [[u32; 4]],
    /// Room for two padded rows, whose pixels are vectors.
    pub memory: &'a mut [f32],
    pub dx: &'a mut [f32],
    pub ahead: Ahead,
}

impl Patches<'_> {
    /// Overwrites the slice of `dx`. The terms of an element come in the order of `Window`.
    #[inline(always)]
    pub fn overwrite<S: Simd>(self, simd: S) {
        if self.slice.1 < S::LANES {
            self.overwrite_channels::<S, true>(simd);
        } else {
            self.overwrite_channels::<S, false>(simd);
        }
    }

    /// `PARTIAL`: the slice is narrower than a vector.
    #[inline(always)]
    fn overwrite_channels<S: Simd, const PARTIAL: bool>(mut self, simd: S) {
        let (conv, pool) = (&self.pooled.geometry.conv, &self.pooled.geometry.pool);
        let ([height, width, channels], (first, count)) = (conv.input_shape(), self.slice);
        let (rows, columns) = (2 * pool.height.output + 2, row_pixels(self.pooled));
        assert_eq!((conv.height.window, conv.width.window), (3, 3));
        assert!(count <= S::LANES && first + count <= channels);
        assert_eq!(self.dx.len(), image_size(conv.input_shape()));
        assert_eq!(self.masks.len(), pool.width.output);
        assert!(self.memory.len() >= 2 * columns * S::LANES);
        if rows < conv.height.before + height || columns < conv.width.before + width {
            // No window reaches the last row or column.
            for pixel in self.dx.chunks_exact_mut(channels) {
                pixel[first..][..count].fill(0.0);
            }
        }
        for channel in (0..conv.out_channels).step_by(CHANNELS) {
            for y in 0..pool.height.output {
                self.add_row::<S, PARTIAL>(simd, channel, y);
            }
            let band = self.band::<S>(pool.height.output, channel);
            for (row, waiting) in band.rows.iter().zip(band.waiting) {
                for column in 0..columns {
                    // SAFETY: a column of the padded row, whose sum waits.
                    unsafe {
                        let sum = simd.load(waiting.add(column * S::LANES));
                        row.store::<S, PARTIAL>(simd, column, sum);
                    }
                }
            }
        }
    }

    /// Adds the filters of the channels from `channel` on to the windows of a pooled row.
    #[inline(always)]
    fn add_row<S: Simd, const PARTIAL: bool>(&mut self, simd: S, channel: usize, y: usize) {
        let channels = self.pooled.geometry.conv.out_channels;
        let columns = self.pooled.geometry.pool.width.output;
        let count = CHANNELS.min(channels - channel);
        // Where it is that of a vector, the compiler is to know it.
        let width = if PARTIAL { self.slice.1 } else { S::LANES };
        let filters = &self.filters[channel * TAPS * width..];
        // Whole vectors are read: what is behind the channels is summed as well, and never stored.
        let filters = &filters[..(count * TAPS - 1) * width + S::LANES];
        fill_masks(simd, self.pooled, channel, y, self.masks);
        let band = self.band::<S>(y, channel);
        let mut sums = [[simd.splat(0.0); SIDE]; SIDE];
        // SAFETY: up to `columns`, pixels of all columns are there; the masks have `count` channels.
        unsafe {
            band.enter::<S, PARTIAL>(simd, 0, &mut sums);
            for x in 0..columns {
                self.ahead.ask(simd);
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
        let [height, columns, channels] = conv.input_shape();
        let (first, width) = self.slice;
        let (image, stride) = (self.dx.as_mut_ptr(), columns * channels);
        let rows = [0, 1, 2, 3].map(|row| {
            let row = (2 * y + row).wrapping_sub(conv.height.before);
            let columns = if row < height { columns } else { 0 };
            let start = image.wrapping_add(row.wrapping_mul(stride).wrapping_add(first));
            Row { start, channels, before: conv.width.before, columns, width }
        });
        let memory = self.memory.as_mut_ptr();
        let waiting = [memory, memory.wrapping_add(row_pixels(self.pooled) * S::LANES)];
        Band { rows, waiting, top: y == 0, fresh: channel == 0 }
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
}

/// A padded row of a slice.
struct Row {
    /// The first of its pixels that is not padding.
    start: *mut f32,
    /// Floats from pixel to pixel.
    channels: usize,
    /// Columns of padding before the image, and columns of that: none, if the whole row is padding.
    before: usize,
    columns: usize,
    /// Channels of the slice.
    width: usize,
}

impl Row {
    #[inline(always)]
    fn pixel(&self, column: usize) -> Option<*mut f32> {
        let x = column.wrapping_sub(self.before);
        (x < self.columns).then(|| self.start.wrapping_add(x * self.channels))
    }

    /// A pixel, or zeros if it is padding.
    ///
    /// # Safety
    /// `dx` must be there.
    #[inline(always)]
    unsafe fn load<S: Simd, const PARTIAL: bool>(&self, simd: S, column: usize) -> S::F32 {
        match self.pixel(column) {
            // SAFETY: the `width` channels of a pixel of the image.
            Some(pixel) => unsafe { load::<S, PARTIAL>(simd, self.width, pixel) },
            None => simd.splat(0.0),
        }
    }

    /// Writes a pixel, unless it is padding.
    ///
    /// # Safety
    /// `dx` must be there.
    #[inline(always)]
    unsafe fn store<S: Simd, const PARTIAL: bool>(&self, simd: S, column: usize, value: S::F32) {
        if let Some(pixel) = self.pixel(column) {
            // SAFETY: the `width` channels of a pixel of the image.
            unsafe { store::<S, PARTIAL>(simd, self.width, pixel, value) }
        }
    }
}

impl Band {
    /// Fills the right half of `sums` with what the `x`-th two pixels of each row start from.
    ///
    /// # Safety
    /// These pixels must be among the `row_pixels`, and `dx` and the memory must be there.
    #[inline(always)]
    unsafe fn enter<S: Simd, const PARTIAL: bool>(
        &self,
        simd: S,
        x: usize,
        sums: &mut [[S::F32; SIDE]; SIDE],
    ) {
        let start = |row: &Row, column: usize| {
            if self.fresh {
                return simd.splat(0.0);
            }
            // SAFETY: the caller's promise.
            unsafe { row.load::<S, PARTIAL>(simd, column) }
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
    /// These pixels must be among the `row_pixels`, and `dx` and the memory must be there.
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
                // SAFETY: the caller's promise.
                unsafe {
                    row.store::<S, PARTIAL>(simd, column, whole);
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
