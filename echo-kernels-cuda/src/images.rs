//! The images of all sources for one architecture: from the cache, or compiled in parallel.

use crate::cache::Cache;
use crate::compile::{self, CompileError};
use crate::source::{SOURCES, Source};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

/// How far the kernels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileProgress {
    /// Sources that are ready.
    pub done: usize,
    /// Sources in all.
    pub total: usize,
    /// The one that became ready last.
    pub stem: &'static str,
    /// Whether it came out of the cache.
    pub cached: bool,
}

type Image = (&'static Source, Vec<u8>);

/// The image of every source for `arch`.
pub(crate) fn load(
    arch: &str,
    folder: Option<&Path>,
    report: &mut dyn FnMut(CompileProgress),
) -> Result<Vec<Image>, CompileError> {
    let cache = folder.map(Cache::new);
    let version = compile::version();
    let mut images = Vec::new();
    let mut missing = Vec::new();
    let mut ready = |images: &mut Vec<Image>, source: &'static Source, image, cached| {
        images.push((source, image));
        let done = images.len();
        report(CompileProgress { done, total: SOURCES.len(), stem: source.stem, cached });
    };
    for source in SOURCES {
        let found = cache.as_ref().and_then(|cache| match &version {
            Ok(version) => cache.find(source, arch, version),
            Err(_) => cache.find_any(source, arch),
        });
        match found {
            Some(image) => ready(&mut images, source, image, true),
            None => missing.push(source),
        }
    }
    if missing.is_empty() {
        return Ok(images);
    }
    let version = version?;
    compile::check_arch(arch)?;
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for source in missing {
            let sender = sender.clone();
            scope.spawn(move || {
                let compiled = compile::compile(source, arch);
                // Nobody listens after the first failure.
                let _ = sender.send((source, compiled));
            });
        }
        drop(sender);
        for (source, compiled) in receiver {
            let image = compiled?.cubin;
            if let Some(cache) = &cache {
                cache.keep(source, arch, &version, &image);
            }
            ready(&mut images, source, image, false);
        }
        Ok(images)
    })
}
