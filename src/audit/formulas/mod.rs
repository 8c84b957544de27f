//! Every formula, once: the table that docs/reference/formulas.md and the audit's page are made
//! from.
//!
//! A formula has an id, which stands in the docs of its function (`Formula: id`) and in the claims
//! about it; `tests/trace` holds the three together. Parts are in the order of the CLD paper,
//! then what was built on it.

use pulldown_latex::config::{DisplayMode, RenderConfig};
use pulldown_latex::{Parser, Storage, mathml::push_mathml};
use std::fmt::Write;

mod formula;
mod others;
mod paper;

pub use formula::{Formula, Part};

/// Every part, in the paper's order.
pub const PARTS: &[Part] = &[
    paper::FORWARD,
    paper::KERNEL,
    paper::SCORE,
    paper::OBJECTIVES,
    paper::SAMPLING,
    paper::LIKELIHOOD,
    paper::COMPLEXITY,
    paper::DATA,
    paper::NETWORKS,
    others::PROCESSES,
    others::SAMPLERS,
    others::SIMULATION,
    others::METRICS,
];

/// What letters mean in them, in LaTeX and words.
pub const NOTATION: &[(&str, &str)] = &[
    (
        r"\tau = B(s, t) = \int_s^t \beta",
        "the process's clock; $B$ for $\\tau$ from 0",
    ),
    (r"z = \tau/\sqrt{M}, \quad y = 2z", "the clock of CLD"),
    (r"\Gamma = 2\sqrt{M}", "critical damping"),
    (
        r"P_3(y) = 1 - e^{-y}\left(1 + y + \tfrac{1}{2} y^2\right)",
        "a series of positive terms",
    ),
    (r"G(y) = 2 P_3(y) - \tfrac{1}{4} e^{-y} y^3", "the same"),
    (
        r"\Phi, \; \Sigma = L L^\top",
        "mean matrix and covariance of the kernel",
    ),
    (r"\varepsilon, \xi", "standard normal"),
];

/// Every formula, in order.
pub fn all() -> impl Iterator<Item = &'static Formula> {
    PARTS.iter().flat_map(|p| p.formulas)
}

/// The formula with this id.
pub fn of(id: &str) -> Option<&'static Formula> {
    all().find(|f| f.id == id)
}

/// LaTeX as MathML, on a line of its own or in the text. What cannot be read stays LaTeX, as code (a
/// test sees that there is none).
pub fn mathml(latex: &str, own_line: bool) -> String {
    let storage = Storage::new();
    let config = RenderConfig {
        display_mode: if own_line {
            DisplayMode::Block
        } else {
            DisplayMode::Inline
        },
        ..RenderConfig::default()
    };
    let mut out = String::new();
    let read = Parser::new(latex, &storage).all(|e| e.is_ok());
    match push_mathml(&mut out, Parser::new(latex, &storage), config) {
        Ok(()) if read => out,
        _ => format!("<code>{}</code>", crate::plot::page::escape(latex)),
    }
}

/// Text with code in backticks and mathematics between dollars, each as `code` and `math` make it,
/// the rest as `plain` does.
pub fn text(
    note: &str,
    plain: impl Fn(&str) -> String,
    code: impl Fn(&str) -> String,
    math: impl Fn(&str) -> String,
) -> String {
    let mut out = String::new();
    let mut rest = note;
    while let Some(i) = rest.find(['`', '$']) {
        let (mark, after) = (&rest[i..=i], &rest[i + 1..]);
        let Some(end) = after.find(mark) else { break };
        out += &plain(&rest[..i]);
        out += &if mark == "`" {
            code(&after[..end])
        } else {
            math(&after[..end])
        };
        rest = &after[end + 1..];
    }
    out + &plain(rest)
}

/// The line before and the line after what is made in docs/reference/formulas.md.
const MARKS: [&str; 2] = [
    "<!-- made from src/audit/formulas by CLD_FORMULAS=write cargo test --test library formulas -->\n",
    "<!-- end of what is made -->\n",
];

/// The document with its tables made anew between their marks: all else in it is kept. `None` if it
/// has no marks.
pub fn document(kept: &str) -> Option<String> {
    let (head, rest) = kept.split_once(MARKS[0])?;
    let (_, tail) = rest.split_once(MARKS[1])?;
    Some(format!("{head}{}{}{}{tail}", MARKS[0], tables(), MARKS[1]))
}

/// Mathematics as Markdown on GitHub has it, safe from its other marks.
fn markdown(latex: &str) -> String {
    format!("$`{latex}`$")
}

/// The tables, part by part.
fn tables() -> String {
    let mut out = String::from("\nNotation: ");
    let one = |(math, words): &(&str, &str)| {
        let words = text(words, str::to_string, |c| format!("`{c}`"), markdown);
        format!("{}, {words}", markdown(math))
    };
    out += &NOTATION.iter().map(one).collect::<Vec<_>>().join("; ");
    out += ".\n";
    for p in PARTS {
        let _ = write!(
            out,
            "\n## {}\n\n{}\n\n| id | what, source | as printed | here | tests |\n|---|---|---|---|---|\n",
            p.title, p.about
        );
        for f in p.formulas {
            let source = match f.source {
                "" => String::new(),
                s => format!("; {s}"),
            };
            let printed = match f.printed {
                "" => "-".into(),
                x => markdown(x),
            };
            let mut here = match f.here {
                "" => "the same".into(),
                x => x.lines().map(markdown).collect::<Vec<_>>().join("<br>"),
            };
            if !f.note.is_empty() {
                here += ". ";
                here += &text(f.note, str::to_string, |c| format!("`{c}`"), markdown);
            }
            let tests: Vec<String> = f.tests.iter().map(|t| format!("`{t}`")).collect();
            let _ = writeln!(
                out,
                "| `{}` | {}{source}; [{}](../../{}) | {printed} | {here} | {} |",
                f.id,
                f.title,
                f.function(),
                f.file(),
                tests.join(", ")
            );
        }
    }
    out + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Catches a formula twice, one without an equation, a function that is not there, an empty
    /// title, and LaTeX that would break a table of Markdown.
    #[test]
    fn every_formula_is_whole() {
        let mut ids = BTreeSet::new();
        for f in all() {
            assert!(ids.insert(f.id), "{} twice", f.id);
            assert!(!f.equations().is_empty(), "{} has no equation", f.id);
            assert!(f.line() > 0, "{}: there is no {}", f.id, f.at);
            assert!(!f.title.is_empty() && !f.tests.is_empty(), "{}", f.id);
            for s in [f.printed, f.here, f.note, f.title, f.source] {
                assert!(!s.contains('|') && !s.ends_with('.'), "{}: {s}", f.id);
            }
        }
        assert!(ids.len() > 100 && of("kernel.cov").is_some() && of("no.such").is_none());
    }

    /// Catches LaTeX that cannot be read, which the page would show as code, and a reader that
    /// takes anything.
    #[test]
    fn all_latex_can_be_read() {
        let read = |latex: &str| mathml(latex, false).starts_with("<math");
        for f in all() {
            for (_, latex) in f.equations() {
                assert!(read(latex), "{}: {}", f.id, mathml(latex, true));
            }
            let math = |m: &str| {
                assert!(read(m), "{}: {m}", f.id);
                String::new()
            };
            text(f.note, str::to_string, str::to_string, math);
        }
        assert!(NOTATION.iter().all(|n| read(n.0)));
        for bad in [r"\frac{1}", r"\nosuchcommand x", r"\left( x", "a}"] {
            assert!(!read(bad), "{bad}");
        }
        assert!(mathml("x_1", true).contains("display=\"block\""));
    }

    /// Catches marks that are dropped, or a lone one that swallows what follows.
    #[test]
    fn marks_are_read() {
        let shown = |note: &str| {
            let bracket = |a: &'static str| move |s: &str| format!("{a}{s}{a}");
            text(note, str::to_string, bracket("C"), bracket("M"))
        };
        assert_eq!(shown("a `b` c $d$ e"), "a CbC c MdM e");
        assert_eq!(shown("a `b c $d$"), "a `b c $d$");
        assert_eq!(shown(""), "");
    }
}
