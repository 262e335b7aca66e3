//! Graphs of the lists of operations that forwards are made of.
//!
//! A list does not say for how many rows it runs: that is a number in the device's memory, and
//! blocks beyond it end at once. So what a list launches depends on a tier of rows and on how
//! attention's rows lie alone. When a list is first met, which is while an engine starts, a graph
//! is captured for each; from then on a forward costs the host one call per list.

use crate::driver::{Driver, Graph, Launch};
use crate::op::{Form, Op, Reach};
use echo_core::DeviceError;

/// Rows that graphs are captured for. Larger forwards are launched one by one for the rows they
/// have: these are chunks of prompts, and the device has work for longer than the host takes.
pub const TIERS: [usize; 15] = [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];

/// The least tier of at least `rows` rows.
pub(crate) fn tier(rows: usize) -> Option<usize> {
    TIERS.into_iter().find(|&tier| rows <= tier)
}

/// Which lists of operations are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graphs {
    /// None: each launch is handed to the driver by itself, for the rows there are.
    Off,
    /// Those of at least so many operations.
    From(usize),
}

impl Default for Graphs {
    /// A shorter list has next to nothing to gain.
    fn default() -> Self {
        Graphs::From(3)
    }
}

/// All lists that were met, with their graphs.
#[derive(Default)]
pub(crate) struct Book {
    lists: Vec<List>,
    sealed: bool,
}

struct List {
    ops: Vec<Op>,
    graphs: Vec<(Form, Graph)>,
}

impl Book {
    /// From now on a graph that is not there is an error.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    /// The graph of `ops` for `form`, whose rows are a tier. If there is none, graphs for all tiers
    /// up to that of `rows_max` rows are captured first.
    pub(crate) fn find(
        &mut self,
        driver: &dyn Driver,
        ops: &[Op],
        form: Form,
        rows_max: usize,
    ) -> Result<Graph, DeviceError> {
        let list = self.lists.iter().position(|list| list.ops == ops);
        let known = list.and_then(|at| self.lists[at].graph(form));
        if let Some(graph) = known {
            return Ok(graph);
        }
        if self.sealed {
            return Err(DeviceError::Unsupported(format!(
                "a list of {} operations for a tier of {} rows, of which no graph was captured at \
                 start",
                ops.len(),
                form.rows
            )));
        }
        let at = list.unwrap_or_else(|| {
            self.lists.push(List { ops: ops.to_vec(), graphs: Vec::new() });
            self.lists.len() - 1
        });
        let last = tier(rows_max).unwrap_or(TIERS[TIERS.len() - 1]).max(form.rows);
        for rows in TIERS.into_iter().filter(|&rows| rows <= last) {
            self.lists[at].capture(driver, rows)?;
        }
        let graph = self.lists[at].graph(form);
        Ok(graph.expect("captured just now, as every tier and reach up to the last"))
    }
}

impl List {
    fn graph(&self, form: Form) -> Option<Graph> {
        self.graphs.iter().find(|known| known.0 == form).map(|known| known.1)
    }

    /// Captures what is not there yet for `rows` rows. Where two reaches come to the same launches
    /// they share a graph; without attention all do.
    fn capture(&mut self, driver: &dyn Driver, rows: usize) -> Result<(), DeviceError> {
        let mut captured: Vec<(Vec<Launch>, Graph)> = Vec::new();
        for reach in Reach::ALL {
            let form = Form { rows, reach };
            if self.graph(form).is_some() {
                continue;
            }
            let mut launches = Vec::new();
            for op in &self.ops {
                op.launches(form, &mut |launch| {
                    launches.push(launch);
                    Ok(())
                })?;
            }
            let same = captured.iter().find(|known| known.0 == launches).map(|known| known.1);
            let graph = match same {
                Some(graph) => graph,
                None => driver.capture(&launches)?,
            };
            self.graphs.push((form, graph));
            captured.push((launches, graph));
        }
        Ok(())
    }
}
