//! Memory that is asked for ahead.

use super::{LINE, Simd};

/// Bytes of a cache line.
const BYTES: usize = LINE * size_of::<f32>();
/// The most slices.
const SLICES: usize = 3;

/// Slices that will be read or written soon, asked for part by part while something else is
/// computed. The hardware foresees a stream only while it runs, and no further than its page: a copy
/// of some rows, or outputs that are stored after a long sum, wait for memory line by line.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    parts: usize,
    slices: [Rest; SLICES],
    count: usize,
}

/// What has not been asked for yet of a slice.
#[derive(Clone, Copy)]
struct Rest {
    address: *const u8,
    bytes: usize,
    part: usize,
}

impl Ahead {
    /// Nothing yet, in so many parts.
    pub fn new(parts: usize) -> Self {
        let nothing = Rest { address: std::ptr::null(), bytes: 0, part: 0 };
        Self { parts: parts.max(1), slices: [nothing; SLICES], count: 0 }
    }

    /// A slice more. It is never read here, so it may be written and dropped meanwhile.
    pub fn with<T>(mut self, slice: &[T]) -> Self {
        let bytes = size_of_val(slice);
        let part = bytes.div_ceil(self.parts).next_multiple_of(BYTES);
        self.slices[self.count] = Rest { address: slice.as_ptr().cast(), bytes, part };
        self.count += 1;
        self
    }

    /// Asks for the next part of each slice.
    #[inline(always)]
    pub fn ask<S: Simd>(&mut self, simd: S) {
        for rest in &mut self.slices[..self.count] {
            let part = rest.part.min(rest.bytes);
            for at in (0..part).step_by(BYTES) {
                simd.prefetch_l2(rest.address.wrapping_add(at));
            }
            rest.address = rest.address.wrapping_add(part);
            rest.bytes -= part;
        }
    }
}
