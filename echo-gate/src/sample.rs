//! One graded round at one depth, reduced to what calibration learns from.

/// A confidence and what became of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    confidence: f32,
    gained: bool,
    nodes: u32,
}

impl Sample {
    /// `confidence` is `c(i,d)`; `gained`, whether the accepted path went deeper than `d`; `nodes`,
    /// how many nodes of depth `d + 1` the target verified for it.
    ///
    /// A confidence outside `0..=1` counts as the nearer end. A NaN says nothing and gives no
    /// sample.
    pub fn new(confidence: f32, gained: bool, nodes: u32) -> Option<Self> {
        // Adding 0 turns −0 into 0, so that equal confidences also have equal bits.
        let confidence = confidence.clamp(0.0, 1.0) + 0.0;
        (!confidence.is_nan()).then_some(Sample { confidence, gained, nodes })
    }

    /// The confidence, in `0..=1`, never NaN.
    pub fn confidence(self) -> f32 {
        self.confidence
    }

    /// Whether the accepted path went deeper.
    pub fn gained(self) -> bool {
        self.gained
    }

    /// Verified nodes one level deeper: what the gain was paid for.
    pub fn nodes(self) -> u32 {
        self.nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_float_is_a_confidence_or_nothing() {
        let confidence = |c| Sample::new(c, true, 1).map(Sample::confidence);
        assert_eq!(confidence(f32::NAN), None);
        assert_eq!(confidence(f32::NEG_INFINITY), Some(0.0));
        assert_eq!(confidence(f32::INFINITY), Some(1.0));
        assert_eq!(confidence(-0.0).map(f32::to_bits), Some(0));
        assert_eq!(confidence(0.25), Some(0.25));
    }
}
