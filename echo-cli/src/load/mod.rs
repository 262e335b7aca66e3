//! `echo-llm load`: how fast a server answers, at several numbers of streams.
//!
//! Closed loop: as many streams as asked for run at once, and whoever ends begins the next. The
//! rows of one number of streams are measured in turn, so that they see the same machine.

mod client;
mod figures;

use crate::bench::prompts::{self, Prompt};
use crate::bench::table;
use anyhow::{Result, bail};
use clap::Args;
use client::{Endpoint, Heard};
use figures::Figures;
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// Address of a running `echo-llm serve`
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: String,
    /// Another server with OpenAI's routes, measured in turn: `NAME=URL`
    #[arg(long, value_name = "NAME=URL")]
    peer: Vec<String>,
    /// Key to send
    #[arg(long)]
    api_key: Option<String>,
    /// Streams at once
    #[arg(short, long, value_delimiter = ',', default_values_t = [1, 8, 32, 64])]
    streams: Vec<usize>,
    /// Questions, one JSON object a line; the built-in set if not given
    #[arg(long)]
    prompts: Option<PathBuf>,
    /// Tokens of each answer at most
    #[arg(short = 'n', long, default_value_t = 32)]
    max_tokens: usize,
    /// Seconds of each measurement; answers that were begun are waited for
    #[arg(long, default_value_t = 5.0)]
    seconds: f32,
    /// Measurements of each row; medians are reported
    #[arg(short, long, default_value_t = 1)]
    repeat: usize,
}

/// What is measured: a server, and whether it may draft.
struct Row {
    name: String,
    endpoint: Endpoint,
    speculative: Option<bool>,
}

pub(crate) fn run(args: &LoadArgs) -> Result<()> {
    if args.streams.contains(&0) || args.repeat == 0 {
        bail!("--streams and --repeat must be 1 or more");
    }
    let prompts = Arc::new(prompts::load(args.prompts.as_deref())?);
    let own = Endpoint::new(&args.url, args.api_key.as_deref())?;
    let mut rows = vec![
        Row { name: "plain".into(), endpoint: own.clone(), speculative: Some(false) },
        Row { name: "auto".into(), endpoint: own, speculative: Some(true) },
    ];
    for peer in &args.peer {
        let Some((name, url)) = peer.split_once('=') else {
            bail!("--peer {peer}: want NAME=URL");
        };
        let endpoint = Endpoint::new(url, args.api_key.as_deref())?;
        rows.push(Row { name: name.to_owned(), endpoint, speculative: None });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut lines = Vec::new();
    for &streams in &args.streams {
        let mut measured: Vec<Vec<Figures>> = rows.iter().map(|_| Vec::new()).collect();
        let mut texts = Texts::default();
        for _ in 0..args.repeat {
            for (row, measured) in rows.iter().zip(&mut measured) {
                let heard = runtime.block_on(drive(row, &prompts, streams, args))?;
                if row.speculative.is_some() {
                    texts.compare(&heard.1)?;
                }
                measured.push(Figures::new(&heard.1, heard.0));
            }
        }
        for (row, measured) in rows.iter().zip(&measured) {
            lines.push(Figures::median(measured).cells(streams, &row.name));
        }
    }
    table::print(&Figures::HEAD, &lines);
    Ok(())
}

/// The texts of our own answers, by prompt: drafted or not, they are the same.
#[derive(Default)]
struct Texts(HashMap<usize, String>);

impl Texts {
    fn compare(&mut self, heard: &[Heard]) -> Result<()> {
        for Heard { prompt, text, .. } in heard {
            let known = self.0.entry(*prompt).or_insert_with(|| text.clone());
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
    let time = Duration::from_secs_f32(args.seconds);
    let mut clients = JoinSet::new();
    for _ in 0..streams {
        let (endpoint, prompts, next) = (row.endpoint.clone(), prompts.clone(), next.clone());
        let (speculative, max_tokens) = (row.speculative, args.max_tokens);
        clients.spawn(async move {
            let mut heard = Vec::new();
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                let prompt = nth % prompts.len();
                let mut body = json!({
                    "messages": [{"role": "user", "content": prompts[prompt].turns[0]}],
                    "max_tokens": max_tokens, "temperature": 0, "stream": true,
                });
                if let Some(speculative) = speculative {
                    body["speculative"] = json!(speculative);
                    body["stream_options"] = json!({"include_usage": true});
                }
                heard.push(endpoint.ask(&body, prompt).await?);
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
