//! A pool that has nothing to do leaves the processor to others.
//!
//! The only test of its program, because it reads the time of all of the program's workers.
#![cfg(target_os = "linux")]

use echo_kernels_cpu::pool::Pool;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// Processor time that threads called `kernels-N` have used, in hundredths of a second.
fn worker_ticks() -> u64 {
    let threads = fs::read_dir("/proc/self/task").expect("Linux lists threads");
    let stats =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    let workers = stats.filter(|stat| stat.contains("(kernels-"));
    let ticks = workers.map(|stat| {
        let after_name = stat.rsplit_once(')').expect("the name ends").1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        // Time in user mode and in the system, the 12th and 13th after the name.
        [11, 12].map(|i: usize| fields[i].parse::<u64>().expect("a number")).iter().sum::<u64>()
    });
    ticks.sum()
}

#[test]
fn workers_sleep_when_no_region_comes() {
    let pool = Pool::new(3);
    for _ in 0..1000 {
        pool.run(3, &|_| ());
    }
    sleep(Duration::from_millis(100));
    let before = worker_ticks();
    sleep(Duration::from_millis(600));
    let used = worker_ticks() - before;
    assert!(used <= 5, "idle workers used {used} hundredths of a second in 0.6 seconds");
}
