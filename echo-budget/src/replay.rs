//! Policies on recorded drafts, under any cost table; no model runs.
//!
//! So many requests live at once; who ends is replaced by the next text, texts come round again
//! until each place was filled twice. In each step the recorded drafts grow level by level under
//! the gate, the solver plans, and each request commits what the plan holds of its text's own path,
//! and one token more. Time is the cost table's: host, draft passes over the nodes that were open,
//! one target forward. What a policy misses it meets again at the next position, as live.
//!
//! The *oracle* knows each path. Level by level it drafts and verifies nodes of the paths alone, as
//! many as give the most tokens per time in this step. *Regret* is the share of its rate that a
//! policy misses. The oracle looks one step ahead, so it is no bound by proof: where texts are few
//! for the places, it may be the first to leave places empty at the end, and regret falls below 0.

use crate::cost::CostTable;
use crate::scene::Scene;
use crate::trace::Trace;
use echo_core::{Budget, Gate, Load, Plan, Solver};

/// What decides in a replay.
pub struct Policy<'a> {
    /// Where drafting goes on.
    pub gate: &'a dyn Gate,
    /// Which nodes are verified.
    pub solver: &'a mut dyn Solver,
    /// Levels at most; 0 is plain decoding.
    pub depth: usize,
    /// Children of one node at most.
    pub width: usize,
    /// Nodes of one level of a request that may have children at most: its best.
    pub beam: usize,
    /// Drafted nodes of one request verified in one step at most.
    pub tree_max: usize,
}

/// How busy the engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Requests at once, at least 1.
    pub seqs: usize,
    /// Tree rows of one forward at most.
    pub rows_max: usize,
}

/// What a replay came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Steps.
    pub steps: usize,
    /// Requests that took part, summed over the steps.
    pub seqs: usize,
    /// Drafted rows verified.
    pub rows: usize,
    /// Tokens committed.
    pub tokens: usize,
    /// Microseconds by the cost table.
    pub us: f64,
}

impl Outcome {
    /// Tokens per millisecond.
    pub fn rate(&self) -> f64 {
        1e3 * self.tokens as f64 / self.us
    }

    /// Tokens committed per request and step, the bonus included.
    pub fn accepted_len(&self) -> f64 {
        self.tokens as f64 / self.seqs as f64
    }
}

/// A live request: its text, and the tokens it has said.
#[derive(Clone, Copy, Debug)]
struct Live {
    text: usize,
    at: usize,
}

/// Replays `trace` under `policy`.
///
/// Panics if the trace doesn't pass [`Trace::check`].
pub fn replay(
    trace: &Trace,
    policy: &mut Policy<'_>,
    cost: &CostTable,
    setting: Setting,
) -> Outcome {
    let (mut scene, mut plan) = (Scene::default(), Plan::default());
    let mut average: Option<f32> = None;
    drive(trace, setting.seqs, |live, accepted| {
        let texts = live.iter().map(|l| (&trace.texts[l.text], l.at));
        let cached = texts.clone().map(|(text, at)| text.n_prompt + at).sum::<usize>();
        let load = Load {
            n_seqs: live.len(),
            rows_free: setting.rows_max.max(live.len()),
            kv_len: cached / live.len(),
            accepted: average,
            ..Load::default()
        };
        let drafted_us = scene.grow(texts.clone(), policy, load, cost);
        let budget = Budget { rows: load.rows_free, tree_max: policy.tree_max, load, shares: &[] };
        plan.reset(scene.view().len(), live.len());
        policy.solver.choose(scene.view(), budget, &mut plan);
        for (place, (text, at)) in texts.enumerate() {
            accepted[place] = scene.accepted(place, text, at, &plan);
        }
        let rows = plan.len() - live.len();
        if rows > 0 {
            let newest = accepted.iter().sum::<usize>() as f32 / live.len() as f32;
            let before = average.unwrap_or(newest);
            average = Some(before + 0.2 * (newest - before));
        }
        let us = cost.host_us() + drafted_us + cost.verify_us(plan.len(), load.kv_len);
        (rows, us)
    })
}

/// What somebody reaches who knows every path. See the module.
pub fn oracle(trace: &Trace, cost: &CostTable, setting: Setting) -> Outcome {
    let mut path: Vec<usize> = Vec::new();
    drive(trace, setting.seqs, |live, accepted| {
        path.clear();
        path.extend(live.iter().map(|l| trace.texts[l.text].path(l.at).count()));
        let cached = live.iter().map(|l| trace.texts[l.text].n_prompt + l.at).sum::<usize>();
        let n = live.len();
        let us = |drafted_us: f64, k: usize| {
            cost.host_us() + drafted_us + cost.verify_us(n + k, cached / n)
        };
        let most = setting.rows_max.saturating_sub(n);
        let (mut best, mut best_us) = (0, us(0.0, 0));
        // Whole levels cost a pass each; of the last one only what is taken is drafted.
        let (mut spent, mut above) = (0.0, 0);
        for depth in 1..=path.iter().copied().max().unwrap_or(0) {
            let level = path.iter().filter(|&&len| len >= depth).count();
            for k in above + 1..=(above + level).min(most) {
                let time = us(spent + cost.draft_us(k - above), k);
                if (n + k) as f64 * best_us > (n + best) as f64 * time {
                    (best, best_us) = (k, time);
                }
            }
            spent += cost.draft_us(level);
            above += level;
        }
        let mut left = best;
        accepted.fill(0);
        for depth in 1.. {
            if left == 0 {
                break;
            }
            for (accepted, _) in accepted.iter_mut().zip(&path).filter(|(_, len)| **len >= depth) {
                if left > 0 {
                    *accepted += 1;
                    left -= 1;
                }
            }
        }
        (best, best_us)
    })
}

/// Runs texts through `seqs` places until all are done. `step` fills how many drafts each live
/// request accepted and returns the drafted rows and the microseconds.
fn drive(
    trace: &Trace,
    seqs: usize,
    mut step: impl FnMut(&[Live], &mut [usize]) -> (usize, f64),
) -> Outcome {
    let n = trace.texts.len().max(2 * seqs);
    let mut queue = (0..n).map(|i| Live { text: i % trace.texts.len(), at: 0 });
    let mut live: Vec<Live> = queue.by_ref().take(seqs).collect();
    let mut accepted = Vec::new();
    let mut outcome = Outcome::default();
    while !live.is_empty() {
        accepted.clear();
        accepted.resize(live.len(), 0);
        let (rows, us) = step(&live, &mut accepted);
        outcome.steps += 1;
        outcome.seqs += live.len();
        outcome.rows += rows;
        outcome.tokens += accepted.iter().sum::<usize>() + live.len();
        outcome.us += us;
        for (live, accepted) in live.iter_mut().zip(&accepted) {
            live.at += accepted + 1;
        }
        for i in (0..live.len()).rev() {
            if live[i].at == trace.texts[live[i].text].tokens.len() {
                match queue.next() {
                    Some(next) => live[i] = next,
                    None => drop(live.remove(i)),
                }
            }
        }
    }
    outcome
}
