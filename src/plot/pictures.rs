//! Plots as SVG or PNG, without system libraries: the font is embedded.

use crate::error::{Error, Result};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;
use std::path::Path;
use std::sync::Once;

/// File format of a plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Vector graphics.
    Svg,
    /// Pixels.
    Png,
}

impl Format {
    /// By the file's extension; `flag` is for the message.
    ///
    /// # Errors
    /// Neither `.svg` nor `.png`.
    pub fn of(flag: &'static str, path: &Path) -> Result<Format> {
        match path
            .extension()
            .and_then(|e| e.to_str())
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("svg") => Ok(Format::Svg),
            Some("png") => Ok(Format::Png),
            _ => Err(Error::parameter(
                flag,
                format!("`{}`", path.display()),
                "a file name that ends in .svg or .png",
            )),
        }
    }
}

/// Makes the embedded font known as `sans-serif`. Every plot needs it, to draw text or to measure
/// it.
pub fn font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // fails only on bytes that are no font
        let _ = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
    });
}

/// A named line.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// Its name, at its right end.
    pub name: String,
    /// Points (x, y), both positive: axes are logarithmic.
    pub points: Vec<(f64, f64)>,
    /// Drawn pale, without points: what another curve is the mean of.
    pub pale: bool,
    /// How far the values may be off: (x, low, high), shaded.
    pub band: Vec<(f64, f64, f64)>,
}

/// What a value cannot be told from: a grey line across, with its name, and a shade up to what is
/// still within its scatter.
#[derive(Clone, Debug)]
pub struct Floor {
    /// The line.
    pub at: f64,
    /// The end of the shade; `at` where there is none.
    pub to: f64,
    /// Its name.
    pub name: String,
}

/// Curves over one pair of logarithmic axes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// What the horizontal axis is.
    pub x: String,
    /// What the vertical axis is; the same for all panels of a figure, which share it.
    pub y: String,
    /// The curves; a name has the same colour in all panels that have the curves in the same order.
    pub curves: Vec<Curve>,
    /// What cannot be told from 0.
    pub floor: Option<Floor>,
}

/// Points to draw, and what they are.
#[derive(Clone, Copy, Debug)]
pub struct Cloud<'a> {
    /// Above it: a line, or two.
    pub title: &'a str,
    /// Row-major (n, dim).
    pub points: &'a [f64],
}

/// Colours that stay apart for most eyes, then darker ones.
const COLOURS: [RGBColor; 12] = {
    let [a, b, c, d, e, f] = super::OKABE_ITO;
    let (violet, grey, red, green) = (
        RGBColor(110, 84, 160),
        RGBColor(120, 120, 120),
        RGBColor(150, 30, 30),
        RGBColor(90, 140, 30),
    );
    [
        a,
        b,
        c,
        d,
        e,
        f,
        violet,
        grey,
        red,
        green,
        RGBColor(60, 60, 120),
        RGBColor(140, 100, 60),
    ]
};

const INK: RGBColor = RGBColor(40, 40, 40);
const GREY: RGBColor = RGBColor(150, 150, 150);
const LEFT: Pos = Pos {
    h_pos: HPos::Left,
    v_pos: VPos::Center,
};
const MIDDLE: Pos = Pos {
    h_pos: HPos::Center,
    v_pos: VPos::Center,
};

type Area<B> = DrawingArea<B, Shift>;
type Drawn<B> = std::result::Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// What can be drawn on any backend; `k` is the number of pixels for one of the layout.
trait Figure {
    fn draw<B: DrawingBackend>(&self, area: &Area<B>, k: u32) -> Drawn<B>;
}

/// Pixels of a PNG for one of the layout: it is looked at on dense screens, and put into papers.
const DENSITY: u32 = 2;

fn render(format: Format, size: (u32, u32), figure: &impl Figure) -> Result<Vec<u8>> {
    font();
    let failed = |e: &dyn std::fmt::Display| Error::Format {
        file: "the plot".into(),
        place: String::new(),
        problem: e.to_string(),
    };
    match format {
        Format::Svg => {
            let mut svg = String::new();
            {
                let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
                figure
                    .draw(&area, 1)
                    .and_then(|()| area.present())
                    .map_err(|e| failed(&e))?;
            }
            Ok(svg.into_bytes())
        }
        Format::Png => {
            let size = (DENSITY * size.0, DENSITY * size.1);
            let mut pixels = vec![255; size.0 as usize * size.1 as usize * 3];
            {
                let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
                figure
                    .draw(&area, DENSITY)
                    .and_then(|()| area.present())
                    .map_err(|e| failed(&e))?;
            }
            let mut out = vec![];
            let mut encoder = png::Encoder::new(&mut out, size.0, size.1);
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            let mut writer = encoder.write_header().map_err(|e| failed(&e))?;
            writer
                .write_image_data(&pixels)
                .and_then(|()| writer.finish())
                .map_err(|e| failed(&e))?;
            Ok(out)
        }
    }
}

/// Ticks of a logarithmic axis, as logarithms: 1, 2, 5 of each decade where these are few, else
/// whole decades, else every few of them.
pub fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let inside = |digits: &[f64], every: i32| -> Vec<f64> {
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let decades = (first..=last).filter(|d| d.rem_euclid(every) == 0);
        let all = decades.flat_map(|d| digits.iter().map(move |x| x.log10() + f64::from(d)));
        all.filter(|t| (low.log10()..=high.log10()).contains(t))
            .collect()
    };
    let choices = [
        inside(&[1.0, 2.0, 5.0], 1),
        inside(&[1.0], 1),
        inside(&[1.0], 2),
        inside(&[1.0], 4),
    ];
    let some = choices.iter().find(|t| t.len() <= 9).or(choices.last());
    match some {
        // within a part of a decade: equal steps of 1, 2 or 5
        Some(t) if t.len() < 2 => {
            let rough = (high - low) / 5.0;
            let unit = 10f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0]
                .into_iter()
                .map(|d| d * unit)
                .find(|s| *s >= rough)
                .unwrap_or(rough);
            let first = (low / step).ceil() as i64;
            (first..)
                .map(|i| (i as f64 * step).log10())
                .take(20)
                .take_while(|t| *t <= high.log10())
                .collect()
        }
        Some(t) => t.clone(),
        None => vec![],
    }
}

/// The number that a tick stands for, in few characters.
fn tick(log: f64) -> String {
    let x = 10f64.powf(log);
    let digit = 10f64.powf(log - (log + 1e-9).floor());
    match log {
        l if (-3.01..5.99).contains(&l) => {
            format!("{}", format!("{x:.4}").parse::<f64>().unwrap_or(x))
        }
        l => format!("{}e{}", (digit * 10.0).round() / 10.0, (l + 1e-9).floor()),
    }
}

/// A logarithmic axis, in logarithms, with the ticks of [`log_ticks`].
struct LogAxis {
    ends: RangedCoordf64,
    ticks: Vec<f64>,
}

impl LogAxis {
    fn new(r: &Range<f64>) -> LogAxis {
        LogAxis {
            ends: (r.start.log10()..r.end.log10()).into(),
            ticks: log_ticks(r.start, r.end),
        }
    }
}

impl Ranged for LogAxis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.ends.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.ends.range()
    }
}

struct Curves<'a>(&'a [Panel]);

/// Panels side by side, the bytes of a file. All share the vertical axis; names stand at the right
/// ends of the last panel's curves.
///
/// # Errors
/// A plot that cannot be drawn: no points at all.
pub fn curves(format: Format, panels: &[Panel]) -> Result<Vec<u8>> {
    if panels
        .iter()
        .flat_map(|p| &p.curves)
        .all(|c| positive(&c.points).next().is_none())
    {
        return Err(Error::parameter("plot", "no points", "at least one"));
    }
    let names = panels
        .iter()
        .map(|p| p.curves.len() as u32 + 1)
        .max()
        .unwrap_or(0);
    render(
        format,
        (
            NAMES + 470 * panels.len() as u32,
            (60 + 18 * names).max(420),
        ),
        &Curves(panels),
    )
}

/// Width for the names of curves.
const NAMES: u32 = 200;

/// What has a place on logarithmic axes.
fn positive(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> + '_ {
    points
        .iter()
        .copied()
        .filter(|(x, y)| *x > 0.0 && *y > 0.0 && x.is_finite() && y.is_finite())
}

/// The least and the largest of numbers, with a margin.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(l, h), x| (l.min(x), h.max(x)));
    (low / 1.15)..(high * 1.15)
}

impl Figure for Curves<'_> {
    fn draw<B: DrawingBackend>(&self, area: &Area<B>, k: u32) -> Drawn<B> {
        area.fill(&WHITE)?;
        let (plots, names) = area.split_horizontally(area.dim_in_pixel().0 - NAMES * k);
        let floors = self.0.iter().flat_map(|p| &p.floor);
        let floors = floors.flat_map(|f| [f.at, f.to]).filter(|f| *f > 0.0);
        let curves = || self.0.iter().flat_map(|p| &p.curves);
        let points = curves().flat_map(|c| positive(&c.points)).map(|q| q.1);
        let bands = curves().flat_map(|c| &c.band);
        let bands = bands.flat_map(|(_, low, high)| [*low, *high]);
        let bands = bands.filter(|y| *y > 0.0 && y.is_finite());
        let y = range(points.chain(bands).chain(floors));
        let mut ends = vec![];
        for (panel, area) in self.0.iter().zip(plots.split_evenly((1, self.0.len()))) {
            ends = draw_panel(panel, y.clone(), &area, k)?;
        }
        // names in the order of the curves' ends, as near to them as their height allows
        let height = 18 * k as i32;
        ends.sort_by_key(|e| e.0.1);
        let mut taken = i32::MIN / 2;
        let mut places: Vec<i32> = ends.iter().map(|e| e.0.1).collect();
        for p in &mut places {
            *p = (*p).max(taken + height);
            taken = *p;
        }
        let mut below = area.dim_in_pixel().1 as i32 - height / 2;
        for p in places.iter_mut().rev() {
            *p = (*p).min(below);
            below = *p - height;
        }
        let left = area.dim_in_pixel().0 as i32 - (NAMES * k) as i32;
        let k = k as i32;
        for ((end, style, name), y) in ends.into_iter().zip(places) {
            area.draw(&PathElement::new(
                [end, (left + 14 * k, y)],
                ShapeStyle {
                    stroke_width: k as u32,
                    ..style.stroke_width(1)
                },
            ))?;
            names.draw(&Text::new(
                name,
                (18 * k, y),
                font_of(13, k).color(&style.color).pos(LEFT),
            ))?;
        }
        Ok(())
    }
}

fn font_of(size: i32, k: i32) -> FontDesc<'static> {
    ("sans-serif", size * k).into_font()
}

/// The line of curve `i`: once the colours are used up, they come again with thin lines and hollow
/// marks.
fn look(i: usize, k: u32) -> ShapeStyle {
    COLOURS[i % COLOURS.len()].stroke_width(k * if i < COLOURS.len() { 2 } else { 1 })
}

fn mark<C>(at: C, i: usize, k: u32) -> Circle<C, i32> {
    Circle::new(
        at,
        3 * k as i32,
        if i < COLOURS.len() {
            look(i, k).filled()
        } else {
            look(i, k)
        },
    )
}

/// A curve's end in pixels of the figure, its colour and name.
type End = ((i32, i32), ShapeStyle, String);

/// A panel's axes, on which points are drawn as logarithms.
type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<LogAxis, LogAxis>>;

fn logs((x, y): (f64, f64)) -> (f64, f64) {
    (x.log10(), y.log10())
}

/// Draws it; the right ends of its curves.
fn draw_panel<B: DrawingBackend>(
    p: &Panel,
    y: Range<f64>,
    area: &Area<B>,
    k: u32,
) -> std::result::Result<Vec<End>, DrawingAreaErrorKind<B::ErrorType>> {
    let points = || p.curves.iter().flat_map(|c| positive(&c.points));
    if points().next().is_none() {
        return Ok(vec![]);
    }
    let x = range(points().map(|q| q.0));
    let size = k as i32;
    let mut chart = ChartBuilder::on(area)
        .margin(10 * k)
        .caption(&p.title, font_of(15, size).color(&INK))
        .x_label_area_size(42 * k)
        .y_label_area_size(62 * k)
        .build_cartesian_2d(LogAxis::new(&x), LogAxis::new(&y))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12).stroke_width(k))
        .axis_style(INK.stroke_width(k))
        .x_labels(20)
        .y_labels(20)
        .x_label_formatter(&|v| tick(*v))
        .y_label_formatter(&|v| tick(*v))
        .x_desc(&p.x)
        .y_desc(&p.y)
        .axis_desc_style(font_of(13, size).color(&INK))
        .label_style(font_of(12, size).color(&INK))
        .draw()?;
    let mut ends = vec![];
    if let Some(f) = p.floor.as_ref().filter(|f| f.at > 0.0) {
        shade(
            &mut chart,
            &[(x.start, f.at, f.to), (x.end, f.at, f.to)],
            &y,
            GREY,
        )?;
        chart.draw_series(LineSeries::new(
            [logs((x.start, f.at)), logs((x.end, f.at))],
            GREY.stroke_width(2 * k),
        ))?;
        let end = chart.backend_coord(&logs((x.end, f.at)));
        ends.push((end, GREY.stroke_width(k), f.name.clone()));
    }
    for (i, c) in p.curves.iter().enumerate() {
        shade(&mut chart, &c.band, &y, COLOURS[i % COLOURS.len()])?;
        ends.extend(draw_curve(&mut chart, c, i, k)?);
    }
    Ok(ends)
}

/// Shades a band, as far as it is within the axis.
fn shade<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    band: &[(f64, f64, f64)],
    y: &Range<f64>,
    colour: RGBColor,
) -> Drawn<B> {
    let inside = |y_: f64| y_.clamp(y.start, y.end);
    let finite = || {
        let all = band.iter().copied();
        all.filter(|(x, low, high)| *x > 0.0 && low.is_finite() && high.is_finite())
    };
    let there = finite().map(|(x, _, high)| logs((x, inside(high))));
    let back = finite().map(|(x, low, _)| logs((x, inside(low)))).rev();
    let outline: Vec<(f64, f64)> = there.chain(back).collect();
    if outline.len() >= 4 {
        chart.draw_series([Polygon::new(outline, colour.mix(0.2))])?;
    }
    Ok(())
}

/// Draws curve `i`; its right end.
fn draw_curve<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    c: &Curve,
    i: usize,
    k: u32,
) -> std::result::Result<Option<End>, DrawingAreaErrorKind<B::ErrorType>> {
    let style = if c.pale {
        ShapeStyle {
            color: look(i, k).color.mix(0.35),
            ..look(i, k)
        }
        .stroke_width(k)
    } else {
        look(i, k)
    };
    let points: Vec<(f64, f64)> = positive(&c.points).map(logs).collect();
    chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
    if !c.pale && points.len() <= 30 {
        chart.draw_series(points.iter().map(|q| mark(*q, i, k)))?;
    }
    let end = points.last().map(|last| chart.backend_coord(last));
    Ok(end.map(|end| (end, style, c.name.clone())))
}

struct Clouds<'a> {
    title: &'a str,
    clouds: &'a [Cloud<'a>],
    dim: usize,
    bins: usize,
}

/// Height of the figure's title.
const TITLE: u32 = 34;
/// Height of a panel's title.
const LINES: u32 = 42;

/// Clouds on the same axes under one title, in rows of at most four, the bytes of a file: the
/// density of the first two coordinates; in one dimension its graph. Axes cover the first cloud and
/// a margin.
///
/// # Errors
/// No points; points that do not fit `dim`.
pub fn clouds(format: Format, title: &str, clouds: &[Cloud<'_>], dim: usize) -> Result<Vec<u8>> {
    if dim == 0
        || clouds.is_empty()
        || clouds
            .iter()
            .any(|c| c.points.is_empty() || c.points.len() % dim != 0)
    {
        return Err(Error::parameter(
            "plot",
            format!("{} clouds of dimension {dim}", clouds.len()),
            "points in each",
        ));
    }
    let bins = if format == Format::Svg { 90 } else { 180 };
    let (columns, rows) = layout(clouds.len());
    render(
        format,
        (360 * columns, TITLE + 380 * rows),
        &Clouds {
            title,
            clouds,
            dim,
            bins,
        },
    )
}

/// Columns and rows of so many panels.
fn layout(n: usize) -> (u32, u32) {
    let n = n as u32;
    let columns = if n <= 4 { n } else { n.div_ceil(n.div_ceil(4)) };
    (columns, n.div_ceil(columns))
}

impl Figure for Clouds<'_> {
    fn draw<B: DrawingBackend>(&self, area: &Area<B>, k: u32) -> Drawn<B> {
        area.fill(&WHITE)?;
        let axis = |i: usize| {
            let values = || self.clouds[0].points.iter().skip(i).step_by(self.dim);
            let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| {
                (l.min(*x), h.max(*x))
            });
            let margin = 0.08 * (high - low).max(1e-9);
            (low - margin, high + margin)
        };
        let x = axis(0);
        let counts: Vec<Vec<f64>> = self
            .clouds
            .iter()
            .map(|c| self.count(c, x, (self.dim > 1).then(|| axis(1))))
            .collect();
        // one scale of colours for all: that of the densest cell
        let all = counts.iter().flatten();
        let top = all.fold(0.0f64, |a, b| a.max(*b)).max(f64::MIN_POSITIVE);
        let y = if self.dim > 1 {
            axis(1)
        } else {
            (0.0, 1.08 * top * self.bins as f64 / (x.1 - x.0))
        };
        let (columns, rows) = layout(self.clouds.len());
        let (head, panels) = area.split_vertically(TITLE * k);
        let title = font_of(15, k as i32).color(&INK).pos(MIDDLE);
        let place = (head.dim_in_pixel().0 as i32 / 2, 20 * k as i32);
        head.draw(&Text::new(self.title.to_string(), place, title))?;
        let places = panels.split_evenly((rows as usize, columns as usize));
        for (n, ((cloud, count), area)) in self.clouds.iter().zip(&counts).zip(places).enumerate() {
            let (head, plot) = area.split_vertically(LINES * k);
            titled(&head, cloud.title, k)?;
            // labels at the figure's edge alone: the axes are the same for all
            let first = (n as u32).is_multiple_of(columns);
            let last = n + columns as usize >= self.clouds.len();
            self.panel(&plot, (x, y), (last, first), (count, top), k)?;
        }
        Ok(())
    }
}

/// A panel's title, of one line or two.
fn titled<B: DrawingBackend>(head: &Area<B>, title: &str, k: u32) -> Drawn<B> {
    let centre = head.dim_in_pixel().0 as i32 / 2;
    for (i, line) in title.lines().take(2).enumerate() {
        let style = font_of(13 - i as i32, k as i32).color(&INK).pos(MIDDLE);
        let place = (centre, (12 + 18 * i as i32) * k as i32);
        head.draw(&Text::new(line.to_string(), place, style))?;
    }
    Ok(())
}

impl Clouds<'_> {
    /// One cloud over axes from and to the given ends, which are labelled or not.
    fn panel<B: DrawingBackend>(
        &self,
        area: &Area<B>,
        (x, y): ((f64, f64), (f64, f64)),
        (below, left): (bool, bool),
        (count, top): (&[f64], f64),
        k: u32,
    ) -> Drawn<B> {
        let mut chart = ChartBuilder::on(area)
            .margin(8 * k)
            .x_label_area_size(24 * k)
            .y_label_area_size(40 * k)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
        let label = |shown: bool| {
            move |v: &f64| {
                if shown {
                    format!("{}", (v * 1e6).round() / 1e6)
                } else {
                    String::new()
                }
            }
        };
        chart
            .configure_mesh()
            .disable_mesh()
            .axis_style(INK.stroke_width(k))
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&label(below))
            .y_label_formatter(&label(left))
            .label_style(font_of(12, k as i32).color(&INK))
            .draw()?;
        let bins = self.bins as f64;
        let (w, h) = ((x.1 - x.0) / bins, (y.1 - y.0) / bins);
        if self.dim == 1 {
            let cells = count.iter().enumerate();
            let graph = cells.map(|(i, c)| (x.0 + (i as f64 + 0.5) * w, c / w));
            chart.draw_series(LineSeries::new(graph, COLOURS[0].stroke_width(2 * k)))?;
            return Ok(());
        }
        let cells = count.iter().enumerate().filter(|(_, c)| **c > 0.0);
        chart.draw_series(cells.map(|(n, c)| {
            let (i, j) = ((n / self.bins) as f64, (n % self.bins) as f64);
            // the square root shows thin tails
            let s = (c / top).sqrt();
            let part = |light: f64, dark: f64| (light + s * (dark - light)) as u8;
            let colour = RGBColor(part(205.0, 8.0), part(224.0, 29.0), part(244.0, 88.0));
            let corner = |i: f64, j: f64| (x.0 + i * w, y.0 + j * h);
            Rectangle::new([corner(i, j), corner(i + 1.0, j + 1.0)], colour.filled())
        }))?;
        Ok(())
    }

    /// The share of the cloud's points in each cell.
    fn count(&self, cloud: &Cloud<'_>, x: (f64, f64), y: Option<(f64, f64)>) -> Vec<f64> {
        let cell = |v: f64, (low, high): (f64, f64)| {
            let i = ((v - low) / (high - low) * self.bins as f64).floor();
            (i >= 0.0 && i < self.bins as f64).then_some(i as usize)
        };
        let each = self.dim as f64 / cloud.points.len() as f64;
        let mut count = vec![
            0.0;
            if y.is_some() {
                self.bins * self.bins
            } else {
                self.bins
            }
        ];
        for row in cloud.points.chunks_exact(self.dim) {
            let at = match y {
                Some(y) => cell(row[0], x)
                    .zip(cell(row[1], y))
                    .map(|(i, j)| i * self.bins + j),
                None => cell(row[0], x),
            };
            if let Some(i) = at {
                count[i] += each;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a plot that is blank, cut short, or of the wrong kind: a PNG is decoded by its own
    /// crate, an SVG has its text.
    #[test]
    fn plots_have_ink() {
        let points: Vec<f64> = (0..200).map(|i| (i as f64 * 0.7).sin()).collect();
        let panel = Panel {
            title: "title".into(),
            x: "nfe".into(),
            y: "distance".into(),
            curves: vec![Curve {
                name: "some sampler".into(),
                points: vec![(10.0, 0.5), (100.0, 0.05)],
                ..Curve::default()
            }],
            floor: Some(Floor {
                at: 0.04,
                to: 0.06,
                name: "floor".into(),
            }),
        };
        let cloud = Cloud {
            title: "title",
            points: &points,
        };
        for bytes in [
            curves(Format::Svg, std::slice::from_ref(&panel)),
            clouds(Format::Svg, "title", &[cloud], 2),
            clouds(Format::Svg, "title", &[cloud; 2], 1),
        ] {
            let text = String::from_utf8(bytes.unwrap()).unwrap();
            assert!(
                text.trim_end().ends_with("</svg>") && text.contains("title"),
                "{text}"
            );
        }
        for bytes in [
            curves(Format::Png, &[panel]),
            clouds(Format::Png, "title", &[cloud], 2),
        ] {
            let mut reader = png::Decoder::new(std::io::Cursor::new(bytes.unwrap()))
                .read_info()
                .unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            let dark = pixels
                .chunks(3)
                .filter(|p| p.iter().all(|c| *c < 128))
                .count();
            assert!(dark > 300, "{dark} dark pixels"); // axes alone are some 700
        }
        assert!(
            Format::of("plot", Path::new("a.jpg")).is_err()
                && Format::of("plot", Path::new("A.PNG")) == Ok(Format::Png)
        );
        assert!(clouds(Format::Svg, "title", &[], 2).is_err() && curves(Format::Svg, &[]).is_err());
    }

    /// Catches a band that is not drawn, is drawn where there is none, or leaves the axes: the shade
    /// of a curve and that of a floor are one polygon each, within the figure.
    #[test]
    fn bands_are_shaded() {
        let polygons = |band: Vec<(f64, f64, f64)>, to: f64| {
            let points = vec![(10.0, 0.5), (100.0, 0.05)];
            let panel = Panel {
                title: String::new(),
                x: String::new(),
                y: String::new(),
                curves: vec![Curve {
                    points,
                    band,
                    ..Curve::default()
                }],
                floor: Some(Floor {
                    at: 0.04,
                    to,
                    name: String::new(),
                }),
            };
            let text = String::from_utf8(curves(Format::Svg, &[panel]).unwrap()).unwrap();
            let lines = text.lines().filter(|l| l.starts_with("<polygon"));
            let inside = |l: &str| {
                let list = l
                    .split("points=\"")
                    .nth(1)
                    .unwrap()
                    .split('"')
                    .next()
                    .unwrap();
                let mut numbers = list.split([' ', ',']).filter(|n| !n.is_empty());
                numbers.all(|n| (0..=670).contains(&n.parse::<i32>().unwrap()))
            };
            let all: Vec<&str> = lines.collect();
            assert!(all.iter().all(|l| inside(l)), "{all:?}");
            all.len()
        };
        let band = vec![(10.0, 0.4, 0.6), (100.0, -0.01, 0.1)];
        assert_eq!(
            [polygons(vec![], 0.04), polygons(band.clone(), 0.06)],
            [1, 2]
        );
        assert_eq!(polygons(vec![(10.0, f64::NAN, 1.0)], 0.06), 1);
    }

    /// Catches ticks outside the axis, too few to read a number by, or so many that they overlap;
    /// and a number that its label does not say.
    #[test]
    fn ticks_are_one_two_five() {
        for (low, high) in [
            (8.7, 1150.0),
            (0.04, 0.9),
            (3.0, 3.4),
            (1e-12, 1e3),
            (2.0, 9.0),
            (1e-300, 1e300),
        ] {
            let t = log_ticks(low, high);
            assert!((2..=160).contains(&t.len()), "{low} to {high}: {t:?}");
            assert!(
                t.iter().all(|t| (low.log10()..=high.log10()).contains(t)),
                "{low} to {high}: {t:?}"
            );
        }
        let labels = |low, high| {
            log_ticks(low, high)
                .into_iter()
                .map(tick)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            labels(8.7, 1150.0),
            ["10", "20", "50", "100", "200", "500", "1000"]
        );
        assert_eq!(labels(3.0, 3.41), ["3", "3.1", "3.2", "3.3", "3.4"]);
        assert_eq!(
            labels(1e-7, 3e-5),
            [
                "1e-7", "2e-7", "5e-7", "1e-6", "2e-6", "5e-6", "1e-5", "2e-5"
            ]
        );
    }

    /// Catches panels beyond the figure, or a row of one beside a row of four.
    #[test]
    fn panels_are_laid_out() {
        for n in 1..40 {
            let (columns, rows) = layout(n);
            assert!(
                columns <= 4 && columns * rows >= n as u32 && columns * (rows - 1) < n as u32,
                "{n}: {columns} x {rows}"
            );
        }
        assert_eq!([layout(4), layout(5), layout(6)], [(4, 1), (3, 2), (3, 2)]);
    }
}
