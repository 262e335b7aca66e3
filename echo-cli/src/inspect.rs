//! `echo-llm inspect`: what is in a model file or folder.

use crate::model;
use anyhow::Result;
use clap::Args;
use echo_model::inspect::{Description, describe};
use std::io::Write;

#[derive(Args)]
pub(crate) struct InspectArgs {
    /// A .gguf file, a folder of safetensors, or `default`
    #[arg(default_value = "default")]
    model: String,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &InspectArgs) -> Result<()> {
    let description = describe(&model::locate(&args.model)?)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &description)?;
        writeln!(out)?;
    } else {
        print(&mut out, &description)?;
    }
    Ok(())
}

fn print(out: &mut impl Write, d: &Description) -> std::io::Result<()> {
    let c = &d.config;
    writeln!(out, "format         {}", d.format)?;
    writeln!(out, "family         {:?}", c.family)?;
    writeln!(out, "parameters     {:.1} M", d.n_parameters as f64 / 1e6)?;
    writeln!(out, "layers         {} of width {}, ffn {}", c.n_layers, c.hidden, c.ffn)?;
    writeln!(out, "heads          {} q, {} kv, width {}", c.n_q, c.n_kv, c.head_dim)?;
    writeln!(out, "vocabulary     {}", c.vocab)?;
    writeln!(out, "context        {}, rope base {}", c.context, c.rope_base)?;
    let said = |result: &Result<String, String>| match result {
        Ok(text) => text.clone(),
        Err(why) => format!("unusable: {why}"),
    };
    writeln!(out, "tokenizer      {}", said(&d.tokenizer))?;
    let template = d.chat_template.clone().map(|there| if there { "yes" } else { "none" }.into());
    writeln!(out, "chat template  {}", said(&template))?;
    writeln!(out, "tensors")?;
    for (dtype, group) in &d.tensors {
        let (n, mb) = (group.n_tensors, group.bytes as f64 / 1e6);
        writeln!(out, "  {dtype:<12} {n:>5} tensors {mb:>10.1} MB")?;
    }
    writeln!(out, "metadata")?;
    for (key, value) in &d.metadata {
        writeln!(out, "  {key} = {value}")?;
    }
    Ok(())
}
