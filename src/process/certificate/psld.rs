//! PSLD: the algebra of its covariance, in `z = kappa tau`, gamma and the share `a = Gamma/(Gamma +
//! nu)` of its noise that goes into x.
//!
//! Its numbers are scaled by rates and masses that are anything, so that roundings are bounded
//! relative to the values alone. With rates in units of kappa: `tau = z`, `Gamma = 4 a`,
//! `nu = 4 (1 - a)`, `w = z (1 - 2 a)`. a is at most 0.45 (the paper has 0.0025): beyond 1/2 the
//! coupling changes sign and S_xv cancels.

use super::super::moments::factors;
use super::super::psld::covariance;
use super::cover::{self, Search};
use super::*;

pub(super) const NAMES: [&str; 8] = ["S_xx", "S_xv", "S_vv", "det", "L_xx", "L_vx", "L_vv", "ell"];

pub(super) const MOST: f64 = 0.45;

/// The entries for boxes of a and gamma; none where they are too wide to say anything.
pub(super) fn entries(at: &AtZ, a: Iv, gamma: Iv) -> Option<[Cert; NAMES.len()]> {
    assert!(a.0 >= 0.0 && a.1 <= MOST && gamma.0 >= 0.0 && gamma.1 <= 2.0);
    with(|s| s.rewind(at.mark, gamma, a));
    at_scale(Mass::Any, || {
        let four = |x: Iv| Iv(4.0 * x.0, 4.0 * x.1);
        let gx = if a.0 > 0.0 {
            Cert::input(30, Mono { a: 2, ..UNIT }, Iv(4.0, 4.0))
        } else {
            Cert::input(30, UNIT, four(a))
        };
        let rest = ONE.sub(a);
        let nu = Cert::input(31, UNIT, four(rest));
        // sums of two doubles, of which the first is used
        let tau = Cert::input(32, Z, ONE).noisy(None, 1.001 * U).0;
        let w = Cert::input(33, Z, rest.sub(a)).noisy(None, 1.001 * U).0;
        let gamma = Cert::boxed(20, GAMMA, gamma);
        let [xx, xv, vv, det] = covariance(tau, at.z, w, gx, nu, at.e2, at.p3, at.g, gamma);
        let mass = unit(34, 1.001 * U);
        let (vv, det) = (vv * mass, det * mass);
        if ![xx, xv, vv, det].iter().all(|x| x.get().rel) {
            return None;
        }
        let [l, l_vx, l_vv, ell] = factors(xv, xx.sqrt(), det.sqrt());
        Some([xx, xv, vv, det, l, l_vx, l_vv, ell])
    })
}

/// The whole domain of z, gamma and a.
pub(super) fn prove(
    parts: &Parts,
    targets: [f64; NAMES.len()],
    depth: u32,
) -> Search<'_, { NAMES.len() }> {
    let boxes = zs();
    check_cover(&boxes, DOMAIN);
    let of = |at: &AtZ, a: Iv, gamma: Iv| {
        entries(at, a, gamma).map_or([f64::INFINITY; NAMES.len()], |e| e.map(|x| x.ulp(true)))
    };
    let domain = (Iv(0.0, MOST), Iv(0.0, 2.0));
    cover::prove(parts, of, &boxes, domain, 0.02, targets, depth)
}
