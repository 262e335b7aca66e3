//! Which devices there are, and which of them is taken.

use echo_core::DeviceError;
use std::fmt;
use wgpu::{Adapter, AdapterInfo, Backend, Backends, DeviceType, Features, Instance, Limits};

/// Bytes of an operation's sizes and strides.
pub(crate) const IMMEDIATES: u32 = 64;

/// Which device is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best GPU; a software device is not taken.
    Gpu,
    /// The best GPU, or a software device where there is none.
    #[default]
    Any,
    /// The first whose name contains these words, in letters of any case.
    Named(String),
}

/// A device that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As its driver calls it.
    pub name: String,
    /// The interface and the driver.
    pub driver: String,
    /// Whether it is a program on the processor.
    pub software: bool,
    /// Why it can't be used, if it can't.
    pub refusal: Option<String>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.software { ", a software device" } else { "" };
        write!(f, "{} ({}{kind})", self.name, self.driver)?;
        self.refusal.as_ref().map_or(Ok(()), |why| write!(f, ": refused, {why}"))
    }
}

/// Every device of this machine, usable or not.
pub fn adapters() -> Vec<Found> {
    enumerate().iter().map(|(_, found)| found.clone()).collect()
}

/// Takes the device that `choice` means.
pub(crate) fn choose(choice: &Choice) -> Result<(Adapter, Found), DeviceError> {
    let mut all = enumerate();
    let seen: Vec<Found> = all.iter().map(|(_, found)| found.clone()).collect();
    match pick(choice, &seen) {
        Some(i) => Ok(all.swap_remove(i)),
        None => Err(DeviceError::Unsupported(none(choice, &seen))),
    }
}

fn enumerate() -> Vec<(Adapter, Found)> {
    let instance = Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let mut adapters = pollster::block_on(instance.enumerate_adapters(Backends::all()));
    adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
    adapters
        .into_iter()
        .map(|adapter| {
            let info = adapter.get_info();
            let refusal = refusal(&info, adapter.features(), &adapter.limits());
            let software = info.device_type == DeviceType::Cpu;
            let driver = format!("{} {} {}", info.backend, info.driver, info.driver_info);
            let driver = driver.trim_end().to_owned();
            let name = info.name;
            (adapter, Found { name, driver, software, refusal })
        })
        .collect()
}

/// Where a kind of device stands: those with memory of their own come first.
fn rank(kind: DeviceType) -> usize {
    use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
    let ranks = [DiscreteGpu, IntegratedGpu, VirtualGpu, Other, Cpu];
    ranks.iter().position(|&known| known == kind).unwrap_or(ranks.len())
}

/// The device wanted, as its place in `seen`, which is in order of rank.
fn pick(choice: &Choice, seen: &[Found]) -> Option<usize> {
    let usable = |found: &Found| found.refusal.is_none();
    let first = |wanted: &dyn Fn(&Found) -> bool| {
        seen.iter().position(|found| usable(found) && wanted(found))
    };
    match choice {
        Choice::Gpu => first(&|found| !found.software),
        Choice::Any => first(&|found| !found.software).or_else(|| first(&|_| true)),
        Choice::Named(words) => {
            let words = words.to_lowercase();
            first(&|found| found.name.to_lowercase().contains(&words))
        }
    }
}

/// Why there is nothing to take.
fn none(choice: &Choice, seen: &[Found]) -> String {
    let wanted = match choice {
        Choice::Gpu => "a GPU that wgpu reaches".to_owned(),
        Choice::Any => "a device that wgpu reaches".to_owned(),
        Choice::Named(words) => format!("a device called `{words}`"),
    };
    if seen.is_empty() {
        return format!("{wanted}: none was found; is a Vulkan driver installed?");
    }
    let seen: Vec<String> = seen.iter().map(ToString::to_string).collect();
    format!("{wanted}: there is {}", seen.join("; "))
}

/// Why a device can't be used, if it can't.
fn refusal(info: &AdapterInfo, features: Features, limits: &Limits) -> Option<String> {
    if !matches!(info.backend, Backend::Vulkan | Backend::Metal | Backend::Dx12) {
        return Some(format!(
            "{} lacks what the kernels need; Vulkan, Metal and DirectX 12 have it",
            info.backend
        ));
    }
    if !features.contains(Features::IMMEDIATES) || limits.max_immediate_size < IMMEDIATES {
        let has = limits.max_immediate_size;
        return Some(format!("it takes {has} bytes of immediates, {IMMEDIATES} are needed"));
    }
    let least = Limits::default();
    let counted = [
        ("storage buffers", limits.max_storage_buffers_per_shader_stage, 5),
        (
            "bytes of workgroup memory",
            limits.max_compute_workgroup_storage_size,
            least.max_compute_workgroup_storage_size,
        ),
        ("invocations", limits.max_compute_invocations_per_workgroup, 256),
    ];
    let short = counted.iter().find(|(_, has, needs)| has < needs);
    short.map(|(what, has, needs)| format!("it has {has} {what}, {needs} are needed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, software: bool, refusal: Option<&str>) -> Found {
        let (name, driver) = (name.to_owned(), "test".to_owned());
        Found { name, driver, software, refusal: refusal.map(str::to_owned) }
    }

    #[test]
    fn a_software_device_is_taken_last_or_by_name() {
        let seen = [found("llvmpipe", true, None), found("Arc A770", false, None)];
        assert_eq!(pick(&Choice::Gpu, &seen), Some(1));
        assert_eq!(pick(&Choice::Any, &seen), Some(1));
        assert_eq!(pick(&Choice::Named("LLVM".into()), &seen), Some(0));
        assert_eq!(pick(&Choice::Gpu, &seen[..1]), None);
        assert_eq!(pick(&Choice::Any, &seen[..1]), Some(0));
        assert_eq!(pick(&Choice::Named("radeon".into()), &seen), None);
    }

    #[test]
    fn a_card_comes_before_what_shares_memory_and_software_comes_last() {
        use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu};
        assert!(rank(DiscreteGpu) < rank(IntegratedGpu) && rank(IntegratedGpu) < rank(Cpu));
    }

    #[test]
    fn what_is_refused_is_not_taken_and_the_reason_is_told() {
        let seen = [found("old", false, Some("it is GL")), found("llvmpipe", true, None)];
        assert_eq!(pick(&Choice::Any, &seen), Some(1));
        let why = none(&Choice::Gpu, &seen);
        assert!(why.contains("it is GL") && why.contains("llvmpipe"), "{why}");
        assert!(none(&Choice::Any, &[]).contains("Vulkan driver"));
    }

    #[test]
    fn gl_and_small_limits_are_refused_with_a_reason() {
        let info = |backend| AdapterInfo::new(DeviceType::DiscreteGpu, backend);
        let features = Features::IMMEDIATES;
        let limits = Limits { max_immediate_size: 128, ..Limits::default() };
        for backend in [Backend::Vulkan, Backend::Metal, Backend::Dx12] {
            assert_eq!(refusal(&info(backend), features, &limits), None);
        }
        let gl = refusal(&info(Backend::Gl), features, &limits).expect("refused");
        assert!(gl.contains("Vulkan, Metal and DirectX 12"), "{gl}");
        let vulkan = info(Backend::Vulkan);
        assert!(refusal(&vulkan, Features::empty(), &limits).is_some());
        let few = Limits { max_storage_buffers_per_shader_stage: 4, ..limits };
        let why = refusal(&vulkan, features, &few).expect("refused");
        assert!(why.contains("4 storage buffers, 5"), "{why}");
    }
}
