//! The heads of drafters and what was learnt of them: the program's own, and those in folders.

use crate::model;
use crate::setup::Loaded;
use crate::team::UNALIGNED;
use anyhow::{Context, Result};
use echo_gate::{CalibrationFile, Fingerprint};
use echo_model::eagle::Head;
use std::path::Path;

const MODEL: &str = "smollm2-135m-instruct-q4_1";
const CONFIG: &str = include_str!("../../heads/smollm2-135m-instruct/config.json");
const TENSORS: &[u8] = include_bytes!("../../heads/smollm2-135m-instruct/model.safetensors");

const CALIBRATION: &str = include_str!("../../heads/smollm2-135m-instruct/calibration.json");

const LOOK_UP: &str = include_str!("../../heads/smollm2-135m-instruct/look-up.json");

/// The head of the drafter called `name`; none if it has none, or none is known for the model.
pub(crate) fn of_drafter(name: &str, model: &Path) -> Result<Option<Head>> {
    let name = name.strip_suffix(UNALIGNED).unwrap_or(name);
    match name.split_once(':') {
        Some(("eagle" | "hybrid", folder)) => Ok(Some(Head::open(Path::new(folder))?)),
        None if matches!(name, "auto" | "eagle" | "hybrid") && is_default(model) => {
            Ok(Some(Head::built_in("the head of the default model", CONFIG, TENSORS)?))
        }
        _ => Ok(None),
    }
}

/// The checksum of that head, as calibrations write it.
pub(crate) fn checksum(name: &str, model: &Path) -> Result<Option<String>> {
    let sum = of_drafter(name, model)?.map(|head| head.checksum()).transpose()?;
    Ok(sum.map(|sum| format!("{sum:016x}")))
}

/// What was learnt of the drafter called `name`: that of the program's own head, or the file beside
/// the head that is named.
pub(crate) fn calibration(name: &str, loaded: &Loaded) -> Result<Option<CalibrationFile>> {
    let name = name.strip_suffix(UNALIGNED).unwrap_or(name);
    match name.split_once(':') {
        Some((_, folder)) => beside(name, &Path::new(folder).join("calibration.json"), loaded),
        None if !is_default(&loaded.path) => Ok(None),
        None if matches!(name, "auto" | "hybrid") => {
            Ok(Some(CalibrationFile::from_json(CALIBRATION)?))
        }
        None if name == "ngram" => Ok(Some(CalibrationFile::from_json(LOOK_UP)?)),
        None => Ok(None),
    }
}

/// The calibration at `path`, if there is one and it was made for a drafter of the kind of `name`.
fn beside(name: &str, path: &Path, loaded: &Loaded) -> Result<Option<CalibrationFile>> {
    if !path.exists() {
        return Ok(None);
    }
    let read = || -> Result<Option<CalibrationFile>> {
        let file = CalibrationFile::from_json(&std::fs::read_to_string(path)?)?;
        let target = model::short_name(&loaded.path);
        let head = checksum(name, &loaded.path)?;
        file.check_fingerprint(&Fingerprint { target, head, ..file.fingerprint.clone() })?;
        let made = [&file.fingerprint.backend, &file.fingerprint.dtype];
        if made != [loaded.backend, &loaded.activations] {
            let [backend, dtype] = made;
            let now = format!("{} ({})", loaded.backend, loaded.activations);
            tell!("{}: made on {backend} ({dtype}), used on {now}", path.display());
        }
        // It lies beside the head, whatever that folder was called when it was made.
        let kind = |drafter: &str| drafter.split(':').next().map(str::to_owned);
        let is_of_kind = kind(&file.fingerprint.drafter) == kind(name);
        if !is_of_kind {
            let made_for = &file.fingerprint.drafter;
            tell!("{}: made for `{made_for}`; `{name}` goes without", path.display());
        }
        Ok(is_of_kind.then_some(file))
    };
    read().with_context(|| format!("{}", path.display()))
}

fn is_default(model: &Path) -> bool {
    model::short_name(model) == MODEL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_with_the_program_belongs_together() {
        let model = Path::new("some/folder").join(format!("{MODEL}.gguf"));
        let file = CalibrationFile::from_json(CALIBRATION).expect("it is right");
        assert_eq!(file.fingerprint.target, MODEL);
        assert!(file.fingerprint.head.is_some());
        for name in ["auto", "hybrid", "hybrid+unaligned"] {
            assert_eq!(checksum(name, &model).expect("a head"), file.fingerprint.head, "{name}");
        }
        assert_eq!(checksum("ngram", &model).expect("no head"), None);
        let look_up = CalibrationFile::from_json(LOOK_UP).expect("it is right");
        assert_eq!((look_up.fingerprint.target.as_str(), look_up.fingerprint.head), (MODEL, None));
    }
}
