//! The batch's tree of one step of a replay, grown from recorded drafts.

use crate::cost::CostTable;
use crate::replay::Policy;
use crate::trace::Text;
use echo_core::{Keep, Load, Plan, SuperTreeView, Token};

/// The batch's tree of one step.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    parent: Vec<u32>,
    token: Vec<Token>,
    seq: Vec<u32>,
    score: Vec<f32>,
    level_start: Vec<u32>,
    passes: Vec<u32>,
    /// Which node of its round each node is.
    origin: Vec<u32>,
    keep: Keep,
}

impl Scene {
    pub(crate) fn view(&self) -> SuperTreeView<'_> {
        SuperTreeView {
            parent: &self.parent,
            token: &self.token,
            seq: &self.seq,
            score: &self.score,
            level_start: &self.level_start,
            passes: &self.passes,
        }
    }

    /// Grows the drafts of the texts as the gate lets them, and returns the time of the passes.
    pub(crate) fn grow<'a>(
        &mut self,
        texts: impl Iterator<Item = (&'a Text, usize)> + Clone,
        policy: &Policy<'_>,
        load: Load,
        cost: &CostTable,
    ) -> f64 {
        let Scene { parent, token, seq, origin, passes, .. } = self;
        [parent, token, seq, origin, passes].into_iter().for_each(Vec::clear);
        self.score.clear();
        self.level_start.clear();
        self.level_start.push(0);
        let rounds: Vec<_> = texts.map(|(text, at)| &text.rounds[at]).collect();
        (0..rounds.len() as u32).for_each(|place| self.push(place, 0, place, 0.0, 0));
        self.level_start.push(rounds.len() as u32);
        let mut us = 0.0;
        for depth in 0..policy.depth {
            let mut keep = std::mem::take(&mut self.keep);
            let frontier = self.view().frontier();
            let nodes = frontier.nodes();
            keep.reset(nodes.len());
            for n in nodes.clone() {
                let children = rounds[self.seq[n] as usize].children(self.origin[n] as usize);
                keep.open(n - nodes.start, children.len().min(policy.width) as u32);
            }
            for (_, own) in frontier.seqs() {
                let mut best: Vec<usize> = own.collect();
                best.sort_by(|&a, &b| self.score[b].total_cmp(&self.score[a]));
                let beyond = best.iter().skip(policy.beam);
                beyond.for_each(|n| keep.narrow(n - nodes.start, 0));
            }
            if policy.gate.looks_at(depth) {
                policy.gate.narrow(frontier, load, &mut keep);
            }
            // A trace doesn't tell which children would have cost no pass.
            let n_open = keep.n_passes();
            self.passes.push(n_open as u32);
            if n_open > 0 {
                us += cost.draft_us(n_open);
                for n in nodes.clone().filter(|n| keep.passes(n - nodes.start)) {
                    let (seq, most) = (self.seq[n], keep.children(n - nodes.start));
                    let round = rounds[seq as usize];
                    let children = round.children(self.origin[n] as usize);
                    for child in children.take(most as usize) {
                        let (token, score) = (round.token[child - 1], round.score[child - 1]);
                        self.push(n as u32, token, seq, score, child as u32);
                    }
                }
                self.level_start.push(self.parent.len() as u32);
            }
            self.keep = keep;
            if n_open == 0 {
                break;
            }
        }
        us
    }

    fn push(&mut self, parent: u32, token: Token, seq: u32, score: f32, origin: u32) {
        self.parent.push(parent);
        self.token.push(token);
        self.seq.push(seq);
        self.score.push(score);
        self.origin.push(origin);
    }

    /// How many nodes of its text's path the plan holds of the request at `place`.
    pub(crate) fn accepted(&self, place: usize, text: &Text, at: usize, plan: &Plan) -> usize {
        let tree = self.view();
        let held = |(i, node): &(usize, usize)| {
            let depth = i + 1;
            depth < tree.levels()
                && tree
                    .family(depth, place as u32)
                    .any(|n| self.origin[n] as usize == *node && plan.contains(n))
        };
        text.path(at).enumerate().take_while(held).count()
    }
}
