//! A target and the drafters that draft for it, loaded once and lent to engines in turn.

use crate::heads;
use crate::maps::{Maps, calibrated};
use crate::registry;
use crate::setup::{self, Loaded};
use crate::times::{Times, stamp};
use anyhow::{Context, Result, bail};
use echo_core::{Drafter, Limits, Target};
use echo_gate::CalibrationFile;
use echo_model::eagle::EagleDrafter;
use echo_model::hybrid::HybridDrafter;
use echo_model::llama::LlamaTarget;
use echo_model::ngram::{NgramDrafter, NgramOptions};
use echo_runtime::{NoDraft, Parts, Profile, profile, profile_draft};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DRAFTERS: [&str; 6] =
    ["auto", "none", "ngram", "eagle", "eagle:FOLDER", "hybrid (eagle and ngram)"];

/// What timing forwards, or draft passes, may take at a time before the first request.
const BUDGET: Duration = Duration::from_secs(1);

/// After a drafter's name: its head proposes to requests that sample without their noise.
pub(crate) const UNALIGNED: &str = "+unaligned";

/// What an engine is made of and a bench makes many engines of.
pub(crate) struct Team {
    target: Option<Box<dyn Target>>,
    drafters: BTreeMap<String, Member>,
    /// What its times depend on.
    fingerprint: String,
    /// Numbers of rows that smaller forwards are padded to.
    tiers: &'static [usize],
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
        Team::with(loaded, limits, names, |name| heads::calibration(name, loaded))
    }

    /// The same with drafters whose proposals are taken at their word.
    pub(crate) fn uncalibrated<'a>(
        loaded: &Loaded,
        limits: &Limits,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Team> {
        Team::with(loaded, limits, names, |_| Ok(None))
    }

    fn with<'a>(
        loaded: &Loaded,
        limits: &Limits,
        names: impl IntoIterator<Item = &'a str>,
        calibration: impl Fn(&str) -> Result<Option<CalibrationFile>>,
    ) -> Result<Team> {
        let mut target = loaded.llama(limits)?;
        let mut drafters = BTreeMap::new();
        for name in names {
            if !drafters.contains_key(name) {
                let calibration = calibration(name)?;
                let maps = calibration.as_ref().map(Maps::of).unwrap_or_default();
                let drafter = Some(drafter(name, loaded, &mut target, limits, maps)?);
                drafters.insert(name.to_owned(), Member { drafter, calibration });
            }
        }
        let fingerprint = loaded.fingerprint.clone();
        let tiers = loaded.tiers();
        Ok(Team { target: Some(Box::new(target)), drafters, fingerprint, tiers })
    }

    /// Joins two drafters to the one called `name`; their proposals are worth what the maps say.
    pub(crate) fn join(
        &mut self,
        name: &str,
        [head, look_up]: [&str; 2],
        limits: &Limits,
        maps: Maps<'_>,
    ) {
        let mut take = |name: &str| {
            let drafter = self.drafters.remove(name).and_then(|member| member.drafter);
            drafter.expect("the drafter was loaded and no engine has it")
        };
        let drafter = Some(hybrid([take(head), take(look_up)], limits, maps));
        self.drafters.insert(name.to_owned(), Member { drafter, calibration: None });
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

    /// Times of the target and the drafter called `name`, kept from start to start.
    pub(crate) fn times(&mut self, name: &str, limits: &Limits) -> Result<Times> {
        let head = name.split_once(':').map(|(_, folder)| stamp(Path::new(folder)));
        let head = head.unwrap_or_default();
        let fingerprint = format!("{}; {name} {head}; {limits:?}", self.fingerprint);
        Times::known(&fingerprint, || {
            // Twice each in turn: a slow moment of the machine makes neither dear by itself.
            let (tiers, mut times) = (self.tiers, Times::default());
            for _ in 0..2 {
                times.verify.extend(setup::measure(self.target(), limits, tiers, 2, BUDGET)?);
                times.draft.extend(self.profile_draft(name, limits, 2, BUDGET)?);
            }
            Ok(times)
        })
    }

    /// Times draft passes of the drafter called `name`.
    pub(crate) fn profile_draft(
        &mut self,
        name: &str,
        limits: &Limits,
        repeats: usize,
        budget: Duration,
    ) -> Result<Vec<Profile>> {
        let seqs = [1, 2, 4, 8, 16, 32, 64];
        let (target, drafter) = self.pair(name)?;
        Ok(profile_draft(target, drafter, limits, &seqs, repeats, budget)?)
    }

    /// Runs whatever a step hands to the device, once at least.
    pub(crate) fn rehearse(&mut self, name: &str, limits: &Limits) -> Result<()> {
        let (target, drafter) = self.pair(name)?;
        profile(target, limits, &[1], &[1], 1)?;
        let drafted = profile_draft(target, drafter, limits, &[1], 1, Duration::ZERO)?;
        if drafted.is_empty() && limits.depth_max > 0 && name != "none" {
            bail!("--context and --kv-slots are too small to draft; raise them, or --depth 0");
        }
        Ok(())
    }

    fn pair(&mut self, name: &str) -> Result<(&mut dyn Target, &mut dyn Drafter)> {
        let drafter = self.drafters.get_mut(name).and_then(|member| member.drafter.as_mut());
        match (self.target.as_mut(), drafter) {
            (Some(target), Some(drafter)) => Ok((target.as_mut(), drafter.as_mut())),
            _ => bail!("the drafter `{name}` is in use"),
        }
    }

    /// Numbers of rows that smaller forwards are padded to; none if they are run as they are.
    pub(crate) fn tiers(&self) -> &'static [usize] {
        self.tiers
    }
}

/// The drafter that `name` means.
fn drafter(
    name: &str,
    loaded: &Loaded,
    target: &mut LlamaTarget,
    limits: &Limits,
    maps: Maps<'_>,
) -> Result<Box<dyn Drafter>> {
    let ngram = || Box::new(NgramDrafter::new(NgramOptions::usual(), limits));
    let head = heads::of_drafter(name, &loaded.path)?;
    let (name, is_aligned) = name.strip_suffix(UNALIGNED).map_or((name, true), |n| (n, false));
    let (name, path) = name.split_once(':').map_or((name, None), |(n, p)| (n, Some(p)));
    match (name, path) {
        ("none" | "ngram", None) if !is_aligned => {
            bail!("drafter `{name}{UNALIGNED}`: only a head is aligned; name one, or `{name}`")
        }
        ("none", None) => return Ok(Box::new(NoDraft)),
        ("ngram", None) => return Ok(ngram()),
        ("auto", None) if head.is_none() => return Ok(ngram()),
        ("auto", None) | ("eagle" | "hybrid", _) => {}
        _ => return Err(registry::unknown("drafter", name, &DRAFTERS)),
    }
    let head = head.with_context(|| {
        format!("no head is known for {}; name one: {name}:FOLDER", loaded.path.display())
    })?;
    let kernels = Arc::clone(&loaded.kernels);
    let eagle = EagleDrafter::new(kernels, &head, target, &loaded.checkpoint, limits)
        .with_context(|| format!("loading {}", head.path().display()))?;
    let eagle = if is_aligned { eagle } else { eagle.unaligned() };
    if name == "eagle" {
        return Ok(Box::new(eagle));
    }
    Ok(hybrid([Box::new(eagle), ngram()], limits, maps))
}

/// A head and a look-up in one.
fn hybrid(
    [head, look_up]: [Box<dyn Drafter>; 2],
    limits: &Limits,
    maps: Maps<'_>,
) -> Box<dyn Drafter> {
    let head = calibrated(head, maps.of_half(|known| &known.head));
    let look_up = calibrated(look_up, maps.of_half(|known| &known.look_up));
    Box::new(HybridDrafter::new(head, look_up, limits))
}

/// The two drafters that the one called `name` is made of, if it is.
pub(crate) fn halves(name: &str, loaded: &Loaded) -> Result<Option<[String; 2]>> {
    let head = match name.split_once(':') {
        Some(("hybrid", folder)) => format!("eagle:{folder}"),
        None if name == "hybrid" => "eagle".to_owned(),
        None if name == "auto" && heads::of_drafter(name, &loaded.path)?.is_some() => {
            "eagle".to_owned()
        }
        _ => return Ok(None),
    };
    Ok(Some([head, "ngram".to_owned()]))
}
