//! What a flag may be, read off the library's registries: help and refusals cannot fall behind
//! them.

use cld_sgm::internal::vectors::generate::SUITES;
use cld_sgm::loss::Weighting;
use cld_sgm::sampler::grid::Spacing;
use cld_sgm::{data, process, sampler};

/// The data of known law that nothing is sampled from.
pub const GAUSSIAN: &str = "gaussian";

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

pub fn processes() -> String {
    list(process::REGISTRY.iter().map(|e| e.name))
}

pub fn toys() -> String {
    list(data::REGISTRY.iter().map(|e| e.name))
}

pub use cld_sgm::internal::evaluate::draw::samplers;

pub fn suites() -> String {
    list(SUITES.iter().map(|s| s.0))
}

pub fn weightings() -> String {
    list(Weighting::ALL.iter().map(|w| w.name()))
}

/// Everything that `--data` may be of a command with a network.
pub fn all_data() -> String {
    format!("{}, or a toy ({})", data::files::SPECS, toys())
}

/// `text` with a list at its `{}`.
fn with(text: &str, list: &str) -> String {
    text.replace("{}", list)
}

// the help of flags

pub fn process() -> String {
    with("Process: {}", &processes())
}

pub fn schedule() -> String {
    let each = process::REGISTRY.iter().map(|e| match e.schedule() {
        Ok(s) => {
            let numbers: Vec<_> = s
                .params()
                .iter()
                .filter(|(k, x)| *k != "b1" || *x != 0.0)
                .map(|(k, x)| format!("{k} = {x}"))
                .collect();
            format!("{} {} {}", e.name, s.name(), numbers.join(", "))
        }
        Err(e) => e.to_string(),
    });
    let each = each.collect::<Vec<_>>().join("; ");
    format!(
        "Schedule as JSON, such as '{{\"kind\":\"linear\",\"b0\":0.1,\"b1\":19.9}}'. If neither it nor beta is given: {each}"
    )
}

pub fn of_training() -> String {
    with("Data: {}", &all_data())
}

pub fn to_compare_with() -> String {
    with(
        "Data to compare with: {}; if absent those of the checkpoint",
        &all_data(),
    )
}

pub fn of_likelihoods() -> String {
    with(
        "held-out, train, or other data: {}; of images all, of a toy points",
        &all_data(),
    )
}

pub fn known_law() -> String {
    with("Data with the exact score: {}", &toys())
}

pub fn compared() -> String {
    format!("Data: {}; or {GAUSSIAN}, without sampling", toys())
}

pub fn sampler() -> String {
    with(
        "Samplers, separated by commas or given several times: {}. The last one chooses its own steps",
        &samplers(),
    )
}

pub fn some_samplers() -> String {
    with(
        "Only these samplers: {}",
        &list(sampler::REGISTRY.iter().map(|e| e.name)),
    )
}

pub fn judged_samplers() -> String {
    with(
        "Samplers of a checkpoint: {}; sscs and em if absent, em alone where sscs is not defined",
        &samplers(),
    )
}

pub fn suite() -> String {
    with("Only this suite (may be repeated): {}", &suites())
}

pub fn weighting() -> String {
    with("Weighting of the loss: {}", &weightings())
}

pub fn spacing_of_judge() -> String {
    with(
        "Spacing of the times: {}; quadratic if absent",
        Spacing::NAMES,
    )
}

pub fn spacings() -> String {
    with("Spacings of the times: {}", Spacing::NAMES)
}
