//! Follows times and chances while the engine runs, so that a policy's table stays true.
//!
//! A forward's time over the table's, `ln ρ(rows) = g + s(rows)`, has two parts: `g`, how fast the
//! machine is at all, which no choice depends on, and the shape `s`, which rows have become dearer
//! than others. What a step leaves unexplained moves `g` by a tenth and the points of `s` beside
//! its row count by a twentieth, less what all of the last steps left unexplained alike: a machine
//! that slows down while it runs one number of rows must not make a few rows more look cheap. A
//! draft pass has its own part in the place of `s`. Nothing above `RESIDUAL_MAX` is believed of one
//! step, so a preempted forward moves them by a few percent.
//!
//! The chance of a drafted token is followed by counting: `(accepted + k) / (promised + k)`, both
//! decaying by the tokens promised. So is what drafts promise at all, by the best token of each
//! first level that was drafted, over what was known before of such tokens.
//!
//! What isn't seen is forgotten slowly: the shape and the counts go back to what was known at
//! start, so a policy that stopped drafting in a bad moment tries again. Where it stays away for
//! long, a step now and then is a *probe*: policies are told that drafts are better and cheaper
//! than they seem. Probes are paid from `PROBE_SHARE` of the time of steps that spent no pass, by
//! what they really took, so that is the most they can cost.

use crate::best::greatest;
use crate::cost::CostTable;
use crate::ratio::Ratio;
use crate::survival::Survival;
use echo_core::{Correction, Learner, Load, Seen};

/// Of an unexplained logarithm, how much is believed of one step.
const RESIDUAL_MAX: f64 = 0.4;
/// How much of it moves the machine's pace, and the shape.
const PACE_RATE: f64 = 0.1;
const SHAPE_RATE: f64 = 0.05;
/// Factors stay between `exp(±FACTOR_MAX)`.
const FACTOR_MAX: f64 = 2.0;
/// Share of the shape, and of counts, that a step forgets.
pub(crate) const FORGET: f64 = 1.0 / 4000.0;
/// Share of undrafted time that probes may take.
const PROBE_SHARE: f64 = 0.01;
/// What a probe tells: chances half again as high, and passes at half their time.
const PROBE_CHANCE: f32 = 1.5;
const PROBE_DRAFT: f32 = 0.5;

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
    /// `g`.
    pace: f64,
    /// What the last steps left unexplained, on average.
    common: f64,
    /// `s` at the points of [`Correction`].
    shape: [f64; Correction::POINTS],
    draft: f64,
    host_us: f64,
    /// Accepted tokens over promised ones.
    chance: Ratio,
    /// Chances of the best tokens of first levels, as drafted over as known before.
    ahead: Ratio,
    /// Microseconds that probes may take.
    purse_us: f64,
    probing: bool,
}

impl Corrector {
    /// Both tables were checked when they were made.
    pub fn new(params: CorrectorParams) -> Self {
        let host_us = params.cost.host_us();
        Corrector {
            params,
            pace: 0.0,
            common: 0.0,
            shape: [0.0; Correction::POINTS],
            draft: 0.0,
            host_us,
            chance: Ratio::default(),
            ahead: Ratio::default(),
            purse_us: 0.0,
            probing: false,
        }
    }

    /// What policies are told of a step that is no probe.
    pub fn correction(&self) -> Correction {
        let factor = |s: f64| (self.pace + s).clamp(-FACTOR_MAX, FACTOR_MAX).exp() as f32;
        Correction {
            verify: self.shape.map(factor),
            draft: factor(self.draft),
            chance: self.chance.get(),
            ahead: self.ahead.get(),
            host_us: (self.host_us - self.params.cost.host_us()) as f32,
        }
    }

    /// Learns from the times of a step without prompt rows.
    fn time(&mut self, seen: &Seen<'_>, rows: usize) {
        let cost = &self.params.cost;
        let (point, share) = Correction::place_of(cost.timed_rows(rows));
        let next = (point + 1).min(Correction::POINTS - 1);
        let shape = (1.0 - share) * self.shape[point] + share * self.shape[next];
        let known = self.pace + shape;
        let residual = residual(seen.verify_us, cost.verify_us(rows, seen.load.kv_len), known);
        self.pace += PACE_RATE * residual;
        self.shape.iter_mut().for_each(|s| *s -= FORGET * *s);
        // What a change of pace leaves unexplained until `g` has followed sums up to nothing here.
        self.common += PACE_RATE * (residual - self.common);
        let moved = SHAPE_RATE * (residual - self.common);
        self.shape[point] += (1.0 - share) * moved;
        self.shape[next] += share * moved;
        self.draft -= FORGET * self.draft;
        let passes_us = cost.under(&Load::default()).drafted_us(seen.tree);
        if passes_us > 0.0 {
            self.draft +=
                PACE_RATE * self::residual(seen.draft_us, passes_us, self.pace + self.draft);
        }
        self.host_us += 0.05 * (seen.host_us - self.host_us).clamp(-50.0, 50.0);
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

    /// Whether the next step is to be a probe; books what this one took.
    fn probes(&mut self, seen: &Seen<'_>) -> bool {
        let Seen { load, verify_us, draft_us, host_us, .. } = *seen;
        // What look-ups bring for nothing says nothing of passes.
        let has_passed = seen.tree.passes.iter().any(|&n| n > 0);
        if std::mem::take(&mut self.probing) {
            let plain = self.params.cost.verify_us(load.n_seqs, load.kv_len);
            let timed = self.params.cost.timed_rows(load.n_seqs);
            let plain = plain * self.correction().verify_at(timed);
            self.purse_us -= draft_us + (verify_us - plain).max(0.0);
        } else if has_passed {
            self.purse_us = self.purse_us.min(0.0);
        } else {
            self.purse_us += PROBE_SHARE * (verify_us + draft_us + host_us);
            let cost = &self.params.cost;
            let us = |rows| cost.verify_us(rows, load.kv_len);
            let n = load.n_seqs;
            self.probing = self.purse_us > cost.draft_us(n) + us(n + n.div_ceil(4)) - us(n);
        }
        self.probing
    }
}

impl Learner for Corrector {
    fn learn(&mut self, seen: Seen<'_>) -> Correction {
        if seen.load.context_rows > 0 || seen.load.n_seqs == 0 {
            if std::mem::take(&mut self.probing) {
                self.purse_us -= seen.draft_us;
            }
            return self.correction();
        }
        let rows = seen.plan.len();
        let is_probe = self.probes(&seen);
        self.time(&seen, rows);
        self.chance(&seen);
        self.ahead(&seen);
        let known = self.correction();
        if !is_probe {
            return known;
        }
        let chance = PROBE_CHANCE * known.chance.max(1.0);
        Correction { chance, draft: PROBE_DRAFT * known.draft.min(1.0), ..known }
    }
}

/// What `known` leaves unexplained of the logarithm of a time over the table's.
fn residual(us: f64, table_us: f64, known: f64) -> f64 {
    let log = (us / table_us).ln();
    if log.is_finite() { (log - known).clamp(-RESIDUAL_MAX, RESIDUAL_MAX) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{Between, Sample};
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
        let probes = (0..1000).filter(|_| step().draft <= PROBE_DRAFT).count();
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
    fn probes_come_and_take_a_hundredth_of_the_time() {
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
        assert!(spent / all < 0.013, "{}", spent / all);
    }
}
