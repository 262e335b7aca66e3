//! Line plots as SVG.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 420);

/// A named line.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Drawn thick: what the reader came for.
    pub(crate) is_bold: bool,
}

/// How a plot is drawn.
pub(crate) struct Axes<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    /// Whether x doubles from tick to tick.
    pub(crate) is_log: bool,
}

/// The lines as an SVG drawing, a legend beside them.
pub(crate) fn lines(axes: &Axes<'_>, lines: &[Line]) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&area, axes, lines).map_err(|error| anyhow!("{}: {error}", axes.title))?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(
    area: &Area<'_>,
    axes: &Axes<'_>,
    lines: &[Line],
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let at = |x: f64| if axes.is_log { x.max(f64::MIN_POSITIVE).log2() } else { x };
    let all = || lines.iter().flat_map(|line| &line.points);
    let (left, right) =
        all().fold((f64::MAX, f64::MIN), |(low, high), &(x, _)| (low.min(at(x)), high.max(at(x))));
    let top = all().fold(0.0, |high: f64, &(_, y)| high.max(y)) * 1.05;
    if !(left <= right && top > 0.0) {
        return Ok(());
    }
    // Names stand to the right of the lines.
    let edge = right + (0.3 * (right - left)).max(1e-9);
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(axes.title, ("sans-serif", 18))
        .margin(8)
        .margin_right(16)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(left..edge, 0.0..top)?;
    let label = |x: &f64| match axes.is_log {
        _ if *x > right + 1e-6 => String::new(),
        false => format!("{x:.2}"),
        // Powers of two alone.
        true if (x - x.round()).abs() < 1e-6 => x.round().exp2().to_string(),
        true => String::new(),
    };
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(axes.x).y_desc(axes.y).light_line_style(WHITE).x_label_formatter(&label);
    if axes.is_log {
        mesh.x_labels((edge - left) as usize + 1);
    }
    mesh.draw()?;
    for (i, line) in lines.iter().enumerate() {
        let colour = Palette99::pick(i).to_rgba();
        let style = colour.stroke_width(if line.is_bold { 3 } else { 1 });
        let points = line.points.iter().map(|&(x, y)| (at(x), y));
        chart
            .draw_series(LineSeries::new(points.clone(), style))?
            .label(line.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        chart.draw_series(points.map(|point| Circle::new(point, 2, colour.filled())))?;
    }
    let place = SeriesLabelPosition::UpperRight;
    let mut legend = chart.configure_series_labels();
    legend.position(place).background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2));
    legend.draw()?;
    area.present()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_names_its_axes_and_lines() {
        let line =
            Line { name: "echo".into(), points: vec![(1.0, 5.0), (8.0, 3.0)], is_bold: true };
        let axes = Axes { title: "speed", x: "requests", y: "tokens/s", is_log: true };
        let svg = lines(&axes, &[line]).expect("it can be drawn");
        for text in ["<svg", "speed", "requests", "tokens/s", "echo", ">\n8\n<"] {
            assert!(svg.contains(text), "no {text} in {svg}");
        }
    }

    #[test]
    fn nothing_and_odd_numbers_are_drawn_as_nothing() {
        let axes = Axes { title: "t", x: "x", y: "y", is_log: false };
        assert!(lines(&axes, &[]).is_ok());
        let odd = Line { name: "n".into(), points: vec![(f64::NAN, f64::NAN)], is_bold: false };
        assert!(lines(&axes, &[odd]).is_ok());
    }
}
