//! What help, refusals and documents say of names and defaults, against the registries.

use super::run::{cld, said};
use cld_sgm::internal::vectors::generate::SUITES;
use cld_sgm::loss::Weighting;
use cld_sgm::sampler::{ADAPTIVE, REGISTRY};
use cld_sgm::{Diffusion, data, process};

/// Names and, for all lists but the samplers', whether a list without some of them is a mistake.
fn registries() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        (
            "processes",
            process::REGISTRY.iter().map(|e| e.name).collect(),
        ),
        ("samplers", REGISTRY.iter().map(|e| e.name).collect()),
        ("toys", data::REGISTRY.iter().map(|e| e.name).collect()),
        ("suites", SUITES.iter().map(|s| s.0).collect()),
        (
            "weightings",
            Weighting::ALL.iter().map(|w| w.name()).collect(),
        ),
    ]
}

/// Items of lists: what stands between commas, colons, brackets and full stops.
fn items(text: &str) -> Vec<String> {
    let one = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one.split([',', ':', '(', ')', '[', ';', '.'])
        .map(|s| {
            s.trim()
                .trim_start_matches("or a toy ")
                .trim_start_matches("or ")
                .to_string()
        })
        .collect()
}

/// Each option of a help text, with its words.
fn options(help: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = vec![];
    for line in help.lines() {
        let start = line
            .trim_start()
            .trim_start_matches("-V, ")
            .trim_start_matches("-h, ");
        if let Some(name) = start
            .strip_prefix("--")
            .filter(|_| line.len() - start.len() < 12)
        {
            let (name, rest) = name.split_once([' ', '=']).unwrap_or((name, ""));
            all.push((name.trim_end_matches('.').to_string(), rest.to_string()));
        } else if let Some((_, words)) = all.last_mut() {
            words.push(' ');
            words.push_str(line);
        }
    }
    all
}

/// Catches a list of names in the help of any flag of any subcommand that lacks one of the
/// registry's: three names of a registry in a list, and all must be there. And a flag that should
/// have a list and has none.
#[test]
fn lists_in_help_are_the_registries() {
    let commands: Vec<String> = said(&["--help"])
        .lines()
        .skip_while(|l| !l.starts_with("Commands:"))
        .skip(1)
        .take_while(|l| !l.trim().is_empty())
        // the description of a command may go on in lines of its own
        .filter(|l| !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|c| *c != "help")
        .map(String::from)
        .collect();
    assert!(commands.len() >= 10, "{commands:?}");
    let mut lists = vec![];
    for command in &commands {
        for (flag, words) in options(&said(&[command, "--help"])) {
            let found = items(&words);
            for (what, names) in registries() {
                let there = names
                    .iter()
                    .filter(|n| found.iter().any(|f| f == *n))
                    .count();
                // names that are in two registries belong to the list that is whole
                let whole = |all: &[&str]| all.iter().all(|n| found.iter().any(|f| f == n));
                let others = registries().into_iter().any(|(other, all)| {
                    other != what
                        && whole(&all)
                        && names
                            .iter()
                            .all(|n| all.contains(n) || !found.iter().any(|f| f == *n))
                });
                if there < 3 || others {
                    continue;
                }
                let missing: Vec<_> = names
                    .iter()
                    .filter(|n| !found.iter().any(|f| f == *n))
                    .collect();
                assert!(
                    missing.is_empty(),
                    "`cld {command} --help`, --{flag}: of the {what} {missing:?} are missing"
                );
                lists.push(format!("{command} {flag} {what}"));
            }
        }
    }
    for list in [
        "vectors process processes",
        "vectors suite suites",
        "eval process processes",
        "eval data toys",
        "eval samplers samplers",
        "sample process processes",
        "sample samplers samplers",
        "sample data toys",
        "compare process processes",
        "compare samplers samplers",
        "compare data toys",
        "train process processes",
        "train data toys",
        "train weighting weightings",
        "nll data toys",
    ] {
        assert!(
            lists.iter().any(|l| l == list),
            "`{list}` is no list: {lists:#?}"
        );
    }
    for command in ["sample", "eval"] {
        let text = said(&[command, "--help"]);
        assert!(ADAPTIVE.iter().all(|e| text.contains(e.name)), "{command}");
    }
    assert!(said(&["compare", "--help"]).contains("gaussian"));
}

/// Catches a refusal of a name that lists fewer than there are.
#[test]
fn refusals_list_all_names() {
    let every = registries();
    let of = |what: &str| every.iter().find(|r| r.0 == what).unwrap().1.clone();
    let adaptive: Vec<&str> = ADAPTIVE.iter().map(|e| e.name).collect();
    let toy = ["--data", "mixture", "--steps", "3"];
    for (args, names) in [
        (
            [&["sample", "--sampler", "magic"], &toy[..]].concat(),
            [of("samplers"), adaptive].concat(),
        ),
        (
            [
                &["sample", "--sampler", "em", "--process", "magic"],
                &toy[..],
            ]
            .concat(),
            of("processes"),
        ),
        (
            vec![
                "sample",
                "--sampler",
                "em",
                "--data",
                "magic",
                "--steps",
                "3",
            ],
            of("toys"),
        ),
        (
            vec!["compare", "--data", "magic"],
            [of("toys"), vec!["gaussian"]].concat(),
        ),
        (vec!["compare", "--samplers", "magic"], of("samplers")),
        (vec!["train", "--data", "magic"], of("toys")),
        (vec!["train", "--process", "magic"], of("processes")),
        (vec!["train", "--weighting", "magic"], of("weightings")),
        (
            vec!["vectors", "no-such-folder", "--suite", "magic"],
            of("suites"),
        ),
        (
            vec!["eval", "--process", "magic", "--t", "1"],
            of("processes"),
        ),
    ] {
        let out = cld(&args);
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        let found: Vec<String> = items(&said)
            .iter()
            .map(|i| i.trim_start_matches("or ").to_string())
            .collect();
        let missing: Vec<_> = names
            .iter()
            .filter(|n| !found.iter().any(|f| f == *n))
            .collect();
        assert!(
            missing.is_empty(),
            "{args:?}: {missing:?} are not in {said}"
        );
    }
    assert!(
        !std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("no-such-folder")
            .exists()
    );
}

/// Catches defaults that differ between commands or from the document, and defaults with which
/// samples start from another law than the process ends in.
#[test]
fn defaults_are_the_registrys() {
    let document = include_str!("../../docs/reference/samplers.md");
    let numbers = |all: &[(&str, f64)]| {
        all.iter()
            .map(|(k, x)| format!("{k} = {x}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for e in process::REGISTRY {
        let schedule = e.schedule().unwrap();
        let params: Vec<_> = schedule
            .params()
            .into_iter()
            .filter(|_| schedule.name() != "constant")
            .collect();
        let params = if params.is_empty() {
            vec![("b", schedule.rate(0.5))]
        } else {
            params
        };
        let row = format!(
            "| `{}` | {} | {}: {} |",
            e.name,
            numbers(e.defaults),
            schedule.name(),
            numbers(&params)
        );
        assert!(
            document.contains(&row.replace("|  |", "| |")),
            "`{row}` is not in the document"
        );
        // what is not complete is refused for what it lacks
        let base = [
            "sample",
            "--data",
            "mixture",
            "--sampler",
            "em",
            "--steps",
            "20",
            "--n",
            "10",
            "--process",
            e.name,
        ];
        let sampled = cld(&base);
        let line = format!("{}(", schedule.name());
        if matches!(e.name, "sscs-analytic" | "cld-position-noise") {
            assert_eq!(sampled.status.code(), Some(2), "{}", e.name);
            continue;
        }
        let text = String::from_utf8(sampled.stdout).unwrap();
        assert!(
            text.contains(&line) && sampled.stderr.is_empty(),
            "{text} {}",
            String::from_utf8_lossy(&sampled.stderr)
        );
        let shown: Vec<String> = schedule
            .params()
            .iter()
            .map(|(k, x)| format!("{k}={x}"))
            .collect();
        assert!(text.contains(&shown.join(", ")), "{text}");
        // the calculator has the same schedule
        let mut args = vec![
            "eval".to_string(),
            "--process".into(),
            e.name.into(),
            "--t".into(),
            "0.5".into(),
        ];
        args.extend(
            e.defaults
                .iter()
                .flat_map(|(k, x)| ["--param".to_string(), format!("{k}={x}")]),
        );
        let text = said(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(text.contains(&shown.join(", ")), "{text}");
        // and training
        let trained = cld_sgm::train::config::Config {
            process: cld_sgm::train::config::process(e.name),
            ..Default::default()
        };
        assert_eq!(
            trained.diffusion().unwrap().schedule(),
            &schedule,
            "{}",
            e.name
        );
        let gap = trained.diffusion().unwrap().prior_gap().unwrap();
        assert!(
            !gap.unmet()
                && gap.mean.abs() <= 0.0201 * gap.deviation
                && (gap.variance - 1.0).abs() < 1e-4,
            "{}: {gap}",
            e.name
        );
    }
}

/// Catches a schedule that does not meet the prior and is passed over in silence; and a note where
/// it is met. The figures: VP with a rate of 4 keeps e^-2 of the data's mean, and has 1 - e^-4 of
/// the prior's variance.
#[test]
fn a_prior_that_is_not_met_is_said() {
    let vp = |b: f64| {
        Diffusion::of(process::Vp, cld_sgm::Schedule::constant(b).unwrap(), 0.0)
            .unwrap()
            .prior_gap()
            .unwrap()
    };
    let gap = vp(4.0);
    assert!(
        (gap.mean - (-2f64).exp()).abs() < 1e-15
            && (gap.variance - (1.0 - (-4f64).exp())).abs() < 1e-15
            && gap.unmet()
    );
    assert!(!vp(10.0).unmet() && vp(1e-3).unmet());
    let base = [
        "sample",
        "--data",
        "mixture",
        "--sampler",
        "em",
        "--steps",
        "5",
        "--n",
        "10",
        "--process",
        "vp",
    ];
    let note = |more: &[&str]| {
        let out = cld(&[&base[..], more].concat());
        assert_eq!(out.status.code(), Some(0));
        String::from_utf8(out.stderr).unwrap()
    };
    assert_eq!(note(&[]), "");
    let said = note(&["--beta", "4"]);
    for words in [
        "note: the prior is not met",
        "0.135 of the data's",
        "0.982 of the prior's",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let said = note(&["--schedule", r#"{"kind":"linear","b0":0.1,"b1":3}"#]);
    assert!(said.contains("the prior is not met"), "{said}");
    let compare = cld(&[
        "compare",
        "--data",
        "gaussian",
        "--samplers",
        "em",
        "--nfe",
        "10",
        "--process",
        "vp",
        "--beta",
        "4",
    ]);
    assert!(
        String::from_utf8(compare.stderr)
            .unwrap()
            .contains("the prior is not met")
    );
}

/// Catches minutes of silence: integrations that explicit steps cannot do are given up in a moment,
/// with time and reason, exit code 2; and long but possible ones are done.
#[test]
fn what_is_stiff_is_said_at_once() {
    for sampler in ["conjugate", "conjugate2", "flow-dp5"] {
        for more in [["--mass", "1e-12"], ["--beta", "1e6"]] {
            let start = std::time::Instant::now();
            let out = cld(&[
                &[
                    "sample",
                    "--data",
                    "mixture",
                    "--sampler",
                    sampler,
                    "--steps",
                    "20",
                    "--n",
                    "100",
                ],
                &more[..],
            ]
            .concat());
            let said = String::from_utf8(out.stderr).unwrap();
            assert_eq!(out.status.code(), Some(2), "{sampler} {more:?}: {said}");
            assert!(
                said.contains("given up at t = ") && said.contains("allowed"),
                "{sampler} {more:?}: {said}"
            );
            // 0.1 s here; it was a quarter of a minute and more before it was refused, or done
            assert!(start.elapsed().as_secs() < 20, "{sampler} {more:?}");
        }
        let out = cld(&[
            "sample",
            "--data",
            "mixture",
            "--sampler",
            sampler,
            "--steps",
            "10",
            "--n",
            "10",
            "--mass",
            "1e-3",
        ]);
        assert_eq!(
            out.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
}
