//! The page: claims first, then each experiment with its tables and plots. Markdown with plots
//! beside it, or one file of HTML.

use super::experiment::{Claim, Experiment, Side};
use super::findings::{Findings, Found, Values, push_new};
use super::measure::{Kind, Measure, figure};
use super::verdict::{ERROR_RATE, Relation, Verdict};
use crate::check::words::{duration, short};
use crate::error::Result;
use crate::metrics::Estimate;
use crate::plot::page::escape;
use crate::plot::pictures::{Curve, Format, Panel, curves};

/// A part of the page.
enum Block {
    Heading(usize, String),
    Text(String),
    Table(Vec<String>, Vec<Vec<String>>),
    /// A file's name, what it shows, and the SVG.
    Plot(String, String, String),
}

/// A verdict in a word or two.
pub fn word(found: &Found, scale: f64) -> String {
    match found.judged.verdict {
        Verdict::Holds => "holds".into(),
        Verdict::Fails => "does not hold".into(),
        Verdict::Missing => "not measured".into(),
        Verdict::Open { .. } if scale < 1.0 => "cannot be told at this size".into(),
        Verdict::Open { seeds: Some(n) } => format!("cannot be told; {n} seeds would"),
        Verdict::Open { seeds: None } => "cannot be told".into(),
    }
}

fn side(s: &Side) -> String {
    match s {
        Side::Figure { arm, figure } => format!("{arm}: {figure}"),
        Side::Number(x) => short(*x),
    }
}

/// What a claim says, in symbols.
fn statement(c: &Claim) -> String {
    let (a, b) = (side(&c.a), side(&c.b));
    match (c.relation, c.ratio) {
        (Relation::Less, _) => format!("{a} < {b}"),
        (Relation::Within(w), false) => format!("{a} = {b} within {}", short(w)),
        (Relation::Within(w), true) => format!("{a} = {b} within a factor {}", short(w.exp())),
    }
}

fn mean(m: Option<Estimate>) -> String {
    match m {
        None => "-".into(),
        Some(m) if m.error.is_finite() => format!("{} ± {}", short(m.value), short(m.error)),
        Some(m) => short(m.value),
    }
}

/// The difference, or the ratio where logarithms are compared.
pub fn difference(f: &Found) -> String {
    let j = &f.judged;
    if j.n == 0 || !j.mean.is_finite() {
        return "-".into();
    }
    let (value, error) = if f.claim.ratio {
        (
            format!("× {}", short(j.mean.exp())),
            short(j.error.exp_m1()),
        )
    } else {
        (short(j.mean), short(j.error))
    };
    if j.error.is_finite() {
        format!(
            "{value} ± {error}{}",
            if f.claim.ratio { " of it" } else { "" }
        )
    } else {
        value
    }
}

fn cell(v: Option<&Values>) -> String {
    match v {
        None => String::new(),
        Some(v) if v.problem.is_some() => "diverged".into(),
        Some(v) => mean(v.mean()),
    }
}

/// Claims and verdicts: what the terminal shows, too.
pub fn summary(f: &Findings) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let rows = f
        .found
        .iter()
        .map(|c| {
            vec![
                c.claim.id.clone(),
                c.claim.text.clone(),
                word(c, f.plan.scale),
                difference(c),
                c.judged.n.to_string(),
            ]
        })
        .collect();
    (
        vec!["claim", "in words", "verdict", "difference", "seeds"],
        rows,
    )
}

fn blocks(f: &Findings) -> Result<Vec<Block>> {
    let mut out = vec![Block::Heading(
        1,
        "The paper's experiments at the size of a CPU".into(),
    )];
    out.push(Block::Text(introduction(f)));
    out.push(counts(f));
    out.push(Block::Heading(2, "Claims".into()));
    let (head, rows) = summary(f);
    out.push(Block::Table(
        head.into_iter().map(String::from).collect(),
        rows,
    ));
    for e in &f.plan.experiments {
        experiment(f, e, &mut out)?;
    }
    Ok(out)
}

/// Verdicts by experiment, with the claims of the first two kinds by name.
fn counts(f: &Findings) -> Block {
    let head = [
        "experiment",
        "holds",
        "does not hold",
        "cannot be told",
        "not measured",
    ];
    let rows = f.plan.experiments.iter().map(|e| {
        let of = |v: fn(&Verdict) -> bool| {
            f.found
                .iter()
                .filter(|c| e.claims.iter().any(|k| k.id == c.claim.id))
                .filter(|c| v(&c.judged.verdict))
                .map(|c| {
                    c.claim
                        .id
                        .trim_start_matches(&format!("{}.", e.id))
                        .to_string()
                })
                .collect::<Vec<_>>()
        };
        let named = |v| {
            let ids = of(v);
            match ids.len() {
                0 => "-".to_string(),
                n => format!("{n}: {}", ids.join(", ")),
            }
        };
        let counted = |v| match of(v).len() {
            0 => "-".to_string(),
            n => n.to_string(),
        };
        vec![
            format!("{}. {}", e.number, e.title),
            named(|v| *v == Verdict::Holds),
            named(|v| *v == Verdict::Fails),
            counted(|v| matches!(v, Verdict::Open { .. })),
            counted(|v| *v == Verdict::Missing),
        ]
    });
    Block::Table(head.map(String::from).to_vec(), rows.collect())
}

fn introduction(f: &Findings) -> String {
    let count = |v: fn(&Verdict) -> bool| f.found.iter().filter(|c| v(&c.judged.verdict)).count();
    let list = |set: &std::collections::BTreeSet<String>| {
        set.iter().cloned().collect::<Vec<_>>().join("; ")
    };
    let mut text = format!(
        "Made by `cld reproduce`. Of {} claim(s) {} hold, {} do not, {} cannot be told, {} are not measured. {} of {} jobs are done: {} of training, {} of measuring on {} (cld {}).",
        f.found.len(),
        count(|v| *v == Verdict::Holds),
        count(|v| *v == Verdict::Fails),
        count(|v| matches!(v, Verdict::Open { .. })),
        count(|v| *v == Verdict::Missing),
        f.done,
        f.plan.jobs.len(),
        duration(f.seconds.0),
        duration(f.seconds.1),
        list(&f.cpus),
        list(&f.versions),
    );
    if f.plan.scale < 1.0 {
        text += &format!(
            " **Training and samples have {} % of their full size: these are other networks than the claims are about, so nothing is told.**",
            short(100.0 * f.plan.scale)
        );
    }
    let missing: Vec<String> = Experiment::all()
        .unwrap_or_default()
        .into_iter()
        .filter(|e| f.plan.experiments.iter().all(|p| p.id != e.id))
        .map(|e| e.id)
        .collect();
    if !missing.is_empty() {
        text += &format!(" Not in this run: {}.", missing.join(", "));
    }
    text += &format!(
        "\n\nFor each seed the two sides of a claim have the same data in the same order with the same noise. The difference is the mean over seeds ± its standard error; by Student's t and Bonferroni all verdicts together are right with probability {} %. ± in the tables is the standard error over seeds.",
        100.0 * (1.0 - ERROR_RATE)
    );
    text
}

fn experiment(f: &Findings, e: &Experiment, out: &mut Vec<Block>) -> Result<()> {
    out.push(Block::Heading(2, format!("{}. {}", e.number, e.title)));
    out.push(Block::Text(e.question.trim().replace('\n', " ")));
    let claims: Vec<&Found> = f
        .found
        .iter()
        .filter(|c| e.claims.iter().any(|k| k.id == c.claim.id))
        .collect();
    if !claims.is_empty() {
        let head = ["claim", "source", "a", "b", "verdict"].map(String::from);
        let rows = claims.iter().map(|c| {
            vec![
                format!("{}: {}", c.claim.text, statement(&c.claim)),
                c.claim.source.clone(),
                mean(c.sides[0]),
                mean(c.sides[1]),
                word(c, f.plan.scale),
            ]
        });
        out.push(Block::Table(head.to_vec(), rows.collect()));
    }
    for on in &e.on {
        let missing = f
            .plan
            .jobs
            .iter()
            .find(|j| j.experiment == e.id && j.on == on.name)
            .and_then(|j| j.needs.as_ref());
        if e.on.len() > 1 {
            out.push(Block::Heading(3, on.name.clone()));
        }
        if let Some(needs) = missing {
            out.push(Block::Text(format!("Not run: {needs}")));
        }
        for m in &e.measures {
            measure(f, e, &on.name, m, out)?;
        }
    }
    Ok(())
}

fn title(m: &Measure) -> &'static str {
    match m.kind {
        Kind::Bits(_) => {
            "Held-out bits per dimension of images, nats per point of toys: the flow's, with a velocity Jensen's bound and the importance-weighted figure"
        }
        Kind::Distance(_) => {
            "Distance of samples to the data (Frechet of images, sliced W2 of toys), by evaluations of the score"
        }
        Kind::Gradient(_) => {
            "Variance of a batch's gradient (trace of its covariance), and over the squared norm of its mean (noise), by the share of the training that is done"
        }
        Kind::Hardness(_) => {
            "How hard the score is, by t: mean norm of the Jacobian of the network's output (output) and of the whole score as noise (noise), mean squared distance to the prior's score (difference)"
        }
    }
}

/// Table and plot of a measure on one set of data.
fn measure(
    f: &Findings,
    e: &Experiment,
    on: &str,
    m: &Measure,
    out: &mut Vec<Block>,
) -> Result<()> {
    let mut rows: Vec<Row> = vec![];
    let mut columns: Vec<String> = vec![];
    for arm in &e.arms {
        let place = [e.id.clone(), on.to_string(), arm.name.clone()];
        let Some((r, c)) = f.layout.get(&(place, m.name.clone())) else {
            continue;
        };
        for row in r {
            rows.push(Row {
                arm: arm.name.clone(),
                row: row.clone(),
            });
        }
        c.iter().for_each(|column| push_new(&mut columns, column));
    }
    if rows.is_empty() {
        return Ok(());
    }
    out.push(Block::Text(format!("{} (`{}`).", title(m), m.name)));
    let get = |r: &Row, column: &str| f.get(&e.id, on, &r.arm, &figure(&m.name, &r.row, column));
    if columns.iter().all(String::is_empty) {
        // one column: rows of an arm become columns
        let mut kinds: Vec<String> = vec![];
        rows.iter().for_each(|r| push_new(&mut kinds, &r.row));
        let head = std::iter::once("arm".to_string())
            .chain(kinds.iter().map(|k| figure(&m.name, k, "")))
            .collect();
        let body = e
            .arms
            .iter()
            .filter(|a| rows.iter().any(|r| r.arm == a.name))
            .map(|a| {
                let cells = kinds
                    .iter()
                    .map(|k| cell(f.get(&e.id, on, &a.name, &figure(&m.name, k, ""))));
                std::iter::once(a.name.clone()).chain(cells).collect()
            })
            .collect();
        out.push(Block::Table(head, body));
        return Ok(());
    }
    // figures without a column (a floor) have one of their own, at the end
    columns.retain(|c| !c.is_empty());
    let (across, flat): (Vec<_>, Vec<_>) = rows
        .iter()
        .partition(|r| columns.iter().any(|c| get(r, c).is_some()));
    let head = std::iter::once(String::new())
        .chain(columns.iter().cloned())
        .collect();
    let body = across
        .iter()
        .map(|r| {
            std::iter::once(r.label())
                .chain(columns.iter().map(|c| cell(get(r, c))))
                .collect()
        })
        .collect();
    out.push(Block::Table(head, body));
    for r in &flat {
        out.push(Block::Text(format!("{}: {}.", r.label(), cell(get(r, "")))));
    }
    if let Some(svg) = plot(on, m, &across, &columns, &get)? {
        let name = format!("{}-{on}-{}.svg", e.id, m.name);
        out.push(Block::Plot(name, format!("{} on {on}", m.name), svg));
    }
    Ok(())
}

/// Most curves that can be told apart.
const CURVES: usize = 12;

/// A row of a measure's table.
struct Row {
    arm: String,
    row: String,
}

impl Row {
    fn label(&self) -> String {
        format!("{} {}", self.arm, self.row).trim_end().into()
    }
}

/// A panel for each of the words that `split` gives rows, and a curve for each row of it.
fn panels<'a>(
    rows: &[&Row],
    columns: &[String],
    get: &dyn Fn(&Row, &str) -> Option<&'a Values>,
    split: &dyn Fn(&Row) -> Option<(String, String)>,
) -> Vec<(String, Vec<Curve>)> {
    let mut panels: Vec<(String, Vec<Curve>)> = vec![];
    for row in rows {
        let Some((panel, name)) = split(row) else {
            continue;
        };
        let points: Vec<(f64, f64)> = columns
            .iter()
            .filter_map(|c| Some((c.parse().ok()?, get(row, c)?.mean()?.value)))
            .filter(|p: &(f64, f64)| p.0 > 0.0 && p.1 > 0.0)
            .collect();
        if points.len() < 2 {
            continue;
        }
        let curve = Curve {
            name,
            points,
            ..Curve::default()
        };
        match panels.iter_mut().find(|p| p.0 == panel) {
            Some((_, curves)) if curves.len() < CURVES => curves.push(curve),
            Some(_) => (),
            None => panels.push((panel, vec![curve])),
        }
    }
    panels
}

/// Of distances, one panel compares the arms by their best samplers, or, of few arms, one for each
/// arm and spacing compares samplers; of other measures, one for each row compares arms.
fn plot<'a>(
    on: &str,
    m: &Measure,
    rows: &[&Row],
    columns: &[String],
    get: &dyn Fn(&Row, &str) -> Option<&'a Values>,
) -> Result<Option<String>> {
    let (x, y) = match m.kind {
        Kind::Distance(_) => ("evaluations of the score", "distance to the data"),
        Kind::Gradient(_) => ("share of the training", "variance, noise"),
        Kind::Hardness(_) => ("t", "mean norm, distance"),
        Kind::Bits(_) => return Ok(None),
    };
    let best = |r: &Row| r.row == "best";
    let arms = rows.iter().filter(|r| best(r)).count();
    let split = |r: &Row| match (&m.kind, r.row.rsplit_once('.')) {
        (Kind::Distance(_), _) if best(r) && arms > 2 => {
            Some(("best sampler of each".into(), r.arm.clone()))
        }
        (Kind::Distance(_), Some((sampler, spacing))) if arms <= 2 => {
            Some((format!("{}, {spacing} times", r.arm), sampler.to_string()))
        }
        (Kind::Distance(_), _) => None,
        _ => Some((r.row.clone(), r.arm.clone())),
    };
    let panels: Vec<Panel> = panels(rows, columns, get, &split)
        .into_iter()
        .map(|(title, curves)| Panel {
            title: format!("{on}: {title}"),
            x: x.into(),
            y: y.into(),
            curves,
            floor: None,
        })
        .collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let svg = curves(Format::Svg, &panels)?;
    Ok(Some(String::from_utf8_lossy(&svg).into_owned()))
}

/// A page of Markdown and its plots, by file name; `folder` is where the plots are, as the page
/// says it.
///
/// # Errors
/// A plot that cannot be drawn.
pub fn markdown(f: &Findings, folder: &str) -> Result<(String, Vec<(String, String)>)> {
    let mut text = String::new();
    let mut plots = vec![];
    let bar = |s: &String| s.replace('|', "\\|");
    for block in blocks(f)? {
        match block {
            Block::Heading(level, t) => text += &format!("{} {t}\n\n", "#".repeat(level)),
            Block::Text(t) => text += &format!("{t}\n\n"),
            Block::Table(head, rows) => {
                let line =
                    |cells: Vec<String>| format!("| {} |\n", cells.join(" | ")).replace("  ", " ");
                text += &line(head.iter().map(bar).collect());
                text += &format!("|{}\n", "---|".repeat(head.len()));
                for row in rows {
                    text += &line(row.iter().map(bar).collect());
                }
                text.push('\n');
            }
            Block::Plot(name, about, svg) => {
                text += &format!("![{about}]({folder}/{name})\n\n");
                plots.push((name, svg));
            }
        }
    }
    Ok((text.trim_end().to_string() + "\n", plots))
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}table{border-collapse:collapse;display:block;overflow-x:auto;margin:1rem 0}th,td{border-bottom:1px solid #ccc;padding:.25rem .6rem;text-align:left;vertical-align:top}.n{white-space:nowrap}svg{max-width:100%;height:auto;background:#fff}@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}}";

/// The same as one file of HTML.
///
/// # Errors
/// As [`markdown`].
pub fn html(f: &Findings) -> Result<String> {
    let words = |t: &str| {
        // the little Markdown that our own texts have
        let mut out = escape(t);
        for (mark, tag) in [("**", "b"), ("`", "code")] {
            let mut open = false;
            while let Some(at) = out.find(mark) {
                let new = format!("<{}{tag}>", if open { "/" } else { "" });
                out.replace_range(at..at + mark.len(), &new);
                open = !open;
            }
        }
        out.replace("\n\n", "</p><p>")
    };
    let mut text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>cld reproduce</title><style>{STYLE}</style>\n"
    );
    for block in blocks(f)? {
        match block {
            Block::Heading(level, t) => text += &format!("<h{level}>{}</h{level}>\n", words(&t)),
            Block::Text(t) => text += &format!("<p>{}</p>\n", words(&t)),
            Block::Table(head, rows) => {
                let line = |cells: &[String], tag: &str| {
                    let cells: String = cells
                        .iter()
                        .map(|c| {
                            // a number and its error stay together
                            let number = if c.contains('±') { " class=\"n\"" } else { "" };
                            format!("<{tag}{number}>{}</{tag}>", words(c))
                        })
                        .collect();
                    format!("<tr>{cells}</tr>\n")
                };
                text += "<table>\n";
                text += &line(&head, "th");
                rows.iter().for_each(|r| text += &line(r, "td"));
                text += "</table>\n";
            }
            Block::Plot(_, about, svg) => {
                let svg = svg.trim_start_matches(|c| c != '<');
                text += &format!(
                    "<figure>{svg}<figcaption>{}</figcaption></figure>\n",
                    words(&about)
                );
            }
        }
    }
    Ok(text + "</html>\n")
}
