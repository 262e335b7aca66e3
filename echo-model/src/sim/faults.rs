//! What a simulated part saw go wrong.

/// Broken promises, in the order they were seen; a test asserts that there are none.
///
/// The first 32 are kept in words, all are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// How many there were.
    pub count: usize,
    /// The first of them.
    pub first: Vec<String>,
}

impl Faults {
    const KEPT: usize = 32;

    /// Whether nothing went wrong.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Notes a fault; the words are only made for those kept.
    pub(super) fn push(&mut self, words: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < Self::KEPT {
            self.first.push(words());
        }
    }

    /// Notes a fault unless `holds`.
    pub(super) fn check(&mut self, holds: bool, words: impl FnOnce() -> String) {
        if !holds {
            self.push(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_kept() {
        let mut faults = Faults::default();
        assert!(faults.is_empty());
        for i in 0..100 {
            faults.check(i % 2 == 0, || format!("{i} is odd"));
        }
        assert_eq!((faults.count, faults.first.len()), (50, 32));
        assert_eq!(faults.first[0], "1 is odd");
    }
}
