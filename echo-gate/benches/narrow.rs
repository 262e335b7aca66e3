//! Cost of one look of each gate at a frontier of 256 sequences with 16 nodes each.

use criterion::{Criterion, criterion_group, criterion_main};
use echo_core::{Children, Gate, Keep, Limits, Load};
use echo_gate::{Dense, DenseParams, Fixed, FixedParams, Sparse, SparseParams, Threshold};
use echo_tree::SuperTree;

const SEQS: usize = 256;

fn narrow(c: &mut Criterion) {
    let limits = Limits { depth_max: 1, width_max: 16, ..Limits::usual(SEQS, 64) };
    let mut tree = SuperTree::new(&limits);
    tree.plant((0..SEQS as u32).map(|seq| (seq, 0)));
    let (mut keep, mut children) = (Keep::default(), Children::default());
    keep.reset(SEQS);
    for root in 0..SEQS {
        keep.open(root, 16);
        for token in 0..16 {
            children.push(root, token, -0.01 * (root as f32 + token as f32));
        }
    }
    assert_eq!(tree.push_level(&keep, &children), 16 * SEQS);
    let thresholds = vec![Threshold { depth: 1, tau: 0.3 }];
    let gates: [(&str, Box<dyn Gate>); 3] = [
        ("fixed", Box::new(Fixed::new(FixedParams { tau: 0.3 }).expect("in range"))),
        ("dense", Box::new(Dense::new(DenseParams { tau: vec![0.3] }).expect("in range"))),
        ("sparse", Box::new(Sparse::new(SparseParams { thresholds }).expect("in range"))),
    ];
    let frontier = tree.view().frontier();
    for (name, gate) in gates {
        c.bench_function(&format!("narrow/{name}"), |b| {
            b.iter(|| {
                keep.reset(16 * SEQS);
                (0..16 * SEQS).for_each(|i| keep.open(i, 4));
                gate.narrow(frontier, Load::default(), &mut keep);
            });
        });
        // Confidence falls by 0.01 in log a sequence, so those from about 120 on are closed.
        let open = keep.as_slice().iter().filter(|&&children| children > 0).count();
        assert!((100 * 16..140 * 16).contains(&open), "{open} nodes are open");
    }
}

criterion_group!(benches, narrow);
criterion_main!(benches);
