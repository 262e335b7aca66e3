//! Questions in the JSON-lines form of the field's prompt sets.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// Questions that come with the program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BuiltIn {
    /// To measure on.
    Bench,
    /// To learn from; none is among those that are measured.
    Calibration,
}

impl BuiltIn {
    fn text(self) -> &'static str {
        match self {
            BuiltIn::Bench => include_str!("../../prompts/builtin.jsonl"),
            BuiltIn::Calibration => include_str!("../../prompts/calibration.jsonl"),
        }
    }
}

/// One question; only its first turn is asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Prompt {
    pub(crate) question_id: serde_json::Value,
    #[serde(default)]
    pub(crate) category: String,
    pub(crate) turns: Vec<String>,
}

/// Reads a file, or a set that comes with the program.
pub(crate) fn load(path: Option<&Path>, built_in: BuiltIn) -> Result<Vec<Prompt>> {
    let Some(path) = path else { return parse(built_in.text(), "the built-in prompts") };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("reading prompts from {}", path.display()))?;
    parse(&text, &path.display().to_string())
}

fn parse(text: &str, name: &str) -> Result<Vec<Prompt>> {
    let mut prompts = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let prompt: Prompt = serde_json::from_str(line).with_context(|| {
            format!("{name}, line {}: want an object with question_id and turns", i + 1)
        })?;
        if prompt.turns.first().is_none_or(|turn| turn.trim().is_empty()) {
            bail!("{name}, line {}: the first turn is empty", i + 1);
        }
        prompts.push(prompt);
    }
    if prompts.is_empty() {
        bail!("{name}: no prompts");
    }
    Ok(prompts)
}

/// `n` prompts, category by category in turn, so that each is there.
pub(crate) fn sample(prompts: Vec<Prompt>, n: usize) -> Vec<Prompt> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut ranked: Vec<(usize, usize, Prompt)> = prompts
        .into_iter()
        .enumerate()
        .map(|(i, prompt)| {
            let rank = seen.entry(prompt.category.clone()).or_default();
            *rank += 1;
            (*rank, i, prompt)
        })
        .collect();
    ranked.sort_by_key(|(rank, i, _)| (*rank, *i));
    ranked.truncate(n);
    ranked.sort_by_key(|(_, i, _)| *i);
    ranked.into_iter().map(|(.., prompt)| prompt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_sets_are_whole_and_share_nothing() {
        for (set, n) in [(BuiltIn::Bench, 6), (BuiltIn::Calibration, 7)] {
            let prompts = load(None, set).expect("it parses");
            assert!(prompts.len() >= 24);
            let few = sample(prompts.clone(), n);
            for prompts in [prompts, few] {
                let categories: std::collections::HashSet<_> =
                    prompts.iter().map(|p| p.category.as_str()).collect();
                assert_eq!(categories.len(), n, "{categories:?}");
            }
        }
        let asked = BuiltIn::Bench.text();
        let learnt = load(None, BuiltIn::Calibration).expect("it parses");
        let turn = |prompt: &Prompt| serde_json::to_string(&prompt.turns[0]).expect("text");
        assert!(!learnt.iter().any(|prompt| asked.contains(&turn(prompt))));
    }

    #[test]
    fn bad_lines_are_named() {
        let message = |text: &str| format!("{:#}", parse(text, "x.jsonl").unwrap_err());
        assert!(message("").contains("no prompts"));
        assert!(message("{\"question_id\": 1, \"turns\": []}").contains("line 1"));
        assert!(message("\n{oops").contains("line 2"));
    }
}
