//! The way in: so many requests may be inside at once, and once it is closed nobody comes after.
//!
//! One word holds the count and the latch. Whoever was let in is counted before anybody can see the
//! door closed and the house empty, so the engine's thread never leaves somebody behind.

use crate::sync::{AtomicUsize, Ordering};

const CLOSED: usize = 1;
const ONE: usize = 2;

/// Counts the requests between their submission and their end.
pub(crate) struct Door {
    word: AtomicUsize,
    most: usize,
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    /// There are as many inside as may be.
    Full,
    /// For good.
    Closed,
}

impl Door {
    /// An open door for `most` at once.
    pub(crate) fn new(most: usize) -> Self {
        Door { word: AtomicUsize::new(0), most }
    }

    /// Goes in; who does so must [`leave`](Self::leave).
    pub(crate) fn enter(&self) -> Result<(), Shut> {
        let let_in = |word| (word & CLOSED == 0 && word / ONE < self.most).then(|| word + ONE);
        match self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, let_in) {
            Ok(_) => Ok(()),
            Err(word) if word & CLOSED == 0 => Err(Shut::Full),
            Err(_) => Err(Shut::Closed),
        }
    }

    /// Goes out.
    pub(crate) fn leave(&self) {
        self.word.fetch_sub(ONE, Ordering::AcqRel);
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.word.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Whether nobody is let in any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Whether nobody is inside and nobody can come.
    pub(crate) fn is_done(&self) -> bool {
        self.word.load(Ordering::Acquire) == CLOSED
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn it_counts_and_closes() {
        let door = Door::new(2);
        assert_eq!([door.enter(), door.enter(), door.enter()], [Ok(()), Ok(()), Err(Shut::Full)]);
        door.close();
        assert_eq!(
            (door.enter(), door.is_closed(), door.is_done()),
            (Err(Shut::Closed), true, false)
        );
        door.leave();
        door.leave();
        assert!(door.is_done());
    }
}
