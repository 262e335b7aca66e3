//! Noise that is a function of seed, position and token: Philox4x32-10 and standard Gumbel.

use crate::id::Token;

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let left = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let right = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (right >> 32) as u32 ^ counter[1] ^ key[0],
            right as u32,
            (left >> 32) as u32 ^ counter[3] ^ key[1],
            left as u32,
        ];
        key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
    }
    counter
}

/// Standard Gumbel noise of `token` at absolute `position` under `seed`.
///
/// One Philox block serves four neighbouring tokens. `u = (x + 1/2) 2⁻³²` is uniform in (0, 1) and
/// the noise is `-ln(-ln(1 - u))`: fine where the noise is large, where it decides the winner.
pub fn gumbel(seed: u64, position: u32, token: Token) -> f32 {
    let key = [seed as u32, (seed >> 32) as u32];
    let block = philox([token / 4, position, 0, 0], key);
    from_bits(block[(token % 4) as usize])
}

/// The largest value [`gumbel`] can take: tokens further than this behind need no noise.
pub fn gumbel_max() -> f32 {
    from_bits(0)
}

fn from_bits(bits: u32) -> f32 {
    let u = (f64::from(bits) + 0.5) / 4_294_967_296.0;
    -(-(-u).ln_1p()).ln() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with the Random123 library.
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn gumbel_is_bounded_and_has_the_right_mean() {
        assert!((22.0..23.0).contains(&gumbel_max()));
        let n = 40_000;
        let mean = (0..n).map(|t| f64::from(gumbel(7, 3, t))).sum::<f64>() / f64::from(n);
        assert!((mean - 0.577_215_66).abs() < 0.03, "{mean}");
        assert!((0..n).all(|t| gumbel(7, 3, t).is_finite() && gumbel(7, 3, t) <= gumbel_max()));
    }

    #[test]
    fn every_argument_matters() {
        let base = gumbel(1, 2, 3);
        let others = [gumbel(2, 2, 3), gumbel(1 << 40 | 1, 2, 3), gumbel(1, 3, 3), gumbel(1, 2, 4)];
        assert!(others.iter().all(|&g| g != base));
    }
}
