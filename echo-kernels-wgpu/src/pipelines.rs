//! The sources of the kernels, and what the device has made of them.

use crate::gpu::{Array, Gpu};
use std::collections::HashMap;
use wgpu::{BindGroup, BindGroupLayout, ComputePipeline};

const SOURCES: [(&str, &str); 10] = [
    ("embed", include_str!("../wgsl/embed.wgsl")),
    ("rms_norm", include_str!("../wgsl/rms_norm.wgsl")),
    ("linear", include_str!("../wgsl/linear.wgsl")),
    ("rope_store", include_str!("../wgsl/rope_store.wgsl")),
    ("tree_attention", include_str!("../wgsl/tree_attention.wgsl")),
    ("silu_mul", include_str!("../wgsl/silu_mul.wgsl")),
    ("add", include_str!("../wgsl/add.wgsl")),
    ("gather_rows", include_str!("../wgsl/gather_rows.wgsl")),
    ("sample_rows", include_str!("../wgsl/sample_rows.wgsl")),
    ("topk_logprob", include_str!("../wgsl/topk_logprob.wgsl")),
];

/// Every kernel: its name, which is also its entry point's, and its source.
pub fn sources() -> impl Iterator<Item = (&'static str, &'static str)> {
    SOURCES.into_iter()
}

/// The `override`s of a source, as far as it has them.
pub(crate) type Constants = [(&'static str, u32); 5];

/// No `override` is set.
pub(crate) const NONE: Constants = [("", 0); 5];

/// Buffers that a kernel is given at most.
pub(crate) const BOUND_MAX: usize = 5;

/// Fills [`Constants`] from the front.
pub(crate) fn constants(given: &[(&'static str, u32)]) -> Constants {
    let mut all = NONE;
    all[..given.len()].copy_from_slice(given);
    all
}

/// A kernel ready to run.
struct Pipeline {
    compute: ComputePipeline,
    layout: BindGroupLayout,
    number: u32,
}

/// Kernels and their bindings, made at first use and kept.
#[derive(Default)]
pub(crate) struct Pipelines {
    made: HashMap<(&'static str, Constants), Pipeline>,
    bound: HashMap<(u32, [u32; BOUND_MAX]), BindGroup>,
}

impl Pipelines {
    /// The kernel `stem` with `constants` set, and `arrays` bound to it in order.
    pub(crate) fn get(
        &mut self,
        gpu: &Gpu,
        stem: &'static str,
        constants: Constants,
        arrays: &[&Array],
    ) -> (&ComputePipeline, &BindGroup) {
        let number = self.made.len() as u32;
        let made = self.made.entry((stem, constants));
        let made = made.or_insert_with(|| make(gpu, stem, constants, number));
        let mut serials = [0; BOUND_MAX];
        for (serial, array) in serials.iter_mut().zip(arrays) {
            *serial = array.serial;
        }
        let bound = self.bound.entry((made.number, serials));
        let bound = bound.or_insert_with(|| bind(gpu, &made.layout, arrays));
        (&made.compute, bound)
    }
}

fn make(gpu: &Gpu, stem: &'static str, constants: Constants, number: u32) -> Pipeline {
    let source = sources().find(|(name, _)| *name == stem).map(|(_, source)| source);
    let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(stem),
        source: wgpu::ShaderSource::Wgsl(source.expect("a known kernel").into()),
    });
    let set = constants.iter().filter(|(name, _)| !name.is_empty());
    let set: Vec<(&str, f64)> = set.map(|&(name, value)| (name, f64::from(value))).collect();
    let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(stem),
        layout: None,
        module: &module,
        entry_point: Some(stem),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &set,
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    });
    let layout = pipeline.get_bind_group_layout(0);
    Pipeline { compute: pipeline, layout, number }
}

fn bind(gpu: &Gpu, layout: &BindGroupLayout, arrays: &[&Array]) -> BindGroup {
    let entries: Vec<wgpu::BindGroupEntry<'_>> = arrays
        .iter()
        .enumerate()
        .map(|(i, array)| wgpu::BindGroupEntry {
            binding: i as u32,
            resource: array.buffer.as_entire_binding(),
        })
        .collect();
    gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout,
        entries: &entries,
    })
}
