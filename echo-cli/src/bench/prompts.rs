//! Questions in the JSON-lines form of the field's prompt sets.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

const BUILT_IN: &str = include_str!("../../prompts/builtin.jsonl");

/// One question; only its first turn is asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Prompt {
    pub(crate) question_id: serde_json::Value,
    #[serde(default)]
    pub(crate) category: String,
    pub(crate) turns: Vec<String>,
}

/// Reads a file, or the built-in set.
pub(crate) fn load(path: Option<&Path>) -> Result<Vec<Prompt>> {
    let Some(path) = path else { return parse(BUILT_IN, "the built-in prompts") };
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
    fn the_built_in_set_is_whole() {
        let prompts = load(None).expect("it parses");
        assert!(prompts.len() >= 24);
        let categories: std::collections::HashSet<_> =
            prompts.iter().map(|p| p.category.as_str()).collect();
        assert_eq!(categories.len(), 6, "{categories:?}");
        let few = sample(prompts, 6);
        let categories: std::collections::HashSet<_> =
            few.iter().map(|p| p.category.as_str()).collect();
        assert_eq!(categories.len(), 6, "one of each");
    }

    #[test]
    fn bad_lines_are_named() {
        let message = |text: &str| format!("{:#}", parse(text, "x.jsonl").unwrap_err());
        assert!(message("").contains("no prompts"));
        assert!(message("{\"question_id\": 1, \"turns\": []}").contains("line 1"));
        assert!(message("\n{oops").contains("line 2"));
    }
}
