//! A target and the drafters that draft for it, loaded once and lent to engines in turn.

use crate::heads;
use crate::model;
use crate::registry;
use crate::setup::Loaded;
use anyhow::{Context, Result, bail};
use echo_core::{Drafter, Limits, Target};
use echo_gate::{CalibrationFile, Fingerprint};
use echo_model::eagle::{EagleDrafter, Head};
use echo_model::hybrid::HybridDrafter;
use echo_model::llama::LlamaTarget;
use echo_model::ngram::{NgramDrafter, NgramOptions};
use echo_runtime::{NoDraft, Parts, Profile, profile_draft};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const DRAFTERS: [&str; 6] =
    ["auto", "none", "ngram", "eagle", "eagle:FOLDER", "hybrid (eagle and ngram)"];

/// What an engine is made of and a bench makes many engines of.
pub(crate) struct Team {
    target: Option<Box<dyn Target>>,
    drafters: BTreeMap<String, Member>,
}

/// A drafter, unless an engine has it, and what was learnt of it.
struct Member {
    drafter: Option<Box<dyn Drafter>>,
    calibration: Option<CalibrationFile>,
}

impl Team {
    /// Loads the target and the drafters of these names, sized for `limits`.
    pub(crate) fn load<'a>(
        loaded: &Loaded,
        limits: &Limits,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Team> {
        let mut target = loaded.llama(limits)?;
        let mut drafters = BTreeMap::new();
        for name in names {
            if !drafters.contains_key(name) {
                let drafter = Some(drafter(name, loaded, &mut target, limits)?);
                let calibration = calibration(name, loaded)?;
                drafters.insert(name.to_owned(), Member { drafter, calibration });
            }
        }
        Ok(Team { target: Some(Box::new(target)), drafters })
    }

    /// The target, while no engine has it.
    pub(crate) fn target(&mut self) -> &mut dyn Target {
        self.target.as_mut().expect("no engine has the target").as_mut()
    }

    /// The target and the drafter called `name`, until they are taken back.
    pub(crate) fn lend(&mut self, name: &str) -> (Box<dyn Target>, Box<dyn Drafter>) {
        let drafter = self.drafters.get_mut(name).and_then(|member| member.drafter.take());
        let target = self.target.take().expect("no engine has the target");
        (target, drafter.expect("the drafter was loaded and no engine has it"))
    }

    /// Gets back what an engine, now taken apart, was lent.
    pub(crate) fn take_back(&mut self, name: &str, parts: Parts) {
        self.target = Some(parts.target);
        if let Some(member) = self.drafters.get_mut(name) {
            member.drafter = Some(parts.drafter);
        }
    }

    /// What was learnt of the drafter called `name`.
    pub(crate) fn calibration(&self, name: &str) -> Option<&CalibrationFile> {
        self.drafters.get(name)?.calibration.as_ref()
    }

    /// Times draft passes of the drafter called `name`.
    pub(crate) fn profile_draft(
        &mut self,
        name: &str,
        limits: &Limits,
        repeats: usize,
    ) -> Result<Vec<Profile>> {
        let drafter = self.drafters.get_mut(name).and_then(|member| member.drafter.as_mut());
        let (Some(target), Some(drafter)) = (self.target.as_mut(), drafter) else {
            bail!("the drafter `{name}` is in use");
        };
        let seqs = [1, 2, 4, 8, 16, 32, 64];
        Ok(profile_draft(target.as_mut(), drafter.as_mut(), limits, &seqs, repeats)?)
    }
}

/// What was learnt of the drafter that `name` means: that of the program's own head, or the file
/// beside the head that is named.
fn calibration(name: &str, loaded: &Loaded) -> Result<Option<CalibrationFile>> {
    let path = match name.split_once(':') {
        Some((_, folder)) => Path::new(folder).join("calibration.json"),
        None if name == "auto" => return heads::calibration(&loaded.path),
        None => return Ok(None),
    };
    if !path.exists() {
        return Ok(None);
    }
    let read = || -> Result<CalibrationFile> {
        let file = CalibrationFile::from_json(&std::fs::read_to_string(&path)?)?;
        let running = Fingerprint {
            target: model::short_name(&loaded.path),
            drafter: name.to_owned(),
            ..file.fingerprint.clone()
        };
        file.check_fingerprint(&running)?;
        Ok(file)
    };
    Ok(Some(read().with_context(|| format!("{}", path.display()))?))
}

/// The drafter that `name` means.
fn drafter(
    name: &str,
    loaded: &Loaded,
    target: &mut LlamaTarget,
    limits: &Limits,
) -> Result<Box<dyn Drafter>> {
    let ngram = || Box::new(NgramDrafter::new(NgramOptions::usual(), limits));
    let shipped = || heads::for_model(&loaded.path);
    let (name, path) = name.split_once(':').map_or((name, None), |(n, p)| (n, Some(p)));
    let head = match (name, path) {
        ("none", None) => return Ok(Box::new(NoDraft)),
        ("ngram", None) => return Ok(ngram()),
        ("auto", None) => match shipped()? {
            Some(head) => head,
            None => return Ok(ngram()),
        },
        ("eagle" | "hybrid", Some(path)) => Head::open(Path::new(path))?,
        ("eagle" | "hybrid", None) => shipped()?.with_context(|| {
            format!("no head is known for {}; name one: {name}:FOLDER", loaded.path.display())
        })?,
        _ => return Err(registry::unknown("drafter", name, &DRAFTERS)),
    };
    let kernels = Arc::clone(&loaded.kernels);
    let eagle = EagleDrafter::new(kernels, &head, target, &loaded.checkpoint, limits)
        .with_context(|| format!("loading the head {}", head.path().display()))?;
    match name {
        "eagle" => Ok(Box::new(eagle)),
        _ => Ok(Box::new(HybridDrafter::new(Box::new(eagle), ngram(), limits))),
    }
}
