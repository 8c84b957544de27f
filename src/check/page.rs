//! A report as one page of HTML that needs nothing but a browser.

use super::compare::{Class, UNITS};
use super::consequence::{Follows, Shown};
use super::judge::{Line, Report};
use super::words::{plural, short, sum, time};
use crate::plot::page::{Plot, STYLE, Series, draw, escape};
use plotters::prelude::SeriesLabelPosition;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Text of a file, harmless in HTML.
fn safe(s: &str) -> String {
    escape(s).replace('"', "&quot;")
}

/// The same with what stands between backticks as code.
fn prose(s: &str) -> String {
    let part = |(i, x): (usize, &str)| {
        if i % 2 == 1 {
            format!("<code>{x}</code>")
        } else {
            x.to_string()
        }
    };
    safe(s).split('`').enumerate().map(part).collect()
}

fn class(l: &Line) -> (&'static str, String) {
    match (l.class, l.accepted) {
        (Class::Off, _) => ("bad", "off".into()),
        (c, true) => ("good", format!("ok {}", c.name())),
        (Class::Eps, false) => ("bad", "off: right only with the declared epsilon".into()),
        (c, false) => ("bad", format!("off: right only to {}", c.name())),
    }
}

/// The error of one quantity over t, a line for each process and verdict.
fn errors(lines: &[&Line]) -> Option<String> {
    let decades = || lines.iter().flat_map(|l| l.decades.iter());
    let (first, last) = (
        decades().map(|(d, _)| *d).min()?,
        decades().map(|(d, _)| *d).max()?,
    );
    if first == last {
        return None;
    }
    let worst = decades()
        .map(|(_, x)| *x)
        .filter(|x| x.is_finite())
        .fold(UNITS, f64::max);
    let top = 10f64.powf((worst.log10() + 0.5).ceil()).min(1e300);
    let finite = |x: f64| {
        if x.is_finite() {
            x.clamp(1e-2, top)
        } else {
            top
        }
    };
    let series: Vec<Series> = lines
        .iter()
        .filter(|l| l.decades.len() > 1)
        .enumerate()
        .map(|(i, l)| Series {
            name: format!(
                "{} {}: {}",
                l.output,
                l.process,
                class(l)
                    .1
                    .replace(": right only with the declared epsilon", " (eps)")
                    .replace(": right only to f32", " (f32)")
            ),
            points: l
                .decades
                .iter()
                .map(|(d, x)| (10f64.powf(f64::from(*d) + 0.5), finite(*x)))
                .collect(),
            line: true,
            colour: i,
        })
        .take(7)
        .collect();
    let plot = Plot {
        x: (
            "time t, by decades",
            10f64.powi(first),
            10f64.powi(last + 1),
        ),
        y: ("worst error, units", 1e-2, top),
        log: (true, true),
        legend: SeriesLabelPosition::UpperRight,
    };
    draw(&plot, &series, Some((1e-2, UNITS)))
}

fn counted(outputs: &BTreeMap<String, usize>) -> String {
    outputs
        .iter()
        .map(|(q, n)| {
            format!(
                "<code>{}</code>{}",
                safe(q),
                if *n == 1 {
                    String::new()
                } else {
                    format!(" ({n})")
                }
            )
        })
        .collect::<Vec<_>>()
        .join(", ")
}

fn consequences(h: &mut String, follows: &[Follows]) {
    if follows.is_empty() {
        return;
    }
    let _ = write!(h, "<p>Follows from it:</p><ul>");
    for f in follows {
        let why = if f.tested {
            "just what this code's own numbers give:"
        } else {
            "perhaps, off at the same times:"
        };
        let _ = write!(
            h,
            "<li><code>{}</code> ({}), {why} <code>{}</code></li>",
            safe(&f.output),
            f.count,
            f.from
        );
    }
    let _ = write!(h, "</ul>");
}

fn example(h: &mut String, s: &Shown) {
    let list = |x: &[f64]| {
        x.iter()
            .map(|x| format!("{x:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let _ = write!(
        h,
        "<div class=scroll><table><tr><th>worst<td><code>{}</code> in <code>{}</code>, row {}, column {}\
         <tr><th>got<td><code>{:?}</code><tr><th>right<td><code>{:?}</code><tr><th>off by<td>{:.2e} ({} units of {})",
        safe(&s.output),
        safe(&s.entry),
        s.row,
        s.column,
        s.got,
        s.truth,
        s.got - s.truth,
        short(s.units),
        s.precision
    );
    for (name, x) in &s.inputs {
        let _ = write!(h, "<tr><th>{}<td><code>{}</code>", safe(name), list(x));
    }
    let _ = write!(
        h,
        "<tr><th>of<td>{}<tr><th style=\"white-space:nowrap\">to see it<td><code>{}</code></table></div>",
        safe(&s.config),
        safe(&s.see)
    );
}

fn list(h: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = write!(h, "<h2>{title}</h2><ul>");
    lines.iter().take(200).for_each(|l| {
        let _ = write!(h, "<li>{l}</li>");
    });
    if lines.len() > 200 {
        let _ = write!(h, "<li>and {} more</li>", lines.len() - 200);
    }
    let _ = write!(h, "</ul>");
}

/// What the likely causes are, and what no known mistake explains.
fn causes(h: &mut String, r: &Report) {
    if !r.diagnoses.is_empty() || !r.open.is_empty() {
        let _ = write!(h, "<h2>Causes</h2>");
    }
    for d in &r.diagnoses {
        let _ = write!(
            h,
            "<details open><summary><b>{}</b> <code>{}</code></summary><p>What to do: {}.</p><p>Explains {}, in {}: {}</p>",
            safe(&d.text),
            d.id,
            prose(d.remedy),
            plural(d.explains, "output"),
            plural(d.entries.len(), "entry"),
            counted(&d.outputs)
        );
        consequences(h, &d.follows);
        if let Some(s) = &d.shown {
            example(h, s);
        }
        let _ = write!(h, "</details>");
    }
    for o in &r.open {
        let _ = write!(
            h,
            "<details open><summary><b>No known mistake gives these numbers:</b> {}</summary><p>In {}</p>",
            counted(&o.outputs),
            o.entries
                .iter()
                .take(20)
                .map(|e| format!("<code>{}</code>", safe(e)))
                .collect::<Vec<_>>()
                .join(", ")
        );
        consequences(h, &o.follows);
        if let Some(s) = &o.shown {
            example(h, s);
        }
        let _ = write!(h, "</details>");
    }
}

/// Errors over t, a plot for each quantity.
fn plots(h: &mut String, lines: &[Line]) {
    let mut by: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    lines
        .iter()
        .for_each(|l| by.entry(&l.quantity).or_default().push(l));
    let plots: Vec<String> = by
        .iter()
        .filter_map(|(q, lines)| {
            errors(lines).map(|svg| {
                format!(
                    "<figure>{svg}<figcaption><code>{}</code></figcaption></figure>",
                    safe(q)
                )
            })
        })
        .collect();
    if !plots.is_empty() {
        let _ = write!(
            h,
            "<h2>Error over t</h2><p>In units of each array's type; what is in the band is right (up to {UNITS}). An error that is no number is at the upper edge.</p><div class=plots>{}</div>",
            plots.concat()
        );
    }
}

/// A row for every output.
fn table(h: &mut String, lines: &[Line]) {
    let _ = write!(
        h,
        "<h2>Every output</h2><div class=scroll><table><tr><th>quantity<th>process<th class=n>entries<th class=n>values<th class=n>worst, units<th>at<th>right for<th>verdict"
    );
    for l in lines {
        let (mood, words) = class(l);
        let at = l.worst.t.map_or(format!("row {}", l.worst.row), |t| {
            format!("t = {}", time(t))
        });
        let right = l.right_from.map_or(
            if l.off_at == "all t" {
                "nowhere".into()
            } else {
                String::new()
            },
            |t| format!("t >= {}", time(t)),
        );
        let _ = write!(
            h,
            "<tr><td><code>{}.{}</code><td>{}<td class=n>{}<td class=n>{}<td class=n>{} {}<td>{at}<td>{}<td class={mood}>{words}",
            safe(&l.quantity),
            safe(&l.output),
            safe(&l.process),
            l.entries,
            l.values,
            short(l.worst.units),
            l.worst.precision,
            safe(&right)
        );
    }
}

/// The page.
pub fn page(r: &Report) -> String {
    let mut h = String::new();
    let mood = if r.ok { "good" } else { "bad" };
    let verdict = anstream::adapter::strip_str(&sum(r)).to_string();
    let _ = write!(
        h,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <title>cld check: {verdict}</title><style>{STYLE}</style><main><h1>{}</h1><p class=\"verdict {mood}\">{verdict}</p><p>{}.",
        safe(&r.file),
        safe(&r.implementation)
    );
    if let Some(t) = r.t_min {
        let _ = write!(h, " Rows with t &lt; {} were not judged.", time(t));
    }
    let _ = write!(h, " Judged by cld-sgm {}.</p>", env!("CARGO_PKG_VERSION"));
    causes(&mut h, r);
    list(
        &mut h,
        "Raised an error instead of an answer",
        &r.raised
            .iter()
            .map(|x| {
                format!(
                    "<code>{}</code> x{}: {}",
                    safe(&x.quantity),
                    x.entries.len(),
                    safe(&x.message)
                )
            })
            .collect::<Vec<_>>(),
    );
    list(
        &mut h,
        "Cannot be judged",
        &r.unjudged
            .iter()
            .map(|u| {
                format!(
                    "<code>{}</code> {}: {}",
                    safe(&u.entry),
                    safe(&u.output),
                    safe(&u.why)
                )
            })
            .collect::<Vec<_>>(),
    );
    list(
        &mut h,
        "Not used",
        &r.ignored.iter().map(|l| safe(l)).collect::<Vec<_>>(),
    );
    plots(&mut h, &r.lines);
    table(&mut h, &r.lines);
    let unanswered = r.unanswered.len() + r.not_begun.values().sum::<usize>();
    let _ = writeln!(
        h,
        "</table></div><p>A value is right within {UNITS} units of its type, for inputs and parameters that may be off by as many: <code>docs/guide/cross-check.md</code>. \
         Entries judged: {}; without an answer: {unanswered}.</p></main></html>",
        r.judged
    );
    h
}

#[cfg(test)]
mod tests {
    use super::super::words::line_of as line;
    use super::*;

    /// Catches a plot with a line for what has one decade alone, or without one for what has two,
    /// and a verdict that is another line's.
    #[test]
    fn lines_of_a_plot_have_two_decades() {
        let mut short = line("xv", "vp", Class::F64, 3.0);
        short.decades.remove(&-1);
        let (right, off) = (
            line("xx", "cld", Class::F64, 3.0),
            line("vv", "cld", Class::Off, 99.0),
        );
        let svg = errors(&[&right, &short, &off]).unwrap();
        assert!(
            svg.contains("xx cld: ok f64") && svg.contains("vv cld: off"),
            "{svg}"
        );
        assert!(!svg.contains("xv vp"));
        // one decade of time is no plot
        assert!(errors(&[&short]).is_none() && errors(&[]).is_none());
        // no number, or infinite: at the top, and seen
        let mut lost = right.clone();
        lost.decades.insert(-2, f64::INFINITY);
        assert!(errors(&[&lost]).unwrap().contains("xx cld"));
        assert_eq!(class(&line("xx", "cld", Class::Eps, 1.0)).0, "bad");
        assert_eq!(class(&right), ("good", "ok f64".into()));
    }
}
