//! An open device, its limits and its queue.

use crate::adapter::{Found, IMMEDIATES, choose};
use crate::device::WgpuOptions;
use crate::fault::Faults;
use echo_core::DeviceError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use wgpu::{Adapter, Device, ErrorFilter, Features, Limits, PollType, Queue};

/// A device, opened with what the kernels need and no more.
pub(crate) struct Gpu {
    pub(crate) device: Device,
    pub(crate) queue: Queue,
    pub(crate) found: Found,
    pub(crate) faults: Faults,
    /// Bytes of the largest buffer that a kernel can be given.
    pub(crate) buffer_max: usize,
    /// Bytes that may be taken, and bytes that are.
    memory_max: usize,
    used: usize,
    serial: u32,
}

/// A buffer and the number by which launches know it.
pub(crate) struct Array {
    pub(crate) buffer: wgpu::Buffer,
    pub(crate) serial: u32,
    /// In elements of four bytes.
    pub(crate) len: usize,
}

impl Gpu {
    pub(crate) fn open(options: &WgpuOptions) -> Result<Self, DeviceError> {
        let (adapter, found) = choose(&options.choice)?;
        let limits = limits(&adapter);
        let can = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
        // Metal allows bindings beyond what it tells shaders of their size.
        let can = can.min(u64::from(u32::MAX - 3)) as usize;
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("echo"),
            required_features: Features::IMMEDIATES,
            required_limits: limits,
            ..Default::default()
        }))
        .map_err(|error| DeviceError::Failed(format!("{found}: {error}")))?;
        let faults = Faults::default();
        faults.watch(&device);
        let buffer_max = options.buffer_max.map_or(can, |max| max.min(can));
        let memory_max = options.memory_max.unwrap_or(usize::MAX);
        Ok(Gpu { device, queue, found, faults, buffer_max, memory_max, used: 0, serial: 0 })
    }

    /// Fails if the device has said that something went wrong.
    pub(crate) fn check(&self) -> Result<(), DeviceError> {
        if self.faults.may_be_lost() {
            // Work for a lost device fails in many ways; that it is lost is told to those who poll.
            let _ = self.poll(PollType::Poll);
        }
        self.faults.check()
    }

    /// Looks whether work has ended, or waits for it. Where the driver says that the device is lost
    /// wgpu panics instead of telling.
    pub(crate) fn poll(&self, how: PollType) -> Result<(), DeviceError> {
        match catch_unwind(AssertUnwindSafe(|| self.device.poll(how))) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(DeviceError::Failed(format!("waiting: {error}"))),
            Err(_) => {
                let lost = DeviceError::Lost("waiting for it failed".into());
                self.faults.put(lost.clone());
                Err(lost)
            }
        }
    }

    /// A buffer of `len` zeros that kernels read and write.
    pub(crate) fn array(&mut self, len: usize, what: &str) -> Result<Array, DeviceError> {
        use wgpu::BufferUsages as Usage;
        let bytes = len.max(4).saturating_mul(4);
        if bytes > self.buffer_max {
            let (asked, at_most) = (bytes, self.buffer_max);
            return Err(DeviceError::TooLarge { asked, at_most, what: what.to_owned() });
        }
        if bytes > self.memory_max - self.used {
            return Err(DeviceError::OutOfMemory { asked: bytes, what: what.to_owned() });
        }
        let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        let buffer = self.buffer(bytes, usage, what)?;
        self.used += bytes;
        self.serial += 1;
        Ok(Array { buffer, serial: self.serial, len })
    }

    /// A buffer for `usage`; `what` it is for, in case there is no room.
    pub(crate) fn buffer(
        &self,
        bytes: usize,
        usage: wgpu::BufferUsages,
        what: &str,
    ) -> Result<wgpu::Buffer, DeviceError> {
        self.check()?;
        let scope = self.device.push_error_scope(ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(what),
            size: bytes as u64,
            usage,
            mapped_at_creation: false,
        });
        match pollster::block_on(scope.pop()) {
            Some(_) => Err(DeviceError::OutOfMemory { asked: bytes, what: what.to_owned() }),
            None => Ok(buffer),
        }
    }
}

/// What every device has, but for sizes of buffers, of which all there is.
fn limits(adapter: &Adapter) -> Limits {
    let has = adapter.limits();
    Limits {
        max_buffer_size: has.max_buffer_size,
        max_storage_buffer_binding_size: has.max_storage_buffer_binding_size,
        max_immediate_size: IMMEDIATES,
        ..Limits::defaults().or_worse_values_from(&has)
    }
}
