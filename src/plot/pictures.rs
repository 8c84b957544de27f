//! Plots as SVG or PNG, without system libraries: the font is embedded.

use crate::error::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};
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
    /// By the file's extension.
    ///
    /// # Errors
    /// Neither `.svg` nor `.png`.
    pub fn of(path: &Path) -> Result<Format> {
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("svg") => Ok(Format::Svg),
            Some("png") => Ok(Format::Png),
            _ => Err(Error::parameter("plot", format!("`{}`", path.display()), "a file name that ends in .svg or .png")),
        }
    }
}

/// Makes the embedded font known as `sans-serif`. Every plot needs it, to draw text or to measure it.
pub fn font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // fails only on bytes that are no font
        let _ = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
    });
}

/// A named line.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Points (x, y), both positive: axes are logarithmic.
    pub points: Vec<(f64, f64)>,
}

/// Curves over one pair of logarithmic axes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// What the horizontal axis is.
    pub x: String,
    /// What the vertical axis is.
    pub y: String,
    /// The curves; a name has the same colour in all panels that have the curves in the same order.
    pub curves: Vec<Curve>,
    /// A grey line across, with its name: what cannot be told from 0.
    pub floor: Option<(f64, String)>,
}

/// Points to draw, and what they are.
#[derive(Clone, Copy, Debug)]
pub struct Cloud<'a> {
    /// Above it.
    pub title: &'a str,
    /// Row-major (n, dim).
    pub points: &'a [f64],
}

/// Colours that stay apart for most eyes, then darker ones.
const COLOURS: [RGBColor; 12] = {
    let [a, b, c, d, e, f] = super::OKABE_ITO;
    let (violet, grey, red, green) = (RGBColor(110, 84, 160), RGBColor(120, 120, 120), RGBColor(150, 30, 30), RGBColor(90, 140, 30));
    [a, b, c, d, e, f, violet, grey, red, green, RGBColor(60, 60, 120), RGBColor(140, 100, 60)]
};

const INK: RGBColor = RGBColor(40, 40, 40);

type Area<B> = DrawingArea<B, Shift>;
type Drawn<B> = std::result::Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// What can be drawn on any backend.
trait Figure {
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B>;
}

fn render(format: Format, size: (u32, u32), figure: &impl Figure) -> Result<Vec<u8>> {
    font();
    let failed = |e: &dyn std::fmt::Display| Error::Format { file: "the plot".into(), place: String::new(), problem: e.to_string() };
    match format {
        Format::Svg => {
            let mut svg = String::new();
            {
                let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
                figure.draw(&area).and_then(|()| area.present()).map_err(|e| failed(&e))?;
            }
            Ok(svg.into_bytes())
        }
        Format::Png => {
            let mut pixels = vec![255; size.0 as usize * size.1 as usize * 3];
            {
                let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
                figure.draw(&area).and_then(|()| area.present()).map_err(|e| failed(&e))?;
            }
            let mut out = vec![];
            let mut encoder = png::Encoder::new(&mut out, size.0, size.1);
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            let mut writer = encoder.write_header().map_err(|e| failed(&e))?;
            writer.write_image_data(&pixels).and_then(|()| writer.finish()).map_err(|e| failed(&e))?;
            Ok(out)
        }
    }
}

struct Curves<'a>(&'a [Panel]);

/// Panels side by side, the bytes of a file.
///
/// # Errors
/// A plot that cannot be drawn: no points at all.
pub fn curves(format: Format, panels: &[Panel]) -> Result<Vec<u8>> {
    if panels.iter().flat_map(|p| &p.curves).all(|c| c.points.is_empty()) {
        return Err(Error::parameter("plot", "no points", "at least one"));
    }
    let names = panels.iter().map(|p| p.curves.len() as u32 + 1).max().unwrap_or(0);
    render(format, (LEGEND + 480 * panels.len() as u32, (60 + 20 * names).max(420)), &Curves(panels))
}

const LEGEND: u32 = 220;

impl Figure for Curves<'_> {
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        area.fill(&WHITE)?;
        let width = area.dim_in_pixel().0;
        let (plots, legend) = area.split_horizontally(width - LEGEND);
        for (panel, area) in self.0.iter().zip(plots.split_evenly((1, self.0.len()))) {
            draw_panel(panel, &area)?;
        }
        let Some(panel) = self.0.first() else { return Ok(()) };
        let names = panel.curves.iter().enumerate().map(|(i, c)| (look(i), c.name.as_str()));
        let floor = panel.floor.iter().map(|(_, name)| (GREY.stroke_width(2), name.as_str()));
        for (i, (style, name)) in names.chain(floor).enumerate() {
            let y = 44 + 20 * i as i32;
            legend.draw(&PathElement::new([(4, y), (26, y)], style))?;
            if i < panel.curves.len() {
                legend.draw(&mark((15, y), i))?;
            }
            legend.draw(&Text::new(name.to_string(), (34, y), ("sans-serif", 13).into_font().color(&INK).pos(LEFT)))?;
        }
        Ok(())
    }
}

/// The line of curve `i`: once the colours are used up, they come again with thin lines and hollow marks.
fn look(i: usize) -> ShapeStyle {
    COLOURS[i % COLOURS.len()].stroke_width(if i < COLOURS.len() { 2 } else { 1 })
}

fn mark<C>(at: C, i: usize) -> Circle<C, i32> {
    Circle::new(at, 3, if i < COLOURS.len() { look(i).filled() } else { look(i) })
}

const GREY: RGBColor = RGBColor(150, 150, 150);
const LEFT: Pos = Pos { h_pos: HPos::Left, v_pos: VPos::Center };

fn draw_panel<B: DrawingBackend>(p: &Panel, area: &Area<B>) -> Drawn<B> {
    let all = || p.curves.iter().flat_map(|c| &c.points).copied().filter(|(x, y)| *x > 0.0 && *y > 0.0);
    let range = |v: &mut dyn Iterator<Item = f64>| {
        let (low, high) = v.fold((f64::INFINITY, 0.0f64), |(l, h), x| (l.min(x), h.max(x)));
        (low / 1.15)..(high * 1.15)
    };
    if all().next().is_none() {
        return Ok(());
    }
    let x = range(&mut all().map(|q| q.0));
    let y = range(&mut all().map(|q| q.1).chain(p.floor.iter().map(|f| f.0).filter(|f| *f > 0.0)));
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .caption(&p.title, ("sans-serif", 15).into_font().color(&INK))
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(x.clone().log_scale(), y.log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(INK)
        .x_labels(6)
        .y_labels(8)
        .x_label_formatter(&|v| format!("{v}"))
        .y_label_formatter(&|v| if *v < 1e-2 { format!("{v:.0e}") } else { format!("{v}") })
        .x_desc(&p.x)
        .y_desc(&p.y)
        .axis_desc_style(("sans-serif", 13).into_font().color(&INK))
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .draw()?;
    if let Some((f, _)) = &p.floor
        && *f > 0.0
    {
        chart.draw_series(LineSeries::new([(x.start, *f), (x.end, *f)], GREY.stroke_width(2)))?;
    }
    for (i, c) in p.curves.iter().enumerate() {
        let points: Vec<(f64, f64)> = c.points.iter().copied().filter(|(x, y)| *x > 0.0 && *y > 0.0).collect();
        chart.draw_series(LineSeries::new(points.iter().copied(), look(i)))?;
        chart.draw_series(points.iter().map(|q| mark(*q, i)))?;
    }
    Ok(())
}

struct Clouds<'a> {
    clouds: &'a [Cloud<'a>],
    dim: usize,
    bins: usize,
}

/// Clouds side by side on the same axes, the bytes of a file: the density of the first two coordinates; in one dimension its
/// graph. Axes cover the first cloud and a margin.
///
/// # Errors
/// No points; points that do not fit `dim`.
pub fn clouds(format: Format, clouds: &[Cloud<'_>], dim: usize) -> Result<Vec<u8>> {
    if dim == 0 || clouds.is_empty() || clouds.iter().any(|c| c.points.is_empty() || c.points.len() % dim != 0) {
        return Err(Error::parameter("plot", format!("{} clouds of dimension {dim}", clouds.len()), "points in each"));
    }
    let bins = if format == Format::Svg { 90 } else { 180 };
    render(format, (440 * clouds.len() as u32, 460), &Clouds { clouds, dim, bins })
}

impl Figure for Clouds<'_> {
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        area.fill(&WHITE)?;
        let axis = |i: usize| {
            let values = || self.clouds[0].points.iter().skip(i).step_by(self.dim);
            let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
            let margin = 0.08 * (high - low).max(1e-9);
            (low - margin, high + margin)
        };
        let x = axis(0);
        let counts: Vec<Vec<f64>> = self.clouds.iter().map(|c| self.count(c, x, (self.dim > 1).then(|| axis(1)))).collect();
        // one scale of colours for all: that of the densest cell
        let top = counts.iter().flatten().fold(0.0f64, |a, b| a.max(*b)).max(f64::MIN_POSITIVE);
        let y = if self.dim > 1 { axis(1) } else { (0.0, 1.08 * top * self.bins as f64 / (x.1 - x.0)) };
        for ((cloud, count), area) in self.clouds.iter().zip(&counts).zip(area.split_evenly((1, self.clouds.len()))) {
            let mut chart = ChartBuilder::on(&area)
                .margin(10)
                .caption(cloud.title, ("sans-serif", 15).into_font().color(&INK))
                .x_label_area_size(24)
                .y_label_area_size(40)
                .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
            chart
                .configure_mesh()
                .disable_mesh()
                .axis_style(INK)
                .x_labels(6)
                .y_labels(6)
                .label_style(("sans-serif", 12).into_font().color(&INK))
                .draw()?;
            let (w, h) = ((x.1 - x.0) / self.bins as f64, (y.1 - y.0) / self.bins as f64);
            if self.dim == 1 {
                let graph = count.iter().enumerate().map(|(i, c)| (x.0 + (i as f64 + 0.5) * w, c / w));
                chart.draw_series(LineSeries::new(graph, COLOURS[0].stroke_width(2)))?;
                continue;
            }
            let cells = count.iter().enumerate().filter(|(_, c)| **c > 0.0).map(|(n, c)| {
                let (i, j) = ((n / self.bins) as f64, (n % self.bins) as f64);
                // the square root shows thin tails
                let s = (c / top).sqrt();
                let part = |light: f64, dark: f64| (light + s * (dark - light)) as u8;
                let colour = RGBColor(part(205.0, 8.0), part(224.0, 29.0), part(244.0, 88.0));
                Rectangle::new([(x.0 + i * w, y.0 + j * h), (x.0 + (i + 1.0) * w, y.0 + (j + 1.0) * h)], colour.filled())
            });
            chart.draw_series(cells)?;
        }
        Ok(())
    }
}

impl Clouds<'_> {
    /// The share of the cloud's points in each cell.
    fn count(&self, cloud: &Cloud<'_>, x: (f64, f64), y: Option<(f64, f64)>) -> Vec<f64> {
        let cell = |v: f64, (low, high): (f64, f64)| {
            let i = ((v - low) / (high - low) * self.bins as f64).floor();
            (i >= 0.0 && i < self.bins as f64).then_some(i as usize)
        };
        let each = self.dim as f64 / cloud.points.len() as f64;
        let mut count = vec![0.0; if y.is_some() { self.bins * self.bins } else { self.bins }];
        for row in cloud.points.chunks_exact(self.dim) {
            let at = match y {
                Some(y) => cell(row[0], x).zip(cell(row[1], y)).map(|(i, j)| i * self.bins + j),
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

    /// Catches a plot that is blank, cut short, or of the wrong kind: a PNG is decoded by its own crate, an SVG has its text.
    #[test]
    fn plots_have_ink() {
        let points: Vec<f64> = (0..200).map(|i| (i as f64 * 0.7).sin()).collect();
        let panel = Panel {
            title: "title".into(),
            x: "nfe".into(),
            y: "distance".into(),
            curves: vec![Curve { name: "some sampler".into(), points: vec![(10.0, 0.5), (100.0, 0.05)] }],
            floor: Some((0.04, "floor".into())),
        };
        let cloud = Cloud { title: "title", points: &points };
        for bytes in
            [curves(Format::Svg, std::slice::from_ref(&panel)), clouds(Format::Svg, &[cloud], 2), clouds(Format::Svg, &[cloud; 2], 1)]
        {
            let text = String::from_utf8(bytes.unwrap()).unwrap();
            assert!(text.trim_end().ends_with("</svg>") && text.contains("title"), "{text}");
        }
        for bytes in [curves(Format::Png, &[panel]), clouds(Format::Png, &[cloud], 2)] {
            let mut reader = png::Decoder::new(std::io::Cursor::new(bytes.unwrap())).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            let dark = pixels.chunks(3).filter(|p| p.iter().all(|c| *c < 128)).count();
            assert!(dark > 300, "{dark} dark pixels"); // axes alone are some 700
        }
        assert!(Format::of(Path::new("a.jpg")).is_err() && Format::of(Path::new("A.PNG")) == Ok(Format::Png));
        assert!(clouds(Format::Svg, &[], 2).is_err() && curves(Format::Svg, &[]).is_err());
    }
}
