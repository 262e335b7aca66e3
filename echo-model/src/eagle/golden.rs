//! The drafter against vectors that another implementation made: `tests/golden/eagle.py`.

use super::{EagleDrafter, Head};
use crate::folder::Folder;
use crate::llama::LlamaTarget;
use crate::rows::Rows;
use crate::testkit::{TinyModel, TinyShape};
use echo_core::port::{Children, Data};
use echo_core::{BatchView, DType, Drafter, Keep, Kernels, Limits, Settled, SuperTreeView, Token};
use echo_kernels_cpu::{Activations, CpuKernels, CpuOptions, Path};
use std::path::PathBuf;
use std::sync::Arc;

/// Log-probabilities agree to this much.
const CLOSE: f32 = 2e-4;

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "eagle"].iter().collect()
}

struct Golden {
    tokens: Vec<Token>,
    taps: Vec<f32>,
    /// At the root; at its best child and that one's; at its second child and that one's.
    laws: Vec<Vec<f32>>,
}

/// The head as it is published: with a configuration of its own, or with that of vLLM's speculators
/// for one that adds to the normed state.
const KINDS: [&str; 2] = ["config.json", "speculators.json"];

fn head(kind: &str) -> Head {
    const TENSORS: &[u8] = include_bytes!("../../tests/golden/eagle/model.safetensors");
    let config = std::fs::read_to_string(folder().join(kind)).expect("it was committed");
    Head::built_in(kind, &config, TENSORS).expect("it is right")
}

impl Golden {
    fn read(kind: &str) -> Self {
        let file = std::fs::read(folder().join("answers.safetensors")).expect("it was committed");
        let file = safetensors::SafeTensors::deserialize(&file).expect("it is right");
        let floats = |name| crate::tensor::floats(file.tensor(name).expect("it has it").data());
        let (tokens, _) = file.tensor("tokens").expect("it has it").data().as_chunks::<8>();
        let tokens = tokens.iter().map(|&token| i64::from_le_bytes(token) as Token).collect();
        let laws = floats(if kind == KINDS[0] { "laws" } else { "normed" });
        let laws = laws.chunks(50).map(<[f32]>::to_vec).collect();
        Golden { tokens, taps: floats("taps"), laws }
    }

    /// The two best tokens of a law with their log-probabilities.
    fn best(&self, law: usize, head: &Head) -> [(Token, f32); 2] {
        let mut order: Vec<usize> = (0..50).collect();
        order.sort_by(|&a, &b| self.laws[law][b].total_cmp(&self.laws[law][a]));
        [order[0], order[1]].map(|i| (head.tokens()[i], self.laws[law][i]))
    }
}

fn limits() -> Limits {
    Limits { width_max: 2, beam_max: 2, depth_max: 3, ..Limits::usual(1, 64) }
}

/// A drafter whose target has just read the golden text in `chunks`, the text's last token unread:
/// as a prompt, or token by token as it was decoded.
fn drafter_after(golden: &Golden, head: &Head, chunks: &[usize], decodes: bool) -> EagleDrafter {
    let options = CpuOptions { threads: 1, path: Path::Reference, activations: Activations::Float };
    let kernels: Arc<dyn Kernels> = Arc::new(CpuKernels::new(options));
    let shape = TinyShape { n_q: 3, n_kv: 1, hidden: 40, ..TinyShape::usual(DType::F32) };
    let model = TinyModel::new(shape, 1);
    let limits = limits();
    let mut target = LlamaTarget::new(Arc::clone(&kernels), &model, &limits).expect("it fits");
    let mut drafter =
        EagleDrafter::new(Arc::clone(&kernels), head, &mut target, &model, &limits).expect("fits");
    let mut read = 0;
    for &chunk in chunks {
        let mut rows = Rows::new(1);
        let slots: Vec<u32> = (0..read as u32).map(|p| 40 - p).collect();
        rows.sequence(0, &slots);
        for p in read..read + chunk {
            let slot = 40 - p as u32;
            if decodes {
                rows.root(golden.tokens[p], slot);
            } else {
                rows.context(golden.tokens[p], slot);
            }
        }
        let taps = &golden.taps[read * 120..(read + chunk) * 120];
        kernels.write(drafter.taps(), 0, Data::F32(taps)).expect("a host call");
        read += chunk;
        let kept = vec![true; chunk];
        with_batch(golden, read, |batch| {
            drafter.settle(Settled { batch, packed: rows.view(), kept: &kept });
        });
    }
    drafter
}

fn with_batch<T>(golden: &Golden, n_cached: usize, run: impl FnOnce(BatchView<'_>) -> T) -> T {
    let mut tokens = golden.tokens.clone();
    tokens.resize(64, 0);
    let slots: Vec<u32> = (0..64).map(|p: u32| 40u32.saturating_sub(p)).collect();
    run(BatchView {
        tokens: &tokens,
        slots: &slots,
        stride: 64,
        n_tokens: &[(n_cached + 1) as u32],
        n_cached: &[n_cached as u32],
        seed: &[0],
        temperature: &[0.0],
    })
}

/// A level of the tree: proposals of each open node, the best first.
fn level(
    drafter: &mut EagleDrafter,
    golden: &Golden,
    tree: SuperTreeView<'_>,
    open: &[u32],
) -> Vec<(u32, Token, f32)> {
    let mut keep = Keep::default();
    keep.reset(open.len());
    open.iter().enumerate().for_each(|(i, &n)| keep.open(i, n));
    proposals(drafter, golden, tree, &keep)
}

fn proposals(
    drafter: &mut EagleDrafter,
    golden: &Golden,
    tree: SuperTreeView<'_>,
    keep: &Keep,
) -> Vec<(u32, Token, f32)> {
    let mut children = Children::default();
    with_batch(golden, golden.tokens.len() - 1, |batch| {
        drafter.extend(batch, tree.frontier(), keep, &mut children).expect("a host call");
    });
    let all = children.parent.iter().zip(&children.token).zip(&children.log_prob);
    all.map(|((&parent, &token), &log_prob)| (parent, token, log_prob)).collect()
}

fn assert_close(found: &[(u32, Token, f32)], expected: &[(u32, (Token, f32))]) {
    assert_eq!(found.len(), expected.len());
    for (found, &(parent, (token, log_prob))) in found.iter().zip(expected) {
        assert_eq!((found.0, found.1), (parent, token));
        assert!((found.2 - log_prob).abs() < CLOSE, "{found:?}, expected {log_prob}");
    }
}

/// However the text was read, the tree below its end is the golden one.
#[test]
fn three_levels_agree_with_pytorch() {
    let all = [&[20][..], &[7, 13], &[1, 2, 16, 1], &[19, 1], &[2, 2, 2, 14]];
    for (kind, chunks) in KINDS.iter().flat_map(|kind| all.map(|chunks| (kind, chunks))) {
        let (golden, head) = (Golden::read(kind), head(kind));
        let best = |law| golden.best(law, &head);
        let mut drafter = drafter_after(&golden, &head, chunks, false);
        let (mut parent, mut token, mut score) = (vec![0], vec![golden.tokens[20]], vec![0.0]);
        let mut starts = vec![0, 1];
        for (open, laws) in [(&[2][..], &[0][..]), (&[1, 1], &[1, 3]), (&[2, 2], &[2, 4])] {
            let seq = vec![0; parent.len()];
            let tree = SuperTreeView {
                parent: &parent,
                token: &token,
                seq: &seq,
                score: &score,
                level_start: &starts,
                passes: &[],
            };
            let found = level(&mut drafter, &golden, tree, open);
            let first = tree.frontier().nodes().start as u32;
            let mut expected = Vec::new();
            for (i, &law) in laws.iter().enumerate() {
                let children = best(law).into_iter().take(open[i] as usize);
                expected.extend(children.map(|child| (first + i as u32, child)));
            }
            assert_close(&found, &expected);
            for (p, t, l) in found {
                parent.push(p);
                token.push(t);
                score.push(l);
            }
            starts.push(parent.len() as u32);
        }
    }
}

/// The states of a forward that nobody drafted after are lost; the draft goes on without them.
#[test]
fn a_gap_changes_the_draft_and_nothing_fails() {
    let (golden, head) = (Golden::read(KINDS[0]), head(KINDS[0]));
    let tree = SuperTreeView {
        parent: &[0],
        token: &[golden.tokens[20]],
        seq: &[0],
        score: &[0.0],
        level_start: &[0, 1],
        passes: &[],
    };
    let mut drafter = drafter_after(&golden, &head, &[1; 20], true);
    let found = level(&mut drafter, &golden, tree, &[2]);
    assert_eq!(found.len(), 2);
    assert!((found[0].2 - golden.best(0, &head)[0].1).abs() > CLOSE, "the gap was not seen");
    drafter.forget(0);
    assert!(level(&mut drafter, &golden, tree, &[2]).is_empty());
}

/// Without a pass nothing is proposed and nothing is lost: the next draft is the golden one.
#[test]
fn a_pass_forgone_changes_nothing() {
    let (golden, head) = (Golden::read(KINDS[0]), head(KINDS[0]));
    let tree = SuperTreeView {
        parent: &[0],
        token: &[golden.tokens[20]],
        seq: &[0],
        score: &[0.0],
        level_start: &[0, 1],
        passes: &[],
    };
    let mut drafter = drafter_after(&golden, &head, &[20], false);
    let mut keep = Keep::default();
    keep.reset(1);
    keep.open(0, 2);
    keep.forgo_pass(0);
    assert!(proposals(&mut drafter, &golden, tree, &keep).is_empty());
    let expected = golden.best(0, &head).map(|child| (0, child));
    assert_close(&level(&mut drafter, &golden, tree, &[2]), &expected);
}

#[test]
fn folder_holds_integers() {
    let folder = Folder::open(&folder()).expect("it is right");
    assert_eq!(folder.integers("d2t").expect("I64").map(|d| d.len()), Some(50));
    assert!(folder.integers("fc.weight").is_err());
    assert_eq!(folder.integers("nothing").expect("no error"), None);
}
