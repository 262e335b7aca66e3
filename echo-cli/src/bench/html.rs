//! The report as one page: tables and plots, nothing fetched from anywhere.

use super::decoded::{Decoded, median};
use super::forward::Forward;
use super::plot::{self, Axes, Line};
use super::report::Report;
use super::rows::PLAIN;
use anyhow::Result;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:66em;margin:2em auto;padding:0 1em}\
    table{border-collapse:collapse;margin:1em 0}\
    td,th{padding:.2em .7em;text-align:right;white-space:nowrap}\
    td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#f4f4f4}\
    .loses{color:#a00}.wins{color:#060;font-weight:bold}svg{max-width:100%;height:auto}\
    pre{background:#f4f4f4;padding:1em;overflow:auto}";

/// The page. Fails if there is no plain row: a speed-up would have nothing to stand on.
pub(crate) fn page(report: &Report) -> Result<String> {
    let mut page = String::from("<!doctype html><html lang=en><meta charset=utf-8>");
    write!(page, "<title>Echo: a run of the bench</title><style>{STYLE}</style>")?;
    write!(page, "<h1>A run of the bench</h1><p>{}</p>", escape(&report.about()))?;
    if !report.decode.iter().any(|row| row.name == PLAIN) {
        anyhow::bail!("the report has no plain row to compare with");
    }
    speeds(&mut page, &report.decode)?;
    curves(&mut page, &report.forward, &report.decode)?;
    roc(&mut page, report)?;
    if let Some(tree) = &report.tree {
        let text = escape(tree);
        write!(
            page,
            "<h2>The super-tree of one step</h2><p>Tokens with their cumulative draft \
             log-probability; <code>*</code> was verified.</p>\
             <pre>{text}</pre>"
        )?;
    }
    Ok(page)
}

/// Tokens per second and accepted length against concurrency, as plots and tables.
fn speeds(page: &mut String, decoded: &[Decoded]) -> Result<()> {
    let mut names: Vec<&str> = decoded.iter().map(|row| row.name.as_str()).collect();
    names.dedup();
    names.sort_by_key(|name| decoded.iter().position(|row| row.name == *name));
    names.dedup();
    let lines = |value: &dyn Fn(&Decoded) -> f64| -> Vec<Line> {
        let of = |name: &&str| {
            let own = decoded.iter().filter(|row| row.name == *name);
            let points = own.map(|row| (row.concurrency as f64, value(row))).collect();
            Line { name: (*name).to_owned(), points, is_bold: matches!(*name, PLAIN | "auto") }
        };
        names.iter().map(of).collect()
    };
    let axes = |title, y| Axes { title, x: "requests at once", y, is_log: true };
    page.push_str("<h2>Decoding</h2>");
    // A plot by concurrency needs two of them; the table tells all in any case.
    if decoded.iter().any(|row| row.concurrency != decoded[0].concurrency) {
        let speed = lines(&|row| row.speedup);
        let title = "Speed, each beside plain decoding";
        page.push_str(&plot::lines(&axes(title, "times plain decoding"), &speed)?);
        let length = lines(&|row| row.accepted_len);
        page.push_str(&plot::lines(&axes("Tokens per forward and request", "tokens"), &length)?);
    }
    page.push_str("<table><tr><th>row<th>requests<th>tokens/s<th>vs plain<th>spread<th>while full");
    page.push_str("<th>accepted<th>rows/step<th>wasted<th>exact");
    for row in decoded {
        let class = match row.speedup {
            s if s < 0.98 => "loses",
            s if s > 1.02 => "wins",
            _ => "even",
        };
        write!(
            page,
            "<tr><td title=\"{}\">{}<td>{}<td>{:.1}<td class={class}>{:.2}×<td>\
             {:.2}–{:.2}<td>{}<td>{:.2}<td>{:.1}<td>{:.1}<td>{:.0} %",
            escape(row.about),
            escape(&row.name),
            row.concurrency,
            median(row.tokens_per_s.clone()),
            row.speedup,
            row.speedup_spread.0,
            row.speedup_spread.1,
            row.full_cell(),
            row.accepted_len,
            row.rows_per_step,
            row.wasted_rows,
            100.0 * row.exact_match,
        )?;
    }
    page.push_str("</table>");
    Ok(())
}

/// `T(rows)` at each length of the cache, and where on it `auto` decoded.
fn curves(page: &mut String, forward: &[Forward], decoded: &[Decoded]) -> Result<()> {
    let mut lengths: Vec<usize> = forward.iter().map(|f| f.kv_len).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let line = |&kv_len: &usize| {
        let own = forward.iter().filter(|f| f.kv_len == kv_len);
        let points = own.map(|f| (f.rows as f64, f.median_us / 1e3)).collect();
        Line { name: format!("{kv_len} cached tokens"), points, is_bold: true }
    };
    let mut lines: Vec<Line> = lengths.iter().map(line).collect();
    if let Some(curve) = lines.first().map(|line| line.points.clone()) {
        let chosen = decoded.iter().filter(|row| row.name == "auto");
        let point = |row: &Decoded| (row.rows_per_step, height(&curve, row.rows_per_step));
        let points = chosen.map(point).collect();
        lines.push(Line { name: "rows that auto chose".into(), points, is_bold: false });
    }
    let axes = Axes { title: "Time of a forward", x: "rows", y: "ms", is_log: true };
    page.push_str("<h2>The target's forward</h2>");
    page.push_str(&plot::lines(&axes, &lines)?);
    Ok(())
}

/// The height of an ascending curve at `x`.
fn height(curve: &[(f64, f64)], x: f64) -> f64 {
    let right = curve.partition_point(|&(at, _)| at < x).clamp(1, curve.len().max(2) - 1);
    match curve {
        [] => f64::NAN,
        [(_, only)] => *only,
        _ => {
            let ((x0, y0), (x1, y1)) = (curve[right - 1], curve[right]);
            y0 + (x - x0) / (x1 - x0) * (y1 - y0)
        }
    }
}

/// How well the draft's confidence tells right from wrong, by depth.
fn roc(page: &mut String, report: &Report) -> Result<()> {
    let Some(calibration) = &report.calibration else {
        return Ok(());
    };
    let line = |known: &echo_gate::DepthCalibration| {
        let point = |p: &echo_gate::RocPoint| (f64::from(p.false_rate), f64::from(p.true_rate));
        let auc = known.auc.map_or(f32::NAN, |auc| auc.value);
        Line {
            name: format!("depth {}, AUC {auc:.2}", known.depth),
            points: known.roc.iter().map(point).collect(),
            is_bold: known.chosen,
        }
    };
    let judged = calibration.calibration.depths.iter().filter(|known| known.auc.is_some());
    let lines: Vec<Line> = judged.map(line).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let (x, y) = ("share of lost rounds kept open", "share of gained rounds kept open");
    let axes = Axes { title: "The gate's confidence (thick: looked at)", x, y, is_log: false };
    page.push_str("<h2>Calibration</h2>");
    page.push_str(&plot::lines(&axes, &lines)?);
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
