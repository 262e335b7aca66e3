//! Random changes to a file, drawn to hit its structure.

/// A small generator with a period long enough for a test (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// One to four changes: bits, bytes, whole numbers of telling sizes, insertions, cuts.
pub(crate) fn mutate(file: &[u8], random: &mut Random) -> Vec<u8> {
    const TELLING: [u64; 12] =
        [0, 1, 7, 8, 255, 1 << 16, 1 << 20, 1 << 31, 1 << 32, 1 << 61, 1 << 63, u64::MAX];
    let mut bytes = file.to_vec();
    for _ in 0..=random.below(4) {
        // Most of the structure is in the first part of the file.
        let reach = if random.below(4) == 0 { bytes.len() } else { bytes.len().min(1700) };
        if reach == 0 {
            return bytes;
        }
        let at = random.below(reach);
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => {
                let number = TELLING[random.below(TELLING.len())].to_le_bytes();
                let n = number.len().min(bytes.len() - at);
                bytes[at..at + n].copy_from_slice(&number[..n]);
            }
            3 => {
                let n = 4.min(bytes.len() - at);
                let number = (random.next() as u32 >> random.below(32)).to_le_bytes();
                bytes[at..at + n].copy_from_slice(&number[..n]);
            }
            4 => bytes.truncate(at),
            _ => {
                let n = random.below(40);
                bytes.splice(at..at, std::iter::repeat_n(random.next() as u8, n));
            }
        }
    }
    bytes
}
