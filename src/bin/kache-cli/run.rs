//! `kache run`: what the arguments mean. The run itself is `kache`'s, which has no argument parser; it hands over what it
//! does not understand, and `--help`.

use crate::fail::{Done, Fail};
use std::ffi::OsString;
use std::path::PathBuf;

/// Run a command, or restore what it wrote when nothing it reads has changed.
///
/// What the command was seen to read is its input: files, listings, absences, variables, programs. What it was seen to
/// write is its output. Commands that use the network, read the clock or cannot be observed run and are not cached;
/// `kache explain` says why.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "kache run [OPTIONS] -- COMMAND...")]
pub struct Args {
    /// The only places the command may write to: files, or directories [default: the project around the working directory]
    #[arg(long, value_name = "PATH")]
    out: Vec<PathBuf>,
    /// Read standard input to its end and give it to the command; without this the command gets an empty one
    #[arg(long)]
    stdin: bool,
    /// The clock may be read: it does not reach what is written
    #[arg(long)]
    allow_clock: bool,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  kache run -- protoc --cpp_out=gen api.proto
  kache run --out src/tables.c -- python3 generate.py
  kache run --stdin -- m4 -DX=1 < in.m4 > out";

pub fn run(_: Args) -> Result<Done, Fail> {
    Err(Fail::Usage("`run` is a command of `kache` itself: call it by that name".into()))
}
