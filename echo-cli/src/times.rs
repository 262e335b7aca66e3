//! Measured times that outlive the program, so that the next start is quick.
//!
//! They are kept in the user's cache folder, one file for each target, drafter, shape, machine and
//! build; a file made for anything else is measured again, and of many the oldest go. What cannot
//! be read or written costs a few seconds, no more: times are measured anew, and nobody is told.

use crate::model;
use anyhow::Result;
use echo_runtime::Profile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Numbers of rows below which a measurement is not worth keeping.
const SHAPES_MIN: usize = 4;
/// How far the two least times of the same rows may lie apart, for most rows, on a quiet machine.
const SPREAD_MAX: f64 = 1.2;
/// Files that are kept: each new build adds some.
const FILES_MAX: usize = 64;

/// Timed forwards and draft passes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Times {
    pub(crate) verify: Vec<Profile>,
    pub(crate) draft: Vec<Profile>,
}

/// The file: what was measured, and on what.
#[derive(Deserialize, Serialize)]
struct Stored {
    fingerprint: String,
    /// Rows, KV length, microseconds.
    verify: Vec<(usize, usize, f64)>,
    draft: Vec<(usize, usize, f64)>,
}

impl Times {
    /// The times kept for `fingerprint`, or those that `measure` takes and that are kept from then
    /// on, unless they are few or far apart: what a busy moment has cut short or bent is measured
    /// again at the next start.
    pub(crate) fn known(
        fingerprint: &str,
        measure: impl FnOnce() -> Result<Times>,
    ) -> Result<Times> {
        let Ok(folder) = model::cache_folder() else { return measure() };
        let mut hasher = DefaultHasher::new();
        fingerprint.hash(&mut hasher);
        let path = folder.join("times").join(format!("{:016x}.json", hasher.finish()));
        if let Some(times) = read(&path, fingerprint) {
            return Ok(times);
        }
        let times = measure()?;
        if times.n_shapes() >= SHAPES_MIN && times.spread() <= SPREAD_MAX {
            // A full disk or a folder of somebody else's is no reason to stop.
            let _ = write(&path, fingerprint, &times);
            prune(&folder.join("times"), FILES_MAX);
        }
        Ok(times)
    }

    /// Numbers of rows that forwards were timed for.
    fn n_shapes(&self) -> usize {
        self.verify.iter().map(|profile| profile.rows).collect::<BTreeSet<_>>().len()
    }

    /// The second least time of the same rows over the least: the median of forwards and passes
    /// that were timed twice.
    fn spread(&self) -> f64 {
        let mut spreads = Vec::new();
        for list in [&self.verify, &self.draft] {
            let mut list = list.clone();
            list.sort_by_key(|profile| (profile.rows, profile.time));
            let same = list.chunk_by(|a, b| a.rows == b.rows);
            let ratio = |of: &[Profile]| Some(of.get(1)?.time.div_duration_f64(of[0].time));
            spreads.extend(same.filter_map(ratio));
        }
        spreads.sort_by(f64::total_cmp);
        spreads.get(spreads.len() / 2).map_or(1.0, |&spread| spread)
    }
}

/// When and how long a file is, or each file of a folder: another one of its name is told by it.
pub(crate) fn stamp(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let files = std::fs::read_dir(&path).into_iter().flatten().flatten().map(|file| file.path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.is_file()).collect();
    files.sort();
    if files.is_empty() {
        files.push(path);
    }
    let of = |file: &PathBuf| {
        let about = std::fs::metadata(file).ok()?;
        let changed = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Some(format!("{} {} {:?}", file.display(), about.len(), changed.unwrap_or_default()))
    };
    files.iter().filter_map(of).collect::<Vec<_>>().join(", ")
}

fn read(path: &Path, fingerprint: &str) -> Option<Times> {
    let stored: Stored = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    let of = |list: Vec<(usize, usize, f64)>| -> Option<Vec<Profile>> {
        let profile = |(rows, kv_len, us): (usize, usize, f64)| {
            let time = Duration::try_from_secs_f64(us / 1e6).ok()?;
            (rows > 0 && time > Duration::ZERO).then_some(Profile { rows, kv_len, time })
        };
        list.into_iter().map(profile).collect()
    };
    let times = Times { verify: of(stored.verify)?, draft: of(stored.draft)? };
    (stored.fingerprint == fingerprint && !times.verify.is_empty()).then_some(times)
}

/// Written whole or not at all: another program may read it meanwhile.
fn write(path: &Path, fingerprint: &str, times: &Times) -> Result<()> {
    let of = |list: &[Profile]| {
        let us = |p: &Profile| (p.rows, p.kv_len, p.time.as_secs_f64() * 1e6);
        list.iter().map(us).collect()
    };
    let stored = Stored {
        fingerprint: fingerprint.to_owned(),
        verify: of(&times.verify),
        draft: of(&times.draft),
    };
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let part = PathBuf::from(format!("{}.{}.part", path.display(), std::process::id()));
    std::fs::write(&part, serde_json::to_string(&stored)?)?;
    Ok(std::fs::rename(&part, path)?)
}

/// Removes what was written longest ago from `folder`, until `most` files are left.
fn prune(folder: &Path, most: usize) {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let dated =
        files.filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())));
    let mut dated: Vec<_> = dated.collect();
    dated.sort();
    let n_old = dated.len().saturating_sub(most);
    dated.iter().take(n_old).for_each(|(_, path)| {
        // Another program may have been first.
        let _ = std::fs::remove_file(path);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_most_rows() {
        let of = |list: &[(usize, u64)]| {
            let profile =
                |&(rows, us)| Profile { rows, kv_len: 128, time: Duration::from_micros(us) };
            list.iter().map(profile).collect()
        };
        let verify = of(&[(1, 100), (2, 330), (1, 110), (2, 110), (1, 900), (4, 70)]);
        let times = Times { verify, draft: of(&[(1, 50), (1, 55)]) };
        assert!((times.spread() - 1.1).abs() < 1e-9, "{}", times.spread());
        assert_eq!(Times::default().spread(), 1.0);
    }

    #[test]
    fn a_file_of_a_folder_that_changed_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |text: &str| std::fs::write(folder.path().join("head"), text);
        write("one").expect("it can be written");
        let (file, before) = (stamp(&folder.path().join("head")), stamp(folder.path()));
        assert!(!before.is_empty() && file == before, "{file} {before}");
        write("longer").expect("it can be written");
        assert_ne!(stamp(folder.path()), before);
    }

    #[test]
    fn of_many_files_the_oldest_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let dated = |name: &str, day: u64| {
            let file = std::fs::File::create(folder.path().join(name)).expect("a file");
            file.set_modified(UNIX_EPOCH + Duration::from_secs(86_400 * day)).expect("a date");
        };
        for (name, day) in [("b", 2), ("d", 4), ("a", 1), ("c", 3)] {
            dated(name, day);
        }
        prune(folder.path(), 2);
        let left = ["a", "b", "c", "d"].map(|name| folder.path().join(name).exists());
        assert_eq!(left, [false, false, true, true]);
        prune(&folder.path().join("nowhere"), 2);
    }

    #[test]
    fn what_was_written_is_read_by_its_own_kind_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("times").join("x.json");
        let profile = Profile { rows: 3, kv_len: 128, time: Duration::from_micros(1500) };
        let times = Times { verify: vec![profile, profile], draft: Vec::new() };
        assert_eq!(times.n_shapes(), 1);
        write(&path, "this machine", &times).expect("it can be written");
        assert_eq!(read(&path, "this machine").as_ref(), Some(&times));
        assert_eq!(read(&path, "another"), None);
        for text in ["", "{}", "{\"fingerprint\":\"x\",\"verify\":[[0,1,-5.0]],\"draft\":[]}"] {
            std::fs::write(&path, text).expect("it can be written");
            assert_eq!(read(&path, "x"), None, "{text}");
        }
    }
}
