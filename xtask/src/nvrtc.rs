//! NVIDIA's run-time compiler in a private folder, from the Python package index.
//!
//! The sources of the CUDA kernels are compiled with it where no toolkit and no device are: the
//! compiler alone is a library of its own.

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zip::ZipArchive;

use crate::Outcome;
use crate::cargo::{root, run as run_command};

/// Images of CUDA 12 run on its drivers and on all later ones; those of 13 only on the latter. The
/// first version that knows all architectures of the checks is enough.
const PACKAGE: &str = "nvidia-cuda-nvrtc-cu12==12.8.*";
/// The name under which the library is asked for.
const LIBRARY: &str = "libnvrtc.so";

/// The folder that holds `libnvrtc.so`; fetches it if it is not there.
pub(crate) fn folder() -> Outcome<PathBuf> {
    let folder = root().join("target").join("nvrtc-12.8");
    if folder.join(LIBRARY).exists() {
        return Ok(folder);
    }
    let staging = root().join("target").join(format!(".nvrtc-{}", std::process::id()));
    let fetched = fs::create_dir_all(&staging)
        .map_err(Into::into)
        .and_then(|()| fetch(&staging))
        .and_then(|()| Ok(fs::rename(&staging, &folder)?));
    if let Err(error) = fetched {
        let _ = fs::remove_dir_all(&staging);
        return Err(format!("cannot fetch NVIDIA's run-time compiler: {error}").into());
    }
    println!("nvrtc: NVIDIA's run-time compiler is at {}", folder.display());
    Ok(folder)
}

/// The variables under which a program finds the compiler, and a test may not do without it.
pub(crate) fn environment() -> Outcome<[(&'static str, OsString); 2]> {
    let mut folders = vec![folder()?];
    folders.extend(env::var_os("LD_LIBRARY_PATH").iter().flat_map(env::split_paths));
    Ok([("LD_LIBRARY_PATH", env::join_paths(folders)?), ("ECHO_REQUIRE", "nvrtc".into())])
}

fn fetch(staging: &Path) -> Outcome {
    let wheels = staging.join("wheel");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"])
        .args(["--no-input", "--disable-pip-version-check", "--dest"])
        .arg(&wheels)
        .arg(PACKAGE)
        .stdin(Stdio::null());
    run_command(&mut pip)?;
    let wheel = fs::read_dir(&wheels)?.next().ok_or("pip says nothing and brings nothing")??;
    unpack(&wheel.path(), staging)?;
    Ok(fs::remove_dir_all(wheels)?)
}

/// Puts the libraries of `wheel` into `folder`, the compiler also under its plain name.
fn unpack(wheel: &Path, folder: &Path) -> Outcome {
    let mut archive = ZipArchive::new(BufReader::new(File::open(wheel)?))?;
    let libraries: Vec<String> = archive
        .file_names()
        .filter_map(Result::ok)
        .map(Cow::into_owned)
        .filter(|name| name.contains(".so.") && !name.contains(".alt."))
        .collect();
    let mut found = false;
    for inside in libraries {
        let name = inside.rsplit('/').next().unwrap_or_default();
        io::copy(&mut archive.by_name(&inside)?, &mut File::create(folder.join(name))?)?;
        if name.starts_with("libnvrtc.so.") {
            fs::hard_link(folder.join(name), folder.join(LIBRARY))?;
            found = true;
        }
    }
    if found { Ok(()) } else { Err(format!("{} holds no {LIBRARY}", wheel.display()).into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    fn wheel(folder: &Path, names: &[&str]) -> PathBuf {
        let path = folder.join("a.whl");
        let mut zip = ZipWriter::new(File::create(&path).expect("made"));
        for name in names {
            zip.start_file(*name, SimpleFileOptions::default()).expect("begun");
            zip.write_all(name.as_bytes()).expect("written");
        }
        zip.finish().expect("closed");
        path
    }

    #[test]
    fn libraries_come_out_of_the_wheel_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = ["n/lib/libnvrtc.so.13", "n/lib/libnvrtc.alt.so.13", "n/include/nvrtc.h"];
        let wheel = wheel(folder.path(), &names);
        let out = folder.path().join("out");
        fs::create_dir(&out).expect("made");
        unpack(&wheel, &out).expect("unpacked");
        assert_eq!(fs::read(out.join(LIBRARY)).expect("there"), names[0].as_bytes());
        assert_eq!(fs::read_dir(&out).expect("listed").count(), 2);
    }

    #[test]
    fn a_wheel_of_something_else_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let wheel = wheel(folder.path(), &["n/readme.txt"]);
        assert!(unpack(&wheel, folder.path()).is_err());
    }
}
