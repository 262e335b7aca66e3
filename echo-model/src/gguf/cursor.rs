//! Reads little-endian numbers from a slice and never past its end.

use super::fault::{Fault, GgufError};

/// A position in a file's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Cursor { bytes, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    /// An error about the thing that begins here.
    pub(super) fn fault(&self, fault: Fault) -> GgufError {
        GgufError { at: self.at as u64, fault }
    }

    /// The next `n` bytes. `n` is compared with what is left before anything else is done with it.
    pub(super) fn take(&mut self, n: u64, what: &'static str) -> Result<&'a [u8], GgufError> {
        let left = self.left();
        if n > left {
            return Err(self.fault(Fault::Truncated { what, needed: n, left }));
        }
        let taken = &self.bytes[self.at..self.at + n as usize];
        self.at += n as usize;
        Ok(taken)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("took four bytes")))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        let bytes = self.take(8, what)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("took eight bytes")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_an_error_and_moves_nothing() {
        let mut cursor = Cursor::new(&[1, 0, 0, 0, 9], 0);
        assert_eq!(cursor.u32("a number"), Ok(1));
        let error = cursor.u64("a count").unwrap_err();
        assert_eq!(error.at, 4);
        assert_eq!(
            error.to_string(),
            "byte 4: the file ends within a count: 8 bytes needed, 1 left"
        );
        assert_eq!(cursor.take(1, "a byte"), Ok(&[9][..]));
        assert!(cursor.take(u64::MAX, "everything").is_err());
    }
}
