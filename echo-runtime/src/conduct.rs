//! How a plug-in behaves: its faults are caught and counted, and after too many it is switched off.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Calls that must go well before one fault is forgotten.
const GOOD_PER_FAULT: u32 = 16;
/// Faults not forgotten at which a plug-in is switched off.
const FAULTS_MAX: u32 = 3;

/// Faults of all plug-ins in the running step.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepFaults(Arc<AtomicUsize>);

impl StepFaults {
    /// How many there were so far, which are forgotten.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One plug-in's conduct.
#[derive(Debug)]
pub(crate) struct Conduct {
    time_max: Duration,
    in_step: StepFaults,
    strikes: Cell<u32>,
}

impl Conduct {
    /// A good name. A call that takes longer than `time_max` is a fault.
    pub(crate) fn new(time_max: Duration, in_step: &StepFaults) -> Self {
        Conduct { time_max, in_step: in_step.clone(), strikes: Cell::new(0) }
    }

    /// Whether the plug-in is not to be called any more.
    pub(crate) fn is_off(&self) -> bool {
        self.strikes.get() >= FAULTS_MAX * GOOD_PER_FAULT
    }

    /// Whether any plug-in had a fault in this step, which is then finished without them.
    pub(crate) fn is_step_faulty(&self) -> bool {
        self.in_step.count() > 0
    }

    /// Calls the plug-in; `None` if it panicked.
    pub(crate) fn watch<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        let start = Instant::now();
        // What it leaves half done is its own state, which decides no text; what it was given to
        // fill is reset by whoever sees the `None`.
        let result = catch_unwind(AssertUnwindSafe(call)).ok();
        if result.is_none() || start.elapsed() > self.time_max {
            self.fault();
        } else {
            self.strikes.set(self.strikes.get().saturating_sub(1));
        }
        result
    }

    /// Notes a fault.
    pub(crate) fn fault(&self) {
        self.in_step.0.fetch_add(1, Ordering::Relaxed);
        if !self.is_off() {
            self.strikes.set(self.strikes.get() + GOOD_PER_FAULT);
        }
    }

    /// Forgets all faults.
    pub(crate) fn forgive(&self) {
        self.strikes.set(0);
        self.in_step.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conduct() -> Conduct {
        Conduct::new(Duration::MAX, &StepFaults::default())
    }

    #[test]
    fn faults_in_a_row_switch_off_and_rare_ones_do_not() {
        let often = conduct();
        (0..3).for_each(|_| often.fault());
        assert!(often.is_off() && often.is_step_faulty());
        let rare = conduct();
        for call in 0..1000 {
            rare.watch(|| ());
            if call % 17 == 0 {
                rare.fault();
            }
        }
        assert!(!rare.is_off());
        rare.forgive();
        assert!(!rare.is_step_faulty());
    }

    #[test]
    fn a_panic_and_a_stall_are_faults() {
        let conduct = Conduct::new(Duration::from_millis(5), &StepFaults::default());
        assert_eq!(conduct.watch(|| 3), Some(3));
        assert!(!conduct.is_step_faulty());
        assert_eq!(conduct.watch(|| std::thread::sleep(Duration::from_millis(10))), Some(()));
        assert_eq!(conduct.in_step.count(), 1);
        assert_eq!(conduct.watch::<()>(|| panic!("on purpose")), None);
        assert_eq!(conduct.in_step.count(), 2);
    }
}
