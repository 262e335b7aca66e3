//! What the driver's errors mean to us.

use crate::compile::CompileError;
use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;
use echo_core::DeviceError;

/// Why a device was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The driver's library is not there.
    #[error("no NVIDIA driver is installed (libcuda is not found)")]
    NoDriver,
    /// The driver finds no device.
    #[error("the NVIDIA driver finds no device")]
    NoDevice,
    /// Fewer devices than the number asked for.
    #[error("there is no CUDA device {ordinal}; the driver has {count}, counted from 0")]
    NoSuchDevice {
        /// The number asked for.
        ordinal: usize,
        /// Devices there are.
        count: usize,
    },
    /// A device older than the instructions the kernels use.
    #[error("{name} has compute capability {major}.{minor}; the kernels need 8.0")]
    TooOld {
        /// The device.
        name: String,
        /// Its compute capability.
        major: i32,
        /// Its compute capability.
        minor: i32,
    },
    /// The kernels could not be compiled for it.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The driver failed.
    #[error("{doing}: {why}")]
    Driver {
        /// What was tried.
        doing: &'static str,
        /// The driver's words.
        why: String,
    },
}

impl OpenError {
    /// Whether there is nothing to open, rather than something that does not open.
    pub fn is_absent(&self) -> bool {
        matches!(self, OpenError::NoDriver | OpenError::NoDevice)
    }

    pub(crate) fn driver(doing: &'static str, error: DriverError) -> Self {
        OpenError::Driver { doing, why: words(error) }
    }
}

/// Turns the driver's errors into the contract's.
pub(crate) struct Fault;

impl Fault {
    /// The error of `doing` something. A device that has touched what it must not is lost, and so
    /// is one that broke, or whose driver lost it: the driver refuses everything from then on.
    pub(crate) fn of(doing: &'static str) -> impl Fn(DriverError) -> DeviceError {
        move |error| {
            let why = format!("{doing}: {}", words(error));
            match error.0 {
                CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
                | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
                | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
                | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
                | CUresult::CUDA_ERROR_INVALID_PC
                | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
                | CUresult::CUDA_ERROR_ASSERT
                | CUresult::CUDA_ERROR_LAUNCH_FAILED
                | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
                | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
                | CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE
                | CUresult::CUDA_ERROR_CONTAINED
                | CUresult::CUDA_ERROR_TENSOR_MEMORY_LEAK
                | CUresult::CUDA_ERROR_EXTERNAL_DEVICE
                | CUresult::CUDA_ERROR_MPS_CLIENT_TERMINATED
                | CUresult::CUDA_ERROR_MPS_RPC_FAILURE
                | CUresult::CUDA_ERROR_UNKNOWN
                | CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED
                | CUresult::CUDA_ERROR_DEINITIALIZED => DeviceError::Lost(why),
                _ => DeviceError::Failed(why),
            }
        }
    }
}

fn words(error: DriverError) -> String {
    match error.error_string() {
        Ok(words) => words.to_string_lossy().into_owned(),
        Err(_) => format!("error {}", error.0 as i32),
    }
}
