//! A writer that refuses to grow beyond a bound.

use std::io::{Error, Result, Write};

/// Collects at most `max` bytes.
pub(super) struct Capped {
    bytes: Vec<u8>,
    max: usize,
    full: bool,
}

impl Capped {
    pub(super) fn new(max: usize) -> Self {
        Capped { bytes: Vec::new(), max, full: false }
    }

    /// Whether something was refused.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if bytes.len() > self.max - self.bytes.len() {
            self.full = true;
            return Err(Error::other("the bound is reached"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
