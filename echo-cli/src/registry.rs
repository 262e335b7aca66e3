//! Names of policies and kernels, as they are written on the command line.

use anyhow::{Context, Result, anyhow};
use echo_budget::{
    Between, CostTable, Echo, EchoParams, Goodput, GoodputParams, Sample, Survival, TopN,
    TopNParams, Uniform, Width,
};
use echo_core::{Gate, Limits, Solver};
use echo_gate::{Always, Dense, DenseParams, Fixed, FixedParams, Sparse, SparseParams, Threshold};
use echo_kernels_cpu::{Activations, Isa, Path};
use echo_runtime::Profile;

const GATES: [&str; 4] = ["always", "fixed:TAU", "dense:TAU,TAU,…", "sparse:DEPTH=TAU,…"];
const SOLVERS: [&str; 4] = ["uniform", "topn", "echo", "goodput"];

/// The error for a name that nobody has.
pub(crate) fn unknown(kind: &str, name: &str, known: &[&str]) -> anyhow::Error {
    anyhow!("unknown {kind} `{name}`; known are {}", known.join(", "))
}

/// The gate that `text` means: a name and, after a colon, its parameters.
pub(crate) fn gate(text: &str) -> Result<Box<dyn Gate>> {
    let (name, params) = text.split_once(':').unwrap_or((text, ""));
    let context = || format!("gate `{text}`");
    Ok(match name {
        "always" => Box::new(Always),
        "fixed" => {
            let tau = number(params).with_context(context)?;
            Box::new(Fixed::new(FixedParams { tau }).with_context(context)?)
        }
        "dense" => {
            let tau = params.split(',').map(number).collect::<Result<_>>().with_context(context)?;
            Box::new(Dense::new(DenseParams { tau }).with_context(context)?)
        }
        "sparse" => {
            let thresholds = params.split(',').map(threshold).collect::<Result<_>>();
            let thresholds = thresholds.with_context(context)?;
            Box::new(Sparse::new(SparseParams { thresholds }).with_context(context)?)
        }
        _ => return Err(unknown("gate", text, &GATES)),
    })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.trim().parse().map_err(|_| anyhow!("`{text}` is not a number"))
}

fn threshold(text: &str) -> Result<Threshold> {
    let (depth, tau) = text.split_once('=').ok_or_else(|| anyhow!("`{text}` is not DEPTH=TAU"))?;
    Ok(Threshold { depth: number(depth)?, tau: number(tau)? })
}

/// The solver that `name` means. `profile` measures the target's forward; it is asked only by those
/// who need a cost table.
pub(crate) fn solver(
    name: &str,
    limits: &Limits,
    profile: impl FnOnce() -> Result<Vec<Profile>>,
) -> Result<Box<dyn Solver>> {
    Ok(match name {
        "uniform" => Box::new(Uniform::default()),
        "topn" => Box::new(TopN::new(TopNParams { n: limits.tree_max })),
        "echo" => {
            let width = Width::Ratio { mu: 0.03, most: limits.width_max };
            let params = EchoParams { seed: 1, width, weights: Vec::new() };
            Box::new(Echo::new(params)?)
        }
        "goodput" => {
            let sample = |p: &Profile| Sample {
                rows: p.rows,
                kv_len: p.kv_len,
                us: p.time.as_secs_f64() * 1e6,
            };
            let samples: Vec<Sample> = profile()?.iter().map(sample).collect();
            let cost = CostTable::from_samples(&samples, &[], 0.0, Between::Linear)?;
            Box::new(Goodput::new(GoodputParams { cost, survival: Survival::identity() }))
        }
        _ => return Err(unknown("solver", name, &SOLVERS)),
    })
}

/// What quantised weights meet.
pub(crate) fn activations(name: &str) -> Result<Activations> {
    match name {
        "int8" => Ok(Activations::Int8),
        "float" => Ok(Activations::Float),
        _ => Err(unknown("activations", name, &["int8", "float"])),
    }
}

/// The form of the CPU kernels that `name` means.
pub(crate) fn kernels(name: &str) -> Result<Path> {
    match name {
        "fast" => Ok(Path::Fast),
        "reference" => Ok(Path::Reference),
        _ => {
            let isas = Isa::available();
            let found = isas.iter().find(|isa| isa.to_string() == name);
            found.map(|&isa| Path::With(isa)).ok_or_else(|| {
                let names: Vec<String> = isas.iter().map(ToString::to_string).collect();
                let known = [
                    &["fast", "reference"],
                    &*names.iter().map(String::as_str).collect::<Vec<_>>(),
                ]
                .concat();
                unknown("kernels", name, &known)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_their_parameters() {
        for name in ["always", "fixed:0.3", "dense:0.1,0.2", "sparse:1=0.4,3=0.2"] {
            assert!(gate(name).is_ok(), "{name}");
        }
        for name in ["fast", "reference"] {
            assert!(kernels(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_is_answered_with_what_is() {
        let message =
            |result: Result<Box<dyn Gate>>| format!("{:#}", result.err().expect("unknown"));
        assert!(message(gate("open")).contains("known are always, fixed:TAU"));
        assert!(message(gate("fixed:2")).contains("gate `fixed:2`"));
        assert!(message(gate("fixed")).contains("is not a number"));
        assert!(message(gate("sparse:1")).contains("is not DEPTH=TAU"));
        assert!(format!("{:#}", kernels("sse9").expect_err("unknown")).contains("reference"));
    }
}
