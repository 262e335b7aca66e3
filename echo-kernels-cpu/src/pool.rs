//! A few threads that start and end a parallel region in about a microsecond.
//!
//! A forward of a small model is some two hundred regions of 5 to 50 µs, so a region must not cost
//! an allocation, a queue or (while the model runs) a system call. The pool therefore holds one job
//! at a time: the caller publishes it by raising an epoch, every thread works on its own fixed
//! share, and the caller returns when the last share is done. Idle workers spin for about a hundred
//! microseconds and then sleep.

use crossbeam::utils::{Backoff, CachePadded};
use parking_lot::Mutex;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};

/// Rounds a worker waits, after its back-off has grown to yielding, before it sleeps. A round is
/// one yield, about half a microsecond on an idle core.
const ROUNDS_BEFORE_SLEEP: usize = 200;

/// A fixed set of threads that runs one parallel region at a time.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
    region: Mutex<()>,
}

impl Pool {
    /// A pool of `threads` threads, the caller of [`Pool::run`] counted; 0 is taken as 1.
    ///
    /// Panics if the system refuses a thread.
    pub fn new(threads: usize) -> Self {
        let workers = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            epoch: CachePadded::new(AtomicUsize::new(0)),
            unfinished: CachePadded::new(AtomicUsize::new(0)),
            asleep: (0..workers).map(|_| CachePadded::new(AtomicBool::new(false))).collect(),
            closing: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            threads: workers + 1,
            job: UnsafeCell::new(None),
        });
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                let shared = Arc::clone(&shared);
                thread::Builder::new()
                    .name(format!("kernels-{}", worker + 1))
                    .spawn(move || shared.serve(worker))
                    .expect("the system starts a thread for kernels")
            })
            .collect();
        let handles = workers.iter().map(|w| w.thread().clone()).collect();
        Pool { shared, workers, handles, region: Mutex::new(()) }
    }

    /// Number of threads that share a region, the caller's included.
    pub fn threads(&self) -> usize {
        self.shared.threads
    }

    /// Calls `f` with each of `0..tasks` once and returns when all calls have returned.
    ///
    /// Thread `t` of `n` takes the tasks from `t * tasks / n` up to `(t + 1) * tasks / n`, in
    /// ascending order; the caller is thread 0. A region asked for while another runs on this pool
    /// (from another thread, or from inside a task) is worked off by its caller alone.
    ///
    /// Panics if a task panics, after every other thread has finished; the pool stays usable.
    pub fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        let region =
            if tasks > 1 && self.shared.threads > 1 { self.region.try_lock() } else { None };
        if region.is_none() {
            (0..tasks).for_each(f);
            return;
        }
        self.shared.publish(tasks, f, &self.handles);
        let own = catch_unwind(AssertUnwindSafe(|| self.shared.share(0, tasks, f)));
        self.shared.wait();
        let others = self.shared.panicked.swap(false, Ordering::Relaxed);
        drop(region);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!others, "a task of a parallel region panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its tasks, so there is nothing to learn from the join.
            let _ = worker.join();
        }
    }
}

/// The region being run: a function that outlives it, and its number of tasks.
#[derive(Clone, Copy)]
struct Job {
    f: *const (dyn Fn(usize) + Sync),
    tasks: usize,
}

struct Shared {
    /// Raised once per region, and once to close.
    epoch: CachePadded<AtomicUsize>,
    /// Workers that have not finished their share of the region.
    unfinished: CachePadded<AtomicUsize>,
    /// Whether each worker sleeps or is about to.
    asleep: Vec<CachePadded<AtomicBool>>,
    closing: AtomicBool,
    panicked: AtomicBool,
    threads: usize,
    /// Written by the caller while no worker works, read by workers between a new epoch and their
    /// decrement of `unfinished`.
    job: UnsafeCell<Option<Job>>,
}

// SAFETY: everything but `job` is Sync by itself. `job` is written in `publish` only, which runs
// under the region lock and after `wait` has seen `unfinished` fall to zero (Acquire), so no worker
// reads it then; workers read it after they have seen the epoch raised by that `publish` (SeqCst
// store, Acquire load), so the write happens before the read. The pointer in it is only followed
// between these two points, while the caller of `run` keeps the function borrowed.
unsafe impl Sync for Shared {}
// SAFETY: the raw pointer in `job` is followed only as argued above, from whatever thread.
unsafe impl Send for Shared {}

impl Shared {
    fn publish(&self, tasks: usize, f: &(dyn Fn(usize) + Sync), handles: &[Thread]) {
        // SAFETY: only the lifetime changes. The reference is not used after `unfinished` has
        // fallen to zero, and `run` does not return, not even by a panic, before `wait` has seen
        // it.
        let f: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(f) };
        // SAFETY: no worker reads the cell now; see the argument at `Sync`.
        unsafe { *self.job.get() = Some(Job { f, tasks }) };
        self.unfinished.store(self.threads - 1, Ordering::Relaxed);
        // SeqCst here and at `asleep`: either the worker sees the new epoch before it sleeps, or
        // this thread sees it asleep and wakes it.
        self.epoch.fetch_add(1, Ordering::SeqCst);
        for (asleep, handle) in self.asleep.iter().zip(handles) {
            if asleep.load(Ordering::SeqCst) {
                handle.unpark();
            }
        }
    }

    fn wait(&self) {
        let backoff = Backoff::new();
        while self.unfinished.load(Ordering::Acquire) != 0 {
            backoff.snooze();
        }
    }

    /// Works off the share of `thread`.
    fn share(&self, thread: usize, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        (thread * tasks / self.threads..(thread + 1) * tasks / self.threads).for_each(f);
    }

    /// The life of a worker.
    fn serve(&self, worker: usize) {
        let mut seen = 0;
        loop {
            seen = self.next_epoch(worker, seen);
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            // SAFETY: the epoch has been raised and this worker has not decremented `unfinished`;
            // see the argument at `Sync`.
            let job = unsafe { *self.job.get() };
            if let Some(Job { f, tasks }) = job {
                // SAFETY: `run` keeps the function borrowed until `unfinished` is zero.
                let f = unsafe { &*f };
                if catch_unwind(AssertUnwindSafe(|| self.share(worker + 1, tasks, f))).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
            self.unfinished.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits until the epoch is not `seen` and returns it.
    fn next_epoch(&self, worker: usize, seen: usize) -> usize {
        let backoff = Backoff::new();
        let mut rounds = 0;
        loop {
            let epoch = self.epoch.load(Ordering::Acquire);
            if epoch != seen {
                return epoch;
            }
            if rounds < ROUNDS_BEFORE_SLEEP {
                rounds += usize::from(backoff.is_completed());
                backoff.snooze();
                continue;
            }
            let asleep = &self.asleep[worker];
            // Exchanged, not stored: emulators of ARM let the load below go ahead of a store.
            asleep.swap(true, Ordering::SeqCst);
            if self.epoch.load(Ordering::SeqCst) == seen {
                thread::park();
            }
            asleep.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn counts(pool: &Pool, tasks: usize) -> Vec<usize> {
        let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(tasks, &|task| {
            counts[task].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_task_runs_once_for_any_number_of_threads_and_tasks() {
        for threads in [0, 1, 2, 3, 5] {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 3, 7, 64, 1000] {
                assert!(counts(&pool, tasks).iter().all(|&n| n == 1));
            }
        }
    }

    #[test]
    fn sleeping_workers_wake_and_thousands_of_regions_end() {
        let pool = Pool::new(3);
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(20));
            for _ in 0..2000 {
                assert_eq!(counts(&pool, 5), [1; 5]);
            }
        }
    }

    /// The pause before each region is steered to the moment at which the worker falls asleep.
    #[test]
    fn a_region_that_starts_as_a_worker_falls_asleep_ends() {
        let pool = Pool::new(2);
        let mut pause = 0;
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            assert_eq!(counts(&pool, 2), [1; 2]);
            for _ in 0..pause {
                std::hint::spin_loop();
            }
            let slept = pool.shared.asleep[0].load(Ordering::Relaxed);
            pause = if slept { pause - pause / 64 } else { pause + pause / 64 + 1 };
        }
    }

    #[test]
    fn a_panicking_task_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(3);
        for bad in [0, 5, 9] {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool.run(10, &|task| assert_ne!(task, bad, "planted"));
            }));
            assert!(caught.is_err(), "the panic of task {bad} was lost");
            assert_eq!(counts(&pool, 10), [1; 10]);
        }
    }

    #[test]
    fn a_region_inside_a_region_is_worked_off_by_its_caller() {
        let pool = Pool::new(2);
        let total = AtomicUsize::new(0);
        pool.run(4, &|_| {
            pool.run(8, &|_| {
                total.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(total.into_inner(), 32);
    }
}
