//! Names of policies and kernels, as they are written on the command line.

use crate::known::Known;
use anyhow::{Context, Result, anyhow};
use echo_budget::{
    Corrector, CorrectorParams, DCut, DCutParams, Echo, EchoParams, Ema, EmaParams, Fair,
    FairParams, Goodput, GoodputParams, OptTree, OptTreeParams, Talon, TalonParams, Tetris,
    TetrisParams, TopN, TopNParams, Uniform, Width, Worth, WorthParams,
};
use echo_core::{Gate, Learner, Limits, Solver};
use echo_gate::{
    Always, Ddd, DddParams, Dense, DenseParams, Fixed, FixedParams, Sparse, SparseParams, Threshold,
};
use echo_kernels_cpu::{Activations, Isa, Path};

const GATES: [&str; 10] = [
    "auto",
    "always",
    "calibrated",
    "fixed:TAU",
    "dense:TAU,TAU,…",
    "sparse:DEPTH=TAU,…",
    "ddd:TAU[,DEPTH,…]",
    "opt-tree:N[,DELTA]",
    "talon:N[,MU]",
    "ema",
];
const SOLVERS: [&str; 10] = [
    "uniform",
    "topn[:N]",
    "opt-tree[:N[,DELTA]]",
    "talon[:N[,MU]]",
    "tetris:K[,SEQS]",
    "dcut",
    "ema",
    "echo",
    "goodput",
    "any of them with +fair:STEPS",
];

/// The error for a name that nobody has.
pub(crate) fn unknown(kind: &str, name: &str, known: &[&str]) -> anyhow::Error {
    anyhow!("unknown {kind} `{name}`; known are {}", known.join(", "))
}

/// The same where what was meant is said around it.
fn known_are(known: &[&str]) -> anyhow::Error {
    anyhow!("nobody is called so; known are {}", known.join(", "))
}

/// The gate that `text` means: a name and, after a colon, its parameters. `known` is there for
/// those that [`measures`] names.
pub(crate) fn gate(text: &str, known: Option<&Known>) -> Result<Box<dyn Gate>> {
    named_gate(text, known).with_context(|| format!("gate `{text}`"))
}

fn named_gate(text: &str, known: Option<&Known>) -> Result<Box<dyn Gate>> {
    let (name, params) = text.split_once(':').unwrap_or((text, ""));
    let mut params = listed(params);
    let params = &mut params;
    let gate: Box<dyn Gate> = match name {
        "always" => Box::new(Always),
        "auto" => {
            let Known { cost, survival, ahead, .. } = needed(known).clone();
            Box::new(Worth::new(WorthParams { cost, survival, ahead })?)
        }
        "calibrated" => {
            let sparse = needed(known).sparse.clone().ok_or_else(|| {
                anyhow!("the drafter has no calibration; make one with `echo-llm calibrate`")
            })?;
            Box::new(Sparse::new(sparse)?)
        }
        "fixed" => {
            let tau = params.next().ok_or_else(|| anyhow!("want a confidence, fixed:TAU"))?;
            Box::new(Fixed::new(FixedParams { tau: number(tau)? })?)
        }
        "dense" => {
            let tau = params.map(number).collect::<Result<_>>()?;
            Box::new(Dense::new(DenseParams { tau })?)
        }
        "sparse" => {
            let thresholds = params.map(threshold).collect::<Result<_>>()?;
            Box::new(Sparse::new(SparseParams { thresholds })?)
        }
        "ddd" => {
            let tau = params.next().ok_or_else(|| anyhow!("want a probability, ddd:TAU"))?;
            let depths = params.map(number).collect::<Result<Vec<usize>>>()?;
            let depths = if depths.is_empty() { vec![5, 7, 9] } else { depths };
            Box::new(Ddd::new(DddParams { tau: number(tau)?, depths })?)
        }
        "opt-tree" => Box::new(opt_tree(params, None)?),
        "talon" => Box::new(talon(params, None)?),
        "ema" => Box::new(Ema::new(EmaParams::usual())?),
        _ => return Err(known_are(&GATES)),
    };
    no_more(params)?;
    Ok(gate)
}

/// Who follows times and chances for the gate that `text` means, if it lives on them.
pub(crate) fn learner(text: &str, known: Option<&Known>) -> Option<Box<dyn Learner>> {
    let Known { cost, survival, ahead, .. } = known.filter(|_| base(text) == "auto")?.clone();
    let first = ahead.first()?;
    let ahead = first.iter().sum::<f32>() / first.len() as f32;
    Some(Box::new(Corrector::new(CorrectorParams { cost, survival, ahead })))
}

/// Parameters between commas.
fn listed(params: &str) -> impl Iterator<Item = &str> {
    params.split(',').filter(|text| !text.is_empty())
}

fn opt_tree<'a>(
    params: &mut impl Iterator<Item = &'a str>,
    tree_max: Option<usize>,
) -> Result<OptTree> {
    let (n, delta) = (size(params, tree_max)?, next(params, 0.1)?);
    Ok(OptTree::new(OptTreeParams { n, delta })?)
}

fn talon<'a>(params: &mut impl Iterator<Item = &'a str>, tree_max: Option<usize>) -> Result<Talon> {
    let (n, mu) = (size(params, tree_max)?, next(params, 0.03)?);
    Ok(Talon::new(TalonParams { n, mu })?)
}

/// Nodes of a tree; `usual` if not given.
fn size<'a>(params: &mut impl Iterator<Item = &'a str>, usual: Option<usize>) -> Result<usize> {
    match (params.next(), usual) {
        (Some(text), _) => number(text),
        (None, Some(usual)) => Ok(usual),
        (None, None) => Err(anyhow!("want the nodes of a tree, as in talon:32")),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.trim().parse().map_err(|_| anyhow!("`{text}` is not a number"))
}

fn threshold(text: &str) -> Result<Threshold> {
    let (depth, tau) = text.split_once('=').ok_or_else(|| anyhow!("`{text}` is not DEPTH=TAU"))?;
    Ok(Threshold { depth: number(depth)?, tau: number(tau)? })
}

/// The solver that `text` means: a name, after a colon its parameters, and after `+fair:` how many
/// steps a request waits for a drafted row at most. Weights and caps of requests hold for all.
///
/// `known` is there for those that [`measures`] names.
pub(crate) fn solver(
    text: &str,
    limits: &Limits,
    known: Option<&Known>,
) -> Result<Box<dyn Solver>> {
    let (inner, within) = text.split_once("+fair:").unwrap_or((text, "0"));
    let context = || format!("solver `{text}`");
    let params = FairParams { within: number(within).with_context(context)? };
    let inner = unfair(inner, limits, known).with_context(context)?;
    Ok(Box::new(Fair::new(inner, params)))
}

fn unfair(text: &str, limits: &Limits, known: Option<&Known>) -> Result<Box<dyn Solver>> {
    let (name, params) = text.split_once(':').unwrap_or((text, ""));
    let mut params = listed(params);
    let tree_max = limits.tree_max;
    let solver: Box<dyn Solver> = match name {
        "uniform" => Box::new(Uniform::default()),
        "topn" => Box::new(TopN::new(TopNParams { n: next(&mut params, tree_max)? })),
        "opt-tree" => Box::new(opt_tree(&mut params, Some(tree_max))?),
        "talon" => Box::new(talon(&mut params, Some(tree_max))?),
        "tetris" => {
            let k = params.next().ok_or_else(|| anyhow!("want rows per request, tetris:K"))?;
            let (k, seqs_min) = (number(k)?, next(&mut params, 0)?);
            Box::new(Tetris::new(TetrisParams { k, seqs_min }))
        }
        "dcut" => Box::new(DCut::new(DCutParams { cost: needed(known).cost.clone() })),
        "ema" => Box::new(Ema::new(EmaParams::usual())?),
        "echo" => {
            let width = Width::Ratio { mu: 0.03, most: limits.width_max };
            let params = EchoParams { seed: 1, width };
            Box::new(Echo::new(params)?)
        }
        "goodput" => {
            let Known { cost, survival, .. } = needed(known).clone();
            Box::new(Goodput::new(GoodputParams { cost, survival }))
        }
        _ => return Err(known_are(&SOLVERS)),
    };
    no_more(&mut params)?;
    Ok(solver)
}

/// Refuses a parameter that nobody took.
fn no_more<'a>(params: &mut impl Iterator<Item = &'a str>) -> Result<()> {
    match params.next() {
        Some(extra) => Err(anyhow!("`{extra}` is one parameter too many")),
        None => Ok(()),
    }
}

/// The next parameter, or what it is usually.
fn next<'a, T: std::str::FromStr>(
    params: &mut impl Iterator<Item = &'a str>,
    usual: T,
) -> Result<T> {
    params.next().map_or(Ok(usual), number)
}

/// Whether a gate or solver of these names wants to know times and rates.
pub(crate) fn measures(gate: &str, solver: &str) -> bool {
    matches!(base(gate), "auto" | "calibrated") || matches!(base(solver), "goodput" | "dcut")
}

/// The name without its parameters.
fn base(text: &str) -> &str {
    text.split(['+', ':']).next().unwrap_or(text)
}

/// What [`measures`] promised.
fn needed(known: Option<&Known>) -> &Known {
    known.expect("times are measured for whoever wants them")
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
        for name in [
            "always",
            "fixed:0.3",
            "dense:0.1,0.2",
            "sparse:1=0.4,3=0.2",
            "ddd:0.1",
            "ddd:0.1,2,4",
            "talon:8",
            "opt-tree:8,0.2",
            "ema",
        ] {
            assert!(gate(name, None).is_ok(), "{name}");
        }
        let names = ["uniform", "topn", "topn:8", "opt-tree", "opt-tree:8,0.2", "talon:8,0.1"];
        let more = ["tetris:3", "tetris:3,8", "dcut", "ema", "echo", "goodput+fair:16"];
        for name in names.iter().chain(&more) {
            assert!(named(name).is_ok(), "{name}");
        }
        for name in ["fast", "reference"] {
            assert!(kernels(name).is_ok(), "{name}");
        }
    }

    fn known() -> Known {
        let time = std::time::Duration::from_millis(1);
        let profile = echo_runtime::Profile { rows: 1, kv_len: 8, time };
        Known::new(&[profile], &[], &[], None).expect("a time")
    }

    fn named(name: &str) -> Result<Box<dyn Solver>> {
        solver(name, &Limits::usual(4, 64), Some(&known()))
    }

    #[test]
    fn what_is_not_known_is_answered_with_what_is() {
        let message =
            |result: Result<Box<dyn Gate>>| format!("{:#}", result.err().expect("unknown"));
        assert!(message(gate("open", None)).contains("known are auto, always"));
        assert!(message(gate("fixed:2", None)).contains("gate `fixed:2`"));
        assert!(message(gate("fixed", None)).contains("fixed:TAU"));
        assert!(message(gate("fixed:x", None)).contains("is not a number"));
        for name in ["always:9", "ema:3", "talon:32,0.03,9", "fixed:0.3,0.4"] {
            assert!(message(gate(name, None)).contains("one parameter too many"), "{name}");
        }
        let known = known();
        assert!(message(gate("auto:1", Some(&known))).contains("`1` is one parameter too many"));
        assert!(measures("auto:1", "topn") && measures("always", "goodput+fair:3"));
        assert!(message(gate("calibrated", Some(&known))).contains("echo-llm calibrate"));
        assert!(message(gate("sparse:1", None)).contains("is not DEPTH=TAU"));
        let message = |name: &str| format!("{:#}", named(name).err().expect("unknown"));
        assert!(message("best").contains("known are uniform, topn[:N]"));
        assert!(message("opt-tree:8,-1").contains("delta of opt-tree is -1"));
        assert!(message("talon:8,0.1,7").contains("`7` is one parameter too many"));
        assert!(message("tetris").contains("rows per request"));
        assert!(message("goodput+fair:soon").contains("`soon` is not a number"));
        assert!(message("goodput+fair").contains("+fair:STEPS"));
        assert!(format!("{:#}", kernels("sse9").expect_err("unknown")).contains("reference"));
    }
}
