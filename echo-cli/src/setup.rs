//! From flags to a loaded model and an engine.

use crate::backend::{self, Backend};
use crate::engine_args::EngineArgs;
use crate::loading::Loading;
use crate::team::Team;
use crate::{doctor, model, times};
use anyhow::{Context, Result};
use echo_core::{Kernels, Limits, Target, Token};
use echo_kernels_cuda::CudaKernels;
use echo_kernels_cuda::graphs::TIERS;
use echo_model::llama::{LlamaTarget, LoadProgress};
use echo_model::template::{ChatTemplate, Message, RenderOptions};
use echo_model::tokenizer::Tokenizer;
use echo_model::{Checkpoint, ModelError};
use echo_runtime::{Profile, profile_within};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A model, ready to be put into an engine.
pub(crate) struct Loaded {
    pub(crate) path: PathBuf,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// `cpu`, `wgpu` or `cuda`, and the device in words.
    pub(crate) backend: &'static str,
    pub(crate) device: String,
    /// What quantised weights meet there.
    pub(crate) activations: String,
    pub(crate) kernels: Arc<dyn Kernels>,
    /// The same, if it captures graphs.
    captured: Option<Arc<CudaKernels>>,
    pub(crate) threads: usize,
    /// What the weights took, once they are there.
    pub(crate) loading: OnceLock<Loading>,
    /// What measured times depend on: the model, how it runs, the machine and the build.
    pub(crate) fingerprint: String,
}

impl Loaded {
    /// Opens the model's files; reads no weights yet.
    pub(crate) fn open(args: &EngineArgs) -> Result<Loaded> {
        let path = model::locate(&args.model)?;
        let checkpoint = Checkpoint::open(&path)?;
        let tokenizer = Arc::new(Tokenizer::open(&checkpoint)?);
        let threads = backend::threads(args);
        let Backend { name: backend, device, activations, kernels, captured } =
            Backend::open(args)?;
        let build = std::env::current_exe().map(|path| times::stamp(&path)).unwrap_or_default();
        let fingerprint = format!(
            "{}; {backend} {device} {} {activations} {threads}; {}; {build}",
            times::stamp(&path),
            args.kernels,
            doctor::machine()
        );
        Ok(Loaded {
            path,
            checkpoint,
            tokenizer,
            backend,
            device,
            activations,
            kernels,
            captured,
            threads,
            loading: OnceLock::new(),
            fingerprint,
        })
    }

    /// Numbers of rows that smaller forwards are padded to; none if they are run as they are.
    pub(crate) fn tiers(&self) -> &'static [usize] {
        if self.captured.is_some() { &TIERS } else { &[] }
    }

    /// Has the device capture what steps of an engine replay, and from then on refuse what it has
    /// not captured. Nothing to do for a device without graphs.
    pub(crate) fn rehearse(&self, team: &mut Team, drafter: &str, limits: &Limits) -> Result<()> {
        if let Some(captured) = &self.captured {
            team.rehearse(drafter, limits)?;
            captured.seal();
        }
        Ok(())
    }

    /// The model's chat template.
    pub(crate) fn template(&self) -> Result<ChatTemplate, ModelError> {
        ChatTemplate::open(&self.checkpoint, &self.tokenizer)
    }

    /// The tokens of a chat up to the start of the answer.
    pub(crate) fn encode_chat(
        &self,
        template: &ChatTemplate,
        messages: &[Message],
    ) -> Result<Vec<Token>> {
        self.encode_messages(template, messages, true)
    }

    /// The tokens of a chat, with the start of the answer if `answer`.
    pub(crate) fn encode_messages(
        &self,
        template: &ChatTemplate,
        messages: &[Message],
        answer: bool,
    ) -> Result<Vec<Token>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let options = RenderOptions { add_generation_prompt: answer, now_s: now as i64 };
        Ok(template.encode(&self.tokenizer, messages, &options)?)
    }

    /// Reads the weights, with a bar on standard error while it takes.
    pub(crate) fn llama(&self, limits: &Limits) -> Result<LlamaTarget> {
        let start = Instant::now();
        let bar = ProgressBar::new(0).with_style(
            ProgressStyle::with_template("loading {bar:30} {pos}/{len} tensors {elapsed}")
                .expect("the template is right"),
        );
        let mut report = |progress: LoadProgress| {
            bar.set_length(progress.total as u64);
            bar.set_position(progress.done as u64);
        };
        let kernels = Arc::clone(&self.kernels);
        let target = LlamaTarget::with_progress(kernels, &self.checkpoint, limits, &mut report)
            .with_context(|| format!("loading {}", self.path.display()))?;
        bar.finish_and_clear();
        let loading = Loading::ended(start.elapsed(), self.checkpoint.bytes());
        if start.elapsed() > Duration::from_secs(2) {
            tell!("{}: {loading}", self.path.display());
        }
        // Of several loads the first is told.
        let _ = self.loading.set(loading);
        Ok(target)
    }
}

/// Row counts worth measuring up to `rows_max`: as far as forwards are padded, the tiers, and the
/// most rows, which may run in a larger tier.
pub(crate) fn profiled_rows(rows_max: usize, tiers: &[usize]) -> Vec<usize> {
    let grid = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024];
    let largest = tiers.last().copied().unwrap_or(0);
    let most = (rows_max < largest && !tiers.contains(&rows_max)).then_some(rows_max);
    let beyond = grid.into_iter().filter(|&rows| rows > largest);
    let rows = tiers.iter().copied().chain(beyond).filter(|&rows| rows <= rows_max);
    rows.chain(most).collect()
}

/// Measures the target's forward on the shapes that decoding runs.
pub(crate) fn measure(
    target: &mut dyn Target,
    limits: &Limits,
    tiers: &[usize],
    repeats: usize,
    budget: Duration,
) -> Result<Vec<Profile>> {
    let rows_max = limits.rows_max.min(limits.seqs_max * (1 + limits.tree_max));
    let rows = profiled_rows(rows_max, tiers);
    let kv_lens = [128, 1024].map(|kv_len| kv_len.min(limits.context_max / 2));
    let kv_lens = if kv_lens[0] < kv_lens[1] { &kv_lens[..] } else { &kv_lens[..1] };
    Ok(profile_within(target, limits, &rows, kv_lens, repeats, budget)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_are_the_tiers_where_there_are_some() {
        assert_eq!(profiled_rows(7, &[]), [1, 2, 3, 4, 6]);
        let tiers = [1, 2, 4, 8, 256];
        assert_eq!(profiled_rows(400, &tiers), [1, 2, 4, 8, 256, 384]);
        assert_eq!(profiled_rows(9, &tiers), [1, 2, 4, 8, 9]);
        assert_eq!(profiled_rows(8, &tiers), [1, 2, 4, 8]);
    }
}
