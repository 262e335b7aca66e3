//! Where tests find the default model, and what happens when it is not there.

use std::path::PathBuf;

const DEFAULT_MODEL: &str = "smollm2-135m-instruct-q4_1.gguf";

/// The default model's file. Without it the caller skips, which is printed; where `ECHO_REQUIRE`
/// names `model`, a missing file fails instead.
pub(crate) fn default_model(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ECHO_MODEL_DIR").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
        Some(cache?.join("echo/models"))
    });
    let file = folder.map(|folder| folder.join(DEFAULT_MODEL)).filter(|file| file.is_file());
    if file.is_none() {
        let required = std::env::var("ECHO_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|name| name.trim() == "model"),
            "{test}: {DEFAULT_MODEL} is required and not there; run `cargo xtask fetch`"
        );
        eprintln!("skipped: {test}: {DEFAULT_MODEL} is not there; run `cargo xtask fetch`");
    }
    file
}
