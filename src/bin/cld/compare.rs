//! `cld compare`: error against evaluations of the score, every sampler.

use super::names::GAUSSIAN;
use super::setting::Setting;
use super::several::{first, together};
use super::show::{BOLD, Bar, note_prior, print, short, styled, table, threads, write_json};
use super::{Outcome, Result, names};
use cld_sgm::internal::files::{Paths, write_whole};
use cld_sgm::internal::plot::pictures::{Curve, Floor, Format, Panel, curves};
use cld_sgm::sampler::compare::{Comparison, ComparisonRow, Found};
use cld_sgm::sampler::grid::Spacing;
use cld_sgm::sampler::{REGISTRY, SamplerEntry, entry};
use cld_sgm::team::Team;
use cld_sgm::{Diffusion, Error, data, data::Mixture};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Mutex;

/// Compare samplers: distance to the data against evaluations of the exact score (nfe).
///
/// Every sampler that fits the process runs on every grid with every budget. On `gaussian` (N(0,
/// 0.7^2)) nothing is sampled: the law of each run is read off its own steps, and W2 is exact. What
/// is not given of the process has its defaults.
#[derive(clap::Args)]
pub struct Args {
    #[arg(long, default_value = "mixture", help = names::compared())]
    data: String,
    #[arg(long, visible_alias = "sampler", value_name = "NAMES", value_delimiter = ',', help = names::some_samplers())]
    samplers: Vec<String>,
    #[arg(long, visible_alias = "spacing", value_name = "NAMES", value_delimiter = ',', help = names::spacings(), default_values_t = ["linear".to_string(), "quadratic".to_string()])]
    spacings: Vec<String>,
    /// Budgets: evaluations of the score per sample.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_values_t = [10, 20, 50, 100, 200, 500, 1000])]
    nfe: Vec<usize>,
    /// Samples per run; if absent 2048 to 16384, fewer for mixtures of many components, whose score
    /// is dear.
    #[arg(long)]
    n: Option<usize>,
    /// Last time of the grids.
    #[arg(long, default_value_t = 1e-3)]
    eps: f64,
    /// End each run with a noise-free Euler step from eps to 0; it costs one evaluation of the
    /// budget.
    #[arg(long)]
    denoise: bool,
    /// Seed; the same seed gives the same table, whatever the number of threads.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Threads; all cores if absent.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Where to write the rows as CSV.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Where to write the rows as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to draw the curves: .svg or .png; may be repeated.
    #[arg(long, value_name = "FILE")]
    plot: Vec<PathBuf>,
    #[command(flatten)]
    setting: Setting,
}

/// Deviation of the data `gaussian`.
const DEVIATION: f64 = 0.7;

/// What the flags ask for: every sampler on every grid at every budget.
fn comparison(args: &Args, samplers: Vec<&'static SamplerEntry>, n: usize) -> Result<Comparison> {
    let mut budgets = args.nfe.clone();
    budgets.sort_unstable();
    budgets.dedup();
    Ok(Comparison {
        samplers,
        grids: args
            .spacings
            .iter()
            .map(|g| Ok((g.clone(), Spacing::parse(g)?)))
            .collect::<Result<Vec<_>>>()?,
        budgets,
        n,
        eps: args.eps,
        denoise: args.denoise,
        seed: args.seed,
    })
}

pub fn run(args: &Args) -> Result<Outcome> {
    together(|team| work(args, team.as_deref()))
}

/// What is asked for, checked.
struct Asked {
    toy: Option<Mixture>,
    comparison: Comparison,
    diffusion: Diffusion,
    about: String,
    formats: Vec<Format>,
}

fn asked(args: &Args) -> Result<Asked> {
    let toy = match data::REGISTRY.iter().find(|e| e.name == args.data) {
        Some(toy) => Some((toy.build)()?),
        None if args.data == GAUSSIAN => None,
        None => {
            return Err(Error::parameter(
                "data",
                format!("`{}`", args.data),
                format!("{}, {GAUSSIAN}", names::toys()),
            ));
        }
    };
    let samplers = if args.samplers.is_empty() {
        REGISTRY.iter().collect()
    } else {
        args.samplers
            .iter()
            .map(|s| entry(s))
            .collect::<Result<Vec<_>>>()?
    };
    let (diffusion, about) = args.setting.diffusion()?;
    let n = args.n.unwrap_or_else(|| {
        toy.as_ref().map_or(1, |m| {
            1 << (160_000 / m.components().len()).clamp(2048, 16384).ilog2()
        })
    });
    let comparison = comparison(args, samplers, n)?;
    let formats = args
        .plot
        .iter()
        .map(|p| Format::of("plot", p))
        .collect::<Result<Vec<_>>>()?;
    Paths::default()
        .outputs("csv", &args.csv)
        .outputs("json", &args.json)
        .outputs("plot", &args.plot)
        .check()?;
    threads(args.threads)?;
    Ok(Asked {
        toy,
        comparison,
        diffusion,
        about,
        formats,
    })
}

fn work(args: &Args, team: Option<&dyn Team>) -> Result<Outcome> {
    let Asked {
        toy,
        comparison,
        diffusion,
        about,
        formats,
    } = first(team, || asked(args))?;
    note_prior(&diffusion);
    let bar = Mutex::new(Bar::new("sampling"));
    let progress = |done: usize, total: usize| {
        if let Ok(mut bar) = bar.lock() {
            bar.set(done, total);
        }
    };
    let found = match &toy {
        Some(mixture) => comparison.on_mixture(&diffusion, mixture, team, &progress)?,
        None => comparison.on_gaussian(&diffusion, 0.0, DEVIATION, team, &progress)?,
    };
    drop(bar);
    if team.is_some_and(|t| t.rank() > 0) {
        return Ok(Outcome::Fine);
    }
    let pictures = formats
        .iter()
        .map(|f| curves(*f, &panels(&found, args, &about)))
        .collect::<Result<Vec<_>>>()?;
    if let Some(file) = &args.csv {
        write_whole(file, csv(&found).as_bytes())?;
    }
    if let Some(file) = &args.json {
        write_json(file, &report(&found, comparison.n, args, &about))?;
    }
    for (file, bytes) in args.plot.iter().zip(pictures) {
        write_whole(file, &bytes)?;
    }
    print(&readable(&found, &comparison, args, &about))?;
    Ok(Outcome::Fine)
}

/// Four digits are more than the scatter allows.
fn figure(x: f64) -> String {
    if x.is_nan() {
        "diverged".into()
    } else {
        short(x)
    }
}

/// A figure of a row, in words.
type Show<'a> = &'a dyn Fn(&ComparisonRow) -> String;

/// A figure of every sampler on a grid, by budget, and below of those with steps of their own.
fn by_budget(found: &Found, budgets: &[usize], of: Show) -> String {
    let mut order: Vec<(&str, &str)> = found
        .rows
        .iter()
        .map(|r| (r.grid.as_str(), r.sampler))
        .collect();
    order.dedup();
    let mut head = vec!["sampler".to_string(), "grid".into()];
    head.extend(budgets.iter().map(ToString::to_string));
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let at = |grid: &str, sampler: &str, b: usize| {
        let is = |r: &&ComparisonRow| r.grid == grid && r.sampler == sampler && r.budget == Some(b);
        found.rows.iter().find(is).map_or_else(|| "-".into(), of)
    };
    let rows: Vec<Vec<String>> = order
        .iter()
        .filter(|(grid, _)| *grid != "adaptive")
        .map(|(grid, sampler)| {
            let figures = budgets.iter().map(|b| at(grid, sampler, *b));
            let names = [sampler.to_string(), grid.to_string()];
            names.into_iter().chain(figures).collect()
        })
        .collect();
    let mut text = table(&head, &rows);
    for r in found.rows.iter().filter(|r| r.budget.is_none()) {
        text += &format!(
            "{}, steps of its own: {} with {} evaluations\n",
            r.sampler,
            of(r),
            figure(r.nfe)
        );
    }
    text
}

/// The best of each budget, and what cannot be told from it.
fn best(found: &Found, budgets: &[usize]) -> String {
    let row = |b: &usize| {
        let (best, ties) = found.best(*b)?;
        let names: Vec<String> = ties
            .iter()
            .map(|r| format!("{} {}", r.sampler, r.grid))
            .collect();
        let names = if names.len() > 4 {
            format!("{} and {} others", names[..3].join(", "), names.len() - 3)
        } else {
            names.join(", ")
        };
        let winner = format!("{} {}", best.sampler, best.grid);
        Some(vec![b.to_string(), winner, figure(best.w2), names])
    };
    let rows: Vec<Vec<String>> = budgets.iter().filter_map(row).collect();
    let ties = if found.floor > 0.0 {
        "cannot be told from it"
    } else {
        "equal"
    };
    table(&["nfe", "best", "W2", ties], &rows)
}

fn readable(found: &Found, comparison: &Comparison, args: &Args, about: &str) -> String {
    let (budgets, n) = (&comparison.budgets, comparison.n);
    let mut text = format!("{} by {about}\n", args.data);
    let energy = |r: &ComparisonRow| {
        r.energy
            .map_or_else(|| "diverged".into(), |e| short(e.value))
    };
    let w2 = |r: &ComparisonRow| figure(r.w2);
    let parts: &[(&str, Show)] = if found.floor > 0.0 {
        &[("sliced W2", &w2), ("energy distance", &energy)]
    } else {
        &[("W2, exact", &w2)]
    };
    for (name, of) in parts {
        let name = styled(BOLD, name);
        text += &format!("\n{name} by evaluations of the score per sample\n");
        text += &by_budget(found, budgets, of);
    }
    if found.floor > 0.0 {
        text += &format!(
            "\nfresh data to data, {n} points each: sliced W2 {}, the largest of nine {}: samplers at or below that are as good as data\n",
            short(found.floor),
            short(found.ceiling)
        );
    }
    text += "\nleast W2\n";
    text += &best(found, budgets);
    for (name, why) in &found.left_out {
        text += &format!("left out: {name} ({why})\n");
    }
    text
}

fn csv(found: &Found) -> String {
    let number = |x: f64| {
        if x.is_finite() {
            x.to_string()
        } else {
            String::new()
        }
    };
    let mut text = String::from("sampler,grid,budget,steps,nfe,w2,energy,energy_error\n");
    for r in &found.rows {
        let budget = r.budget.map_or_else(String::new, |b| b.to_string());
        let (e, error) = r
            .energy
            .map_or_else(Default::default, |e| (number(e.value), number(e.error)));
        text += &format!(
            "{},{},{budget},{},{},{},{e},{error}\n",
            r.sampler,
            r.grid,
            r.steps,
            number(r.nfe),
            number(r.w2)
        );
    }
    text
}

fn report(found: &Found, n: usize, args: &Args, about: &str) -> Value {
    // JSON knows no NaN: what diverged is null
    let rows: Vec<Value> = found
        .rows
        .iter()
        .map(|r| {
            json!({
                "sampler": r.sampler, "grid": r.grid, "budget": r.budget, "steps": r.steps, "nfe": r.nfe, "w2": r.w2,
                "energy": r.energy.map(|e| e.value), "energy_error": r.energy.map(|e| e.error),
            })
        })
        .collect();
    json!({
        "schema": "cld-compare/1", "data": args.data, "process": about, "n": n, "eps": args.eps, "denoise": args.denoise,
        "seed": args.seed, "w2_of_data_to_data": found.floor, "w2_of_data_to_data_at_most": found.ceiling,
        "left_out": found.left_out.iter().map(|(name, why)| json!({"sampler": name, "why": why})).collect::<Vec<_>>(), "rows": rows,
    })
}

/// One panel per grid.
fn panels(found: &Found, args: &Args, about: &str) -> Vec<Panel> {
    let mut names: Vec<&str> = found.rows.iter().map(|r| r.sampler).collect();
    names.dedup();
    args.spacings
        .iter()
        .map(|grid| Panel {
            title: format!(
                "{}, {grid} times, {}",
                args.data,
                about.split(' ').next().unwrap_or_default()
            ),
            x: "evaluations of the score".into(),
            y: if found.floor > 0.0 {
                "sliced W2 to the data".into()
            } else {
                "W2 to the data".into()
            },
            curves: names
                .iter()
                .map(|name| Curve {
                    name: (*name).to_string(),
                    points: found
                        .rows
                        .iter()
                        .filter(|r| {
                            r.sampler == *name
                                && (r.grid == *grid || r.budget.is_none())
                                && r.w2.is_finite()
                        })
                        .map(|r| (r.nfe, r.w2))
                        .collect(),
                    ..Curve::default()
                })
                .collect(),
            floor: (found.floor > 0.0).then(|| Floor {
                at: found.floor,
                to: found.ceiling,
                name: "data to data".into(),
            }),
        })
        .collect()
}
