//! One number for a head's weights, so that what was learnt of one head is not taken for another's.

use super::head::Head;
use crate::error::ModelError;

/// Bytes of each tensor that count. Training moves all of a tensor, so its start tells as much as
/// the whole, and a head of gigabytes opens as fast.
const BYTES_MAX: usize = 64 << 10;

/// FNV-1a of 64 bits: where it starts, and what each byte is followed by.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Head {
    /// A checksum of the weights of `fc`, the layer and the norms, the same on every machine.
    ///
    /// Fails if a file can't be read any more.
    pub fn checksum(&self) -> Result<u64, ModelError> {
        let mut sum = BASIS;
        for (name, shape) in self.shapes() {
            let tensor = self.tensor(name, shape)?;
            for &byte in tensor.bytes.iter().take(BYTES_MAX) {
                sum = (sum ^ u64::from(byte)).wrapping_mul(PRIME);
            }
        }
        Ok(sum)
    }
}
