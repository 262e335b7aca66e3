//! What a rule reports.

use std::fmt;

/// A place that breaks a rule, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Breach {
    /// Path from the root of the workspace, with forward slashes.
    pub(crate) path: String,
    /// Counted from one.
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    pub(crate) remedy: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Breach { path, line, rule, remedy } = self;
        write!(f, "{path}:{line}: {rule}: {remedy}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_place_rule_and_remedy() {
        let breach = Breach {
            path: "echo-core/src/plan.rs".to_owned(),
            line: 7,
            rule: "header",
            remedy: "begin with a `//!` line".to_owned(),
        };
        let expected = "echo-core/src/plan.rs:7: header: begin with a `//!` line";
        assert_eq!(breach.to_string(), expected);
    }
}
