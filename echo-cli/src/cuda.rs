//! Opening an NVIDIA device: its kernels compile at the first start, with a bar while they do.

use crate::backend::Backend;
use crate::model;
use echo_kernels_cuda::compile;
use echo_kernels_cuda::{CompileProgress, Cuda, CudaKernels, CudaOptions, Graphs, OpenError};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Arc;

/// The first device of the driver, with its launches captured into graphs or one by one.
pub(crate) fn open(has_graphs: bool) -> Result<Backend, OpenError> {
    let cache = model::cache_folder().ok().map(|folder| folder.join("cubins"));
    let bar = ProgressBar::no_length().with_style(
        ProgressStyle::with_template("compiling kernels {bar:30} {pos}/{len} {msg} {elapsed}")
            .expect("the template is right"),
    );
    let mut compiled = 0;
    let mut report = |progress: CompileProgress| {
        compiled += usize::from(!progress.cached);
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(progress.stem);
    };
    let opened = Cuda::open(&CudaOptions { ordinal: 0, cache }, &mut report);
    bar.finish_and_clear();
    let cuda = opened?;
    if compiled > 0 {
        tell!("compiled the kernels for {} in {:.1?}", cuda.info().arch, bar.elapsed());
    }
    let (graphs, how) =
        if has_graphs { (Graphs::default(), "") } else { (Graphs::Off, ", without graphs") };
    let device = format!("{}{how}", cuda.info());
    let kernels = Arc::new(CudaKernels::with_graphs(Box::new(cuda), graphs));
    let captured = has_graphs.then(|| Arc::clone(&kernels));
    Ok(Backend { name: "cuda", device, activations: "float".into(), kernels, captured })
}

/// The first device in words, or why there is none.
pub(crate) fn describe() -> String {
    let compiler = match compile::version() {
        Ok(version) => format!("libnvrtc {version}"),
        Err(error) => error.to_string(),
    };
    match Cuda::probe(0) {
        Ok(info) => format!("{info}; {compiler}"),
        Err(error) => error.to_string(),
    }
}
