//! Times of devices that are not here, as their sources give them.
//!
//! Sources name few sizes and mostly no draft times; drafting is free in such a table, which
//! favours deep drafts. Where a source times one row count at two batch sizes, the mean stands
//! here.
//! A table says nothing below its smallest size: times are flat there.

use crate::cost::{CostError, CostTable, Hinge, Sample};
use crate::curve::Between;

/// A cost table and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Device and model.
    pub name: &'static str,
    /// Where the times stand, or how they were computed.
    pub source: &'static str,
    /// The times.
    pub cost: CostTable,
}

/// Rows and milliseconds.
type Times = &'static [(usize, f64)];

/// D-cut's cuts of 16 tokens per request: batch sizes 4, 16 and 64, quarters 1 to 4.
const H20_QWEN3_8B: Times = &[
    (16, 8.2),
    (32, 8.7),
    (48, 9.7),
    // 10.9 and 16.0.
    (64, 13.45),
    (128, 22.7),
    (192, 29.8),
    // 35.8 and 55.0.
    (256, 45.4),
    (512, 82.0),
    (768, 108.0),
    (1024, 134.0),
];

/// The same for a mixture of experts on two devices, batch size 64.
const QWEN35_35B_A3B: Times = &[(256, 79.9), (512, 85.4), (768, 86.1), (1024, 90.6)];

/// Sequoia's example table; a draft pass takes 0.3 ms.
const SEQUOIA: Times = &[(1, 10.0), (2, 10.0), (4, 10.0), (8, 12.0), (16, 14.0), (32, 18.0)];

/// All tables. Fails only if one of them is wrong.
pub fn devices() -> Result<Vec<Device>, CostError> {
    let samples = |times: Times| -> Vec<Sample> {
        times.iter().map(|&(rows, ms)| Sample { rows, kv_len: 0, us: 1e3 * ms }).collect()
    };
    let table = |times, draft: &[Sample]| {
        CostTable::from_samples(&samples(times), draft, 0.0, Between::Linear)
    };
    // 8.03e9 weights of 2 bytes at 3.35 TB/s; 989 TFLOP/s are reached at 295 rows.
    let roofline = Hinge { ar_us: 4794.0, gamma: 1.0 / 295.0, rows_knee: 295 };
    Ok(vec![
        Device {
            name: "H20, Qwen3-8B",
            source: "D-cut, arXiv 2607.14647; no draft times",
            cost: table(H20_QWEN3_8B, &[])?,
        },
        Device {
            name: "two devices, Qwen3.5-35B-A3B",
            source: "D-cut, arXiv 2607.14647; 256 rows and more; no draft times",
            cost: table(QWEN35_35B_A3B, &[])?,
        },
        Device {
            name: "Sequoia's example",
            source: "Sequoia's tree search; up to 32 rows",
            cost: table(SEQUOIA, &[Sample { rows: 32, kv_len: 0, us: 300.0 }])?,
        },
        Device {
            name: "H100 roofline, 8B BF16",
            source: "computed from 3.35 TB/s and 989 TFLOP/s; no draft times",
            cost: CostTable::hinge(roofline)?,
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_hold_what_their_sources_say() {
        let devices = devices().unwrap();
        let us = |i: usize, rows| devices[i].cost.verify_us(rows, 99);
        assert_eq!([us(0, 1), us(0, 16), us(0, 1024)], [8200.0, 8200.0, 134_000.0]);
        assert!((us(0, 256) - 45_400.0).abs() < 1e-6);
        assert_eq!(us(1, 512), 85_400.0);
        assert_eq!((us(2, 32), devices[2].cost.draft_us(4)), (18_000.0, 300.0));
        assert!((us(3, 590) / us(3, 295) - 2.0).abs() < 1e-9);
    }
}
