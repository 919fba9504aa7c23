//! Adapters: what is special about a tool. Each turns an invocation into an [`Action`](crate::action::Action), or
//! declines. Adapters know nothing about lookups, storing or restoring.

pub mod cc;
mod cc_args;
pub mod cc_flags;
pub mod command;
pub mod compiler;
mod project;
pub mod rustc;
pub mod script;

use crate::invocation::Invocation;
use crate::reason::{Reason, Why};
use kache_config::Settings;
use kache_key::{Digest, Root, Roots};
use kache_os::bytes;
use std::path::{Component, Path, PathBuf};

/// The target directory that `dir` lies in. Cargo marks one that it makes with `CACHEDIR.TAG` (and with `--target` the
/// directory of each target below it as well); in one that was there before, each profile's directory has `.cargo-lock`.
pub fn build_root(dir: &Path) -> Option<PathBuf> {
    let has = |d: &&Path, name: &str| kache_os::lstat(&d.join(name)).is_ok();
    let marked = |d: &&Path| has(d, "CACHEDIR.TAG");
    let above = || dir.ancestors().skip(1).take(6);
    match above().find(marked) {
        Some(found) => Some(found.parent().filter(marked).unwrap_or(found).to_path_buf()),
        None => above().find(|d| has(d, ".cargo-lock"))?.parent().map(Path::to_path_buf),
    }
}

/// Cargo's home, where registry and git sources are.
pub fn cargo_home(invocation: &Invocation) -> Option<PathBuf> {
    let home = || invocation.path_var("HOME").map(|h| h.join(".cargo"));
    invocation.path_var("CARGO_HOME").map(Path::to_path_buf).or_else(home)
}

/// Where the project's settings are looked for, upward from each. What cargo builds lies in the project, but registry
/// packages are compiled where their sources are, in cargo's home: then it is where cargo was called.
pub fn project_dirs(invocation: &Invocation) -> Vec<PathBuf> {
    let after = |flag: &str| invocation.args.iter().skip_while(|arg| *arg != flag).nth(1);
    let script = || Path::new(after(script::ROLE)?).parent();
    let output = after("--out-dir").map(Path::new).or_else(script).map(|dir| invocation.cwd.join(dir));
    let in_cargo_home = cargo_home(invocation).is_some_and(|home| invocation.cwd.starts_with(home));
    let called = if in_cargo_home { kache_os::parent_dir() } else { None };
    output.into_iter().chain([called.unwrap_or_else(|| invocation.cwd.clone())]).collect()
}

/// The roots every action has; the adapter adds workspace and build directory first.
fn machine_roots(roots: &mut Roots, invocation: &Invocation, settings: &Settings) {
    if let Some(dir) = &settings.base_dir {
        roots.add(Root::Base, bytes(dir));
    }
    if let Some(dir) = cargo_home(invocation) {
        roots.add(Root::CargoHome, bytes(&dir));
    }
    if let Some(dir) = invocation.path_var("HOME") {
        roots.add(Root::Home, bytes(dir));
    }
    roots.add(Root::Temp, bytes(invocation.temp()));
}

/// Build directory, also in its canonical form: tools see both.
fn add_build(roots: &mut Roots, build: &Path) {
    roots.add(Root::Build, bytes(build));
    if let Ok(real) = kache_os::canonical_dir(build)
        && real != build
    {
        roots.add(Root::BuildReal, bytes(&real));
    }
}

/// A directory by the one name that what was seen bears, where `..` gives it several.
fn plain_dir(dir: PathBuf) -> PathBuf {
    let dotted = dir.components().any(|part| part == Component::ParentDir);
    let real = if dotted { kache_os::canonical_dir(&dir).ok() } else { None };
    real.unwrap_or(dir)
}

/// Standard input as an input: its digest. It is kept for the tool, whole, whatever comes of it.
fn kept_stdin(invocation: &Invocation) -> Result<Digest, Why> {
    const LIMIT: u64 = 64 << 20;
    if kache_os::is_terminal_input() {
        return Err(Reason::Stdin.into());
    }
    let kept =
        kache_os::keep_stdin(LIMIT, &invocation.cwd.join(invocation.temp())).map_err(|e| Why::new(Reason::Stdin, e))?;
    if kache_os::fstat(&kept).map_or(u64::MAX, |m| m.size) > LIMIT {
        return Err(Why::new(Reason::Stdin, "longer than 64 MiB"));
    }
    let digest = Digest::of_reader(&mut &kept).map_err(|e| Why::new(Reason::Stdin, e));
    kache_os::rewind(&kept).map_err(|e| Why::new(Reason::Stdin, e))?;
    digest
}

/// The prefix maps an action's tools get: what only tools see is made the same in every checkout, relative to the
/// workspace. In the order rustc and gcc want them (the last match wins): workspace before build directory.
pub fn prefix_maps(roots: &Roots) -> Vec<(Vec<u8>, &'static str)> {
    let map = |root: Root, to| roots.place(root).map(|place| (place.to_vec(), to));
    [map(Root::Base, "."), map(Root::Workspace, "."), map(Root::BuildReal, "./target"), map(Root::Build, "./target")]
        .into_iter()
        .flatten()
        .collect()
}
