//! The target, writing.

use super::HarvestArgs;
use super::openings::Opening;
use crate::model;
use crate::setup::Loaded;
use anyhow::{Result, bail};
use echo_budget::Uniform;
use echo_core::{Limits, Sampling, Target, Token};
use echo_gate::Always;
use echo_model::eagle::{Recorder, Recording};
use echo_model::llama::Taps;
use echo_model::template::ChatTemplate;
use echo_runtime::{Engine, FinishReason, NoDraft, Options, Output, Parts, Request, Stops};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tokens of one question at most.
const QUESTION: usize = 128;

/// Writes conversations with two engines in turn around one target: one that asks, and one that
/// answers and is recorded.
pub(super) struct Writer<'a> {
    args: &'a HarvestArgs,
    loaded: &'a Loaded,
    template: ChatTemplate,
    limits: Limits,
    layers: [usize; 3],
    taps: Taps,
    /// Taken while an engine has it.
    target: Option<Box<dyn Target>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(args: &'a HarvestArgs, loaded: &'a Loaded) -> Result<Self> {
        let config = loaded.checkpoint.config();
        let n = config.n_layers;
        let layers = args.layers.unwrap_or([n / 3, 2 * n / 3, n].map(|n| n.saturating_sub(1)));
        if let Some(layer) = layers.iter().find(|&&layer| layer >= n) {
            bail!("layer {layer} is to be recorded, the model has {n}, counted from 0");
        }
        let context = args.engine.context(1024, config.context);
        let usual = Limits::usual(usize::from(args.batch), context);
        let kv_slots = args.engine.kv_slots.unwrap_or(usual.kv_slots);
        let limits = Limits { depth_max: 0, kv_slots, ..usual };
        limits.check()?;
        let mut target = loaded.llama(&limits)?;
        let taps = target.tap(layers)?;
        let template = loaded.template()?;
        let target = Some(Box::new(target) as Box<dyn Target>);
        Ok(Writer { args, loaded, template, limits, layers, taps, target })
    }

    /// Columns of the recorded states.
    pub(super) fn width(&self) -> usize {
        self.taps.width
    }

    /// What the recordings depend on.
    pub(super) fn about(&self) -> Vec<(&'static str, String)> {
        let temperatures: Vec<_> = self.args.temperatures.iter().map(f32::to_string).collect();
        vec![
            ("model", model::short_name(&self.loaded.path)),
            ("layers", self.layers.map(|layer| layer.to_string()).join(",")),
            ("temperatures", temperatures.join(",")),
            ("answer", self.args.answer.to_string()),
        ]
    }

    /// One conversation from each opening, recorded; the n-th uses seed `seed + n`.
    pub(super) fn converse(
        &mut self,
        openings: &[&Opening],
        seed: u64,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Recording>> {
        let begun = openings
            .iter()
            .map(|opening| opening.encode(self.loaded, &self.template))
            .collect::<Result<Vec<_>>>()?;
        let asked = begun.iter().zip(seed..).map(|(tokens, seed)| {
            let sampling = Sampling { temperature: 1.0, min_p: 0.05, seed, ..Sampling::default() };
            request(tokens.clone(), sampling, QUESTION)
        });
        let rest = self.write(asked.collect(), None, &mut |_| ())?;
        let mut answers = Vec::with_capacity(openings.len());
        for (n, (opening, rest)) in openings.iter().zip(&rest).enumerate() {
            let question = format!("{}{rest}", opening.user);
            let messages = opening.messages(question.trim());
            let prompt = self.loaded.encode_messages(&self.template, &messages, true)?;
            let temperature = self.args.temperatures[n % self.args.temperatures.len()];
            let seed = seed + n as u64;
            let sampling = Sampling { temperature, seed, ..Sampling::default() };
            answers.push(request(prompt, sampling, self.args.answer));
        }
        let recordings = Arc::new(Mutex::new(Vec::with_capacity(answers.len())));
        self.write(answers, Some(Arc::clone(&recordings)), progress)?;
        let mut recordings = std::mem::take(&mut *recordings.lock());
        settle(&mut recordings);
        Ok(recordings)
    }

    /// The texts that answer `requests`, recorded into `sink` if there is one.
    fn write(
        &mut self,
        requests: Vec<Request>,
        sink: Option<Arc<Mutex<Vec<Recording>>>>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<String>> {
        let options = Options {
            prefix_cache: sink.is_none(),
            queue_max: requests.len(),
            ..Options::default()
        };
        let drafter: Box<dyn echo_core::Drafter> = match sink {
            Some(sink) => {
                let sink = Box::new(move |recording| sink.lock().push(recording));
                let kernels = Arc::clone(&self.loaded.kernels);
                Box::new(Recorder::new(kernels, self.taps, &self.limits, sink))
            }
            None => Box::new(NoDraft),
        };
        let parts = Parts {
            target: self.target.take().expect("engines have the target one after the other"),
            drafter,
            gate: Box::new(Always),
            solver: Box::new(Uniform::default()),
            vocab: Arc::clone(&self.loaded.tokenizer) as _,
        };
        let mut engine = Engine::new(parts, self.limits, options)?;
        let mut places = BTreeMap::new();
        let mut texts = vec![String::new(); requests.len()];
        for (n, request) in requests.into_iter().enumerate() {
            places.insert(engine.submit(request)?, n);
        }
        let mut out = Output::with_capacity(&self.limits);
        while !engine.is_idle() {
            engine.step(&mut out)?;
            for committed in &out.committed {
                texts[places[&committed.id]].push_str(out.text_of(&committed.text));
            }
            for finished in &out.finished {
                texts[places[&finished.id]].push_str(out.text_of(&finished.text));
                if matches!(
                    finished.reason,
                    FinishReason::Faulty
                        | FinishReason::NoMemory
                        | FinishReason::Device(_)
                        | FinishReason::Crashed
                ) {
                    bail!("a text was cut: {:?}", finished.reason);
                }
            }
            out.clear();
            progress(engine.totals().committed + engine.totals().context_rows);
        }
        self.target = Some(engine.into_parts().target);
        Ok(texts)
    }
}

fn request(prompt: Vec<Token>, sampling: Sampling, max_tokens: usize) -> Request {
    let stops = Stops { max_tokens: Some(max_tokens), ..Stops::default() };
    Request { sampling, stops, ..Request::new(prompt) }
}

/// Leaves each text once and whole, in an order that does not depend on which ended first. One that
/// lost its place to others was handed over up to there, too, and read again.
fn settle(recordings: &mut Vec<Recording>) {
    recordings.sort_by(|a, b| a.tokens.cmp(&b.tokens));
    recordings.dedup_by(|longer, shorter| {
        let is_again = longer.tokens.starts_with(&shorter.tokens);
        if is_again {
            std::mem::swap(longer, shorter);
        }
        is_again
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_lost_its_place_is_recorded_once_and_whole() {
        let text = |tokens: &[Token]| Recording { tokens: tokens.to_vec(), hidden: Vec::new() };
        let mut all =
            [&[5, 6][..], &[1, 2, 3, 4], &[1, 2, 9], &[1, 2], &[1, 2, 3]].map(text).to_vec();
        settle(&mut all);
        let left: Vec<_> = all.iter().map(|text| &text.tokens[..]).collect();
        assert_eq!(left, [&[1, 2, 3, 4][..], &[1, 2, 9], &[5, 6]]);
    }
}
