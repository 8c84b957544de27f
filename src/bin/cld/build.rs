//! What `cld --version` says of its origin: commit (where the sources are a git checkout) and
//! compiler.

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
}
