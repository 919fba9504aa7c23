//! `kache shims`: a directory of links named like the compilers there are. First on `PATH`, it needs no other set-up.

use crate::Context;
use crate::fail::{Done, Fail};
use crate::view::View;
use kache_engine::is_cc;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Make a directory of links to kache, named like the C and C++ compilers on PATH.
///
/// With that directory first on PATH every build uses kache, without wrapper settings. Links of compilers that are gone
/// are removed; other files are left alone.
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
    let told = |what: &Path, e: std::io::Error| Fail::Failed(format!("{}: {e}", what.display()));
    let kache = std::fs::canonicalize(context.wrapper()).map_err(|e| told(&context.wrapper(), e))?;
    let dir = context.cwd.join(&args.dir);
    std::fs::create_dir_all(&dir).map_err(|e| told(&dir, e))?;
    let ours = |file: &Path| std::fs::canonicalize(file).is_ok_and(|real| real == kache);
    let wanted = compilers(context.var("PATH").unwrap_or_default(), &|file| !ours(file));
    for entry in std::fs::read_dir(&dir).map_err(|e| told(&dir, e))?.flatten() {
        let link = entry.path();
        let gone = !wanted.contains_key(&entry.file_name()) && ours(&link) && link.is_symlink();
        if gone {
            std::fs::remove_file(&link).map_err(|e| told(&link, e))?;
        }
    }
    for (name, compiler) in &wanted {
        let link = dir.join(name);
        if ours(&link) {
            continue;
        }
        if link.symlink_metadata().is_ok() {
            return Err(Fail::Failed(format!(
                "{} is there and is not kache's: nothing was changed in it",
                link.display()
            )));
        }
        std::os::unix::fs::symlink(&kache, &link).map_err(|e| told(&link, e))?;
        writeln!(view.out, "{} -> kache, for {}", link.display(), compiler.display())?;
    }
    writeln!(view.out, "{} links. Use them with PATH=\"{}:$PATH\"", wanted.len(), dir.display())?;
    Ok(Done::Fine)
}

/// The first program of each compiler's name on `path`.
fn compilers(path: &str, counts: &dyn Fn(&Path) -> bool) -> BTreeMap<OsString, PathBuf> {
    let mut found = BTreeMap::new();
    for dir in std::env::split_paths(path) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let (name, file) = (entry.file_name(), entry.path());
            if is_cc(&name) && file.is_file() && counts(&file) {
                found.entry(name).or_insert(file);
            }
        }
    }
    found
}
