//! Flip and shift: where the rows and columns of the output come from.

use std::cell::RefCell;

use super::Shape;
use crate::scratch::{Free, lend};

thread_local! {
    static POSITIONS: Free<usize> = const { RefCell::new(Vec::new()) };
}

/// A flip, then a shift.
#[derive(Clone, Copy, Default)]
pub(super) struct Move {
    pub flip: bool,
    /// Rows.
    pub down: i64,
    /// Columns.
    pub right: i64,
}

/// For each row and each column of the output, the one that it shows.
pub(super) struct Positions<'a> {
    pub rows: &'a [usize],
    pub columns: &'a [usize],
}

/// Lends the positions of an image of this shape that moves so.
pub(super) fn with(moves: Move, [height, width, _]: Shape, body: impl FnOnce(&Positions<'_>)) {
    lend(&POSITIONS, height + width, |positions| {
        let (rows, columns) = positions.split_at_mut(height);
        for (index, row) in rows.iter_mut().enumerate() {
            *row = reflect(index as i64 - moves.down, height);
        }
        for (index, column) in columns.iter_mut().enumerate() {
            let from = reflect(index as i64 - moves.right, width);
            *column = if moves.flip { width - 1 - from } else { from };
        }
        body(&Positions { rows, columns });
    });
}

/// An index within `size`; the first and the last element are mirrors and not doubled.
fn reflect(index: i64, size: usize) -> usize {
    let period = period(size);
    let index = index.rem_euclid(period as i64) as usize;
    if index < size { index } else { period - index }
}

/// After how many elements a reflected axis repeats itself.
pub(super) fn period(size: usize) -> usize {
    (2 * (size - 1)).max(1)
}

/// Copies the pixels of these positions.
pub(super) fn copy(image: &[u8], shape: Shape, positions: &Positions<'_>, out: &mut [u8]) {
    let [_, width, channels] = shape;
    let row = width * channels;
    for (out, &from) in out.chunks_exact_mut(row).zip(positions.rows) {
        let image = &image[from * row..][..row];
        match channels {
            1 => gather::<1>(image, positions.columns, out),
            3 => gather::<3>(image, positions.columns, out),
            _ => {
                for (out, &from) in out.chunks_exact_mut(channels).zip(positions.columns) {
                    out.copy_from_slice(&image[from * channels..][..channels]);
                }
            }
        }
    }
}

fn gather<const CHANNELS: usize>(row: &[u8], columns: &[usize], out: &mut [u8]) {
    let (pixels, _) = row.as_chunks::<CHANNELS>();
    let (out, _) = out.as_chunks_mut::<CHANNELS>();
    for (out, &from) in out.iter_mut().zip(columns) {
        *out = pixels[from];
    }
}
