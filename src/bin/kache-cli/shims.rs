//! `kache shims`, and for `kache init`: links named like compilers that lead to kache. First on `PATH`, they put it in
//! front of each compile; kache finds the compiler itself, behind them.

use crate::Context;
use crate::fail::{Done, Fail};
use crate::view::View;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Make a directory of links to kache, named like the C and C++ compilers on PATH.
///
/// With that directory first on PATH every build uses kache, without wrapper settings. Links of compilers that are gone
/// are removed; other files are left alone. `kache init` does this, and puts the directory on PATH.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory; it is made where it is missing
    dir: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  kache shims ~/.local/lib/kache
  PATH=\"$HOME/.local/lib/kache:$PATH\" make";

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let dir = context.cwd.join(&args.dir);
    kache_os::at(&dir, std::fs::create_dir_all(&dir))?;
    let compilers = compilers(context, &dir);
    let foreign = foreign(&compilers, &dir);
    if let Some(link) = foreign.first() {
        return Err(Fail::Failed(format!("{} is there and is not kache's: nothing was changed in it", link.display())));
    }
    for link in changes(&compilers, context, &dir) {
        match &link.target {
            Some(target) => make(&link.path, target)?,
            None => kache_os::at(&link.path, std::fs::remove_file(&link.path))?,
        }
        let compiler = link.path.file_name().and_then(|name| compilers.get(name));
        if let Some(compiler) = compiler {
            writeln!(view.out, "{} -> kache, for {}", link.path.display(), compiler.display())?;
        }
    }
    writeln!(view.out, "{} links. Use them with PATH=\"{}:$PATH\"", compilers.len(), dir.display())?;
    Ok(Done::Fine)
}

/// A link to make (or to remove, when it leads nowhere).
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    pub path: PathBuf,
    pub target: Option<PathBuf>,
}

/// The first program of each compiler's name on `PATH`, without what is kache itself, or in `shims`.
pub fn compilers(context: &Context, shims: &Path) -> BTreeMap<OsString, PathBuf> {
    let wrapper = kache_os::stat(&context.wrapper()).ok();
    let is_compiler = |path: &Path| {
        let meta = kache_os::stat(path).ok().filter(|m| m.is_file() && m.mode & 0o111 != 0);
        meta.is_some_and(|m| wrapper.is_none_or(|w| !w.same_file(&m)))
    };
    let mut found = BTreeMap::new();
    for dir in std::env::split_paths(context.var("PATH").unwrap_or_default()).filter(|d| d != shims) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let (name, file) = (entry.file_name(), entry.path());
            if kache_engine::is_cc(&name) && is_compiler(&file) {
                found.entry(name).or_insert(file);
            }
        }
    }
    found
}

/// The links of ours in a directory: they are named like compilers and lead to something named kache, there or not.
pub fn ours(dir: &Path) -> Vec<Link> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let links = entries.filter(|e| kache_engine::is_cc(&e.file_name())).filter_map(|e| {
        let target = kache_os::read_link(&e.path()).ok()?;
        let is_kache = target.file_stem().is_some_and(|stem| stem == "kache");
        is_kache.then(|| Link { path: e.path(), target: Some(target) })
    });
    let mut links: Vec<Link> = links.collect();
    links.sort_by(|a, b| a.path.cmp(&b.path));
    links
}

/// What stands under a compiler's name in `dir` and is not ours to replace.
pub fn foreign(compilers: &BTreeMap<OsString, PathBuf>, dir: &Path) -> Vec<PathBuf> {
    let ours = ours(dir);
    let paths = compilers.keys().map(|name| dir.join(name));
    paths.filter(|path| kache_os::lstat(path).is_ok() && !ours.iter().any(|l| l.path == *path)).collect()
}

/// What it takes to have a link for each compiler that is there, and none for one that is gone.
pub fn changes(compilers: &BTreeMap<OsString, PathBuf>, context: &Context, dir: &Path) -> Vec<Link> {
    let (ours, foreign) = (ours(dir), foreign(compilers, dir));
    let made = compilers.keys().map(|name| Link { path: dir.join(name), target: Some(context.wrapper()) });
    let made: Vec<Link> = made.filter(|link| !ours.contains(link) && !foreign.contains(&link.path)).collect();
    let gone = ours.iter().filter(|l| l.path.file_name().is_none_or(|name| !compilers.contains_key(name)));
    made.into_iter().chain(gone.map(|l| Link { path: l.path.clone(), target: None })).collect()
}

/// Makes a link, in place of an older one.
pub fn make(path: &Path, target: &Path) -> std::io::Result<()> {
    if kache_os::read_link(path).is_ok() {
        std::fs::remove_file(path)?;
    }
    kache_os::at(path, kache_os::symlink(target, path))
}
