//! Conformance of [`topk_logprob`](crate::reference::topk_logprob()).

use super::purity::{ROWS_MAX, Rows};
use super::random::Random;
use super::sheet::{Sheet, upload};
use super::suite::Suite;
use crate::reference;
use echo_core::port::{Data, Kernels};
use echo_core::{DeviceError, TopK};

/// How far a log-probability may lie from the reference's.
const CLOSE: f32 = 1e-5;

pub(super) fn check(suite: &mut Suite<'_>) {
    let kernels = suite.open();
    for (rows, width, k) in
        [(0, 1, 1), (1, 1, 1), (3, 17, 17), (5, 33, 4), (13, 6144, 4), (9, 6144, 10), (2, 700, 64)]
    {
        let mut random = Random::new(width as u64);
        let mut x = Sheet::random(rows, width, &mut random);
        for row in 0..rows {
            spice(x.row_mut(row), row);
        }
        let mut expected = TopK::default();
        reference::topk_logprob(rows, &x.data, x.area, k, &mut expected);
        let name = format!("{k} of {rows} x {width}");
        match run(&*kernels, &x, k) {
            Ok(actual) => {
                suite.verdict(&name, compare(&actual, &expected));
                for wrong in wrong_variants(&x, &expected) {
                    let rejected = compare(&actual, &wrong).is_err().then_some(());
                    suite.verdict(&name, rejected.ok_or_else(|| "a wrong variant passes".into()));
                }
            }
            Err(error) => suite.verdict(&name, Err(error.to_string())),
        }
    }
    suite.pure("6144 columns", ROWS_MAX, &prepare);
}

/// Ties, NaN and infinities, in some rows.
fn spice(x: &mut [f32], row: usize) {
    let last = x.len() - 1;
    match row % 6 {
        1 => x.fill(0.25),
        2 => x[last / 2] = f32::NAN,
        3 => x.fill(f32::NEG_INFINITY),
        4 => (x[0], x[last]) = (7.5, 7.5),
        5 => (x[0], x[last]) = (f32::NEG_INFINITY, 90.0),
        _ => {}
    }
}

fn compare(actual: &TopK, expected: &TopK) -> Result<(), String> {
    if (actual.k, &actual.column) != (expected.k, &expected.column) {
        return Err(format!("columns {:?}, expected {:?}", actual.column, expected.column));
    }
    for (i, (&a, &e)) in actual.log_prob.iter().zip(&expected.log_prob).enumerate() {
        let near = (a - e).abs() <= CLOSE * e.abs().max(1.0);
        if a != e && !near {
            return Err(format!("log-probability {i} is {a}, expected {e}"));
        }
    }
    Ok(())
}

/// Ties broken by the highest column, and probabilities over the listed columns alone.
fn wrong_variants(x: &Sheet, expected: &TopK) -> Vec<TopK> {
    let (k, width) = (expected.k, x.area.width);
    let mut wrong = Vec::new();
    if x.rows >= 2 && k < width {
        let mut high = expected.clone();
        // Row 1 is a tie of all columns.
        high.column[k..2 * k].iter_mut().enumerate().for_each(|(i, c)| *c = (width - 1 - i) as u32);
        wrong.push(high);
    }
    if x.rows > 0 && k < width {
        let mut listed = expected.clone();
        let sum: f32 = listed.log_prob[..k].iter().map(|l| l.exp()).sum();
        listed.log_prob[..k].iter_mut().for_each(|l| *l -= sum.ln());
        wrong.push(listed);
    }
    wrong
}

fn run(kernels: &dyn Kernels, x: &Sheet, k: usize) -> Result<TopK, DeviceError> {
    let buffer = x.upload(kernels)?;
    let mut best = TopK::default();
    kernels.topk_logprob(x.rows, x.mat(buffer), k, &mut best)?;
    Ok(best)
}

fn prepare(kernels: &dyn Kernels) -> Result<Rows<'_>, DeviceError> {
    let mut x = Sheet::random(ROWS_MAX, 6144, &mut Random::new(3));
    for row in 0..ROWS_MAX {
        spice(x.row_mut(row), row);
    }
    let buffer = upload(kernels, &x.data)?;
    Ok(Box::new(move |choice| {
        let mut chosen = x.clone();
        for (i, &row) in choice.iter().enumerate() {
            chosen.row_mut(i).copy_from_slice(x.row(row));
        }
        kernels.write(buffer, 0, Data::F32(&chosen.data))?;
        let mut best = TopK::default();
        kernels.topk_logprob(choice.len(), chosen.mat(buffer), 4, &mut best)?;
        let flat = |row| best.row(row).flat_map(|(c, l)| [f32::from_bits(c), l]).collect();
        Ok((0..choice.len()).map(flat).collect())
    }))
}
