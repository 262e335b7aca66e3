//! Super-trees as indented text, for tests, docs and logs.
//!
//! ```text
//! seq 0: 7 *          a root: place in the batch, last committed token, * if kept
//!   12 -0.5 *         a drafted node: token, cumulative score, * if kept
//!     3 -0.75
//! ```

use crate::supertree::SuperTree;
use echo_core::{Plan, SuperTreeView, Token};
use std::fmt::{self, Write as _};

/// A super-tree read from text, and the plan its marks make.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// The tree. It has no room to grow.
    pub tree: SuperTree,
    /// The marked nodes.
    pub plan: Plan,
}

/// Why a text is no super-tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawError {
    /// Line at fault, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for DrawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for DrawError {}

struct Line {
    depth: usize,
    parent: usize,
    seq: u32,
    token: Token,
    score: f32,
    kept: bool,
}

impl Drawing {
    /// Reads a drawing. Two spaces indent a level, the first line sets the margin, blank lines are
    /// skipped. Siblings may be drawn in any order; scores are taken as they are, NaN included.
    pub fn parse(text: &str) -> Result<Drawing, DrawError> {
        let lines = read_lines(text)?;
        let mut order: Vec<usize> = (0..lines.len()).collect();
        // Breadth first: a level is ordered by its parents' ranks, which the level above settled.
        let mut rank = vec![0_u32; lines.len()];
        let mut level_start = vec![0];
        let depths = lines.iter().map(|l| l.depth + 1).max().unwrap_or(1);
        order.sort_by_key(|&i| lines[i].depth);
        for depth in 0..depths {
            let start = level_start[depth] as usize;
            let end = start + lines.iter().filter(|l| l.depth == depth).count();
            order[start..end].sort_by(|&a, &b| {
                let (x, y) = (&lines[a], &lines[b]);
                let family = (x.seq, rank[x.parent]).cmp(&(y.seq, rank[y.parent]));
                let score = y.score.max(f32::NEG_INFINITY);
                let best = score.total_cmp(&x.score.max(f32::NEG_INFINITY));
                let number = x.score.is_nan().cmp(&y.score.is_nan());
                family.then(best).then(number).then(x.token.cmp(&y.token))
            });
            for (r, &i) in order.iter().enumerate().take(end).skip(start) {
                rank[i] = r as u32;
            }
            level_start.push(end as u32);
        }
        let nodes = order.iter().map(|&i| {
            let line = &lines[i];
            (rank[line.parent], line.token, line.seq, line.score)
        });
        let tree = SuperTree::from_levels(nodes, level_start);
        let mut plan = Plan::default();
        plan.reset(lines.len(), 0);
        for (n, &i) in order.iter().enumerate().filter(|&(_, &i)| lines[i].kept) {
            debug_assert_eq!(rank[i] as usize, n);
            plan.keep(n);
        }
        Ok(Drawing { tree, plan })
    }
}

/// The tree as text that [`Drawing::parse`] reads back; with `label`, what a token means follows
/// in brackets, for people only.
pub fn draw(
    tree: SuperTreeView<'_>,
    plan: Option<&Plan>,
    label: Option<&dyn Fn(Token) -> String>,
) -> String {
    let mut text = String::new();
    for root in tree.level(0) {
        draw_node(tree, root, 0, plan, label, &mut text);
    }
    text
}

fn draw_node(
    tree: SuperTreeView<'_>,
    node: usize,
    depth: usize,
    plan: Option<&Plan>,
    label: Option<&dyn Fn(Token) -> String>,
    text: &mut String,
) {
    let (seq, token, score) = (tree.seq[node], tree.token[node], tree.score[node]);
    // Writing into a string can't fail.
    let _ = match depth {
        0 => write!(text, "seq {seq}: {token}"),
        _ => write!(text, "{:1$}{token} {score}", "", depth * 2),
    };
    if plan.is_some_and(|plan| plan.contains(node)) {
        text.push_str(" *");
    }
    if let Some(label) = label {
        let _ = write!(text, " [{}]", label(token));
    }
    text.push('\n');
    if depth + 1 < tree.levels() {
        let children = tree.level(depth + 1);
        for child in children.filter(|&c| tree.parent[c] as usize == node) {
            draw_node(tree, child, depth + 1, plan, label, text);
        }
    }
}

fn read_lines(text: &str) -> Result<Vec<Line>, DrawError> {
    let mut lines: Vec<Line> = Vec::new();
    let mut margin = None;
    // Line numbers of the last node at each depth: the path to the line above.
    let mut path: Vec<usize> = Vec::new();
    for (at, raw) in text.lines().enumerate() {
        let fault = |why: &str| DrawError { line: at + 1, why: why.into() };
        let body = raw.trim_start();
        if body.is_empty() {
            continue;
        }
        let indent = raw.len() - body.len();
        let margin = *margin.get_or_insert(indent);
        let depth = indent.checked_sub(margin).map(|spaces| spaces / 2);
        let depth = depth.ok_or_else(|| fault("stands left of the first line"))?;
        if depth > path.len() || (indent - margin) % 2 == 1 {
            return Err(fault("has no parent at its indent"));
        }
        path.truncate(depth);
        let mut words = body.split('[').next().unwrap_or("").split_whitespace();
        let mut word = || words.next().unwrap_or("");
        let seq = match depth {
            0 if word() == "seq" => word().trim_end_matches(':').parse().ok(),
            0 => None,
            _ => Some(lines[path[0]].seq),
        };
        let seq = seq.ok_or_else(|| fault("should begin with `seq PLACE:`"))?;
        let token = word().parse().map_err(|_| fault("names no token"))?;
        let score = match depth {
            0 => 0.0,
            _ => word().parse().map_err(|_| fault("has no score"))?,
        };
        let kept = match word() {
            "" => false,
            "*" => true,
            _ => return Err(fault("ends in neither * nor a [label]")),
        };
        let twin = |l: &Line| depth == 0 && l.depth == 0 && l.seq >= seq;
        if lines.iter().any(twin) {
            return Err(fault("roots must ascend by place"));
        }
        path.push(lines.len());
        lines.push(Line { depth, parent: path[depth.saturating_sub(1)], seq, token, score, kept });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawings_are_put_in_order_and_read_back() {
        let text = "
            seq 1: 7 *
              2 -1
                5 -3
              1 -0.5 * [the]
                4 NaN
                3 -inf
            seq 4: 9";
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        assert_eq!(tree.level_start, [0, 2, 4, 7]);
        assert_eq!(tree.parent, [0, 1, 0, 0, 2, 2, 3]);
        assert_eq!(tree.token, [7, 9, 1, 2, 3, 4, 5]);
        let once = draw(tree, Some(&drawing.plan), None);
        let again = Drawing::parse(&once).unwrap();
        assert_eq!(draw(again.tree.view(), Some(&again.plan), None), once);
        assert_eq!(again.plan, drawing.plan);
        let label = |token| format!("t{token}");
        assert!(draw(tree, None, Some(&label)).contains("  2 -1 [t2]\n    5 -3 [t5]\n"));
    }

    #[test]
    fn a_text_that_is_no_tree_is_refused() {
        let line = |text| Drawing::parse(text).unwrap_err().line;
        assert_eq!(line("7"), 1);
        assert_eq!(line("seq 0: x"), 1);
        assert_eq!(line("seq 0: 1\n    2 -1"), 2);
        assert_eq!(line("seq 0: 1\n  2"), 2);
        assert_eq!(line("seq 0: 1\n  2 -1 +"), 2);
        assert_eq!(line("seq 1: 1\n\nseq 1: 2"), 3);
        assert_eq!(line("  seq 1: 1\nseq 2: 2"), 2);
    }
}
