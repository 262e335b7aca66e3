//! The calibration file: what was learnt, for which models and device, as versioned JSON text.

use crate::calibrate::{Calibration, DepthCalibration, ParamsError};
use crate::isotonic::Isotonic;
use crate::paths::PathCalibration;
use serde::{Deserialize, Serialize};

/// The version this build writes and reads.
pub const VERSION: u32 = 1;

/// What a calibration holds for. Change any of it and the confidences mean something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// The target's name and revision or checksum.
    pub target: String,
    /// The drafter's, with its settings.
    pub drafter: String,
    /// A checksum of the learned head's weights. `None` without a head, and where nobody took one:
    /// such a file serves any head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Type of the target's weights.
    pub dtype: String,
    /// Backend and device.
    pub backend: String,
    /// The prompts whose rounds were graded. An engine that doesn't know its traffic takes the
    /// file's own.
    pub prompt_set: String,
}

/// A calibration with its version and fingerprint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationFile {
    version: u32,
    /// What it holds for.
    pub fingerprint: Fingerprint,
    /// What was learnt.
    pub calibration: Calibration,
    /// How often drafted paths are accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<PathCalibration>,
    /// Of a drafter that is two: what the proposals of each are worth to greedy requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposals: Option<Proposals>,
    /// The same to requests of temperature 1, whose samples are often another token than the
    /// likeliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<Proposals>,
}

/// Chance that a proposal is accepted if its parent is, by the probability its drafter gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposals {
    /// Of the learned head.
    pub head: Isotonic,
    /// Of the look-up in the text.
    pub look_up: Isotonic,
}

/// The one field of a file that every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not the JSON of a calibration; says where. Knots out of order are found here too.
    #[error("the calibration file can't be read: {0}; make it again with `echo-llm calibrate`")]
    Text(#[from] serde_json::Error),
    /// Written by another build.
    #[error(
        "the calibration file has version {found}, this build reads {VERSION}; make it again with \
         `echo-llm calibrate`"
    )]
    Version {
        /// The file's version.
        found: u32,
    },
    /// A number out of its range, or fields that contradict each other.
    #[error(
        "the calibration file is wrong at depth {depth}: {what}; make it again with `echo-llm \
         calibrate`"
    )]
    Depth {
        /// The depth at fault.
        depth: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// Parameters out of range.
    #[error("the calibration file is wrong: {0}; make it again with `echo-llm calibrate`")]
    Params(#[from] ParamsError),
    /// Made for something else.
    #[error(
        "the calibration file was made for {field} `{file}`, but this is `{running}`; calibrate \
         again with `echo-llm calibrate`, or take the file away"
    )]
    Fingerprint {
        /// The first field that differs.
        field: &'static str,
        /// What the file was made for.
        file: String,
        /// What runs.
        running: String,
    },
}

impl CalibrationFile {
    /// A file of this build's version.
    pub fn new(fingerprint: Fingerprint, calibration: Calibration) -> Self {
        CalibrationFile {
            version: VERSION,
            fingerprint,
            calibration,
            paths: None,
            proposals: None,
            sampled: None,
        }
    }

    /// The text to store. Fails as [`from_json`](Self::from_json) would on it, so that nothing is
    /// stored that can't be read.
    pub fn to_json(&self) -> Result<String, FileError> {
        self.check()?;
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads and checks a stored text.
    pub fn from_json(text: &str) -> Result<Self, FileError> {
        // The version first: another version's fields would only confuse.
        let Versioned { version } = serde_json::from_str(text)?;
        if version != VERSION {
            return Err(FileError::Version { found: version });
        }
        let file: CalibrationFile = serde_json::from_str(text)?;
        file.check()?;
        Ok(file)
    }

    /// Refuses a file made for another target, drafter, head, type, backend or prompt set.
    pub fn check_fingerprint(&self, running: &Fingerprint) -> Result<(), FileError> {
        let file = &self.fingerprint;
        let heads = [file, running].map(|of| match &file.head {
            None => "any",
            Some(_) => of.head.as_deref().unwrap_or("none"),
        });
        for (field, file, running) in [
            ("target", file.target.as_str(), running.target.as_str()),
            ("drafter", &file.drafter, &running.drafter),
            ("head", heads[0], heads[1]),
            ("dtype", &file.dtype, &running.dtype),
            ("backend", &file.backend, &running.backend),
            ("prompt set", &file.prompt_set, &running.prompt_set),
        ] {
            if file != running {
                let (file, running) = (file.to_owned(), running.to_owned());
                return Err(FileError::Fingerprint { field, file, running });
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), FileError> {
        let Calibration { params, depths } = &self.calibration;
        params.check()?;
        let ahead = self.paths.iter().flat_map(|paths| paths.ahead.iter().flatten());
        let mut shares = self.paths.iter().flat_map(|paths| &paths.reach).chain(ahead);
        if shares.any(|share| !(0.0..=1.0).contains(share)) {
            let what = "a share of rounds lies outside 0 to 1";
            return Err(FileError::Depth { depth: 0, what });
        }
        let mut above = 0;
        for known in depths {
            let depth = known.depth;
            if depth <= above {
                return Err(FileError::Depth { depth, what: "depths must ascend from 1" });
            }
            above = depth;
            fault(known).map_or(Ok(()), |what| Err(FileError::Depth { depth, what }))?;
        }
        Ok(())
    }
}

/// What is wrong with one depth, if anything.
fn fault(known: &DepthCalibration) -> Option<&'static str> {
    let is_share = |x: f32| (0.0..=1.0).contains(&x);
    let shares = [
        known.auc.map(|auc| auc.value),
        known.auc.map(|auc| auc.lower),
        known.auc.map(|auc| auc.upper),
        known.tau.map(|tau| tau.value),
        known.ece_before,
        known.ece_after,
    ];
    let points = known.roc.iter().flat_map(|p| [p.tau, p.false_rate, p.true_rate]);
    if !shares.into_iter().flatten().chain(points).all(is_share) {
        return Some("an area, rate, error or tau lies outside 0 to 1");
    }
    if known.auc.is_some_and(|auc| auc.lower > auc.upper) {
        return Some("the bounds of the area are crossed");
    }
    if known.gained > known.rounds {
        return Some("more rounds gained than there were");
    }
    if !(known.nodes_mean >= 0.0 && known.nodes_mean.is_finite()) {
        return Some("nodes_mean must be finite and not negative");
    }
    let is_complete = known.auc.is_some() && known.tau.is_some() && known.isotonic.is_some();
    if known.chosen && !is_complete {
        return Some("it is chosen but lacks its area, tau or map");
    }
    None
}
