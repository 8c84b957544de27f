//! Plots in a page of HTML: SVG in the page's own ink.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Text as HTML has it.
pub fn escape(s: &str) -> String {
    s.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A number in few characters.
pub fn short(x: f64) -> String {
    if x == 0.0 || !x.is_finite() || (0.01..1e4).contains(&x.abs()) {
        format!("{x:.3}")
    } else {
        format!("{x:.1e}")
    }
}

/// Colour of text and axes: replaced by the page's own, so that dark mode works.
const INK: RGBColor = RGBColor(1, 2, 3);
/// Grid lines: a colour that reads on light and dark.
const GRID: RGBColor = RGBColor(128, 128, 128);
/// Colours that tell apart on light and dark.
const COLOURS: [RGBColor; 7] = {
    let [a, b, c, d, e, f] = super::OKABE_ITO;
    [a, b, c, d, e, f, RGBColor(148, 103, 189)]
};

/// One plot: axes, then what `draw` adds.
pub struct Plot<'a> {
    /// Label and ends of the axis.
    pub x: (&'a str, f64, f64),
    /// The same.
    pub y: (&'a str, f64, f64),
    /// Whether the axes are logarithmic.
    pub log: (bool, bool),
    /// Where the names stand.
    pub legend: SeriesLabelPosition,
}

/// Points in their own units.
pub type Points = Vec<(f64, f64)>;

/// What is drawn: points or lines with a name, and horizontal bands.
pub struct Series {
    /// Its name; empty for none.
    pub name: String,
    /// Its points.
    pub points: Points,
    /// Joined by a line.
    pub line: bool,
    /// Number of its colour.
    pub colour: usize,
}

const SIZE: (u32, u32) = (640, 420);

/// An SVG, or `None` where there is nothing to draw. Draws on coordinates that are already
/// logarithms where an axis is logarithmic; labels turn them back.
pub fn draw(p: &Plot<'_>, series: &[Series], band: Option<(f64, f64)>) -> Option<String> {
    super::pictures::font();
    let ends = [p.x.1, p.x.2, p.y.1, p.y.2];
    if !ends.iter().all(|x| x.is_finite()) {
        return None;
    }
    let mut svg = String::new();
    on_canvas(&mut svg, p, series, band)?;
    // the page's own ink, and its width
    let size = format!("width=\"{}\" height=\"{}\"", SIZE.0, SIZE.1);
    Some(
        svg.replace("#010203", "currentColor")
            .replacen(&size, "width=\"100%\" role=\"img\"", 1),
    )
}

type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A number's place on its axis.
fn place(log: bool, v: f64) -> f64 {
    if log { v.log10() } else { v }
}

fn ink(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

fn on_canvas(
    svg: &mut String,
    p: &Plot<'_>,
    series: &[Series],
    band: Option<(f64, f64)>,
) -> Option<()> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let x = [p.x.1, p.x.2].map(|v| place(p.log.0, v));
    let y = [p.y.1, p.y.2].map(|v| place(p.log.1, v));
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(54)
        .y_label_area_size(86)
        .build_cartesian_2d(x[0]..x[1], y[0]..y[1])
        .ok()?;
    axes(&mut chart, p, x, y)?;
    if let Some((low, high)) = band {
        let (low, high) = (place(p.log.1, low), place(p.log.1, high));
        chart
            .draw_series(std::iter::once(Rectangle::new(
                [(x[0], low), (x[1], high)],
                GREEN.mix(0.12).filled(),
            )))
            .ok()?;
    }
    for s in series {
        points_of(&mut chart, p, s)?;
    }
    if series.iter().any(|s| !s.name.is_empty()) {
        chart
            .configure_series_labels()
            .position(p.legend.clone())
            .label_font(ink(17).pos(Pos::new(HPos::Left, VPos::Center)))
            .draw()
            .ok()?;
    }
    root.present().ok()
}

/// Axes with ticks, labels and a grid; `x` and `y` are their ends as they are drawn.
fn axes(chart: &mut Chart<'_>, p: &Plot<'_>, x: [f64; 2], y: [f64; 2]) -> Option<()> {
    let label = |log: bool| {
        move |v: &f64| {
            if log {
                format!("1e{v:.0}")
            } else {
                format!("{}", (v * 1e6).round() / 1e6)
            }
        }
    };
    let ticks = |log: bool, [a, b]: [f64; 2]| {
        if log {
            ((b - a).round() as usize + 1).min(13)
        } else {
            6
        }
    };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.mix(0.35))
        .axis_style(INK)
        .x_labels(ticks(p.log.0, x))
        .y_labels(ticks(p.log.1, y))
        .x_label_formatter(&label(p.log.0))
        .y_label_formatter(&label(p.log.1))
        .x_desc(p.x.0)
        .y_desc(p.y.0)
        .axis_desc_style(ink(18))
        .label_style(ink(17))
        .draw()
        .ok()
}

fn points_of(chart: &mut Chart<'_>, p: &Plot<'_>, s: &Series) -> Option<()> {
    let colour = COLOURS[s.colour % COLOURS.len()];
    // what is no number has no place on a plot; the tables have it
    let points: Points = s
        .points
        .iter()
        .map(|(x, y)| (place(p.log.0, *x), place(p.log.1, *y)))
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let drawn = if s.line {
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))
    } else {
        let dot = |c: &(f64, f64)| Circle::new(*c, 3, colour.mix(0.75).filled());
        chart.draw_series(points.iter().map(dot))
    };
    let drawn = drawn.ok()?;
    if !s.name.is_empty() {
        drawn
            .label(s.name.clone())
            .legend(move |(x, y)| Circle::new((x + 8, y - 6), 5, colour.filled()));
    }
    Some(())
}

/// The style of a page, by day and by night, from 420 pixels on.
pub const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--page:#fff;--card:#f6f8fa;--line:#d0d7de;--good:#1a7f37;--bad:#cf222e}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--page:#0d1117;--card:#161b22;--line:#30363d;--good:#3fb950;--bad:#ff7b72}}
*{box-sizing:border-box}
body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}
main{max-width:70rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem}
.verdict{font-size:1.15rem;font-weight:600}.good{color:var(--good)}.bad{color:var(--bad)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem;margin:1rem 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
.card b{display:block;font-size:1.25rem}.card span{color:var(--soft);font-size:.85rem}
figure{margin:1rem 0;background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem;color:var(--ink)}
figure svg{display:block;height:auto}figcaption{color:var(--soft);font-size:.9rem;margin-top:.4rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr));gap:1rem}.plots figure{margin:0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.85rem}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font-size:.85em;overflow-wrap:anywhere}
details{border:1px solid var(--line);border-radius:.5rem;margin:.5rem 0;padding:.3rem .8rem}
summary{cursor:pointer;padding:.3rem 0}
";
