//! What is handed to the device: operations and small uploads in order, many to a submission.

use crate::gpu::Gpu;
use echo_core::DeviceError;
use std::sync::mpsc;
use wgpu::{
    BindGroup, Buffer, BufferUsages, CommandEncoder, CommandEncoderDescriptor, ComputePass,
    ComputePipeline,
};

/// Bytes of small uploads in one submission.
const UPLOAD_MAX: usize = 4 << 20;
/// An upload larger than this takes a submission of its own.
const SMALL: usize = 256 << 10;
/// Operations of one submission; with fewer the device idles while the next ones are recorded.
const OPERATIONS_MAX: usize = 128;

/// Operations that are recorded and not yet submitted.
pub(crate) struct Stream {
    pass: Option<ComputePass<'static>>,
    encoder: Option<CommandEncoder>,
    operations: usize,
    /// Operations left until the device is taken away, if it is to be.
    lose_after: Option<u64>,
    /// What the recorded copies out of `upload` will find there.
    pending: Vec<u8>,
    upload: Buffer,
    download: Buffer,
}

impl Stream {
    pub(crate) fn new(gpu: &Gpu, lose_after: Option<u64>) -> Result<Self, DeviceError> {
        let usage = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        Ok(Stream {
            pass: None,
            encoder: None,
            operations: 0,
            lose_after,
            pending: Vec::with_capacity(UPLOAD_MAX),
            upload: gpu.buffer(UPLOAD_MAX, usage, "uploads")?,
            download: download(gpu, 64 << 10)?,
        })
    }

    /// Records one operation.
    pub(crate) fn dispatch(
        &mut self,
        gpu: &Gpu,
        pipeline: &ComputePipeline,
        bound: &BindGroup,
        immediates: &[u32],
        groups: [u32; 2],
    ) {
        if self.operations == OPERATIONS_MAX {
            self.submit(gpu);
        }
        self.operations += 1;
        match &mut self.lose_after {
            Some(0) => gpu.device.destroy(),
            Some(left) => *left -= 1,
            None => {}
        }
        if self.pass.is_none() {
            let encoder = open(&mut self.encoder, gpu);
            let pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            self.pass = Some(pass.forget_lifetime());
        }
        let pass = self.pass.as_mut().expect("it was opened above");
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, bound, &[]);
        pass.set_immediates(0, bytemuck::cast_slice(immediates));
        pass.dispatch_workgroups(groups[0], groups[1], 1);
    }

    /// Copies `data` to byte `start` of `to`, after all that was recorded before.
    pub(crate) fn write(&mut self, gpu: &Gpu, to: &Buffer, start: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if data.len() > SMALL {
            self.submit(gpu);
            gpu.queue.write_buffer(to, start as u64, data);
            // What was written waits in memory of the host until something is submitted.
            gpu.queue.submit([]);
            return;
        }
        if self.pending.len() + data.len() > UPLOAD_MAX {
            self.submit(gpu);
        }
        let at = self.pending.len() as u64;
        self.pending.extend_from_slice(data);
        self.pass = None;
        let encoder = open(&mut self.encoder, gpu);
        encoder.copy_buffer_to_buffer(&self.upload, at, to, start as u64, data.len() as u64);
    }

    /// Hands over what was recorded.
    pub(crate) fn submit(&mut self, gpu: &Gpu) {
        self.pass = None;
        self.operations = 0;
        let Some(encoder) = self.encoder.take() else { return };
        if !self.pending.is_empty() {
            gpu.queue.write_buffer(&self.upload, 0, &self.pending);
            self.pending.clear();
        }
        gpu.queue.submit([encoder.finish()]);
    }

    /// Waits for all that was recorded, then shows `bytes` bytes of `of` from `start` on.
    pub(crate) fn read<T>(
        &mut self,
        gpu: &Gpu,
        of: &Buffer,
        start: usize,
        bytes: usize,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, DeviceError> {
        if bytes as u64 > self.download.size() {
            self.download = download(gpu, bytes.next_power_of_two())?;
        }
        self.pass = None;
        let encoder = open(&mut self.encoder, gpu);
        encoder.copy_buffer_to_buffer(of, start as u64, &self.download, 0, bytes as u64);
        self.submit(gpu);
        let (done, mapped) = mpsc::channel();
        let slice = self.download.slice(..bytes as u64);
        slice.map_async(wgpu::MapMode::Read, move |result| {
            // Nobody listens any more only if waiting itself has failed.
            let _ = done.send(result);
        });
        let waited = gpu.poll(wgpu::PollType::wait_indefinitely());
        let mapped = mapped.try_recv();
        let failed =
            |error: &dyn std::fmt::Display| DeviceError::Failed(format!("reading: {error}"));
        let answer = gpu.check().and(waited).and_then(|()| {
            mapped.clone().map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
            Ok(look(&slice.get_mapped_range().map_err(|e| failed(&e))?))
        });
        // What stays mapped, after a failure of something else too, is in the way of the next.
        if !matches!(mapped, Ok(Err(_))) {
            self.download.unmap();
        }
        answer
    }
}

fn open<'a>(encoder: &'a mut Option<CommandEncoder>, gpu: &Gpu) -> &'a mut CommandEncoder {
    encoder.get_or_insert_with(|| {
        gpu.device.create_command_encoder(&CommandEncoderDescriptor::default())
    })
}

fn download(gpu: &Gpu, bytes: usize) -> Result<Buffer, DeviceError> {
    gpu.buffer(bytes, BufferUsages::COPY_DST | BufferUsages::MAP_READ, "downloads")
}
