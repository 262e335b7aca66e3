//! Rotary angles, worked out once on the host so that every backend rotates by the same numbers.

use std::f64::consts::TAU;

use crate::config::{ModelConfig, RopeScaling};

/// `(cos, sin)` of position times frequency, `[positions, head_dim / 2, 2]`.
///
/// Frequency `i` is `base^(-2 i / head_dim)`, scaled as the configuration says. Angles are computed
/// in F64 and each result is rounded once. The Llama 3.1 blend is that of its reference code.
pub fn rope_table(config: &ModelConfig, positions: usize) -> Vec<f32> {
    let frequencies = frequencies(config);
    let mut table = Vec::with_capacity(positions * frequencies.len() * 2);
    for position in 0..positions {
        for frequency in &frequencies {
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            table.push(cos as f32);
            table.push(sin as f32);
        }
    }
    table
}

fn frequencies(config: &ModelConfig) -> Vec<f64> {
    let dim = config.head_dim as f64;
    (0..config.head_dim / 2)
        .map(|i| {
            let plain = config.rope_base.powf(-2.0 * i as f64 / dim);
            match &config.rope_scaling {
                RopeScaling::None => plain,
                RopeScaling::Linear { factor } => plain / factor,
                RopeScaling::Divisors { divisors } => plain / f64::from(divisors[i]),
                &RopeScaling::Llama3 { factor, low, high, original } => {
                    // How often the wave turns within the original context.
                    let turns = original * plain / TAU;
                    let blend = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - blend) * plain / factor + blend * plain
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;

    fn config(rope_scaling: RopeScaling) -> ModelConfig {
        ModelConfig {
            family: Family::Llama,
            vocab: 8,
            hidden: 128,
            n_layers: 1,
            n_q: 1,
            n_kv: 1,
            head_dim: 128,
            ffn: 8,
            context: 131_072,
            rope_base: 500_000.0,
            rope_scaling,
            rms_eps: 1e-5,
            qk_norm: false,
            tied: true,
        }
    }

    #[test]
    fn the_first_position_does_not_rotate_and_the_second_rotates_by_the_frequency() {
        let table = rope_table(&config(RopeScaling::None), 2);
        assert_eq!(table.len(), 2 * 64 * 2);
        assert!(table[..128].chunks(2).all(|pair| pair == [1.0, 0.0]));
        assert_eq!(table[128..130], [1f64.cos() as f32, 1f64.sin() as f32]);
        let second = 500_000f64.powf(-2.0 / 128.0);
        assert_eq!(table[130..132], [second.cos() as f32, second.sin() as f32]);
    }

    #[test]
    fn llama3_leaves_short_waves_and_stretches_long_ones() {
        let plain = frequencies(&config(RopeScaling::None));
        let scaled = frequencies(&config(RopeScaling::Llama3 {
            factor: 8.0,
            low: 1.0,
            high: 4.0,
            original: 8192.0,
        }));
        assert_eq!(scaled[0], plain[0]);
        assert_eq!(scaled[63], plain[63] / 8.0);
        let ratios: Vec<f64> = plain.iter().zip(&scaled).map(|(p, s)| p / s).collect();
        assert!(ratios.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12));
        let blended = ratios.iter().filter(|&&r| r > 1.001 && r < 7.999).count();
        assert!((3..20).contains(&blended), "{blended} frequencies are blended");
    }

    #[test]
    fn divisors_and_linear_divide() {
        let plain = frequencies(&config(RopeScaling::None));
        let halved = frequencies(&config(RopeScaling::Linear { factor: 2.0 }));
        let divisors = vec![2.0; 64];
        let divided = frequencies(&config(RopeScaling::Divisors { divisors }));
        assert_eq!(halved, divided);
        assert!(plain.iter().zip(&halved).all(|(p, h)| p / 2.0 == *h));
    }
}
