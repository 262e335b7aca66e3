//! `cargo xtask check`: the gate every change passes. CI runs the same command.

use std::time::Instant;

use crate::Outcome;
use crate::cargo::{cargo, has_subcommand, run as run_command};
use crate::{kernels, tidy};

/// How one part of the gate ended.
enum Ending {
    Passed,
    Failed(String),
    Skipped(&'static str),
}

/// One part of the gate: its name, and what it does.
struct Part {
    name: &'static str,
    run: fn() -> Ending,
}

const PARTS: [Part; 6] = [
    Part { name: "format", run: || ending(run_command(&mut cargo(&["fmt", "--all", "--check"]))) },
    Part { name: "tidy", run: || ending(tidy::run()) },
    Part { name: "kernels", run: || ending(kernels::verify()) },
    Part { name: "lints", run: lints },
    Part { name: "docs", run: docs },
    Part { name: "deny", run: deny },
];

/// Runs every part, also after a failure, so that one run tells all there is to mend.
pub(crate) fn run() -> Outcome {
    let mut summary = Vec::new();
    let mut failed = Vec::new();
    for part in PARTS {
        eprintln!("check: {} ...", part.name);
        let start = Instant::now();
        let ending = (part.run)();
        let line = line(part.name, &ending, start.elapsed().as_secs_f64());
        eprintln!("check: {line}");
        if matches!(ending, Ending::Failed(_)) {
            failed.push(part.name);
        }
        summary.push(line);
    }
    println!("\ncheck: summary");
    for line in &summary {
        println!("  {line}");
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("check failed: {}", failed.join(", ")).into())
    }
}

fn lints() -> Ending {
    let mut clippy = cargo(&["clippy", "--workspace", "--all-targets", "--keep-going", "--quiet"]);
    clippy.args(["--", "--deny", "warnings"]);
    ending(run_command(&mut clippy))
}

fn docs() -> Ending {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--keep-going", "--quiet"]);
    doc.env("RUSTDOCFLAGS", "--deny warnings");
    ending(run_command(&mut doc))
}

/// Licences, sources and duplicate versions. Advisories need a data base from the network and are
/// no property of the change, so they are left to whoever runs `cargo deny check advisories`.
fn deny() -> Ending {
    if !has_subcommand("deny") {
        return Ending::Skipped("cargo-deny is not installed (cargo install cargo-deny --locked)");
    }
    let mut deny = cargo(&["deny", "--log-level", "error", "check"]);
    deny.args(["bans", "licenses", "sources"]);
    ending(run_command(&mut deny))
}

fn ending(outcome: Outcome) -> Ending {
    match outcome {
        Ok(()) => Ending::Passed,
        Err(error) => Ending::Failed(error.to_string()),
    }
}

fn line(name: &str, ending: &Ending, seconds: f64) -> String {
    match ending {
        Ending::Passed => format!("{name:<8} ok       {seconds:.1} s"),
        Ending::Failed(why) => format!("{name:<8} FAILED   {why}"),
        Ending::Skipped(why) => format!("{name:<8} skipped  {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_apart() {
        assert_eq!(line("docs", &Ending::Passed, 1.25), "docs     ok       1.2 s");
        let failed = line("docs", &ending(Err("no docs".into())), 0.0);
        assert_eq!(failed, "docs     FAILED   no docs");
        let skipped = line("deny", &Ending::Skipped("not here"), 0.0);
        assert_eq!(skipped, "deny     skipped  not here");
    }
}
