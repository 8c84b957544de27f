//! Errors planted in every claim: which are caught, which are missed, and whether a claim can fail
//! at all.
//!
//! What is computed or simulated once is judged again and again, with another error planted each
//! time, so that the whole costs one audit and some arithmetic. The error is one of the claim's own
//! quantity: what shows is that its judge can say no, and at which size it begins to. (Errors in
//! the source are another matter: they reach what a claim is computed from.)
//!
//! **At which size.** Each claim states its power. Without noise that is the size at which the
//! deviation, its own included, is just the tolerance, so the error is planted a margin of
//! [`MARGIN`] above: the planted value is rounded, by at most 1.1e-16 of it, which is 0.0011 of the
//! smallest tolerance there is (1e-13), and 0.01 is nine times that. By sampling the power comes
//! from the test's slope at no error, and the tests by chi-squared bend: by Wilson and Hilferty's
//! cube root an error s shifts them as `3 (1 - (1 + s)^(-1/3))` does, where the slope has s. Solved
//! for the shift p that is wanted, `s = (1 - p/3)^-3 - 1`; normal statistics do not bend, and lose
//! nothing by it.
//!
//! **What a miss means.** By sampling an error at the power is caught with probability at least
//! 0.999, so among n such claims some n/1000 misses are expected at most. What is missed is planted
//! again, at twice its size and then at ten times, a hundred times and so on: chance ends at twice
//! the power (the deviation is then beyond the limit by some 9 standard errors), a claim that
//! cannot fail never does.

use super::claim::{Claim, Evidence, Method, Plant};
use crate::error::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;

/// Schema of the result.
pub const PLANTS_SCHEMA: &str = "cld-audit-plants/1";
/// What the size without noise is above the power: see the top of this file.
pub const MARGIN: f64 = 1.01;
/// How much larger a missed error is planted again, one after the other. The last is far beyond any
/// number that is audited.
const AGAIN: [f64; 6] = [2.0, 10.0, 1e2, 1e4, 1e8, 1e16];

/// What became of the error that was planted in one claim.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planted {
    /// Id of the claim.
    pub id: String,
    /// The formula that it is about.
    pub formula: String,
    /// How it is checked.
    pub method: Method,
    /// The last part of its id: the method, with the scheme for simulations.
    pub column: String,
    /// The power that the claim states; `None` if no planted error could break it.
    pub power: Option<f64>,
    /// The relative size that was planted.
    pub size: Option<f64>,
    /// Whether it was caught at that size.
    pub caught: bool,
    /// The smallest size tried at which it was caught; `None` for a claim that cannot fail.
    pub caught_at: Option<f64>,
}

impl Planted {
    /// Whether the claim fails at no size: a defect of the audit.
    pub fn cannot_fail(&self) -> bool {
        self.caught_at.is_none()
    }

    /// Whether the error was missed at a size that the claim says it catches.
    pub fn misses_what_it_promises(&self) -> bool {
        !self.caught
            && self
                .power
                .zip(self.size)
                .is_none_or(|(p, s)| s.abs() >= at_power(self.method, p))
    }

    /// Tries one claim. `judge` judges it with an error of a size planted (0: with none). `None`
    /// for a claim that is off with nothing planted: it would catch anything.
    ///
    /// # Errors
    /// A claim without evidence.
    pub(super) fn new(
        claim: &Claim,
        asked: Option<f64>,
        judge: impl Fn(f64) -> Result<Evidence>,
    ) -> Result<Option<Planted>> {
        let own = judge(0.0)?;
        if !own.holds() && !own.is_blind() {
            return Ok(None);
        }
        let power = own.holds().then(|| own.power());
        let size = asked.or_else(|| power.map(|p| at_power(claim.method, p)));
        // a claim that sees nothing, or nothing any more, catches nothing
        let catches =
            |size: f64| size.is_finite() && judge(size).is_ok_and(|e| !e.holds() && !e.is_blind());
        let caught = power.is_some() && size.is_some_and(catches);
        // from the power on, so that a size below it, which is missed for good reason, does not
        // count against the claim
        let from = power.map(|p| at_power(claim.method, p));
        let larger = || {
            from.or(size)
                .into_iter()
                .flat_map(|s| std::iter::once(s).chain(AGAIN.map(|k| k * s)))
                .find(|s| catches(*s))
        };
        let caught_at = if power.is_none() {
            None
        } else {
            size.filter(|_| caught).or_else(larger)
        };
        Ok(Some(Planted {
            id: claim.id.clone(),
            formula: claim.formula.clone(),
            method: claim.method,
            column: claim.column().to_string(),
            power,
            size,
            caught,
            caught_at,
        }))
    }
}

/// The size at which a claim of this power must catch: see the top of this file.
pub fn at_power(method: Method, power: f64) -> f64 {
    if method.is_sampled() {
        // beyond 1 only normal statistics are left: variances are never tested that coarsely
        let p = power.min(1.0);
        power / p * ((1.0 - p / 3.0).powi(-3) - 1.0)
    } else {
        MARGIN * power
    }
}

/// Caught, and all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Errors that were caught.
    pub caught: usize,
    /// Errors that were planted.
    pub planted: usize,
}

impl Cell {
    fn count(&mut self, p: &Planted) {
        self.planted += 1;
        self.caught += usize::from(p.caught);
    }
}

/// An error planted in every claim.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plants {
    /// Schema.
    pub schema: String,
    /// The size that was asked for; else each claim's own power, with a margin.
    pub size: Option<f64>,
    /// By formula, then by method: caught of planted.
    pub matrix: BTreeMap<String, BTreeMap<String, Cell>>,
    /// Every claim, in the order of their ids.
    pub claims: Vec<Planted>,
    /// Ids of the claims that fail at no size.
    pub cannot_fail: Vec<String>,
    /// Ids of the claims that are off with nothing planted: nothing was planted in them.
    pub off: Vec<String>,
    /// Claims by sampling, whose power is a probability, that missed at their power and caught at a
    /// larger size.
    pub by_chance: usize,
    /// How many of those are expected at most: the claims by sampling times 0.001.
    pub by_chance_expected: f64,
    /// Whether every claim can fail, and those without noise at the size that they say.
    pub sound: bool,
}

impl Plants {
    /// Puts together what was found; `off` are the claims that are off with nothing planted.
    ///
    /// # Errors
    /// No claims.
    pub(super) fn new(
        size: Option<f64>,
        mut claims: Vec<Planted>,
        mut off: Vec<String>,
    ) -> Result<Plants> {
        if claims.is_empty() {
            return Err(Error::Degenerate {
                what: "planted errors".into(),
                why: "there is no claim to plant one in".into(),
            });
        }
        off.sort();
        claims.sort_by(|a, b| a.id.cmp(&b.id));
        let mut matrix: BTreeMap<String, BTreeMap<String, Cell>> = BTreeMap::new();
        for p in &claims {
            matrix
                .entry(p.formula.clone())
                .or_default()
                .entry(p.column.clone())
                .or_default()
                .count(p);
        }
        let cannot_fail: Vec<String> = claims
            .iter()
            .filter(|p| p.cannot_fail())
            .map(|p| p.id.clone())
            .collect();
        let by_chance = claims.iter().filter(|p| p.by_chance()).count();
        let by_chance_expected = claims.iter().filter(|p| p.method.is_sampled()).count() as f64
            * (1.0 - super::stats::POWER);
        let sound = claims.iter().all(|p| !p.is_defect());
        Ok(Plants {
            schema: PLANTS_SCHEMA.into(),
            size,
            matrix,
            claims,
            cannot_fail,
            off,
            by_chance,
            by_chance_expected,
            sound,
        })
    }

    /// Errors that were missed, in the order of their ids.
    pub fn missed(&self) -> impl Iterator<Item = &Planted> {
        self.claims.iter().filter(|p| !p.caught)
    }

    /// Caught of planted, by method; and of all.
    pub fn by_method(&self) -> (BTreeMap<&str, Cell>, Cell) {
        let (mut by, mut all) = (BTreeMap::<&str, Cell>::new(), Cell::default());
        for p in &self.claims {
            by.entry(&p.column).or_default().count(p);
            all.count(p);
        }
        (by, all)
    }
}

impl Planted {
    /// Missed at its power, caught at no more than twice that: what is left to chance.
    pub fn by_chance(&self) -> bool {
        let soon = || {
            self.caught_at
                .zip(self.power)
                .is_some_and(|(s, p)| s <= 2.0 * at_power(self.method, p))
        };
        self.method.is_sampled() && self.misses_what_it_promises() && soon()
    }

    /// Cannot fail, or does not at what it promises, and it is not chance.
    pub fn is_defect(&self) -> bool {
        self.cannot_fail() || (self.misses_what_it_promises() && !self.by_chance())
    }

    /// Why it was missed, in words.
    pub fn reason(&self) -> &'static str {
        match self {
            p if p.cannot_fail() => "cannot fail at any size: a defect",
            p if p.is_defect() => "misses an error that it says it catches: a defect",
            p if p.by_chance() => "by chance (probability 0.001): caught at a larger size",
            p if !p.caught => "smaller than its power",
            _ => "caught",
        }
    }
}

/// Refuses a size that is no error.
///
/// # Errors
/// NaN, infinite, zero or negative.
pub(super) fn check_size(size: Option<f64>) -> Result<()> {
    match size {
        Some(s) if !(s > 0.0 && s.is_finite()) => Err(Error::parameter(
            "size",
            s,
            "a finite relative size above 0",
        )),
        _ => Ok(()),
    }
}

impl Plant {
    /// An error of this size in a claim; none for 0.
    pub(super) fn of(claim: &Claim, size: f64) -> Option<Plant> {
        (size != 0.0).then(|| Plant {
            id: claim.id.clone(),
            size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::check::{Check, Law, Near, Points, Sampled};

    fn claim(method: Method) -> Claim {
        Claim::new("case/entry", "kernel.mean", method, String::new(), "")
    }

    const NEAR: Near = Near {
        at: 0.5,
        found: 2.25,
        expected: 2.0,
        tolerance: 0.5,
        unit: 2.0,
    };

    fn tried(method: Method, points: Points, size: Option<f64>) -> Option<Planted> {
        let check = Check::all(vec![claim(method)], vec![points])
            .unwrap()
            .remove(0);
        let claim = claim(method);
        Planted::new(&claim, size, |s| {
            check.evidence(7, Plant::of(&claim, s).as_ref())
        })
        .unwrap()
    }

    /// Catches a judge of judges that says yes: a claim that always holds, one that no error could
    /// break, one whose planted error reaches nothing, are found as claims that cannot fail, at any
    /// size that is asked for; the honest one is not.
    #[test]
    fn a_claim_that_cannot_fail_is_found() {
        let c = claim(Method::Law);
        let check = Check::all(vec![c.clone()], vec![Points::Near(vec![NEAR])])
            .unwrap()
            .remove(0);
        for size in [None, Some(1e-9), Some(1e3)] {
            // a judge that says yes
            let deaf = Planted::new(&c, size, |_| check.evidence(1, None))
                .unwrap()
                .unwrap();
            // one that sees everything but at one time: no error is sure to break it
            let blind = tried(
                Method::Law,
                Points::Near(vec![NEAR, Near { unit: 0.0, ..NEAR }]),
                size,
            )
            .unwrap();
            // an error relative to nothing
            let dead = tried(
                Method::Law,
                Points::Near(vec![Near { unit: 0.0, ..NEAR }]),
                size,
            )
            .unwrap();
            for p in [deaf, blind, dead] {
                assert!(
                    p.cannot_fail() && p.is_defect() && !p.caught && !p.by_chance(),
                    "{p:?}"
                );
                let all = Plants::new(size, vec![p.clone()], vec![]).unwrap();
                assert!(!all.sound && all.cannot_fail == [p.id], "{size:?}");
            }
        }
        let p = tried(Method::Law, Points::Near(vec![NEAR]), None).unwrap();
        assert!(p.caught && !p.cannot_fail() && !p.is_defect() && p.caught_at == p.size);
        assert!(Plants::new(None, vec![p], vec![]).unwrap().sound);
    }

    /// Catches a size below the power that counts against the claim, one above that does not, and a
    /// judge of too little power that gets away as chance where there is none.
    #[test]
    fn misses_are_told_apart() {
        let small = tried(Method::Law, Points::Near(vec![NEAR]), Some(0.1)).unwrap();
        assert!(
            !small.caught && !small.is_defect() && !small.cannot_fail(),
            "{small:?}"
        );
        let c = claim(Method::Law);
        // off to the side away from which the error goes
        let low = Near {
            found: 1.75,
            ..NEAR
        };
        let check = Check::all(vec![c.clone()], vec![Points::Near(vec![low])])
            .unwrap()
            .remove(0);
        // a third of what is planted arrives
        let weak = Planted::new(&c, None, |s| {
            check.evidence(1, Plant::of(&c, s / 3.0).as_ref())
        })
        .unwrap()
        .unwrap();
        assert!(
            !weak.caught && weak.is_defect() && !weak.cannot_fail(),
            "{weak:?}"
        );
        // by sampling: found three standard errors to the side that hides the error, so missed at
        // the power and caught at twice that
        let s = Sampled {
            at: 0.0,
            found: 1.0,
            expected: 1.0,
            law: Law::Normal(0.001),
            unit: 1.0,
        };
        let method = Method::Sampled;
        assert!(
            tried(method, Points::Sampled(vec![s]), None)
                .unwrap()
                .caught
        );
        let unlucky = tried(
            method,
            Points::Sampled(vec![Sampled { found: 1.0035, ..s }]),
            None,
        )
        .unwrap();
        assert!(
            !unlucky.caught && unlucky.by_chance() && !unlucky.is_defect(),
            "{unlucky:?}"
        );
        let all = Plants::new(None, vec![unlucky], vec![]).unwrap();
        assert!(
            all.sound
                && all.by_chance == 1
                && all.matrix["kernel.mean"]["sampled"]
                    == Cell {
                        caught: 0,
                        planted: 1
                    }
        );
        // what is off before anything is planted is no evidence of a judge
        assert!(
            tried(
                Method::Law,
                Points::Near(vec![Near { found: 9.0, ..NEAR }]),
                None
            )
            .is_none()
        );
    }

    /// Catches a margin that is too small for a test that bends: with nothing but the law, an error
    /// at this size shifts a test by chi-squared by what its power says, from 16000 paths (0.1) to
    /// none at all; and one that is far larger than it has to be.
    #[test]
    fn the_margin_is_what_it_must_be() {
        for p in [1e-6, 1e-3, 0.01, 0.1, 0.5, 1.0] {
            let s = at_power(Method::Simulation, p);
            let shift = 3.0 * (1.0 - (1.0 + s).powf(-1.0 / 3.0));
            // rounding of the cube root near 1
            assert!((shift / p - 1.0).abs() < 1e-9, "{p}: {shift}");
            assert!(s >= p && s <= p * (1.0 + p) || p > 0.4, "{p}: {s}");
        }
        assert!(at_power(Method::Sampled, 50.0) > 50.0);
        assert_eq!(at_power(Method::Doubling, 2.0), 2.02);
    }

    /// Catches sizes that are no errors, and an empty set that passes.
    #[test]
    fn nonsense_is_refused() {
        for size in [f64::NAN, f64::INFINITY, 0.0, -0.0, -1e-3, f64::NEG_INFINITY] {
            assert!(
                check_size(Some(size))
                    .unwrap_err()
                    .to_string()
                    .contains("`size`"),
                "{size}"
            );
        }
        assert!(check_size(None).is_ok() && check_size(Some(1e-300)).is_ok());
        assert!(Plants::new(None, vec![], vec!["x".into()]).is_err());
    }
}
