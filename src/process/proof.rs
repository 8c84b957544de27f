//! Proof that the closed forms satisfy the moment equations: not at some points, but identically.
//!
//! A mean matrix and a covariance are those of `du = F u b dt + G sqrt(b) dW`, started from
//! `N(u_0, Sigma_0)`, if and only if, in the clock tau,
//!
//! ```text
//! Phi' = F Phi,                              Phi(0) = I
//! Sigma' = F Sigma + Sigma F^T + G G^T,      Sigma(0) = Sigma_0
//! ```
//!
//! Every closed form here is a polynomial, with rational coefficients, in tau, in `E = e^-z` and in
//! the parameters (and inverses of some of them). `tau` and `e^-z` are algebraically independent,
//! so such an expression vanishes for all times and all parameters exactly if all its coefficients
//! do. The type [`Poly`] does that arithmetic without rounding, and because the algebra of the
//! processes is generic over [`Scalar`], what runs on it is **the code that also runs on f64**. `E`
//! enters by its derivative (`E' = -kappa E`), P3 and G by their definitions.
//!
//! What is not proved: the accuracy of the evaluation in f64 (tests/truth.rs,
//! tests/library/properties.rs), the branches for `z > 350`, and the assembly of the matrices in
//! `moments`; the last is compared with the polynomials at a few points
//! ([`the_code_is_wired_to_what_is_proved`]).
//!
//! Each proof was seen to fail; what was planted is said at each.

use super::{
    Cld, CldDamped, CldPosition, LinearSde, Psld, Reversed, SubVp, Vp, cld, cld_damped,
    cld_position, psld,
};
use crate::dd::Dd;
use crate::schedule::Span;
use crate::small::{Mat, Scalar};
use num_bigint::BigInt;
use num_rational::BigRational;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// The variables. `E` is the decaying exponential of the process at hand, `C` and `S` are cosh and
/// sinh/sqrt(delta) of [`damped`], `W` is sub-VP's `e^-B(0,s)`, and `r` the root of the mass.
const NAMES: [&str; 13] = [
    "tau", "E", "r", "gamma", "Gamma", "c", "a", "eps2", "sig2", "C", "S", "W", "y",
];
const TAU: usize = 0;
const E: usize = 1;
const R: usize = 2;
const GAMMA: usize = 3;
const GAMMA_X: usize = 4;
const C: usize = 5;
const A: usize = 6;
const EPS2: usize = 7;
const SIG2: usize = 8;
const COSH: usize = 9;
const SINH: usize = 10;
const W: usize = 11;
const Y: usize = 12;

type Powers = [i8; NAMES.len()];
type Terms = BTreeMap<Powers, BigRational>;

thread_local! {
    /// All polynomials of a test. [`Poly`] is an index into it, because [`Scalar`]s of the closed
    /// forms are `Copy`.
    static ARENA: RefCell<Vec<Terms>> = const { RefCell::new(Vec::new()) };
}

/// A Laurent polynomial with exact rational coefficients.
#[derive(Clone, Copy)]
struct Poly(usize);

impl Poly {
    /// Zero coefficients are never kept, so that the zero polynomial has no terms.
    fn keep(mut terms: Terms) -> Poly {
        let zero = BigRational::from_integer(BigInt::from(0));
        terms.retain(|_, c| *c != zero);
        ARENA.with_borrow_mut(|a| {
            a.push(terms);
            Poly(a.len() - 1)
        })
    }

    fn terms(self) -> Terms {
        ARENA.with_borrow(|a| a[self.0].clone())
    }

    /// One variable.
    fn var(v: usize) -> Poly {
        let mut powers = [0; NAMES.len()];
        powers[v] = 1;
        Poly::keep(Terms::from([(
            powers,
            BigRational::from_integer(BigInt::from(1)),
        )]))
    }

    fn zero() -> Poly {
        Poly::keep(Terms::new())
    }

    fn squared(self) -> Poly {
        self * self
    }

    /// Each term mapped to a polynomial of its own, and the sum.
    fn map(self, f: impl Fn(&Powers, &BigRational) -> Poly) -> Poly {
        self.terms()
            .iter()
            .fold(Poly::zero(), |sum, (p, c)| sum + f(p, c))
    }

    /// The derivative in tau, given those of the variables that depend on it.
    fn rate(self, rates: &[(usize, Poly)]) -> Poly {
        self.map(|powers, c| {
            rates.iter().fold(Poly::zero(), |sum, &(v, rate)| {
                let n = powers[v];
                if n == 0 {
                    return sum;
                }
                let mut p = *powers;
                p[v] -= 1;
                sum + Poly::keep(Terms::from([(
                    p,
                    c * BigRational::from_integer(BigInt::from(n)),
                )])) * rate
            })
        })
    }

    /// At tau = 0: tau = S = 0 and E = C = 1.
    fn at_zero(self) -> Poly {
        self.map(|powers, c| {
            let mut p = *powers;
            assert!(p[TAU] >= 0 && p[SINH] >= 0, "singular at tau = 0");
            if p[TAU] > 0 || p[SINH] > 0 {
                return Poly::zero();
            }
            (p[E], p[COSH]) = (0, 0);
            Poly::keep(Terms::from([(p, c.clone())]))
        })
    }

    /// For tau to infinity: E, and tau^n E with it, tends to 0. What is left must not depend on
    /// tau.
    fn at_infinity(self) -> Poly {
        self.map(|powers, c| {
            assert!(
                powers[E] > 0 || (powers[E] == 0 && powers[TAU] == 0),
                "no limit: {:?}",
                self
            );
            if powers[E] > 0 {
                Poly::zero()
            } else {
                Poly::keep(Terms::from([(*powers, c.clone())]))
            }
        })
    }

    /// Normal form under `C^2 = 1 + delta S^2`, delta = a^2 - 1/M.
    fn reduced(self) -> Poly {
        let replacement = Poly::of(1.0)
            + (Poly::var(A).squared() - Poly::of(1.0) / Poly::var(R).squared())
                * Poly::var(SINH).squared();
        let step = |p: Poly| {
            p.map(|powers, c| {
                let (mut p, high) = (*powers, powers[COSH] >= 2);
                p[COSH] -= if high { 2 } else { 0 };
                let term = Poly::keep(Terms::from([(p, c.clone())]));
                if high { term * replacement } else { term }
            })
        };
        let mut p = self;
        while p.terms().keys().any(|powers| powers[COSH] >= 2) {
            p = step(p);
        }
        p
    }

    /// The value at given values of the variables, in f64.
    fn at(self, values: &[f64; NAMES.len()]) -> f64 {
        let number = |n: &BigInt| n.to_string().parse::<f64>().expect("digits");
        let term = |(powers, c): (&Powers, &BigRational)| {
            powers
                .iter()
                .zip(values)
                .fold(number(c.numer()) / number(c.denom()), |x, (&n, v)| {
                    x * v.powi(n.into())
                })
        };
        self.terms().iter().map(term).sum()
    }
}

impl fmt::Debug for Poly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (powers, c) in self.terms() {
            write!(f, " + {c}")?;
            for (n, name) in powers.iter().zip(NAMES).filter(|(n, _)| **n != 0) {
                write!(f, " {name}^{n}")?;
            }
        }
        Ok(())
    }
}

impl Add for Poly {
    type Output = Poly;
    fn add(self, o: Poly) -> Poly {
        let mut sum = self.terms();
        for (p, c) in o.terms() {
            *sum.entry(p)
                .or_insert_with(|| BigRational::from_integer(BigInt::from(0))) += c;
        }
        Poly::keep(sum)
    }
}

impl Neg for Poly {
    type Output = Poly;
    fn neg(self) -> Poly {
        Poly::keep(self.terms().into_iter().map(|(p, c)| (p, -c)).collect())
    }
}

impl Sub for Poly {
    type Output = Poly;
    fn sub(self, o: Poly) -> Poly {
        self + (-o)
    }
}

impl Mul for Poly {
    type Output = Poly;
    fn mul(self, o: Poly) -> Poly {
        let mut product = Terms::new();
        for (p, a) in &self.terms() {
            for (q, b) in &o.terms() {
                let powers = std::array::from_fn(|i| p[i] + q[i]);
                *product
                    .entry(powers)
                    .or_insert_with(|| BigRational::from_integer(BigInt::from(0))) += a * b;
            }
        }
        Poly::keep(product)
    }
}

impl Div for Poly {
    type Output = Poly;
    /// By a monomial; nothing else has an inverse here.
    fn div(self, o: Poly) -> Poly {
        let divisor = o.terms();
        assert_eq!(
            divisor.len(),
            1,
            "division by something else than a monomial: {o:?}"
        );
        let (powers, c) = divisor.iter().next().expect("one term");
        self * Poly::keep(Terms::from([(powers.map(|n| -n), c.recip())]))
    }
}

impl Scalar for Poly {
    /// Exactly the double `x`.
    fn of(x: f64) -> Poly {
        Poly::keep(Terms::from([(
            [0; NAMES.len()],
            BigRational::from_float(x).expect("finite"),
        )]))
    }
}

/// A matrix as it is printed.
fn mat(rows: [[Poly; 2]; 2]) -> Mat<2, Poly> {
    Mat(rows)
}

fn diagonal(d: [Poly; 2]) -> Mat<2, Poly> {
    mat([[d[0], Poly::zero()], [Poly::zero(), d[1]]])
}

fn det(m: &Mat<2, Poly>) -> Poly {
    m[(0, 0)] * m[(1, 1)] - m[(0, 1)] * m[(1, 0)]
}

/// Asserts that `a = b` identically; the message shows what is left of the difference.
fn same(what: &str, a: Poly, b: Poly) {
    let rest = (a - b).reduced();
    assert!(rest.terms().is_empty(), "{what}: left over is{rest:?}");
}

fn same_matrix(what: &str, a: &Mat<2, Poly>, b: &Mat<2, Poly>) {
    for i in 0..2 {
        for j in 0..2 {
            same(&format!("{what}, entry ({i},{j})"), a[(i, j)], b[(i, j)]);
        }
    }
}

fn map(m: &Mat<2, Poly>, f: impl Fn(Poly) -> Poly) -> Mat<2, Poly> {
    Mat::build(|i, j| f(m[(i, j)]))
}

/// P3 and G by definition, at `y` with `e^-y` given.
fn p3_and_g(y: Poly, ey: Poly) -> (Poly, Poly) {
    let p3 = Poly::of(1.0) - ey * (Poly::of(1.0) + y + y * y / Poly::of(2.0));
    (p3, Poly::of(2.0) * p3 - ey * (y * y * y) / Poly::of(4.0))
}

/// A process with its closed form. The initial covariance is `diag(0, gamma M)` with symbolic
/// gamma, so that DSM is its case gamma = 0.
struct Closed {
    drift: Mat<2, Poly>,
    noise: Mat<2, Poly>,
    stationary: Mat<2, Poly>,
    initial: Mat<2, Poly>,
    mean: Mat<2, Poly>,
    cov: Mat<2, Poly>,
    det: Poly,
    /// Derivatives in tau of the variables that depend on it.
    rates: Vec<(usize, Poly)>,
}

impl Closed {
    /// Claims (i) to (iv): mean, covariance, determinant, stationary law.
    fn prove(&self) {
        let s = &self.stationary;
        let rate = |m: &Mat<2, Poly>| map(m, |p| p.rate(&self.rates));
        let lyapunov = |m: &Mat<2, Poly>| {
            let fm = self.drift.matmul(m);
            fm.plus(&fm.transpose()).plus(&self.noise)
        };
        same_matrix(
            "Phi' = F Phi",
            &rate(&self.mean),
            &self.drift.matmul(&self.mean),
        );
        same_matrix(
            "Phi(0) = I",
            &map(&self.mean, Poly::at_zero),
            &diagonal([Poly::of(1.0); 2]),
        );
        same_matrix(
            "Sigma' = F Sigma + Sigma F^T + G G^T",
            &rate(&self.cov),
            &lyapunov(&self.cov),
        );
        same_matrix(
            "Sigma(0) = diag(0, gamma M)",
            &map(&self.cov, Poly::at_zero),
            &self.initial,
        );
        same("det", self.det, det(&self.cov));
        same_matrix(
            "F S + S F^T + G G^T = 0",
            &lyapunov(s),
            &diagonal([Poly::zero(); 2]),
        );
        if !self.rates.iter().any(|r| r.0 == COSH) {
            same_matrix(
                "Phi -> 0",
                &map(&self.mean, Poly::at_infinity),
                &diagonal([Poly::zero(); 2]),
            );
            same_matrix("Sigma -> S", &map(&self.cov, Poly::at_infinity), s);
        }
    }

    /// Claim (v): flipping the sign of v turns the forward transition into that of
    /// `F' = S F^T S^-1`, the drift of the reversed process `-F - G G^T S^-1`, with the same noise,
    /// stationary law and determinant.
    fn reversed(&self) -> Closed {
        let s = &self.stationary;
        same("S is diagonal", s[(0, 1)], Poly::zero());
        let inverse = diagonal([Poly::of(1.0) / s[(0, 0)], Poly::of(1.0) / s[(1, 1)]]);
        let drift = s.matmul(&self.drift.transpose()).matmul(&inverse);
        let minus = self
            .drift
            .plus(&self.noise.matmul(&inverse))
            .times(Poly::of(-1.0));
        same_matrix("S F^T S^-1 = -F - G G^T S^-1", &drift, &minus);
        let flip =
            |m: &Mat<2, Poly>| Mat::build(|i, j| if i == j { m[(i, j)] } else { -m[(i, j)] });
        Closed {
            drift,
            noise: self.noise,
            stationary: self.stationary,
            initial: self.initial,
            mean: flip(&self.mean),
            cov: flip(&self.cov),
            det: self.det,
            rates: self.rates.clone(),
        }
    }
}

/// CLD, from [`cld::mean`] and [`cld::covariance`]: `M = r^2`, `Gamma = 2r`, `z = tau / r`.
fn critical() -> Closed {
    let [tau, e, r, gamma] = [TAU, E, R, GAMMA].map(Poly::var);
    let (one, two) = (Poly::of(1.0), Poly::of(2.0));
    let mass = r * r;
    let z = tau / r;
    let (p3, g) = p3_and_g(two * z, e * e);
    let [xx, xv, vv, det] = cld::covariance(z, one - z, e * e, p3, g, gamma);
    let [mxx, mxv, mvx, mvv] = cld::mean(z, one - z, tau, e, one / r);
    Closed {
        drift: mat([[Poly::zero(), one / mass], [-one, -two / r]]),
        noise: diagonal([Poly::zero(), Poly::of(4.0) * r]),
        stationary: diagonal([one, mass]),
        initial: diagonal([Poly::zero(), gamma * mass]),
        mean: mat([[mxx, mxv], [mvx, mvv]]),
        cov: mat([[xx, r * xv], [r * xv, mass * vv]]),
        det: mass * det,
        rates: vec![(TAU, one), (E, -e / r)],
    }
}

/// PSLD, from [`psld::covariance`]: `nu = Gamma + 2c`, `M = 1/c^2`, `kappa = (Gamma + nu)/4`.
fn phase_space() -> Closed {
    let [tau, e, gamma, gx, c] = [TAU, E, GAMMA, GAMMA_X, C].map(Poly::var);
    let (one, two) = (Poly::of(1.0), Poly::of(2.0));
    let nu = gx + two * c;
    let mass = one / (c * c);
    let kappa = (gx + nu) / Poly::of(4.0);
    let (z, w) = (kappa * tau, c * tau / two);
    let (p3, g) = p3_and_g(two * z, e * e);
    let [xx, xv, vv, det] = psld::covariance(tau, z, w, gx, nu, e * e, p3, g, gamma);
    Closed {
        drift: mat([[-gx / two, one / (two * mass)], [-one / two, -nu / two]]),
        noise: diagonal([gx, mass * nu]),
        stationary: diagonal([one, mass]),
        initial: diagonal([Poly::zero(), gamma * mass]),
        mean: mat([[e * (one + w), e * c * w], [-e * tau / two, e * (one - w)]]),
        cov: mat([[xx, xv], [xv, mass * vv]]),
        det: mass * det,
        rates: vec![(TAU, one), (E, -kappa * e)],
    }
}

/// CLD with position noise, from [`cld_position::covariance`]; what an initial velocity adds is
/// `gamma phi phi^T`, and to the determinant `gamma phi^T adj(Q) phi`, phi the second column of
/// Phi.
fn position_noise() -> Closed {
    let [tau, e, gamma, a, eps2, sig2] = [TAU, E, GAMMA, A, EPS2, SIG2].map(Poly::var);
    let (one, two, four) = (Poly::of(1.0), Poly::of(2.0), Poly::of(4.0));
    let z = a * tau;
    let (p3, _) = p3_and_g(two * z, e * e);
    let [qxx, qxv, qvv] = cld_position::unscaled(
        cld_position::covariance(z, eps2, a * a * sig2, e * e, p3),
        a,
    );
    let [mxx, f, mvx, g] = cld_position::mean(z, one - z, a, tau, e);
    let q = mat([[qxx, qxv], [qxv, qvv]]);
    let added = cld_position::added([qxx, qxv, qvv], f, g);
    let [xx, xv, vv, whole] = cld_position::started([qxx, qxv, qvv], det(&q), added, f, g, gamma);
    let total = eps2 + a * a * sig2;
    Closed {
        drift: mat([[Poly::zero(), a * a], [-one, -two * a]]),
        noise: diagonal([eps2, sig2]),
        stationary: mat([
            [(four * eps2 + total) / (four * a), -eps2 / (two * a * a)],
            [-eps2 / (two * a * a), total / (four * a * a * a)],
        ]),
        initial: diagonal([Poly::zero(), gamma]),
        mean: mat([[mxx, f], [mvx, g]]),
        cov: mat([[xx, xv], [xv, vv]]),
        det: whole,
        rates: vec![(TAU, one), (E, -a * e)],
    }
}

/// CLD at any damping, in the form printed at [`CldDamped`] (whose code takes three routes to X):
/// `Gamma = 2 a M`.
fn damped() -> Closed {
    let [e, r, gamma, a, cosh, sinh] = [E, R, GAMMA, A, COSH, SINH].map(Poly::var);
    let (one, two, four) = (Poly::of(1.0), Poly::of(2.0), Poly::of(4.0));
    let mass = r * r;
    let (c, s) = (e * cosh, e * sinh);
    let x = one - e * e - two * a * s * (c + a * s);
    let [mxx, mxv, mvx, mvv, xx, xv, vv, det] =
        cld_damped::entries(a, [c, s, c - a * s], x, mass, gamma);
    Closed {
        drift: mat([[Poly::zero(), one / mass], [-one, -two * a]]),
        noise: diagonal([Poly::zero(), four * a * mass]),
        stationary: diagonal([one, mass]),
        initial: diagonal([Poly::zero(), gamma * mass]),
        mean: mat([[mxx, mxv], [mvx, mvv]]),
        cov: mat([[xx, xv], [xv, vv]]),
        det,
        rates: vec![
            (E, -a * e),
            (COSH, (a * a - one / mass) * sinh),
            (SINH, cosh),
        ],
    }
}

/// Proves, for every mass, gamma and time, that CLD's mean, covariance and determinant are exact,
/// that they start and end where they should, and that the stationary law is one.
/// Seen to fail with these planted in `cld.rs`: the sign of Phi_xv; `2 a` for `4 a` in S_vv;
/// `gamma e2 w2` left out of S_vv; 2 for `2 - gamma` in S_xv; 2 for the factor 4 of `z^4` in det;
/// `a G` for `2 a G` in det.
#[test]
fn cld_is_exact() {
    critical().prove();
}

/// Proves the same of PSLD, for all Gamma and nu at once, its determinant of positive terms
/// included. Seen to fail with these planted in `psld.rs`: `gx` for `nu` in `ax`; 0.25 for 0.125 in
/// det; `gamma` left out of S_xv; `w2` for `u2` in S_vv; and here, since the mean is not generic in
/// the code: Phi_xv without its c.
#[test]
fn psld_is_exact() {
    phase_space().prove();
}

/// Proves the same of position noise, for all a, epsilon, sigma and initial variances.
/// Seen to fail with these planted in `cld_position.rs`: `+ x2` for `- x2` in Q_xv; `x2` dropped
/// from `total`; 2 for the factor 4 in Q_xx; and here: `qxv f g` for `2 qxv f g` in det.
#[test]
fn cld_position_is_exact() {
    position_noise().prove();
}

/// Proves the printed form of any damping, under, at and above the critical one (delta is
/// symbolic), but not the routes by which the code evaluates X. (The limit for large times is not a
/// polynomial question here.) Seen to fail with these planted: `2 a C S` for `4 a C S`; the sign of
/// `a S` in w; `2 a S` for `a S` in X.
#[test]
fn any_damping_is_exact() {
    damped().prove();
}

/// Proves that the SSCS part is the forward transition with the sign of v flipped, covariance and
/// determinant included, for CLD, PSLD and any damping; that is what `Reversed` does where a
/// process has a parity. Seen to fail with the diagonal flipped instead of the rest, with only the
/// mean flipped, and with Cld's parity `[1, 1]`.
#[test]
fn flipping_the_velocity_reverses() {
    for forward in [critical(), phase_space(), damped()] {
        forward.reversed().prove();
    }
    for parity in [
        Cld::new(0.25).expect("valid").parity(),
        Psld::new(0.1, 4.0).expect("valid").parity(),
        CldDamped::new(0.3, 2.0).expect("valid").parity(),
    ] {
        assert_eq!(parity, Some([1.0, -1.0]));
    }
    assert_eq!(
        CldPosition::new(1.0, 0.5, 2.0).expect("valid").parity(),
        None
    ); // x and v are correlated in its S
}

/// Proves VP and sub-VP, the latter over any interval, with `E = e^(-tau/2)` and `W = e^-B(0,s)`:
/// its noise at `B(0,s) + tau` is `1 - W^2 E^4`.
/// Seen to fail with `W` for `W^2` in the covariance.
#[test]
fn vp_and_sub_vp_are_exact() {
    let (one, two) = (Poly::of(1.0), Poly::of(2.0));
    let (e, w) = (Poly::var(E), Poly::var(W));
    let rates = [(TAU, one), (E, -e / two)];
    let e2 = e * e;
    let vp = one - e2;
    let sub_vp = (one - e2) * (one - w * w * e2);
    same("mean' = -mean/2", e.rate(&rates), -e / two);
    same("VP", vp.rate(&rates), one - vp);
    same("VP at 0", vp.at_zero(), Poly::zero());
    same(
        "sub-VP",
        sub_vp.rate(&rates),
        (one - w * w * e2 * e2) - sub_vp,
    );
    same("sub-VP at 0", sub_vp.at_zero(), Poly::zero());
    same(
        "sub-VP from 0 is VP squared",
        sub_vp.map(without_w),
        vp * vp,
    );
}

/// A term at W = 1.
fn without_w(powers: &Powers, c: &BigRational) -> Poly {
    let mut p = *powers;
    p[W] = 0;
    Poly::keep(Terms::from([(p, c.clone())]))
}

/// Proves that the forms used for small y, which only add, are those used for large y, and that the
/// incomplete gammas are what the series says: `P(n, y)' = e^-y y^(n-1) / (n-1)!`, `P(n, 0) = 0`.
/// (The coefficients of S4 in f64 and the switch at y = 2.5 are `special`'s own tests.)
/// Seen to fail with `y^3/6` for `y^3/12` in G, and with `y^2` for `y^2/2` in the definition of P3.
#[test]
fn small_and_large_forms_of_p3_and_g_agree() {
    let (one, two) = (Poly::of(1.0), Poly::of(2.0));
    let (y, ey) = (Poly::var(Y), Poly::var(E));
    let y3 = y * y * y;
    let (p3, g) = p3_and_g(y, ey);
    let p4 = p3 - ey * y3 / Poly::of(6.0);
    same("P3 = P4 + e^-y y^3/6", p3, p4 + ey * y3 / Poly::of(6.0));
    same(
        "G = 2 P4 + e^-y y^3/12",
        g,
        two * p4 + ey * y3 / Poly::of(12.0),
    );
    let rates = [(Y, one), (E, -ey)];
    same("P3'", p3.rate(&rates), ey * y * y / two);
    same("P4'", p4.rate(&rates), ey * y3 / Poly::of(6.0));
    let at_zero = |p: Poly| {
        p.map(|n, c| {
            if n[Y] > 0 {
                Poly::zero()
            } else {
                Poly::of(1.0) * constant(c)
            }
        })
    };
    same("P3(0)", at_zero(p3), Poly::zero());
    same("P4(0)", at_zero(p4), Poly::zero());
}

/// A number as a polynomial (at y = 0, where e^-y = 1).
fn constant(c: &BigRational) -> Poly {
    Poly::keep(Terms::from([([0; NAMES.len()], c.clone())]))
}

/// Compares `process` with the polynomials at a point; `values` lists the variables that are not 1.
fn compare<P: LinearSde<2>>(
    closed: &Closed,
    process: &P,
    values: &[(usize, f64)],
    tau: f64,
    gamma: f64,
) {
    let mut at = [1.0; NAMES.len()];
    for &(v, x) in [(TAU, tau), (GAMMA, gamma)].iter().chain(values) {
        at[v] = x;
    }
    let m = process.moments(
        Span {
            start: Dd::ZERO,
            tau: Dd::from(tau),
        },
        gamma,
    );
    let stationary = process.stationary().expect("has one");
    let initial = process.initial(gamma);
    for i in 0..2 {
        let start = if i == 0 {
            0.0
        } else {
            closed.initial[(i, i)].at(&at)
        };
        assert!(
            (initial[i].to_f64() - start).abs() <= 1e-15 * start,
            "{} initial",
            process.name()
        );
        for j in 0..2 {
            for (what, got, p, tolerance) in [
                ("drift", process.drift()[(i, j)], &closed.drift, 1e-15),
                ("noise", process.noise()[(i, j)], &closed.noise, 1e-15),
                ("stationary", stationary[(i, j)], &closed.stationary, 1e-15),
                // The polynomial cancels where the code does not: at these times, by a factor of
                // 100 at most.
                ("mean", m.mean[(i, j)], &closed.mean, 1e-13),
                ("cov", m.cov[(i, j)], &closed.cov, 1e-13),
            ] {
                let want = p[(i, j)].at(&at);
                assert!(
                    (got - want).abs() <= tolerance * want.abs(),
                    "{} {what} ({i},{j}): {got} is not {want}",
                    process.name()
                );
            }
        }
    }
    let want = closed.det.at(&at);
    assert!(
        (m.det - want).abs() <= 1e-13 * want,
        "{} det: {} is not {want}",
        process.name(),
        m.det
    );
}

/// What is proved is what runs: drift, noise, stationary law, initial law and the assembled moments
/// of each process against the polynomials, on both sides of every z that matters.
/// Seen to fail with these planted in the code, none of which the proofs above can see: `xv`
/// without its `sqrt_mass`; `mxv` and `mvx` swapped (`cld.rs`); `vv` without m; the sign of `tau`
/// in the mean (`psld.rs`); noise `self.friction` for `2 self.friction` (`cld_damped.rs`); `four_a`
/// for `four_a * a` in Q_xv (`cld_position.rs`).
#[test]
fn the_code_is_wired_to_what_is_proved() {
    for (tau, gamma) in [(0.7, 0.04), (2.0, 0.0), (3.0, 1.5), (9.0, 2.5)] {
        for r in [0.5, 1.0, 4.0] {
            let process = Cld::new(r * r).expect("valid");
            let values = [(R, r), (E, (-tau / r).exp())];
            compare(&critical(), &process, &values, tau, gamma);
            compare(
                &critical().reversed(),
                &Reversed::new(process).expect("has a stationary law"),
                &values,
                tau,
                gamma,
            );
        }
        for (gx, nu) in [(0.25, 4.25), (0.0, 2.0), (3.0, 1.0)] {
            let process = Psld::new(gx, nu).expect("valid");
            let values = [
                (GAMMA_X, gx),
                (C, 0.5 * (nu - gx)),
                (E, (-0.25 * (gx + nu) * tau).exp()),
            ];
            compare(&phase_space(), &process, &values, tau, gamma);
            compare(
                &phase_space().reversed(),
                &Reversed::new(process).expect("has a stationary law"),
                &values,
                tau,
                gamma,
            );
        }
        for (a, epsilon, sigma) in [(0.5, 0.25, 2.0), (2.0, 0.0, 1.0), (1.0, 1.5, 0.25)] {
            let process = CldPosition::new(a, epsilon, sigma).expect("valid");
            let values = [
                (A, a),
                (EPS2, epsilon * epsilon),
                (SIG2, sigma * sigma),
                (E, (-a * tau).exp()),
            ];
            compare(&position_noise(), &process, &values, tau, gamma);
        }
        for (r, a) in [(0.5, 1.0f64), (0.5, 3.0), (2.0, 0.5), (1.0, 1.5)] {
            let process = CldDamped::new(r * r, 2.0 * a * r * r).expect("valid");
            let delta = a * a - 1.0 / (r * r);
            let x = delta.abs().sqrt() * tau;
            let (cosh, sinh) = match delta {
                0.0 => (1.0, tau),
                d if d > 0.0 => (x.cosh(), x.sinh() / d.sqrt()),
                d => (x.cos(), x.sin() / (-d).sqrt()),
            };
            let values = [
                (R, r),
                (A, a),
                (E, (-a * tau).exp()),
                (COSH, cosh),
                (SINH, sinh),
            ];
            compare(&damped(), &process, &values, tau, gamma);
        }
        let (e, w) = ((-0.5 * tau).exp(), 0.3f64);
        let span = Span {
            start: Dd::from(-w.ln()),
            tau: Dd::from(tau),
        };
        let (vp, sub_vp) = (Vp.moments(span, 0.0), SubVp.moments(span, 0.0));
        for (got, want) in [
            (vp.mean[(0, 0)], e),
            (sub_vp.mean[(0, 0)], e),
            (vp.det, 1.0 - e * e),
            (sub_vp.det, (1.0 - e * e) * (1.0 - w * w * e * e)),
        ] {
            assert!(
                (got - want).abs() <= 4e-15 * want,
                "VP or sub-VP: {got} is not {want}"
            );
        }
    }
}
