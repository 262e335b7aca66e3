//! Every gate and every solver that the workspace has, as tests compose them.

use echo_budget::{
    CostTable, DCut, DCutParams, Echo, EchoParams, Ema, EmaParams, Fair, FairParams, Goodput,
    GoodputParams, Hinge, OptTree, OptTreeParams, Survival, Talon, TalonParams, Tetris,
    TetrisParams, TopN, TopNParams, Uniform, Width, Worth, WorthParams,
};
use echo_core::{Gate, Solver};
use echo_gate::{
    Always, Ddd, DddParams, Dense, DenseParams, Fixed, FixedParams, Sparse, SparseParams, Threshold,
};
use echo_runtime::{IsolatedGate, IsolatedSolver};
use std::time::Duration;

/// Time in which any policy comes back on the busiest machine.
const SOON: Duration = Duration::from_secs(60);

pub(crate) type Gates = [(&'static str, fn() -> Box<dyn Gate>); 10];
pub(crate) type Solvers = [(&'static str, fn() -> Box<dyn Solver>); 11];

pub(crate) const GATES: Gates = [
    ("always", || Box::new(Always)),
    ("fixed", || Box::new(Fixed::new(FixedParams { tau: 0.3 }).expect("in range"))),
    ("dense", || {
        Box::new(Dense::new(DenseParams { tau: vec![0.1, 0.2, 0.3, 0.4] }).expect("in range"))
    }),
    ("sparse", || Box::new(sparse())),
    ("ddd", || Box::new(Ddd::new(DddParams { depths: vec![1, 3], tau: 0.5 }).expect("in range"))),
    ("auto", || Box::new(worth())),
    ("opt-tree", || Box::new(opt_tree())),
    ("talon", || Box::new(talon())),
    ("ema", || Box::new(ema())),
    ("sparse, isolated", || Box::new(IsolatedGate::new(Box::new(sparse()), SOON))),
];

pub(crate) const SOLVERS: Solvers = [
    ("uniform", || Box::new(Uniform::default())),
    ("topn", || Box::new(TopN::new(TopNParams { n: 7 }))),
    ("echo", || {
        let width = Width::Ratio { mu: 0.1, most: 3 };
        let params = EchoParams { seed: 2, width };
        Box::new(Echo::new(params).expect("in range"))
    }),
    ("goodput", || Box::new(goodput())),
    ("goodput, fair", || Box::new(Fair::new(goodput(), FairParams { within: 3 }))),
    ("opt-tree", || Box::new(opt_tree())),
    ("talon", || Box::new(talon())),
    ("tetris", || Box::new(Tetris::new(TetrisParams { k: 2, seqs_min: 3 }))),
    ("dcut", || Box::new(DCut::new(DCutParams { cost: cost() }))),
    ("ema", || Box::new(ema())),
    ("goodput, isolated", || Box::new(IsolatedSolver::new(Box::new(goodput()), SOON))),
];

fn sparse() -> Sparse {
    let thresholds = vec![Threshold { depth: 1, tau: 0.4 }, Threshold { depth: 3, tau: 0.2 }];
    Sparse::new(SparseParams { thresholds }).expect("in range")
}

fn opt_tree() -> OptTree {
    OptTree::new(OptTreeParams { n: 7, delta: 0.1 }).expect("in range")
}

fn talon() -> Talon {
    Talon::new(TalonParams { n: 7, mu: 0.1 }).expect("in range")
}

fn ema() -> Ema {
    let ladders = vec![(1, vec![1, 2, 3]), (3, vec![0, 2])];
    Ema::new(EmaParams { ladders }).expect("they ascend")
}

/// Draft passes that pay while few sequences draft.
fn worth() -> Worth {
    let ahead = vec![vec![0.4, 0.9], vec![0.2, 0.8]];
    let params = WorthParams { cost: cost(), survival: Survival::identity(), ahead };
    Worth::new(params).expect("chances")
}

fn cost() -> CostTable {
    let hinge = Hinge { ar_us: 100.0, gamma: 0.05, rows_knee: 6 };
    CostTable::hinge(hinge).expect("a knee of 6 rows")
}

fn goodput() -> Goodput {
    Goodput::new(GoodputParams { cost: cost(), survival: Survival::identity() })
}
