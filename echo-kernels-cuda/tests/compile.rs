//! Every source compiles for every architecture that is supported, and no hot entry point spills.

use echo_kernels_cuda::compile::{CompileError, check_arch, compile, version};
use echo_kernels_cuda::source::{SOURCES, Source};

/// The oldest that has the instructions, the one the figures are for, and a newer one.
const ARCHS: [&str; 3] = ["sm_80", "sm_90", "sm_100"];

#[test]
fn every_source_compiles_for_every_architecture() {
    let required = std::env::var("ECHO_REQUIRE").is_ok_and(|names| names.contains("nvrtc"));
    match version() {
        Ok(version) => println!("libnvrtc {version}"),
        Err(error) if required => panic!("ECHO_REQUIRE names nvrtc: {error}"),
        Err(error) => return eprintln!("skipped: {error}"),
    }
    let mut spills = Vec::new();
    for arch in ARCHS {
        check_arch(arch).unwrap();
        for source in SOURCES {
            let compiled = compile(source, arch).unwrap_or_else(|error| panic!("{error}"));
            for entry in source.entries {
                assert!(holds(&compiled.cubin, entry), "{arch}: no entry point {entry}");
            }
            for line in facts(&compiled.log) {
                println!("{arch} {line}");
                if !line.ends_with(" 0 bytes spilt") {
                    spills.push(format!("{arch} {line}"));
                }
            }
        }
    }
    assert!(spills.is_empty(), "entry points that spill: {spills:#?}");
}

#[test]
fn what_is_no_source_is_refused_with_the_compilers_words() {
    if version().is_err() {
        return eprintln!("skipped: no libnvrtc");
    }
    let source = Source { stem: "broken", text: "KERNEL(1) broken(", entries: &[] };
    let error = compile(&source, "sm_80").unwrap_err();
    assert!(matches!(error, CompileError::Refused { stem: "broken", .. }), "{error}");
    assert!(error.to_string().contains("broken.cu(1): error"), "{error}");
    assert!(check_arch("sm_1").is_err());
}

fn holds(cubin: &[u8], name: &str) -> bool {
    let name = format!(".text.{name}\0");
    cubin.windows(name.len()).any(|window| window == name.as_bytes())
}

/// One line per entry point: its name, registers and spills.
fn facts(log: &str) -> Vec<String> {
    let mut facts = Vec::new();
    let (mut name, mut spilt) = (String::new(), 0);
    for line in log.lines() {
        if let Some((_, of)) = line.split_once("Function properties for ") {
            of.trim().clone_into(&mut name);
        } else if line.contains("bytes spill stores") {
            let before = line.split(" bytes spill stores").next().unwrap_or_default();
            spilt = before.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(u32::MAX);
        } else if let Some((_, used)) = line.split_once("Used ") {
            let registers = used.split(' ').next().unwrap_or_default();
            facts.push(format!("{name}: {registers} registers, {spilt} bytes spilt"));
        }
    }
    facts
}
