//! The command `cld` as a user runs it, one program: a module per subject.

mod cli;
mod files;
mod help;
mod samples;
mod train;
mod train_cli;
