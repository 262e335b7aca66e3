//! A kernel's source as a library of the host: compiled by the system's C++ compiler against
//! `builtins.h`, with a bug planted if a test wants one.

use echo_kernels_cuda::source::{HEADERS, Source};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::{Mutex, PoisonError};

/// The system's C++ compiler.
const COMPILER: &str = "c++";
/// `fmaf` is one instruction where the processor has it, as on the device.
const OPTIONS: [&str; 9] = [
    "-std=c++17",
    "-O2",
    "-march=native",
    "-ffp-contract=off",
    "-fPIC",
    "-shared",
    "-Wall",
    "-Werror",
    "-Wno-unknown-pragmas",
];
/// Without AVX-512 a NaN is the same unsigned integer, 2^63, as on the device.
const OPTIONS_X86: &[&str] = if cfg!(target_arch = "x86_64") { &["-mno-avx512f"] } else { &[] };

/// The machine in software, beside this file.
const MACHINE: [(&str, &str); 3] = [
    ("emulation.h", include_str!("emulation.h")),
    ("builtins.h", include_str!("builtins.h")),
    ("launch.h", include_str!("launch.h")),
];

/// A planted bug: what is changed in the source of a kernel or in the headers it includes.
#[derive(Clone, Copy)]
pub(crate) struct Bug {
    pub(crate) stem: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

/// One thread compiles; processes do it each in a folder of their own, and the last one stays.
static COMPILING: Mutex<()> = Mutex::new(());

/// The library made of `source`, compiled unless one of the same content is there.
pub(crate) fn compile(source: &Source, bug: Option<Bug>) -> PathBuf {
    let files = files(source, bug.filter(|bug| bug.stem == source.stem));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated");
    let name = format!("{}-{:016x}", source.stem, hash(&files));
    let library = folder.join(format!("{name}.so"));
    let _one = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
    if library.exists() {
        return library;
    }
    let own = folder.join(format!("{name}-{}", process::id()));
    fs::create_dir_all(&own).expect("a folder for the emulation");
    for (name, text) in &files {
        fs::write(own.join(name), text).expect("a source of the emulation");
    }
    let output = Command::new(COMPILER)
        .args(OPTIONS)
        .args(OPTIONS_X86)
        .args(["-o", "kernel.so", "kernel.cpp"])
        .current_dir(&own)
        .output()
        .unwrap_or_else(|e| panic!("the emulation needs a C++17 compiler, `{COMPILER}`: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{COMPILER} cannot compile {}.cu:\n{said}", source.stem);
    fs::rename(own.join("kernel.so"), &library).expect("the library of the emulation");
    let _ = fs::remove_dir_all(&own);
    library
}

/// The files the compiler reads, with `bug` in one of them. Panics if the bug does not apply.
fn files(source: &Source, bug: Option<Bug>) -> Vec<(&'static str, String)> {
    let mut program = format!("#include \"builtins.h\"\n#include \"launch.h\"\n{}\n", source.text);
    for entry in source.entries {
        let _ = writeln!(
            program,
            "extern \"C\" int emulated_{entry}(const emulation::Geometry *geometry, void **values, \
             size_t n, char *error) {{ return emulation::launch({entry}, *geometry, values, n, \
             error); }}"
        );
    }
    let mut files = vec![("kernel.cpp", program)];
    files.extend(HEADERS.iter().map(|(name, text)| (*name, (*text).to_owned())));
    if let Some(Bug { from, to, stem }) = bug {
        let place = files.iter_mut().find(|(_, text)| text.contains(from));
        let (_, text) = place.unwrap_or_else(|| panic!("{stem} has no `{from}`"));
        *text = text.replacen(from, to, 1);
    }
    files.extend(MACHINE.map(|(name, text)| (name, text.to_owned())));
    files
}

/// FNV-1a over the texts and how they are compiled.
fn hash(files: &[(&str, String)]) -> u64 {
    let texts = files.iter().map(|(_, text)| text.as_str());
    let texts = texts.chain(OPTIONS).chain(OPTIONS_X86.iter().copied());
    texts.flat_map(str::bytes).fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}
