//! The number type of the certificate: the value of real arithmetic in an interval, and the error
//! of f64 as a sum of noise terms.

use super::interval::{Iv, ONE, ZERO, exp, growing, up};
use crate::small::Scalar;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// Unit roundoff.
pub(super) const U: f64 = f64::EPSILON / 2.0;

/// Half the smallest subnormal is 2^-1075; as a power of two.
const UNDERFLOW: i32 = -1075;

/// `z^(z/2) e^(-e z/2) gamma^(g/2) a^(a/2)`, a for a process's own parameter: what is taken out of a value, so that products, quotients and
/// roots of wide boxes lose nothing, and sums see the ratio of their terms alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Mono {
    pub z: i16,
    pub e: i16,
    pub g: i16,
    pub a: i16,
}

pub(super) const UNIT: Mono = Mono {
    z: 0,
    e: 0,
    g: 0,
    a: 0,
};

impl Mono {
    pub fn times(self, o: Mono, sign: i16) -> Mono {
        Mono {
            z: self.z + sign * o.z,
            e: self.e + sign * o.e,
            g: self.g + sign * o.g,
            a: self.a + sign * o.a,
        }
    }

    fn root(self) -> Mono {
        assert!([self.z, self.e, self.g, self.a].iter().all(|n| n % 2 == 0));
        Mono {
            z: self.z / 2,
            e: self.e / 2,
            g: self.g / 2,
            a: self.a / 2,
        }
    }
}

/// An interval times a power of two.
type Wide = (Iv, i32);

/// The powers of a variable go from -MOST/2 to MOST/2 in steps of one half.
const MOST: i16 = 80;

struct Powers(Vec<Wide>);

impl Powers {
    /// The first power is as given.
    fn of(x: Iv) -> Powers {
        // root and variable near 1, times powers of two
        let exponent = (x.1.log2() * 0.5).floor() as i32;
        let s = 2f64.powi(-exponent);
        let x = Iv(x.0 * s * s, x.1 * s * s);
        let (root, back) = (x.sqrt(), x.recip());
        let mut all = vec![(ONE, 0); 2 * MOST as usize + 1];
        let middle = MOST as usize;
        for n in 1..=middle {
            let k = n as i32 * exponent;
            let (up, down) = if n == 1 {
                (root, root.recip())
            } else {
                (
                    all[middle + n - 2].0.mul(x),
                    all[middle + 2 - n].0.mul(back),
                )
            };
            all[middle + n] = (up, k);
            all[middle - n] = (down, -k);
        }
        Powers(all)
    }

    fn get(&self, n: i16) -> Wide {
        self.0[(n + MOST) as usize]
    }
}

/// What is stored of a number.
///
/// `rel`: computed = value (1 + sum of noise + rest). Otherwise, where the value is zero or small
/// beside its error: computed = monomial (value + sum of noise + rest).
#[derive(Clone, Debug)]
pub(super) struct Value {
    id: u32,
    pub m: Mono,
    pub iv: Iv,
    pub rel: bool,
    noise: Vec<(u32, Iv)>,
    rest: f64,
}

impl Value {
    /// The most that all noise can come to.
    pub fn size(&self) -> f64 {
        self.noise
            .iter()
            .fold(self.rest, |s, (_, c)| up(s + c.mag()))
    }

    /// The same in units of the monomial.
    pub fn error(&self) -> f64 {
        if self.rel {
            up(self.size() * self.iv.mag())
        } else {
            self.size()
        }
    }

    /// The ends of the value's interval, where they are numbers of f64.
    pub fn ends(&self) -> (f64, f64) {
        let (unit, k) = with(|s| s.size_of(self.m));
        let all = self.iv.mul(unit);
        let scale = |x: f64| x * 2f64.powi(k / 2) * 2f64.powi(k - k / 2);
        (scale(all.0), scale(all.1))
    }

    /// The relative error before the last rounding.
    pub fn size_before(&self) -> f64 {
        let mut v = self.clone();
        v.noise.pop();
        if v.rel {
            v.size()
        } else {
            up(v.size() / v.iv.mig())
        }
    }

    /// As an absolute error, in units of the monomial.
    pub fn absolute(&self) -> Value {
        let mut v = self.clone();
        if v.rel {
            v.rel = false;
            for t in &mut v.noise {
                t.1 = t.1.mul(v.iv);
            }
            v.rest = up(v.rest * v.iv.mag());
        }
        v
    }

    /// As a relative error where the value is not zero and its error is small.
    fn relative(mut self, plain: bool) -> Value {
        if !plain
            && !self.rel
            && self.iv.mig() > 0.0
            && self.iv.mag() <= NARROW * self.iv.mig()
            && self.size() <= SMALL * self.iv.mig()
        {
            let r = self.iv.recip();
            for t in &mut self.noise {
                t.1 = t.1.mul(r);
            }
            self.rest = up(self.rest * r.mag());
            self.rel = true;
        }
        self
    }

    /// Noise that is next to nothing beside the largest goes to the rest.
    fn prune(&mut self) {
        let most = self.noise.iter().fold(0.0f64, |m, (_, c)| m.max(c.mag()));
        let least = most * 2f64.powi(-12);
        let mut rest = self.rest;
        self.noise.retain(|(_, c)| {
            let keep = c.mag() >= least && *c != ZERO;
            if !keep {
                rest = up(rest + c.mag());
            }
            keep
        });
        self.rest = rest;
    }
}

/// The largest relative error in the relative form.
const SMALL: f64 = 1e-6;
/// And the widest value: dividing by it widens the coefficients.
const NARROW: f64 = 1.5;

/// `f` of the pairs of coefficients, over the union of the symbols.
fn merge(
    a: &[(u32, Iv)],
    b: &[(u32, Iv)],
    f: impl Fn(Option<Iv>, Option<Iv>) -> Iv,
) -> Vec<(u32, Iv)> {
    let mut out = Vec::with_capacity(a.len() + b.len() + 1);
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let na = a.get(i).map_or(u32::MAX, |t| t.0);
        let nb = b.get(j).map_or(u32::MAX, |t| t.0);
        let n = na.min(nb);
        let x = (na == n).then(|| {
            i += 1;
            a[i - 1].1
        });
        let y = (nb == n).then(|| {
            j += 1;
            b[j - 1].1
        });
        let c = f(x, y);
        if c != ZERO {
            out.push((n, c));
        }
    }
    out
}

/// Sum of `a`'s terms times `x` and `b`'s times `y`.
fn combine(a: &[(u32, Iv)], x: Iv, b: &[(u32, Iv)], y: Iv) -> Vec<(u32, Iv)> {
    merge(a, b, |c, d| match (c, d) {
        (Some(c), Some(d)) => c.mul(x).add(d.mul(y)),
        (Some(c), None) => c.mul(x),
        (None, d) => d.unwrap_or(ZERO).mul(y),
    })
}

/// The id of what is zero in real arithmetic.
const ZERO_ID: u32 = 0;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Node {
    Zero,
    Const(u64),
    Input(u32),
    Add(u32, u32),
    Sub(u32, u32),
    Mul(u32, u32),
    Div(u32, u32),
    Root(u32),
}

/// One computation on one box.
pub(super) struct State {
    values: Vec<Value>,
    nodes: Vec<Node>,
    /// The best enclosure of each node's value.
    known: Vec<(Mono, Iv)>,
    ids: HashMap<Node, u32>,
    symbols: u32,
    /// Whether rounding is bounded relative to the value alone: right at every scale, where a mass
    /// has been multiplied in.
    pub scaled: bool,
    /// Whether absolute errors stay absolute.
    pub plain: bool,
    z: Powers,
    e: Powers,
    g: Powers,
    a: Powers,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State::new(ONE));
}

pub(super) fn with<T>(f: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(f)
}

/// A place in the computation to which [`rewind`](State::rewind) goes back.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    values: usize,
    nodes: usize,
    symbols: u32,
}

impl State {
    /// A computation for z in a box.
    pub fn new(z: Iv) -> State {
        State {
            values: vec![],
            nodes: vec![Node::Zero],
            known: vec![(UNIT, ZERO)],
            ids: HashMap::new(),
            symbols: 0,
            scaled: false,
            plain: false,
            z: Powers::of(z),
            e: Powers::of(growing(exp, z).recip()),
            g: Powers::of(ONE),
            a: Powers::of(ONE),
        }
    }

    /// The monomial's enclosure.
    fn size_of(&self, m: Mono) -> Wide {
        let mut all = (ONE, 0);
        for (p, n) in [
            (&self.z, m.z),
            (&self.e, m.e),
            (&self.g, m.g),
            (&self.a, m.a),
        ] {
            if n != 0 {
                let (iv, k) = p.get(n);
                all = (all.0.mul(iv), all.1 + k);
            }
        }
        all
    }

    /// The same as an interval.
    fn ratio(&self, m: Mono) -> Iv {
        if m == UNIT {
            return ONE;
        }
        let (iv, k) = self.size_of(m);
        assert!(k < 900, "a ratio of {iv:?} 2^{k}: {m:?}");
        if k < -800 {
            // perhaps subnormal
            let s = 2f64.powi(k.max(-1060));
            let lo = if k < -1060 { 0.0 } else { iv.0 * s };
            return Iv(lo.next_down().max(0.0), up(iv.1 * s).next_up());
        }
        let s = 2f64.powi(k);
        Iv::checked(iv.0 * s, iv.1 * s)
    }

    /// The monomial as an interval, where that holds it.
    pub fn interval_of(&self, m: Mono) -> Option<Iv> {
        (self.size_of(m).1 < 800).then(|| self.ratio(m))
    }

    /// An upper bound of monomial `m` over `at` times `n`.
    pub fn ratio_of(&self, m: Mono, at: Mono, n: f64) -> f64 {
        up(self.ratio(m.times(at, -1)).1 / n)
    }

    /// log2 of the largest computed value, roughly.
    fn log2(&self, v: &Value) -> f64 {
        let (iv, k) = self.size_of(v.m);
        (iv.1 * (v.iv.mag() + v.error())).log2() + f64::from(k)
    }

    pub fn mark(&self) -> Mark {
        Mark {
            values: self.values.len(),
            nodes: self.nodes.len(),
            symbols: self.symbols,
        }
    }

    /// Forgets what came after the mark, and is for gamma and a in other boxes.
    pub fn rewind(&mut self, to: Mark, gamma: Iv, a: Iv) {
        self.values.truncate(to.values);
        for n in self.nodes.drain(to.nodes..) {
            self.ids.remove(&n);
        }
        self.known.truncate(to.nodes);
        self.symbols = to.symbols;
        self.scaled = false;
        let powers = |x: Iv| Powers::of(if x.0 > 0.0 { x } else { ONE });
        self.g = powers(gamma);
        self.a = powers(a);
    }

    fn node(&mut self, n: Node) -> u32 {
        if n == Node::Zero {
            return ZERO_ID;
        }
        let next = self.nodes.len() as u32;
        let id = *self.ids.entry(n).or_insert(next);
        if id == next {
            self.nodes.push(n);
        }
        id
    }

    fn add(&mut self, a: u32, b: u32) -> u32 {
        match (a, b) {
            (ZERO_ID, x) | (x, ZERO_ID) => x,
            _ => match (self.nodes[a as usize], self.nodes[b as usize]) {
                (Node::Sub(ZERO_ID, x), _) => self.sub(b, x),
                (_, Node::Sub(ZERO_ID, x)) => self.sub(a, x),
                (Node::Sub(x, y), _) if y == b => x,
                (_, Node::Sub(x, y)) if y == a => x,
                _ => self.node(Node::Add(a.min(b), a.max(b))),
            },
        }
    }

    /// a - a = 0, (a + b) - a = b, a - (-b) = a + b.
    fn sub(&mut self, a: u32, b: u32) -> u32 {
        if a == b {
            return ZERO_ID;
        }
        if b == ZERO_ID {
            return a;
        }
        match (self.nodes[a as usize], self.nodes[b as usize]) {
            (Node::Add(x, y), _) if x == b => y,
            (Node::Add(x, y), _) if y == b => x,
            (_, Node::Sub(ZERO_ID, x)) => self.add(a, x),
            _ => self.node(Node::Sub(a, b)),
        }
    }

    fn mul(&mut self, a: u32, b: u32) -> u32 {
        if a == ZERO_ID || b == ZERO_ID {
            ZERO_ID
        } else {
            self.node(Node::Mul(a.min(b), a.max(b)))
        }
    }

    /// The enclosure that is on record for a node, or this one, which is put there.
    fn record(&mut self, id: u32, m: Mono, iv: Iv) -> (Mono, Iv) {
        if id == ZERO_ID {
            return (m, ZERO);
        }
        if let Some(k) = self.known.get(id as usize) {
            return *k;
        }
        assert_eq!(self.known.len(), id as usize);
        self.known.push((m, iv));
        (m, iv)
    }

    fn push(&mut self, v: Value) -> Cert {
        assert!(v.rest.is_finite());
        if v.id as usize == self.known.len() {
            self.known.push((v.m, v.iv));
        }
        self.values.push(v);
        Cert(self.values.len() - 1)
    }

    /// The number rounded once; `most` is a bound of the rounding's error, in units of the monomial,
    /// that is known from elsewhere.
    fn rounded(&mut self, mut v: Value, most_off: f64) -> Cert {
        v.prune();
        // at a scale of its own a result is zero, exactly, or a normal number
        if v.rel && v.iv.mig() == 0.0 && !self.scaled {
            v = v.absolute();
        }
        let size = v.size();
        let c = if v.rel { U * (1.0 + size) } else { U };
        // relative to the value, or in units of the monomial
        let mut c = up(up(if v.rel { c } else { c * (v.iv.mag() + size) }));
        c = c.min(if v.rel && v.iv.mig() == 0.0 {
            c
        } else if v.rel {
            up(most_off / v.iv.mig())
        } else {
            most_off
        });
        if !self.scaled {
            let (unit, k) = self.size_of(v.m);
            let (most, least) = if v.rel {
                (upmul(v.iv.mag(), up(1.0 + size)), v.iv.mig())
            } else {
                (up(v.iv.mag() + size), 1.0)
            };
            // half the last place of the largest number that can be rounded here; 2^k falls out
            let half = half_ulp(if size == 0.0 {
                upmul(v.iv.mag(), unit.1)
            } else {
                upmul(most, unit.1)
            });
            let least = if unit == ONE {
                least
            } else {
                (least * unit.0).next_down()
            };
            c = c.min(up(half / least));
            if !v.rel || least.log2() + f64::from(k) < -1000.0 {
                let e = UNDERFLOW - k;
                assert!(e < 1000, "far below the smallest number");
                c = up(c + up(2f64.powi(e.max(-1020)) / least));
            }
        }
        assert!(c.is_finite(), "an overflow");
        if v.rel && c > SMALL {
            // far below the smallest number
            c = up(c * v.iv.mag());
            v = v.absolute();
        }
        self.symbols += 1;
        v.noise.push((self.symbols, Iv::point(c)));
        self.push(v)
    }

    /// The product before rounding.
    fn product(&mut self, ia: usize, ib: usize) -> Value {
        let id = self.mul(self.values[ia].id, self.values[ib].id);
        let (a, b) = (&self.values[ia], &self.values[ib]);
        let m = a.m.times(b.m, 1);
        let mut iv = if a.id == b.id && a.m == b.m {
            a.iv.square()
        } else {
            a.iv.mul(b.iv)
        };
        let v = if a.rel && b.rel {
            let (sa, sb) = (a.size(), b.size());
            Value {
                id,
                m,
                iv,
                rel: true,
                noise: combine(&a.noise, ONE, &b.noise, ONE),
                rest: up(up(a.rest + b.rest) + up(sa * sb)),
            }
        } else {
            let (a, b) = (a.absolute(), b.absolute());
            if id == ZERO_ID {
                iv = ZERO;
            }
            let rest = up(up(a.iv.mag() * b.rest) + up(b.iv.mag() * a.rest));
            Value {
                id,
                m,
                iv,
                rel: false,
                noise: combine(&a.noise, b.iv, &b.noise, a.iv),
                rest: up(rest + up(a.size() * b.size())),
            }
            .relative(self.plain)
        };
        let (m, iv) = self.record(v.id, v.m, v.iv);
        if m == v.m { Value { iv, ..v } } else { v }
    }

    /// The sum before rounding.
    fn sum(&mut self, a: &Value, b: &Value, negative: bool) -> Value {
        let id = if negative {
            self.sub(a.id, b.id)
        } else {
            self.add(a.id, b.id)
        };
        let on_record = self.known.get(id as usize).copied();
        let m = match on_record {
            Some((m, _)) if id != ZERO_ID => m,
            _ if a.m == b.m || self.log2(a) >= self.log2(b) => a.m,
            _ => b.m,
        };
        let (ra, rb) = (self.ratio(a.m.times(m, -1)), self.ratio(b.m.times(m, -1)));
        let rb = if negative { rb.neg() } else { rb };
        let (xa, xb) = (a.iv.mul(ra), b.iv.mul(rb));
        let iv = match on_record {
            Some((_, iv)) => iv,
            None => xa.add(xb),
        };
        let v = |rel, noise, rest| Value {
            id,
            m,
            iv,
            rel,
            noise,
            rest,
        };
        if a.rel && b.rel && iv.mig() > 0.0 {
            // a share w of one and 1 - w of the other, w = 1/(1 + xb/xa)
            let (p, q, xp, xq) = if xa.mig() >= xb.mig() {
                (a, b, xa, xb)
            } else {
                (b, a, xb, xa)
            };
            let whole = ONE.add(xq.mul(xp.recip()));
            // (a difference that may be much smaller than its terms is better left absolute)
            if xp.mig() > 0.0 && whole.0 > 0.0 && (whole.0 >= 1.0 || whole.1 <= 2.0 * whole.0) {
                let w = whole.recip();
                let ends = [w.0, w.1].map(|w| (Iv::point(w), ONE.sub(Iv::point(w))));
                let noise = merge(&p.noise, &q.noise, |c, d| {
                    let (c, d) = (c.unwrap_or(ZERO), d.unwrap_or(ZERO));
                    let [x, y] = ends.map(|(w, rest)| c.mul(w).add(d.mul(rest)));
                    Iv(x.0.min(y.0), x.1.max(y.1))
                });
                let rest = ends.iter().fold(0.0f64, |m, (w, r)| {
                    m.max(up(up(w.mag() * p.rest) + up(r.mag() * q.rest)))
                });
                return v(true, noise, rest);
            }
        }
        if !self.plain && iv.mig() > 0.0 && iv.mag() <= NARROW * iv.mig() {
            let r = iv.recip();
            let factor = |c: &Value, x: Iv, other: Iv, ratio: Iv| match (c.rel, other == ZERO) {
                (true, true) => ONE,
                (true, false) => x.mul(r),
                (false, _) => ratio.mul(r),
            };
            let (fa, fb) = (factor(a, xa, xb, ra), factor(b, xb, xa, rb));
            let rest = up(up(a.rest * fa.mag()) + up(b.rest * fb.mag()));
            let s = v(true, combine(&a.noise, fa, &b.noise, fb), rest);
            if s.size() <= SMALL {
                return s;
            }
        }
        let (a, b) = (a.absolute(), b.absolute());
        let rest = up(up(a.rest * ra.mag()) + up(b.rest * rb.mag()));
        let noise = combine(&a.noise, ra, &b.noise, rb);
        v(
            id != ZERO_ID && noise.is_empty() && rest == 0.0,
            noise,
            rest,
        )
    }

    /// The largest |computed value|, in units of `m`.
    fn largest(&self, v: &Value, m: Mono) -> f64 {
        up(up(v.iv.mag() + v.error()) * self.ratio(v.m.times(m, -1)).1)
    }

    /// A sum or difference of computed numbers. Its rounding moves it by no more than either of
    /// them, because the other one is a double.
    fn plus(&mut self, ia: usize, ib: usize, negative: bool) -> Cert {
        let values = std::mem::take(&mut self.values);
        let (a, b) = (&values[ia], &values[ib]);
        let v = self.sum(a, b, negative);
        let exact = v.id != ZERO_ID && if negative { self.near(a, b) } else { ia == ib };
        let least = self.largest(a, v.m).min(self.largest(b, v.m));
        self.values = values;
        if exact {
            return self.push(v);
        }
        self.rounded(v, least)
    }

    /// Whether computed a and b are always within a factor of two, so that a - b is exact
    /// (Sterbenz).
    fn near(&self, a: &Value, b: &Value) -> bool {
        let m = a.m.times(b.m, -1);
        if self.size_of(m).1.abs() > 300 {
            return false; // far apart
        }
        let r = self.ratio(m);
        let (x, y) = (a.iv.mul(r), b.iv);
        let (ex, ey) = (up(a.error() * r.mag()), b.error());
        x.0 > 0.0
            && y.0 > 0.0
            && (x.0 - ex).next_down() >= up(0.5 * up(y.1 + ey))
            && up(x.1 + ex) <= (2.0 * (y.0 - ey).next_down())
    }
}

fn upmul(a: f64, b: f64) -> f64 {
    if a == 1.0 || b == 1.0 {
        a * b
    } else {
        up(a * b)
    }
}

/// Half the last place of the doubles up to `x`.
fn half_ulp(x: f64) -> f64 {
    (x - x.next_down()) * 0.5
}

/// A computed number: an index into the state, because [`Scalar`]s of the closed forms are `Copy`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cert(usize);

impl Cert {
    pub fn get(self) -> Value {
        with(|s| s.values[self.0].clone())
    }

    /// An exact input: monomial times a number in `iv`.
    pub fn input(name: u32, m: Mono, iv: Iv) -> Cert {
        with(|s| {
            let id = s.node(Node::Input(name));
            s.push(Value {
                id,
                m,
                iv: Iv::checked(iv.0, iv.1),
                rel: true,
                noise: vec![],
                rest: 0.0,
            })
        })
    }

    /// The same number, its errors in absolute form.
    pub fn absolute(self) -> Cert {
        with(|s| {
            let v = s.values[self.0].absolute();
            s.push(v)
        })
    }

    /// The sum of two computed numbers as it is, and its relative error.
    pub fn unrounded(self, o: Cert) -> f64 {
        with(|s| {
            let (a, b) = (s.values[self.0].clone(), s.values[o.0].clone());
            let v = s.sum(&a, &b, false);
            up(v.error() / v.iv.mig())
        })
    }

    /// An exact input in a box, its first power as the monomial where that is not zero.
    pub fn boxed(name: u32, power: Mono, x: Iv) -> Cert {
        if x.0 > 0.0 {
            Cert::input(name, power, ONE)
        } else {
            Cert::input(name, UNIT, x)
        }
    }

    /// Zero in real arithmetic, with an absolute error in units of `m`.
    pub fn nothing(m: Mono) -> Cert {
        with(|s| {
            s.push(Value {
                id: ZERO_ID,
                m,
                iv: ZERO,
                rel: false,
                noise: vec![],
                rest: 0.0,
            })
        })
    }

    /// The same computed number, whose value in real arithmetic is known to be `m` times a number
    /// in `truth`.
    pub fn known(self, m: Mono, truth: Iv) -> Cert {
        with(|s| {
            let mut v = s.values[self.0].clone();
            assert!(
                v.rel && v.size() < 1e-9,
                "known relative to what may be zero"
            );
            let here = v.iv.mul(s.ratio(v.m.times(m, -1)));
            // the two have a point in common, or one of them is wrong
            Iv::out(here.0 * (1.0 - 1e-9), here.1 * (1.0 + 1e-9)).meet(truth);
            v.m = m;
            v.iv = truth;
            s.known[v.id as usize] = (m, truth);
            s.push(v)
        })
    }

    /// The same computed number, whose value in real arithmetic, zero perhaps or not, is known to be
    /// `m` times a number in `truth`.
    pub fn enclosed(self, m: Mono, truth: Iv) -> Cert {
        with(|s| {
            let mut v = s.values[self.0].clone();
            let unit = s.ratio(v.m.times(m, -1));
            if !v.rel {
                for t in &mut v.noise {
                    t.1 = t.1.mul(unit);
                }
                v.rest = up(v.rest * unit.mag());
            }
            v.iv = v.iv.mul(unit).meet(truth);
            v.m = m;
            s.known[v.id as usize] = (m, v.iv);
            let v = v.relative(s.plain);
            s.push(v)
        })
    }

    /// `a b - c d` as double words give it, rounded once; its value is known to be `m` times a number
    /// in `truth`. Products of doubles are exact there, and a difference is within 3 u^2.
    pub fn cross([a, b]: [Cert; 2], [c, d]: [Cert; 2], m: Mono, truth: Iv) -> Cert {
        with(|s| {
            let (p, q) = (s.product(a.0, b.0), s.product(c.0, d.0));
            let id = s.sub(p.id, q.id);
            if id as usize == s.known.len() {
                s.known.push((m, truth));
            }
            s.known[id as usize] = (m, truth);
            let mut v = s.sum(&p, &q, true);
            let off = 4.0 * U * U;
            v.rest = up(v.rest
                + if v.rel {
                    off
                } else {
                    up(off * up(v.iv.mag() + v.size()))
                });
            s.rounded(v, f64::INFINITY)
        })
    }

    /// The product with a computed 1, of which nothing is taken but its error.
    pub fn times_known(self, one: Cert) -> Cert {
        with(|s| {
            let (mut v, o) = (s.values[self.0].clone(), s.values[one.0].clone());
            assert!(v.rel && o.rel && o.iv == ONE && v.noise.is_empty());
            v.noise = o.noise;
            v.rest = o.rest;
            s.push(v)
        })
    }

    /// The most that the value can be in units of `m`; infinite where these are far off.
    pub fn most_in(self, m: Mono) -> f64 {
        with(|s| {
            let v = &s.values[self.0];
            let unit = s.interval_of(v.m.times(m, -1));
            unit.map_or(f64::INFINITY, |unit| up(v.iv.mag() * unit.1))
        })
    }

    /// The same of the error.
    pub fn error_in(self, m: Mono) -> f64 {
        with(|s| {
            let v = &s.values[self.0];
            let unit = s.interval_of(v.m.times(m, -1));
            unit.map_or(f64::INFINITY, |unit| up(v.error() * unit.1))
        })
    }

    /// With one more noise, of its own or shared with another number, in the form the number is in;
    /// relative is what is not zero.
    pub fn noisy(self, symbol: Option<u32>, c: f64) -> (Cert, u32) {
        with(|s| {
            let symbol = symbol.unwrap_or_else(|| {
                s.symbols += 1;
                s.symbols
            });
            let mut v = s.values[self.0].clone();
            assert!(!v.rel || v.iv.mig() > 0.0, "relative to what may be zero");
            v.noise = combine(&v.noise, ONE, &[(symbol, Iv::point(c))], ONE);
            (s.push(v), symbol)
        })
    }

    /// Rounded once more.
    pub fn round(self) -> Cert {
        with(|s| {
            let v = s.values[self.0].clone();
            s.rounded(v, f64::INFINITY)
        })
    }

    /// As a function of the system's gives it, within `n` ulp of the value, which is exact here.
    pub fn within_ulp(self, n: f64) -> Cert {
        let r = self.round();
        with(|s| {
            // a rounding's noise is half an ulp
            if let Some(t) = s.values[r.0].noise.last_mut() {
                t.1 = t.1.mul(Iv::point(2.0 * n));
            }
        });
        r
    }

    pub fn sqrt(self) -> Cert {
        with(|s| {
            let v = s.values[self.0].clone();
            let a = v.size();
            assert!(
                v.rel && a < SMALL && v.iv.0 > 0.0,
                "root of what may be zero"
            );
            // sqrt(1 + a) = 1 + a/2 - a^2/8 + ...
            let half = Iv::point(0.5);
            let id = s.node(Node::Root(v.id));
            s.rounded(
                Value {
                    id,
                    m: v.m.root(),
                    iv: v.iv.sqrt(),
                    rel: true,
                    noise: combine(&v.noise, half, &[], ONE),
                    rest: up(0.5 * v.rest + up(a * a)),
                },
                f64::INFINITY,
            )
        })
    }

    /// The bound in ulp of the true value, which must not be zero. With a mass in it the value can
    /// be anywhere between powers of two.
    pub fn ulp(self, scaled: bool) -> f64 {
        with(|s| {
            let v = &s.values[self.0];
            if !v.rel {
                return f64::INFINITY;
            }
            // |x| / ulp(x), at most 1/u
            let most = if scaled {
                1.0 / U
            } else {
                let unit = s.size_of(v.m).0;
                let (lo, hi) = ((v.iv.mig() * unit.0).next_down(), up(v.iv.mag() * unit.1));
                let ulp = lo.next_up() - lo;
                if hi < lo + ulp / f64::EPSILON && lo.log2().floor() == hi.log2().floor() {
                    up(hi / ulp)
                } else {
                    1.0 / U
                }
            };
            up(v.size() * most)
        })
    }
}

impl Add for Cert {
    type Output = Cert;
    fn add(self, o: Cert) -> Cert {
        with(|s| s.plus(self.0, o.0, false))
    }
}

impl Sub for Cert {
    type Output = Cert;
    fn sub(self, o: Cert) -> Cert {
        with(|s| s.plus(self.0, o.0, true))
    }
}

impl Neg for Cert {
    type Output = Cert;
    fn neg(self) -> Cert {
        with(|s| {
            let mut v = s.values[self.0].clone();
            v.id = s.sub(ZERO_ID, v.id);
            v.iv = v.iv.neg();
            if !v.rel {
                v.noise = combine(&v.noise, ONE.neg(), &[], ONE);
            }
            s.push(v)
        })
    }
}

impl Mul for Cert {
    type Output = Cert;
    fn mul(self, o: Cert) -> Cert {
        with(|s| {
            let v = s.product(self.0, o.0);
            // a power of two takes no rounding
            let power = |c: Cert| {
                let v = &s.values[c.0];
                matches!(s.nodes[v.id as usize], Node::Const(b) if b << 12 == 0)
                    && v.noise.is_empty()
                    && v.rest == 0.0
            };
            if power(self) || power(o) {
                s.push(v)
            } else {
                s.rounded(v, f64::INFINITY)
            }
        })
    }
}

impl Div for Cert {
    type Output = Cert;
    fn div(self, o: Cert) -> Cert {
        with(|s| {
            let values = std::mem::take(&mut s.values);
            let (a, b) = (&values[self.0], &values[o.0]);
            assert!(b.rel, "division by what may be zero");
            let (x, y) = (a.size(), b.size());
            assert!(y <= SMALL);
            if !a.rel {
                // (A + a)/(B (1 + b)) = A/B + a/B - b A/B + ...
                let id = s.node(Node::Div(a.id, b.id));
                let back = b.iv.recip();
                let iv = a.iv.mul(back);
                let second = up(up(up(iv.mag() * y) + up(x * back.mag())) * up(1.01 * y));
                let v = Value {
                    id,
                    m: a.m.times(b.m, -1),
                    iv,
                    rel: false,
                    noise: combine(&a.noise, back, &b.noise, iv.neg()),
                    rest: up(up(up(a.rest * back.mag()) + up(b.rest * iv.mag())) + second),
                };
                s.values = values;
                return s.rounded(v, f64::INFINITY);
            }
            // (1 + a)/(1 + b) = 1 + a - b + b (b - a)/(1 + b)
            let second = up(up(up(y * up(x + y)) * 1.01));
            let id = s.node(Node::Div(a.id, b.id));
            let v = Value {
                id,
                m: a.m.times(b.m, -1),
                iv: a.iv.mul(b.iv.recip()),
                rel: true,
                noise: combine(&a.noise, ONE, &b.noise, ONE.neg()),
                rest: up(up(a.rest + b.rest) + second),
            };
            s.values = values;
            s.rounded(v, f64::INFINITY)
        })
    }
}

impl Scalar for Cert {
    fn of(x: f64) -> Cert {
        with(|s| {
            let id = s.node(if x == 0.0 {
                Node::Zero
            } else {
                Node::Const(x.to_bits())
            });
            s.push(Value {
                id,
                m: UNIT,
                iv: Iv::point(x),
                rel: x != 0.0,
                noise: vec![],
                rest: 0.0,
            })
        })
    }

    fn fma(self, a: Cert, b: Cert) -> Cert {
        with(|s| {
            let p = s.product(self.0, a.0);
            let values = std::mem::take(&mut s.values);
            let v = s.sum(&p, &values[b.0], false);
            s.values = values;
            let most = s.largest(&p, v.m); // b is a double
            s.rounded(v, most)
        })
    }
}
