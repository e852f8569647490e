//! The pool of threads that kernels run on.

use std::sync::{Arc, PoisonError, RwLock};

use rayon::{ThreadPool, ThreadPoolBuilder};

struct Pool {
    process: u32,
    threads: usize,
    pool: Arc<ThreadPool>,
}

static POOL: RwLock<Option<Pool>> = RwLock::new(None);

/// The number of threads where nobody asked for one: `FERROCNN_NUM_THREADS`, or the processors
/// that the affinity mask and the container's quota leave to this process.
///
/// # Errors
/// A line for the user where the variable is not a number from 1 up.
pub fn default_threads() -> Result<usize, String> {
    match std::env::var("FERROCNN_NUM_THREADS") {
        Ok(value) if !value.trim().is_empty() => {
            value.trim().parse().ok().filter(|&count| count > 0).ok_or_else(|| {
                format!("FERROCNN_NUM_THREADS: expected a number from 1 up, got {value:?}")
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
    start(threads).map(drop)
}

/// The number of threads of the next kernel.
///
/// # Errors
/// As for [`default_threads`].
pub fn threads() -> Result<usize, String> {
    current().map_or_else(default_threads, |(threads, _)| Ok(threads))
}

/// Runs `body` on the pool, so that rayon's parallel iterators inside use its threads.
///
/// # Errors
/// The system's message where the threads cannot be started.
pub fn install<R: Send>(body: impl FnOnce() -> R + Send) -> Result<R, String> {
    let pool = match current() {
        Some((_, pool)) => pool,
        None => start(threads_after_fork().map_or_else(default_threads, Ok)?)?,
    };
    Ok(pool.install(body))
}

/// The pool of this process. A pool inherited through `fork` has no threads in the child.
fn current() -> Option<(usize, Arc<ThreadPool>)> {
    let guard = POOL.read().unwrap_or_else(PoisonError::into_inner);
    let pool = guard.as_ref().filter(|pool| pool.process == std::process::id())?;
    Some((pool.threads, Arc::clone(&pool.pool)))
}

fn threads_after_fork() -> Option<usize> {
    POOL.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|pool| pool.threads)
}

fn start(threads: usize) -> Result<Arc<ThreadPool>, String> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("ferrocnn-{index}"))
        .build()
        .map_err(|error| error.to_string())?;
    let pool = Arc::new(pool);
    let process = std::process::id();
    let new = Pool { process, threads, pool: Arc::clone(&pool) };
    let old = POOL.write().unwrap_or_else(PoisonError::into_inner).replace(new);
    if let Some(old) = old.filter(|old| old.process != process) {
        // Its threads live in the parent: ending them from here would wait on locks that nobody
        // releases.
        std::mem::forget(old);
    }
    Ok(pool)
}
