//! Working memory that each thread keeps, so that a training step allocates nothing.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Bytes of the largest buffer that is kept: one huge image must not cost memory for ever.
const LARGEST_KEPT: usize = 128 << 20;

/// Bytes. Buffers start at a cache line, so that vectors whose length divides it never cross one:
/// a load that does costs twice.
const ALIGNMENT: usize = 64;

/// The buffers of one thread that are not in use.
pub(crate) type Free<T> = RefCell<Vec<Vec<T>>>;

thread_local! {
    static FLOATS: Free<f32> = const { RefCell::new(Vec::new()) };
}

/// Lends `length` floats of unspecified content, from the start of a cache line.
pub(crate) fn with<R>(length: usize, body: impl FnOnce(&mut [f32]) -> R) -> R {
    lend(&FLOATS, length, body)
}

/// Lends `length` elements of unspecified content, from the start of a cache line.
///
/// The buffer is taken out while in use: a borrow inside the body gets another one.
pub(crate) fn lend<T: Copy + Default, R>(
    free: &'static LocalKey<Free<T>>,
    length: usize,
    body: impl FnOnce(&mut [T]) -> R,
) -> R {
    let mut buffer = free.with_borrow_mut(|free| take(free, room::<T>(length)));
    let result = body(aligned(&mut buffer, length));
    if size_of_val(&buffer[..]) <= LARGEST_KEPT {
        free.with_borrow_mut(|free| free.push(buffer));
    }
    result
}

/// `length` elements of a buffer that grows if need be, from the start of a cache line. Between calls
/// with one length they keep their content.
pub(crate) fn aligned<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < room::<T>(length) {
        buffer.resize(room::<T>(length), T::default());
    }
    let start = buffer.as_ptr().align_offset(ALIGNMENT);
    &mut buffer[start..start + length]
}

/// Elements that a buffer needs for `length` of them from the start of a cache line.
fn room<T>(length: usize) -> usize {
    length + ALIGNMENT / size_of::<T>()
}

/// The smallest buffer that is large enough; else the largest, which is made larger.
fn take<T>(free: &mut Vec<Vec<T>>, room: usize) -> Vec<T> {
    let fit = |buffer: &Vec<T>| {
        if buffer.len() < room { usize::MAX - buffer.len() } else { buffer.len() }
    };
    match free.iter().enumerate().min_by_key(|(_, buffer)| fit(buffer)) {
        Some((index, _)) => free.swap_remove(index),
        None => Vec::new(),
    }
}
