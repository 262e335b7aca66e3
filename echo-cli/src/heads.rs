//! The heads that come with the program.

use crate::model;
use anyhow::Result;
use echo_gate::CalibrationFile;
use echo_model::eagle::Head;
use std::path::Path;

const MODEL: &str = "smollm2-135m-instruct-q4_1";
const CONFIG: &str = include_str!("../../heads/smollm2-135m-instruct/config.json");
const TENSORS: &[u8] = include_bytes!("../../heads/smollm2-135m-instruct/model.safetensors");

const CALIBRATION: &str = include_str!("../../heads/smollm2-135m-instruct/calibration.json");

const LOOK_UP: &str = include_str!("../../heads/smollm2-135m-instruct/look-up.json");

/// What was learnt of that head together with the look-up drafter, for the model at `path`.
pub(crate) fn calibration(path: &Path) -> Result<Option<CalibrationFile>> {
    if model::short_name(path) != MODEL {
        return Ok(None);
    }
    Ok(Some(CalibrationFile::from_json(CALIBRATION)?))
}

/// What was learnt of look-up alone, for the model at `path`.
pub(crate) fn look_up_calibration(path: &Path) -> Result<Option<CalibrationFile>> {
    if model::short_name(path) != MODEL {
        return Ok(None);
    }
    Ok(Some(CalibrationFile::from_json(LOOK_UP)?))
}

/// The head for the model at `path`, if one comes with the program.
pub(crate) fn for_model(path: &Path) -> Result<Option<Head>> {
    if model::short_name(path) != MODEL {
        return Ok(None);
    }
    Ok(Some(Head::built_in("the head of the default model", CONFIG, TENSORS)?))
}
