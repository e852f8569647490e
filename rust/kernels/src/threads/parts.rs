//! Slices cut into one part for each turn of a loop.

use std::marker::PhantomData;

/// Something that can be dealt out, one part a turn.
///
/// # Safety
/// Parts of different indices do not overlap where they can be written.
pub(crate) unsafe trait Parts: Sync {
    /// What a turn gets.
    type Part;

    /// The number of turns; `None` where it serves any number.
    fn count(&self) -> Option<usize>;

    /// The part of one turn.
    ///
    /// # Safety
    /// `index` is below the count, and no part of that index is in use.
    unsafe fn part(&self, index: usize) -> Self::Part;
}

/// Pieces of `size` elements to read; the last may be shorter.
pub(crate) fn chunks<T: Sync>(slice: &[T], size: usize) -> Chunks<'_, T> {
    assert!(size > 0);
    Chunks { slice, size }
}

/// Pieces of `size` elements to write; the last may be shorter.
pub(crate) fn chunks_mut<T: Send>(slice: &mut [T], size: usize) -> ChunksMut<'_, T> {
    let frame = slice.len();
    bands_mut(slice, frame, size)
}

/// Pieces to write of frames of `frame` elements each: every frame is cut into pieces of `size`,
/// its last may be shorter.
pub(crate) fn bands_mut<T: Send>(slice: &mut [T], frame: usize, size: usize) -> ChunksMut<'_, T> {
    assert!(size > 0 && slice.len().is_multiple_of(frame.max(1)));
    let (start, length) = (slice.as_mut_ptr(), slice.len());
    ChunksMut { start, length, frame, size, slice: PhantomData }
}

pub(crate) struct Chunks<'a, T> {
    slice: &'a [T],
    size: usize,
}

// SAFETY: nothing can be written.
unsafe impl<'a, T: Sync> Parts for Chunks<'a, T> {
    type Part = &'a [T];

    fn count(&self) -> Option<usize> {
        Some(self.slice.len().div_ceil(self.size))
    }

    // SAFETY: what the trait asks of the caller.
    unsafe fn part(&self, index: usize) -> &'a [T] {
        let start = index * self.size;
        &self.slice[start..self.slice.len().min(start + self.size)]
    }
}

pub(crate) struct ChunksMut<'a, T> {
    start: *mut T,
    length: usize,
    frame: usize,
    size: usize,
    slice: PhantomData<&'a mut [T]>,
}

impl<T> ChunksMut<'_, T> {
    fn per_frame(&self) -> usize {
        self.frame.div_ceil(self.size)
    }
}

// SAFETY: it stands for the exclusive slice that it was made from, whose elements may be sent to
// other threads; through a shared reference only `part` reaches them, on its caller's promise.
unsafe impl<T: Send> Sync for ChunksMut<'_, T> {}

// SAFETY: pieces of different indices are different ranges of one slice.
unsafe impl<'a, T: Send> Parts for ChunksMut<'a, T> {
    type Part = &'a mut [T];

    fn count(&self) -> Option<usize> {
        Some(if self.length == 0 { 0 } else { self.length / self.frame * self.per_frame() })
    }

    // SAFETY: what the trait asks of the caller.
    unsafe fn part(&self, index: usize) -> &'a mut [T] {
        let before = index % self.per_frame() * self.size;
        let start = index / self.per_frame() * self.frame + before;
        let length = self.size.min(self.frame - before);
        // SAFETY: inside the slice, whose borrow lasts for 'a; nobody else has this piece.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), length) }
    }
}

/// Rectangles to write of a matrix whose rows are `row` elements long: `rows` by `columns`, those
/// at the edges smaller, one row of rectangles after the other.
pub(crate) fn tiles_mut<T: Send>(
    slice: &mut [T],
    row: usize,
    rows: usize,
    columns: usize,
) -> TilesMut<'_, T> {
    assert!(rows > 0 && columns > 0 && slice.len().is_multiple_of(row));
    TilesMut { whole: TileMut::new(slice, row), rows, columns }
}

/// A rectangle of a matrix, to write.
pub(crate) struct TileMut<'a, T> {
    start: *mut T,
    stride: usize,
    rows: usize,
    columns: usize,
    matrix: PhantomData<&'a mut [T]>,
}

impl<'a, T> TileMut<'a, T> {
    /// A whole matrix, whose rows are `columns` long.
    pub fn new(slice: &'a mut [T], columns: usize) -> Self {
        let (rows, start) = (slice.len() / columns, slice.as_mut_ptr());
        Self { start, stride: columns, rows, columns, matrix: PhantomData }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The same, for a shorter time.
    pub fn reborrow(&mut self) -> TileMut<'_, T> {
        TileMut { matrix: PhantomData, ..*self }
    }

    /// Elements from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Of the first element; those of the rectangle may be written, and no others.
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.start
    }

    /// A row.
    #[inline(always)]
    pub fn row(&mut self, index: usize) -> &mut [T] {
        assert!(index < self.rows);
        // SAFETY: the row is inside the rectangle, which this value has to itself.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(index * self.stride), self.columns) }
    }
}

pub(crate) struct TilesMut<'a, T> {
    whole: TileMut<'a, T>,
    rows: usize,
    columns: usize,
}

impl<T> TilesMut<'_, T> {
    fn per_row(&self) -> usize {
        self.whole.columns.div_ceil(self.columns)
    }
}

// SAFETY: as for `ChunksMut`.
unsafe impl<T: Send> Sync for TilesMut<'_, T> {}

// SAFETY: rectangles of different indices do not overlap.
unsafe impl<'a, T: Send> Parts for TilesMut<'a, T> {
    type Part = TileMut<'a, T>;

    fn count(&self) -> Option<usize> {
        Some(self.whole.rows.div_ceil(self.rows) * self.per_row())
    }

    // SAFETY: what the trait asks of the caller.
    unsafe fn part(&self, index: usize) -> TileMut<'a, T> {
        let row = index / self.per_row() * self.rows;
        let column = index % self.per_row() * self.columns;
        TileMut {
            // SAFETY: inside the matrix, whose borrow lasts for 'a; nobody else has this part.
            start: unsafe { self.whole.start.add(row * self.whole.stride + column) },
            stride: self.whole.stride,
            rows: self.rows.min(self.whole.rows - row),
            columns: self.columns.min(self.whole.columns - column),
            matrix: PhantomData,
        }
    }
}

macro_rules! parts_of_tuples {
    ($($name:ident $field:tt),+) => {
        // SAFETY: the parts of each member do not overlap.
        unsafe impl<$($name: Parts),+> Parts for ($($name,)+) {
            type Part = ($($name::Part,)+);

            fn count(&self) -> Option<usize> {
                let mut counts = [$(self.$field.count()),+].into_iter().flatten();
                let first = counts.next()?;
                assert!(counts.all(|count| count == first), "parts of different numbers");
                Some(first)
            }

            // SAFETY: what the trait asks of the caller.
            unsafe fn part(&self, index: usize) -> Self::Part {
                // SAFETY: the caller's promise, handed on.
                unsafe { ($(self.$field.part(index),)+) }
            }
        }
    };
}
parts_of_tuples!(A 0, B 1);
parts_of_tuples!(A 0, B 1, C 2);
parts_of_tuples!(A 0, B 1, C 2, D 3);
