//! One layer made of every operation that is counted by rows, and all it leaves in memory.

use echo_core::port::{Buffer, Data, Device, Element, Heads, Kernels, Mat, Stage, Weight};
use echo_core::tensor::{DType, TensorView};
use echo_core::{DeviceError, Limits, PackedView};
use echo_kernels_cuda::CudaKernels;

const HEADS: Heads = Heads { n_q: 4, n_kv: 2, dim: 16 };
/// Enough columns that blocks share the slices of a product.
const HIDDEN: usize = 1088;
const FFN: usize = 40;
const VOCAB: usize = 50;
/// Rows of every matrix: more than the largest tier, so that what a padding row writes is seen.
const ROWS: usize = 576;

/// What stages allow, but for their rows.
pub(crate) const LIMITS: Limits = Limits {
    seqs_max: 48,
    rows_max: 48,
    depth_max: 4,
    width_max: 4,
    beam_max: 4,
    tree_max: 20,
    context_max: 4000,
    kv_slots: 5000,
    logprobs_max: 0,
};

/// The layer on a machine.
pub(crate) struct Forward {
    pub(crate) kernels: CudaKernels,
    stage: Stage,
    table: Weight,
    weights: [Weight; 3],
    norm: Buffer,
    rope: Buffer,
    index: Buffer,
    /// Stream, block, qkv, attended, gates, gated, gathered.
    mats: [Mat; 7],
    cache: [Buffer; 2],
}

impl Forward {
    pub(crate) fn new(kernels: CudaKernels) -> Self {
        let floats = |len: usize| kernels.alloc(Element::F32, len, "floats").expect("memory");
        let widths =
            [HIDDEN, HIDDEN, HEADS.qkv_width(), HEADS.n_q * HEADS.dim, 2 * FFN, FFN, HIDDEN];
        let shapes = [(HEADS.qkv_width(), HIDDEN), (HIDDEN, 64), (2 * FFN, HIDDEN)];
        let index = kernels.alloc(Element::U32, ROWS, "rows").expect("memory");
        let order: Vec<u32> = (0..ROWS as u32).rev().collect();
        kernels.write(index, 0, Data::U32(&order)).expect("room");
        Forward {
            stage: kernels.open_stage(&LIMITS).expect("a stage"),
            table: weight(&kernels, VOCAB, HIDDEN),
            weights: shapes.map(|(rows, cols)| weight(&kernels, rows, cols)),
            norm: filled(&kernels, floats(HIDDEN), HIDDEN, 1),
            rope: {
                let len = LIMITS.context_max * HEADS.dim;
                filled(&kernels, floats(len), len, 2)
            },
            index,
            mats: widths.map(|width| Mat::new(floats(ROWS * width), width)),
            cache: [(), ()].map(|()| floats(LIMITS.kv_slots * HEADS.n_kv * HEADS.dim)),
            kernels,
        }
    }

    /// Runs the layer over `rows` and gives the bits of every matrix, of keys and of values, rows
    /// and slots that nobody wrote included.
    pub(crate) fn run(&self, rows: &Rows) -> Result<Vec<Vec<u32>>, DeviceError> {
        let all = self.mats.map(|mat| (mat.buffer, ROWS * mat.width));
        let slots = LIMITS.kv_slots * HEADS.n_kv * HEADS.dim;
        let all: Vec<_> = all.into_iter().chain(self.cache.map(|cache| (cache, slots))).collect();
        for (seed, &(buffer, len)) in all.iter().enumerate() {
            filled(&self.kernels, buffer, len, seed as u64);
        }
        self.layer(rows)?;
        let read = |&(buffer, len): &(Buffer, usize)| {
            let mut out = vec![0.0f32; len];
            self.kernels.read(buffer, 0, &mut out)?;
            Ok(out.into_iter().map(f32::to_bits).collect())
        };
        all.iter().map(read).collect()
    }

    /// Three operations of the layer over `n` rows, which know no stage, and a wait.
    pub(crate) fn tail(&self, n: usize) -> Result<(), DeviceError> {
        let [stream, block, _, _, gates, gated, gathered] = self.mats;
        self.kernels.add(n, block, stream)?;
        self.kernels.silu_mul(n, gates, gated)?;
        self.kernels.gather_rows(n, self.index, stream, gathered)?;
        self.kernels.read(gathered.buffer, 0, &mut [0.0])
    }

    fn layer(&self, rows: &Rows) -> Result<(), DeviceError> {
        let (k, n, stage) = (&self.kernels, rows.token.len(), self.stage);
        let [stream, block, qkv, attended, gates, gated, gathered] = self.mats;
        let [keys, values] = self.cache;
        k.stage(stage, rows.view())?;
        k.embed(stage, self.table, stream)?;
        k.rms_norm(n, stream, self.norm, 1e-5, block)?;
        k.linear(n, self.weights[0], block, qkv)?;
        k.rope_store(stage, HEADS, self.rope, qkv, keys, values)?;
        k.tree_attention(stage, HEADS, qkv, keys, values, attended)?;
        k.linear(n, self.weights[1], attended, block)?;
        k.add(n, block, stream)?;
        k.rms_norm(n, stream, self.norm, 1e-5, block)?;
        k.linear(n, self.weights[2], block, gates)?;
        k.silu_mul(n, gates, gated)?;
        k.gather_rows(n, self.index, stream, gathered)?;
        k.add(n, gathered, stream)
    }
}

/// Numbers between -1 and 1, other ones for each seed.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        ((state >> 40) as f32) / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn filled(kernels: &CudaKernels, buffer: Buffer, len: usize, seed: u64) -> Buffer {
    kernels.write(buffer, 0, Data::F32(&numbers(len, seed))).expect("room");
    buffer
}

fn weight(kernels: &CudaKernels, rows: usize, cols: usize) -> Weight {
    let bytes: Vec<u8> =
        numbers(rows * cols, (rows + cols) as u64).iter().flat_map(|x| x.to_le_bytes()).collect();
    let part = TensorView { name: "weight", dtype: DType::F32, rows, cols, bytes: &bytes };
    kernels.weight(&[part]).expect("memory")
}

/// Rows of a forward: for each sequence its cached positions, then a root and a chain of drafted
/// rows below it.
#[derive(Default)]
pub(crate) struct Rows {
    token: Vec<u32>,
    position: Vec<u32>,
    slot: Vec<u32>,
    prefix_len: Vec<u32>,
    ancestors: Vec<u64>,
    seqs: Vec<u32>,
    row_start: Vec<u32>,
    drafted_start: Vec<u32>,
    table: Vec<u32>,
    table_start: Vec<u32>,
}

impl Rows {
    /// Forwards on and between tiers: plain, drafted, mixed; short, over several splits, and at
    /// last with more splits than blocks share them in the tier of 48 rows.
    pub(crate) fn samples() -> Vec<Rows> {
        let plain = |n: usize| (0..n).map(|i| (3 * i, 0)).collect::<Vec<_>>();
        let mut far = plain(33);
        far[5].0 = 3090;
        let shapes = [
            plain(1),
            plain(3),
            plain(9),
            vec![(7, 4)],
            vec![(0, 0), (40, 11), (9, 0), (30, 3)],
            vec![(20, 19), (11, 0)],
            vec![(1300, 1)],
            vec![(2, 2), (600, 5)],
            far,
        ];
        shapes.iter().map(|seqs| Rows::new(seqs)).collect()
    }

    /// Sequences of so many cached positions and drafted rows. Slots are given from 0 on.
    pub(crate) fn new(seqs: &[(usize, usize)]) -> Self {
        let mut rows = Rows { row_start: vec![0], table_start: vec![0], ..Rows::default() };
        let mut slots = 0..LIMITS.kv_slots as u32;
        for (seq, &(cached, drafted)) in seqs.iter().enumerate() {
            rows.seqs.push(seq as u32);
            rows.table.extend(slots.by_ref().take(cached + 1));
            let root = *rows.table.last().expect("a root");
            rows.row(root, cached, cached, 0);
            rows.drafted_start.push(rows.token.len() as u32);
            for nth in 0..drafted {
                let slot = slots.next().expect("scenes are small");
                rows.row(slot, cached + 1 + nth, cached, (2 << nth) - 1);
            }
            rows.row_start.push(rows.token.len() as u32);
            rows.table_start.push(rows.table.len() as u32);
        }
        rows
    }

    fn row(&mut self, slot: u32, position: usize, root: usize, ancestors: u64) {
        self.token.push((7 * self.token.len() + position) as u32 % VOCAB as u32);
        self.position.push(position as u32);
        self.slot.push(slot);
        self.prefix_len.push(root as u32 + 1);
        self.ancestors.push(ancestors);
    }

    fn view(&self) -> PackedView<'_> {
        PackedView {
            token: &self.token,
            position: &self.position,
            slot: &self.slot,
            prefix_len: &self.prefix_len,
            ancestors: &self.ancestors,
            words: 1,
            seqs: &self.seqs,
            row_start: &self.row_start,
            drafted_start: &self.drafted_start,
            table: &self.table,
            table_start: &self.table_start,
            sampled: &[],
        }
    }
}
