//! What the live page draws: the numbers of now, and the trees of the last step.

use echo_core::{Token, Vocab};
use echo_runtime::{Engine, Handle, Round, StepStats};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Trees of one step that are drawn at most.
const TREES_MAX: usize = 16;
/// Steps whose rows and times are remembered.
const STEPS_MAX: usize = 240;

/// Copies what the page asks for off the engine's thread, and only while somebody asks.
#[derive(Clone)]
pub(crate) struct Live(Arc<Inner>);

struct Inner {
    handle: Handle,
    /// Whether somebody looked since the trees were copied.
    wanted: AtomicBool,
    seen: Mutex<Seen>,
    /// Measured times of forwards, by rows.
    profile: Vec<(usize, Duration)>,
}

#[derive(Default)]
struct Seen {
    trees: Vec<Tree>,
    /// Number of the step that had the trees.
    step: usize,
    steps: VecDeque<Step>,
}

/// One sequence's tree of one step.
struct Tree {
    place: u32,
    nodes: Vec<Node>,
}

struct Node {
    /// Place of the parent in the tree; its own at the root.
    parent: usize,
    depth: usize,
    token: Token,
    /// The drafter's own estimate that the path to here is right.
    probability: f32,
    verified: bool,
    accepted: bool,
}

/// A step as a point over its rows.
#[derive(Clone, Copy)]
struct Step {
    rows: usize,
    used: usize,
    granted: usize,
    verify: Duration,
    whole: Duration,
}

impl Live {
    /// Watches the engine's steps.
    pub(crate) fn new(handle: &Handle, profile: Vec<(usize, Duration)>) -> Self {
        let (wanted, seen) = (AtomicBool::new(false), Mutex::default());
        let profile = by_rows(profile);
        let live = Live(Arc::new(Inner { handle: handle.clone(), wanted, seen, profile }));
        let inner = Arc::clone(&live.0);
        handle.observe(move |engine| inner.note(engine));
        live
    }

    /// Everything the page draws.
    pub(crate) fn json(&self, vocab: &dyn Vocab) -> Value {
        let Inner { handle, wanted, seen, profile } = self.0.as_ref();
        wanted.store(true, Ordering::Relaxed);
        let (snapshot, limits) = (handle.snapshot(), handle.limits());
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let steps = seen.steps.iter().map(|step| {
            json!([step.rows, step.used, step.granted, us(step.verify), us(step.whole)])
        });
        let profile = profile.iter().map(|&(rows, time)| json!([rows, us(time)]));
        let trees = seen.trees.iter().map(|tree| tree.json(vocab));
        let StepStats { steps: n_steps, seqs, context_rows, drafted, .. } = snapshot.totals;
        let totals = snapshot.totals;
        json!({
            "totals": {
                "steps": n_steps, "seqs": seqs, "context_rows": context_rows, "drafted": drafted,
                "tokens": totals.committed, "verified": totals.verified,
                "accepted": totals.accepted, "wasted": totals.wasted(),
                "granted": totals.granted, "used": totals.used(),
                "preemptions": totals.preemptions,
            },
            "running": snapshot.n_live,
            "waiting": snapshot.n_waiting,
            "open": handle.is_open(),
            "limits": {"seqs": limits.seqs_max, "rows": limits.rows_max},
            "kv": {"slots": snapshot.kv.slots, "held": snapshot.kv.held, "idle": snapshot.kv.idle},
            "profile": profile.collect::<Vec<_>>(),
            "steps": steps.collect::<Vec<_>>(),
            "step": seen.step,
            "trees": trees.collect::<Vec<_>>(),
        })
    }
}

impl Inner {
    /// Looks at a step that ran a forward.
    fn note(&self, engine: &Engine) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let last = engine.last_step();
        if seen.steps.len() == STEPS_MAX {
            seen.steps.pop_front();
        }
        seen.steps.push_back(Step {
            rows: last.rows(),
            used: last.used(),
            granted: last.granted,
            verify: last.time[echo_runtime::Stage::Verify as usize],
            whole: last.total_time(),
        });
        // A step that only reads prompts has no tree to draw.
        if last.seqs > 0 && self.wanted.swap(false, Ordering::Relaxed) {
            seen.step = engine.totals().steps;
            seen.trees = trees(&engine.last_round());
        }
    }
}

/// The median of the times of each number of rows, ascending: they were measured several times and
/// over texts of several lengths.
fn by_rows(mut profile: Vec<(usize, Duration)>) -> Vec<(usize, Duration)> {
    profile.sort_unstable();
    let equal = profile.chunk_by(|a, b| a.0 == b.0);
    equal.map(|times| times[times.len() / 2]).collect()
}

/// The first trees of a step.
fn trees(round: &Round<'_>) -> Vec<Tree> {
    let mut accepted = Vec::new();
    round.accepted(&mut accepted);
    let view = round.tree;
    // Nodes lie level by level over the whole batch; each finds its tree by its place.
    let mut place_of = vec![0; view.len()];
    let mut trees: Vec<Tree> = Vec::new();
    for depth in 0..view.levels() {
        for node in view.level(depth) {
            let place = view.seq[node];
            if depth == 0 && trees.len() < TREES_MAX {
                trees.push(Tree { place, nodes: Vec::new() });
            }
            let Some(tree) = trees.iter_mut().find(|tree| tree.place == place) else { continue };
            place_of[node] = tree.nodes.len();
            tree.nodes.push(Node {
                parent: place_of[view.parent[node] as usize],
                depth,
                token: view.token[node],
                probability: view.score[node].exp(),
                verified: round.plan.contains(node),
                accepted: accepted[node],
            });
        }
    }
    trees
}

impl Tree {
    fn json(&self, vocab: &dyn Vocab) -> Value {
        let text = |token: Token| String::from_utf8_lossy(vocab.bytes(token)).into_owned();
        let nodes = self.nodes.iter().map(|node| {
            json!({
                "parent": node.parent, "depth": node.depth, "text": text(node.token),
                "p": node.probability, "verified": node.verified, "accepted": node.accepted,
            })
        });
        json!({"place": self.place, "nodes": nodes.collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_one_time_for_each_number_of_rows() {
        let ms = Duration::from_millis;
        let measured = [(1, 2), (8, 9), (1, 30), (8, 4), (1, 1), (32, 7)];
        let measured = measured.map(|(rows, time)| (rows, ms(time))).to_vec();
        assert_eq!(by_rows(measured), [(1, ms(2)), (8, ms(9)), (32, ms(7))]);
        assert_eq!(by_rows(Vec::new()), []);
    }
}
