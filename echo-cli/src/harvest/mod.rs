//! `echo-llm harvest`: the target writes questions and answers, and its hidden states are recorded.
//!
//! A chunk is a number of conversations: first all questions, from their opening words, then all
//! answers, recorded. What a chunk holds is a function of the model and the chunk's number alone,
//! so an interrupted harvest goes on with the first chunk that is missing.

mod openings;
mod writer;

use crate::counts::{count, count_from_1, temperature, within};
use crate::engine_args::EngineArgs;
use crate::setup::Loaded;
use anyhow::{Context, Result, bail};
use clap::Args;
use echo_model::eagle::{recordings_in, write_recordings};
use indicatif::{ProgressBar, ProgressStyle};
use openings::Opening;
use std::path::{Path, PathBuf};
use writer::Writer;

#[derive(Args)]
pub(crate) struct HarvestArgs {
    /// Folder for the recordings; those it holds are counted and not made again
    out: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
    /// Tokens to record in all
    #[arg(long, default_value_t = 1_000_000, value_parser = within(1..=1 << 31))]
    tokens: usize,
    /// Conversations written at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// Tokens of one answer at most
    #[arg(long, default_value_t = 320, value_parser = count_from_1)]
    answer: usize,
    /// Temperatures of the answers, taken in turn; questions are asked at 1
    #[arg(long, value_name = "T,…", value_delimiter = ',', default_value = "0,0,0.7,1")]
    #[arg(value_parser = temperature)]
    temperatures: Vec<f32>,
    /// Layers whose output is recorded, counted from 0; a third, two thirds and the last if not
    /// given
    #[arg(long, value_name = "LOW,MIDDLE,HIGH", value_parser = three_layers)]
    layers: Option<[usize; 3]>,
    /// Number of the first chunk: chunks are seeds, so others give other texts
    #[arg(long, default_value_t = 0, value_parser = count)]
    first: usize,
}

fn three_layers(text: &str) -> Result<[usize; 3], String> {
    let layers: Option<Vec<usize>> =
        text.split(',').map(|layer| layer.trim().parse().ok()).collect();
    let layers = layers.and_then(|layers| layers.try_into().ok());
    layers.ok_or_else(|| "not three layers with commas between them, as 9,19,29".into())
}

/// Conversations of one chunk, which is one file.
const CHUNK: usize = 256;

pub(crate) fn run(args: &HarvestArgs) -> Result<()> {
    args.engine.check_no_draft("a harvest decodes plainly")?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("{}: cannot be made a folder", args.out.display()))?;
    let loaded = Loaded::open(&args.engine)?;
    let openings = Opening::built_in()?;
    let mut writer = Writer::new(args, &loaded)?;
    let about = writer.about();
    let bar = ProgressBar::new(args.tokens as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} tokens, {per_sec}, {eta} left")
            .expect("the template is right"),
    );
    let mut tokens = 0;
    for chunk in args.first.. {
        if tokens >= args.tokens {
            break;
        }
        let path = args.out.join(format!("{chunk:05}.safetensors"));
        if path.exists() {
            tokens += check(&path, &about)?;
            bar.set_position(tokens as u64);
            bar.reset_eta();
            continue;
        }
        let first = chunk * CHUNK;
        let chosen = (first..first + CHUNK).map(|n| &openings[n % openings.len()]);
        let recordings = writer.converse(&chosen.collect::<Vec<_>>(), first as u64, &mut |n| {
            bar.set_position((tokens + n) as u64);
        })?;
        write_recordings(&path, &recordings, writer.width(), &about)
            .with_context(|| format!("{}: cannot be written", path.display()))?;
        tokens += recordings.iter().map(|r| r.rows(writer.width())).sum::<usize>();
    }
    bar.finish();
    println!("{tokens} tokens in {}", args.out.display());
    Ok(())
}

/// The tokens of a chunk of an earlier run, if it was made from the same model in the same way.
fn check(path: &Path, about: &[(&str, String)]) -> Result<usize> {
    let found = recordings_in(path)?;
    for (key, value) in about {
        if found.about.get(*key) != Some(value) {
            let other = found.about.get(*key).map_or("nothing", String::as_str);
            let path = path.display();
            bail!("{path} was recorded with {key} {other}, not {value}; use another folder");
        }
    }
    Ok(found.rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_three_numbers_with_commas() {
        assert_eq!(three_layers("9,19, 29"), Ok([9, 19, 29]));
        for text in ["", "9", "9 19 29", "9,19", "9,19,29,39", "9,19,-1", "low,9,19"] {
            assert!(three_layers(text).is_err(), "{text}");
        }
    }
}
