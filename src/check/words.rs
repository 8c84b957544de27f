//! A report in words: for a terminal of 80 columns, richer for 120, plain for logs.

use super::compare::{Class, UNITS};
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

fn head_of(r: &Report, look: Look) -> String {
    let dots = if look.plain { ".." } else { "…" };
    let lines = fold(&r.lines, look.full);
    let span = span(&lines);
    let scale = span.map_or("error over t".into(), |(a, b)| {
        format!(
            "1e{a}..{}",
            if b == 0 {
                "1".into()
            } else {
                time(10f64.powi(b + 1))
            }
        )
    });
    let wide = look.width >= WIDE;
    // what the other columns leave
    let name = if wide {
        look.width - 92
    } else {
        look.width.saturating_sub(50).max(20)
    };
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|l| {
            let at = match l.worst.t {
                Some(t) => format!("t={}", time(t)),
                None => format!("row {}", l.worst.row),
            };
            let line = span.map_or(String::new(), |(a, b)| {
                sparkline(&l.decades, a, b, look.plain)
            });
            // the largest finite error says nothing of a line whose values are no numbers
            let size = if l.not_finite > 0 && !l.accepted {
                "no number".into()
            } else {
                short(l.worst.units)
            };
            let units = if size == "no number" {
                size.clone()
            } else {
                format!("{size} {}", l.worst.precision)
            };
            let quantity = within(&format!("{}.{}", l.quantity, l.output), name, dots);
            let process = within(&l.process, 14, dots);
            if !wide {
                return vec![quantity, process, size, line, verdict(l)];
            }
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
            vec![
                quantity,
                process,
                l.values.to_string(),
                units,
                at,
                line,
                right,
                trend,
                verdict(l),
            ]
        })
        .collect();
    if wide {
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

fn consequences(out: &mut String, follows: &[Follows], width: usize) {
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
            paragraph(out, "     ", &(why + &counted(&outputs)), width, None);
        }
    }
}

/// From which time on each of `outputs` is right: what the wide table has in a column of its own.
fn ranges(out: &mut String, r: &Report, outputs: &BTreeMap<String, usize>, width: usize) {
    let mut by_time: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in outputs.keys() {
        let off = r
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
        paragraph(
            out,
            "     ",
            &format!("right for t >= {t}: {}", names.join(", ")),
            width,
            None,
        );
    }
}

fn example(out: &mut String, s: &Shown, width: usize, plain: bool) {
    let column = if s.column > 0 {
        format!(" column {}", s.column)
    } else {
        String::new()
    };
    let place = format!(
        "worst: {} in {} row {}{column}",
        shown(&s.output),
        shown(&s.entry),
        s.row
    );
    paragraph(out, "     ", &place, width, None);
    let difference = s.got - s.truth;
    let units = if s.units.is_finite() {
        format!("{} units of {}", short(s.units), s.precision)
    } else {
        "no number".into()
    };
    let _ = writeln!(out, "       got       {}", digits(s.got));
    let _ = writeln!(out, "       right     {}", digits(s.truth));
    let _ = writeln!(
        out,
        "       off by    {} ({units})",
        if difference.is_finite() {
            format!("{difference:.2e}")
        } else {
            "-".into()
        }
    );
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
        paragraph(out, "       at        ", &inputs.join(", "), width, None);
    }
    paragraph(out, "       of        ", &escaped(&s.config), width, None);
    // a command is copied: a line of its own, broken as a shell allows
    let indent = "       ";
    let one = format!("to see it: {}", s.see);
    if indent.len() + one.len() <= width || plain {
        let _ = writeln!(out, "{indent}{one}");
    } else {
        let (a, b) = one
            .split_once(" --entry")
            .map_or((one.as_str(), ""), |(a, b)| (a, b));
        let _ = writeln!(out, "{indent}{a} \\\n{indent}    --entry{b}");
    }
}

/// A list of at most `most` lines, and how many more there are.
fn few(out: &mut String, title: &str, lines: &[String], most: usize, width: usize) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}");
    for line in lines.iter().take(most) {
        paragraph(out, "     ", line, width, None);
    }
    if lines.len() > most {
        let _ = writeln!(
            out,
            "     and {} more (--json lists all)",
            lines.len() - most
        );
    }
}

/// The whole report.
pub fn text(r: &Report, look: Look) -> String {
    let width = look.width.max(40);
    let mut out = String::new();
    let name = if r.implementation.is_empty() {
        String::new()
    } else {
        format!(" ({})", r.implementation)
    };
    paragraph(
        &mut out,
        "",
        &format!("{}{name}", escaped(&r.file)),
        width,
        Some(BOLD),
    );
    out.push('\n');
    out += &head_of(r, look);
    out.push('\n');
    let early = r.t_min.map_or(String::new(), |t| {
        format!(" Rows with t < {} were not judged.", time(t))
    });
    let legend = format!(
        "units: of the array's type; up to {UNITS} is right (inputs and parameters may be off by as many). By decades of t: . is right, {} is off, \
         a step for every two powers of ten. eps, f32: right with the declared epsilon_added, or to single precision.{early}",
        if look.plain { "1 to 8" } else { "a bar" }
    );
    paragraph(&mut out, "", &legend, width, None);
    if !r.diagnoses.is_empty() || !r.open.is_empty() {
        let _ = writeln!(out, "\n{}", styled(BOLD, "Causes"));
    }
    let mut number = 0;
    for d in &r.diagnoses {
        number += 1;
        paragraph(
            &mut out,
            &format!("{number:3}. "),
            &format!("{} [{}]", d.text, d.id),
            width,
            Some(WARN),
        );
        paragraph(
            &mut out,
            "     ",
            &format!("what to do: {}", d.remedy),
            width,
            None,
        );
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
        paragraph(
            &mut out,
            "     ",
            &format!(
                "explains {} in {entries}: {}{loose}",
                plural(d.explains, "output"),
                counted(&d.outputs)
            ),
            width,
            None,
        );
        if width < WIDE {
            ranges(&mut out, r, &d.outputs, width);
        }
        consequences(&mut out, &d.follows, width);
        if let Some(s) = &d.shown {
            example(&mut out, s, width, look.plain);
        }
    }
    for o in &r.open {
        number += 1;
        let n: usize = o.outputs.values().sum();
        let text = format!(
            "{}: no known mistake gives these numbers",
            counted(&o.outputs)
        );
        paragraph(&mut out, &format!("{number:3}. "), &text, width, Some(BAD));
        let shown: Vec<&str> = o.entries.iter().take(4).map(String::as_str).collect();
        let more = if o.entries.len() > 4 {
            format!(" and {} more", o.entries.len() - 4)
        } else {
            String::new()
        };
        paragraph(
            &mut out,
            "     ",
            &format!(
                "{} unexplained, in {}{more}",
                plural(n, "output"),
                shown.join(", ")
            ),
            width,
            None,
        );
        if width < WIDE {
            ranges(&mut out, r, &o.outputs, width);
        }
        consequences(&mut out, &o.follows, width);
        if let Some(s) = &o.shown {
            example(&mut out, s, width, look.plain);
        }
    }
    let raised: Vec<String> = r
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
    few(
        &mut out,
        &styled(BOLD, "Raised an error instead of an answer"),
        &raised,
        12,
        width,
    );
    let unjudged: Vec<String> = r
        .unjudged
        .iter()
        .map(|u| {
            let rows = match u.rows.as_slice() {
                [] => String::new(),
                [one] => format!(", row {one}"),
                [first, ..] => format!(", {} rows from {first} on", u.rows.len()),
            };
            let t = u.t.map_or(String::new(), |t| format!(", t = {}", time(t)));
            format!(
                "{} {}{rows}{t}: {}",
                shown(&u.entry),
                shown(&u.output),
                escaped(&u.why)
            )
        })
        .collect();
    few(
        &mut out,
        &styled(BAD, "Cannot be judged"),
        &unjudged,
        12,
        width,
    );
    few(
        &mut out,
        &styled(WARN, "Not used"),
        &r.ignored
            .iter()
            .map(|l| escaped(l).to_string())
            .collect::<Vec<_>>(),
        12,
        width,
    );
    if !r.not_yet.is_empty() {
        let list = r
            .not_yet
            .iter()
            .map(|(q, n)| format!("{q} ({n})"))
            .collect::<Vec<_>>()
            .join(", ");
        out.push('\n');
        paragraph(
            &mut out,
            "",
            &format!("Not yet covered, not judged: {list}"),
            width,
            None,
        );
    }
    if !r.unanswered.is_empty() || !r.not_begun.is_empty() {
        let begun =
            r.unanswered.len() + r.judged + r.raised.iter().map(|x| x.entries.len()).sum::<usize>();
        let here = if r.unanswered.is_empty() {
            String::new()
        } else {
            format!(
                "{} of {begun} entries of what was begun. ",
                r.unanswered.len()
            )
        };
        let rest: usize = r.not_begun.values().sum();
        let rest = if rest == 0 {
            String::new()
        } else {
            format!(
                "{} of suites and processes that were not begun.",
                plural(rest, "entry")
            )
        };
        out.push('\n');
        paragraph(
            &mut out,
            "",
            &format!("Not answered: {here}{rest}"),
            width,
            None,
        );
    }
    let lost: Vec<String> = r
        .lines
        .iter()
        .filter(|l| l.not_finite > 0 && !l.accepted)
        .map(|l| {
            let first = l.not_finite_at.as_ref().map_or(String::new(), |at| {
                let t = at.t.map_or(String::new(), |t| format!(", t = {}", time(t)));
                format!(", first in {} row {}{t}", shown(&at.entry), at.row)
            });
            format!(
                "{} of {} values of {}.{} ({}){first}",
                l.not_finite, l.values, l.quantity, l.output, l.process
            )
        })
        .collect();
    few(&mut out, &styled(BAD, "Not finite"), &lost, 12, width);
    let _ = writeln!(out, "\n{}", sum(r));
    if look.plain {
        anstream::adapter::strip_str(&out).to_string()
    } else {
        out
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

#[cfg(test)]
mod tests {
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
}
