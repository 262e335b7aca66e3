//! The folder that holds models, and the staging folder a download grows in.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::fault::Fault;

/// Staging folders are `.fetch-` and the id of the process that fills them.
const STAGING: &str = ".fetch-";

/// `$ECHO_MODEL_DIR`, else `echo/models` in the user's cache folder.
pub(super) fn folder() -> Result<PathBuf, Fault> {
    choose(env::var_os("ECHO_MODEL_DIR"), env::var_os("XDG_CACHE_HOME"), env::home_dir())
        .ok_or(Fault::NoCache)
}

/// A relative `XDG_CACHE_HOME` is ignored, as its specification says; a relative `ECHO_MODEL_DIR`
/// is meant from where the user stands.
fn choose(
    own: Option<OsString>,
    cache: Option<OsString>,
    home: Option<PathBuf>,
) -> Option<PathBuf> {
    if let Some(own) = own.filter(|own| !own.is_empty()) {
        return std::path::absolute(own).ok();
    }
    let cache = cache
        .map(PathBuf::from)
        .filter(|cache| cache.is_absolute())
        .or_else(|| home.map(|home| home.join(".cache")))?;
    Some(cache.join("echo").join("models"))
}

/// A folder of its own inside the cache, so that the last move is a rename on one disk. It goes
/// when dropped; one left by a process that was killed goes when the next is made.
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
}

impl Staging {
    pub(super) fn new(cache: &Path) -> Result<Self, Fault> {
        let made = |error| Fault::io(format!("make {}", cache.display()), cache, error);
        fs::create_dir_all(cache).map_err(made)?;
        sweep(cache);
        let path = cache.join(format!("{STAGING}{}", std::process::id()));
        fs::create_dir_all(&path).map_err(made)?;
        Ok(Staging { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next download.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Bytes of all files below `folder`; what vanishes meanwhile counts nothing.
pub(super) fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Removes staging folders whose process is gone.
fn sweep(cache: &Path) {
    let Ok(entries) = fs::read_dir(cache) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(STAGING));
        if id.is_some_and(|id| !is_running(id)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Where that cannot be asked, the process counts as running: a leftover is better than a loss.
fn is_running(process: &str) -> bool {
    Command::new("kill")
        .args(["-0", process])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_or(true, |status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(own: &str, cache: &str, home: &str, expected: Option<&str>) {
        let text = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
        let chosen = choose(Some(own.into()), text(cache), text(home).map(PathBuf::from));
        assert_eq!(chosen, expected.map(PathBuf::from));
    }

    #[test]
    fn the_own_variable_wins_then_the_cache_then_home() {
        check("/a", "/b", "/c", Some("/a"));
        check("", "/b", "/c", Some("/b/echo/models"));
        check("", "", "/c", Some("/c/.cache/echo/models"));
        check("", "relative", "/c", Some("/c/.cache/echo/models"));
        check("", "", "", None);
    }

    #[cfg(unix)]
    #[test]
    fn a_dead_download_is_swept_and_a_living_one_kept() {
        let cache = tempfile::tempdir().expect("a folder");
        // Ids are far below this number on every system.
        let dead = cache.path().join(format!("{STAGING}999999999"));
        let init = cache.path().join(format!("{STAGING}{}", std::process::id()));
        fs::create_dir_all(&dead).expect("made");
        fs::create_dir_all(&init).expect("made");
        fs::write(init.join("part"), [0; 7]).expect("written");
        sweep(cache.path());
        assert!(!dead.exists() && init.exists());
        assert_eq!(bytes_below(cache.path()), 7);

        let staging = Staging::new(cache.path()).expect("made");
        assert!(staging.path().exists());
        drop(staging);
        assert!(!init.exists(), "the folder goes with its guard");
    }
}
