//! Exact scores of mixtures: against tables of 36 digits, and against a dense route in 106 bits
//! that shares no formula.

use crate::support::on_every_set;
use cld_sgm::data::{Component, Mixture, entry};
use cld_sgm::internal::dd::Dd;
use cld_sgm::internal::worst::{Worst, largest, worse};
use cld_sgm::score::{MixtureScore, Score};
use cld_sgm::{Cld, CldPosition, Diffusion, Langevin, Psld, Schedule, SubVp, Ve, Vp};
use serde_json::Value as Json;

fn number(v: &Json) -> f64 {
    v.as_f64()
        .or_else(|| v.as_str()?.parse().ok())
        .expect("a number")
}

fn numbers(v: &Json) -> Vec<f64> {
    v.as_array().unwrap().iter().map(number).collect()
}

fn slices(u: &[Vec<f64>]) -> Vec<&[f64]> {
    u.iter().map(Vec::as_slice).collect()
}

fn slices_mut(u: &mut [Vec<f64>]) -> Vec<&mut [f64]> {
    u.iter_mut().map(Vec::as_mut_slice).collect()
}

/// Catches a wrong covariance, centre, weight or factor: log-density and both parts of the score of
/// 120 points to 1e-12 of the table's, from t = 1e-6 on. Relative to the number itself for the
/// log-density where it exceeds 1 in size (it crosses zero), and for a score's part to the vector's
/// length.
#[test]
fn mixture_is_that_of_the_table() {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/truth/mixture.json"
    ))
    .unwrap();
    let table: Json = serde_json::from_str(&text).unwrap();
    let components = table["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| Component {
            weight: number(&c["weight"]),
            mean: numbers(&c["mean"]),
            lower: c["chol_lower"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(numbers)
                .collect(),
        });
    let mixture = Mixture::new(components.collect()).unwrap();
    let s = Schedule::linear(
        number(&table["schedule"]["b0"]),
        number(&table["schedule"]["b1"]),
    )
    .unwrap();
    let d = Diffusion::of(
        Cld::new(number(&table["params"]["mass"])).unwrap(),
        s,
        number(&table["params"]["gamma"]),
    )
    .unwrap();
    let score = MixtureScore::new(d, mixture);
    let (mut worst_log, mut worst) = (Worst::NONE, Worst::NONE);
    let points = table["points"].as_array().unwrap();
    assert_eq!(points.len(), 120);
    for p in points {
        let (t, u) = (number(&p["t"]), [numbers(&p["x"]), numbers(&p["v"])]);
        let (mut log, mut g, mut s) = ([0.0], vec![vec![0.0; 2]; 2], vec![vec![0.0; 2]]);
        score.log_density(t, &slices(&u), &mut log).unwrap();
        score
            .joint_score(t, &slices(&u), &mut slices_mut(&mut g))
            .unwrap();
        score
            .score(t, &slices(&u), &mut slices_mut(&mut s))
            .unwrap();
        let want = number(&p["log_density"]);
        worst_log.see((log[0] - want).abs() / worse(want.abs(), 1.0));
        for (got, want) in [
            (&g[0], &p["score_x"]),
            (&g[1], &p["score_v"]),
            (&s[0], &p["score_v"]),
        ] {
            let want = numbers(want);
            let size = want[0].hypot(want[1]);
            let off = worse((got[0] - want[0]).abs(), (got[1] - want[1]).abs()) / size;
            worst.see(off);
        }
    }
    println!("log-density {worst_log:e}, score {worst:e}");
    assert!(
        worst_log.within(1e-12) && worst.within(1e-12),
        "log-density {worst_log:e}, score {worst:e}"
    );
}

/// The joint law of (channels, coordinates) in 106 bits: covariances built in full, from the
/// generic route by doubling, and factored as they are.
struct Dense {
    k: usize,
    d: usize,
    /// Log weight, mean, lower Cholesky factor.
    parts: Vec<(Dd, Vec<Dd>, Vec<Dd>)>,
}

impl Dense {
    fn new(diffusion: &Diffusion, mixture: &Mixture, t: f64) -> Dense {
        let law = diffusion.process().law(
            diffusion.schedule().span(0.0, t).unwrap(),
            diffusion.gamma(),
            0.0,
        );
        let (k, d) = (diffusion.channels(), mixture.dim());
        let n = k * d;
        let parts = mixture.components().iter().map(|c| {
            let sigma = |i: usize, j: usize| {
                (0..d).fold(Dd::ZERO, |s, m| {
                    s + Dd::prod(c.lower[i * d + m], c.lower[j * d + m])
                })
            };
            let mean = (0..n)
                .map(|r| law.mean[(r / d, 0)] * Dd::from(c.mean[r % d]))
                .collect();
            let mut l = vec![Dd::ZERO; n * n];
            for r in 0..n {
                for s in 0..=r {
                    let (a, b, i, j) = (r / d, s / d, r % d, s % d);
                    let mut x = law.mean[(a, 0)] * law.mean[(b, 0)] * sigma(i, j);
                    if i == j {
                        x = x + law.cov[(a, b)];
                    }
                    for m in 0..s {
                        x = x - l[r * n + m] * l[s * n + m];
                    }
                    l[r * n + s] = if r == s { x.sqrt() } else { x / l[s * n + s] };
                }
            }
            (Dd::from(c.weight).ln(), mean, l)
        });
        Dense {
            k,
            d,
            parts: parts.collect(),
        }
    }

    /// Log-density and gradient.
    fn at(&self, u: &[Dd]) -> (Dd, Vec<Dd>) {
        let n = self.k * self.d;
        let ln_tau = (Dd::from(std::f64::consts::TAU) + Dd::from(2.449_293_598_294_706_4e-16)).ln(); // 2 pi in two doubles
        let each: Vec<(Dd, Vec<Dd>)> = self
            .parts
            .iter()
            .map(|(log_weight, mean, l)| {
                let (mut w, mut log) = (
                    vec![Dd::ZERO; n],
                    *log_weight - (ln_tau * Dd::from(n as f64)).scale(0.5),
                );
                for r in 0..n {
                    let rest = (0..r).fold(u[r] - mean[r], |s, m| s - l[r * n + m] * w[m]);
                    w[r] = rest / l[r * n + r];
                    log = log - l[r * n + r].ln() - (w[r] * w[r]).scale(0.5);
                }
                let mut g = vec![Dd::ZERO; n];
                for r in (0..n).rev() {
                    let rest = (r + 1..n).fold(-w[r], |s, m| s - l[m * n + r] * g[m]);
                    g[r] = rest / l[r * n + r];
                }
                (log, g)
            })
            .collect();
        let most = each
            .iter()
            .fold(each[0].0, |m, e| if e.0 > m { e.0 } else { m });
        let shares: Vec<Dd> = each.iter().map(|e| (e.0 - most).exp()).collect();
        let total = shares.iter().fold(Dd::ZERO, |s, x| s + *x);
        let g = (0..n).map(|r| {
            each.iter()
                .zip(&shares)
                .fold(Dd::ZERO, |s, (e, p)| s + *p * e.1[r])
                / total
        });
        (most + total.ln(), g.collect())
    }
}

fn diffusions() -> Vec<(&'static str, Diffusion)> {
    let s = || Schedule::linear(0.1, 8.0).unwrap();
    vec![
        (
            "cld",
            Diffusion::of(Cld::new(0.25).unwrap(), s(), 0.04).unwrap(),
        ),
        (
            "cld, gamma 0",
            Diffusion::of(Cld::new(0.5).unwrap(), s(), 0.0).unwrap(),
        ),
        (
            "psld",
            Diffusion::of(Psld::new(0.3, 4.3).unwrap(), s(), 0.04).unwrap(),
        ),
        (
            "position noise",
            Diffusion::of(CldPosition::new(2.0, 0.5, 1.0).unwrap(), s(), 0.1).unwrap(),
        ),
        (
            "order 3",
            Diffusion::of(Langevin::<3>::critical().unwrap(), s(), 0.04).unwrap(),
        ),
        ("vp", Diffusion::of(Vp, s(), 0.0).unwrap()),
        (
            "ve",
            Diffusion::of(Ve, Schedule::geometric(0.01, 5.0).unwrap(), 0.0).unwrap(),
        ),
        ("sub-vp", Diffusion::of(SubVp, s(), 0.0).unwrap()),
    ]
}

/// Three dimensions, so that the general loops run too; the second covariance is far from diagonal.
fn three() -> Mixture {
    let a = Component {
        weight: 0.3,
        mean: vec![0.5, -1.0, 0.2],
        lower: vec![0.3, 0.0, 0.0, 0.1, 0.2, 0.0, -0.2, 0.1, 0.25],
    };
    let b = Component {
        weight: 0.7,
        mean: vec![-0.4, 0.3, 0.9],
        lower: vec![0.5, 0.0, 0.0, 0.45, 0.1, 0.0, 0.4, -0.1, 0.2],
    };
    Mixture::new(vec![a, b]).unwrap()
}

/// Points of a diffusion at t: a few samples' worth of spread in each channel, from a fixed
/// sequence.
fn points(diffusion: &Diffusion, mixture: &Mixture, t: f64, rows: usize) -> Vec<Vec<f64>> {
    let (k, d) = (diffusion.channels(), mixture.dim());
    let kernel = diffusion.kernel(t).unwrap();
    let x = mixture.sample(3, rows).unwrap();
    let wave = |n: usize, a: usize| 1.7 * (1.3 * n as f64 + 2.1 * a as f64).sin();
    (0..k)
        .map(|a| {
            let noise = |n: usize| {
                (0..=a)
                    .map(|b| kernel.chol_lower[(a, b)] * wave(n, b))
                    .sum::<f64>()
            };
            (0..rows * d)
                .map(|n| kernel.mean[(a, 0)] * x[n] + noise(n))
                .collect()
        })
        .collect()
}

/// Catches any formula that holds for CLD in the plane alone: every process, two and three
/// dimensions, early and late, against the dense law in 106 bits. Log-density relative to max(1,
/// itself), scores to the channel's length at the point, 1e-12. Second derivatives against
/// differences of the dense gradient in 106 bits, and the score along a direction against
/// differences of the dense log-density (four points, step 1e-6: error h^4 f^(5) / 30 and 1e-30 /
/// h): 1e-12 of the sums of the terms' sizes.
#[test]
fn every_process_agrees_with_the_dense_law() {
    let mut worst = [Worst::NONE; 5];
    for (name, diffusion) in diffusions() {
        for mixture in [three(), (entry("mixture").unwrap().build)().unwrap()] {
            for t in [0.02, 0.3, 1.0] {
                let score = MixtureScore::new(diffusion.clone(), mixture.clone());
                let (k, d, rows) = (diffusion.channels(), mixture.dim(), 5);
                let u = points(&diffusion, &mixture, t, rows);
                let field: Vec<Vec<f64>> = (0..k)
                    .map(|a| {
                        (0..rows * d)
                            .map(|n| (0.7 * n as f64 + a as f64).cos())
                            .collect()
                    })
                    .collect();
                let mut log = vec![0.0; rows];
                let zeros = |n: usize, len: usize| vec![vec![0.0; len]; n];
                let (mut g, mut product) = (zeros(k, rows * d), zeros(k, rows * d));
                let noised = diffusion.noised().to_vec();
                let (mut s, mut trace) = (zeros(noised.len(), rows * d), zeros(noised.len(), rows));
                score.log_density(t, &slices(&u), &mut log).unwrap();
                score
                    .joint_score(t, &slices(&u), &mut slices_mut(&mut g))
                    .unwrap();
                score
                    .score(t, &slices(&u), &mut slices_mut(&mut s))
                    .unwrap();
                score
                    .hessian_vector(
                        t,
                        &slices(&u),
                        &slices(&field),
                        &mut slices_mut(&mut product),
                    )
                    .unwrap();
                score
                    .divergence(t, &slices(&u), &mut slices_mut(&mut trace))
                    .unwrap();
                let dense = Dense::new(&diffusion, &mixture, t);
                for r in 0..rows {
                    let point: Vec<Dd> = (0..k * d)
                        .map(|n| Dd::from(u[n / d][r * d + n % d]))
                        .collect();
                    let (want_log, want) = dense.at(&point);
                    let place = format!("{name}, dim {d}, t = {t}, row {r}");
                    let off = (Dd::from(log[r]) - want_log).to_f64().abs()
                        / worse(want_log.hi.abs(), 1.0);
                    worst[0].see(off);
                    assert!(off < 1e-12, "{place}: log-density off by {off:e}");
                    // gradient and its shape
                    for a in 0..k {
                        let size = (0..d).map(|i| want[a * d + i].hi.abs()).fold(0.0, worse);
                        for i in 0..d {
                            let off =
                                (Dd::from(g[a][r * d + i]) - want[a * d + i]).to_f64().abs() / size;
                            worst[1].see(off);
                            assert!(
                                off < 1e-12,
                                "{place}: channel {a} off by {off:e} of {size:e}"
                            );
                            if let Some(n) = noised.iter().position(|c| *c == a) {
                                assert!(
                                    (s[n][r * d + i] - g[a][r * d + i]).abs() <= 1e-15 * size,
                                    "{place}: score is not the joint one"
                                );
                            }
                        }
                    }
                    // the dense gradient is that of the dense log-density, and the Hessian its
                    // difference quotient
                    let h = 1e-6;
                    let moved = |direction: &[f64], h: f64| -> Vec<Dd> {
                        point
                            .iter()
                            .zip(direction)
                            .map(|(p, w)| *p + Dd::prod(h, *w))
                            .collect()
                    };
                    let quotient = |direction: &[f64]| {
                        let [a, b, c, e] =
                            [h, -h, 2.0 * h, -2.0 * h].map(|h| dense.at(&moved(direction, h)));
                        let over = |a: Dd, b: Dd, c: Dd, e: Dd| {
                            (((a - b).scale(8.0) - (c - e)) / Dd::from(12.0 * h)).to_f64()
                        };
                        let product: Vec<f64> = (0..k * d)
                            .map(|n| over(a.1[n], b.1[n], c.1[n], e.1[n]))
                            .collect();
                        (over(a.0, b.0, c.0, e.0), product)
                    };
                    let direction: Vec<f64> =
                        (0..k * d).map(|n| field[n / d][r * d + n % d]).collect();
                    let (slope, want_product) = quotient(&direction);
                    let terms = || {
                        direction
                            .iter()
                            .enumerate()
                            .map(|(n, w)| w * g[n / d][r * d + n % d])
                    };
                    let (along, length) =
                        (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                    let off = (slope - along).abs() / length;
                    worst[4].see(off);
                    assert!(
                        off < 1e-12,
                        "{place}: the score is not the log-density's gradient, off by {off:e}"
                    );
                    let size = largest(&want_product);
                    for n in 0..k * d {
                        let off = (product[n / d][r * d + n % d] - want_product[n]).abs() / size;
                        worst[2].see(off);
                        assert!(off < 1e-12, "{place}: Hessian product {n} off by {off:e}");
                    }
                    for (n, &a) in noised.iter().enumerate() {
                        let mut want_trace = [0.0; 2];
                        for i in 0..d {
                            let unit: Vec<f64> =
                                (0..k * d).map(|m| f64::from(m == a * d + i)).collect();
                            let x = quotient(&unit).1[a * d + i];
                            want_trace[0] += x;
                            want_trace[1] += x.abs();
                        }
                        let off = (trace[n][r] - want_trace[0]).abs() / want_trace[1];
                        worst[3].see(off);
                        assert!(off < 1e-12, "{place}: trace of channel {a} off by {off:e}");
                    }
                }
            }
        }
    }
    println!("log-density, score, Hessian product, trace, slope: {worst:?}");
    assert!(
        worst.iter().all(|w| w.within(1e-12)),
        "something was not compared: {worst:?}"
    );
}

/// Catches lanes that depend on each other, a tail that is lost, and an instruction set with other
/// bits: batches of 1 to 200 rows give the bits of rows one at a time, on every set.
#[test]
fn rows_do_not_depend_on_their_batch() {
    let (mixture, diffusion) = (
        (entry("diamond").unwrap().build)().unwrap(),
        Diffusion::paper().unwrap(),
    );
    let score = MixtureScore::new(diffusion.clone(), mixture.clone());
    let all = points(&diffusion, &mixture, 0.3, 200);
    let run = |from: usize, rows: usize| {
        let u: Vec<Vec<f64>> = all
            .iter()
            .map(|c| c[from * 2..(from + rows) * 2].to_vec())
            .collect();
        let mut out = vec![vec![0.0; rows * 2]];
        score
            .score(0.3, &slices(&u), &mut slices_mut(&mut out))
            .unwrap();
        out.swap_remove(0)
    };
    let want = run(0, 200);
    let parts = [
        (0, 1),
        (3, 7),
        (60, 65),
        (72, 128),
        (0, 200),
        (199, 1),
        (5, 0),
    ];
    for (set, results) in on_every_set(|| parts.map(|(from, rows)| run(from, rows))) {
        for ((from, rows), got) in parts.into_iter().zip(results) {
            assert_eq!(
                got,
                want[from * 2..(from + rows) * 2],
                "{rows} rows from {from} on {}",
                set.name()
            );
        }
    }
}

/// Catches a wrong shape let in, and NaN turned into a number.
#[test]
fn shapes_are_checked_and_nan_passes_through() {
    let score = MixtureScore::new(
        Diffusion::paper().unwrap(),
        (entry("mixture").unwrap().build)().unwrap(),
    );
    let (x, odd) = (vec![0.1; 4], vec![0.1; 3]);
    let refused = |u: &[&[f64]], n: usize| {
        let mut out = vec![0.0; n];
        score
            .score(0.5, u, &mut [&mut out])
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&[&x], 4).contains("`u`"));
    assert!(refused(&[&x, &odd], 4).contains("`u`"));
    assert!(refused(&[&odd, &odd], 3).contains("dim = 2"));
    assert!(refused(&[&x, &x], 2).contains("`out`"));
    let mut log = [0.0; 3];
    assert!(
        score
            .log_density(0.5, &[&x, &x], &mut log)
            .unwrap_err()
            .to_string()
            .contains("one number per row")
    );
    let mut out = vec![0.0; 4];
    assert!(
        score
            .score(0.0, &[&x, &x], &mut [&mut out])
            .unwrap_err()
            .to_string()
            .contains("time `t`")
    );
    let mut bad = x.clone();
    bad[1] = f64::NAN;
    score.score(0.5, &[&bad, &x], &mut [&mut out]).unwrap();
    assert!(out[0].is_nan() && out[1].is_nan() && out[2].is_finite());
}
