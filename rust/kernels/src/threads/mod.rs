//! The threads that kernels run on.
//!
//! A kernel is a few loops over images or blocks, each a hundred microseconds or less, so the
//! hand-off to the threads counts: `pool` says how it is kept short. `parts` deals slices out to
//! the turns of a loop.

mod parts;
mod pool;

use std::sync::{Arc, PoisonError, RwLock, TryLockError};

pub(crate) use parts::{ChunksMut, Parts, TileMut, bands_mut, chunks, chunks_mut, tiles_mut};
use pool::Pool;

/// The most threads that are started: more help no machine, and a slip of the finger should not
/// start them.
pub const MOST: usize = 1024;

static POOL: RwLock<Option<Arc<Pool>>> = RwLock::new(None);

/// The number of threads where nobody asked for one: `FERROCNN_NUM_THREADS`, or the processors
/// that the affinity mask and the container's quota leave to this process.
///
/// # Errors
/// A line for the user where the variable is not a number from 1 to [`MOST`].
pub fn default_threads() -> Result<usize, String> {
    match std::env::var("FERROCNN_NUM_THREADS") {
        Ok(value) if !value.trim().is_empty() => {
            let count = value.trim().parse().ok().filter(|count| (1..=MOST).contains(count));
            count.ok_or_else(|| {
                format!("FERROCNN_NUM_THREADS: expected a number from 1 to {MOST}, got {value:?}")
            })
        }
        _ => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
    }
}

/// Sets the number of threads of all later kernels.
///
/// # Errors
/// The system's message where the threads cannot be started.
pub fn set_threads(threads: usize) -> Result<(), String> {
    let new = Arc::new(Pool::new(threads).map_err(|error| error.to_string())?);
    let mut slot = POOL.write().unwrap_or_else(PoisonError::into_inner);
    retire(slot.replace(new));
    Ok(())
}

/// The number of threads of the next kernel.
///
/// # Errors
/// As for [`default_threads`].
pub fn threads() -> Result<usize, String> {
    inherited().map_or_else(default_threads, |pool| Ok(pool.threads()))
}

/// Calls `body` with the index and the part of every turn, on all threads, in no fixed order.
pub(crate) fn for_each<P: Parts>(parts: P, body: impl Fn(usize, P::Part) + Sync) {
    let count = parts.count().unwrap_or(0);
    let turn = |index| {
        // SAFETY: each index below the count is taken once.
        body(index, unsafe { parts.part(index) });
    };
    // A single turn needs no pool, and `current` asks the system which process this is.
    if count > 1 { current().for_each(count, &turn) } else { (0..count).for_each(turn) }
}

/// Whether one of the `threads` starts with that turn of a loop of `count`.
pub(crate) fn starts_share(index: usize, count: usize, threads: usize) -> bool {
    let shares = count.min(threads);
    (0..shares).any(|share| pool::first_turn(share, shares, count) == index)
}

/// The pool of this process, or the one that it was forked with.
fn inherited() -> Option<Arc<Pool>> {
    // Never waits: after a `fork` the lock may be held by a thread that is not here.
    match POOL.try_read() {
        Ok(slot) => slot.clone(),
        Err(TryLockError::Poisoned(error)) => error.into_inner().clone(),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// The pool of this process, started now if need be. A pool inherited through `fork` has no
/// threads in the child. Where the system gives no threads, the caller works alone.
fn current() -> Arc<Pool> {
    let inherited = inherited();
    let threads = match &inherited {
        Some(pool) if pool.process() == std::process::id() => return Arc::clone(pool),
        Some(pool) => pool.threads(),
        None => default_threads().unwrap_or(1),
    };
    let alone = || Arc::new(Pool::alone());
    let mut slot = match POOL.try_write() {
        Ok(slot) => slot,
        Err(TryLockError::Poisoned(error)) => error.into_inner(),
        Err(TryLockError::WouldBlock) => return alone(),
    };
    // Another thread may have been first.
    if let Some(pool) = slot.as_ref().filter(|pool| pool.process() == std::process::id()) {
        return Arc::clone(pool);
    }
    let new = Pool::new(threads).map_or_else(|_| alone(), Arc::new);
    retire(slot.replace(Arc::clone(&new)));
    new
}

/// Lets go of a pool. Dropping that of the process that this one was forked from would wait for
/// threads that are not here.
fn retire(old: Option<Arc<Pool>>) {
    if let Some(inherited) = old.filter(|old| old.process() != std::process::id()) {
        std::mem::forget(inherited);
    }
}
