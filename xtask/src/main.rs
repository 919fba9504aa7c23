//! Chores of the project: `cargo xtask test`, `ci`, `frame`, `try`, `quickstart`, `bench`, `docs`, `dist`.
//!
//! Knows nothing about how kache works, but for the tables that documents are made from; it starts cargo, kache and their
//! peers, and reads what they print and log.

mod bench;
mod checks;
mod dist;
mod docs;
mod frame;
mod quickstart;
mod schema;
mod system;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test [ARGS…]     installs or names missing system packages, builds the workspace, runs all tests (ARGS go to the tests)
  ci               format, clippy, documentation, dependencies, quickstart, then `test`
  frame FILE.svg   a picture of what a command shows on a terminal; `cargo xtask frame` tells how
  try [DIR]        what kache would do for a project (default: this one)
  quickstart       runs the commands of docs/quickstart.md in a new home and compares what they tell; `ci` does too
  quickstart --clean    the same from a new clone, by the release build that the page shows: before a release
  bench            kache beside no cache, the floor and installed peers; `cargo xtask bench --help`
  bench hit        CPU time of one hit, and the start-up before a passthrough
  bench edit       the edit loop: plain cargo beside kache
  bench index      stats, list and report on a large synthetic store: time and memory
  bench cc         a C or C++ tree beside no cache and ccache
  docs             writes the documents that are made from tables of the code; `ci` fails when they differ
  dist             target/dist: the tree of an installation, an archive of it, and (with cargo-deb) a Debian package
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let done = match args.first().map(String::as_str) {
        Some("test") => checks::test(rest),
        Some("ci") => checks::ci(),
        Some("frame") => frame::run(rest),
        Some("try") => checks::try_project(rest),
        Some("docs") => docs::run(false),
        Some("quickstart") if rest.is_empty() || rest == ["--clean"] => quickstart::run(!rest.is_empty()),
        Some("dist") => dist::run(),
        Some("bench") => bench::run(rest),
        Some("help" | "--help" | "-h") | None => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("no command {other:?}\n\n{HELP}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
