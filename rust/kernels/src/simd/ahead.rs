//! Memory that is asked for ahead.

use super::{LINE, Simd};

/// Bytes of a cache line.
const BYTES: usize = LINE * size_of::<f32>();
/// The most pieces of memory.
const PIECES: usize = 3;

/// Memory that will be read or written soon, asked for part by part while something else is
/// computed. The hardware foresees a stream only while it runs, and no further than its page: a copy
/// of some rows, or outputs that are stored after a long sum, wait for memory line by line.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    pieces: [Rows; PIECES],
    count: usize,
}

/// What has not been asked for yet of some rows: `rows` of them from `start` on, `stride` bytes apart,
/// and `width` bytes of each, of the first those from `at` on.
#[derive(Clone, Copy)]
struct Rows {
    start: *const u8,
    stride: usize,
    width: usize,
    rows: usize,
    at: usize,
    /// Lines of a part.
    part: usize,
}

impl Ahead {
    /// Nothing yet.
    pub fn new() -> Self {
        let none = Rows { start: std::ptr::null(), stride: 0, width: 0, rows: 0, at: 0, part: 0 };
        Self { pieces: [none; PIECES], count: 0 }
    }

    /// A slice more.
    pub fn with<T>(self, slice: &[T]) -> Self {
        self.with_rows(slice.as_ptr(), 1, (slice.len(), 0))
    }

    /// More: `rows` rows of `width` elements, `stride` apart. They are never read here, and may be
    /// written and dropped meanwhile.
    pub fn with_rows<T>(
        mut self,
        start: *const T,
        rows: usize,
        (width, stride): (usize, usize),
    ) -> Self {
        let (width, stride) = (width * size_of::<T>(), stride * size_of::<T>());
        let rows = if width == 0 { 0 } else { rows };
        self.pieces[self.count] = Rows { start: start.cast(), stride, width, rows, at: 0, part: 0 };
        self.count += 1;
        self
    }

    /// The same, to be asked for in so many parts.
    pub fn in_parts(mut self, parts: usize) -> Self {
        for piece in &mut self.pieces[..self.count] {
            piece.part = (piece.rows * piece.width.div_ceil(BYTES)).div_ceil(parts.max(1));
        }
        self
    }

    /// Asks for the next part of each piece.
    #[inline(always)]
    pub fn ask<S: Simd>(&mut self, simd: S) {
        for piece in &mut self.pieces[..self.count] {
            for _ in 0..piece.part {
                if piece.rows == 0 {
                    break;
                }
                simd.prefetch_l2(piece.start.wrapping_add(piece.at));
                piece.at += BYTES;
                if piece.at >= piece.width {
                    piece.at = 0;
                    piece.rows -= 1;
                    piece.start = piece.start.wrapping_add(piece.stride);
                }
            }
        }
    }
}
