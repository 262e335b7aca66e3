//! Random draws that are a function of a seed: which rounds are kept, halved and resampled.

use echo_core::sampling::philox;

/// A run of draws. Two runs of one seed differ if their `lane` does.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    key: [u32; 2],
    lane: u64,
    block: u64,
    words: [u32; 4],
    used: usize,
}

impl Draws {
    /// The run called `lane` of `seed`.
    pub(crate) fn new(seed: u64, lane: u64) -> Self {
        let key = [seed as u32, (seed >> 32) as u32];
        Draws { key, lane, block: 0, words: [0; 4], used: 4 }
    }

    /// A number below `n`, which is at least 1; no number is likelier than another by more than a
    /// factor of `1 + n 2⁻⁶⁴`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        let wide = u64::from(self.next()) << 32 | u64::from(self.next());
        ((u128::from(wide) * u128::from(n)) >> 64) as u64
    }

    fn next(&mut self) -> u32 {
        if self.used == self.words.len() {
            let [at, lane] = [self.block, self.lane];
            let counter = [at as u32, (at >> 32) as u32, lane as u32, (lane >> 32) as u32];
            self.words = philox(counter, self.key);
            self.block += 1;
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_within_bounds() {
        let mut draws = Draws::new(7, 1);
        let mut count = [0_u32; 5];
        (0..50_000).for_each(|_| count[draws.below(5) as usize] += 1);
        // A fifth is 10,000, its deviation 89.
        assert!(count.iter().all(|&n| n.abs_diff(10_000) < 450), "{count:?}");
        assert_eq!(draws.below(1), 0);
    }

    #[test]
    fn seed_and_lane_name_the_run() {
        let run = |seed, lane| {
            let mut draws = Draws::new(seed, lane);
            (0..9).map(|_| draws.below(1 << 40)).collect::<Vec<_>>()
        };
        assert_eq!(run(1, 2), run(1, 2));
        assert!(run(1, 2) != run(1, 3) && run(1, 2) != run(2, 2) && run(1, 2) != run(1 << 40, 2));
    }
}
