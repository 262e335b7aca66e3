//! Operations on their way to the device: collected until something is copied, then replayed.

use crate::driver::{Arg, Driver};
use crate::graphs::{Book, Graphs, tier};
use crate::memory::Scratch;
use crate::op::{Form, Op, Reach};
use echo_core::DeviceError;

/// Operations that were asked for and not enqueued yet. They have the same rows; a list ends where
/// the number changes, where the host copies, and where it waits.
#[derive(Default)]
pub(crate) struct Queue {
    graphs: Graphs,
    book: Book,
    pending: Vec<Op>,
    rows: usize,
    /// Of the attention among them.
    reach: Option<Reach>,
    /// Most rows of any stage.
    pub(crate) rows_max: usize,
    /// The number of rows, where kernels read it, and what it is, as far as the host knows.
    live: Scratch,
    counted: Option<usize>,
    /// Why operations were dropped that callers were told were taken, if some were.
    dropped: Option<String>,
}

impl Queue {
    pub(crate) fn new(graphs: Graphs) -> Self {
        Queue { graphs, ..Queue::default() }
    }

    pub(crate) fn seal(&mut self) {
        self.book.seal();
    }

    /// Rows that the launches of a list of `rows` rows have blocks for at most: memory for the use
    /// of an operation must suffice for them, so that its address is good for every tier.
    pub(crate) fn rows_most(&self, rows: usize) -> usize {
        let most = self.rows_max.max(rows);
        tier(most).unwrap_or(most)
    }

    /// Fails once operations were dropped. A forward whose answer nobody waits for ends well while
    /// it is pending, and whoever asked for it counts on what it writes; so nothing later can be
    /// right until the device is opened anew.
    pub(crate) fn check(&self) -> Result<(), DeviceError> {
        self.dropped.as_ref().map_or(Ok(()), |why| Err(DeviceError::Lost(why.clone())))
    }

    /// Where kernels read the number of rows there are.
    pub(crate) fn live(&mut self, driver: &dyn Driver) -> Result<Arg, DeviceError> {
        self.check()?;
        Ok(self.live.reserve(driver, 4, "number of rows")?.into())
    }

    /// Takes an operation on `rows` rows; of attention, `reach` is how they lie.
    pub(crate) fn push(
        &mut self,
        driver: &dyn Driver,
        rows: usize,
        reach: Option<Reach>,
        op: Op,
    ) -> Result<(), DeviceError> {
        self.check()?;
        if rows == 0 {
            return Ok(());
        }
        let is_other = reach.is_some() && self.reach.is_some() && reach != self.reach;
        if rows != self.rows || is_other {
            self.flush(driver)?;
        }
        if self.graphs == Graphs::Off || tier(rows).is_none() {
            self.count(driver, rows)?;
            let form = Form { rows, reach: reach.unwrap_or_default() };
            return op.launches(form, &mut |launch| driver.launch(&launch));
        }
        self.rows = rows;
        self.reach = self.reach.or(reach);
        match self.pending.last().and_then(|last| last.joined(&op)) {
            Some(both) => *self.pending.last_mut().expect("just seen") = both,
            None => self.pending.push(op),
        }
        Ok(())
    }

    /// Enqueues what is pending. After a failure it is dropped, and the device is lost: also where
    /// a sealed book refused the list, which may be of a forward that nobody waited for.
    pub(crate) fn flush(&mut self, driver: &dyn Driver) -> Result<(), DeviceError> {
        self.check()?;
        let done = self.enqueue(driver);
        let n = self.pending.len();
        if let Err(error) = &done {
            self.dropped = Some(format!("{n} operations were dropped: {error}"));
        }
        self.pending.clear();
        self.reach = None;
        done
    }

    fn enqueue(&mut self, driver: &dyn Driver) -> Result<(), DeviceError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (rows, reach) = (self.rows, self.reach.unwrap_or_default());
        self.count(driver, rows)?;
        match (self.graphs, tier(rows)) {
            (Graphs::From(shortest), Some(rows)) if self.pending.len() >= shortest => {
                let most = self.rows_most(rows);
                let graph = self.book.find(driver, &self.pending, Form { rows, reach }, most)?;
                driver.replay(graph)
            }
            _ => self.pending.iter().try_for_each(|op| {
                op.launches(Form { rows, reach }, &mut |launch| driver.launch(&launch))
            }),
        }
    }

    /// Tells the kernels that there are `rows` rows.
    fn count(&mut self, driver: &dyn Driver, rows: usize) -> Result<(), DeviceError> {
        if self.counted == Some(rows) {
            return Ok(());
        }
        let address = self.live.reserve(driver, 4, "number of rows")?;
        self.counted = None;
        driver.write(address, &(rows as u32).to_ne_bytes())?;
        self.counted = Some(rows);
        Ok(())
    }
}
