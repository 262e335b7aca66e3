//! How fast memory can be read: the bound beside the times.

use echo_kernels_cpu::pool::Pool;
use std::hint::black_box;
use std::time::Instant;

/// Bytes per second that `threads` threads read from memory with plain sums.
pub(crate) fn bandwidth(threads: usize) -> f64 {
    let data = vec![1u64; 256 << 17];
    let pool = Pool::new(threads);
    let share = data.len() / threads;
    let best = (0..10)
        .map(|_| {
            let start = Instant::now();
            pool.run(threads, &|t| {
                let mut sums = [0u64; 32];
                for line in data[t * share..][..share].as_chunks::<32>().0 {
                    for (sum, x) in sums.iter_mut().zip(line) {
                        *sum = sum.wrapping_add(*x);
                    }
                }
                black_box(sums);
            });
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    (data.len() * 8) as f64 / best
}
