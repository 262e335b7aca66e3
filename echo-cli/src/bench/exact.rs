//! Exactness alone: what every row says, at several concurrencies and temperatures, against plain
//! decoding of one request at a time. Nothing is timed.

use super::decode::{self, Setting};
use super::rows::{self, PLAIN, Row};
use crate::engine_args::EngineArgs;
use crate::team::Team;
use anyhow::Result;
use echo_core::Token;
use echo_runtime::Request;
use indicatif::{ProgressBar, ProgressStyle};

/// Requests at once, and temperatures, at which outputs are compared.
pub(super) const CONCURRENCY: [usize; 3] = [1, 8, 32];
pub(super) const TEMPERATURES: [f32; 2] = [0.0, 1.0];

/// One row at one concurrency and temperature.
pub(super) struct Compared {
    name: String,
    temperature: f32,
    concurrency: usize,
    texts: usize,
    tokens: usize,
    /// Index of each text that differs from plain decoding's.
    pub(super) differing: Vec<usize>,
}

/// The rows whose outputs are compared: the policies with both drafters together, and `auto` with
/// each alone.
pub(super) fn rows(args: &EngineArgs, names: &[String]) -> Result<Vec<Row>> {
    if !names.is_empty() {
        return rows::select(args, names, false);
    }
    let usual = ["chain-4", "topn", "talon", "dcut", "echo", "goodput", "auto"];
    let mut rows = rows::select(args, &usual.map(str::to_owned), false)?;
    let auto = rows.last().expect("auto is a row").clone();
    let alone = |drafter: &str| Row {
        name: format!("auto, {drafter}"),
        drafter: drafter.into(),
        ..auto.clone()
    };
    if args.drafter == "auto" {
        rows.extend(["eagle", "ngram"].map(alone));
    }
    Ok(rows)
}

/// Runs `requests(temperature)` under every row.
pub(super) fn measure(
    setting: &Setting<'_>,
    team: &mut Team,
    requests: impl Fn(f32) -> Result<Vec<Request>>,
) -> Result<Vec<Compared>> {
    let rows = &setting.plan.rows;
    let plain = rows.iter().find(|row| row.name == PLAIN).expect("plain decoding is a row");
    let runs = TEMPERATURES.len() * (1 + rows.len() * CONCURRENCY.len());
    let bar = ProgressBar::new(runs as u64).with_style(
        ProgressStyle::with_template("comparing {bar:30} {pos}/{len} runs {elapsed} {msg}")
            .expect("the template is right"),
    );
    let mut all = Vec::new();
    for temperature in TEMPERATURES {
        let requests = requests(temperature)?;
        let reference = decode::outputs(setting, plain, 1, team, &requests)?;
        bar.inc(1);
        for row in rows {
            for concurrency in CONCURRENCY {
                bar.set_message(format!("{} at {concurrency}", row.name));
                let own = decode::outputs(setting, row, concurrency, team, &requests)?;
                let compared = Compared::new(row, temperature, concurrency, &reference, &own);
                bar.suspend(|| compared.print());
                all.push(compared);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(all)
}

impl Compared {
    fn new(
        row: &Row,
        temperature: f32,
        concurrency: usize,
        reference: &[Vec<Token>],
        own: &[Vec<Token>],
    ) -> Self {
        let differs = |&i: &usize| own.get(i) != reference.get(i);
        Compared {
            name: row.name.clone(),
            temperature,
            concurrency: concurrency.min(reference.len()),
            texts: reference.len(),
            tokens: own.iter().map(Vec::len).sum(),
            differing: (0..reference.len().max(own.len())).filter(differs).collect(),
        }
    }

    fn print(&self) {
        let Compared { name, temperature, concurrency, texts, tokens, differing } = self;
        let of = format!("{name} at temperature {temperature}, {concurrency} at once");
        println!("{of}: {texts} texts, {tokens} tokens: {} differ {differing:?}", differing.len());
    }
}

/// Prints the sums.
pub(super) fn print(all: &[Compared]) {
    let sum = |of: fn(&Compared) -> usize| all.iter().map(of).sum::<usize>();
    let (texts, tokens) = (sum(|c| c.texts), sum(|c| c.tokens));
    println!("in all {texts} texts, {tokens} tokens: {} differ", sum(|c| c.differing.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_too_many_or_another_is_a_difference() {
        let flags = EngineArgs::parsed([]);
        let row = &rows(&flags, &[]).expect("known rows")[0];
        let reference = [vec![1, 2], vec![3], vec![4, 5], vec![6]];
        let own = [vec![1, 2], vec![3, 9], vec![4, 6]];
        let compared = Compared::new(row, 0.0, 32, &reference, &own);
        assert_eq!((compared.concurrency, compared.differing), (4, vec![1, 2, 3]));
        assert!(Compared::new(row, 0.0, 1, &reference, &reference).differing.is_empty());
    }

    #[test]
    fn both_drafters_are_compared_together_and_alone() {
        let flags = EngineArgs::parsed([]);
        let rows = rows(&flags, &[]).expect("known rows");
        assert!(rows.len() >= 9 && rows[0].name == PLAIN);
        let drafters = ["auto", "eagle", "ngram", "none"];
        assert!(drafters.iter().all(|name| rows.iter().any(|row| row.drafter == *name)));
    }
}
