//! The audit for people: one line per family, and a page of HTML that needs nothing but a browser.

use super::cards;
use super::claim::{Evidence, Method, process};
use super::plants::Plants;
use super::run::Audit;
use crate::plot::page::{Plot, Points, STYLE, Series, draw, escape, short};
use crate::process::{REGISTRY, default_entry};
use crate::worst::worse;
use plotters::prelude::SeriesLabelPosition;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Claims of one process by one method.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Process, by the name that its claims' ids begin with.
    pub process: String,
    /// Method, with the scheme for simulations.
    pub method: String,
    /// Number of claims.
    pub claims: usize,
    /// Claims that do not hold.
    pub off: Vec<String>,
    /// The largest deviation, in units of the tolerance.
    pub worst: f64,
    /// The largest power limit among variances, covariances and what follows from them (not means):
    /// a relative error of this size in any of them is caught at any audited time.
    pub power: f64,
}

/// Families: those that are off first, then the paper's process, then the others in the order of
/// their claims.
pub fn families(a: &Audit) -> Vec<Family> {
    let mut all = grouped(a, |process| process.to_string());
    all.sort_by_key(|f| (f.off.is_empty(), f.process != default_entry().name));
    all
}

/// The same of all processes together: one for every method.
pub fn methods(a: &Audit) -> Vec<Family> {
    let mut all = grouped(a, |_| String::new());
    all.sort_by(|a, b| (a.off.is_empty(), &a.method).cmp(&(b.off.is_empty(), &b.method)));
    all
}

fn grouped(a: &Audit, name: impl Fn(&str) -> String) -> Vec<Family> {
    let mut all: Vec<Family> = vec![];
    for e in &a.evidence {
        let process = name(process(&e.claim.id));
        let method = e.claim.id.rsplit('/').next().unwrap_or("").to_string();
        let i = all
            .iter()
            .position(|f| f.process == process && f.method == method)
            .unwrap_or_else(|| {
                all.push(Family {
                    process,
                    method,
                    claims: 0,
                    off: vec![],
                    worst: 0.0,
                    power: 0.0,
                });
                all.len() - 1
            });
        let f = &mut all[i];
        f.claims += 1;
        f.worst = worse(f.worst, e.worst());
        if !e.claim.id.contains("/mean.") {
            f.power = worse(f.power, e.power());
        }
        if !e.holds() {
            f.off.push(e.claim.id.clone());
        }
    }
    all
}

/// Error of the closed forms against doubling over time, the worst of each process.
fn errors_over_time(a: &Audit) -> Option<String> {
    let mut by: BTreeMap<&str, BTreeMap<u64, f64>> = BTreeMap::new();
    for e in a
        .evidence
        .iter()
        .filter(|e| e.claim.method == Method::Doubling)
    {
        let process = e.claim.id.split(['.', '/']).next().unwrap_or("");
        for f in e.figures() {
            let worst = by
                .entry(process)
                .or_default()
                .entry(f.at.to_bits())
                .or_insert(0.0);
            *worst = worse(*worst, f.deviation * 1e-13);
        }
    }
    let chosen = REGISTRY
        .iter()
        .flat_map(|e| e.audit)
        .filter(|a| a.drawn)
        .map(|a| a.name);
    let series: Vec<Series> = chosen
        .enumerate()
        .filter_map(|(i, p)| by.get(p).map(|v| (i, p, v)))
        .map(|(i, p, v)| Series {
            colour: i,
            name: p.to_string(),
            points: v
                .iter()
                .map(|(t, e)| (f64::from_bits(*t), e.max(1e-18)))
                .collect(),
            line: true,
        })
        .collect();
    let plot = Plot {
        x: ("time t", 1e-12, 1.0),
        y: ("relative error", 1e-18, 1e-11),
        log: (true, true),
        legend: SeriesLabelPosition::UpperRight,
    };
    if series.is_empty() {
        None
    } else {
        draw(&plot, &series, Some((1e-18, 1e-13)))
    }
}

/// Errors of the schemes' laws against the number of steps.
fn convergence(a: &Audit) -> Option<String> {
    let mut series = vec![];
    for e in a
        .evidence
        .iter()
        .filter(|e| e.claim.method == Method::Order && e.claim.id.starts_with("cld.dsm.linear/"))
    {
        let name = e.claim.id.split('/').nth(1).unwrap_or("");
        if name.starts_with("mean") {
            continue;
        }
        let order = e
            .claim
            .statement
            .split("order ")
            .last()
            .unwrap_or("")
            .to_string();
        let colour = series.len();
        series.push(Series {
            colour,
            name: format!("{name}: {order}"),
            points: e.figures().iter().map(|f| (f.at, f.found)).collect(),
            line: true,
        });
    }
    let all: Vec<f64> = series
        .iter()
        .flat_map(|s| s.points.iter().map(|p| p.1))
        .collect();
    let low = all
        .iter()
        .copied()
        .fold(f64::INFINITY, f64::min)
        .log10()
        .floor();
    let high = all.iter().copied().fold(0.0, f64::max).log10().ceil() + 3.0;
    let plot = Plot {
        x: ("steps n", 200.0, 1200.0),
        y: ("error", 10f64.powf(low), 10f64.powf(high)),
        log: (false, true),
        legend: SeriesLabelPosition::UpperRight,
    };
    if series.is_empty() {
        None
    } else {
        draw(&plot, &series, None)
    }
}

/// Simulated moments over exact ones, in standard errors, with the band of the tests.
fn simulated(a: &Audit) -> Option<String> {
    let mut series: Vec<Series> = vec![];
    let mut band: f64 = 0.0;
    for scheme in ["exact", "em", "splitting", "sra1"] {
        let mut points = vec![];
        for e in a
            .evidence
            .iter()
            .filter(|e| e.claim.id.ends_with(&format!("/simulation.{scheme}")))
        {
            points.extend(
                e.figures()
                    .iter()
                    .map(|f| (f.at.max(1e-8), f.deviation.clamp(-9.0, 9.0))),
            );
            band = e
                .claim
                .tolerance
                .split(' ')
                .next()
                .and_then(|z| z.parse().ok())
                .unwrap_or(band);
        }
        if !points.is_empty() {
            series.push(Series {
                colour: series.len(),
                name: scheme.into(),
                points,
                line: false,
            });
        }
    }
    let plot = Plot {
        x: ("time t", 1e-8, 1.0),
        y: ("deviation in standard errors", -9.0, 9.0),
        log: (true, false),
        legend: SeriesLabelPosition::UpperLeft,
    };
    if series.is_empty() {
        None
    } else {
        draw(&plot, &series, Some((-band, band)))
    }
}

/// Simulated against exact covariance of the paper's process, with confidence bars.
fn moments(a: &Audit) -> Option<String> {
    let mut series = vec![];
    for (colour, entry) in ["cov.xx", "cov.vv", "cov.xv"].into_iter().enumerate() {
        let id = format!("cld.hsm.linear/{entry}/simulation.exact");
        let Some(e) = a.evidence.iter().find(|e| e.claim.id == id) else {
            continue;
        };
        series.push(Series {
            colour,
            name: entry.into(),
            points: e.figures().iter().map(|f| (f.at, f.expected)).collect(),
            line: true,
        });
        series.push(Series {
            colour,
            name: String::new(),
            points: e.figures().iter().map(|f| (f.at, f.found)).collect(),
            line: false,
        });
    }
    let values: Vec<f64> = series
        .iter()
        .flat_map(|s| s.points.iter().map(|p| p.1))
        .filter(|v| *v > 0.0)
        .collect();
    let low = values.iter().copied().fold(1.0, f64::min).log10().floor();
    let plot = Plot {
        x: ("time t", 1e-4, 1.0),
        y: ("covariance", 10f64.powf(low), 10.0),
        log: (true, true),
        legend: SeriesLabelPosition::LowerRight,
    };
    series
        .iter_mut()
        .for_each(|s| s.points.retain(|p| p.1 > 0.0 && p.0 >= 1e-4));
    if series.is_empty() {
        None
    } else {
        draw(&plot, &series, None)
    }
}

/// All p-values in order against the uniform law.
fn quantiles(a: &Audit) -> Option<String> {
    let mut p: Vec<f64> = a
        .evidence
        .iter()
        .flat_map(|e| e.p().iter().copied())
        .collect();
    if p.is_empty() {
        return None;
    }
    p.sort_by(f64::total_cmp);
    let n = p.len() as f64;
    let points: Points = p
        .iter()
        .enumerate()
        .map(|(i, x)| ((i as f64 + 0.5) / n, x.max(1e-12)))
        .collect();
    let low = 0.5 / n;
    let series = [
        Series {
            colour: 0,
            name: "uniform law".into(),
            points: vec![(low, low), (1.0, 1.0)],
            line: true,
        },
        Series {
            colour: 1,
            name: format!("{} p-values", p.len()),
            points,
            line: false,
        },
    ];
    let floor = 10f64.powf((p[0].max(1e-12).min(low)).log10().floor());
    let plot = Plot {
        x: ("expected", 10f64.powf(low.log10().floor()), 1.0),
        y: ("found", floor, 10.0),
        log: (true, true),
        legend: SeriesLabelPosition::UpperLeft,
    };
    draw(&plot, &series, None)
}

/// The search box and the filters, hidden until the script is there to serve them.
fn filters(a: &Audit) -> String {
    let choice = |name: &str, all: &str, values: &BTreeSet<&str>| {
        let options: String = values
            .iter()
            .map(|v| format!("<option>{}", escape(v)))
            .collect();
        format!("<select id={name} aria-label={name}><option value=\"\">{all}{options}</select> ")
    };
    let processes = a.evidence.iter().map(|e| process(&e.claim.id)).collect();
    let methods = a.evidence.iter().map(|e| e.claim.method.name()).collect();
    format!(
        "<p id=filters hidden><input id=search type=search placeholder=\"search: variance of the velocity, kernel.ell, SSCS\" aria-label=search> {}{}{}<span id=found></span></p>",
        choice("process", "every process", &processes),
        choice("method", "every method", &methods),
        choice(
            "verdict",
            "every verdict",
            &BTreeSet::from(["holds", "off"])
        )
    )
}

/// Filters cards, claims and families by what is asked for, words in any order; a card whose own
/// words are found keeps all its claims. `#q=words` in the address is a search. Copies commands.
const SCRIPT: &str = "
(()=>{const g=i=>document.getElementById(i),all=(s,e=document)=>[...e.querySelectorAll(s)],q=['search','process','method','verdict'].map(g);g('filters').hidden=false;
const run=()=>{const w=q[0].value.toLowerCase().split(/\\s+/).filter(x=>x),[p,m,v]=q.slice(1).map(e=>e.value),any=w.length||p||m||v;let cards=0,n=0;
all('tr.family').forEach(r=>{const c=[...r.cells].map(x=>x.textContent);
r.hidden=!!((p&&c[0]!=p)||(m&&c[1].split('.')[0]!=m)||(v&&(v=='holds')!=(c[5]=='holds')))});
all('article').forEach(a=>{const t=a.dataset.q,d=a.querySelector('details.claims');let k=0;
if(d)all('tr',d).forEach((r,i)=>{if(!i)return;const id=r.cells[0].textContent.toLowerCase();
const y=(!p||id.split(/[./]/)[0]==p)&&(!m||id.split('/').pop().split('.')[0]==m)&&(!v||r.cells[4].textContent==v)&&w.every(x=>t.includes(x)||id.includes(x));r.hidden=!y;k+=y});
const y=d?k>0:!(m||v||p&&p!=a.dataset.p)&&w.every(x=>t.includes(x));a.hidden=!y;cards+=y;n+=k});
all('section').forEach(s=>s.hidden=s.id.startsWith('part')&&!all('article',s).some(a=>!a.hidden));
all('.rest').forEach(e=>e.hidden=!!any);g('found').textContent=any?cards+' formulas, '+n+' claims':''};
if(location.hash.startsWith('#q='))q[0].value=decodeURIComponent(location.hash.slice(3));
q.forEach(e=>e.addEventListener('input',run));run();
all('button.copy').forEach(b=>{b.hidden=false;b.onclick=()=>{const c=b.previousSibling,done=()=>{b.textContent='copied';setTimeout(()=>b.textContent='copy',1500)};
const hand=()=>{const r=document.createRange(),s=getSelection();r.selectNodeContents(c);s.removeAllRanges();s.addRange(r);document.execCommand('copy');done()};
navigator.clipboard?navigator.clipboard.writeText(c.textContent).then(done,hand):hand()}})})()";

/// The matrix of formula against method, and every miss by name.
fn planted(p: &Plants) -> String {
    let (columns, all) = p.by_method();
    let mut h = String::from("<h2 id=planted>An error planted in every claim</h2>");
    let size = p.size.map_or(
        "as large as the claim says it catches, with a margin".into(),
        |s| format!("of relative size {}", short(s)),
    );
    let _ = write!(
        h,
        "<p class={}>{} of {} caught; {} claims that cannot fail.{}</p><p>Each error is {size}, and is one of the claim's own quantity. \
         By sampling an error is caught with probability 0.999: {} missed by chance, at most {:.1} are expected to.</p>\
         <div class=scroll><table><tr><th>formula",
        if p.sound { "good" } else { "bad" },
        all.caught,
        all.planted,
        p.cannot_fail.len(),
        match p.off.len() {
            0 => String::new(),
            n => format!(" Nothing was planted in {n} claims that are off with nothing planted."),
        },
        p.by_chance,
        p.by_chance_expected
    );
    for c in columns.keys() {
        let _ = write!(h, "<th class=n>{}", escape(c));
    }
    for (formula, cells) in &p.matrix {
        let _ = write!(
            h,
            "<tr><td><a href=\"#{0}\"><code>{0}</code></a>",
            escape(formula)
        );
        for c in columns.keys() {
            let _ = match cells.get(*c) {
                Some(c) => write!(
                    h,
                    "<td class=\"n {}\">{}/{}",
                    if c.caught == c.planted { "good" } else { "bad" },
                    c.caught,
                    c.planted
                ),
                None => write!(h, "<td>"),
            };
        }
    }
    h + "</table></div>" + &missed(p)
}

/// Planted errors that no one saw, folded away; nothing where all were seen.
fn missed(p: &Plants) -> String {
    if p.missed().next().is_none() {
        return String::new();
    }
    let mut h = String::from(
        "<details><summary>What was missed</summary><div class=scroll><table><tr><th>claim<th class=n>planted<th class=n>power<th class=n>caught at<th>why",
    );
    for m in p.missed() {
        let figure = |x: Option<f64>| x.map_or("none".into(), short);
        let (planted, power, at) = (figure(m.size), figure(m.power), figure(m.caught_at));
        let _ = write!(
            h,
            "<tr><td><code>{}</code><td class=n>{planted}<td class=n>{power}<td class=n>{at}<td>{}",
            escape(&m.id),
            m.reason()
        );
    }
    h + "</table></div></details>"
}

/// A plot of thousands of points in half the bytes: without attributes that say what is so anyway,
/// and without a point on another of its kind.
fn light(svg: &str) -> String {
    let mut seen = BTreeSet::new();
    let mut out = String::new();
    for line in svg
        .lines()
        .filter(|l| !l.starts_with("<circle") || seen.insert(*l))
    {
        let line = line.replace(" stroke=\"none\" stroke-width=\"1\"", "");
        out += &line.replace(" opacity=\"1\"", "");
        out.push('\n');
    }
    out
}

/// Title, verdict, and the error that was planted, if one was.
fn head(a: &Audit) -> String {
    let off = a.evidence.iter().filter(|e| !e.holds()).count();
    let (class, verdict) = if a.holds {
        ("good", "All claims hold.".to_string())
    } else {
        (
            "bad",
            format!("{off} of {} claims do not hold.", a.evidence.len()),
        )
    };
    let mut h = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <title>cld audit: {}</title><style>{STYLE}{}</style><main><h1>Audit of cld-sgm {}</h1><p class=\"verdict {class}\">{verdict}</p>",
        if a.holds { "holds" } else { "off" },
        cards::STYLE,
        escape(&a.version)
    );
    if let Some(p) = &a.options.plant {
        let _ = write!(
            h,
            "<p class=bad>An error was planted on purpose: {} in <code>{}</code>.</p>",
            short(p.size),
            escape(&p.id)
        );
    }
    h
}

/// The command that made the page.
fn made(a: &Audit) -> String {
    a.made.as_ref().map_or(String::new(), |made| {
        format!(
            "<p>Made by <code>{}</code>. Evidence is the same, bit for bit, for the same seed; date and duration are not.</p>",
            escape(&made.to_string())
        )
    })
}

/// The audit in eight numbers.
fn numbers(a: &Audit) -> String {
    let sampled = a.evidence.iter().filter(|e| e.claim.method.is_sampled());
    let still = a.evidence.len() - sampled.count();
    let power = |m: Method| {
        a.evidence
            .iter()
            .filter(|e| e.claim.method == m && e.claim.id.contains("/cov."))
            .map(Evidence::power)
            .fold(0.0, worse)
    };
    let mut h = String::from("<div class=\"cards rest\">");
    for (value, what) in [
        (a.evidence.len().to_string(), "claims"),
        (still.to_string(), "of them without noise"),
        (
            format!("{:.2} million", a.options.paths as f64 / 1e6),
            "paths per simulation",
        ),
        (
            format!("{:.1e}", power(Method::Doubling)),
            "caught in any covariance entry, without noise",
        ),
        (
            format!("{:.2}%", 100.0 * power(Method::Simulation)),
            "caught in any covariance entry by simulation alone",
        ),
        (
            "1e-6".to_string(),
            "chance of a false alarm in the whole run",
        ),
        (
            a.uniform.map_or("-".into(), |p| format!("{p:.2}")),
            "p-value: are all p-values uniform?",
        ),
        (a.options.seed.to_string(), "seed"),
    ] {
        let _ = write!(
            h,
            "<div class=card><b>{}</b><span>{what}</span></div>",
            escape(&value)
        );
    }
    h + "</div>"
}

/// What a claim is, the methods that are in use, and what the figures mean.
fn how_to_read(a: &Audit) -> String {
    let mut h = String::from(
        "<details class=rest><summary>How to read this</summary><p>A formula is believed when independent evidence supports it. Each claim below compares one number of the crate with one that was found another way:</p><ul>",
    );
    for m in Method::ALL {
        if a.evidence.iter().any(|e| e.claim.method == m) {
            let _ = write!(h, "<li><b>{}</b>: {}.", m.name(), escape(m.about()));
        }
    }
    let _ = write!(
        h,
        "</ul><p>The deviation is in units of the tolerance: a claim holds if it is at most 1. The power is the smallest relative error that \
         would be caught (by simulation: with probability 0.999; off-diagonal entries relative to the root of the product of the variances). \
         {} tests of simulated paths share a false-alarm probability of 1e-6 by Bonferroni's bound, whatever the seed.</p>\
         <p>A card is a formula: as printed, as computed, the function, and what each method found: its worst case with all digits, the tolerance with its reason, \
         the error that it would see. Formulas without a claim are held by tests, which are named. Ids are those of <code>docs/reference/formulas.md</code>.</p></details>",
        a.tests
    );
    h
}

/// The plots over all claims.
fn plots(a: &Audit) -> String {
    let mut h = String::from("<div class=plots>");
    for (svg, caption) in [
        (
            errors_over_time(a),
            "Error of the closed forms against 106-bit doubling, the worst entry of mean, covariance, factors, inverse, determinant and ell at each time. The band is the tolerance, 1e-13.",
        ),
        (
            convergence(a),
            "The schemes' exact laws against the closed form (cld, linear rate): measured orders and theory. No noise is in these lines.",
        ),
        (
            moments(a),
            "Covariance of the paper's process (HSM, linear rate): simulated points, exact lines. At this number of paths the error bars are thinner than the dots; the next plot shows them magnified.",
        ),
        (
            simulated(a),
            "Every simulated moment, as its deviation from the exact law in standard errors. The band is the tests' tolerance.",
        ),
        (
            quantiles(a),
            "All p-values in order: if nothing is wrong they follow the uniform law.",
        ),
    ] {
        if let Some(svg) = svg.map(|s| light(&s)) {
            let _ = write!(
                h,
                "<figure>{svg}<figcaption>{caption}</figcaption></figure>"
            );
        }
    }
    h + "</div>"
}

/// A line for every process and method.
fn table_of_families(a: &Audit) -> String {
    let mut h = String::from(
        "<h2 id=families>Families</h2><div class=scroll><table><tr><th>process<th>method<th class=n>claims<th class=n>worst deviation<th class=n>power<th>verdict",
    );
    for f in families(a) {
        let (class, verdict) = if f.off.is_empty() {
            ("good", "holds".to_string())
        } else {
            ("bad", format!("{} off", f.off.len()))
        };
        let _ = write!(
            h,
            "<tr class=family><td>{}<td>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class={class}>{verdict}",
            escape(&f.process),
            f.method,
            f.claims,
            short(f.worst),
            short(f.power)
        );
    }
    h + "</table></div>"
}

/// The page.
pub fn html(a: &Audit) -> String {
    [
        head(a),
        filters(a),
        made(a),
        numbers(a),
        how_to_read(a),
        cards::cards(a),
        "<section id=over><h2>Over everything</h2>".into(),
        plots(a),
        a.planted.as_ref().map_or(String::new(), planted),
        table_of_families(a),
        "</section><p class=soft>The same seed gives the same page, whatever the number of threads, but for the line that says how it was made.</p></main>".into(),
        format!("<script>{SCRIPT}</script></html>\n"),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::super::run::Simulated;
    use super::*;

    /// Catches a plot that loses a point by being made light, or keeps one twice.
    #[test]
    fn light_plots_have_every_point() {
        let point = |x: u32, colour: &str| {
            format!(
                "<circle cx=\"{x}\" cy=\"2\" r=\"3\" opacity=\"1\" fill=\"{colour}\" stroke=\"none\" stroke-width=\"1\"/>\n"
            )
        };
        let all = [
            point(1, "#000"),
            point(2, "#000"),
            point(1, "#000"),
            point(1, "#111"),
        ];
        let made = light(&format!("<svg>\n{}</svg>\n", all.concat()));
        let bare =
            |x: u32, c: &str| format!("<circle cx=\"{x}\" cy=\"2\" r=\"3\" fill=\"{c}\"/>\n");
        let points = [bare(1, "#000"), bare(2, "#000"), bare(1, "#111")].concat();
        assert_eq!(made, format!("<svg>\n{points}</svg>\n"));
    }

    /// Catches a page that is silent about planted errors which nobody saw, names another claim or
    /// reason, or counts other p-values than the claims': one group, the fewest paths.
    #[test]
    fn what_was_missed_is_on_the_page() {
        let o = Options {
            paths: 16_000,
            only: Some("cld-heavy.dsm.constant/cov.vv/simulation.exact".into()),
            ..Options::quick()
        };
        let simulated = Simulated::new(&o, &|_, _| ()).unwrap();
        let mut a = simulated.judge(&o).unwrap();
        let id = a.evidence[0].claim.id.clone();
        let p = a.evidence[0].p().len();
        assert!(p > 4 && html(&a).contains(&format!("{p} p-values")));
        assert!(quantiles(&a).unwrap().contains("<svg"));
        assert!(!html(&a).contains("What was missed"));
        // far below its power; then as large as it says, which is caught
        for (size, seen) in [(Some(1e-9), false), (None, true)] {
            let plants = simulated.plant_all(&o, size, &|_, _| ()).unwrap();
            let rows = missed(&plants);
            assert_eq!(rows.is_empty(), seen, "{rows}");
            let (by, all) = plants.by_method();
            assert_eq!((all.planted, all.caught), (1, usize::from(seen)));
            assert_eq!(
                by.into_iter().collect::<Vec<_>>(),
                [("simulation.exact", all)]
            );
            a.planted = Some(plants);
            let page = html(&a);
            assert_eq!(page.contains("What was missed"), !seen);
            assert!(page.contains(&format!(
                "{} of 1 caught; 0 claims that cannot fail.",
                all.caught
            )));
            if !seen {
                let row = format!("<tr><td><code>{id}</code><td class=n>1.0e-9<td");
                assert!(
                    rows.contains(&row) && rows.contains("smaller than its power"),
                    "{rows}"
                );
            }
        }
        a.evidence.retain(|e| !e.claim.method.is_sampled());
        assert_eq!(quantiles(&a), None);
    }
}
