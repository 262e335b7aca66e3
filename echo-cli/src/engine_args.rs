//! The flags that say how an engine is put together, shared by the commands.

use crate::counts::{count, count_from_1, threads, within};
use anyhow::{Result, bail};
use clap::Args;
use echo_core::Limits;

/// The tree that is drafted if nobody says otherwise.
const DEPTH: usize = 5;
const WIDTH: usize = 4;
const NODES: usize = 32;

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
    /// Threads of the CPU backend, up to four for each core; if not given, as many as cores that
    /// the process may use, by its affinity and its container's CPU quota
    #[arg(long, value_parser = threads)]
    pub(crate) threads: Option<usize>,
    /// CPU kernels: `fast`, `reference`, or an instruction set (see `echo-llm doctor`)
    #[arg(long, default_value = "fast")]
    pub(crate) kernels: String,
    /// What quantised weights meet on the CPU: `int8` (fast, with keys and values in half
    /// precision) or `float` (exact to single precision, keys and values too)
    #[arg(long, default_value = "int8")]
    pub(crate) activations: String,
    /// CUDA: launch each kernel by itself instead of replaying captured graphs, to compare
    #[arg(long)]
    pub(crate) no_graphs: bool,
    /// Who proposes tokens: `eagle:FOLDER` (a learned head), `ngram` (what the text repeats),
    /// `hybrid:FOLDER` (both), `none`, or `auto`: `hybrid` if a head for the model comes with the
    /// program, else `ngram`. `eagle` and `hybrid` without a folder take that head
    #[arg(long, default_value = "auto")]
    pub(crate) drafter: String,
    /// Where drafting goes on: `auto` (levels that pay), `always`, `calibrated` (at the depths and
    /// thresholds of the drafter's calibration), `fixed:TAU`, `dense:TAU,TAU,…` (by depth from 1),
    /// `sparse:DEPTH=TAU,…`, `ddd:TAU[,DEPTH,…]` (at depths 5, 7 and 9 if none is given), or where
    /// the solver of that name would cut: `opt-tree:N[,DELTA]`, `talon:N[,MU]`, `ema`. TAU, 0 to 1,
    /// is the chance of the best drafted path (with `ddd`, of all that may go on) up to which
    /// drafting ends
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
    /// request waits longer for a drafted row while rows suffice. N is the most nodes of a request
    /// (`--nodes` if not given), DELTA the accepted tokens that a level must add (0.1), MU the
    /// share of its level's best chance that a node must have (0.03), K the drafted rows of a
    /// request, and SEQS the number of requests from which on they share them (0)
    #[arg(long, default_value = "goodput")]
    pub(crate) solver: String,
    /// Deepest drafted level; 0 decodes plainly
    #[arg(
        long,
        visible_alias = "speculative-num-steps",
        default_value_t = DEPTH,
        value_parser = count
    )]
    pub(crate) depth: usize,
    /// Children of one node, and nodes of one level that have children
    #[arg(
        long,
        visible_alias = "speculative-eagle-topk",
        default_value_t = WIDTH,
        value_parser = count
    )]
    pub(crate) width: usize,
    /// Drafted nodes of one sequence that may be verified in one step
    #[arg(long, default_value_t = NODES, value_parser = count)]
    nodes: usize,
    /// The same as `SGLang` counts it: with the root, so one more than `--nodes`
    #[arg(long, value_name = "N", value_parser = count_from_1, conflicts_with = "nodes")]
    speculative_num_draft_tokens: Option<usize>,
    /// Rows of all trees in one forward, roots included (`K_max`); every sequence has one in any
    /// case. The solver decides if not given
    #[arg(long, value_parser = count_from_1)]
    pub(crate) budget: Option<usize>,
    /// Tokens of one sequence, prompt included; if not given, what the model was made for, at most
    /// 8192 (1024 in `harvest`). More than the model was made for is cut to that
    #[arg(long, visible_alias = "max-model-len", value_parser = count_from_1)]
    context: Option<usize>,
    /// Tokens of all sequences whose keys and values are held at once; if not given, 2048 for each
    /// sequence, no less than one's context and at most 65536 (what they need in `bench` and
    /// `harvest`)
    #[arg(long, value_parser = within(1..=1 << 31))]
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

    /// Refuses flags of drafts where none are made; `why` not.
    pub(crate) fn check_no_draft(&self, why: &str) -> Result<()> {
        self.check_no_policy(why)?;
        let has_shape = (self.depth, self.width, self.nodes()) != (DEPTH, WIDTH, NODES);
        if self.drafter != "auto" || has_shape || self.budget.is_some() {
            bail!("--drafter, --depth, --width, --nodes and --budget have no part in this: {why}");
        }
        Ok(())
    }

    /// Who drafts; nobody if nothing is to be drafted, since a head would read every prompt.
    pub(crate) fn drafts(&self) -> &str {
        if self.depth == 0 { "none" } else { &self.drafter }
    }

    /// Drafted nodes of one sequence that may be verified in one step.
    pub(crate) fn nodes(&self) -> usize {
        self.speculative_num_draft_tokens.map_or(self.nodes, |with_root| with_root - 1)
    }

    /// Tokens of one sequence on a model made for `most`; `usual` if nobody says otherwise.
    pub(crate) fn context(&self, usual: usize, most: usize) -> usize {
        let asked = self.context.unwrap_or(usual);
        if self.context.is_some() && asked > most {
            tell!("note: --context {asked} is cut to {most}, which the model was made for");
        }
        asked.min(most)
    }

    /// Limits for `seqs` live sequences on a model made for `context_model` tokens.
    pub(crate) fn limits(&self, seqs: usize, context_model: usize) -> Limits {
        let context_max = self.context(8192, context_model);
        let kv_slots = self.kv_slots.unwrap_or((seqs * 2048).max(context_max).min(65_536));
        let tree_rows = seqs.saturating_mul(1 + self.nodes());
        Limits {
            seqs_max: seqs,
            rows_max: tree_rows.clamp(256, 1024).max(seqs),
            depth_max: self.depth,
            width_max: self.width,
            beam_max: self.width,
            tree_max: self.nodes(),
            context_max,
            kv_slots,
            logprobs_max: 20,
        }
    }
}

#[cfg(test)]
impl EngineArgs {
    /// What these flags mean.
    pub(crate) fn parsed<'a>(flags: impl IntoIterator<Item = &'a str>) -> Self {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            engine: EngineArgs,
        }
        let flags = std::iter::once("echo-llm").chain(flags);
        <Flags as clap::Parser>::parse_from(flags).engine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> EngineArgs {
        EngineArgs::parsed(args.iter().copied())
    }

    #[test]
    fn nodes_are_counted_with_or_without_the_root() {
        for (args, nodes) in [
            (&[][..], 32),
            (&["--nodes", "8"], 8),
            (&["--speculative-num-draft-tokens", "8"], 7),
            (&["--speculative-num-draft-tokens", "1"], 0),
        ] {
            let flags = parse(args);
            assert_eq!((flags.nodes(), flags.limits(1, 64).tree_max), (nodes, nodes), "{args:?}");
        }
    }

    #[test]
    fn without_levels_nobody_drafts() {
        assert_eq!(parse(&["--depth", "0", "--drafter", "ngram"]).drafts(), "none");
        assert_eq!(parse(&["--drafter", "ngram"]).drafts(), "ngram");
    }

    #[test]
    fn flags_of_drafts_are_known_where_none_are_made() {
        assert!(parse(&["--context", "64", "--kv-slots", "64"]).check_no_draft("why").is_ok());
        for flag in [
            "--drafter=none",
            "--depth=2",
            "--width=2",
            "--nodes=2",
            "--speculative-num-draft-tokens=2",
            "--budget=2",
            "--gate=always",
            "--echo-threshold=0.5",
            "--solver=topn",
        ] {
            let said = parse(&[flag]).check_no_draft("why").expect_err("it would change nothing");
            assert!(said.to_string().ends_with("no part in this: why"), "{flag}: {said}");
        }
    }

    #[test]
    fn a_context_is_what_the_model_was_made_for_at_most() {
        let of = |args: &[&str]| parse(args).context(1024, 4096);
        let asked = [of(&[]), of(&["--context", "64"]), of(&["--context", "5000"])];
        assert_eq!(asked, [1024, 64, 4096]);
        assert_eq!(parse(&[]).context(1024, 512), 512);
    }
}
