//! The heads that come with the program.

use crate::model;
use anyhow::Result;
use echo_model::eagle::Head;
use std::path::Path;

const MODEL: &str = "smollm2-135m-instruct-q4_1";
const CONFIG: &str = include_str!("../../heads/smollm2-135m-instruct/config.json");
const TENSORS: &[u8] = include_bytes!("../../heads/smollm2-135m-instruct/model.safetensors");

/// The head for the model at `path`, if one comes with the program.
pub(crate) fn for_model(path: &Path) -> Result<Option<Head>> {
    if model::short_name(path) != MODEL {
        return Ok(None);
    }
    Ok(Some(Head::built_in("the head of the default model", CONFIG, TENSORS)?))
}
