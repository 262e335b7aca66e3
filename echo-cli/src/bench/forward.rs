//! Layer 3: what a forward costs by its number of rows. The curve decides whether speculation can
//! pay.

use super::rows::Row;
use super::table;
use crate::known::Known;
use crate::registry;
use crate::setup;
use crate::team::Team;
use anyhow::{Result, bail};
use echo_core::Limits;
use echo_runtime::{Profile, profile_within};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the curve may take to measure; a slow device has fewer points.
const BUDGET: Duration = Duration::from_secs(30);
/// What the draft passes of one drafter may take.
const DRAFT_BUDGET: Duration = Duration::from_secs(4);

/// One point of the curve.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Forward {
    pub(crate) rows: usize,
    pub(crate) kv_len: usize,
    pub(crate) median_us: f64,
    pub(crate) min_us: f64,
    pub(crate) max_us: f64,
}

/// Measures the curve at some lengths of the cache.
pub(crate) fn measure(
    team: &mut Team,
    limits: &Limits,
    kv_lens: &[usize],
    repeat: usize,
) -> Result<Vec<Forward>> {
    let rows = setup::profiled_rows(rows_most(limits), team.tiers());
    let profiles = profile_within(team.target(), limits, &rows, kv_lens, repeat.max(5), BUDGET)?;
    let mut curve = Vec::new();
    for &kv_len in kv_lens {
        for &rows in &rows {
            let mut us: Vec<f64> = profiles
                .iter()
                .filter(|p: &&Profile| p.rows == rows && p.kv_len == kv_len)
                .map(|p| p.time.as_secs_f64() * 1e6)
                .collect();
            us.sort_by(f64::total_cmp);
            let (Some(&min_us), Some(&max_us)) = (us.first(), us.last()) else { continue };
            let median_us = us[us.len() / 2];
            curve.push(Forward { rows, kv_len, median_us, min_us, max_us });
        }
    }
    Ok(curve)
}

/// The most rows that are timed: all that a step may have, but beyond 256 no more than four of each
/// request. Of more, a curve tells little that is new, and takes long on a slow device.
fn rows_most(limits: &Limits) -> usize {
    let most = (limits.seqs_max * (1 + limits.tree_max)).min((4 * limits.seqs_max).max(256));
    limits.rows_max.min(most)
}

/// What the policies of the drafters in `rows` may know: the curve, timed draft passes, and the
/// drafter's calibration.
pub(crate) fn known(
    curve: &[Forward],
    team: &mut Team,
    rows: &[Row],
    limits: &Limits,
) -> Result<BTreeMap<String, Known>> {
    let time = |us: f64| Duration::from_secs_f64(us / 1e6);
    let of = |f: &Forward| Profile { rows: f.rows, kv_len: f.kv_len, time: time(f.min_us) };
    let verify: Vec<Profile> = curve.iter().map(of).collect();
    let mut all = BTreeMap::new();
    for row in rows.iter().filter(|row| registry::measures(&row.gate, &row.solver)) {
        if verify.is_empty() {
            bail!(
                "no forward could be timed, which `{}` asks for: --context holds {} tokens, and \
                 --kv-len asks for more before them; take less",
                row.name,
                limits.context_max
            );
        }
        if !all.contains_key(&row.drafter) {
            let draft = team.profile_draft(&row.drafter, limits, 5, DRAFT_BUDGET)?;
            let calibration = team.calibration(&row.drafter);
            let known = Known::new(&verify, &draft, team.tiers(), calibration)?;
            all.insert(row.drafter.clone(), known);
        }
    }
    Ok(all)
}

/// Prints `T(rows)` and `T(rows) / T(1)`.
pub(crate) fn print(curve: &[Forward]) {
    println!("\nforward: time by rows (median, spread), and relative to one row\n");
    let one = |kv_len| curve.iter().find(|f| f.rows == 1 && f.kv_len == kv_len);
    let rows: Vec<Vec<String>> = curve
        .iter()
        .map(|f| {
            let ratio = one(f.kv_len).map_or(f64::NAN, |one| f.median_us / one.median_us);
            vec![
                format!("{}", f.rows),
                format!("{}", f.kv_len),
                format!("{:.2}", f.median_us / 1e3),
                format!("{:.2}–{:.2}", f.min_us / 1e3, f.max_us / 1e3),
                format!("{ratio:.2}"),
                format!("{:.1}", f.rows as f64 / f.median_us * 1e6),
            ]
        })
        .collect();
    table::print(&["rows", "kv len", "T ms", "spread", "T(rows)/T(1)", "rows/s"], &rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_rows_of_each_request_are_timed_where_there_are_many() {
        let most = |seqs| {
            let limits = Limits { tree_max: 32, rows_max: 10_000, ..Limits::usual(seqs, 512) };
            rows_most(&limits)
        };
        assert_eq!([1, 4, 64, 256].map(most), [33, 132, 256, 1024]);
        assert_eq!(rows_most(&Limits { rows_max: 300, ..Limits::usual(256, 512) }), 300);
    }
}
