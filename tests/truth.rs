use cld_sgm::dd::Dd;
use cld_sgm::kernel::{Objective, kernel_values};
use cld_sgm::process::{Params, Value as PV, entry};
use cld_sgm::schedule::Schedule;
use cld_sgm::vectors::decimal;
use serde_json::Value;
use std::collections::BTreeMap;
fn flat(v: &Value) -> Vec<Dd> {
    match v {
        Value::Array(a) => a.iter().flat_map(flat).collect(),
        Value::String(s) => vec![decimal::parse(s).unwrap()],
        _ => panic!(),
    }
}
#[test]
fn quick() {
    for file in ["../shared/truth/kernels.json", "fixtures/truth/extra.json"] {
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        let j: Value = serde_json::from_str(&text).unwrap();
        for c in j["cases"].as_array().unwrap() {
            let name = c["process"].as_str().unwrap();
            let e = entry(name).unwrap();
            let mut p = Params::default();
            let mut gamma = 0.0;
            for (k, v) in c["params"].as_object().unwrap() {
                if Some(k.as_str()) == e.gamma {
                    gamma = v.as_f64().unwrap();
                }
                p.0.insert(
                    k.clone(),
                    match v {
                        Value::Number(n) => PV::Number(n.as_f64().unwrap()),
                        _ => PV::Word(v.as_str().unwrap().into()),
                    },
                );
            }
            let pr = match e.build(&p) {
                Ok(p) => p,
                Err(er) => {
                    println!("{} {er}", c["id"]);
                    continue;
                }
            };
            let s = &c["schedule"];
            let g = |n: &str| s[n].as_f64().unwrap();
            let sch = match s["kind"].as_str().unwrap() {
                "linear" => Schedule::linear(g("b0"), g("b1")),
                "cosine" => Schedule::cosine(g("s0"), g("t_max")),
                _ => Schedule::geometric(g("sigma_min"), g("sigma_max")),
            }
            .unwrap();
            let o = if c["objective"] == "hsm" { Objective::hsm(gamma).unwrap() } else { Objective::DSM };
            let mut worst: BTreeMap<&str, (f64, f64, f64, usize)> = BTreeMap::new();
            for r in c["rows"].as_array().unwrap() {
                let t = r["t"].as_f64().unwrap();
                let s0 = r["s"].as_f64().unwrap_or(0.0);
                let k = match kernel_values(&*pr, &sch, o, s0, t) {
                    Ok(k) => k,
                    Err(e) => {
                        println!("{} t={t} {e}", c["id"]);
                        continue;
                    }
                };
                let (d, l, el) = (vec![k.det], vec![k.logdet], vec![k.ell]);
                for (q, v) in [
                    ("mean", &k.mean),
                    ("cov", &k.cov),
                    ("chol_lower", &k.chol_lower),
                    ("chol_upper", &k.chol_upper),
                    ("inv", &k.inv),
                    ("det", &d),
                    ("logdet", &l),
                    ("ell", &el),
                ] {
                    if r[q].is_null() {
                        continue;
                    }
                    let tr = flat(&r[q]);
                    for (i, (&a, b)) in v.iter().zip(&tr).enumerate() {
                        let err = (Dd::from(a) - *b).to_f64().abs();
                        if err == 0.0 {
                            continue;
                        }
                        let rel = err / b.hi.abs();
                        let ulp = err / (2f64.powi(b.hi.abs().log2().floor() as i32 - 52));
                        let w = worst.entry(q).or_insert((0.0, 0.0, 0.0, 0));
                        if !(ulp <= w.0) {
                            *w = (ulp, rel, t, i);
                        }
                    }
                }
            }
            let w: Vec<_> = worst
                .iter()
                .map(|(k, w)| {
                    format!(
                        "{k}:{:.1}u{}{}",
                        w.0,
                        if w.0 > 8.0 { format!("({:.0e} t={:.2e} #{})", w.1, w.2, w.3) } else { String::new() },
                        ""
                    )
                })
                .collect();
            println!("{} {:?} {} {}", c["id"].as_str().unwrap(), c["params"].to_string(), c["objective"].as_str().unwrap(), w.join(" "));
        }
    }
}
