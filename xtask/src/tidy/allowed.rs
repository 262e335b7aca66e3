//! The edges a crate may have. A new edge between crates, and a new dependency, is a commit of its
//! own that changes this table.

/// Crate, then the crates of the workspace it is built on. Downwards only; crates of pure logic do
/// not know each other, and a model reaches kernels through the port in `echo-core` alone.
pub(super) const EDGES: &[(&str, &[&str])] = &[
    ("echo-core", &[]),
    ("echo-tree", &["echo-core"]),
    ("echo-gate", &["echo-core"]),
    ("echo-budget", &["echo-core"]),
    ("echo-kernels-cpu", &["echo-core"]),
    ("echo-kernels-cuda", &["echo-core"]),
    ("echo-kernels-wgpu", &["echo-core"]),
    ("echo-model", &["echo-core"]),
    ("echo-runtime", &["echo-core", "echo-tree"]),
    (
        "echo-cli",
        &[
            "echo-core",
            "echo-tree",
            "echo-gate",
            "echo-budget",
            "echo-kernels-cpu",
            "echo-kernels-cuda",
            "echo-kernels-wgpu",
            "echo-model",
            "echo-runtime",
        ],
    ),
    ("xtask", &[]),
];

/// Crate, then the crates its tests, benches and examples may use on top of [`EDGES`].
pub(super) const TEST_EDGES: &[(&str, &[&str])] = &[
    // Policies are tested on real trees.
    ("echo-gate", &["echo-tree"]),
    ("echo-budget", &["echo-tree"]),
    // The suite that every backend must pass lies beside the reference.
    ("echo-kernels-cuda", &["echo-kernels-cpu"]),
    ("echo-kernels-wgpu", &["echo-kernels-cpu"]),
    // A forward is tested on the reference kernels, its rows packed from real trees.
    ("echo-model", &["echo-kernels-cpu", "echo-tree"]),
    // The engine is tested with every part in place.
    ("echo-runtime", &["echo-model", "echo-gate", "echo-budget", "echo-kernels-cpu"]),
];

/// A crate of others that one of ours may use.
pub(super) struct ThirdParty {
    pub(super) user: &'static str,
    pub(super) name: &'static str,
    pub(super) reason: &'static str,
}

const fn uses(user: &'static str, name: &'static str, reason: &'static str) -> ThirdParty {
    ThirdParty { user, name, reason }
}

pub(super) const THIRD_PARTY: &[ThirdParty] = &[
    uses("echo-kernels-cpu", "bytemuck", "weights viewed as numbers"),
    uses("echo-kernels-cpu", "half", "F16 and BF16 weights"),
    uses("echo-kernels-cpu", "crossbeam", "worker threads and their queues"),
    uses("echo-kernels-cpu", "parking_lot", "locks without poisoning"),
    uses("echo-model", "bytemuck", "mapped files viewed as numbers"),
    uses("echo-model", "half", "F16 and BF16 tensors"),
    uses("echo-model", "memmap2", "model files are mapped, not read"),
    uses("echo-model", "minijinja", "chat templates are Jinja"),
    uses("echo-model", "minijinja-contrib", "chat templates use Python's string methods"),
    uses("echo-model", "parking_lot", "locks without poisoning"),
    uses("echo-model", "safetensors", "the format of unquantised checkpoints"),
    uses("echo-model", "serde", "config.json and tokenizer files"),
    uses("echo-model", "serde_json", "config.json and tokenizer files"),
    uses("echo-model", "thiserror", "typed errors for bad files"),
    uses("echo-model", "tokenizers", "the tokenizers that models are published with"),
    uses("echo-gate", "serde", "the calibration file"),
    uses("echo-gate", "serde_json", "the calibration file"),
    uses("echo-gate", "thiserror", "typed errors for a bad calibration file"),
    uses("echo-budget", "serde", "the cost table's file and recorded traces"),
    uses("echo-budget", "serde_json", "the cost table's file and recorded traces"),
    uses("echo-budget", "thiserror", "typed errors for a bad table"),
    uses("echo-tree", "thiserror", "typed errors for a bad drawing"),
    uses("echo-runtime", "crossbeam", "channels between the engine and its callers"),
    uses("echo-runtime", "parking_lot", "locks without poisoning"),
    uses("echo-runtime", "thiserror", "typed errors for bad requests"),
    uses("echo-cli", "anyhow", "errors that end the program, with their causes"),
    uses("echo-cli", "clap", "the command line"),
    uses("echo-cli", "indicatif", "progress of long work"),
    uses("echo-cli", "serde", "prompt files and reports"),
    uses("echo-cli", "serde_json", "prompt files and reports"),
    uses("xtask", "clap", "the command line"),
    uses("xtask", "indicatif", "progress of the download"),
    uses("xtask", "serde_json", "what cargo metadata prints"),
    uses("xtask", "sha2", "the model's checksum"),
    uses("xtask", "zip", "wheels are zip files"),
];

/// Crates of others that every crate's tests and benches may use.
pub(super) const THIRD_PARTY_IN_TESTS: &[(&str, &str)] = &[
    ("criterion", "benches"),
    ("proptest", "property tests"),
    ("serde_json", "expectations from files"),
    ("tempfile", "tests that write files"),
];
