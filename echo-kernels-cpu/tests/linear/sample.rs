//! Random tensors of every type, and random activations.

use echo_core::{DType, TensorView};

/// All stored types.
pub(crate) const DTYPES: [DType; 8] = [
    DType::Q4_1,
    DType::Q4_0,
    DType::Q8_0,
    DType::Q4K,
    DType::Q6K,
    DType::F16,
    DType::BF16,
    DType::F32,
];

/// A small generator of random numbers (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Normal with mean 0 and variance 1.
    pub(crate) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
    }
}

/// A stored matrix with random weights: random bits for quantised types, with scales of usual size.
pub(crate) struct Sample {
    pub(crate) dtype: DType,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Sample {
    pub(crate) fn new(dtype: DType, rows: usize, cols: usize, random: &mut Random) -> Self {
        let len = rows * dtype.row_bytes(cols).expect("whole blocks");
        let mut bytes = Vec::with_capacity(len);
        for _ in 0..len / dtype.block_bytes() {
            let block = bytes.len();
            match dtype {
                DType::F32 => bytes.extend(random.normal().to_le_bytes()),
                DType::F16 => bytes.extend(half::f16::from_f32(random.normal()).to_le_bytes()),
                DType::BF16 => bytes.extend(half::bf16::from_f32(random.normal()).to_le_bytes()),
                _ => bytes.extend((0..dtype.block_bytes()).map(|_| random.bits() as u8)),
            }
            let scale = (0.005 + 0.02 * random.unit()) as f32;
            let mut put = |at: usize, value: f32| {
                let bits = half::f16::from_f32(value).to_le_bytes();
                bytes[block + at..block + at + 2].copy_from_slice(&bits);
            };
            match dtype {
                DType::Q4_0 | DType::Q8_0 => put(0, scale),
                DType::Q4_1 => {
                    put(0, scale);
                    put(2, -7.5 * scale);
                }
                DType::Q4K => {
                    put(0, scale / 32.0);
                    put(2, scale / 4.0);
                }
                DType::Q6K => put(208, scale / 64.0),
                DType::F32 | DType::F16 | DType::BF16 => {}
            }
        }
        Sample { dtype, rows, cols, bytes }
    }

    pub(crate) fn view(&self) -> TensorView<'_> {
        TensorView {
            name: "sample",
            dtype: self.dtype,
            rows: self.rows,
            cols: self.cols,
            bytes: &self.bytes,
        }
    }
}

/// `n` normal numbers.
pub(crate) fn normals(n: usize, random: &mut Random) -> Vec<f32> {
    (0..n).map(|_| random.normal()).collect()
}
