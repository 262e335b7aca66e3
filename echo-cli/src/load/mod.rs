//! `echo-llm load`: how fast servers answer, at several numbers of streams.
//!
//! Closed loop: as many streams as asked for run at once, and whoever ends begins the next. The
//! rows of one number of streams are measured in turn, round by round and each round from another
//! row on, so that they see the same machine. Every server is asked every prompt once before, so
//! that no row alone finds it cold. An answer that fails ends the run: figures are of whole
//! answers.

mod client;
mod figures;
mod row;

use crate::bench::prompts::{self, BuiltIn, Prompt};
use crate::bench::table;
use crate::counts::{count_from_1, seconds};
use anyhow::{Context, Result, bail};
use clap::Args;
use client::Heard;
use figures::Figures;
use row::Row;
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// A running server with OpenAI's routes, `http://HOST:PORT` or `NAME=http://HOST:PORT`; given
    /// several times, they are measured in turn. Of Echo's each is measured plain and with drafts
    #[arg(long, visible_alias = "peer", value_name = "[NAME=]URL")]
    #[arg(default_value = "http://127.0.0.1:8000")]
    url: Vec<String>,
    /// Key to send
    #[arg(long)]
    api_key: Option<String>,
    /// Streams at once
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,32,64")]
    #[arg(value_parser = count_from_1)]
    streams: Vec<usize>,
    /// Questions, one JSON object a line; the built-in set if not given
    #[arg(long)]
    prompts: Option<PathBuf>,
    /// Tokens of each answer at most
    #[arg(short = 'n', long, default_value_t = 32, value_parser = count_from_1)]
    max_tokens: usize,
    /// Seconds of each measurement; answers that were begun are waited for
    #[arg(long, default_value = "5", value_parser = seconds)]
    seconds: Duration,
    /// Rounds; medians are reported
    #[arg(short, long, default_value_t = 3, value_parser = count_from_1)]
    repeat: usize,
    /// Write the figures to this file, too, every round's and the medians
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(args: &LoadArgs) -> Result<()> {
    let prompts = Arc::new(prompts::load(args.prompts.as_deref(), BuiltIn::Bench)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows = runtime.block_on(row::rows(&args.url, args.api_key.as_deref()))?;
    for row in rows.iter().filter(|row| row.speculative != Some(true)) {
        tell!("{} prompts to warm {} up", prompts.len(), row.name);
        runtime.block_on(row.warm_up(&prompts))?;
    }
    let (mut lines, mut records, mut texts) = (Vec::new(), Vec::new(), Texts::default());
    for &streams in &args.streams {
        let measured = runtime.block_on(measure(&rows, &prompts, streams, args, &mut texts))?;
        for (row, rounds) in rows.iter().zip(&measured) {
            let median = Figures::median(rounds);
            lines.push(median.cells(streams, &row.name));
            records.push(json!({
                "streams": streams, "row": row.name, "median": median, "rounds": rounds,
            }));
        }
    }
    table::print(&Figures::HEAD, &lines);
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&records)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The figures of each row at so many streams, round by round.
async fn measure(
    rows: &[Row],
    prompts: &Arc<Vec<Prompt>>,
    streams: usize,
    args: &LoadArgs,
    texts: &mut Texts,
) -> Result<Vec<Vec<Figures>>> {
    let mut measured: Vec<Vec<Figures>> = rows.iter().map(|_| Vec::new()).collect();
    for round in 0..args.repeat {
        for nth in 0..rows.len() {
            let at = (round + nth) % rows.len();
            let row = &rows[at];
            tell!("{streams} streams, round {}: {}", round + 1, row.name);
            let (time, heard) = drive(row, prompts, streams, args).await?;
            texts.compare(row, &heard)?;
            measured[at].push(Figures::new(&heard, time));
        }
        let first = measured[0][round];
        for figures in &mut measured {
            figures[round] = figures[round].beside(&first);
        }
    }
    Ok(measured)
}

/// The texts of Echo's own answers, by server and prompt: drafted or not, they are the same.
#[derive(Default)]
struct Texts(HashMap<(usize, usize), String>);

impl Texts {
    fn compare(&mut self, row: &Row, heard: &[Heard]) -> Result<()> {
        if row.speculative.is_none() {
            return Ok(());
        }
        for Heard { prompt, text, .. } in heard {
            let known = self.0.entry((row.server, *prompt)).or_insert_with(|| text.clone());
            if known != text {
                bail!("prompt {prompt} was answered {known:?} and {text:?}; please report this");
            }
        }
        Ok(())
    }
}

/// Keeps `streams` streams going for the time, and returns it with what was heard.
async fn drive(
    row: &Row,
    prompts: &Arc<Vec<Prompt>>,
    streams: usize,
    args: &LoadArgs,
) -> Result<(Duration, Vec<Heard>)> {
    let (start, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let (time, max_tokens) = (args.seconds, args.max_tokens);
    let mut clients = JoinSet::new();
    for _ in 0..streams {
        let (row, prompts, next) = (row.clone(), prompts.clone(), next.clone());
        clients.spawn(async move {
            let mut heard = Vec::new();
            loop {
                let prompt = next.fetch_add(1, Ordering::Relaxed) % prompts.len();
                heard.push(row.ask(&prompts[prompt], prompt, max_tokens).await?);
                if start.elapsed() >= time {
                    return anyhow::Ok(heard);
                }
            }
        });
    }
    let mut heard = Vec::new();
    while let Some(client) = clients.join_next().await {
        heard.extend(client??);
    }
    Ok((start.elapsed(), heard))
}
