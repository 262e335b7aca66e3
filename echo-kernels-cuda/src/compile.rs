//! From source to an image for one architecture, by NVIDIA's run-time compiler.

use crate::source::{HEADERS, OPTIONS, Source};
use cudarc::nvrtc::result;
use cudarc::nvrtc::sys;
use std::ffi::{CStr, CString, c_char};
use std::ptr;

/// An image of one source, and what the compiler said of it.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The image, for one architecture.
    pub cubin: Vec<u8>,
    /// Warnings and, with `--ptxas-options=-v`, registers and spills per entry point.
    pub log: String,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler's library is not there.
    #[error(
        "NVIDIA's run-time compiler (libnvrtc) is not found; install CUDA's libnvrtc, for example \
         the Python package nvidia-cuda-nvrtc-cu12, and put the folder of its libnvrtc.so.12 on \
         LD_LIBRARY_PATH"
    )]
    NoCompiler,
    /// The compiler is older than the device.
    #[error("libnvrtc {version} does not know {arch}; install a newer one")]
    UnknownArch {
        /// What was wanted.
        arch: String,
        /// Major and minor version of the compiler.
        version: String,
    },
    /// The compiler refused.
    #[error("libnvrtc cannot compile {stem}.cu for {arch}: {why}\n{log}")]
    Refused {
        /// The source.
        stem: &'static str,
        /// The architecture.
        arch: String,
        /// The compiler's error.
        why: String,
        /// What it said.
        log: String,
    },
}

/// Version of the compiler, `13.0`.
pub fn version() -> Result<String, CompileError> {
    // SAFETY: only looks whether the library can be loaded.
    if !unsafe { sys::is_culib_present() } {
        return Err(CompileError::NoCompiler);
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both are places for an int.
    let asked = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    asked.result().map_err(|_| CompileError::NoCompiler)?;
    Ok(format!("{major}.{minor}"))
}

/// Fails if the compiler does not know `arch`, such as `sm_90`.
pub fn check_arch(arch: &str) -> Result<(), CompileError> {
    let version = version()?;
    let mut n = 0;
    // SAFETY: the compiler fills as many numbers as it said there are.
    let known = unsafe {
        sys::nvrtcGetNumSupportedArchs(&raw mut n).result().ok();
        let mut all = vec![0; n as usize];
        sys::nvrtcGetSupportedArchs(all.as_mut_ptr()).result().ok();
        all
    };
    if known.iter().any(|known| arch == format!("sm_{known}")) {
        return Ok(());
    }
    Err(CompileError::UnknownArch { arch: arch.to_owned(), version })
}

/// A program of the compiler, destroyed when dropped.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: made by nvrtcCreateProgram and destroyed once.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

impl Program {
    fn new(source: &Source) -> Result<Self, result::NvrtcError> {
        let text = |text: &str| CString::new(text).expect("sources hold no zero");
        let (body, name) = (text(source.text), text(&format!("{}.cu", source.stem)));
        let headers: Vec<CString> = HEADERS.iter().map(|(_, header)| text(header)).collect();
        let names: Vec<CString> = HEADERS.iter().map(|(name, _)| text(name)).collect();
        let pointers = |all: &[CString]| all.iter().map(|s| s.as_ptr()).collect::<Vec<_>>();
        let mut program = ptr::null_mut();
        // SAFETY: all strings end with a zero and outlive the call, which copies them.
        unsafe {
            sys::nvrtcCreateProgram(
                &raw mut program,
                body.as_ptr(),
                name.as_ptr(),
                HEADERS.len() as i32,
                pointers(&headers).as_ptr(),
                pointers(&names).as_ptr(),
            )
            .result()?;
        }
        Ok(Program(program))
    }

    fn log(&self) -> String {
        // SAFETY: the program is alive.
        let log = unsafe { result::get_program_log(self.0) }.unwrap_or_default();
        let bytes: Vec<u8> = log.iter().map(|&c: &c_char| c as u8).collect();
        CStr::from_bytes_until_nul(&bytes).map_or(String::new(), |s| s.to_string_lossy().into())
    }

    fn cubin(&self) -> Result<Vec<u8>, result::NvrtcError> {
        let mut size = 0;
        // SAFETY: the program is alive and compiled, and the vector has the size it asked for.
        unsafe {
            sys::nvrtcGetCUBINSize(self.0, &raw mut size).result()?;
            let mut cubin = vec![0u8; size];
            sys::nvrtcGetCUBIN(self.0, cubin.as_mut_ptr().cast()).result()?;
            Ok(cubin)
        }
    }
}

/// Compiles `source` for `arch`, such as `sm_90`.
pub fn compile(source: &Source, arch: &str) -> Result<Compiled, CompileError> {
    version()?;
    let refused = |why: result::NvrtcError, log: String| CompileError::Refused {
        stem: source.stem,
        arch: arch.to_owned(),
        why: why.to_string(),
        log,
    };
    let program = Program::new(source).map_err(|why| refused(why, String::new()))?;
    let target = format!("--gpu-architecture={arch}");
    let mut options = vec![target.as_str(), "--ptxas-options=-v"];
    options.extend(OPTIONS);
    // SAFETY: the program is alive.
    let done = unsafe { result::compile_program(program.0, &options) };
    let log = program.log();
    done.map_err(|why| refused(why, log.clone()))?;
    let cubin = program.cubin().map_err(|why| refused(why, log.clone()))?;
    Ok(Compiled { cubin, log })
}
