//! Crates depend on what the tables of [`allowed`](super::allowed) say, and on nothing else.

use serde_json::Value;

use super::allowed::{EDGES, TEST_EDGES, THIRD_PARTY, THIRD_PARTY_IN_TESTS};
use super::breach::Breach;
use crate::Outcome;
use crate::cargo::cargo;

/// A crate of the workspace and what its manifest asks for.
#[derive(Clone, Debug)]
pub(super) struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Clone, Debug)]
struct Dependency {
    name: String,
    /// Whether it is a crate of this workspace.
    ours: bool,
    /// Whether tests, benches and examples alone see it.
    tests_only: bool,
}

/// The workspace's crates, from `cargo metadata`.
pub(super) fn packages() -> Outcome<Vec<Package>> {
    let mut metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let output =
        metadata.output().map_err(|error| format!("cannot start cargo metadata: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("cargo metadata failed: {text}").into());
    }
    parse(&serde_json::from_slice(&output.stdout)?)
        .ok_or_else(|| "cargo metadata prints something else than it used to".into())
}

fn parse(metadata: &Value) -> Option<Vec<Package>> {
    let packages = metadata["packages"].as_array()?.iter().map(|package| {
        let dependencies = package["dependencies"].as_array()?.iter();
        Some(Package {
            name: package["name"].as_str()?.to_owned(),
            dependencies: dependencies.map(parse_dependency).collect::<Option<_>>()?,
        })
    });
    packages.collect()
}

fn parse_dependency(dependency: &Value) -> Option<Dependency> {
    Some(Dependency {
        name: dependency["name"].as_str()?.to_owned(),
        ours: dependency["path"].is_string(),
        tests_only: dependency["kind"].as_str() == Some("dev"),
    })
}

pub(super) fn check(packages: &[Package]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for package in packages {
        let Some((_, edges)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
            let remedy = "a crate without a line in EDGES (xtask/src/tidy/allowed.rs)";
            breaches.push(breach(package, "crate-edge", remedy.to_owned()));
            continue;
        };
        for dependency in &package.dependencies {
            if dependency.ours {
                breaches.extend(check_edge(package, dependency, edges));
            } else {
                breaches.extend(check_third_party(package, dependency));
            }
        }
    }
    breaches
}

fn check_edge(package: &Package, dependency: &Dependency, edges: &[&str]) -> Option<Breach> {
    let name = dependency.name.as_str();
    let in_tests = TEST_EDGES.iter().find(|(user, _)| *user == package.name);
    let allowed_in_tests = in_tests.is_some_and(|(_, edges)| edges.contains(&name));
    if edges.contains(&name) || (dependency.tests_only && allowed_in_tests) {
        return None;
    }
    let remedy = if allowed_in_tests {
        format!("{name} is for its tests alone: move it to dev-dependencies")
    } else {
        format!("must not depend on {name}: edges point downward, see xtask/src/tidy/allowed.rs")
    };
    Some(breach(package, "crate-edge", remedy))
}

fn check_third_party(package: &Package, dependency: &Dependency) -> Option<Breach> {
    let name = dependency.name.as_str();
    let allowed =
        THIRD_PARTY.iter().any(|(user, third, _)| *user == package.name && *third == name);
    let in_tests = THIRD_PARTY_IN_TESTS.iter().any(|(crate_, _)| *crate_ == name);
    if allowed || (dependency.tests_only && in_tests) {
        return None;
    }
    let remedy = format!("{name} is not on its list: do without, or argue in allowed.rs");
    Some(breach(package, "dependency", remedy))
}

fn breach(package: &Package, rule: &'static str, remedy: String) -> Breach {
    Breach { path: format!("{}/Cargo.toml", package.name), line: 1, rule, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One crate with one dependency: `kind` is `normal` or `dev`.
    fn check_one(user: &str, name: &str, kind: &str) -> Vec<&'static str> {
        let ours = name.starts_with("echo-");
        let packages = [Package {
            name: user.to_owned(),
            dependencies: vec![Dependency {
                name: name.to_owned(),
                ours,
                tests_only: kind == "dev",
            }],
        }];
        check(&packages).iter().map(|breach| breach.rule).collect()
    }

    #[test]
    fn edges_point_downward() {
        assert_eq!(check_one("echo-tree", "echo-core", "normal"), [""; 0]);
        assert_eq!(check_one("echo-core", "echo-tree", "normal"), ["crate-edge"]);
        assert_eq!(check_one("echo-gate", "echo-budget", "dev"), ["crate-edge"]);
        assert_eq!(check_one("echo-model", "echo-runtime", "normal"), ["crate-edge"]);
        assert_eq!(check_one("echo-new", "echo-core", "normal"), ["crate-edge"]);
    }

    #[test]
    fn edges_of_tests_stay_in_tests() {
        assert_eq!(check_one("echo-gate", "echo-tree", "dev"), [""; 0]);
        assert_eq!(check_one("echo-gate", "echo-tree", "normal"), ["crate-edge"]);
    }

    #[test]
    fn dependencies_are_on_a_list() {
        assert_eq!(check_one("echo-model", "half", "normal"), [""; 0]);
        assert_eq!(check_one("echo-core", "half", "normal"), ["dependency"]);
        assert_eq!(check_one("echo-tree", "proptest", "dev"), [""; 0]);
        assert_eq!(check_one("echo-tree", "proptest", "normal"), ["dependency"]);
    }

    #[test]
    fn every_entry_has_a_reason_and_a_known_user() {
        for (user, name, reason) in THIRD_PARTY {
            assert!(!reason.is_empty(), "{user}: {name}");
            assert!(EDGES.iter().any(|(name, _)| name == user));
        }
        assert!(THIRD_PARTY_IN_TESTS.iter().all(|(_, why)| !why.is_empty()));
    }

    #[test]
    fn cargo_metadata_is_understood() {
        let packages = packages().expect("cargo metadata");
        let this = packages.iter().find(|package| package.name == "xtask");
        let names = &this.expect("this crate").dependencies;
        assert!(names.iter().any(|d| d.name == "clap" && !d.ours && !d.tests_only));
        assert!(parse(&serde_json::json!({ "packages": [{}] })).is_none());
    }
}
