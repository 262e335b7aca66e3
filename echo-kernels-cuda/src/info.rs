//! Which devices the driver has, and what they say of themselves.

use crate::fault::OpenError;
use cudarc::driver::result;
use cudarc::driver::sys;
use std::ffi::c_int;
use std::fmt;

/// What the device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The maker's name.
    pub name: String,
    /// Such as `sm_90`.
    pub arch: String,
    /// Bytes of memory.
    pub memory: usize,
    /// Version of the driver, such as 13000.
    pub driver: i32,
}

impl DeviceInfo {
    /// Whether a launch may begin before the one ahead of it has ended, also in a graph.
    pub(crate) fn overlaps(&self) -> bool {
        let version = self.arch.trim_start_matches("sm_").parse::<u32>();
        version.is_ok_and(|version| version >= 90) && self.driver >= 12030
    }
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeviceInfo { name, arch, memory, driver } = self;
        let (major, minor) = (driver / 1000, driver % 1000 / 10);
        write!(f, "{name} ({arch}, {} GiB, driver for CUDA {major}.{minor})", memory >> 30)
    }
}

/// The device of a number, or why there is none.
pub(crate) fn find(ordinal: usize) -> Result<(sys::CUdevice, DeviceInfo), OpenError> {
    // SAFETY: only looks whether the library can be loaded.
    if !unsafe { sys::is_culib_present() } {
        return Err(OpenError::NoDriver);
    }
    let doing = |doing| move |error| OpenError::driver(doing, error);
    match result::init() {
        Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => {
            return Err(OpenError::NoDevice);
        }
        started => started.map_err(doing("starting the driver"))?,
    }
    let count = result::device::get_count().map_err(doing("counting devices"))? as usize;
    if count == 0 {
        return Err(OpenError::NoDevice);
    }
    if ordinal >= count {
        return Err(OpenError::NoSuchDevice { ordinal, count });
    }
    let device = result::device::get(ordinal as c_int).map_err(doing("finding the device"))?;
    let name = result::device::get_name(device).map_err(doing("naming the device"))?;
    let attribute = |of| {
        // SAFETY: the device is one of those counted.
        unsafe { result::device::get_attribute(device, of) }.map_err(doing("asking the device"))
    };
    let major = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
    let minor = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR;
    let (major, minor) = (attribute(major)?, attribute(minor)?);
    if major < 8 {
        return Err(OpenError::TooOld { name, major, minor });
    }
    let mut driver = 0;
    // SAFETY: the device is one of those counted, and `driver` a place for an int.
    let memory = unsafe {
        let _ = sys::cuDriverGetVersion(&raw mut driver);
        result::device::total_mem(device).map_err(doing("measuring the device's memory"))?
    };
    Ok((device, DeviceInfo { name, arch: format!("sm_{major}{minor}"), memory, driver }))
}
