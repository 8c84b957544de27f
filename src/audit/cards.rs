//! The audit's page, formula by formula: a card for each, in the order of the paper.

use super::claim::{Evidence, Figure, Method, process};
use super::formulas::{self, Formula, PARTS};
use super::made;
use super::options::Options;
use super::run::Audit;
use crate::plot::page::{escape, short};
use crate::process::default_entry;
use crate::worst::{Worst, is_worse, worse};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Style of the cards, beside that of every page.
pub(super) const STYLE: &str = "
article{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.7rem .9rem;margin:.8rem 0;scroll-margin-top:1rem;content-visibility:auto;contain-intrinsic-size:auto 26rem}
article.bare{contain-intrinsic-size:auto 9rem}
article h3{margin:0 0 .3rem;font-size:1.05rem}article h3 code{font-weight:400;color:var(--soft);margin-left:.4rem}article h3 .good,article h3 .bad{float:right;font-size:.9rem}
article p{margin:.3rem 0}.soft{color:var(--soft);font-size:.88rem}
.eq{display:grid;grid-template-columns:6.5rem minmax(0,1fr);align-items:center;gap:.1rem .6rem;margin:.4rem 0}.eq>span{color:var(--soft);font-size:.85rem}
.eq>div{overflow-x:auto;overflow-y:hidden;padding:.15rem 0}math{font-size:1.08em}math[display=block]{width:max-content;margin:0}
.methods{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr));gap:.2rem 1.6rem;align-items:start;margin-top:.5rem}
.plot{margin:.2rem 0;max-width:30rem}.plot svg{width:100%;height:auto;display:block}.plot text{fill:var(--soft);font-size:10px}
.plot .axis{stroke:var(--line);fill:none}.plot .limit{stroke:var(--bad);stroke-dasharray:5 3}.key{font-size:.8rem;color:var(--soft)}.key b{font-weight:400;white-space:nowrap;margin-right:.7rem}
.m{border-top:1px solid var(--line);padding:.35rem 0}.m>b{margin-right:.5rem}
dl{display:grid;grid-template-columns:5.2rem minmax(0,1fr);gap:.05rem .6rem;margin:.2rem 0;font-size:.88rem}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.run{display:flex;gap:.5rem;align-items:center;flex-wrap:wrap;margin:.4rem 0}.run code{background:var(--page);border:1px solid var(--line);border-radius:.3rem;padding:.15rem .4rem}
button,input,select{font:inherit;font-size:.88rem;color:var(--ink);background:var(--page);border:1px solid var(--line);border-radius:.3rem;padding:.2rem .5rem;max-width:100%}
button{cursor:pointer}#search{flex:1 1 14rem;min-width:0}#filters:not([hidden]){display:flex;flex-wrap:wrap;gap:.4rem;align-items:center;position:sticky;top:0;background:var(--page);padding:.5rem 0;z-index:1}
nav{display:flex;flex-wrap:wrap;gap:.15rem .9rem;margin:.6rem 0;font-size:.92rem}a{color:inherit}
[hidden]{display:none!important}
@media (max-width:44rem){main{padding:.6rem}.eq{grid-template-columns:minmax(0,1fr)}.eq>span{margin-top:.2rem}dl{grid-template-columns:minmax(0,1fr)}dt{margin-top:.2rem}}
@media print{#filters,button,nav{display:none!important}article,figure,.m{break-inside:avoid}article{content-visibility:visible;background:none}html,body{font-size:11px}main{max-width:none}}
";

/// Colours of methods in a card's plot.
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#9467bd",
];

/// What stands between case and method: the entry.
fn entry(e: &Evidence) -> &str {
    e.claim.id.split('/').nth(1).unwrap_or("")
}

/// An entry in words; empty where its name says it.
fn in_words(entry: &str) -> String {
    let channel = |c: char| match c {
        'x' => "the position x".to_string(),
        'v' => "the velocity v".into(),
        'a' => "the acceleration a".into(),
        c => format!("channel {c}"),
    };
    let (what, of) = entry.split_once('.').unwrap_or((entry, ""));
    let of: Vec<char> = of.chars().collect();
    match (what, &of[..]) {
        ("cov", [i, j]) if i == j => format!("variance of {}", channel(*i)),
        ("inverse", [i, j]) if i == j => format!("of the inverse: {}", channel(*i)),
        ("cov", [i, j]) => format!("covariance of {} and {}", channel(*i), channel(*j)),
        ("inverse", [i, j]) => format!("of the inverse: {} and {}", channel(*i), channel(*j)),
        ("mean", [i]) => format!("mean of {}", channel(*i)),
        _ => String::new(),
    }
}

/// Off first, then the paper's process, then by name.
fn rank(e: &Evidence) -> (bool, bool, &str) {
    let paper = process(&e.claim.id) == default_entry().name;
    (e.holds(), !paper, &e.claim.id)
}

/// The comparison that is worst, by its deviation; what is no number first.
fn worst_figure(e: &Evidence) -> Option<&Figure> {
    let worse = |a, b| {
        let size = |f: &Figure| f.deviation.abs();
        if is_worse(size(a), size(b)) { a } else { b }
    };
    e.figures().iter().reduce(worse)
}

/// Deviations in units of the tolerance, by what tells the points apart.
fn shares(e: &Evidence) -> impl Iterator<Item = (f64, f64)> {
    let all = e.figures();
    let most = all
        .iter()
        .map(|f| f.deviation.abs())
        .collect::<Worst>()
        .value();
    // by sampling they are in standard errors
    let unit = match e.worst() / most {
        unit if e.claim.method.is_sampled() && unit.is_finite() => unit,
        _ => 1.0,
    };
    // what is no number is infinitely far, and not at the bottom of the plot
    let size = |d: f64| if d.is_nan() { f64::INFINITY } else { d.abs() };
    all.iter().map(move |f| (f.at, size(f.deviation) * unit))
}

/// The worst case in words, with all digits.
fn worst_case(e: &Evidence) -> String {
    let Some(f) = worst_figure(e) else {
        return String::new();
    };
    let at = match e.claim.method {
        Method::Order => format!("{} steps", f.at),
        _ => format!("t = {:?}", f.at),
    };
    let found = format!("found {:?}", f.found);
    let figures = match e.claim.method {
        Method::Order => {
            let order = e.claim.statement.split(": ").last().unwrap_or("");
            format!("error {:?} of the size; {order}", f.found)
        }
        m if m.is_sampled() => {
            let z = if f.deviation < 0.0 { "below" } else { "above" };
            let se = f.deviation.abs();
            format!(
                "{found}, expected {:?}: {se:.3} standard errors {z}",
                f.expected
            )
        }
        _ if let Some([low, high]) = f.bounds => {
            format!("{found}, bounds {low:?} and {high:?}: an inequality")
        }
        _ if f.found == f.expected => format!(
            "{found}, expected the same to the last bit{}",
            if f.deviation == 0.0 {
                ""
            } else {
                "; the truth has a second word"
            }
        ),
        _ => format!("{found}, expected {:?}", f.expected),
    };
    format!(
        "<code>{}</code> at {at}: {}",
        escape(&e.claim.id),
        escape(&figures)
    )
}

/// The worst share of the tolerance at each time, by the time's bits. The times of one process are
/// not another's: to a quarter of a decade.
fn worst_by_time(list: &[&Evidence]) -> BTreeMap<u64, f64> {
    let timed = |e: &&&Evidence| e.claim.method != Method::Order;
    let mut worst: BTreeMap<u64, f64> = BTreeMap::new();
    for (t, s) in list.iter().filter(timed).flat_map(|e| shares(e)) {
        if t > 0.0 && t <= 1.0 {
            let t = 10f64.powf((4.0 * t.log10()).round() / 4.0);
            let w = worst.entry(t.to_bits()).or_insert(0.0);
            *w = worse(*w, s);
        }
    }
    worst
}

/// Where a small plot of error over time has its numbers, in its own units.
struct Frame {
    /// Decade of the first time.
    from: f64,
}

impl Frame {
    const WIDTH: f64 = 340.0;
    const HEIGHT: f64 = 170.0;
    const LEFT: f64 = 38.0;
    const RIGHT: f64 = Self::WIDTH - 8.0;
    const TOP: f64 = 8.0;
    const BOTTOM: f64 = 26.0;
    /// Decades of the error over the tolerance.
    const DECADES: (f64, f64) = (-4.0, 1.0);

    fn x(&self, t: f64) -> f64 {
        Self::LEFT + (Self::RIGHT - Self::LEFT) * (t.log10() - self.from) / -self.from
    }

    fn y(&self, s: f64) -> f64 {
        let (low, high) = Self::DECADES;
        let s = s.max(1e-4).log10().clamp(low, high);
        Self::TOP + (Self::HEIGHT - Self::TOP - Self::BOTTOM) * (high - s) / (high - low)
    }

    /// Axes, labels and the line of the tolerance.
    fn axes(&self) -> String {
        let mut svg = format!(
            "<path class=axis d=\"M{left} 8V{b}H{r}\"/><path class=limit d=\"M{left} {l:.1}H{r}\"/>",
            left = Self::LEFT,
            b = Self::HEIGHT - Self::BOTTOM,
            r = Self::RIGHT,
            l = self.y(1.0)
        );
        for (s, label) in [
            (10.0, "10"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e-2, "0.01"),
            (1e-4, "1e-4"),
        ] {
            let _ = write!(
                svg,
                "<text x={} y={:.1} text-anchor=end>{label}</text>",
                Self::LEFT - 4.0,
                self.y(s) + 3.0
            );
        }
        for e in [self.from, (0.5 * self.from).round(), 0.0] {
            let label = if e == 0.0 {
                "t = 1".into()
            } else {
                format!("1e{e}")
            };
            let _ = write!(
                svg,
                "<text x={:.1} y={} text-anchor=middle>{label}</text>",
                self.x(10f64.powf(e))
                    .clamp(Self::LEFT + 6.0, Self::WIDTH - 16.0),
                Self::HEIGHT - 12.0,
            );
        }
        svg
    }
}

/// Error over time in units of the tolerance, by method: lines of the worst of each time.
fn plot(by: &BTreeMap<&str, Vec<&Evidence>>) -> Option<String> {
    let mut lines: Vec<(usize, &str, BTreeMap<u64, f64>)> = vec![];
    for (i, (name, list)) in by.iter().enumerate() {
        let worst = worst_by_time(list);
        if worst.len() > 2 {
            lines.push((i, name, worst));
        }
    }
    let times = lines.iter().flat_map(|l| l.2.keys());
    let first = times.map(|t| f64::from_bits(*t)).fold(1.0, f64::min);
    let frame = Frame {
        from: first.log10().floor(),
    };
    if lines.is_empty() || frame.from >= 0.0 {
        return None;
    }
    let mut svg = format!(
        "<div class=plot><svg viewBox=\"0 0 {} {}\" role=img aria-label=\"error over tolerance against time\">{}",
        Frame::WIDTH,
        Frame::HEIGHT,
        frame.axes()
    );
    let mut key = String::from("<p class=key>error over tolerance (dashed: 1): ");
    for (i, name, worst) in &lines {
        let colour = COLOURS[i % COLOURS.len()];
        let at = |t: &u64, s: &f64| {
            let (x, y) = (frame.x(f64::from_bits(*t)), frame.y(*s));
            format!("{x:.1} {y:.1}")
        };
        let d: Vec<String> = worst.iter().map(|(t, s)| at(t, s)).collect();
        let _ = write!(
            svg,
            "<path fill=none stroke={colour} stroke-width=1.5 d=\"M{}\"/>",
            d.join("L")
        );
        let _ = write!(
            key,
            "<b><span style=color:{colour}>&#9679;</span> {name}</b> "
        );
    }
    Some(svg + "</svg>" + &key + "</p></div>")
}

/// What one method found: what it was held against, worst case, tolerance, power.
fn method(name: &str, list: &[&Evidence]) -> String {
    let off = list.iter().filter(|e| !e.holds()).count();
    let worse_of = |a, b| {
        let key = |e: &&Evidence| (e.holds(), e.worst());
        let ((a_holds, a_worst), (b_holds, b_worst)) = (key(a), key(b));
        let first = if a_holds == b_holds {
            is_worse(a_worst, b_worst)
        } else {
            b_holds
        };
        if first { a } else { b }
    };
    let worst = list.iter().reduce(worse_of);
    let Some(worst) = worst else {
        return String::new();
    };
    let power = list.iter().map(|e| e.power()).fold(0.0, worse);
    let sure = if worst.claim.method.is_sampled() {
        "with probability 0.999"
    } else {
        "for sure"
    };
    let reasons: BTreeSet<&str> = list.iter().map(|e| e.claim.tolerance.as_str()).collect();
    let reason = if reasons.len() > 3 {
        worst.claim.tolerance.clone()
    } else {
        reasons.into_iter().collect::<Vec<_>>().join("; or ")
    };
    let claims = if list.len() == 1 {
        "1 claim".into()
    } else {
        format!("{} claims", list.len())
    };
    format!(
        "<div class=m><b>{}</b> {claims}, {}<dl><dt>against<dd>{}<dt>worst case<dd>{}<dt>deviation<dd>{} of the tolerance<dt>tolerance<dd>{}<dt>power<dd>an error of {} is caught {sure}, in every claim</dl></div>",
        escape(name),
        verdict(off),
        escape(worst.claim.method.about()),
        worst_case(worst),
        short(worst.worst()),
        escape(&reason),
        short(power)
    )
}

fn verdict(off: usize) -> String {
    if off == 0 {
        "<span class=good>holds</span>".into()
    } else {
        format!("<span class=bad>{off} off</span>")
    }
}

/// Entries of a formula with more than one: each with its words and its worst.
fn entries(list: &[&Evidence]) -> String {
    let mut by: BTreeMap<&str, Vec<&Evidence>> = BTreeMap::new();
    for e in list.iter().filter(|e| !in_words(entry(e)).is_empty()) {
        by.entry(entry(e)).or_default().push(e);
    }
    if by.len() < 2 {
        return String::new();
    }
    let mut h = String::from(
        "<div class=scroll><table><tr><th>entry<th class=n>claims<th class=n>worst<th class=n title=\"power of the keenest method\">seen from<th>verdict",
    );
    for (name, list) in by {
        let worst = list.iter().map(|e| e.worst()).fold(0.0, worse);
        let mut power: BTreeMap<&str, f64> = BTreeMap::new();
        for e in &list {
            let p = power.entry(e.claim.column()).or_insert(0.0);
            *p = worse(*p, e.power());
        }
        let keenest = power.into_values().fold(f64::INFINITY, f64::min);
        let off = list.iter().filter(|e| !e.holds()).count();
        let _ = write!(
            h,
            "<tr><td><code>{}</code> {}<td class=n>{}<td class=n>{}<td class=n>{}<td>{}",
            escape(name),
            in_words(name),
            list.len(),
            short(worst),
            short(keenest),
            verdict(off)
        );
    }
    h + "</table></div>"
}

/// Every claim of a formula.
fn claims(list: &[&Evidence]) -> String {
    let off = list.iter().any(|e| !e.holds());
    let mut h = format!(
        "<details class=claims{}><summary>{} claims</summary><div class=scroll><table><tr><th>claim<th class=n>figures<th class=n>deviation<th class=n>power<th>verdict",
        if off { " open" } else { "" },
        list.len()
    );
    for e in list {
        let figures = worst_figure(e).map_or(String::new(), |f| {
            format!(
                "{} for {} at {}",
                short(f.found),
                short(f.expected),
                short(f.at)
            )
        });
        let (class, verdict) = if e.holds() {
            ("good", "holds")
        } else {
            ("bad", "off")
        };
        let _ = write!(
            h,
            "<tr><td><code>{}</code><td class=n>{figures}<td class=n>{}<td class=n>{}<td class={class}>{verdict}",
            escape(&e.claim.id),
            short(e.worst()),
            short(e.power())
        );
    }
    h + "</table></div></details>"
}

/// Notes for HTML.
fn words(note: &str) -> String {
    let code = |c: &str| match formulas::of(c) {
        Some(f) => format!("<a href=\"#{0}\"><code>{0}</code></a>", f.id),
        None => format!("<code>{}</code>", escape(c)),
    };
    formulas::text(note, escape, code, |m| formulas::mathml(m, false))
}

/// What the search box finds a card by.
fn sought(f: &Formula, list: &[&Evidence]) -> String {
    let entries: BTreeSet<String> = list.iter().map(|e| in_words(entry(e))).collect();
    let entries = entries.into_iter().collect::<Vec<_>>().join(" ");
    let all = [
        f.id, f.title, f.note, f.source, f.printed, f.here, f.at, &entries,
    ];
    escape(&all.join(" ").to_lowercase()).replace('"', "&quot;")
}

/// The command that makes a card's evidence again.
pub fn command(o: &Options, formula: &str) -> String {
    let only = Some(formula.to_string());
    made::command(&Options { only, ..o.clone() }, "")
}

/// A card's title, equations, note and place in the sources.
fn face(f: &Formula, list: &[&Evidence]) -> String {
    let off = list.iter().filter(|e| !e.holds()).count();
    let mut h = format!(
        "<article id=\"{0}\" data-p=\"{5}\" data-q=\"{1}\"{2}><h3>{3}<code>{0}</code>{4}</h3><div class=eq>",
        f.id,
        sought(f, list),
        if list.is_empty() { " class=bare" } else { "" },
        escape(f.title),
        if list.is_empty() {
            String::new()
        } else {
            verdict(off)
        },
        f.case.map_or("", |c| c.0)
    );
    let equations = f.equations();
    let mut last = "";
    for (what, latex) in &equations {
        let label = if *what == last { "" } else { what };
        let label = if f.here.is_empty() {
            "as printed and as computed"
        } else {
            label
        };
        last = what;
        let _ = write!(
            h,
            "<span>{label}</span><div>{}</div>",
            formulas::mathml(latex, true)
        );
    }
    let _ = write!(h, "</div>");
    if !f.note.is_empty() {
        let _ = write!(h, "<p>{}.</p>", words(f.note));
    }
    let _ = write!(
        h,
        "<p class=soft>{}<a href=\"{file}#L{line}\">{file}:{line}</a> <code>{}</code></p>",
        match f.source {
            "" => String::new(),
            s => format!("{}; ", escape(s)),
        },
        escape(f.function()),
        file = f.file(),
        line = f.line()
    );
    h
}

fn card(a: &Audit, f: &Formula, list: &[&Evidence]) -> String {
    let mut h = face(f, list);
    if list.is_empty() {
        let tests = f.tests.iter();
        let tests: Vec<String> = tests.map(|t| format!("<code>{t}</code>")).collect();
        let _ = write!(
            h,
            "<p class=soft>No claim of this audit is about it; tests hold it: {}.</p>",
            tests.join(", ")
        );
        return h + "</article>";
    }
    let mut list = list.to_vec();
    list.sort_by(|a, b| rank(a).cmp(&rank(b)));
    let mut by: BTreeMap<&str, Vec<&Evidence>> = BTreeMap::new();
    for e in &list {
        by.entry(e.claim.column()).or_default().push(e);
    }
    let mut methods: Vec<(&str, &Vec<&Evidence>)> = by.iter().map(|(n, l)| (*n, l)).collect();
    methods.sort_by_key(|(_, l)| l.iter().all(|e| e.holds()));
    let methods: String = methods.into_iter().map(|(n, l)| method(n, l)).collect();
    let (only, own) = match f.case {
        Some((case, _)) => (
            format!("case={case}"),
            format!(
                "<p class=soft>{} claims about <code>{}</code>, listed at {}.</p>",
                list.len(),
                case,
                listed(&list)
            ),
        ),
        None => (format!("formula={}", f.id), claims(&list)),
    };
    let _ = write!(
        h,
        "{}<div class=methods>{}{methods}</div><p class=run><code>{}</code><button class=copy hidden>copy</button></p>{own}</article>",
        entries(&list),
        plot(&by).unwrap_or_default(),
        escape(&command(&a.options, &only)),
    );
    h
}

/// Whether evidence about a kernel is that of a formula of one process, too.
fn is_about(e: &Evidence, (case, formula): (&str, &str)) -> bool {
    let asked = formula.is_empty() || e.claim.formula == formula;
    asked && process(&e.claim.id) == case && e.claim.formula.starts_with("kernel.")
}

/// Links to the cards where claims are listed.
fn listed(list: &[&Evidence]) -> String {
    let ids: BTreeSet<&str> = list.iter().map(|e| e.claim.formula.as_str()).collect();
    let link = |id: &str| format!("<a href=\"#{id}\"><code>{id}</code></a>");
    ids.into_iter().map(link).collect::<Vec<_>>().join(", ")
}

/// All cards: those that are off first, then part by part. In a run of some claims, those alone
/// that have evidence.
pub(super) fn cards(a: &Audit) -> String {
    let mut by: BTreeMap<&str, Vec<&Evidence>> = BTreeMap::new();
    for e in &a.evidence {
        by.entry(&e.claim.formula).or_default().push(e);
        for f in formulas::all() {
            if f.case.is_some_and(|c| is_about(e, c)) {
                by.entry(f.id).or_default().push(e);
            }
        }
    }
    let of = |f: &Formula| by.get(f.id).map_or(&[][..], Vec::as_slice);
    let is_off = |f: &Formula| of(f).iter().any(|e| !e.holds());
    let shown = |f: &&Formula| a.options.only.is_none() || !of(f).is_empty();
    let mut h = String::new();
    let mut nav = String::new();
    let off: String = formulas::all()
        .filter(|f| is_off(f))
        .map(|f| card(a, f, of(f)))
        .collect();
    if !off.is_empty() {
        let _ = write!(
            h,
            "<section id=off><h2>What does not hold</h2>{off}</section>"
        );
        nav += "<a href=#off class=bad>What does not hold</a>";
    }
    for (i, p) in PARTS.iter().enumerate() {
        let own: Vec<&Formula> = p.formulas.iter().filter(shown).collect();
        let cards: String = own
            .iter()
            .filter(|f| !is_off(f))
            .map(|f| card(a, f, of(f)))
            .collect();
        if cards.is_empty() {
            continue;
        }
        let _ = write!(nav, "<a href=#part-{i}>{}</a>", escape(p.title));
        let _ = write!(
            h,
            "<section id=part-{i}><h2>{}</h2><p class=soft>{}</p>{cards}</section>",
            escape(p.title),
            escape(p.about)
        );
    }
    let notation: Vec<String> = formulas::NOTATION
        .iter()
        .map(|(m, w)| format!("{} {}", formulas::mathml(m, false), words(w)))
        .collect();
    let some = match &a.options.only {
        None => String::new(),
        Some(only) => format!(
            "<p class=soft>This run was of claims about <code>{}</code>: formulas without evidence in it have no card.</p>",
            escape(only)
        ),
    };
    format!(
        "<nav class=rest>{nav}<a href=#over>Over everything</a></nav>{some}<p class=\"soft rest\">Notation: {}.</p>{h}",
        notation.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::super::claim::{Claim, Compared};
    use super::*;

    /// Catches entries whose words are another's, which is how a reader finds them.
    #[test]
    fn entries_have_words() {
        for (entry, words) in [
            ("cov.vv", "variance of the velocity v"),
            ("cov.xv", "covariance of the position x and the velocity v"),
            ("mean.a", "mean of the acceleration a"),
            ("ell", ""),
            ("cov", ""),
            ("mean.sampler.em", ""),
        ] {
            assert_eq!(in_words(entry), words);
        }
    }

    /// Evidence of figures `(at, found, expected, deviation)`; off where a deviation is above 1.
    fn evidence(id: &str, method: Method, figures: &[(f64, f64, f64, f64)]) -> Evidence {
        let compared = figures
            .iter()
            .map(|&(at, found, expected, deviation)| Compared {
                figure: Figure {
                    at,
                    found,
                    expected,
                    deviation,
                    bounds: None,
                },
                share: deviation.abs() / if method.is_sampled() { 5.0 } else { 1.0 },
                power: Some(0.25),
                p: method.is_sampled().then_some(0.5),
            });
        let claim = Claim::new(id, "kernel.cov", method, "of it: order 2.0".into(), "1e-13");
        Evidence::new(claim, compared.collect()).unwrap()
    }

    /// Catches a worst case that is another one, or told as another: side, bounds, steps for times,
    /// and what is the same to the last bit.
    #[test]
    fn worst_cases_in_words() {
        let of = |m: Method, figures: &[(f64, f64, f64, f64)]| {
            let text = worst_case(&evidence("cld.x/cov.vv", m, figures));
            let (id, rest) = text.split_once(" at ").unwrap();
            assert!(id.starts_with("<code>cld.x/cov.vv/"), "{id}");
            rest.to_string()
        };
        let two = [(0.5, 2.5, 3.0, -0.75), (0.25, 1.0, 1.5, 0.5)];
        assert_eq!(
            of(Method::Doubling, &two),
            "t = 0.5: found 2.5, expected 3.0"
        );
        let sampled = [(0.5, 2.5, 3.0, -1.25), (0.25, 1.0, 1.5, 1.0)];
        let below = "t = 0.5: found 2.5, expected 3.0: 1.250 standard errors below";
        assert_eq!(of(Method::Simulation, &sampled), below);
        let above = "t = 0.25: found 1.0, expected 1.5: 1.000 standard errors above";
        assert_eq!(of(Method::Simulation, &sampled[1..]), above);
        let still = "t = 1.0: found 1.0, expected 1.0: 0.000 standard errors above";
        assert_eq!(of(Method::Sampled, &[(1.0, 1.0, 1.0, 0.0)]), still);
        let order = "64 steps: error 0.125 of the size; order 2.0";
        assert_eq!(of(Method::Order, &[(64.0, 0.125, 0.0, 0.5)]), order);
        let same = "t = 1.0: found 1.0, expected the same to the last bit";
        assert_eq!(of(Method::Doubling, &[(1.0, 1.0, 1.0, 0.0)]), same);
        let word = format!("{same}; the truth has a second word");
        assert_eq!(of(Method::Doubling, &[(1.0, 1.0, 1.0, 0.125)]), word);
        // no number is the worst
        let none = of(
            Method::Doubling,
            &[two[0], (0.75, f64::NAN, 1.0, f64::NAN), two[1]],
        );
        assert!(none.starts_with("t = 0.75: found NaN"), "{none}");
    }

    /// Catches a time's worst that is another time's or method's, and times that have no place in
    /// the plot; deviations of samples are told in tolerances.
    #[test]
    fn the_worst_of_each_quarter_of_a_decade() {
        let noise_free = [
            (0.1, 1.0, 1.0, -0.5),
            (0.11, 1.0, 1.0, 0.25),
            (1.0, 1.0, 1.0, 0.125),
        ];
        let a = evidence("cld.x/a", Method::Doubling, &noise_free);
        let b = evidence(
            "cld.x/b",
            Method::Simulation,
            &[(0.1, 1.0, 1.0, 4.0), (0.02, 1.0, 1.0, -2.5)],
        );
        let steps = evidence("cld.x/c", Method::Order, &[(0.1, 1.0, 0.0, 0.875)]);
        let outside = [(0.0, 1.0, 1.0, 1.0), (2.0, 1.0, 1.0, 1.0)];
        let outside = evidence("cld.x/d", Method::Doubling, &outside);
        let worst = worst_by_time(&[&a, &b, &steps, &outside]);
        let found: Vec<(f64, f64)> = worst
            .iter()
            .map(|(t, s)| (f64::from_bits(*t), *s))
            .collect();
        // 0.02 is nearest to 10^-1.75; 4 of 5 standard errors
        assert_eq!(found, [(10f64.powf(-1.75), 0.5), (0.1, 0.8), (1.0, 0.125)]);
        // what is no number, or infinite, is no small error
        for method in [Method::Doubling, Method::Simulation] {
            for d in [f64::NAN, f64::INFINITY] {
                let e = evidence("cld.x/a", method, &[(0.1, d, 1.0, d), (1.0, 1.0, 1.0, 0.5)]);
                let worst: Vec<f64> = worst_by_time(&[&e]).into_values().collect();
                assert_eq!(worst, [f64::INFINITY, 0.5], "{method:?} {d}");
            }
        }
    }

    /// Catches a plot whose points are elsewhere: its corners by hand, three times at least.
    #[test]
    fn plots_have_their_points_in_place() {
        let frame = Frame { from: -4.0 };
        assert_eq!(
            (frame.x(1e-4), frame.x(1.0), frame.x(1e-2)),
            (38.0, 332.0, 185.0)
        );
        // five decades over 136 units, the largest error on top
        let y = |s: f64| (frame.y(s) * 10.0).round() / 10.0;
        assert_eq!([10.0, 1.0, 1e-4].map(y), [8.0, 35.2, 144.0]);
        assert_eq!([1e3, f64::INFINITY, 0.0].map(y), [8.0, 8.0, 144.0]);
        let figures = [
            (1e-4, 1.0, 1.0, 1.0),
            (1e-2, 1.0, 1.0, 0.1),
            (1.0, 1.0, 1.0, 0.01),
        ];
        let all = evidence("cld.x/a", Method::Doubling, &figures);
        let few = evidence("cld.x/a", Method::Doubling, &figures[1..]);
        let one = plot(&BTreeMap::from([
            ("doubling", vec![&all]),
            ("few", vec![&few]),
        ]))
        .unwrap();
        assert!(
            one.contains("d=\"M38.0 35.2L185.0 62.4L332.0 89.6\""),
            "{one}"
        );
        assert!(one.contains(" doubling</b>") && !one.contains(" few</b>"));
        assert!(
            one.contains(">1e-4</text>")
                && one.contains(">1e-2</text>")
                && one.contains(">t = 1</text>")
        );
        assert_eq!(plot(&BTreeMap::from([("few", vec![&few])])), None);
    }

    /// Catches a claim that is off and shown as held, in the card's head, its method's, its entry's
    /// or its own row; and counts of another list.
    #[test]
    fn what_is_off_is_shown_off() {
        let good = evidence("cld.x/cov.xx", Method::Doubling, &[(0.5, 1.0, 1.0, 0.5)]);
        let bad = evidence("vp.x/cov.vv", Method::Doubling, &[(0.5, 2.0, 1.0, 3.0)]);
        let worse = evidence("cld.x/cov.xv", Method::Moments, &[(0.5, 2.0, 1.0, 0.75)]);
        assert!(good.holds() && !bad.holds());
        assert_eq!(verdict(0), "<span class=good>holds</span>");
        assert_eq!(verdict(2), "<span class=bad>2 off</span>");
        let all = method("doubling", &[&good, &bad]);
        assert!(
            all.contains("2 claims, <span class=bad>1 off</span>"),
            "{all}"
        );
        assert!(all.contains("worst case<dd><code>vp.x/cov.vv/doubling</code>"));
        assert!(
            all.contains("deviation<dd>3.000 of the tolerance")
                && all.contains("an error of 0.250 is caught for sure")
        );
        let one = method("doubling", &[&good]);
        assert!(one.contains("1 claim, <span class=good>holds</span>"));
        let sampled = evidence("cld.x/cov.xx", Method::Simulation, &[(0.5, 1.0, 1.0, 0.5)]);
        assert!(method("em", &[&sampled]).contains("caught with probability 0.999"));
        assert_eq!(method("none", &[]), "");
        let table = entries(&[&good, &bad, &worse]);
        assert_eq!(table.matches("<tr><td>").count(), 3);
        assert!(table.contains("<code>cov.vv</code> variance of the velocity v<td class=n>1<td class=n>3.000<td class=n>0.250<td><span class=bad>1 off"), "{table}");
        assert_eq!(entries(&[&good, &good]), "");
        let rows = claims(&[&good, &bad]);
        assert!(rows.starts_with("<details class=claims open><summary>2 claims"));
        assert!(rows.contains("<code>vp.x/cov.vv/doubling</code><td class=n>2.000 for 1.000 at 0.500<td class=n>3.000<td class=n>0.250<td class=bad>off"), "{rows}");
        assert!(claims(&[&good]).starts_with("<details class=claims><summary>1 claims"));
        assert!(claims(&[&good]).contains("<td class=good>holds"));
        // off first, then the paper's own process, then by name
        let other = evidence("ve.x/cov.xx", Method::Doubling, &[(0.5, 1.0, 1.0, 0.5)]);
        let mut list = [&other, &worse, &good, &bad];
        list.sort_by(|a, b| rank(a).cmp(&rank(b)));
        let ids: Vec<&str> = list.iter().map(|e| e.claim.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "vp.x/cov.vv/doubling",
                "cld.x/cov.xv/moments",
                "cld.x/cov.xx/doubling",
                "ve.x/cov.xx/doubling"
            ]
        );
    }

    /// Catches evidence that is told of another process's formula.
    #[test]
    fn evidence_is_about_its_process() {
        let e = evidence("cld.x/cov.xx", Method::Doubling, &[(0.5, 1.0, 1.0, 0.5)]);
        assert!(is_about(&e, ("cld", "")) && is_about(&e, ("cld", "kernel.cov")));
        assert!(!is_about(&e, ("vp", "")) && !is_about(&e, ("cld", "kernel.mean")));
        let mut other = e.clone();
        other.claim.formula = "score.mixed".into();
        assert!(!is_about(&other, ("cld", "")) && !is_about(&other, ("cld", "score.mixed")));
        assert_eq!(
            listed(&[&e, &other, &e]),
            "<a href=\"#kernel.cov\"><code>kernel.cov</code></a>, <a href=\"#score.mixed\"><code>score.mixed</code></a>"
        );
    }
}
