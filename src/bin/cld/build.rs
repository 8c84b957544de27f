//! What `cld --version` says of its origin: commit (where the sources are a git checkout) and
//! compiler; and where the functions of the audit's formulas are.

use std::path::Path;
use std::process::Command;

fn line(command: &mut Command) -> Option<String> {
    let out = command.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8_lossy(&out.stdout).trim().to_string();
    (!text.is_empty()).then_some(text)
}

fn main() {
    println!("cargo:rerun-if-changed=Cargo.toml");
    // the head of the checkout: of the repository, or of the package below src/python
    for git in [".git", "../../.git"] {
        for file in ["HEAD", "logs/HEAD"] {
            let path = Path::new(git).join(file);
            // one that is not there would make every build begin anew
            if path.exists() {
                println!("cargo:rerun-if-changed={}", path.display());
            }
        }
    }
    // not the commit of a repository that happens to be around an unpacked crate
    let ours = [".git", "../../.git"].iter().any(|g| Path::new(g).exists());
    let commit = ours
        .then(|| {
            line(Command::new("git").args(["describe", "--always", "--abbrev=9", "--exclude=*"]))
        })
        .flatten();
    let rustc =
        std::env::var_os("RUSTC").and_then(|rustc| line(Command::new(rustc).arg("--version")));
    println!("cargo:rustc-env=CLD_COMMIT={}", commit.unwrap_or_default());
    println!("cargo:rustc-env=CLD_RUSTC={}", rustc.unwrap_or_default());
    // the package below src/python has no formulas of its own
    if let (Some(out), true) = (
        std::env::var_os("OUT_DIR"),
        Path::new("src/audit/formulas").exists(),
    ) {
        let lines = lines().expect("src/audit/formulas can be read");
        std::fs::write(Path::new(&out).join("formulas.rs"), lines).expect("OUT_DIR can be written");
    }
}

/// Line by line of the functions that formulas name (`at: "file::name"` in src/audit/formulas): what
/// the audit's page links to. 0 for one that is not there, which a test finds.
fn lines() -> std::io::Result<String> {
    let mut found = String::from("&[\n");
    let mut files: Vec<_> = std::fs::read_dir("src/audit/formulas")?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    for file in files {
        println!("cargo:rerun-if-changed={}", file.display());
        let text = std::fs::read_to_string(&file)?;
        for at in text.lines().filter_map(|l| l.trim().strip_prefix("at: \"")) {
            let at = at.trim_end_matches("\",");
            let mut names = at.split("::");
            let source = format!("src/{}", names.next().unwrap_or_default());
            println!("cargo:rerun-if-changed={source}");
            let source = std::fs::read_to_string(source).unwrap_or_default();
            let names: Vec<&str> = names.collect();
            found += &format!(
                "    (\"{at}\", {}),\n",
                line_of(&source, &names).unwrap_or(0)
            );
        }
    }
    Ok(found + "]\n")
}

/// The line, from 1, of the function, structure or variant that the last name is, after the `impl`
/// of each name before it.
fn line_of(source: &str, names: &[&str]) -> Option<usize> {
    let (last, outer) = names.split_last()?;
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let has = |line: &str, before: &str, name: &str| {
        line.match_indices(before).any(|(i, _)| {
            line[i + before.len()..]
                .strip_prefix(name)
                .is_some_and(ends)
        })
    };
    let mut lines = source.lines().enumerate();
    for name in outer {
        lines.find(|(_, l)| l.starts_with("impl") && has(l, " ", name))?;
    }
    let own = |line: &str| {
        has(line, "fn ", last)
            || has(line, "struct ", last)
            || line
                .trim()
                .strip_prefix(last)
                .is_some_and(|r| r == "," || r == " {")
    };
    lines
        .find(|(_, l)| !l.trim_start().starts_with("//") && own(l))
        .map(|(n, _)| n + 1)
}
