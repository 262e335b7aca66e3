//! Random choices that a seed repeats, and how much of a test is run.

/// A small generator of random numbers.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// How often a test repeats: `usual`, or `full` where `ECHO_REQUIRE` names `full`.
pub(crate) fn scaled(usual: usize, full: usize) -> usize {
    let required = std::env::var("ECHO_REQUIRE").unwrap_or_default();
    let is_full = required.split(',').any(|name| name.trim() == "full");
    if is_full { full } else { usual }
}
