//! The flags that say how an engine is put together, shared by the commands.

use crate::counts::count;
use anyhow::{Result, bail};
use clap::Args;
use echo_core::Limits;

/// What model runs where, and how it drafts. Names in brackets are those of other engines.
#[derive(Args, Clone, Debug)]
pub(crate) struct EngineArgs {
    /// A .gguf file, a folder of safetensors, or `default`
    #[arg(short, long, default_value = "default")]
    pub(crate) model: String,
    /// Which device computes: `cpu`, `wgpu` (a GPU through Vulkan, Metal or DirectX 12), `cuda`, or
    /// `auto`: CUDA if there is a device, else a GPU through wgpu, else the CPU
    #[arg(long, default_value = "auto")]
    pub(crate) backend: String,
    /// Threads of the CPU backend; if not given, as many as cores that the process may use, by its
    /// affinity and its container's CPU quota
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// CPU kernels: `fast`, `reference`, or an instruction set (see `echo-llm doctor`)
    #[arg(long, default_value = "fast")]
    pub(crate) kernels: String,
    /// What quantised weights meet on the CPU: `int8` (fast, with keys and values in half precision)
    /// or `float` (exact to single precision, keys and values too)
    #[arg(long, default_value = "int8")]
    pub(crate) activations: String,
    /// CUDA: launch each kernel by itself instead of replaying captured graphs, to compare
    #[arg(long)]
    pub(crate) no_graphs: bool,
    /// Who proposes tokens: `eagle:FOLDER` (a learned head), `ngram` (what the text repeats),
    /// `hybrid:FOLDER` (both), `none`, or `auto`: both if a head for the model comes with the
    /// program, else `ngram`
    #[arg(long, default_value = "auto")]
    pub(crate) drafter: String,
    /// Where drafting goes on: `auto` (levels that pay), `always`, `calibrated` (at the depths and
    /// thresholds of the drafter's calibration), `fixed:TAU`, `dense:TAU,TAU,…` (by depth from 1),
    /// `sparse:DEPTH=TAU,…`, `ddd:TAU,DEPTH,…`, or where the solver of that name would cut:
    /// `opt-tree:N`, `talon:N`, `ema`
    #[arg(long, default_value = "auto")]
    gate: String,
    /// One confidence for all depths: `--gate fixed:TAU`
    #[arg(
        long,
        visible_alias = "speculative-echo-threshold",
        value_name = "TAU",
        conflicts_with = "gate"
    )]
    echo_threshold: Option<f32>,
    /// Which nodes are verified: `uniform`, `topn[:N]`, `opt-tree[:N[,DELTA]]`, `talon[:N[,MU]]`,
    /// `tetris:K[,SEQS]`, `dcut`, `ema`, `echo` or `goodput`; with `+fair:STEPS` after it, no
    /// request waits longer for a drafted row while rows suffice
    #[arg(long, default_value = "goodput")]
    pub(crate) solver: String,
    /// Deepest drafted level; 0 decodes plainly
    #[arg(long, visible_alias = "speculative-num-steps", default_value_t = 5, value_parser = count)]
    pub(crate) depth: usize,
    /// Children of one node, and nodes of one level that have children
    #[arg(
        long,
        visible_alias = "speculative-eagle-topk",
        default_value_t = 4,
        value_parser = count
    )]
    pub(crate) width: usize,
    /// Drafted nodes of one sequence that may be verified in one step
    #[arg(
        long,
        visible_alias = "speculative-num-draft-tokens",
        default_value_t = 32,
        value_parser = count
    )]
    pub(crate) nodes: usize,
    /// Rows of all trees in one forward, roots included (`K_max`); the solver decides if not given
    #[arg(long)]
    pub(crate) budget: Option<usize>,
    /// Tokens of one sequence, prompt included; what the model was made for, at most 8192, if not
    /// given
    #[arg(long, visible_alias = "max-model-len")]
    pub(crate) context: Option<usize>,
    /// Tokens of all sequences whose keys and values are held at once
    #[arg(long)]
    pub(crate) kv_slots: Option<usize>,
}

impl EngineArgs {
    /// The gate's name and parameters.
    pub(crate) fn gate(&self) -> String {
        self.echo_threshold.map_or_else(|| self.gate.clone(), |tau| format!("fixed:{tau}"))
    }

    /// Refuses a gate or a solver that was named where it has no part; `why` it has none.
    pub(crate) fn check_no_policy(&self, why: &str) -> Result<()> {
        if self.gate() != "auto" || self.solver != "goodput" {
            bail!("--gate, --echo-threshold and --solver have no part in this: {why}");
        }
        Ok(())
    }

    /// Limits for `seqs` live sequences on a model made for `context_model` tokens.
    pub(crate) fn limits(&self, seqs: usize, context_model: usize) -> Limits {
        let context_max = self.context.unwrap_or(8192).min(context_model);
        let kv_slots = self.kv_slots.unwrap_or((seqs * 2048).max(context_max).min(65_536));
        let tree_rows = seqs.saturating_mul(1 + self.nodes);
        Limits {
            seqs_max: seqs,
            rows_max: tree_rows.clamp(256, 1024).max(seqs),
            depth_max: self.depth,
            width_max: self.width,
            beam_max: self.width,
            tree_max: self.nodes,
            context_max,
            kv_slots,
            logprobs_max: 20,
        }
    }
}
