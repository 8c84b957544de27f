//! Claims that are the rows of a table, and their evidence as it is found.

use super::check::{Bound, Check, Near, Part, Points, Sampled};
use super::claim::{Claim, Method};
use crate::error::{Error, Result};

/// A claim of a family whose claims are a table.
pub(super) struct Row {
    /// What stands between case and method.
    pub name: &'static str,
    /// Its formula's id.
    pub formula: &'static str,
    /// How many tests by sampling it makes; 0 without noise.
    pub tests: usize,
    /// What is claimed; the case's words follow.
    pub says: &'static str,
    /// Of the size of the number's terms, without noise.
    pub tolerance: f64,
    /// Where the tolerance comes from.
    pub reason: &'static str,
}

impl Row {
    /// A claim without noise.
    pub const fn still(
        name: &'static str,
        formula: &'static str,
        says: &'static str,
        tolerance: f64,
        reason: &'static str,
    ) -> Row {
        Row {
            name,
            formula,
            tests: 0,
            says,
            tolerance,
            reason,
        }
    }

    /// A claim by one test of samples, whose law is its tolerance.
    pub const fn drawn(name: &'static str, formula: &'static str, says: &'static str) -> Row {
        Row {
            tests: 1,
            ..Row::still(name, formula, says, 0.0, "")
        }
    }

    /// Without noise: the method, and the tolerance in words.
    fn claim(&self, case: &str, about: &str) -> Claim {
        let method = if self.tests > 0 {
            Method::Sampled
        } else {
            Method::Identity
        };
        let about = if about.is_empty() {
            String::new()
        } else {
            format!(", {about}")
        };
        Claim::new(
            &format!("{case}/{}", self.name),
            self.formula,
            method,
            format!("{}{about}", self.says),
            &format!("{:e}: {}", self.tolerance, self.reason),
        )
    }
}

/// Evidence for the rows of a table, as it is found.
pub(super) struct Tally<'a> {
    rows: &'a [&'static Row],
    near: Vec<Vec<Near>>,
    bounds: Vec<Vec<Bound>>,
    sampled: Vec<Vec<Sampled>>,
}

impl Tally<'_> {
    fn place(&self, name: &str) -> Result<usize> {
        let place = self.rows.iter().position(|r| r.name == name);
        place.ok_or_else(|| Error::Degenerate {
            what: format!("a claim for {name}").into(),
            why: "it is not listed".into(),
        })
    }

    /// A number and what it should be; `unit` is the size of its terms.
    ///
    /// # Errors
    /// A row that is not listed.
    pub fn near(
        &mut self,
        name: &str,
        at: f64,
        found: f64,
        expected: f64,
        unit: f64,
    ) -> Result<()> {
        let i = self.place(name)?;
        self.near[i].push(Near {
            at,
            found,
            expected,
            tolerance: self.rows[i].tolerance * unit,
            unit,
        });
        Ok(())
    }

    /// Numbers and what they should be; the largest is the size of all.
    ///
    /// # Errors
    /// A row that is not listed; more numbers of one kind than of the other.
    pub fn all(&mut self, name: &str, at: f64, found: &[f64], expected: &[f64]) -> Result<()> {
        if found.len() != expected.len() {
            return Err(Error::shape(
                "found",
                &[found.len()],
                format!("{} numbers, as expected", expected.len()),
            ));
        }
        let unit = crate::worst::largest(expected);
        for (f, e) in found.iter().zip(expected) {
            self.near(name, at, *f, *e, unit)?;
        }
        Ok(())
    }

    /// A number that has to keep between bounds; it is of the size of 1.
    ///
    /// # Errors
    /// A row that is not listed.
    pub fn between(
        &mut self,
        name: &str,
        at: f64,
        found: f64,
        [low, high]: [f64; 2],
    ) -> Result<()> {
        let i = self.place(name)?;
        self.bounds[i].push(Bound {
            at,
            found,
            low,
            high,
            unit: 1.0,
        });
        Ok(())
    }

    /// A number found by sampling.
    ///
    /// # Errors
    /// A row that is not listed.
    pub fn sampled(&mut self, name: &str, point: Sampled) -> Result<()> {
        let i = self.place(name)?;
        self.sampled[i].push(point);
        Ok(())
    }
}

/// A part whose claims are the rows of a table; `run` finds their evidence.
pub(super) fn table(
    case: String,
    about: &str,
    rows: Vec<&'static Row>,
    run: impl Fn(u64, &mut Tally<'_>) -> Result<()> + Send + Sync + 'static,
) -> Part {
    let claims: Vec<Claim> = rows.iter().map(|r| r.claim(&case, about)).collect();
    let (own, tests) = (claims.clone(), rows.iter().map(|r| r.tests).sum());
    let compute = move |seed: u64| {
        let mut tally = Tally {
            rows: &rows,
            near: rows.iter().map(|_| vec![]).collect(),
            bounds: rows.iter().map(|_| vec![]).collect(),
            sampled: rows.iter().map(|_| vec![]).collect(),
        };
        run(seed, &mut tally)?;
        let found = tally.near.into_iter().zip(tally.bounds).zip(tally.sampled);
        let points = found.zip(&rows).map(|(((near, bounds), sampled), row)| {
            match (near.is_empty(), bounds.is_empty(), sampled.is_empty()) {
                (_, true, true) => Ok(Points::Near(near)),
                (true, false, true) => Ok(Points::Bounds(bounds)),
                (true, true, false) => Ok(Points::Sampled(sampled)),
                _ => Err(Error::Degenerate {
                    what: format!("evidence for {}", row.name).into(),
                    why: "it is of more than one kind".into(),
                }),
            }
        });
        Check::all(own.clone(), points.collect::<Result<_>>()?)
    };
    Part {
        case,
        claims,
        tests,
        run: Box::new(compute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ROWS: [Row; 2] = [
        Row::still("a", "kernel.mean", "a", 0.5, "none"),
        Row::still("b", "kernel.cov", "b", 0.5, "none"),
    ];

    /// Catches a table that takes evidence for a row it has not, of two kinds for one row, for no
    /// number, or that leaves a row without evidence; and a tolerance that is not the row's share of
    /// the unit.
    #[test]
    fn tables_are_whole() {
        type Run = fn(u64, &mut Tally<'_>) -> Result<()>;
        let holds = |run: Run| -> Result<Vec<bool>> {
            let rows = ROWS.iter().collect();
            let checks = table("case".into(), "", rows, run).checks(0)?;
            checks
                .iter()
                .map(|c| Ok(c.evidence(1, None)?.holds()))
                .collect()
        };
        let right: Run = |_, t| {
            t.near("a", 0.0, 5.0, 4.0, 4.0)?;
            t.between("b", 0.0, 0.3, [0.0, 1.0])
        };
        assert_eq!(holds(right), Ok(vec![true, true]));
        let far: Run = |_, t| {
            t.near("a", 0.0, 6.1, 4.0, 4.0)?;
            t.all("b", 0.0, &[1.0, -4.0], &[1.0, -1.0])
        };
        assert_eq!(holds(far), Ok(vec![false, false]));
        let unknown: Run = |_, t| t.near("c", 0.0, 5.0, 4.0, 4.0);
        let twice: Run = |_, t| {
            t.near("a", 0.0, 5.0, 4.0, 4.0)?;
            t.between("a", 0.0, 0.3, [0.0, 1.0])
        };
        let lacking: Run = |_, t| t.near("a", 0.0, 5.0, 4.0, 4.0);
        let fewer: Run = |_, t| t.all("a", 0.0, &[1.0], &[1.0, 2.0]);
        for run in [unknown, twice, lacking, fewer] {
            assert!(holds(run).is_err());
        }
    }
}
