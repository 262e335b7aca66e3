//! What a forward costs, measured on the shapes the engine really runs.

use echo_core::{DeviceError, Limits, PackedView, SampleSpec, SampleView, Slot, Target, Verdicts};
use std::time::{Duration, Instant};

/// One measured forward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Rows of the forward, each with a verdict.
    pub rows: usize,
    /// Cached tokens that each row sees.
    pub kv_len: usize,
    /// Its time.
    pub time: Duration,
}

/// Times `repeats` forwards for each of `rows` and `kv_lens`, after one that is not counted. Shapes
/// beyond the limits are left out. Repeats are interleaved, so that a slow moment of the machine
/// does not fall on one shape alone.
///
/// Overwrites free KV slots, so no sequence may be live.
pub fn profile(
    target: &mut dyn Target,
    limits: &Limits,
    rows: &[usize],
    kv_lens: &[usize],
    repeats: usize,
) -> Result<Vec<Profile>, DeviceError> {
    let fits = |rows: usize, kv_len: usize| {
        rows > 0
            && rows <= limits.rows_max.min(limits.seqs_max * (1 + limits.tree_max))
            && kv_len + rows <= limits.kv_slots
            && kv_len + 2 <= limits.context_max
    };
    let mut profiles = Vec::new();
    let mut verdicts = Verdicts::with_capacity(limits.rows_max, limits.logprobs_max);
    for repeat in 0..=repeats {
        for &kv_len in kv_lens {
            for &rows in rows.iter().filter(|&&rows| fits(rows, kv_len)) {
                let shape = Shape::new(rows, kv_len, limits);
                let specs = vec![SampleSpec::GREEDY; rows];
                let sample = SampleView { specs: &specs, edits: &[] };
                let start = Instant::now();
                target.verify(shape.view(), sample, &mut verdicts)?;
                if repeat > 0 {
                    profiles.push(Profile { rows, kv_len, time: start.elapsed() });
                }
            }
        }
    }
    Ok(profiles)
}

/// A forward of `rows` rows over as many sequences as may live, all on one shared prefix; what is
/// left over hangs below the roots as drafted rows.
struct Shape {
    token: Vec<u32>,
    position: Vec<u32>,
    slot: Vec<Slot>,
    prefix_len: Vec<u32>,
    ancestors: Vec<u64>,
    words: usize,
    seqs: Vec<u32>,
    row_start: Vec<u32>,
    drafted_start: Vec<u32>,
    table: Vec<Slot>,
    table_start: Vec<u32>,
    sampled: Vec<u32>,
}

impl Shape {
    fn new(rows: usize, kv_len: usize, limits: &Limits) -> Self {
        let words = limits.ancestor_words();
        let per_seq = rows.div_ceil(limits.seqs_max);
        let n_seqs = rows.div_ceil(per_seq);
        let mut shape = Shape {
            token: vec![0; rows],
            position: Vec::new(),
            slot: (0..rows).map(|row| (kv_len + row) as Slot).collect(),
            prefix_len: vec![kv_len as u32 + 1; rows],
            ancestors: vec![0; rows * words],
            words,
            seqs: (0..n_seqs as u32).collect(),
            row_start: (0..=n_seqs).map(|s| (s * per_seq).min(rows) as u32).collect(),
            drafted_start: (0..n_seqs).map(|s| (s * per_seq) as u32 + 1).collect(),
            table: Vec::new(),
            table_start: vec![0],
            sampled: (0..rows as u32).collect(),
        };
        for s in 0..n_seqs {
            let root = s * per_seq;
            shape.table.extend(0..kv_len as Slot);
            shape.table.push(shape.slot[root]);
            shape.table_start.push(shape.table.len() as u32);
            for row in root..shape.row_start[s + 1] as usize {
                shape.position.push((kv_len + usize::from(row > root)) as u32);
                if row > root {
                    let bit = row - root - 1;
                    shape.ancestors[row * words + bit / 64] |= 1 << (bit % 64);
                }
            }
        }
        shape
    }

    fn view(&self) -> PackedView<'_> {
        PackedView {
            token: &self.token,
            position: &self.position,
            slot: &self.slot,
            prefix_len: &self.prefix_len,
            ancestors: &self.ancestors,
            words: self.words,
            seqs: &self.seqs,
            row_start: &self.row_start,
            drafted_start: &self.drafted_start,
            table: &self.table,
            table_start: &self.table_start,
            sampled: &self.sampled,
        }
    }
}
