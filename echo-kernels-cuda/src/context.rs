//! The device's context, which it has one of: held, and let go.

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

/// The primary context of a device. Let go when dropped, whatever failed before: else the next to
/// open the device gets it, with all that is wrong with it.
pub(crate) struct Context {
    device: sys::CUdevice,
    handle: sys::CUcontext,
}

impl Context {
    /// Takes the context of a device that the driver counts.
    pub(crate) fn of(device: sys::CUdevice) -> Result<Self, DriverError> {
        // SAFETY: the device is one of those counted; what is retained is released when dropped.
        let handle = unsafe { result::primary_ctx::retain(device) }?;
        Ok(Context { device, handle })
    }

    /// Makes it that of this thread.
    pub(crate) fn enter(&self) -> Result<(), DriverError> {
        // SAFETY: the context is retained until `self` is dropped.
        unsafe { result::ctx::set_current(self.handle) }
    }

    /// What the device says of itself.
    pub(crate) fn attribute(&self, of: sys::CUdevice_attribute) -> Result<i32, DriverError> {
        // SAFETY: the device is one of those counted.
        unsafe { result::device::get_attribute(self.device, of) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once; the error of a device that is going away helps nobody.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}
