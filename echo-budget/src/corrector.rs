//! Follows times and chances while the engine runs, so that a policy's table stays true.
//!
//! Times are followed by their pace and shape (`pace`). The chance of a drafted token is followed
//! by counting: `(accepted + k) / (promised + k)`, both decaying by the tokens promised. So is what
//! drafts promise at all, by the best token of each first level that was drafted, over what was
//! known before of such tokens.
//!
//! What isn't seen is forgotten slowly: the shape and the counts go back to what was known at
//! start, so a policy that stopped drafting in a bad moment tries again. Where it stays away for
//! long, it is tempted now and then (`probes`).

use crate::best::greatest;
use crate::cost::CostTable;
use crate::pace::Pace;
use crate::probes::Probes;
use crate::ratio::Ratio;
use crate::survival::Survival;
use echo_core::{Correction, Learner, Load, Seen};

/// What is corrected.
#[derive(Clone, Debug, PartialEq)]
pub struct CorrectorParams {
    /// The times that the policies know.
    pub cost: CostTable,
    /// The chances that they know.
    pub survival: Survival,
    /// What they know of first levels that are not drafted yet: the mean chance of the best token.
    pub ahead: f32,
}

/// Follows times and chances. See the module.
#[derive(Clone, Debug)]
pub struct Corrector {
    params: CorrectorParams,
    pace: Pace,
    host_us: f64,
    /// Accepted tokens over promised ones.
    chance: Ratio,
    /// Chances of the best tokens of first levels, as drafted over as known before.
    ahead: Ratio,
    probes: Probes,
}

impl Corrector {
    /// Both tables were checked when they were made.
    pub fn new(params: CorrectorParams) -> Self {
        let host_us = params.cost.host_us();
        let (pace, chance, ahead, probes) = Default::default();
        Corrector { params, pace, host_us, chance, ahead, probes }
    }

    /// What policies are told of a step that is no probe.
    pub fn correction(&self) -> Correction {
        Correction {
            verify: self.pace.verify(),
            draft: self.pace.draft(),
            chance: self.chance.get(),
            ahead: self.ahead.get(),
            host_us: (self.host_us - self.params.cost.host_us()) as f32,
        }
    }

    /// What plain decoding would have taken in the place of a step, as far as it is known.
    fn plain_us(&self, seen: &Seen<'_>) -> f64 {
        let load = Load { correction: self.correction(), ..seen.load };
        self.params.cost.under(&load).verify_us(load.n_seqs)
    }

    /// Learns from what became of the verified nodes.
    fn chance(&mut self, seen: &Seen<'_>) {
        let (tree, survival) = (seen.tree, &self.params.survival);
        let drafted = (tree.roots()..tree.len()).filter(|&n| seen.plan.contains(n));
        let promised: f64 = drafted.map(|n| f64::from(survival.at(tree.score[n].min(0.0)))).sum();
        let accepted = seen.accepted_depth.iter().sum::<u32>();
        self.chance.count(f64::from(accepted), promised);
    }

    /// Learns from what the first level promises, if it was drafted.
    fn ahead(&mut self, seen: &Seen<'_>) {
        let (mut drafted, mut known) = (0.0, 0.0);
        if seen.tree.levels() > 1 && seen.tree.passes.first().is_some_and(|&nodes| nodes > 0) {
            for (_, nodes) in seen.tree.families(1) {
                let best = greatest(&seen.tree.score[nodes]).min(0.0);
                drafted += f64::from(self.params.survival.at(best));
                known += f64::from(self.params.ahead);
            }
        }
        self.ahead.count(drafted, known);
    }
}

impl Learner for Corrector {
    fn learn(&mut self, seen: Seen<'_>) -> Correction {
        if seen.load.context_rows > 0 || seen.load.n_seqs == 0 {
            self.probes.book_prompts(&seen);
            return self.correction();
        }
        let plain_us = self.plain_us(&seen);
        let is_probe = self.probes.book(&self.params.cost, plain_us, &seen);
        self.pace.learn(&self.params.cost, &seen, seen.plan.len());
        self.host_us += 0.05 * (seen.host_us - self.host_us).clamp(-50.0, 50.0);
        self.chance(&seen);
        self.ahead(&seen);
        let known = self.correction();
        if is_probe { Probes::tempt(known) } else { known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Sample;
    use crate::curve::Between;
    use echo_core::{Plan, SuperTreeView};
    use echo_tree::Drawing;

    fn corrector() -> Corrector {
        let sample = |rows, us| Sample { rows, kv_len: 0, us };
        let verify = [sample(1, 1000.0), sample(64, 2000.0)];
        let cost = CostTable::from_samples(&verify, &[sample(1, 100.0)], 0.0, Between::Linear);
        let cost = cost.expect("times");
        Corrector::new(CorrectorParams { cost, survival: Survival::identity(), ahead: 0.5 })
    }

    /// A step that drafted and verified two nodes of chance 0.5 and accepted `accepted` of them.
    fn drafted(corrector: &mut Corrector, accepted: u32, slow: f64) -> Correction {
        let text = "seq 0: 1 *\n  2 -0.6931 *\n    3 -0.6931 *";
        let drawing = Drawing::parse(text).expect("a tree");
        let tree = SuperTreeView { passes: &[1, 1], ..drawing.tree.view() };
        let load = Load { n_seqs: 1, ..Load::default() };
        let verify_us = slow * corrector.params.cost.verify_us(3, 0);
        let (plan, accepted_depth) = (&drawing.plan, &[accepted][..]);
        let (draft_us, host_us) = (slow * 200.0, 10.0);
        corrector.learn(Seen { tree, plan, accepted_depth, load, draft_us, verify_us, host_us })
    }

    /// A step of plain decoding.
    fn plain(corrector: &mut Corrector, n_seqs: usize, slow: f64) -> Correction {
        let roots: Vec<String> = (0..n_seqs).map(|seq| format!("seq {seq}: 1 *")).collect();
        let drawing = Drawing::parse(&roots.join("\n")).expect("roots");
        let mut plan = Plan::default();
        plan.reset(n_seqs, n_seqs);
        corrector.learn(Seen {
            tree: drawing.tree.view(),
            plan: &plan,
            accepted_depth: &vec![0; n_seqs],
            load: Load { n_seqs, ..Load::default() },
            draft_us: 0.0,
            verify_us: slow * corrector.params.cost.verify_us(n_seqs, 0),
            host_us: 10.0,
        })
    }

    #[test]
    fn rows_that_became_dearer_are_told_from_a_slower_machine() {
        // Everything takes twice as long: the ratios stay.
        let mut slower = corrector();
        (0..400).for_each(|i| {
            let _ = plain(&mut slower, [1, 32][i % 2], 2.0);
        });
        let known = slower.correction();
        assert!((known.verify_at(1) - 2.0).abs() < 0.05, "{known:?}");
        assert!((known.verify_at(32) / known.verify_at(1) - 1.0).abs() < 0.05, "{known:?}");
        // Only many rows do.
        let mut dearer = corrector();
        (0..2000).for_each(|i| {
            let _ = plain(&mut dearer, [1, 32][i % 2], [1.0, 2.0][i % 2]);
        });
        let known = dearer.correction();
        assert!((known.verify_at(32) / known.verify_at(1) - 2.0).abs() < 0.2, "{known:?}");
    }

    #[test]
    fn a_machine_that_slows_down_makes_no_rows_cheap() {
        let mut corrector = corrector();
        for _ in 0..200 {
            let known = plain(&mut corrector, 8, 1.4);
            assert!((known.verify_at(64) / known.verify_at(8) - 1.0).abs() < 0.08, "{known:?}");
        }
        let known = corrector.correction();
        assert!((known.verify_at(8) - 1.4).abs() < 0.02, "{known:?}");
        assert!((known.verify_at(64) / known.verify_at(8) - 1.0).abs() < 0.02, "{known:?}");
    }

    #[test]
    fn one_preempted_step_changes_little() {
        let mut corrector = corrector();
        let known = plain(&mut corrector, 4, 50.0);
        assert!(known.verify.iter().all(|&factor| factor < 1.07), "{known:?}");
    }

    #[test]
    fn chances_follow_what_is_accepted_and_are_forgotten() {
        let mut corrector = corrector();
        (0..200).for_each(|_| {
            let _ = drafted(&mut corrector, 0, 1.0);
        });
        let low = corrector.correction().chance;
        assert!(low <= 0.25, "{low}");
        (0..400).for_each(|_| {
            let _ = drafted(&mut corrector, 1, 1.0);
        });
        let right = corrector.correction().chance;
        assert!((right - 1.0).abs() < 0.35, "{right}");
        (0..400).for_each(|_| {
            let _ = drafted(&mut corrector, 2, 1.0);
        });
        assert!(corrector.correction().chance > 1.5);
        (0..20_000).for_each(|_| {
            let _ = plain(&mut corrector, 1, 1.0);
        });
        assert!((corrector.correction().chance - 1.0).abs() < 0.1);
    }

    #[test]
    fn what_drafts_promise_is_followed_where_they_were_drafted() {
        let mut corrector = corrector();
        let mut step = |score: f32, passes: &[u32]| {
            let text = format!("seq 0: 1 *\n  2 {score} *\n  3 -9");
            let drawing = Drawing::parse(&text).expect("a tree");
            let tree = SuperTreeView { passes, ..drawing.tree.view() };
            let (plan, accepted_depth) = (&drawing.plan, &[0][..]);
            let load = Load { n_seqs: 1, ..Load::default() };
            let (draft_us, verify_us, host_us) = (100.0, 1016.0, 10.0);
            corrector.learn(Seen { tree, plan, accepted_depth, load, draft_us, verify_us, host_us })
        };
        // Half is known; a quarter is promised.
        let learnt = (0..400).map(|_| step(-1.3863, &[1]).ahead).last().expect("some steps");
        assert!((learnt - 0.5).abs() < 0.1, "{learnt}");
        // Look-ups tell nothing of it, and it is forgotten.
        let before = step(-0.01, &[0]).ahead;
        assert!((before - learnt).abs() < 0.01, "{before}");
        let after = (0..20_000).map(|_| step(-0.01, &[0]).ahead).last().expect("some steps");
        assert!((after - 1.0).abs() < 0.1, "{after}");
    }

    #[test]
    fn look_ups_that_cost_no_pass_put_no_probe_off() {
        let mut corrector = corrector();
        let drawing = Drawing::parse("seq 0: 1 *\n  2 -0.6931 *").expect("a tree");
        let mut step = || {
            corrector.learn(Seen {
                tree: SuperTreeView { passes: &[0], ..drawing.tree.view() },
                plan: &drawing.plan,
                accepted_depth: &[0],
                load: Load { n_seqs: 1, ..Load::default() },
                draft_us: 1.0,
                verify_us: 1016.0,
                host_us: 10.0,
            })
        };
        let probes = (0..1000).filter(|_| step().draft < 0.9).count();
        assert!(probes >= 5, "{probes}");
    }

    #[test]
    fn what_a_bucket_takes_is_learnt_at_its_edge() {
        let sample = |rows, us| Sample { rows, kv_len: 0, us };
        let verify = [sample(4, 1000.0), sample(8, 1100.0)];
        let cost = CostTable::from_samples(&verify, &[], 0.0, Between::Step).expect("times");
        let survival = Survival::identity();
        let mut corrector = Corrector::new(CorrectorParams { cost, survival, ahead: 0.5 });
        // Forwards of 3 rows are as they were; those of 5, padded to 8, take half as long again.
        (0..4000).for_each(|i| {
            let _ = plain(&mut corrector, [3, 5][i % 2], [1.0, 1.5][i % 2]);
        });
        let known = corrector.correction();
        let dearer = known.verify_at(8) / known.verify_at(4);
        assert!((dearer - 1.5).abs() < 0.1, "{dearer}");
    }

    #[test]
    fn probes_come_and_take_a_share_of_the_time() {
        let mut corrector = corrector();
        let (mut probes, mut spent, mut all) = (0, 0.0, 0.0);
        let mut is_probe = false;
        for _ in 0..5000 {
            // A probe takes much more than it was thought to.
            let next = if is_probe {
                drafted(&mut corrector, 0, 3.0)
            } else {
                plain(&mut corrector, 1, 1.0)
            };
            let us = if is_probe {
                3.0 * (corrector.params.cost.verify_us(3, 0) + 200.0)
            } else {
                1000.0
            };
            spent += if is_probe { us - 1000.0 } else { 0.0 };
            all += us;
            probes += usize::from(is_probe);
            is_probe = next.draft < corrector.correction().draft;
        }
        assert!(probes >= 5, "{probes}");
        assert!(spent / all < 0.007, "{}", spent / all);
    }
}
