//! The command `cld` as a user runs it, one program: a module per subject.

mod cli;
mod help;
mod samples;
mod files;
mod train;
mod train_cli;
