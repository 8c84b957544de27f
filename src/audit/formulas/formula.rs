//! What is said of a formula.

/// A formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formula {
    /// Such as `kernel.cov`.
    pub id: &'static str,
    /// In words.
    pub title: &'static str,
    /// Where it is printed; empty where it is printed nowhere.
    pub source: &'static str,
    /// As printed there, in LaTeX; empty where that is nothing, or not certain.
    pub printed: &'static str,
    /// As computed here, in LaTeX, an equation to a line; empty where that is as printed.
    pub here: &'static str,
    /// What else is to be said: code in backticks, mathematics between dollars.
    pub note: &'static str,
    /// Of a formula of one process: the case whose claims about kernels are its evidence too, and
    /// the formula that they have (every one of a kernel where that is empty).
    pub case: Option<(&'static str, &'static str)>,
    /// The function: file below `src`, then the names that lead to it, joined by `::`.
    pub at: &'static str,
    /// Tests that hold it, as `file::name`.
    pub tests: &'static [&'static str],
}

/// Formulas that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// In words.
    pub title: &'static str,
    /// What they are, in a sentence.
    pub about: &'static str,
    /// The formulas.
    pub formulas: &'static [Formula],
}

/// Lines of the functions, found when the crate is built; 0 for one that is not there.
const LINES: &[(&str, u32)] = include!(concat!(env!("OUT_DIR"), "/formulas.rs"));

impl Formula {
    /// The function's file, from the root of the repository.
    pub fn file(&self) -> String {
        format!("src/{}", self.at.split("::").next().unwrap_or(""))
    }

    /// The function's name, with that of its type where it is needed.
    pub fn function(&self) -> &'static str {
        self.at.split_once("::").map_or("", |x| x.1)
    }

    /// The function's line in its file, from 1; 0 if it is not there.
    pub fn line(&self) -> u32 {
        LINES.iter().find(|l| l.0 == self.at).map_or(0, |l| l.1)
    }

    /// Equations with what each is: as printed, as computed.
    pub fn equations(&self) -> Vec<(&'static str, &'static str)> {
        let printed = (!self.printed.is_empty()).then_some(("as printed", self.printed));
        let here = self.here.lines().map(|l| ("as computed", l));
        printed.into_iter().chain(here).collect()
    }
}
