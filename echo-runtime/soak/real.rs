//! The default model as the engine under load, and as its own witness.

use crate::shaky::{Dial, Shaky};
use crate::testkit::model::default_model;
use crate::testkit::solvers::Greedy;
use echo_core::{Kernels, Limits, Vocab};
use echo_kernels_cpu::{CpuKernels, CpuOptions};
use echo_model::{Checkpoint, LlamaTarget, NgramDrafter, NgramOptions, Tokenizer};
use echo_runtime::{Engine, Options, Pair, Parts};
use std::sync::Arc;

/// An engine on the default model that obeys `dial` and opens its device as often as it must, and
/// the tokens that model knows. `None` where it is not there.
pub(crate) fn engine(dial: &Dial) -> Option<(Engine, usize)> {
    let checkpoint = Checkpoint::open(&default_model("soak")?).expect("the default model opens");
    let tokenizer = Tokenizer::open(&checkpoint).expect("it has a tokenizer");
    let vocab = tokenizer.len();
    let limits = Limits { tree_max: 8, kv_slots: 1200, ..Limits::usual(12, 128) };
    let limits = Limits { depth_max: 4, width_max: 2, beam_max: 2, ..limits };
    // Another device each time: one frees nothing before it goes.
    let open = {
        let dial = dial.clone();
        move || {
            let kernels: Arc<dyn Kernels> = Arc::new(CpuKernels::new(CpuOptions::default()));
            let target = LlamaTarget::new(kernels, &checkpoint, &limits);
            let ngram = NgramOptions { n_min: 1, prob_min: 0.0, ..NgramOptions::usual() };
            Pair {
                target: Box::new(Shaky(target.expect("it loads"), dial.clone())),
                drafter: Box::new(NgramDrafter::new(ngram, &limits)),
            }
        }
    };
    let Pair { target, drafter } = open();
    let parts = Parts {
        target,
        drafter,
        gate: Box::new(Shaky((), dial.clone())),
        solver: Box::new(Shaky(Greedy, dial.clone())),
        vocab: Arc::new(tokenizer),
    };
    let options = Options { queue_max: 24, prompt_rows_max: 64, ..Options::default() };
    let mut engine = Engine::new(parts, limits, options).expect("the limits are legal");
    engine.on_loss(Box::new(move || Ok(open())));
    Some((engine, vocab))
}
