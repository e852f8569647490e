//! Working memory that each thread keeps, so that a training step allocates nothing.

use std::cell::RefCell;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Lends `length` floats of unspecified content.
///
/// The buffer is taken out while in use: a task that rayon runs on this thread in between gets
/// another one.
pub(crate) fn with<R>(length: usize, body: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    let result = body(&mut buffer[..length]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}
