//! A report in words: for a terminal of 80 columns, richer for 120, plain for logs.

use super::compare::{Class, UNITS, Unjudged};
use super::consequence::{Follows, Shown};
use super::judge::{Line, Report};
use super::numbers::digits;
pub use super::numbers::{short, time};
use crate::error::{escaped, shown};
use anstyle::{AnsiColor, Style};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What is as it should be.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What should be looked at.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// What is wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Headings.
pub const BOLD: Style = Style::new().bold();

/// `text` in a style; printers remove it where the output is no terminal.
pub fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// How a report is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns; from [`WIDE`] on the table says more.
    pub width: usize,
    /// No colour and nothing but ASCII.
    pub plain: bool,
    /// Every output and process on a line of its own, also where all is well.
    pub full: bool,
}

/// Columns from which on the table has room for more.
pub const WIDE: usize = 116;

/// A plain table: columns aligned, no frame, two spaces between. Cells may hold styles.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut t = comfy_table::Table::new();
    t.load_style(comfy_table::presets::NOTHING);
    t.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    t.set_header(head.iter().map(|h| (*h).to_string()).collect::<Vec<_>>());
    rows.iter().for_each(|r| {
        t.add_row(r.clone());
    });
    t.column_iter_mut().for_each(|c| {
        c.set_padding((0, 2));
    });
    t.lines().map(|l| l.trim_end().to_string() + "\n").collect()
}

/// A paragraph of `width` columns whose first line begins with `first`, the others with as many
/// spaces.
fn paragraph(out: &mut String, first: &str, text: &str, width: usize, style: Option<Style>) {
    let next = " ".repeat(first.chars().count());
    let room = width.saturating_sub(next.len()).max(20);
    for (i, line) in textwrap::wrap(text, room).iter().enumerate() {
        let line = style.map_or_else(|| line.to_string(), |s| styled(s, line));
        let _ = writeln!(out, "{}{line}", if i == 0 { first } else { &next });
    }
}

/// The mistakes that can be named, and what to do about each, for a terminal: the table of the
/// documentation is [`mistakes::table`](super::mistakes::table).
pub fn mistakes(width: usize) -> String {
    let mut out = String::new();
    let mut last = "";
    for m in super::mistakes::MISTAKES
        .iter()
        .filter(|m| std::mem::replace(&mut last, m.id) != m.id)
    {
        let _ = writeln!(out, "{}", styled(BOLD, m.id));
        paragraph(&mut out, "  ", m.sentence, width.max(40), None);
        paragraph(&mut out, "  -> ", m.remedy, width.max(40), None);
    }
    out
}

/// At most `most` characters: the middle is left out, since names differ at both ends.
fn within(name: &str, most: usize, dots: &str) -> String {
    let n = name.chars().count();
    if n <= most {
        return name.to_string();
    }
    let keep = most.saturating_sub(dots.chars().count());
    let (a, b) = (keep / 2, keep - keep / 2);
    let chars: Vec<char> = name.chars().collect();
    chars[..a].iter().collect::<String>() + dots + &chars[n - b..].iter().collect::<String>()
}

/// One character a decade of t: `.` where all is right, a blank where nothing was asked, else the
/// higher the more units it is off, two powers of ten a step.
fn sparkline(decades: &BTreeMap<i32, f64>, from: i32, to: i32, plain: bool) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let one = |d: i32| match decades.get(&d) {
        None => ' ',
        Some(x) if *x <= UNITS => '.',
        Some(x) => {
            let step = if x.is_finite() {
                (((x / UNITS).log10() / 2.0) as usize).min(7)
            } else {
                7
            };
            if plain {
                char::from(b'1' + step as u8)
            } else {
                BARS[step]
            }
        }
    };
    (from..=to).map(one).collect()
}

/// Decades that are drawn: from the first to the last with a time, 16 at most.
fn span(lines: &[Line]) -> Option<(i32, i32)> {
    let all = || lines.iter().flat_map(|l| l.decades.keys().copied());
    let (from, to) = (all().min()?, all().max()?);
    Some((from.max(to - 15), to))
}

fn verdict(l: &Line) -> String {
    match (l.class, l.accepted) {
        (Class::Off, _) => styled(BAD, "OFF"),
        (class, true) => styled(GOOD, &format!("ok {}", class.name())),
        (Class::Eps, false) => styled(WARN, "OFF (eps)"),
        (_, false) => styled(WARN, "OFF (f32)"),
    }
}

/// The lines to show, what is off first: what is accepted is folded into one line per quantity,
/// unless `full`.
fn fold(lines: &[Line], full: bool) -> Vec<Line> {
    let mut out: Vec<Line> = Vec::new();
    for l in lines {
        let known = out.iter_mut().find(|o| {
            !full && l.accepted && o.accepted && o.quantity == l.quantity && o.class == l.class
        });
        let Some(o) = known else {
            out.push(l.clone());
            continue;
        };
        if !o.output.split(',').any(|x| x == l.output) {
            o.output = format!("{},{}", o.output, l.output);
        }
        if !o.process.split(", ").any(|x| x == l.process) {
            o.process = format!("{}, {}", o.process, l.process);
        }
        o.entries += l.entries;
        o.values += l.values;
        for (d, x) in &l.decades {
            let worst = o.decades.entry(*d).or_insert(0.0);
            *worst = worst.max(*x);
        }
        if l.worst.units > o.worst.units {
            o.worst = l.worst.clone();
            o.trend = l.trend;
        }
    }
    for o in &mut out {
        let outputs = o.output.split(',').count();
        if outputs > 3 {
            o.output = format!("({outputs} outputs)");
        }
        let processes = o.process.split(", ").count();
        if processes > 2 {
            o.process = format!("{processes} processes");
        }
    }
    // the eye is to find what is off
    out.sort_by_key(|l| l.accepted);
    out
}

/// The columns of the table, and how much room they have.
struct Columns {
    /// With all columns, see [`WIDE`].
    wide: bool,
    /// Characters for the quantity's name: what the other columns leave.
    name: usize,
    /// What stands for the middle of a name that is cut.
    dots: &'static str,
    /// The decades of t that are drawn.
    span: Option<(i32, i32)>,
    plain: bool,
}

impl Columns {
    fn new(lines: &[Line], look: Look) -> Self {
        let wide = look.width >= WIDE;
        Self {
            wide,
            name: if wide {
                look.width - 92
            } else {
                look.width.saturating_sub(50).max(20)
            },
            dots: if look.plain { ".." } else { "…" },
            span: span(lines),
            plain: look.plain,
        }
    }

    /// The heading of the sparklines.
    fn scale(&self) -> String {
        self.span.map_or("error over t".into(), |(a, b)| {
            let end = if b == 0 {
                "1".into()
            } else {
                time(10f64.powi(b + 1))
            };
            format!("1e{a}..{end}")
        })
    }

    /// A line's cells.
    fn cells(&self, l: &Line) -> Vec<String> {
        let line = self.span.map_or(String::new(), |(a, b)| {
            sparkline(&l.decades, a, b, self.plain)
        });
        // the largest finite error says nothing of a line whose values are no numbers
        let size = if l.not_finite > 0 && !l.accepted {
            "no number".into()
        } else {
            short(l.worst.units)
        };
        let quantity = within(
            &format!("{}.{}", l.quantity, l.output),
            self.name,
            self.dots,
        );
        let process = within(&l.process, 14, self.dots);
        if !self.wide {
            return vec![quantity, process, size, line, verdict(l)];
        }
        let units = if size == "no number" {
            size
        } else {
            format!("{size} {}", l.worst.precision)
        };
        let at = match l.worst.t {
            Some(t) => format!("t={}", time(t)),
            None => format!("row {}", l.worst.row),
        };
        let trend = match l.trend {
            None => "-".into(),
            Some(p) if p.abs() < 0.1 => "flat".into(),
            Some(p) => format!("t^{p:.1}"),
        };
        let right = match (l.right_from, l.off_at.as_str()) {
            (Some(t), _) => format!("t >= {}", time(t)),
            (None, "") => "-".into(),
            (None, "all t") => "nowhere".into(),
            (None, _) => "in places".into(),
        };
        let values = l.values.to_string();
        vec![
            quantity,
            process,
            values,
            units,
            at,
            line,
            right,
            trend,
            verdict(l),
        ]
    }
}

fn head_of(r: &Report, look: Look) -> String {
    let lines = fold(&r.lines, look.full);
    let columns = Columns::new(&lines, look);
    let rows: Vec<Vec<String>> = lines.iter().map(|l| columns.cells(l)).collect();
    let scale = columns.scale();
    if columns.wide {
        table(
            &[
                "quantity",
                "process",
                "values",
                "worst, units",
                "at",
                &scale,
                "right for",
                "t -> 0",
                "verdict",
            ],
            &rows,
        )
    } else {
        table(&["quantity", "process", "units", &scale, "verdict"], &rows)
    }
}

/// `quantity.output (n)` joined.
fn counted(outputs: &BTreeMap<String, usize>) -> String {
    outputs
        .iter()
        .map(|(q, n)| {
            if *n == 1 {
                q.clone()
            } else {
                format!("{q} ({n})")
            }
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// Lists under a heading end after as many lines.
const MOST: usize = 12;

/// A report on its way into text.
struct Writer<'a> {
    out: String,
    r: &'a Report,
    width: usize,
    plain: bool,
    /// How many causes stand there.
    causes: usize,
}

impl Writer<'_> {
    fn paragraph(&mut self, first: &str, text: &str) {
        paragraph(&mut self.out, first, text, self.width, None);
    }

    /// A paragraph that belongs to the cause above it.
    fn indented(&mut self, text: &str) {
        self.paragraph("     ", text);
    }

    /// The first sentence of the next cause, with its number.
    fn cause(&mut self, text: &str, style: Style) {
        self.causes += 1;
        let number = format!("{:3}. ", self.causes);
        paragraph(&mut self.out, &number, text, self.width, Some(style));
    }

    /// A list of at most [`MOST`] lines, and how many more there are.
    fn few(&mut self, title: &str, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let _ = writeln!(self.out, "\n{title}");
        for line in lines.iter().take(MOST) {
            self.indented(line);
        }
        if lines.len() > MOST {
            let more = lines.len() - MOST;
            let _ = writeln!(self.out, "     and {more} more (--json lists all)");
        }
    }

    fn consequences(&mut self, follows: &[Follows]) {
        for tested in [true, false] {
            let mut from: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
            for f in follows.iter().filter(|f| f.tested == tested) {
                *from
                    .entry(f.from)
                    .or_default()
                    .entry(f.output.clone())
                    .or_insert(0) += f.count;
            }
            for (from, outputs) in from {
                let n: usize = outputs.values().sum();
                let why = if tested {
                    format!("{n} more: just what this code's own {from} gives: ")
                } else {
                    format!(
                        "{n} more, perhaps: made from {from}, off at the same times, by more than is explained: "
                    )
                };
                self.indented(&(why + &counted(&outputs)));
            }
        }
    }

    /// From which time on each of `outputs` is right: what the wide table has in a column of its
    /// own.
    fn ranges(&mut self, outputs: &BTreeMap<String, usize>) {
        if self.width >= WIDE {
            return;
        }
        let mut by_time: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for name in outputs.keys() {
            let off = self
                .r
                .lines
                .iter()
                .filter(|l| !l.accepted && *name == format!("{}.{}", l.quantity, l.output));
            // of several processes the latest, and none where one is nowhere right
            let latest = off
                .map(|l| l.right_from)
                .reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)))
                .flatten();
            if let Some(t) = latest {
                by_time.entry(time(t)).or_default().push(name);
            }
        }
        for (t, names) in by_time {
            self.indented(&format!("right for t >= {t}: {}", names.join(", ")));
        }
    }

    /// What follows from a cause, where it is right, and the row that shows it best.
    fn details(
        &mut self,
        outputs: &BTreeMap<String, usize>,
        follows: &[Follows],
        shown: Option<&Shown>,
    ) {
        self.ranges(outputs);
        self.consequences(follows);
        if let Some(s) = shown {
            self.example(s);
        }
    }

    fn example(&mut self, s: &Shown) {
        let column = if s.column > 0 {
            format!(" column {}", s.column)
        } else {
            String::new()
        };
        self.indented(&format!(
            "worst: {} in {} row {}{column}",
            shown(&s.output),
            shown(&s.entry),
            s.row
        ));
        let difference = s.got - s.truth;
        let units = if s.units.is_finite() {
            format!("{} units of {}", short(s.units), s.precision)
        } else {
            "no number".into()
        };
        let off = if difference.is_finite() {
            format!("{difference:.2e}")
        } else {
            "-".into()
        };
        let _ = writeln!(self.out, "       got       {}", digits(s.got));
        let _ = writeln!(self.out, "       right     {}", digits(s.truth));
        let _ = writeln!(self.out, "       off by    {off} ({units})");
        let number = |x: &f64| digits(*x);
        let inputs: Vec<String> = s
            .inputs
            .iter()
            .map(|(name, x)| match x.as_slice() {
                [one] => format!("{} = {}", shown(name), number(one)),
                more => format!(
                    "{} = [{}]",
                    shown(name),
                    more.iter().map(number).collect::<Vec<_>>().join(", ")
                ),
            })
            .collect();
        if !inputs.is_empty() {
            self.paragraph("       at        ", &inputs.join(", "));
        }
        self.paragraph("       of        ", &escaped(&s.config));
        // a command is copied: a line of its own, broken as a shell allows
        let indent = "       ";
        let one = format!("to see it: {}", s.see);
        if indent.len() + one.len() <= self.width || self.plain {
            let _ = writeln!(self.out, "{indent}{one}");
        } else {
            let (a, b) = one
                .split_once(" --entry")
                .map_or((one.as_str(), ""), |(a, b)| (a, b));
            let _ = writeln!(self.out, "{indent}{a} \\\n{indent}    --entry{b}");
        }
    }

    /// The file and who made it.
    fn title(&mut self) {
        let r = self.r;
        let name = if r.implementation.is_empty() {
            String::new()
        } else {
            format!(" ({})", r.implementation)
        };
        let title = format!("{}{name}", escaped(&r.file));
        paragraph(&mut self.out, "", &title, self.width, Some(BOLD));
    }

    /// How to read the table above it.
    fn legend(&mut self) {
        let early = self.r.t_min.map_or(String::new(), |t| {
            format!(" Rows with t < {} were not judged.", time(t))
        });
        let legend = format!(
            "units: of the array's type; up to {UNITS} is right (inputs and parameters may be off by as many). By decades of t: . is right, {} is off, \
             a step for every two powers of ten. eps, f32: right with the declared epsilon_added, or to single precision.{early}",
            if self.plain { "1 to 8" } else { "a bar" }
        );
        self.paragraph("", &legend);
    }

    /// The mistakes that were found.
    fn named(&mut self) {
        for d in &self.r.diagnoses {
            self.cause(&format!("{} [{}]", d.text, d.id), WARN);
            self.indented(&format!("what to do: {}", d.remedy));
            let loose = if d.cancellation && d.id != "cancellation" {
                "; some only after allowing for cancellation"
            } else {
                ""
            };
            let entries = if d.entries.len() == 1 {
                "1 entry".into()
            } else {
                format!("{} entries", d.entries.len())
            };
            self.indented(&format!(
                "explains {} in {entries}: {}{loose}",
                plural(d.explains, "output"),
                counted(&d.outputs)
            ));
            self.details(&d.outputs, &d.follows, d.shown.as_ref());
        }
    }

    /// What is off and has no name.
    fn unexplained(&mut self) {
        for o in &self.r.open {
            let n: usize = o.outputs.values().sum();
            let outputs = counted(&o.outputs);
            self.cause(
                &format!("{outputs}: no known mistake gives these numbers"),
                BAD,
            );
            let shown: Vec<&str> = o.entries.iter().take(4).map(String::as_str).collect();
            let more = if o.entries.len() > 4 {
                format!(" and {} more", o.entries.len() - 4)
            } else {
                String::new()
            };
            self.indented(&format!(
                "{} unexplained, in {}{more}",
                plural(n, "output"),
                shown.join(", ")
            ));
            self.details(&o.outputs, &o.follows, o.shown.as_ref());
        }
    }

    fn raised(&mut self) {
        let lines: Vec<String> = self
            .r
            .raised
            .iter()
            .map(|x| {
                format!(
                    "{} x{}: {:?} ({})",
                    x.quantity,
                    x.entries.len(),
                    x.message,
                    x.entries.join(", ")
                )
            })
            .collect();
        self.few(
            &styled(BOLD, "Raised an error instead of an answer"),
            &lines,
        );
    }

    fn unjudged(&mut self) {
        let one = |u: &Unjudged| {
            let rows = match u.rows.as_slice() {
                [] => String::new(),
                [one] => format!(", row {one}"),
                [first, ..] => format!(", {} rows from {first} on", u.rows.len()),
            };
            let t = at_time(u.t);
            let (entry, output, why) = (shown(&u.entry), shown(&u.output), escaped(&u.why));
            format!("{entry} {output}{rows}{t}: {why}")
        };
        let lines: Vec<String> = self.r.unjudged.iter().map(one).collect();
        self.few(&styled(BAD, "Cannot be judged"), &lines);
    }

    fn ignored(&mut self) {
        let ignored = self.r.ignored.iter();
        let lines: Vec<String> = ignored.map(|l| escaped(l).to_string()).collect();
        self.few(&styled(WARN, "Not used"), &lines);
    }

    fn not_yet(&mut self) {
        if self.r.not_yet.is_empty() {
            return;
        }
        let list: Vec<String> = self
            .r
            .not_yet
            .iter()
            .map(|(q, n)| format!("{q} ({n})"))
            .collect();
        self.out.push('\n');
        self.paragraph(
            "",
            &format!("Not yet covered, not judged: {}", list.join(", ")),
        );
    }

    fn unanswered(&mut self) {
        let r = self.r;
        if r.unanswered.is_empty() && r.not_begun.is_empty() {
            return;
        }
        let raised = r.raised.iter().map(|x| x.entries.len()).sum::<usize>();
        let begun = r.unanswered.len() + r.judged + raised;
        let here = if r.unanswered.is_empty() {
            String::new()
        } else {
            format!(
                "{} of {begun} entries of what was begun. ",
                r.unanswered.len()
            )
        };
        let rest = match r.not_begun.values().sum::<usize>() {
            0 => String::new(),
            rest => format!(
                "{} of suites and processes that were not begun.",
                plural(rest, "entry")
            ),
        };
        self.out.push('\n');
        self.paragraph("", &format!("Not answered: {here}{rest}"));
    }

    fn not_finite(&mut self) {
        let one = |l: &Line| {
            let first = l.not_finite_at.as_ref().map_or(String::new(), |at| {
                let t = at_time(at.t);
                format!(", first in {} row {}{t}", shown(&at.entry), at.row)
            });
            format!(
                "{} of {} values of {}.{} ({}){first}",
                l.not_finite, l.values, l.quantity, l.output, l.process
            )
        };
        let lost = self.r.lines.iter();
        let lost = lost.filter(|l| l.not_finite > 0 && !l.accepted);
        let lines: Vec<String> = lost.map(one).collect();
        self.few(&styled(BAD, "Not finite"), &lines);
    }
}

/// `, t = 0.5` for a time that is known.
fn at_time(t: Option<f64>) -> String {
    t.map_or(String::new(), |t| format!(", t = {}", time(t)))
}

/// The whole report.
pub fn text(r: &Report, look: Look) -> String {
    let mut w = Writer {
        out: String::new(),
        r,
        width: look.width.max(40),
        plain: look.plain,
        causes: 0,
    };
    w.title();
    w.out.push('\n');
    w.out += &head_of(r, look);
    w.out.push('\n');
    w.legend();
    if !r.diagnoses.is_empty() || !r.open.is_empty() {
        let _ = writeln!(w.out, "\n{}", styled(BOLD, "Causes"));
    }
    w.named();
    w.unexplained();
    w.raised();
    w.unjudged();
    w.ignored();
    w.not_yet();
    w.unanswered();
    w.not_finite();
    let _ = writeln!(w.out, "\n{}", sum(r));
    if look.plain {
        anstream::adapter::strip_str(&w.out).to_string()
    } else {
        w.out
    }
}

/// `1 entry`, `2 entries`.
pub(super) fn plural(n: usize, what: &str) -> String {
    match (n, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{n} {stem}ies"),
        _ => format!("{n} {what}s"),
    }
}

/// The verdict in a line.
pub fn sum(r: &Report) -> String {
    if r.ok {
        let outputs = r.lines.iter().map(|l| l.entries).sum::<usize>();
        return styled(
            GOOD,
            &format!(
                "all within tolerance: {}, {}",
                plural(r.judged, "entry"),
                plural(outputs, "output")
            ),
        );
    }
    let lines = r.lines.iter().filter(|l| !l.accepted).count();
    let raised: usize = r.raised.iter().map(|x| x.entries.len()).sum();
    let raised = if raised > 0 {
        format!(", {} raised an error", plural(raised, "entry"))
    } else {
        String::new()
    };
    let unjudged = if r.unjudged.is_empty() {
        String::new()
    } else {
        format!(", {} not judged", r.unjudged.len())
    };
    styled(
        BAD,
        &format!("{lines} of {} outputs off{raised}{unjudged}", r.lines.len()),
    )
}

/// Time in the words of a person.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// A line of a report, for tests: two decades of `kernel.cov`.
#[cfg(test)]
pub(super) fn line_of(output: &str, process: &str, class: Class, units: f64) -> Line {
    Line {
        quantity: "kernel.cov".into(),
        output: output.into(),
        process: process.into(),
        class,
        accepted: class == Class::F64,
        entries: 2,
        values: 10,
        worst: super::compare::Worst {
            relative: units * 1e-16,
            units,
            precision: "f64",
            entry: "e".into(),
            row: 3,
            column: 0,
            t: Some(0.25),
            got: 1.0,
            truth: 1.0,
            config: String::new(),
        },
        not_finite: 0,
        not_finite_at: None,
        trend: Some(units),
        off_at: String::new(),
        right_from: None,
        decades: BTreeMap::from([(-2, units), (-1, 1.0)]),
    }
}

#[cfg(test)]
mod tests {
    use super::line_of as line;
    use super::*;

    /// Catches a sparkline that draws an error that is no number, or infinite, as right, or a
    /// decade without rows as judged.
    #[test]
    fn sparklines() {
        let of = |x: f64| BTreeMap::from([(-2, 1.0), (-1, x)]);
        assert_eq!(sparkline(&of(16.0), -3, -1, false), " ..");
        assert_eq!(sparkline(&of(17.0), -3, -1, true), " .1");
        assert_eq!(sparkline(&of(1.6e3), -3, -1, true), " .2");
        assert_eq!(sparkline(&of(f64::INFINITY), -3, -1, true), " .8");
        assert_eq!(sparkline(&of(f64::NAN), -3, -1, true), " .8");
    }

    /// Catches a name that is cut to something longer than asked for, or to its beginning alone.
    #[test]
    fn names_are_cut_in_the_middle() {
        assert_eq!(within("short", 10, ".."), "short");
        assert_eq!(
            within("kernel.inverse_transpose_factor.l21", 20, ".."),
            "kernel.in..actor.l21"
        );
        assert_eq!(
            within("kernel.inverse_transpose_factor.l21", 20, "…")
                .chars()
                .count(),
            20
        );
    }

    /// Catches lines that are folded though they are off, or of another quantity or class; numbers
    /// that are not added up, and a worst that is another line's.
    #[test]
    fn what_is_accepted_is_folded() {
        let (f64, off) = (Class::F64, Class::Off);
        let lines = [
            line("xx", "cld", f64, 3.0),
            line("xv", "cld", f64, 5.0),
            line("xx", "vp", f64, 4.0),
            line("vv", "cld", off, 99.0),
            line("vv", "vp", off, 98.0),
        ];
        let folded = fold(&lines, false);
        let seen: Vec<(&str, &str, usize, usize, f64)> = folded
            .iter()
            .map(|l| (&*l.output, &*l.process, l.entries, l.values, l.worst.units))
            .collect();
        let wanted = [
            ("vv", "cld", 2, 10, 99.0),
            ("vv", "vp", 2, 10, 98.0),
            ("xx,xv", "cld, vp", 6, 30, 5.0),
        ];
        let mut sorted = seen.clone();
        sorted.sort_by(|a, b| a.0.cmp(b.0).then(a.1.cmp(b.1)));
        assert_eq!(sorted, wanted);
        assert!(
            seen[0].0 == "vv" && seen[1].0 == "vv",
            "what is off is first: {seen:?}"
        );
        let good = folded.iter().find(|l| l.accepted).unwrap();
        assert_eq!(
            (good.decades[&-2], good.decades[&-1], good.trend),
            (5.0, 1.0, Some(5.0))
        );
        assert_eq!(fold(&lines, true).len(), 5);
        let mut other = line("xx", "cld", f64, 1.0);
        other.quantity = "kernel.mean".into();
        assert_eq!(fold(&[lines[0].clone(), other], false).len(), 2);
    }

    /// Catches a duration in another unit, and one that is rounded to nothing.
    #[test]
    fn durations_in_words() {
        for (seconds, words) in [
            (0.4, "0 s"),
            (89.4, "89 s"),
            (90.0, "2 min"),
            (150.0, "2 min"),
            (5399.0, "90 min"),
            (5400.0, "1.5 h"),
            (36_000.0, "10.0 h"),
        ] {
            assert_eq!(duration(seconds), words, "{seconds}");
        }
    }

    /// Catches a word without its colour, or one that colours what comes after.
    #[test]
    fn styles_end_where_the_word_ends() {
        assert_eq!(styled(GOOD, "ok"), format!("{GOOD}ok{GOOD:#}"));
        assert!(styled(BAD, "OFF").len() > "OFF".len());
        assert_eq!(
            anstream::adapter::strip_str(&styled(BAD, "OFF")).to_string(),
            "OFF"
        );
        let of = |class, accepted| {
            let mut l = line("xx", "cld", class, 1.0);
            l.accepted = accepted;
            anstream::adapter::strip_str(&verdict(&l)).to_string()
        };
        assert_eq!(of(Class::F64, true), "ok f64");
        assert_eq!(
            [of(Class::Off, true), of(Class::Off, false)],
            ["OFF", "OFF"]
        );
        assert_eq!(of(Class::Eps, false), "OFF (eps)");
        assert_eq!(of(Class::F32, false), "OFF (f32)");
    }

    /// Catches a report that is silent about numbers that are none, or speaks of them where there
    /// are none.
    #[test]
    fn what_is_no_number_is_told() {
        use super::super::answers::{Answer, Answers, Entry};
        use super::super::{Array, Config, Precision, judge};
        let config = Config::from_answers(&serde_json::json!({
            "kind": "vp", "schedule": {"kind": "linear", "b0": 4.0, "b1": 0.0}
        }))
        .unwrap();
        let array = |data: &[f64]| Array {
            shape: vec![data.len()],
            data: data.to_vec(),
            precision: Precision::F64,
        };
        let times = [0.125, 0.25, 0.5, 0.75, 1.0];
        let report = |wrong: Option<f64>| {
            let mut xx: Vec<f64> = times.iter().map(|t: &f64| -(-4.0 * t).exp_m1()).collect();
            if let Some(x) = wrong {
                xx[1] = x;
            }
            let answers = Answers {
                file: "file".into(),
                implementation: String::new(),
                entries: vec![Entry {
                    id: "e".into(),
                    quantity: "kernel.cov".into(),
                    config: config.clone(),
                    inputs: BTreeMap::from([("t".to_string(), array(&times))]),
                    answer: Answer::Given(BTreeMap::from([("xx".to_string(), array(&xx))])),
                }],
                unusable: vec![],
                ignored: vec![],
                not_yet: BTreeMap::new(),
            };
            let r = judge(&answers, &[], &mut |_, _| ()).unwrap();
            let look = Look {
                width: 100,
                plain: true,
                full: false,
            };
            (r.ok, text(&r, look))
        };
        let (ok, words) = report(None);
        assert!(
            ok && words.contains("all within tolerance: 1 entry, 1 output"),
            "{words}"
        );
        assert!(
            !words.contains("Not finite") && !words.contains("Causes"),
            "{words}"
        );
        for x in [f64::NAN, f64::INFINITY] {
            let (ok, words) = report(Some(x));
            assert!(!ok && words.contains("Not finite"), "{words}");
            assert!(
                words.contains("1 of 5 values of kernel.cov.xx (vp), first in e row 1, t = 0.25"),
                "{words}"
            );
            assert!(
                words.contains("[damaged-rows]") && words.contains("1 of 1 outputs off"),
                "{words}"
            );
        }
        let (ok, words) = report(Some(0.5));
        assert!(
            !ok && !words.contains("Not finite") && words.contains("OFF"),
            "{words}"
        );
    }
}
