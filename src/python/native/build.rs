//! The commit that the package is built from, where the sources are a git checkout.

fn main() {
    println!("cargo:rerun-if-changed=../../.git/HEAD");
    println!("cargo:rerun-if-changed=../../.git/logs/HEAD");
    let git = std::process::Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=9", "--exclude=*"]).output();
    let commit = git.ok().filter(|o| o.status.success()).map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string());
    println!("cargo:rustc-env=CLD_COMMIT={}", commit.unwrap_or_default());
}
