//! A pool of threads for short loops.
//!
//! The caller works too, and its helpers stay awake for a moment after a loop, since the next is
//! near: a hand-off costs about a microsecond then, and that of a general pool, which puts the
//! caller to sleep, ten to thirty.
//!
//! Every thread has its own share of a loop's turns and takes it from front to back, so that it finds
//! in its own cache what it wrote itself in the loop before. Then it helps with the other shares, so
//! threads that are late or slow take fewer turns, and a helper that does not wake in time is not
//! waited for.

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a helper without work stays awake.
const AWAKE: Duration = Duration::from_micros(200);

/// `Shared::state` counts the helpers inside the loop in its lower bits; `OPEN` says that more may
/// enter; above it stands the number of the loop.
const OPEN: u64 = 1 << 31;
const INSIDE: u64 = OPEN - 1;
const NEXT_LOOP: u64 = 1 << 32;

/// Panics that a task of a helper ended with.
type Panic = Box<dyn Any + Send>;

pub(super) struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<Helper>,
    process: u32,
    /// One loop at a time.
    gate: Mutex<()>,
}

struct Helper {
    handle: JoinHandle<()>,
    asleep: Arc<AtomicBool>,
}

/// The turns of a loop; a pointer, since the loop's borrows end before the threads do.
#[derive(Clone, Copy)]
struct Loop {
    body: *const (dyn Fn(usize) + Sync),
    count: usize,
    /// Into how many shares the turns are cut.
    shares: usize,
}

impl Loop {
    /// The first turn of a share; that of the share after the last is `count`.
    fn first(&self, share: usize) -> usize {
        first_turn(share, self.shares, self.count)
    }
}

/// The first of `count` turns that are in a share, of so many.
pub(super) fn first_turn(share: usize, shares: usize, count: usize) -> usize {
    count / shares * share + share.min(count % shares)
}

/// The next turn of a share, in a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Next(AtomicUsize);

struct Shared {
    state: AtomicU64,
    current: UnsafeCell<Option<Loop>>,
    /// Of the share of each thread, the caller's first.
    next: Box<[Next]>,
    panic: Mutex<Option<Panic>>,
    ended: AtomicBool,
}

// SAFETY: `current` is written by the caller alone, while the loop is not open and no helper is
// inside, and read by helpers that are inside; `state` orders the two. Its pointer is to a `Sync`
// closure.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Pool {
    /// A pool of `threads`, the caller's counted.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let mut pool = Self::with_shares(threads);
        for index in 1..threads {
            let (shared, asleep) = (Arc::clone(&pool.shared), Arc::new(AtomicBool::new(false)));
            let flag = Arc::clone(&asleep);
            let handle = thread::Builder::new()
                .name(format!("ferrocnn-{index}"))
                .spawn(move || shared.help(index, &flag))?;
            pool.helpers.push(Helper { handle, asleep });
        }
        Ok(pool)
    }

    /// The caller and no other.
    pub fn alone() -> Self {
        Self::with_shares(1)
    }

    /// A pool without helpers yet.
    fn with_shares(shares: usize) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            current: UnsafeCell::new(None),
            next: (0..shares).map(|_| Next::default()).collect(),
            panic: Mutex::new(None),
            ended: AtomicBool::new(false),
        });
        Self { shared, helpers: Vec::new(), process: std::process::id(), gate: Mutex::new(()) }
    }

    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// The process whose threads these are.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Calls `body` once with each index below `count`. A loop inside a loop, or beside that of
    /// another thread, runs on its caller alone.
    pub fn for_each(&self, count: usize, body: &(dyn Fn(usize) + Sync)) {
        if count <= 1 || self.helpers.is_empty() {
            return (0..count).for_each(body);
        }
        let _gate = match self.gate.try_lock() {
            Ok(gate) => gate,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return (0..count).for_each(body),
        };
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. `Ending` ends the loop before this function returns
        // or unwinds, and no helper uses the body after that.
        let body: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(body) };
        let turns = Loop { body, count, shares: count.min(self.threads()) };
        // SAFETY: the gate is held and the last loop has ended, so nobody else is here.
        unsafe { *shared.current.get() = Some(turns) };
        for (share, next) in shared.next.iter().enumerate().take(turns.shares) {
            next.0.store(turns.first(share), SeqCst);
        }
        *shared.panic.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let closed = shared.state.load(SeqCst) & !(OPEN | INSIDE);
        shared.state.store(closed.wrapping_add(NEXT_LOOP) | OPEN, SeqCst);
        let ending = Ending(shared);
        for helper in self.helpers.iter().take(turns.shares - 1) {
            if helper.asleep.swap(false, SeqCst) {
                helper.handle.thread().unpark();
            }
        }
        shared.take_turns(turns, 0);
        drop(ending);
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        for Helper { handle, .. } in self.helpers.drain(..) {
            handle.thread().unpark();
            // The result is `Err` for a panic, and helpers catch theirs.
            handle.join().ok();
        }
    }
}

/// Ends the loop when dropped: nobody enters any more, and those inside have left.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_and(!OPEN, SeqCst);
        let mut spins = 0u32;
        while self.0.state.load(SeqCst) & INSIDE != 0 {
            spins = spins.wrapping_add(1);
            if spins.is_multiple_of(1024) {
                thread::yield_now(); // the helper may want this very processor
            }
            spin_loop();
        }
    }
}

impl Shared {
    /// Those of the thread's own share, then those that the others have not got to.
    fn take_turns(&self, turns: Loop, thread: usize) {
        // SAFETY: the loop has not ended: this is its caller, or a helper inside it.
        let body = unsafe { &*turns.body };
        for share in (thread..thread + turns.shares).map(|share| share % turns.shares) {
            let (next, end) = (&self.next[share].0, turns.first(share + 1));
            // Looked at first: where many threads come by, the line of a finished share is not written.
            while next.load(SeqCst) < end {
                let index = next.fetch_add(1, SeqCst);
                if index < end {
                    body(index);
                }
            }
        }
    }

    /// The life of a helper.
    fn help(&self, thread: usize, asleep: &AtomicBool) {
        let mut seen = 0;
        while self.wait(seen, asleep) {
            let state = self.state.load(SeqCst);
            if state & OPEN == 0 {
                seen = state / NEXT_LOOP;
                continue;
            }
            if self.state.compare_exchange(state, state + 1, SeqCst, SeqCst).is_err() {
                continue;
            }
            seen = state / NEXT_LOOP;
            // SAFETY: the loop was open and this helper is inside, so the caller neither writes
            // nor returns before it leaves.
            if let Some(turns) = unsafe { *self.current.get() }
                && let Err(panic) =
                    catch_unwind(AssertUnwindSafe(|| self.take_turns(turns, thread)))
            {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
            self.state.fetch_sub(1, SeqCst);
        }
    }

    /// Waits for a loop after number `seen`; false when the pool has ended.
    fn wait(&self, seen: u64, asleep: &AtomicBool) -> bool {
        let news = || self.state.load(SeqCst) / NEXT_LOOP != seen || self.ended.load(SeqCst);
        let start = Instant::now();
        while !news() {
            for _ in 0..16 {
                spin_loop();
            }
            if start.elapsed() < AWAKE {
                continue;
            }
            asleep.store(true, SeqCst);
            // Whoever opens a loop looks at `asleep` after that: one of the two sees the other.
            while asleep.load(SeqCst) && !news() {
                thread::park();
            }
            asleep.store(false, SeqCst);
        }
        !self.ended.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn every_index_is_taken_once() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads).unwrap();
            for count in [0, 1, 2, 3, 1000] {
                let taken: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                pool.for_each(count, &|index| {
                    taken[index].fetch_add(1, SeqCst);
                });
                assert!(taken.iter().all(|taken| taken.load(SeqCst) == 1));
            }
        }
    }

    #[test]
    fn every_thread_takes_its_own_share_from_front_to_back() {
        let pool = Pool::new(2).unwrap();
        let (caller, together) = (thread::current().id(), Barrier::new(2));
        let taken = Mutex::new((Vec::new(), Vec::new()));
        pool.for_each(10, &|index| {
            together.wait();
            let (first, second) = &mut *taken.lock().unwrap();
            if thread::current().id() == caller { first } else { second }.push(index);
        });
        assert_eq!(taken.into_inner().unwrap(), ((0..5).collect(), (5..10).collect()));
    }

    #[test]
    fn the_share_of_a_late_thread_is_taken_by_others() {
        let pool = Pool::new(2).unwrap();
        let (caller, start) = (thread::current().id(), Instant::now());
        let (taken, late) = (AtomicUsize::new(0), AtomicUsize::new(0));
        pool.for_each(10, &|_| {
            if thread::current().id() != caller {
                late.fetch_add(1, SeqCst);
                while taken.load(SeqCst) < 9 && start.elapsed() < Duration::from_secs(20) {
                    thread::yield_now();
                }
            }
            taken.fetch_add(1, SeqCst);
        });
        assert!(taken.into_inner() == 10 && late.into_inner() <= 1);
    }

    #[test]
    fn a_panic_reaches_its_caller_and_no_later_one() {
        let pool = Pool::new(3).unwrap();
        let failing = || pool.for_each(100, &|index| panic!("turn {index}"));
        assert!(catch_unwind(AssertUnwindSafe(failing)).is_err());
        let sum = AtomicUsize::new(0);
        pool.for_each(100, &|index| {
            sum.fetch_add(index, SeqCst);
        });
        assert_eq!(sum.into_inner(), 4950);
    }

    #[test]
    fn loops_inside_loops_and_beside_loops_end() {
        let pool = Pool::new(3).unwrap();
        let sum = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    pool.for_each(10, &|_| {
                        pool.for_each(10, &|_| {
                            sum.fetch_add(1, SeqCst);
                        });
                    });
                });
            }
        });
        assert_eq!(sum.into_inner(), 400);
    }
}
