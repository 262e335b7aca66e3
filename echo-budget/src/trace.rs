//! Recorded drafts: what a drafter proposes at every position of texts whose every token is known.
//!
//! A text is a function of its prompt and seed, and a draft a function of the text so far. So one
//! recording of plain decoding, drafted at each position and never verified, tells what any policy
//! would have met, at any load: see [`replay`](crate::replay()).

use crate::cost::{CostError, CostTable, Sample};
use crate::curve::Between;
use echo_core::Token;
use serde::{Deserialize, Serialize};

/// Texts with a draft at every position, and where they were recorded.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Trace {
    /// Of this layout: [`Trace::VERSION`].
    pub version: u32,
    /// The target, for people.
    pub model: String,
    /// The drafter, for people.
    pub drafter: String,
    /// The machine whose times `verify` holds, for people.
    pub machine: String,
    /// Levels that were drafted, and children of one node.
    pub shape: (usize, usize),
    /// Timed target forwards: rows, KV length, microseconds.
    pub verify: Vec<(usize, usize, f64)>,
    /// Whether fewer rows take the time of the next larger number of rows that was timed.
    #[serde(default)]
    pub padded: bool,
    /// Timed draft passes: rows, microseconds; drafting is free if there is none.
    #[serde(default)]
    pub draft: Vec<(usize, f64)>,
    /// What policies knew of the drafter, if it had a calibration.
    #[serde(default)]
    pub learnt: Option<Learnt>,
    /// The texts.
    pub texts: Vec<Text>,
}

/// What was learnt of a drafter before it was recorded, and policies may therefore know.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Learnt {
    /// Knots of its [`Survival`](crate::Survival).
    pub survival: Vec<(f32, f32)>,
    /// As [`WorthParams::ahead`](crate::WorthParams::ahead).
    pub ahead: Vec<Vec<f32>>,
    /// Depths at which a calibrated gate looks, and its thresholds there.
    pub thresholds: Vec<(usize, f32)>,
}

/// One request.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Text {
    /// Tokens of its prompt.
    pub n_prompt: usize,
    /// What it said.
    pub tokens: Vec<Token>,
    /// The draft before each of its tokens, `[tokens]`.
    pub rounds: Vec<Round>,
}

/// The draft at one position, level by level: node 0 is the root and is left out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Round {
    /// Parent of node 1, 2, …; an earlier node.
    pub parent: Vec<u32>,
    /// Their tokens.
    pub token: Vec<Token>,
    /// Their cumulative draft log-probabilities; finite, since the file's format knows no other.
    pub score: Vec<f32>,
}

/// What is no trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// Not the format.
    #[error("the trace can't be read: {0}")]
    Format(String),
    /// Another layout.
    #[error("the trace has version {0}, not {version}; record it again", version = Trace::VERSION)]
    Version(u32),
    /// No token to replay.
    #[error("the trace has no text; record one with at least one prompt")]
    Empty,
    /// A text that contradicts itself.
    #[error("text {text} of the trace, round {round}: {why}; record it again")]
    Text {
        /// Index of the text.
        text: usize,
        /// Index of the round.
        round: usize,
        /// What is wrong.
        why: &'static str,
    },
}

impl Trace {
    /// The layout this code writes.
    pub const VERSION: u32 = 1;

    /// Reads a trace from JSON, and refuses what [`Trace::check`] does.
    pub fn from_json(text: &str) -> Result<Trace, TraceError> {
        let trace: Trace =
            serde_json::from_str(text).map_err(|e| TraceError::Format(e.to_string()))?;
        trace.check()?;
        Ok(trace)
    }

    /// Refuses another version, and texts and drafts that contradict themselves.
    pub fn check(&self) -> Result<(), TraceError> {
        if self.version != Trace::VERSION {
            return Err(TraceError::Version(self.version));
        }
        if self.texts.is_empty() {
            return Err(TraceError::Empty);
        }
        for (text, said) in self.texts.iter().enumerate() {
            let fault = |round, why| Err(TraceError::Text { text, round, why });
            if said.tokens.is_empty() || said.rounds.len() != said.tokens.len() {
                return fault(0, "there is not one round for each token");
            }
            for (i, round) in said.rounds.iter().enumerate() {
                let n = round.parent.len();
                if round.token.len() != n || round.score.len() != n {
                    return fault(i, "its lists differ in length");
                }
                if round.parent.iter().enumerate().any(|(n, &parent)| parent as usize > n) {
                    return fault(i, "a node comes before its parent");
                }
                if !round.parent.is_sorted() {
                    return fault(i, "nodes don't stand level by level");
                }
                let above = |&parent: &u32| match parent {
                    0 => 0.0,
                    parent => round.score[parent as usize - 1],
                };
                if !round.parent.iter().map(above).zip(&round.score).all(|(a, &s)| s <= a) {
                    return fault(i, "a node is surer than its parent");
                }
            }
        }
        Ok(())
    }

    /// The table of the recorded times.
    pub fn cost(&self) -> Result<CostTable, CostError> {
        let sample = |(rows, kv_len, us)| Sample { rows, kv_len, us };
        let verify: Vec<Sample> = self.verify.iter().copied().map(sample).collect();
        let draft = self.draft.iter().map(|&(rows, us)| sample((rows, 0, us)));
        let between = if self.padded { Between::Step } else { Between::Linear };
        CostTable::from_samples(&verify, &draft.collect::<Vec<_>>(), 0.0, between)
    }
}

impl Text {
    /// The nodes that the text itself takes from the draft before token `at`, root first and left
    /// out. The last token is never drafted: a path of `d` nodes commits `d + 1` tokens.
    pub fn path(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let round = &self.rounds[at];
        let mut node = 0;
        self.tokens[at..self.tokens.len() - 1].iter().map_while(move |&token| {
            let next = round.children(node).find(|&n| round.token[n - 1] == token)?;
            node = next;
            Some(next)
        })
    }
}

impl Round {
    /// The children of `node`, ascending.
    pub fn children(&self, node: usize) -> std::ops::Range<usize> {
        // Nodes stand level by level and, in a level, by parent.
        let start = self.parent.partition_point(|&p| (p as usize) < node);
        let len = self.parent[start..].partition_point(|&p| p as usize == node);
        start + 1..start + 1 + len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        // Root, children 8 and 9, then 10 below 8 and 11 below 9.
        let parent = vec![0, 0, 1, 2];
        let draft = Round { parent, token: vec![8, 9, 10, 11], score: vec![-0.5; 4] };
        let rounds = vec![draft, Round::default(), Round::default()];
        let text = Text { n_prompt: 3, tokens: vec![9, 11, 12], rounds };
        Trace {
            version: Trace::VERSION,
            model: "m".into(),
            drafter: "d".into(),
            machine: "c".into(),
            shape: (2, 2),
            verify: vec![(1, 8, 10.0)],
            padded: false,
            draft: vec![(1, 2.0)],
            learnt: Some(Learnt { survival: vec![(0.5, 0.25)], ..Learnt::default() }),
            texts: vec![text],
        }
    }

    #[test]
    fn padded_forwards_take_the_time_of_the_next_measured_one() {
        let us = |padded| {
            let trace = Trace { verify: vec![(1, 8, 10.0), (5, 8, 30.0)], padded, ..trace() };
            trace.cost().unwrap().verify_us(3, 8)
        };
        assert_eq!([us(true), us(false)], [30.0, 20.0]);
    }

    #[test]
    fn a_text_walks_its_draft() {
        let mut trace = trace();
        assert_eq!(trace.texts[0].path(0).collect::<Vec<_>>(), [2, 4]);
        // The last token comes from the verdict, not from the draft.
        trace.texts[0].tokens.truncate(2);
        assert_eq!(trace.texts[0].path(0).collect::<Vec<_>>(), [2]);
        trace.texts[0].tokens[0] = 8;
        assert_eq!(trace.texts[0].path(0).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn what_is_written_is_read_and_nonsense_is_named() {
        let json = serde_json::to_string(&trace()).unwrap();
        assert_eq!(Trace::from_json(&json), Ok(trace()));
        assert!(matches!(Trace::from_json("{"), Err(TraceError::Format(_))));
        let broken = |change: fn(&mut Trace)| {
            let mut trace = trace();
            change(&mut trace);
            trace.check().unwrap_err().to_string()
        };
        assert!(broken(|t| t.version = 7).contains("version 7, not 1"));
        assert!(broken(|t| t.texts.clear()).contains("no text"));
        assert!(broken(|t| t.texts[0].rounds.clear()).contains("one round for each token"));
        assert!(broken(|t| t.texts[0].rounds[0].score.clear()).contains("differ in length"));
        assert!(broken(|t| t.texts[0].rounds[0].parent[0] = 1).contains("before its parent"));
        assert!(broken(|t| t.texts[0].rounds[0].parent[3] = 0).contains("level by level"));
        assert!(broken(|t| t.texts[0].rounds[0].score[0] = 0.5).contains("surer than its parent"));
    }
}
