//! The claims, family by family, in seconds: which one is off. `tests/library/audit.rs` holds all of
//! them at once, with the chains of three and four channels that are left out here where they
//! take long.
//!
//! Each test catches a mistake in what its family computes, on either side: the library's number, or
//! the independent one that it is held against. A claim's own tolerance says why it is what it is.
//! The sampled ones share a false-alarm rate of 1e-6 in each test; seeds are fixed.

use super::cases::cases;
use super::check::Part;
use super::claims::{
    adaptive, evidence, kernel, likelihood, limits, loss, measures, nn, recorded, sampler, score,
};
use super::report::html;
use super::run::{Simulated, audit, audit_and_plant, merge, shard};
use super::shards::Shard;
use super::{Method, Options, noise_free, orders};
use crate::error::Result;

/// Every claim of these parts holds, there are so many, and each has a power that is a number.
fn hold(parts: Result<Vec<Part>>, claims: usize) {
    let parts = parts.unwrap();
    let tests = parts.iter().map(|p| p.tests).sum::<usize>().max(1);
    let mut found = 0;
    for part in &parts {
        for check in part.checks(0).unwrap() {
            let e = check.evidence(tests, None).unwrap();
            let id = &e.claim.id;
            assert!(
                e.holds(),
                "{id}: {} times its tolerance; {}",
                e.worst(),
                e.claim.statement
            );
            assert!(e.power().is_finite() && !e.figures().is_empty(), "{id}");
            found += 1;
        }
    }
    assert_eq!(found, claims, "claims of the family");
}

/// Those parts of a family that take no more than a second or two.
fn quick(family: Result<Vec<Part>>) -> Result<Vec<Part>> {
    let slow = ["order-", ".unet"];
    let mut parts = family?;
    parts.retain(|p| !slow.iter().any(|s| p.case.contains(s)));
    Ok(parts)
}

/// Of the samplers' parts, every fifth.
fn fifth(n: usize) -> Result<Vec<Part>> {
    let parts = quick(sampler::parts())?.into_iter().enumerate();
    Ok(parts.filter(|(i, _)| i % 5 == n).map(|(_, p)| p).collect())
}

#[test]
fn kernels_by_doubling() {
    let all = cases().unwrap();
    hold(all.iter().map(noise_free::doubling).collect(), 1424);
}

#[test]
fn kernels_by_moment_equations() {
    let all = cases().unwrap();
    hold(all.iter().map(noise_free::moments).collect(), 615);
}

#[test]
fn orders_of_the_schemes() {
    let all = cases().unwrap();
    // one and two channels, with and without noise in x
    let some = |c: &&super::cases::Case| {
        ["vp.linear", "cld.dsm.linear", "position-noise.dsm.linear"].contains(&&c.name[..])
    };
    let some = all.iter().filter(some).map(orders::orders);
    hold(
        some.collect::<Result<Vec<_>>>()
            .map(|p| p.into_iter().flatten().collect()),
        24,
    );
}

#[test]
fn samplers_first() {
    hold(fifth(0), 288);
}

#[test]
fn samplers_second() {
    hold(fifth(1), 304);
}

#[test]
fn samplers_third() {
    hold(fifth(2), 292);
}

#[test]
fn samplers_fourth() {
    hold(fifth(3), 273);
}

#[test]
fn samplers_fifth() {
    hold(fifth(4), 268);
}

#[test]
fn losses() {
    hold(quick(loss::parts()), 519);
}

#[test]
fn likelihoods() {
    hold(quick(likelihood::parts()), 32);
}

#[test]
fn limits_of_processes() {
    hold(limits::parts(), 9);
}

#[test]
fn scores() {
    hold(score::parts(), 78);
}

#[test]
fn networks() {
    hold(quick(nn::parts()), 8);
}

#[test]
fn densities_and_batches() {
    hold(kernel::parts(), 184);
}

#[test]
fn evidence_of_gaussians() {
    hold(evidence::parts(), 15);
}

#[test]
fn adaptive_samplers() {
    hold(adaptive::parts(), 36);
}

#[test]
fn data_and_metrics() {
    hold(measures::parts(), 27);
}

#[test]
fn recorded_runs() {
    hold(recorded::parts(), 2);
}

/// Catches claims that compare one number with itself: what the samplers' laws are held against
/// differs from entry to entry and from sampler to sampler, all but zeros.
#[test]
fn laws_of_samplers_are_many_numbers() {
    let mut expected = vec![];
    for part in fifth(0).unwrap() {
        for check in part.checks(0).unwrap() {
            let e = check.evidence(1, None).unwrap();
            let entry = e.claim.id.split('/').nth(1).unwrap_or_default();
            if entry.starts_with("mean.") || entry.starts_with("cov.") {
                expected.extend(e.figures().iter().map(|f| f.expected));
            }
        }
    }
    expected.retain(|x| *x != 0.0);
    let all = expected.len();
    expected.sort_by(f64::total_cmp);
    expected.dedup();
    // symmetric processes and equal steps share some
    assert!(
        all > 50 && 4 * expected.len() > all,
        "{} of {all}",
        expected.len()
    );
}

/// Catches a page without a plot, a verdict or what was missed, and a formula of one process that
/// shows another's evidence: one process, with errors planted that are too small to be seen.
#[test]
fn pages_show_what_was_found() {
    let o = Options {
        paths: 16_000,
        only: Some("vp.linear".into()),
        ..Options::quick()
    };
    let a = audit_and_plant(&o, Some(1e-14), &|_, _| ()).unwrap();
    let page = html(&a);
    // errors over time, moments, p-values; the others are of several schemes and cases
    assert_eq!(page.matches("<figure><svg").count(), 3, "plots");
    assert!(!page.contains("xyzzy") && page.contains("uniform law"));
    let planted = a.planted.as_ref().unwrap();
    let missed: Vec<_> = planted.missed().collect();
    assert!(missed.len() > 20, "{}", missed.len());
    let (_, last) = page.split_once("What was missed").unwrap();
    for m in missed {
        assert!(last.contains(&format!("<code>{}</code>", m.id)), "{}", m.id);
    }
    // a card is about the formula's own process: VP's evidence is VP's
    for (id, there) in [
        ("vp.mean", true),
        ("vp.cov", true),
        ("ve.cov", false),
        ("psld.kernel", false),
    ] {
        assert_eq!(
            page.contains(&format!("<article id=\"{id}\"")),
            there,
            "{id}"
        );
    }
    let cards = page.matches("<article id=").count();
    assert!(cards > 5 && page.matches("<span class=good>holds</span>").count() >= cards);
}

/// Catches a scheme, a sum over paths or a law of a statistic that is off, and a planted error that
/// is not seen: one case by all schemes, 2^16 paths.
#[test]
fn simulated_paths() {
    for case in ["cld.dsm.linear", "vp.linear"] {
        let mut o = Options {
            paths: 1 << 16,
            full: true,
            only: Some(case.into()),
            ..Options::quick()
        };
        let simulated = Simulated::new(&o, &|_, _| ()).unwrap();
        let a = simulated.judge(&o).unwrap();
        let sampled: Vec<_> = a
            .evidence
            .iter()
            .filter(|e| e.claim.method == Method::Simulation)
            .collect();
        assert!(a.holds && sampled.len() > 5, "{case}: {}", sampled.len());
        let planted = sampled[sampled.len() / 2];
        o.plant = Some(super::Plant {
            id: planted.claim.id.clone(),
            size: 3.0 * planted.power(),
        });
        let blamed = simulated.judge(&o).unwrap();
        let off: Vec<_> = blamed.evidence.iter().filter(|e| !e.holds()).collect();
        assert!(
            !blamed.holds && off.len() == 1,
            "{case}: {} are blamed",
            off.len()
        );
        assert_eq!(off[0].claim.id, planted.claim.id);
    }
}

/// Catches shards that take portions of others', or are read as others', and a whole that is not
/// theirs: one group, the fewest paths, three shards through their file format.
#[test]
fn shards_make_the_whole() {
    let o = Options {
        paths: 16_000,
        only: Some("cld-heavy.dsm.constant/cov.vv/simulation.exact".into()),
        ..Options::quick()
    };
    let texts = [1, 2, 3].map(|i| {
        let made = shard(&o, i, 3, &|_, _| ()).unwrap();
        serde_json::to_string(&made).unwrap()
    });
    let read = |text: &str| Shard::parse(text, "file").map_err(|e| e.to_string());
    let merged = |all: &[&str]| -> std::result::Result<String, String> {
        let shards: std::result::Result<Vec<Shard>, String> = all.iter().map(|t| read(t)).collect();
        let whole = merge(&shards?, &|_, _| ()).map_err(|e| e.to_string())?;
        Ok(serde_json::to_string(&whole).unwrap())
    };
    let [a, b, c] = [&texts[0][..], &texts[1][..], &texts[2][..]];
    let whole = serde_json::to_string(&audit(&o, &|_, _| ()).unwrap()).unwrap();
    assert_eq!(merged(&[c, a, b]).unwrap(), whole);
    assert!(merged(&[a, b]).unwrap_err().contains("missing"));
    assert!(merged(&[a, a, c]).unwrap_err().contains("twice"));
    // the first shard's sums under another's number
    let number = "\"shard\":1";
    assert_eq!(a.matches(number).count(), 1);
    let other = read(&a.replace(number, "\"shard\":2")).unwrap_err();
    assert!(
        other.contains("portion") && other.contains("allowed: 1, 4, 7"),
        "{other}"
    );
    // a sum that was changed by hand, a portion that is no portion
    let portion = "\"0\":[";
    assert!(a.contains(portion));
    for bad in ["\"00\":[", "\"x\":[", "\"3000000\":["] {
        let found = read(&a.replacen(portion, bad, 1)).unwrap_err();
        assert!(found.contains("portion"), "{found}");
    }
}
