//! How large anything can get. Every buffer of the engine is sized from one [`Limits`] at start.

use std::fmt;

/// The limits of one engine, fixed at start.
///
/// All fields count; none is in bytes. [`Limits::check`] states how they relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Live sequences in one step.
    pub seqs_max: usize,
    /// Rows of one target forward: prompt rows, roots and drafted rows together.
    pub rows_max: usize,
    /// Deepest drafted level; the root is level 0. 0 turns drafting off.
    pub depth_max: usize,
    /// Children of one node.
    pub width_max: usize,
    /// Nodes of one level and one sequence that may have children.
    pub beam_max: usize,
    /// Drafted nodes of one sequence that may be verified in one step (the root not counted).
    pub tree_max: usize,
    /// Tokens of one sequence, prompt included.
    pub context_max: usize,
    /// Tokens of all sequences whose keys and values are held at once.
    pub kv_slots: usize,
    /// Alternatives listed beside a token's log-probability.
    pub logprobs_max: usize,
}

impl Limits {
    /// Room for `seqs_max` sequences of `context_max` tokens each, drafting up to 32 nodes in 5
    /// levels of width 4: a start to change fields from.
    pub fn usual(seqs_max: usize, context_max: usize) -> Self {
        let tree_max = 32;
        Limits {
            seqs_max,
            rows_max: (seqs_max * (1 + tree_max)).clamp(256, 1024).max(seqs_max),
            depth_max: 5,
            width_max: 4,
            beam_max: 4,
            tree_max,
            context_max,
            kv_slots: seqs_max * context_max,
            logprobs_max: 20,
        }
    }

    /// Nodes the super-tree of one step can hold, roots included.
    pub fn nodes_max(&self) -> usize {
        self.seqs_max.saturating_mul(self.tree_nodes_max().saturating_add(1))
    }

    /// Nodes drafted for one sequence in one step, verified or not.
    pub fn tree_nodes_max(&self) -> usize {
        match self.depth_max {
            0 => 0,
            depth => {
                let below = (depth - 1).saturating_mul(self.level_max());
                self.width_max.saturating_add(below)
            }
        }
    }

    /// Nodes of one level of one sequence below the first.
    pub fn level_max(&self) -> usize {
        self.beam_max.saturating_mul(self.width_max)
    }

    /// 64-bit words in the ancestor set of a row.
    pub fn ancestor_words(&self) -> usize {
        self.tree_max.div_ceil(64).max(1)
    }

    /// Refuses limits that contradict each other, naming the field and the remedy.
    pub fn check(&self) -> Result<(), LimitsError> {
        let positive = [
            ("seqs_max", self.seqs_max),
            ("rows_max", self.rows_max),
            ("context_max", self.context_max),
            ("kv_slots", self.kv_slots),
        ];
        for (field, value) in positive {
            if value == 0 {
                return Err(LimitsError { field, why: "must be at least 1".into() });
            }
        }
        for (field, value) in [("width_max", self.width_max), ("beam_max", self.beam_max)] {
            if self.depth_max > 0 && value == 0 {
                let why = "must be at least 1 when depth_max is not 0".into();
                return Err(LimitsError { field, why });
            }
        }
        if self.rows_max < self.seqs_max {
            let why = format!(
                "is {} but every one of {} sequences needs a row in each step; raise it or lower \
                 seqs_max",
                self.rows_max, self.seqs_max
            );
            return Err(LimitsError { field: "rows_max", why });
        }
        if self.kv_slots < self.context_max.min(self.rows_max) {
            let why = format!(
                "is {}, too few for one forward; raise it or lower context_max",
                self.kv_slots
            );
            return Err(LimitsError { field: "kv_slots", why });
        }
        self.check_sums()
    }

    /// Refuses more of anything than there are numbers for.
    fn check_sums(&self) -> Result<(), LimitsError> {
        let (seqs, context) = (self.seqs_max, self.context_max);
        let is_too_large = |n: usize| n >= u32::MAX as usize;
        if is_too_large(self.kv_slots) {
            let why = format!("is {}; slots are counted in 32 bits, lower it", self.kv_slots);
            return Err(LimitsError { field: "kv_slots", why });
        }
        if is_too_large(seqs.saturating_mul(context)) {
            let why = format!(
                "is {seqs}, too many for {context} tokens each; tokens are counted in 32 bits, \
                 lower it or context_max"
            );
            return Err(LimitsError { field: "seqs_max", why });
        }
        if is_too_large(self.nodes_max()) {
            let why = format!(
                "is {}, which with width_max {} makes {} nodes for each of {seqs} sequences; nodes \
                 are counted in 32 bits, lower it, width_max or seqs_max",
                self.depth_max,
                self.width_max,
                self.tree_nodes_max()
            );
            return Err(LimitsError { field: "depth_max", why });
        }
        Ok(())
    }
}

/// Limits that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsError {
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it, and the remedy.
    pub why: String,
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.why)
    }
}

impl std::error::Error for LimitsError {}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Limits = Limits {
        seqs_max: 4,
        rows_max: 64,
        depth_max: 5,
        width_max: 4,
        beam_max: 4,
        tree_max: 60,
        context_max: 512,
        kv_slots: 2048,
        logprobs_max: 20,
    };

    #[test]
    fn nodes_count_roots_first_level_and_beams() {
        assert_eq!(GOOD.tree_nodes_max(), 4 + 4 * 16);
        assert_eq!(GOOD.nodes_max(), 4 * 69);
        assert_eq!(Limits { depth_max: 0, ..GOOD }.nodes_max(), 4);
    }

    #[test]
    fn usual_limits_are_legal() {
        for seqs in [1, 8, 256, 2000] {
            assert_eq!(Limits::usual(seqs, 4096).check(), Ok(()), "{seqs} sequences");
        }
    }

    #[test]
    fn contradictions_are_named() {
        assert_eq!(GOOD.check(), Ok(()));
        let field = |limits: Limits| limits.check().unwrap_err().field;
        assert_eq!(field(Limits { seqs_max: 0, ..GOOD }), "seqs_max");
        assert_eq!(field(Limits { rows_max: 3, ..GOOD }), "rows_max");
        assert_eq!(field(Limits { width_max: 0, ..GOOD }), "width_max");
        assert_eq!(field(Limits { beam_max: 0, ..GOOD }), "beam_max");
        assert_eq!(field(Limits { kv_slots: 8, ..GOOD }), "kv_slots");
        assert_eq!(field(Limits { kv_slots: 1 << 33, ..GOOD }), "kv_slots");
        let many = Limits { kv_slots: 1 << 30, context_max: 1 << 30, ..GOOD };
        assert!(many.check().unwrap_err().to_string().contains("lower it or context_max"));
        // Products that no number holds are too large as well.
        let deep = Limits { depth_max: usize::MAX, width_max: usize::MAX, ..GOOD };
        assert_eq!(field(deep), "depth_max");
    }
}
