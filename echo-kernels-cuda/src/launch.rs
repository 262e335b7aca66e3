//! A launch, as the driver's library takes it.

use crate::driver::{ARGS_MAX, Geometry, Launch};
use cudarc::driver::result::DriverError;
use cudarc::driver::sys;
use std::ffi::c_void;
use std::ptr;

/// Hands `launch` of `function` to `stream`. With `overlaps` it may begin before the launch ahead
/// of it has ended (programmatic dependent launch), also where a graph is captured.
///
/// # Safety
/// Number and types of the arguments are those of the function, and the addresses among them are
/// good until the stream has come there, or for the life of the graph. With `overlaps` the function
/// itself waits for what was launched before.
pub(crate) unsafe fn enqueue(
    function: sys::CUfunction,
    launch: &Launch,
    stream: sys::CUstream,
    overlaps: bool,
) -> Result<(), DriverError> {
    let Geometry { grid, threads, shared_bytes } = launch.geometry;
    let mut overlap = sys::CUlaunchAttribute {
        id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
        pad: [0; 4],
        value: sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
    };
    let config = sys::CUlaunchConfig {
        gridDimX: grid[0],
        gridDimY: grid[1],
        gridDimZ: grid[2],
        blockDimX: threads,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: shared_bytes,
        hStream: stream,
        attrs: &raw mut overlap,
        numAttrs: u32::from(overlaps),
    };
    let mut values = [ptr::null_mut(); ARGS_MAX];
    for (value, arg) in values.iter_mut().zip(&*launch.args) {
        *value = ptr::from_ref(&arg.0).cast_mut().cast::<c_void>();
    }
    // SAFETY: as this function asks. The driver copies configuration and arguments before it
    // returns, also into a graph.
    unsafe {
        let (config, values) = (&raw const config, values.as_mut_ptr());
        sys::cuLaunchKernelEx(config, function, values, ptr::null_mut()).result()
    }
}
