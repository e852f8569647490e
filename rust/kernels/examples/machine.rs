//! What the machine can do at this moment, as one line of JSON: float32 multiply-adds and memory
//! bandwidth, with one thread and with several. `benches/` runs it between its measurements.
//!
//!     cargo run --release --example machine [THREADS]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use ferrocnn_kernels::simd::{Kernel, Simd, dispatch, isa};

/// Enough to hide the latency of a multiply-add (4 cycles, two a cycle), and with the two factors
/// still within the 16 registers of AVX2.
const CHAINS: usize = 12;
const SECONDS: f64 = 0.05;
const MEGABYTE: usize = 1 << 20;
/// Floats of each array that stands for memory: several times any cache that a few cores share.
const LARGE: usize = 128 * MEGABYTE / 4;
/// Floats that a thread reads out of the shared cache: more than a second-level cache holds.
const SHARED: usize = 4 * MEGABYTE / 4;

/// `rounds` times a multiply-add in each lane of each chain.
struct MultiplyAdd {
    rounds: usize,
}

impl Kernel for MultiplyAdd {
    /// Operations done: two a multiply-add.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        let (factor, term) = (simd.splat(black_box(0.5)), simd.splat(black_box(1.0)));
        let mut chains = [simd.splat(0.0); CHAINS];
        for _ in 0..self.rounds {
            for chain in &mut chains {
                *chain = simd.mul_add(*chain, factor, term);
            }
        }
        black_box(chains);
        (2 * self.rounds * CHAINS * S::LANES) as f64
    }
}

/// The sum of all values, in enough chains that only the loads count.
struct Read<'a>(&'a [f32]);

impl Kernel for Read<'_> {
    /// Bytes read.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        let mut sums = [simd.splat(0.0); CHAINS];
        for block in self.0.chunks_exact(CHAINS * S::LANES) {
            for (sum, part) in sums.iter_mut().zip(block.chunks_exact(S::LANES)) {
                // SAFETY: each part holds LANES floats.
                *sum = simd.add(*sum, unsafe { simd.load(part.as_ptr()) });
            }
        }
        black_box(sums);
        size_of_val(self.0) as f64
    }
}

/// `a = b + s * c`, as in STREAM.
struct Triad<'a>(&'a mut [f32], &'a [f32], &'a [f32]);

impl Kernel for Triad<'_> {
    /// Bytes read and written; what the machine reads in order to write is not counted.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        let factor = simd.splat(0.5);
        let lanes = S::LANES;
        let sources = self.1.chunks_exact(lanes).zip(self.2.chunks_exact(lanes));
        for (a, (b, c)) in self.0.chunks_exact_mut(lanes).zip(sources) {
            // SAFETY: each part holds LANES floats.
            unsafe {
                let sum = simd.mul_add(factor, simd.load(c.as_ptr()), simd.load(b.as_ptr()));
                simd.store(a.as_mut_ptr(), sum);
            }
        }
        black_box(&self.0);
        3.0 * size_of_val(self.1) as f64
    }
}

/// Repeats `body` until the time is up; what it returns in all, per nanosecond.
fn rate(mut body: impl FnMut() -> f64) -> f64 {
    let (start, mut done) = (Instant::now(), 0.0);
    while start.elapsed().as_secs_f64() < SECONDS {
        done += body();
    }
    done / start.elapsed().as_secs_f64() / 1e9
}

/// The sum of what `threads` threads reach together.
fn together(threads: usize, body: impl Fn(&Barrier) -> f64 + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(|| body(&barrier))).collect();
        started.into_iter().map(|thread| thread.join().expect("a thread panicked")).sum()
    })
}

fn multiply_adds(threads: usize) -> f64 {
    together(threads, |barrier| {
        barrier.wait();
        rate(|| dispatch(MultiplyAdd { rounds: 10_000 }))
    })
}

fn read(threads: usize, floats: usize) -> f64 {
    together(threads, |barrier| {
        let source = vec![1.0; floats];
        barrier.wait();
        rate(|| dispatch(Read(&source)))
    })
}

fn triad(threads: usize, floats: usize) -> f64 {
    together(threads, |barrier| {
        let (mut a, b, c) = (vec![1.0; floats], vec![1.0; floats], vec![1.0; floats]);
        barrier.wait();
        rate(|| dispatch(Triad(&mut a, &b, &c)))
    })
}

fn main() {
    let threads = std::env::args().nth(1).map_or(1, |count| count.parse().expect("THREADS"));
    println!(
        r#"{{"isa": "{}", "fma_gflops_one_thread": {:.1}, "fma_gflops": {:.1}, "read_gb_s": {:.1}, "triad_gb_s": {:.1}, "shared_cache_read_gb_s": {:.1}}}"#,
        isa().name(),
        multiply_adds(1),
        multiply_adds(threads),
        read(threads, LARGE / threads),
        triad(threads, LARGE / threads),
        read(threads, SHARED),
    );
}
