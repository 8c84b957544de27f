//! The command `cld` as a user runs it, one program: a module per subject.

mod cli;
mod files;
mod guide;
mod help;
mod reproduce;
mod run;
mod samples;
mod screens;
mod train;
mod train_cli;
