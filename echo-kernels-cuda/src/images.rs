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

/// The architectures whose images run on `arch`, such as `sm_89`: itself, and those of its major
/// version before it.
fn runs_on(arch: &str) -> impl Iterator<Item = String> {
    let number: Option<u32> = arch.strip_prefix("sm_").and_then(|number| number.parse().ok());
    let older = number.map(|number| (number / 10 * 10..=number).rev());
    older.into_iter().flatten().map(|number| format!("sm_{number}"))
}

/// The image of every source for `arch`: compiled by the compiler that is here, or, where none is
/// that knows `arch`, by any.
pub(crate) fn load(
    arch: &str,
    folder: Option<&Path>,
    report: &mut dyn FnMut(CompileProgress),
) -> Result<Vec<Image>, CompileError> {
    let cache = folder.map(Cache::new);
    let version = compile::version();
    let compiles = version.is_ok() && compile::check_arch(arch).is_ok();
    let mut images = Vec::new();
    let mut missing = Vec::new();
    let mut ready = |images: &mut Vec<Image>, source: &'static Source, image, cached| {
        images.push((source, image));
        let done = images.len();
        report(CompileProgress { done, total: SOURCES.len(), stem: source.stem, cached });
    };
    for source in SOURCES {
        let exact = |cache: &Cache| cache.find(source, arch, version.as_ref().ok()?);
        let any = |cache: &Cache| runs_on(arch).find_map(|arch| cache.find_any(source, &arch));
        let found = cache
            .as_ref()
            .and_then(|cache| exact(cache).or_else(|| if compiles { None } else { any(cache) }));
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

#[cfg(test)]
mod tests {
    #[test]
    fn images_of_the_same_major_version_run() {
        let on = |arch| super::runs_on(arch).collect::<Vec<_>>();
        assert_eq!(on("sm_80"), ["sm_80"]);
        assert_eq!(on("sm_83"), ["sm_83", "sm_82", "sm_81", "sm_80"]);
        assert_eq!(on("sm_101"), ["sm_101", "sm_100"]);
        assert!(on("sm_90a").is_empty());
    }
}
