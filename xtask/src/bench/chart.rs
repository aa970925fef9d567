//! A figure as a bar chart: SVG, written by hand, readable on a light and on a dark page.

use std::fmt::Write as _;

use super::figure::{Figure, Row};
use super::table::number;

const WIDTH: f64 = 860.0;
/// Where bars begin: engines' names are left of it.
const LEFT: f64 = 250.0;
/// Where the longest whisker ends: medians are right of each bar.
const RIGHT: f64 = 760.0;
const TOP: f64 = 92.0;
const STEP: f64 = 34.0;
const BAR: f64 = 20.0;

const OURS: &str = "#0f766e";
const THEIRS: &str = "#a8b3c2";
const INK: &str = "#1f2937";
const PALE: &str = "#64748b";
const GRID: &str = "#e5e9f0";

/// Draws it.
pub fn chart(figure: &Figure) -> String {
    let rows = u32::try_from(figure.rows.len()).unwrap_or(u32::MAX);
    let bottom = f64::from(rows).mul_add(STEP, TOP);
    let height = bottom + 48.0;
    let (tick, end) = scale(reach(figure));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"Inter, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, 24.0, 38.0, 20.0, INK, "start", true, figure.title);
    let better = if figure.more_is_better { "more is better" } else { "less is better" };
    let counts = figure.rows.iter().filter_map(|row| row.value).map(|value| value.n);
    let (least, most) = counts.fold((usize::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
    let runs = match (least, most) {
        (_, 0) => "no numbers".to_owned(),
        (_, 1) => "one sample".to_owned(),
        (least, most) if least == most => format!("medians of {most}, lines from least to greatest"),
        (least, most) => format!("medians of {least} to {most}, lines from least to greatest"),
    };
    text(&mut svg, 24.0, 62.0, 13.0, PALE, "start", false, &format!("{} – {better} – {runs}", figure.unit));
    let mut at = 0.0;
    while at <= end * 1.0001 {
        let x = place(at, end);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"{GRID}\"/>",
            TOP - 8.0
        );
        text(&mut svg, x, bottom + 20.0, 12.0, PALE, "middle", false, &label(at));
        at += tick;
    }
    let mut y = TOP;
    for row in &figure.rows {
        bar(&mut svg, row, y, end);
        y += STEP;
    }
    svg.push_str("</svg>\n");
    svg
}

/// Where a value is on an axis that goes to `end`.
fn place(value: f64, end: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * (value / end).min(1.0)
}

fn bar(svg: &mut String, row: &Row, y: f64, end: f64) {
    let colour = if row.ours { OURS } else { THEIRS };
    let middle = y + BAR / 2.0;
    text(svg, LEFT - 12.0, middle + 4.5, 13.0, INK, "end", row.ours, &row.engine);
    let Some(value) = row.value else {
        text(svg, LEFT + 8.0, middle + 4.5, 12.0, PALE, "start", false, "failed, see the table");
        return;
    };
    // A spread that leaves the chart would only look like one.
    let broken = value.max > end * 1.0001;
    let (low, end, high) = (place(value.min, end), place(value.median, end), place(value.max, end));
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"3\" fill=\"{colour}\"/>",
        (end - LEFT).max(1.0)
    );
    if broken {
        let (x, low) = (RIGHT - 22.0, y + BAR + 3.0);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {low:.1}l8 -{0}M{1:.1} {low:.1}l8 -{0}\" stroke=\"#ffffff\" stroke-width=\"3\"/>",
            BAR + 6.0,
            x + 7.0
        );
    } else if value.n > 1 {
        let _ = writeln!(
            svg,
            "<path d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {:.1}v8M{high:.1} {:.1}v8\" stroke=\"{INK}\" \
             stroke-opacity=\"0.7\" stroke-width=\"1.3\" fill=\"none\"/>",
            middle - 4.0,
            middle - 4.0
        );
    }
    text(svg, high.max(end) + 10.0, middle + 4.5, 13.0, INK, "start", row.ours, &number(value.median));
}

/// How far the axis has to go. One bar that is many times as long as all others is cut off instead of making them
/// unreadable; its number says how long it is.
fn reach(figure: &Figure) -> f64 {
    const MANY: f64 = 5.0;
    let mut ends: Vec<f64> = figure.rows.iter().filter_map(|row| row.value).map(|value| value.max).collect();
    ends.sort_by(f64::total_cmp);
    match ends[..] {
        [.., second, first] if first > MANY * second && second > 0.0 => second * 1.25,
        [.., first] => first,
        [] => 0.0,
    }
}

/// The distance of marks, and the axis's end, a whole number of marks away: so that about five marks show.
fn scale(greatest: f64) -> (f64, f64) {
    if greatest <= 0.0 {
        return (1.0, 1.0);
    }
    let power = 10_f64.powf((greatest / 5.0).log10().floor());
    let tick =
        [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power).into_iter().find(|tick| tick * 5.0 >= greatest);
    let tick = tick.unwrap_or(power * 10.0);
    (tick, tick * (greatest / tick).ceil())
}

/// A mark's number.
fn label(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[expect(clippy::too_many_arguments, reason = "each is one attribute of the element")]
fn text(svg: &mut String, x: f64, y: f64, size: f64, fill: &str, anchor: &str, bold: bool, words: &str) {
    let weight = if bold { " font-weight=\"600\"" } else { "" };
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{fill}\" text-anchor=\"{anchor}\"{weight}>{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figure::Spec;

    #[test]
    fn marks_are_round_numbers() {
        assert_eq!(scale(543.0), (200.0, 600.0));
        assert_eq!(scale(1000.0), (200.0, 1000.0));
        assert_eq!(scale(0.0), (1.0, 1.0));
        let (tick, end) = scale(0.034);
        assert!((tick - 0.01).abs() < 1e-9 && (end - 0.04).abs() < 1e-9, "{tick} {end}");
        assert_eq!((label(2.5), label(100.0), label(0.0)), ("2.5".into(), "100".into(), "0".into()));
    }

    #[test]
    fn one_bar_that_is_far_longer_is_cut_off() {
        let mut figure = Figure::new(&Spec::cost("start", "run", "ms"));
        figure.add("a", false, &[80.0.into()], None);
        figure.add("b", false, &[100.0.into()], None);
        assert_eq!(reach(&figure), 100.0);
        figure.add("c", false, &[5000.0.into(), 6000.0.into()], None);
        assert_eq!(reach(&figure), 125.0);
        let svg = chart(&figure);
        let bars = svg.lines().filter(|line| line.contains("rx=\"3\""));
        assert!(bars.collect::<Vec<_>>()[2].contains("width=\"510.0\""), "{svg}");
        assert!(svg.contains(">5500<"), "{svg}");
    }

    #[test]
    fn bars_are_as_long_as_their_numbers() {
        let mut figure = Figure::new(&Spec::cost("start", "run <a> & b", "ms"));
        figure.add("ours", true, &[50.0.into(), 50.0.into()], None);
        figure.add("theirs", false, &[100.0.into(), 100.0.into()], None);
        figure.add("other", false, &[], Some("no".to_owned()));
        let svg = chart(&figure);
        let bars = svg.lines().filter(|line| line.contains("rx=\"3\""));
        let widths: Vec<f64> = bars
            .map(|line| line.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths, [(RIGHT - LEFT) / 2.0, RIGHT - LEFT]);
        assert!(svg.contains("run &lt;a&gt; &amp; b") && svg.contains("medians of 2"), "{svg}");
        assert!(svg.contains("failed") && svg.contains(OURS) && svg.ends_with("</svg>\n"), "{svg}");
    }
}
