//! Every source is valid on its own, without a device: naga parses it, checks it, and checks it
//! again with its overrides set.

use echo_kernels_wgpu::sources;
use naga::back::PipelineConstants;
use naga::back::pipeline_constants::process_overrides;
use naga::valid::{Capabilities, ValidationFlags, Validator};

fn check(name: &str, source: &str) -> Result<naga::Module, String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::IMMEDIATES);
    let info = validator.validate(&module).map_err(|e| e.emit_to_string(source))?;
    let entries: Vec<&str> = module.entry_points.iter().map(|e| e.name.as_str()).collect();
    if entries != [name] {
        return Err(format!("entry points {entries:?}"));
    }
    process_overrides(&module, &info, None, &PipelineConstants::default())
        .map_err(|e| e.to_string())?;
    Ok(module)
}

#[test]
fn every_source_is_valid_on_its_own() {
    assert_eq!(sources().count(), 10);
    for (name, source) in sources() {
        check(name, source).unwrap_or_else(|why| panic!("{name}.wgsl: {why}"));
    }
}

/// The limits that every device has, in bytes and lanes.
#[test]
fn workgroups_fit_every_device() {
    for (name, source) in sources() {
        let module = check(name, source).expect("valid");
        let lanes: u32 = module.entry_points[0].workgroup_size.iter().product();
        assert!(lanes <= 256, "{name}: {lanes} lanes");
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).expect("types have sizes");
        let shared = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|(_, variable)| layouter[variable.ty].size).sum();
        assert!(bytes <= 16_384, "{name}: {bytes} bytes of workgroup memory");
    }
}

#[test]
fn what_is_wrong_is_found() {
    let (name, source) = sources().find(|(name, _)| *name == "add").expect("it is there");
    let untyped = source.replace("array<f32>", "array<f23>");
    let mixed = source.replace("* p.into_stride", "* p.into_stride * 1.5");
    let renamed = source.replace("fn add(", "fn sum(");
    for (wrong, what) in [(untyped, "f23"), (mixed, "1.5"), (renamed, "sum")] {
        let why = check(name, &wrong).expect_err("it is wrong");
        assert!(why.contains(what), "{why}");
    }
}
