//! Compiles every source ahead of time: `cubins FOLDER ARCH...`, such as `cubins out sm_80 sm_90`.
//!
//! Needs libnvrtc and no device. A machine that finds the folder as its cache needs no compiler.

use echo_kernels_cuda::cache::Cache;
use echo_kernels_cuda::compile::{CompileError, compile, version};
use echo_kernels_cuda::source::SOURCES;

fn main() -> Result<(), CompileError> {
    let mut args = std::env::args().skip(1);
    let Some(folder) = args.next() else {
        eprintln!("usage: cubins FOLDER ARCH...");
        std::process::exit(2);
    };
    let (cache, version) = (Cache::new(folder), version()?);
    for arch in args {
        for source in SOURCES {
            if cache.find(source, &arch, &version).is_none() {
                cache.keep(source, &arch, &version, &compile(source, &arch)?.cubin);
            }
        }
        println!("{arch}: {} sources, libnvrtc {version}", SOURCES.len());
    }
    Ok(())
}
