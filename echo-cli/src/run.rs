//! `echo-llm run`: generate from a prompt, or chat.

use crate::assemble;
use crate::codec::ModelCodec;
use crate::counts::{count_from_1, sampled, temperature};
use crate::engine_args::EngineArgs;
use crate::setup::Loaded;
use anyhow::{Context, Error, Result, bail};
use clap::Args;
use echo_core::{Sampling, Token};
use echo_model::template::Message;
use echo_runtime::Stream;
use echo_runtime::{Event, FinishReason, Handle, Options, RejectReason, Request, StepStats, Stops};
use echo_serve::Codec;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The prompt; `-` or nothing reads standard input, or chats if that is a terminal
    prompt: Option<String>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Continue the prompt as it is, without the chat template
    #[arg(long)]
    raw: bool,
    /// System message of the chat
    #[arg(long)]
    system: Option<String>,
    /// Answer the prompt this many times at once, with seeds counting up
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Leave out the statistics
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Args)]
struct SamplingArgs {
    /// 0 to 100; 0 takes the likeliest token
    #[arg(short, long, default_value_t = 0.0, value_parser = temperature)]
    temperature: f32,
    /// Keep this many likeliest tokens; 0 keeps all
    #[arg(long, default_value_t = 0)]
    top_k: u32,
    /// Keep the likeliest tokens with this much probability, more than 0 and up to 1; 1 keeps all
    #[arg(long, default_value_t = 1.0, value_parser = sampled(|s, value| s.top_p = value))]
    top_p: f32,
    /// Drop tokens less likely than this share of the likeliest, 0 to 1; 0 drops none
    #[arg(long, default_value_t = 0.0, value_parser = sampled(|s, value| s.min_p = value))]
    min_p: f32,
    /// Weakens tokens that were said before, more than 0 and up to 10; 1 is off
    #[arg(long, default_value_t = 1.0)]
    #[arg(value_parser = sampled(|s, value| s.repetition_penalty = value))]
    repetition_penalty: f32,
    /// Taken once from the logits of tokens in the answer, -2 to 2
    #[arg(long, default_value_t = 0.0)]
    #[arg(value_parser = sampled(|s, value| s.presence_penalty = value))]
    presence_penalty: f32,
    /// Taken from the logits of tokens in the answer, once per occurrence, -2 to 2
    #[arg(long, default_value_t = 0.0)]
    #[arg(value_parser = sampled(|s, value| s.frequency_penalty = value))]
    frequency_penalty: f32,
    /// The same seed gives the same text
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Tokens of the answer at most
    #[arg(short = 'n', long, visible_alias = "max-new-tokens", default_value_t = 512)]
    #[arg(value_parser = count_from_1)]
    max_tokens: usize,
    /// End the answer before this text; may be given several times
    #[arg(long)]
    stop: Vec<String>,
    /// Go on when the model ends its text
    #[arg(long)]
    ignore_eos: bool,
}

impl SamplingArgs {
    fn request(&self, prompt: Vec<Token>, nth: u64) -> Request {
        let sampling = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            seed: self.seed.wrapping_add(nth),
            ..Sampling::default()
        };
        let stops = Stops {
            max_tokens: Some(self.max_tokens),
            strings: self.stop.clone(),
            ignore_eos: self.ignore_eos,
            ..Stops::default()
        };
        Request { sampling, stops, ..Request::new(prompt) }
    }
}

pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let interactive = args.prompt.is_none() && std::io::stdin().is_terminal();
    if interactive && (args.raw || args.batch > 1) {
        bail!("--raw and --batch need a prompt");
    }
    let prompt = if interactive { String::new() } else { read_prompt(args.prompt.as_deref())? };
    let loaded = Loaded::open(&args.engine)?;
    if !args.raw {
        loaded.template().context("try --raw")?;
    }
    let path = loaded.path.clone();
    let codec = ModelCodec::new(&loaded);
    let seqs = usize::from(args.batch);
    let (engine, _) = assemble::engine(&args.engine, loaded, seqs, Options::default())?;
    let (handle, thread) = Handle::spawn(engine);
    let stop = stop_on_ctrl_c();
    let session = Session { args, codec, handle: &handle, stop: &stop };
    let result = if interactive { session.chat(&path) } else { session.answer_once(&prompt) };
    handle.shutdown();
    if thread.join().is_err() {
        bail!("the engine stopped by a bug; please report the message above");
    }
    result
}

fn read_prompt(prompt: Option<&str>) -> Result<String> {
    match prompt {
        Some(text) if text != "-" => Ok(text.to_owned()),
        _ => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input is not text")?;
            Ok(text)
        }
    }
}

/// The first Ctrl-C ends the answer, a second one the program.
fn stop_on_ctrl_c() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        tell!("note: Ctrl-C ends the program at once ({error})");
    }
    stop
}

/// One use of the program.
struct Session<'a> {
    args: &'a RunArgs,
    codec: ModelCodec,
    handle: &'a Handle,
    stop: &'a AtomicBool,
}

impl Session<'_> {
    fn answer_once(&self, prompt: &str) -> Result<()> {
        let mut messages = self.opening();
        messages.push(Message::new("user", prompt));
        let tokens = self.encode(prompt, &messages)?;
        self.answer(&tokens).map(|_| ())
    }

    /// Asks `model` and answers until the input ends.
    fn chat(&self, model: &Path) -> Result<()> {
        let mut messages = self.opening();
        tell!("Chatting with {}; an empty line ends.", model.display());
        loop {
            let _ = write!(std::io::stderr(), "> ");
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).context("standard input is not text")?;
            if line.trim().is_empty() || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            messages.push(Message::new("user", line.trim()));
            let tokens = self.encode("", &messages)?;
            let answer = self.answer(&tokens)?;
            messages.push(Message::new("assistant", answer));
            self.stop.store(false, Ordering::Relaxed);
        }
    }

    fn opening(&self) -> Vec<Message> {
        self.args.system.iter().map(|text| Message::new("system", text)).collect()
    }

    fn encode(&self, prompt: &str, messages: &[Message]) -> Result<Vec<Token>> {
        let codec = &self.codec;
        let tokens = if self.args.raw { codec.encode(prompt) } else { codec.encode_chat(messages) };
        tokens.map_err(Error::msg)
    }

    /// Answers `tokens` as often as asked and prints; returns the first answer.
    fn answer(&self, tokens: &[Token]) -> Result<String> {
        let (before, start) = (self.handle.totals(), Instant::now());
        let request = |nth| self.args.sampling.request(tokens.to_vec(), nth);
        let streams: Vec<Stream> = (0..u64::from(self.args.batch))
            .map(|nth| self.handle.submit(request(nth)))
            .collect::<Result<_, _>>()?;
        let mut first = None;
        for (nth, stream) in streams.into_iter().enumerate() {
            if self.args.batch > 1 {
                writeln!(std::io::stdout(), "--- {}", nth + 1)?;
            }
            let answer = self.print(stream)?;
            first.get_or_insert(answer);
        }
        if !self.args.quiet {
            let mut stats = self.handle.totals();
            stats.subtract(&before);
            tell!("{}", summary(&stats, start.elapsed()));
        }
        Ok(first.unwrap_or_default())
    }

    /// Prints a stream as it comes, up to its end or a Ctrl-C.
    fn print(&self, stream: Stream) -> Result<String> {
        let mut out = std::io::stdout();
        let mut answer = String::new();
        for event in stream {
            let (Event::Token { text, .. } | Event::Finished { text, .. }) = &event else {
                continue;
            };
            out.write_all(text.as_bytes())?;
            out.flush()?;
            answer.push_str(text);
            if let Event::Finished { reason, .. } = event {
                match reason {
                    FinishReason::Device(error) => bail!("the answer was cut: {error}"),
                    FinishReason::NoMemory => bail!("{}", RejectReason::NoMemory),
                    FinishReason::Crashed => bail!("the answer was cut: the engine failed"),
                    FinishReason::Faulty => bail!("the answer was cut: the model gave no number"),
                    FinishReason::Stop | FinishReason::Length | FinishReason::Cancelled => {}
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        writeln!(out)?;
        Ok(answer)
    }
}

/// The line below an answer.
fn summary(stats: &StepStats, elapsed: Duration) -> String {
    format!(
        "[{} tokens in {:.2} s: {:.1} tokens/s; {:.2} tokens a forward; rows verified {}, wasted \
         {}; prompt rows {}]",
        stats.committed,
        elapsed.as_secs_f64(),
        stats.committed as f64 / elapsed.as_secs_f64(),
        stats.mean_accepted_len(),
        stats.seqs + stats.verified,
        stats.wasted(),
        stats.context_rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_forward_gave_is_told_as_everywhere() {
        let stats = StepStats { seqs: 8, committed: 12, ..StepStats::default() };
        let text = summary(&stats, Duration::from_secs(2));
        assert!(
            text.contains("12 tokens in 2.00 s: 6.0 tokens/s; 1.50 tokens a forward;"),
            "{text}"
        );
    }
}
