//! A gate that buys a level only if it pays.
//!
//! One more level costs a draft pass for the whole batch, and its rows are rows of the target's
//! forward; it brings a choice. With `p` the chance of a sequence's best path so far and `r` what
//! the next level may multiply it by, known as quantiles, drafting is worth the mean over `r` of
//! `p r - λ` tokens to it, where `p r` exceeds `MARGIN · λ`, and nothing elsewhere: the solver
//! takes no other rows, and those it takes cost their price `λ = rate · T'(rows)`, `rate` being
//! plain decoding's tokens per microsecond at this load. The level is drafted while all that
//! exceeds `MARGIN` times what the pass costs, `rate · T_draft`, and for those sequences alone that
//! add to it. The rest forgoes the pass and keeps what a look-up in the text finds for nothing;
//! whether its rows pay is for the solver to say.
//!
//! Prompt rows in the same forward decide how dear a further row is, not `rate`: they are read in
//! any case. What `r` was known to be is corrected by what drafts have promised since.
//!
//! The paper (ECHO, arXiv 2604.09603) takes draft passes for free: a single confident request can
//! buy one for everybody. Here it can't.

use crate::cost::{CostTable, MARGIN};
use crate::survival::Survival;
use echo_core::{Frontier, Gate, Keep, Load};

/// What the choice rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct WorthParams {
    /// Measured times.
    pub cost: CostTable,
    /// How often paths of a given draft probability are accepted.
    pub survival: Survival,
    /// Quantiles, by depth from 0 on, of the chance of the best path one level deeper over that of
    /// the best path before; each in `0..=1`. Deeper levels are as the last.
    pub ahead: Vec<Vec<f32>>,
}

/// Forgoes passes that don't pay. See the module.
#[derive(Clone, Debug)]
pub struct Worth {
    params: WorthParams,
}

/// Quantiles of chances that are none.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("what lies ahead is {0} at some depth; chances lie between 0 and 1, and there must be one")]
pub struct AheadError(pub f32);

impl Worth {
    /// Refuses chances out of range, and a depth without any.
    pub fn new(params: WorthParams) -> Result<Self, AheadError> {
        if params.ahead.is_empty() || params.ahead.iter().any(Vec::is_empty) {
            return Err(AheadError(f32::NAN));
        }
        match params.ahead.iter().flatten().find(|chance| !(0.0..=1.0).contains(*chance)) {
            Some(&chance) => Err(AheadError(chance)),
            None => Ok(Worth { params }),
        }
    }

    /// Tokens that a level below `depth` is worth to a sequence whose best path has chance `p`,
    /// where chances are `chance` times what they seem and a row costs `price` tokens.
    fn value(&self, depth: usize, p: f64, chance: f64, price: f64) -> f64 {
        let ahead = &self.params.ahead[depth.min(self.params.ahead.len() - 1)];
        let paths = ahead.iter().map(|&r| (p * f64::from(r) * chance).min(1.0));
        let taken = paths.filter(|&path| path > MARGIN * price);
        taken.map(|path| path - price).sum::<f64>() / ahead.len() as f64
    }
}

impl Gate for Worth {
    fn looks_at(&self, _depth: usize) -> bool {
        true
    }

    fn narrow(&self, frontier: Frontier<'_>, load: Load, keep: &mut Keep) {
        let WorthParams { cost, survival, .. } = &self.params;
        let times = cost.under(&load);
        let (tree, depth, first) = (frontier.tree, frontier.depth(), frontier.nodes().start);
        // A pass goes on from the states of the one before; below a look-up there are none.
        if depth > 0 && tree.passes.get(depth - 1) == Some(&0) {
            return frontier.nodes().for_each(|i| keep.forgo_pass(i - first));
        }
        let n = frontier.seqs().count().max(1);
        let base = load.context_rows + load.n_seqs;
        let rate = load.n_seqs as f64 / (times.host_us() + times.verify_us(load.n_seqs));
        // A curve may be flat for some rows and rise later: the price is that of one row for all.
        let rows = base + depth * n;
        let row_us = (times.verify_us(rows + n) - times.verify_us(rows)).max(0.0) / n as f64;
        let chance = f64::from(load.correction.chance) * f64::from(load.correction.ahead);
        let (mut value, mut nodes) = (0.0, 0);
        for (_, own) in frontier.seqs() {
            let open = own.clone().filter(|&i| keep.passes(i - first));
            let (count, best) = open.fold((0, f32::NEG_INFINITY), |(count, best), i| {
                (count + 1, best.max(tree.score[i]))
            });
            let p = if depth == 0 { 1.0 } else { f64::from(survival.at(best.min(0.0))) };
            let own_value = self.value(depth, p, chance, rate * row_us);
            if count > 0 && own_value > 0.0 {
                value += own_value;
                nodes += count;
            } else {
                own.for_each(|i| keep.forgo_pass(i - first));
            }
        }
        if value <= MARGIN * rate * times.draft_us(nodes) {
            frontier.nodes().for_each(|i| keep.forgo_pass(i - first));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Sample;
    use crate::curve::Between;
    use echo_core::{Correction, SuperTreeView};
    use echo_tree::Drawing;

    fn worth(draft_us: f64, row_us: f64) -> Worth {
        let sample = |rows, us| Sample { rows, kv_len: 0, us };
        let verify = [sample(1, 1000.0), sample(101, 1000.0 + 100.0 * row_us)];
        let draft = [sample(1, draft_us), sample(100, draft_us)];
        let cost = CostTable::from_samples(&verify, &draft, 0.0, Between::Linear);
        let (cost, survival) = (cost.expect("times"), Survival::identity());
        Worth::new(WorthParams { cost, survival, ahead: vec![vec![0.5], vec![0.5]] })
            .expect("shares")
    }

    /// Children that a pass may still bring the nodes of the last level, each of which had two.
    fn left(gate: &Worth, n_seqs: usize, text: &str) -> Vec<u32> {
        left_under(gate, Load { n_seqs, ..Load::default() }, text)
    }

    fn left_under(gate: &Worth, load: Load, text: &str) -> Vec<u32> {
        let drawing = Drawing::parse(text).expect("a tree");
        let frontier = drawing.tree.view().frontier();
        let mut keep = Keep::default();
        keep.reset(frontier.nodes().len());
        (0..keep.len()).for_each(|i| keep.open(i, 2));
        gate.narrow(frontier, load, &mut keep);
        assert!(keep.as_slice().iter().all(|&n| n == 2), "what is for nothing stays open");
        (0..keep.len()).map(|i| if keep.passes(i) { keep.children(i) } else { 0 }).collect()
    }

    #[test]
    fn a_level_is_bought_while_it_brings_more_than_its_time() {
        // Half a token for 380 of 1000 us pays, the margin included, for 420 it doesn't.
        assert_eq!(left(&worth(380.0, 1.0), 1, "seq 0: 1"), [2]);
        assert_eq!(left(&worth(420.0, 1.0), 1, "seq 0: 1"), [0]);
        // The rows count too.
        assert_eq!(left(&worth(380.0, 200.0), 1, "seq 0: 1"), [0]);
    }

    #[test]
    fn what_drafts_promise_is_believed_before_what_was_known() {
        let of = |ahead| {
            let correction = Correction { ahead, ..Correction::NONE };
            let load = Load { n_seqs: 1, correction, ..Load::default() };
            left_under(&worth(300.0, 1.0), load, "seq 0: 1")
        };
        assert_eq!((of(1.0), of(0.7)), (vec![2], vec![0]));
    }

    #[test]
    fn a_prompt_in_the_forward_makes_no_level_cheap() {
        let load = Load { n_seqs: 1, context_rows: 1000, ..Load::default() };
        assert_eq!(left_under(&worth(400.0, 1.0), load, "seq 0: 1"), [0]);
    }

    #[test]
    fn one_confident_request_does_not_buy_a_pass_for_all() {
        let two = "seq 0: 1\n  2 -0.01\nseq 1: 1\n  3 -6";
        assert_eq!(left(&worth(100.0, 1.0), 2, two), [2, 0]);
        // Of 100 sequences 99 are not drafted for; the pass costs 60 of their tokens.
        assert_eq!(left(&worth(600.0, 1.0), 100, two), [0, 0]);
    }

    #[test]
    fn no_pass_goes_on_below_a_look_up() {
        let drawing = Drawing::parse("seq 0: 1\n  2 -0.01").expect("a tree");
        let passes = |before| {
            let tree = SuperTreeView { passes: &[before], ..drawing.tree.view() };
            let mut keep = Keep::default();
            keep.reset(1);
            keep.open(0, 2);
            let load = Load { n_seqs: 1, ..Load::default() };
            worth(100.0, 1.0).narrow(tree.frontier(), load, &mut keep);
            keep.n_passes()
        };
        assert_eq!((passes(1), passes(0)), (1, 0));
    }

    /// The margin picks rows; those that are picked cost what they cost.
    #[test]
    fn picked_rows_count_at_their_price() {
        // Half the levels bring 0.9 tokens for a row of 0.6, the others nothing for none.
        let params = |draft_us| worth(draft_us, 600.0).params;
        let of = |draft_us| {
            let ahead = vec![vec![0.1, 0.9]];
            left(
                &Worth::new(WorthParams { ahead, ..params(draft_us) }).expect("chances"),
                1,
                "seq 0: 1",
            )
        };
        assert_eq!((of(115.0), of(125.0)), (vec![2], vec![0]));
        // At 0.8 no row is picked: 0.9 is no more than a margin above it.
        let dear = WorthParams { ahead: vec![vec![0.1, 0.9]], ..worth(1.0, 800.0).params };
        assert_eq!(left(&Worth::new(dear).expect("chances"), 1, "seq 0: 1"), [0]);
    }

    /// A level that is mostly useless pays where its few good rows can be picked.
    #[test]
    fn the_choice_is_what_is_bought() {
        let params = worth(50.0, 300.0).params;
        let even = WorthParams { ahead: vec![vec![0.25; 4]], ..params.clone() };
        let uneven = WorthParams { ahead: vec![vec![0.0, 0.0, 0.0, 1.0]], ..params };
        let of = |params| left(&Worth::new(params).expect("chances"), 1, "seq 0: 1");
        assert_eq!((of(even), of(uneven)), (vec![0], vec![2]));
    }

    #[test]
    fn shares_are_shares() {
        let with = |ahead| {
            let params = WorthParams { ahead, ..worth(1.0, 1.0).params };
            Worth::new(params).err()
        };
        assert!(with(vec![]).is_some() && with(vec![vec![]]).is_some());
        assert!(with(vec![vec![0.5, 1.5]]).is_some() && with(vec![vec![f32::NAN]]).is_some());
    }
}
