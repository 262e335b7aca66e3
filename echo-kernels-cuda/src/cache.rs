//! Images on disk, so that only the first start compiles.
//!
//! A file is named after what it was made of: the source with its headers and options, the
//! architecture, the compiler's version. It begins with the checksum of the rest, so a damaged file
//! is no image and is made anew. Without a compiler any version's image of the same source serves.

use crate::source::{HEADERS, OPTIONS, Source};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

const CHECKSUM: usize = 32;

/// A folder of images.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The images in `folder`, which is made when there is something to put into it.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Cache { folder: folder.into() }
    }

    /// The image of `source` for `arch` by the compiler `version`, if it is there and sound.
    pub fn find(&self, source: &Source, arch: &str, version: &str) -> Option<Vec<u8>> {
        read(&self.folder.join(name(source, arch, version)))
    }

    /// The image of `source` for `arch` by any compiler.
    pub fn find_any(&self, source: &Source, arch: &str) -> Option<Vec<u8>> {
        let begin = name(source, arch, "");
        let begin = begin.trim_end_matches(".cubin");
        let mut found: Vec<PathBuf> = fs::read_dir(&self.folder)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(begin)))
            .collect();
        found.sort_unstable();
        found.iter().rev().find_map(|path| read(path))
    }

    /// Keeps an image. The cache is a convenience: a full or forbidden disk is no failure.
    pub fn keep(&self, source: &Source, arch: &str, version: &str, cubin: &[u8]) {
        let name = name(source, arch, version);
        let staging = self.folder.join(format!(".{name}-{}", std::process::id()));
        let content = [&Sha256::digest(cubin)[..], cubin].concat();
        // Renamed when whole, so that nobody reads half a file.
        let kept = fs::create_dir_all(&self.folder)
            .and_then(|()| fs::write(&staging, content))
            .and_then(|()| fs::rename(&staging, self.folder.join(name)));
        if kept.is_err() {
            let _ = fs::remove_file(staging);
        }
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let content = fs::read(path).ok()?;
    let (checksum, cubin) = content.split_at_checked(CHECKSUM)?;
    (Sha256::digest(cubin)[..] == *checksum).then(|| cubin.to_vec())
}

/// `linear-sm_90-0123456789abcdef-13.0.cubin`.
fn name(source: &Source, arch: &str, version: &str) -> String {
    let mut made_of = Sha256::new();
    let headers = HEADERS.iter().flat_map(|(name, text)| [*name, *text]);
    for part in [source.text].into_iter().chain(headers).chain(OPTIONS.iter().copied()) {
        made_of.update(part.len().to_le_bytes());
        made_of.update(part);
    }
    let digest = made_of.finalize();
    let digest = digest.iter().take(8).fold(0, |all: u64, &byte| all << 8 | u64::from(byte));
    format!("{}-{arch}-{digest:016x}-{version}.cubin", source.stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SOURCES;

    #[test]
    fn what_was_kept_is_found_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("images"));
        let [first, second] = [&SOURCES[0], &SOURCES[1]];
        assert_eq!(cache.find(first, "sm_90", "13.0"), None);
        cache.keep(first, "sm_90", "13.0", b"image");
        assert_eq!(cache.find(first, "sm_90", "13.0").as_deref(), Some(&b"image"[..]));
        assert_eq!(cache.find(first, "sm_80", "13.0"), None);
        assert_eq!(cache.find(first, "sm_90", "12.9"), None);
        assert_eq!(cache.find(second, "sm_90", "13.0"), None);
        let changed = Source { text: "// other", ..*first };
        assert_eq!(cache.find(&changed, "sm_90", "13.0"), None);
        assert_eq!(cache.find_any(first, "sm_90").as_deref(), Some(&b"image"[..]));
        assert_eq!(cache.find_any(&changed, "sm_90"), None);
    }

    #[test]
    fn a_damaged_image_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        cache.keep(&SOURCES[0], "sm_90", "13.0", b"image");
        let path = folder.path().join(name(&SOURCES[0], "sm_90", "13.0"));
        for damaged in [&b""[..], b"short", &[0; 40]] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(cache.find(&SOURCES[0], "sm_90", "13.0"), None);
        }
        cache.keep(&SOURCES[0], "sm_90", "13.0", b"image");
        assert!(cache.find(&SOURCES[0], "sm_90", "13.0").is_some());
    }

    #[test]
    fn a_folder_that_cannot_be_is_no_failure() {
        let file = tempfile::NamedTempFile::new().unwrap();
        Cache::new(file.path()).keep(&SOURCES[0], "sm_90", "13.0", b"image");
    }
}
