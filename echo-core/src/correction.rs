//! How far the world has left what was known of it at start.

/// Factors on measured times and on promised chances, learnt while the engine runs.
///
/// Policies are made of times and rates that somebody measured once; a machine that others use too,
/// and a text of another kind, leave them behind. A [`Learner`](crate::Learner) follows, and
/// policies multiply what they know by this.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Correction {
    /// Time of a target forward over the time known, at 1, 2, 4, … rows; above 0.
    pub verify: [f32; Correction::POINTS],
    /// Time of a draft pass over the time known; above 0.
    pub draft: f32,
    /// Chance that a drafted token is accepted over the chance promised; at least 0.
    pub chance: f32,
    /// Chance promised to the best token of a draft over what was known before it was drafted; at
    /// least 0. Requests that sample, and other texts, are promised less.
    pub ahead: f32,
    /// Microseconds of a step outside forwards and draft passes, on top of the time known.
    pub host_us: f32,
}

impl Correction {
    /// Row counts with a factor of their own: powers of two up to 2,048.
    pub const POINTS: usize = 12;

    /// Everything is as it was.
    pub const NONE: Correction = Correction {
        verify: [1.0; Self::POINTS],
        draft: 1.0,
        chance: 1.0,
        ahead: 1.0,
        host_us: 0.0,
    };

    /// The factor on the time of a forward of `rows` rows: linear in the logarithm of rows between
    /// two points, flat beyond the last.
    pub fn verify_at(&self, rows: usize) -> f64 {
        let (point, share) = Self::place_of(rows);
        let (low, high) = (self.verify[point], self.verify[(point + 1).min(Self::POINTS - 1)]);
        f64::from(low) + share * f64::from(high - low)
    }

    /// Where `rows` lies among the points: the one at or below it, and its share of the next.
    pub fn place_of(rows: usize) -> (usize, f64) {
        let at = (rows.max(1) as f64).log2().min((Self::POINTS - 1) as f64);
        (at as usize, at.fract())
    }
}

impl Default for Correction {
    fn default() -> Self {
        Correction::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_met_at_powers_of_two_and_joined() {
        let mut correction = Correction::NONE;
        correction.verify[2] = 2.0;
        let at = |rows| correction.verify_at(rows);
        assert_eq!((at(0), at(1), at(2), at(4), at(8)), (1.0, 1.0, 1.0, 2.0, 1.0));
        assert!((at(3) - 1.585).abs() < 1e-3, "{}", at(3));
        correction.verify[Correction::POINTS - 1] = 3.0;
        assert_eq!((correction.verify_at(2048), correction.verify_at(usize::MAX)), (3.0, 3.0));
    }
}
