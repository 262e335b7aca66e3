//! The report: machine, build, settings, every repetition.

use super::Plan;
use super::decoded::Decoded;
use super::forward::Forward;
use super::host::Host;
use super::html;
use super::kernels::Shares;
use super::peer::Compared;
use crate::engine_args::EngineArgs;
use crate::loading::Loading;
use crate::setup::Loaded;
use crate::{doctor, model};
use anyhow::{Context, Result};
use echo_gate::CalibrationFile;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Serialize)]
pub(crate) struct Report {
    /// Of this layout.
    version: u32,
    /// Seconds since 1970.
    time: u64,
    commit: String,
    machine: String,
    threads: usize,
    backend: &'static str,
    device: String,
    model: String,
    drafter: String,
    prompts: usize,
    max_tokens: usize,
    temperature: f32,
    rows: Vec<(String, &'static str)>,
    pub(crate) host: Vec<Host>,
    pub(crate) loading: Option<Loading>,
    pub(crate) forward: Vec<Forward>,
    pub(crate) shares: Vec<Shares>,
    pub(crate) decode: Vec<Decoded>,
    pub(crate) peer: Vec<Compared>,
    /// What was learnt of the drafter, for the page.
    #[serde(skip)]
    pub(crate) calibration: Option<CalibrationFile>,
    /// A drawing of one step's super-tree.
    pub(crate) tree: Option<String>,
}

impl Report {
    pub(crate) fn new(args: &EngineArgs, loaded: &Loaded, plan: &Plan) -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Report {
            version: 1,
            time,
            commit: commit(),
            machine: doctor::machine(),
            threads: loaded.threads,
            backend: loaded.backend,
            device: loaded.device.clone(),
            model: model::short_name(&loaded.path),
            drafter: args.drafter.clone(),
            prompts: plan.prompts,
            max_tokens: plan.max_tokens,
            temperature: plan.temperature,
            rows: plan.rows.iter().map(|row| (row.name.clone(), row.about)).collect(),
            host: Vec::new(),
            loading: None,
            forward: Vec::new(),
            shares: Vec::new(),
            decode: Vec::new(),
            peer: Vec::new(),
            calibration: None,
            tree: None,
        }
    }

    /// Takes over what `plan` has come down to.
    pub(crate) fn take(&mut self, plan: &Plan) {
        (self.prompts, self.max_tokens) = (plan.prompts, plan.max_tokens);
    }

    /// Prints what is measured, and where.
    pub(crate) fn print_head(&self) {
        println!("{}; {}: {}", self.machine, self.backend, self.device);
        println!(
            "{}, {} drafter, {} prompts, commit {}",
            self.model, self.drafter, self.prompts, self.commit
        );
    }

    /// The same in one line.
    pub(crate) fn about(&self) -> String {
        format!(
            "{}; {}: {}; {}, {} drafter, {} prompts of {} tokens at temperature \
             {}, commit {}",
            self.machine,
            self.backend,
            self.device,
            self.model,
            self.drafter,
            self.prompts,
            self.max_tokens,
            self.temperature,
            self.commit,
        )
    }

    /// Prints what the weights took.
    pub(crate) fn print_loading(&self) {
        if let Some(loading) = self.loading {
            println!("\nload: {loading}");
        }
    }

    /// Writes the report into `folder`, as JSON and as a page, and returns the page's path.
    pub(crate) fn write(&self, folder: &Path) -> Result<PathBuf> {
        let failed = || format!("writing the report to {}", folder.display());
        std::fs::create_dir_all(folder).with_context(failed)?;
        let path = folder.join(format!("{}-{}.json", self.time, self.commit));
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(&path, json).with_context(failed)?;
        let page = path.with_extension("html");
        std::fs::write(&page, html::page(self)?).with_context(failed)?;
        Ok(page)
    }
}

/// The commit that is checked out, if git knows; `unknown` otherwise.
fn commit() -> String {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let known = output.ok().filter(|o| o.status.success());
    let text = known.and_then(|o| String::from_utf8(o.stdout).ok());
    text.map_or_else(|| "unknown".into(), |t| t.trim().to_owned())
}
