//! When to draft although it seems not to pay, so that a policy learns when it does again.
//!
//! Where a policy stays away from draft passes, a step now and then is a *probe*: policies are told
//! that drafts are better and cheaper than they seem. Probes are paid from `SHARE` of the time of
//! steps that spent no pass, by what they really took, so that is the most they can cost.

use crate::cost::CostTable;
use echo_core::{Correction, Seen};

/// Share of undrafted time that probes may take.
const SHARE: f64 = 0.005;
/// What a probe tells: chances half again as high, and passes at half their time.
const CHANCE: f32 = 1.5;
const DRAFT: f32 = 0.5;

/// The purse that probes are paid from. See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Probes {
    /// Microseconds that probes may take.
    purse_us: f64,
    /// Whether policies were told so for the step that comes.
    is_due: bool,
}

impl Probes {
    /// Books what a step without prompt rows took, of which plain decoding would have been
    /// `plain_us`; whether the next one is to be a probe.
    pub(crate) fn book(&mut self, cost: &CostTable, plain_us: f64, seen: &Seen<'_>) -> bool {
        let Seen { load, verify_us, draft_us, host_us, .. } = *seen;
        // What look-ups bring for nothing says nothing of passes.
        let has_passed = seen.tree.passes.iter().any(|&n| n > 0);
        if std::mem::take(&mut self.is_due) {
            self.purse_us -= draft_us + (verify_us - plain_us).max(0.0);
        } else if has_passed {
            self.purse_us = self.purse_us.min(0.0);
        } else {
            self.purse_us += SHARE * (verify_us + draft_us + host_us);
            let us = |rows| cost.verify_us(rows, load.kv_len);
            let n = load.n_seqs;
            self.is_due = self.purse_us > cost.draft_us(n) + us(n + n.div_ceil(4)) - us(n);
        }
        self.is_due
    }

    /// Books a step that read prompts, of which only draft passes tell what they took.
    pub(crate) fn book_prompts(&mut self, seen: &Seen<'_>) {
        if std::mem::take(&mut self.is_due) {
            self.purse_us -= seen.draft_us;
        }
    }

    /// What policies are told of a step that is a probe.
    pub(crate) fn tempt(known: Correction) -> Correction {
        let chance = CHANCE * known.chance.max(1.0);
        Correction { chance, draft: DRAFT * known.draft.min(1.0), ..known }
    }
}
