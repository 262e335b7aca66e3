//! Exactness alone: what every row says, at several concurrencies and temperatures, against plain
//! decoding of one request at a time. Nothing is timed.

use super::decode::{self, Setting};
use super::rows::{self, PLAIN, Row};
use super::sample::Sample;
use crate::engine_args::EngineArgs;
use crate::team::Team;
use anyhow::{Result, bail};
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
    /// Drafted rows that were verified, and accepted.
    drafted: (usize, usize),
    /// Faults of policies and drafter, after which it decodes plainly.
    faults: usize,
    /// Index of each text that differs from plain decoding's.
    differing: Vec<usize>,
}

/// The rows whose outputs are compared: the policies with both drafters together, and `auto` with
/// each alone; `has_head` says whether a head comes with the model.
pub(super) fn rows(args: &EngineArgs, names: &[String], has_head: bool) -> Result<Vec<Row>> {
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
    if args.drafter == "auto" && has_head {
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
        let reference = decode::outputs(setting, plain, 1, team, &requests)?.tokens;
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
        own: &Sample,
    ) -> Self {
        let Sample { tokens: own, stats, .. } = own;
        let differs = |&i: &usize| own.get(i) != reference.get(i);
        Compared {
            name: row.name.clone(),
            temperature,
            concurrency: concurrency.min(reference.len()),
            texts: reference.len(),
            tokens: own.iter().map(Vec::len).sum(),
            drafted: (stats.verified, stats.accepted),
            faults: stats.policy_faults,
            differing: (0..reference.len().max(own.len())).filter(differs).collect(),
        }
    }

    fn print(&self) {
        let Compared { name, temperature, concurrency, texts, tokens, differing, .. } = self;
        let (verified, accepted) = self.drafted;
        let of = format!("{name} at temperature {temperature}, {concurrency} at once");
        println!(
            "{of}: {texts} texts, {tokens} tokens, {accepted} of {verified} drafted rows \
             accepted: {} differ {differing:?}",
            differing.len()
        );
    }
}

/// Prints the sums.
pub(super) fn print(all: &[Compared]) {
    let sum = |of: fn(&Compared) -> usize| all.iter().map(of).sum::<usize>();
    let (texts, tokens) = (sum(|c| c.texts), sum(|c| c.tokens));
    println!("in all {texts} texts, {tokens} tokens: {} differ", sum(|c| c.differing.len()));
}

/// Refuses outputs that differ, and a comparison that shows nothing: of a row that never drafted,
/// or whose policies failed.
pub(super) fn check(all: &[Compared]) -> Result<()> {
    if all.iter().any(|c| !c.differing.is_empty()) {
        bail!("outputs differ from plain decoding: a bug");
    }
    if let Some(faulty) = all.iter().find(|c| c.faults > 0) {
        bail!("`{}` had {} faults and decoded plainly then: a bug", faulty.name, faulty.faults);
    }
    let verified =
        |name: &str| -> usize { all.iter().filter(|c| c.name == name).map(|c| c.drafted.0).sum() };
    match all.iter().find(|c| c.name != PLAIN && verified(&c.name) == 0) {
        Some(idle) => bail!("`{}` drafted nothing, so that nothing was compared", idle.name),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_runtime::StepStats;

    #[test]
    fn a_token_too_many_or_another_is_a_difference() {
        let flags = EngineArgs::parsed([]);
        let row = &rows(&flags, &[], true).expect("known rows")[1];
        let reference = [vec![1, 2], vec![3], vec![4, 5], vec![6]];
        let own = sample(&[&[1, 2], &[3, 9], &[4, 6]], &StepStats::default());
        let compared = Compared::new(row, 0.0, 32, &reference, &own);
        assert_eq!((compared.concurrency, &compared.differing[..]), (4, &[1, 2, 3][..]));
        assert!(check(&[compared]).expect_err("they differ").to_string().contains("a bug"));
    }

    #[test]
    fn equal_outputs_show_nothing_where_nothing_was_drafted() {
        let flags = EngineArgs::parsed([]);
        let row = &rows(&flags, &[], true).expect("known rows")[1];
        let of = |verified, policy_faults| {
            let stats = StepStats { verified, policy_faults, ..StepStats::default() };
            Compared::new(row, 0.0, 1, &[vec![1]], &sample(&[&[1]], &stats))
        };
        let said = |all: &[Compared]| check(all).expect_err("it shows nothing").to_string();
        assert!(said(&[of(0, 0), of(0, 0)]).contains("drafted nothing"));
        assert!(said(&[of(9, 0), of(9, 1)]).contains("1 faults"));
        assert!(check(&[of(0, 0), of(9, 0)]).is_ok());
    }

    fn sample(tokens: &[&[Token]], stats: &StepStats) -> Sample {
        Sample {
            tokens: tokens.iter().map(|tokens| tokens.to_vec()).collect(),
            stats: *stats,
            ..Sample::default()
        }
    }

    #[test]
    fn both_drafters_are_compared_together_and_alone() {
        let flags = EngineArgs::parsed([]);
        let alone = |has_head| rows(&flags, &[], has_head).expect("known rows");
        assert!(alone(false).iter().all(|row| row.drafter != "eagle"));
        let rows = alone(true);
        assert!(rows.len() >= 9 && rows[0].name == PLAIN);
        let drafters = ["auto", "eagle", "ngram", "none"];
        assert!(drafters.iter().all(|name| rows.iter().any(|row| row.drafter == *name)));
    }
}
