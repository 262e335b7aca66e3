//! The real machine: one device, one stream, through the driver's library, loaded when asked for.

use crate::context::Context;
use crate::driver::{Driver, Entry, Graph, Launch};
use crate::fault::{Fault, OpenError};
use crate::images::{self, CompileProgress};
use crate::info::{DeviceInfo, find};
use crate::launch;
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use echo_core::DeviceError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::CString;
use std::path::PathBuf;

/// Which device, and where its images are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CudaOptions {
    /// The device's number in the driver's order.
    pub ordinal: usize,
    /// Folder of compiled images; `None` compiles at every start.
    pub cache: Option<PathBuf>,
}

/// One NVIDIA device.
pub struct Cuda {
    /// Let go after all that lives in it.
    context: Context,
    stream: sys::CUstream,
    modules: Vec<sys::CUmodule>,
    functions: HashMap<Entry, sys::CUfunction>,
    pieces: Mutex<Vec<sys::CUdeviceptr>>,
    graphs: Mutex<Vec<sys::CUgraphExec>>,
    /// Whether a launch may begin before the one ahead of it has ended.
    overlaps: bool,
    /// Whether the device reads pageable memory where it lies, by the host's page tables.
    reads_pageable: bool,
    info: DeviceInfo,
}

// SAFETY: the driver's handles may be used from any thread that has made the context its own, which
// every method does first; calls are ordered by the lock of `CudaKernels`.
unsafe impl Send for Cuda {}
// SAFETY: as above.
unsafe impl Sync for Cuda {}

impl Cuda {
    /// Opens a device and compiles the kernels for it, telling `report` of each source.
    pub fn open(
        options: &CudaOptions,
        report: &mut dyn FnMut(CompileProgress),
    ) -> Result<Self, OpenError> {
        let (device, info) = find(options.ordinal)?;
        let doing = |doing| move |error| OpenError::driver(doing, error);
        let context = Context::of(device).map_err(doing("taking a context"))?;
        context.enter().map_err(doing("entering the context"))?;
        let by_host = Attribute::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES;
        let by_host = context.attribute(by_host).map_err(doing("asking the device"))?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking)
            .map_err(doing("making a stream"))?;
        let mut cuda = Cuda {
            context,
            stream,
            modules: Vec::new(),
            functions: HashMap::new(),
            pieces: Mutex::default(),
            graphs: Mutex::default(),
            overlaps: info.overlaps(),
            reads_pageable: by_host != 0,
            info,
        };
        let images = images::load(&cuda.info.arch, options.cache.as_deref(), report)?;
        for (source, image) in images {
            cuda.load(source.entries(), &image).map_err(doing("loading the kernels"))?;
        }
        Ok(cuda)
    }

    /// What a device says of itself; compiles nothing.
    pub fn probe(ordinal: usize) -> Result<DeviceInfo, OpenError> {
        find(ordinal).map(|(_, info)| info)
    }

    /// What was opened.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Takes the entry points of an image, and lets each have all the shared memory there is.
    fn load(
        &mut self,
        entries: impl Iterator<Item = Entry>,
        image: &[u8],
    ) -> Result<(), result::DriverError> {
        let shared = Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        let limit = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let shared = self.context.attribute(shared)?;
        // SAFETY: the image is whole (compiled just now, or its checksum held), its context is
        // current, and the module lives as long as its functions.
        unsafe {
            let module = result::module::load_data(image.as_ptr().cast())?;
            self.modules.push(module);
            for entry in entries {
                let name = CString::new(entry.name).expect("names hold no zero");
                let function = result::module::get_function(module, name)?;
                result::function::set_function_attribute(function, limit, shared)?;
                self.functions.insert(entry, function);
            }
        }
        Ok(())
    }

    /// Hands a launch to the stream, which runs it, or notes it while a graph is captured.
    fn enqueue(&self, launch: &Launch) -> Result<(), result::DriverError> {
        let function = self.functions[&launch.entry];
        // SAFETY: number and types of the arguments are those of the source, which the emulated
        // suite checks for every entry point; addresses were checked by the port. Where launches
        // overlap, each waits for the end of the one before it by itself (`await_inputs`), which
        // the emulated suite checks too.
        unsafe { launch::enqueue(function, launch, self.stream, self.overlaps) }
    }

    /// A graph of `launches`, each after the one before.
    fn instantiate(&self, launches: &[Launch]) -> Result<sys::CUgraphExec, result::DriverError> {
        // What other threads ask of the driver meanwhile is none of the capture's business.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: nobody else uses the stream, which is not the default one. A capture that was
        // begun is ended whatever happens in between, and its template is destroyed once, also that
        // of what was noted before a launch failed. That this fails harms nothing that was made.
        unsafe {
            result::stream::begin_capture(self.stream, mode)?;
            let noted = launches.iter().try_for_each(|launch| self.enqueue(launch));
            let template = result::stream::end_capture(self.stream);
            let flags = sys::CUgraphInstantiate_flags(0);
            let exec = noted
                .and(template)
                .and_then(|template| result::graph::instantiate(template, flags));
            if let Ok(template) = template {
                let _ = result::graph::destroy(template);
            }
            exec
        }
    }

    /// Makes the device's context that of this thread.
    fn enter(&self) -> Result<(), DeviceError> {
        self.context.enter().map_err(Fault::of("entering the context"))
    }
}

impl Driver for Cuda {
    fn alloc(&self, bytes: usize, what: &str) -> Result<u64, DeviceError> {
        self.enter()?;
        // SAFETY: new memory, zeroed on the stream that everybody uses.
        let taken = unsafe {
            result::malloc_sync(bytes.max(1)).and_then(|address| {
                self.pieces.lock().push(address);
                result::memset_d8_async(address, 0, bytes.max(1), self.stream)?;
                Ok(address)
            })
        };
        taken.map_err(|error| {
            if error.0 != sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
                return Fault::of("taking memory")(error);
            }
            let free = result::mem_get_info().map_or(0, |(free, _)| free);
            let DeviceInfo { name, memory, .. } = &self.info;
            let what = format!("{what} ({free} of {memory} bytes of {name} are free)");
            DeviceError::OutOfMemory { asked: bytes, what }
        })
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.enter()?;
        // The source is pageable memory. Most devices can't read it, so the driver has put it
        // elsewhere when it returns. NVIDIA says no more than that it may: one that reads it by the
        // host's page tables, as a GPU does that shares them with a Grace CPU, can fetch it later.
        // SAFETY: the port has checked the range, and the source is there until it was read.
        unsafe {
            let copied = result::memcpy_htod_async(address, bytes, self.stream);
            if self.reads_pageable {
                copied.and_then(|()| result::stream::synchronize(self.stream))
            } else {
                copied
            }
        }
        .map_err(Fault::of("copying to the device"))
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        self.enter()?;
        // SAFETY: the port has checked the range, and `into` is there until the stream is done.
        unsafe {
            let copied = result::memcpy_dtoh_async(into, address, self.stream);
            copied.and_then(|()| result::stream::synchronize(self.stream))
        }
        .map_err(Fault::of("reading from the device"))
    }

    fn launch(&self, launch: &Launch) -> Result<(), DeviceError> {
        self.enter()?;
        self.enqueue(launch).map_err(Fault::of(launch.entry.name))
    }

    fn capture(&self, launches: &[Launch]) -> Result<Graph, DeviceError> {
        self.enter()?;
        let exec = self.instantiate(launches).map_err(Fault::of("capturing a graph"))?;
        let mut graphs = self.graphs.lock();
        graphs.push(exec);
        // SAFETY: the graph was made just now. Without this its first replay would be a slow one.
        unsafe { result::graph::upload(exec, self.stream) }
            .map_err(Fault::of("keeping a graph"))?;
        Ok(Graph(graphs.len() as u32 - 1))
    }

    fn replay(&self, graph: Graph) -> Result<(), DeviceError> {
        self.enter()?;
        let exec = self.graphs.lock()[graph.0 as usize];
        // SAFETY: the graph lives until `self` is dropped; what it reads and writes was checked
        // when its launches were made, and is never freed before.
        unsafe { result::graph::launch(exec, self.stream) }.map_err(Fault::of("replaying a graph"))
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        let _ = self.enter();
        // SAFETY: nothing of this is used after the stream has come to its end; the errors of a
        // device that is going away help nobody.
        unsafe {
            let _ = result::stream::synchronize(self.stream);
            for exec in self.graphs.lock().drain(..) {
                let _ = result::graph::exec_destroy(exec);
            }
            for address in self.pieces.lock().drain(..) {
                let _ = result::free_sync(address);
            }
            for module in self.modules.drain(..) {
                let _ = result::module::unload(module);
            }
            let _ = result::stream::destroy(self.stream);
        }
    }
}
