//! The command as tests run it: from the repository's root, and held to what it promises of every
//! refusal.

use std::path::Path;
use std::process::{Command, Output};

pub fn command(args: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_cld"));
    c.args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    c
}

pub fn cld(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn path(p: &Path) -> &str {
    p.to_str().unwrap()
}

/// What a command prints that ends well.
pub fn said(args: &[&str]) -> String {
    let out = cld(args);
    assert_eq!(
        out.status.code(),
        Some(0),
        "{args:?}: {}",
        text(&out.stderr)
    );
    text(&out.stdout)
}

/// The command must refuse: exit code 2, nothing on standard output, one line on standard error
/// with these words.
pub fn refused(args: &[&str], words: &[&str]) -> String {
    let out = cld(args);
    let err = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{args:?}: {err}");
    assert!(
        out.stdout.is_empty(),
        "{args:?} printed {}",
        text(&out.stdout)
    );
    assert_eq!(
        err.trim_end().lines().count(),
        1,
        "{args:?}: one sentence, not {err}"
    );
    for w in words {
        assert!(err.contains(w), "{args:?}: `{w}` is not in {err}");
    }
    err
}
