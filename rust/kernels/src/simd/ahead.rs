//! Memory that is asked for ahead.

use super::{LINE, Simd};

/// Bytes of a cache line.
const BYTES: usize = LINE * size_of::<f32>();
/// The most pieces of memory.
const PIECES: usize = 3;

/// A second-level cache, about. A layer whose batch is no larger finds it there, and asking would only
/// take time: at batch 8 the convolutions of the reference network took 4 to 8 % longer.
const CACHE: usize = 1 << 20;

/// Whether so many bytes, those of a layer's batch, are worth asking for.
pub(crate) fn worth_asking(bytes: usize) -> bool {
    bytes > CACHE
}

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

    /// What was named so far is asked for in so many parts, at most.
    pub fn in_parts(mut self, parts: usize) -> Self {
        for piece in &mut self.pieces[..self.count] {
            piece.part = (piece.rows * piece.width.div_ceil(BYTES)).div_ceil(parts.max(1));
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        self.pieces[..self.count].iter().all(|piece| piece.rows == 0)
    }

    /// Asks for the next part of each piece.
    #[inline(always)]
    pub fn ask<S: Simd>(&mut self, simd: S) {
        self.next_part(|line| simd.prefetch_l2(line));
    }

    #[inline(always)]
    fn next_part(&mut self, mut ask: impl FnMut(*const u8)) {
        for piece in &mut self.pieces[..self.count] {
            for _ in 0..piece.part {
                if piece.rows == 0 {
                    break;
                }
                ask(piece.start.wrapping_add(piece.at));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_asked_for_once() {
        let memory = [0.0f32; 1000];
        let address = |element: usize| memory.as_ptr().wrapping_add(element).cast::<u8>();
        for parts in [1, 3, 7, 100] {
            // Three rows of 40 floats, two lines and a half each, and a slice of 33 bytes.
            let bytes = [0u8; 33];
            let ahead = Ahead::new().with_rows(address(0).cast::<f32>(), 3, (40, 100)).with(&bytes);
            let mut ahead = ahead.in_parts(parts);
            let mut asked = Vec::new();
            for _ in 0..parts {
                ahead.next_part(|line| asked.push(line));
            }
            asked.sort();
            let rows = [0, 100, 200].map(|row| [row, row + 16, row + 32].map(address));
            let mut expected = rows.concat();
            expected.push(bytes.as_ptr());
            expected.sort();
            assert_eq!(asked, expected);
        }
    }

    #[test]
    fn no_memory_is_no_line() {
        let mut ahead = Ahead::new().with::<f32>(&[]).with_rows(&0.0f32, 0, (5, 5)).in_parts(2);
        ahead.next_part(|_| panic!("asked for nothing"));
    }
}
