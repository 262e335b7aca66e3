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
    ("echo-serve", &["echo-core", "echo-model", "echo-runtime"]),
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
            "echo-serve",
        ],
    ),
    ("echo-interleave", &["echo-core", "echo-runtime"]),
    ("xtask", &[]),
];

/// Crate, then the crates its tests, benches and examples may use on top of [`EDGES`].
pub(super) const TEST_EDGES: &[(&str, &[&str])] = &[
    // Policies are tested on real trees.
    ("echo-gate", &["echo-tree"]),
    // Host time is that of gate, solver and pack together.
    ("echo-budget", &["echo-tree", "echo-gate"]),
    // The suite that every backend must pass lies beside the reference.
    ("echo-kernels-cuda", &["echo-kernels-cpu"]),
    ("echo-kernels-wgpu", &["echo-kernels-cpu"]),
    // A forward is tested on the reference kernels.
    ("echo-model", &["echo-kernels-cpu"]),
    // The server is tested on the simulated model, with a real policy.
    ("echo-serve", &["echo-gate", "echo-budget"]),
    // The engine is tested with every part in place.
    (
        "echo-runtime",
        &[
            "echo-model",
            "echo-gate",
            "echo-budget",
            "echo-kernels-cpu",
            "echo-kernels-cuda",
            "echo-kernels-wgpu",
        ],
    ),
];

/// Crates of others: the crate that uses it, its name, the reason.
pub(super) const THIRD_PARTY: &[(&str, &str, &str)] = &[
    ("echo-kernels-cpu", "bytemuck", "weights viewed as numbers"),
    ("echo-kernels-cpu", "half", "F16 and BF16 weights"),
    ("echo-kernels-cpu", "crossbeam", "worker threads and their queues"),
    ("echo-kernels-cpu", "memmap2", "weights in large pages"),
    ("echo-kernels-cpu", "parking_lot", "locks without poisoning"),
    ("echo-kernels-cuda", "bytemuck", "numbers viewed as bytes"),
    ("echo-kernels-cuda", "cudarc", "NVIDIA's driver and run-time compiler, loaded dynamically"),
    ("echo-kernels-cuda", "parking_lot", "locks without poisoning"),
    ("echo-kernels-cuda", "sha2", "names and checksums of compiled images"),
    ("echo-kernels-cuda", "thiserror", "typed errors for a device that does not open"),
    ("echo-kernels-wgpu", "bytemuck", "uploads and answers viewed as bytes"),
    ("echo-kernels-wgpu", "parking_lot", "locks without poisoning"),
    ("echo-kernels-wgpu", "pollster", "waits for what wgpu answers at once"),
    ("echo-kernels-wgpu", "wgpu", "Vulkan, Metal and DirectX 12 behind one interface"),
    ("echo-model", "bytemuck", "mapped files viewed as numbers"),
    ("echo-model", "half", "F16 and BF16 tensors"),
    ("echo-model", "jiff", "today's date, which chat templates ask for"),
    ("echo-model", "memmap2", "model files are mapped, not read"),
    ("echo-model", "minijinja", "chat templates are Jinja"),
    ("echo-model", "minijinja-contrib", "chat templates use Python's string methods"),
    ("echo-model", "safetensors", "the format of unquantised checkpoints"),
    ("echo-model", "serde", "config.json and tokenizer files"),
    ("echo-model", "serde_json", "config.json and tokenizer files"),
    ("echo-model", "thiserror", "typed errors for bad files"),
    ("echo-model", "tokenizers", "the tokenizers that models are published with"),
    ("echo-gate", "serde", "the calibration file"),
    ("echo-gate", "serde_json", "the calibration file"),
    ("echo-gate", "thiserror", "typed errors for a bad calibration file"),
    ("echo-budget", "serde", "the cost table's file and recorded traces"),
    ("echo-budget", "serde_json", "the cost table's file and recorded traces"),
    ("echo-budget", "thiserror", "typed errors for a bad table"),
    ("echo-runtime", "crossbeam", "channels between the engine and its callers"),
    ("echo-runtime", "parking_lot", "locks without poisoning"),
    ("echo-runtime", "loom", "every order of a few steps, under its own cfg"),
    ("echo-runtime", "shuttle", "random orders of many steps, under its own cfg"),
    ("echo-interleave", "loom", "every order of a few steps, under its own cfg"),
    ("echo-interleave", "shuttle", "random orders of many steps, under its own cfg"),
    ("echo-serve", "axum", "routes and responses over HTTP"),
    ("echo-serve", "base64", "a browser sends the key as a password"),
    ("echo-serve", "http-body-util", "a body that is cut at its limit"),
    ("echo-serve", "hyper-util", "connections with deadlines that the server sets itself"),
    ("echo-serve", "metrics", "counters and histograms that the engine's thread adds to"),
    ("echo-serve", "metrics-exporter-prometheus", "the page of metrics"),
    ("echo-serve", "serde", "bodies of requests"),
    ("echo-serve", "serde_json", "bodies of requests and responses"),
    ("echo-serve", "serde_path_to_error", "a body that is wrong is told with the field at fault"),
    ("echo-serve", "sha2", "keys are compared by their digests"),
    ("echo-serve", "tokio", "sockets, timers and signals"),
    ("echo-serve", "tokio-stream", "a channel as the body of a response"),
    ("echo-cli", "anyhow", "errors that end the program, with their causes"),
    ("echo-cli", "clap", "the command line"),
    ("echo-cli", "crossbeam", "what the server's metrics keep for each thread, made at its start"),
    ("echo-cli", "ctrlc", "an interrupt ends a run cleanly"),
    ("echo-cli", "http-body-util", "answers read piece by piece"),
    ("echo-cli", "hyper", "the client that measures a server"),
    ("echo-cli", "hyper-util", "the client's sockets"),
    ("echo-cli", "indicatif", "progress of long work"),
    ("echo-cli", "parking_lot", "locks without poisoning"),
    ("echo-cli", "plotters", "plots of the report"),
    ("echo-cli", "serde", "prompt files and reports"),
    ("echo-cli", "serde_json", "prompt files and reports"),
    ("echo-cli", "tokio", "the server's runtime and its signals"),
    ("echo-cli", "toml", "the server's configuration file"),
    ("xtask", "clap", "the command line"),
    ("xtask", "indicatif", "progress of the download"),
    ("xtask", "serde_json", "what cargo metadata prints"),
    ("xtask", "sha2", "the model's checksum"),
    ("xtask", "zip", "wheels are zip files"),
];

/// Crates of others that every crate's tests and benches may use.
pub(super) const THIRD_PARTY_IN_TESTS: &[(&str, &str)] = &[
    ("async-openai", "the server is asked by a client of others"),
    ("criterion", "benches"),
    ("libloading", "kernels compiled for the emulated device"),
    ("naga", "shaders are checked without a device"),
    ("proptest", "property tests"),
    ("serde_json", "expectations from files"),
    ("tempfile", "tests that write files"),
    ("tokio-stream", "a client's stream of events"),
];
