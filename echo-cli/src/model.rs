//! Where model files lie.

use anyhow::{Result, bail};
use std::env;
use std::path::{Path, PathBuf};

/// File name of the default model.
pub(crate) const DEFAULT_FILE: &str = "smollm2-135m-instruct-q4_1.gguf";

/// Turns what the user gave into a path: `default` is the model that `cargo xtask fetch` put into
/// the cache folder, anything else a path.
pub(crate) fn locate(model: &str) -> Result<PathBuf> {
    let path = if model == "default" { default_path()? } else { PathBuf::from(model) };
    if path.exists() {
        return Ok(path);
    }
    if model == "default" {
        bail!(
            "the default model is not at {}; fetch it with `cargo xtask fetch`, or name another \
             with --model PATH",
            path.display()
        );
    }
    bail!(
        "{}: no such file or folder; give a .gguf file or a folder of safetensors",
        path.display()
    )
}

/// Where the default model lies, whether it is there or not.
pub(crate) fn default_path() -> Result<PathBuf> {
    Ok(folder()?.join(DEFAULT_FILE))
}

/// `$ECHO_MODEL_DIR`, or `echo/models` in the user's cache folder.
fn folder() -> Result<PathBuf> {
    match set("ECHO_MODEL_DIR") {
        Some(folder) => Ok(folder),
        None => Ok(cache_folder()?.join("models")),
    }
}

/// `echo` in the user's cache folder.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let home = || set("HOME").map(|home| home.join(".cache"));
    match set("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(home) {
        Some(cache) => Ok(cache.join("echo")),
        None => bail!("neither ECHO_MODEL_DIR nor HOME is set; set ECHO_MODEL_DIR to a folder"),
    }
}

/// A variable of the environment that says something.
fn set(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A short name: that of the folder, or of the file without `.gguf` or `.jsonl`.
pub(crate) fn short_name(path: &Path) -> String {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
        return path.display().to_string();
    };
    let short = [".gguf", ".jsonl"].iter().find_map(|ending| name.strip_suffix(ending));
    short.unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_dots_keeps_its_name() {
        let name = |path: &str| short_name(Path::new(path));
        assert_eq!(name("models/Llama-3.2-1B-Instruct/"), "Llama-3.2-1B-Instruct");
        assert_eq!(name("models/qwen3-0.6b-q8_0.gguf"), "qwen3-0.6b-q8_0");
        assert_eq!(name("mt_bench.jsonl"), "mt_bench");
        assert_eq!(name(".."), "..");
    }
}
