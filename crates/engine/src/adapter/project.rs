//! The roots of what is run outside cargo: the project that a source or the working directory belongs to, and where it is
//! built.
//!
//! Knows nothing about compilers.

use super::{add_build, build_root, cargo_home, machine_roots};
use crate::invocation::Invocation;
use kache_config::Settings;
use kache_key::{Root, Roots};
use kache_os::bytes;
use std::path::{Path, PathBuf};

/// Files by which the top of a project is known when no version control tells.
const MARKERS: &[&str] = &[
    "CMakeLists.txt",
    "configure",
    "configure.ac",
    "Makefile",
    "makefile",
    "GNUmakefile",
    "meson.build",
    "Cargo.toml",
];

const BUILD_MARKERS: &[&str] = &["CMakeCache.txt", "build.ninja", "config.status", "Makefile"];
const REPOSITORIES: &[&str] = &[".git", ".hg", ".svn", ".jj", kache_config::PROJECT_FILE];

/// Where sources lie that belong to no project (`-x c /dev/null`).
const NO_PROJECTS: &[&str] = &["/usr", "/dev", "/proc", "/etc"];

/// The top of the project that `dir` lies in: the nearest directory with a repository, else the topmost of those in a row
/// that bear a build system's files; else the directory itself.
fn project(dir: &Path, markers: &[&str], outer: &[&Path]) -> PathBuf {
    let has = |d: &Path, names: &[&str]| names.iter().any(|n| kache_os::lstat(&d.join(n)).is_ok());
    let inside = || dir.ancestors().take_while(|d| d.components().count() > 1 && !outer.contains(d)).take(16);
    if let Some(top) = inside().find(|d| has(d, REPOSITORIES)) {
        return top.to_path_buf();
    }
    let marked = inside().skip_while(|d| !has(d, markers)).take_while(|d| has(d, markers));
    marked.last().unwrap_or(dir).to_path_buf()
}

/// The roots of what works on this source (or in the working directory).
pub fn roots(invocation: &Invocation, settings: &Settings, source: Option<&Path>) -> Roots {
    let mut roots = Roots::default();
    let home = invocation.path_var("HOME").unwrap_or(Path::new("/"));
    let outer = [home, invocation.temp(), Path::new("/usr"), Path::new("/tmp")];
    let source = source.map(|s| invocation.cwd.join(s));
    let dir = source.as_deref().and_then(Path::parent).filter(|d| !NO_PROJECTS.iter().any(|dir| d.starts_with(dir)));
    // A source below the working directory, or beside it (`../src/x.c`), belongs to the project that the directory is in.
    let cwd = project(&invocation.cwd, MARKERS, &outer);
    let real = |d: &Path| kache_os::canonical_dir(d).unwrap_or_else(|_| d.to_path_buf());
    let workspace = match dir.map(real) {
        Some(dir) if !dir.starts_with(&cwd) => project(&dir, MARKERS, &outer),
        _ => cwd,
    };
    if let Some(build) = invocation.path_var("OUT_DIR").and_then(build_root) {
        // A build script's compile: cargo's target directory is where it writes.
        add_build(&mut roots, &build);
    } else if !invocation.cwd.starts_with(&workspace) {
        roots.add(Root::Build, bytes(&project(&invocation.cwd, BUILD_MARKERS, &outer)));
    }
    machine_roots(&mut roots, invocation, settings);
    let mut all = Roots::default();
    // Sources of a registry lie in one place, whatever the checkout.
    let fetched = cargo_home(invocation).is_some_and(|home| workspace.starts_with(home));
    if !fetched && !outer.contains(&workspace.as_path()) {
        all.add(Root::Workspace, bytes(&workspace));
    }
    for (root, place) in roots.iter() {
        all.add(root, place);
    }
    all
}
