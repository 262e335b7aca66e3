//! Work on a thread of its own, waited for no longer than agreed.

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::Builder;
use std::time::Duration;

/// Somebody who works on a thread of their own. What the work needs and brings is one `Job`, which
/// goes there and comes back; it is lost with a thread that does not.
pub(crate) struct Aside<Job> {
    who: &'static str,
    time_max: Duration,
    /// `None` for ever once a job did not come back.
    idle: Option<Box<Job>>,
    there: Sender<Box<Job>>,
    back: Receiver<(Box<Job>, std::thread::Result<()>)>,
}

impl<Job: Send + 'static> Aside<Job> {
    /// Starts the thread, which ends when this is dropped, or when `work` next returns after that.
    /// `who` works there, for messages.
    pub(crate) fn new(
        who: &'static str,
        time_max: Duration,
        job: Job,
        mut work: impl FnMut(&mut Job) + Send + 'static,
    ) -> Self {
        // There is one job, so a channel with one place for it takes no memory but for its lists of
        // those who wait, once.
        let (there, jobs) = bounded::<Box<Job>>(1);
        let (done, back) = bounded(1);
        let run = move || {
            while let Ok(mut job) = jobs.recv() {
                let worked = catch_unwind(AssertUnwindSafe(|| work(&mut job)));
                if done.send((job, worked)).is_err() {
                    break;
                }
            }
        };
        let thread = Builder::new().name(format!("echo-{who}")).spawn(run);
        // Nobody joins it: it may never end.
        drop(thread.expect("the system can start a thread"));
        Aside { who, time_max, idle: Some(Box::new(job)), there, back }
    }

    /// The job, to be filled in. Panics if it did not come back.
    pub(crate) fn job(&mut self) -> &mut Job {
        let who = self.who;
        self.idle.as_mut().unwrap_or_else(|| panic!("the {who} has not come back"))
    }

    /// Has the job done. Panics as the work did, if it did; also if it does not come back in time,
    /// and from then on always.
    pub(crate) fn run(&mut self) -> &mut Job {
        let Aside { who, time_max, idle, there, back } = self;
        let job = idle.take().unwrap_or_else(|| panic!("the {who} has not come back"));
        assert!(there.send(job).is_ok(), "the {who}'s thread waits for jobs");
        match back.recv_timeout(*time_max) {
            Ok((job, worked)) => {
                let job = idle.insert(job);
                worked.unwrap_or_else(|panic| resume_unwind(panic));
                job
            }
            Err(RecvTimeoutError::Timeout) => panic!("the {who} did not come back in {time_max:?}"),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the {who}'s thread ends last"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    fn said(call: impl FnOnce()) -> String {
        let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("it panics");
        crate::guarded::words(&*panic).to_owned()
    }

    #[test]
    fn work_is_done_elsewhere() {
        let here = std::thread::current().id();
        let mut aside = Aside::new("adder", SOON, (0, here), |job: &mut (u32, _)| {
            *job = (job.0 + 1, std::thread::current().id());
        });
        for n in 0..100 {
            aside.job().0 = n;
            let (sum, there) = *aside.run();
            assert!(sum == n + 1 && there != here);
        }
    }

    #[test]
    fn a_panic_comes_back_and_the_next_job_is_done() {
        let mut aside = Aside::new("divider", SOON, 0, |job: &mut u32| *job = 12 / *job);
        assert!(said(|| _ = aside.run()).contains("divide by zero"));
        *aside.job() = 4;
        assert_eq!(*aside.run(), 3);
    }

    #[test]
    fn who_does_not_come_back_is_not_asked_again() {
        let time_max = Duration::from_millis(20);
        let mut aside = Aside::new("sleeper", time_max, false, |sleeps: &mut bool| {
            if *sleeps {
                std::thread::sleep(Duration::MAX);
            }
        });
        aside.run();
        *aside.job() = true;
        assert_eq!(said(|| _ = aside.run()), "the sleeper did not come back in 20ms");
        let start = std::time::Instant::now();
        assert_eq!(said(|| _ = aside.job()), "the sleeper has not come back");
        assert_eq!(said(|| _ = aside.run()), "the sleeper has not come back");
        assert!(start.elapsed() < time_max, "nobody waits for it any more");
    }
}
