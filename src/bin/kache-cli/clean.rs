//! `kache clean`: finds cargo's target directories and removes those that someone chose. Knows what a target directory looks
//! like, and nothing about what cargo keeps in it.

use crate::fail::{Done, Fail};
use crate::format::{Table, ago, count, size};
use crate::view::{FAINT, PLAIN, View};
use crate::{Context, Removal};
use kache_key::Digest;
use kache_os::{FileKind, Lock, Meta};
use kache_store::{Event, Memo, Store};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Find target directories and remove those you choose
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache clean                 below this directory; asks which
  kache clean --dry-run ~     what removing each would free, and how much of that the cache would restore
  kache clean -y DIR          all below DIR, without asking

Target directories that a build is using are left alone. Hidden directories and symbolic links are not searched.")]
pub struct Args {
    /// Where to look
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Remove all that are not in use, without asking
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    removal: Removal,
}

#[derive(Serialize)]
struct Report {
    version: u32,
    dry_run: bool,
    freed_bytes: u64,
    targets: Vec<Target>,
}

#[derive(Serialize)]
struct Target {
    dir: String,
    /// Bytes that removing it gives back to the disk.
    frees_bytes: u64,
    /// Of these, bytes of files whose content is in the store: at least so much need not be compiled again.
    restorable_bytes: u64,
    /// Bytes that stay, because the store or another tree shares their inodes.
    linked_bytes: u64,
    /// Newest file.
    used_ms: u64,
    in_use: bool,
    /// Why it can't be told whether a build uses it: it is left alone.
    error: Option<String>,
    removed: bool,
    #[serde(skip)]
    path: PathBuf,
    #[serde(skip)]
    meta: Meta,
}

impl Target {
    fn may_go(&self) -> bool {
        !self.in_use && self.error.is_none()
    }
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let start = context.cwd.join(&args.dir);
    let start = std::fs::canonicalize(&start).map_err(|e| Fail::Failed(format!("{}: {e}", start.display())))?;
    let memo = if context.cache_missing() { Memo::none() } else { context.store.memo() };
    let mut targets: Vec<Target> = Vec::new();
    for (path, meta) in find(&start, context.cache_dir(), view) {
        targets.push(measure(path, meta, &memo, &context.store, view));
    }
    view.progress_done();
    targets.sort_by_key(|t| std::cmp::Reverse(t.frees_bytes));
    if !args.removal.json {
        show(&targets, &start, &mut view.out)?;
    }
    for target in &targets {
        if let Some(error) = &target.error {
            view.tell(&format!("{}: can't be locked, so it is left alone: {error}", target.dir))?;
        }
    }
    let may_go: Vec<usize> = (0..targets.len()).filter(|n| targets[*n].may_go()).collect();
    let chosen = match (args.removal.dry_run || may_go.is_empty(), args.yes) {
        (true, _) => Vec::new(),
        (false, true) => may_go,
        (false, false) if args.removal.json || !view.can_ask => {
            view.out.flush()?;
            return Err(Fail::Usage(
                "say -y to remove these, when there is no terminal to ask on, or --dry-run".into(),
            ));
        }
        (false, false) => {
            let answer = view.answer("Remove which? (numbers such as 1 3-5, all, or nothing) ")?;
            let chosen = choice(&answer, targets.len()).map_err(Fail::Usage)?;
            chosen.into_iter().filter(|n| targets[*n].may_go()).collect()
        }
    };
    let mut fine = args.removal.dry_run || targets.iter().all(|t| t.error.is_none());
    let mut freed = 0;
    for n in chosen {
        let target = &mut targets[n];
        view.progress(|| format!("removing {}", target.dir));
        match remove(target) {
            Ok(true) => {
                target.removed = true;
                freed += target.frees_bytes;
            }
            Ok(false) => {
                target.in_use = true;
                view.tell(&format!("{} is in use now: left alone", target.dir))?;
            }
            Err(e) => {
                fine = false;
                view.tell(&format!("{}: {e}", target.dir))?;
            }
        }
    }
    if freed > 0 {
        context.store.release_kept();
    }
    view.progress_done();
    let removed = targets.iter().filter(|t| t.removed).count() as u64;
    if args.removal.json {
        view.json(&Report { version: 1, dry_run: args.removal.dry_run, freed_bytes: freed, targets })?;
    } else if !args.removal.dry_run && !targets.is_empty() {
        writeln!(view.out, "Removed {}: {} freed.", count(removed, "target directory"), size(freed))?;
    }
    Ok(Done::when(fine))
}

/// Target directories at or below `start`. The cache is not searched, whatever it looks like.
fn find(start: &Path, cache: &Path, view: &mut View) -> Vec<(PathBuf, Meta)> {
    let cache = std::fs::canonicalize(cache).unwrap_or_else(|_| cache.into());
    let (mut found, mut open) = (Vec::new(), vec![start.to_path_buf()]);
    while let Some(dir) = open.pop() {
        if dir == cache {
            continue;
        }
        view.progress(|| format!("looking in {}", dir.display()));
        // A cache inside a target directory keeps it.
        match kache_os::lstat(&dir) {
            Ok(meta) if is_target(&dir) && !cache.starts_with(&dir) => found.push((dir, meta)),
            _ => {
                let below = kache_os::list(&dir).unwrap_or_default().into_iter();
                let dirs = below.filter(|(name, kind)| *kind == FileKind::Dir && !name.starts_with(b"."));
                open.extend(dirs.map(|(name, _)| dir.join(kache_os::path(&name))));
            }
        }
    }
    found
}

/// By cargo's own marks; both, because either alone is also made by others.
fn is_target(dir: &Path) -> bool {
    const SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";
    let tag = kache_os::read_bounded(&dir.join("CACHEDIR.TAG"), 4096).unwrap_or_default();
    let by_cargo = tag.starts_with(SIGNATURE) && tag.windows(5).any(|w| w == b"cargo");
    by_cargo && kache_os::lstat(&dir.join(".rustc_info.json")).is_ok_and(|m| m.is_file())
}

fn measure(path: PathBuf, meta: Meta, memo: &Memo, store: &Store, view: &mut View) -> Target {
    let (in_use, error) = match locks(&path) {
        Ok(held) => (held.is_none(), None),
        Err(e) => (false, Some(e.to_string())),
    };
    let mut target = Target {
        dir: path.display().to_string(),
        frees_bytes: 0,
        restorable_bytes: 0,
        linked_bytes: 0,
        used_ms: 0,
        in_use,
        error,
        removed: false,
        meta,
        path,
    };
    // Each inode once, with one of its names and how many it has in here.
    let mut files: HashMap<(u64, u64), (PathBuf, Meta, u64)> = HashMap::new();
    let mut open = vec![target.path.clone()];
    while let Some(dir) = open.pop() {
        view.progress(|| format!("measuring {}", dir.display()));
        for (name, kind) in kache_os::list(&dir).unwrap_or_default() {
            let file = dir.join(kache_os::path(&name));
            let Ok(meta) = kache_os::lstat(&file) else { continue };
            target.used_ms = target.used_ms.max(u64::try_from(meta.mtime.sec).unwrap_or(0).saturating_mul(1000));
            if kind == FileKind::Dir {
                open.push(file.clone());
            }
            files.entry((meta.dev, meta.ino)).or_insert((file, meta, 0)).2 += 1;
        }
    }
    let kept = store.kept();
    for ((dev, inode), (path, meta, names)) in files {
        let bytes = meta.blocks * 512;
        let ours = names + u64::from(kept.contains_key(&(dev, inode)));
        if meta.is_file() && ours < meta.links {
            target.linked_bytes += bytes;
            continue;
        }
        target.frees_bytes += bytes;
        if meta.is_file() && content(&path, &meta, memo).is_some_and(|d| store.check_blob(&d, meta.size, false)) {
            target.restorable_bytes += bytes;
        }
    }
    target
}

/// What is in a file, when kache had to do with it. It is read only where its times changed since: cargo links executables
/// to a second name.
fn content(path: &Path, meta: &Meta, memo: &Memo) -> Option<Digest> {
    if let Some(known) = memo.get(meta) {
        return Some(known.digest);
    }
    let then = memo.output_in(meta)?.digest;
    let now = std::fs::File::open(path).and_then(|mut file| Digest::of_reader(&mut file)).ok()?;
    (now == then).then_some(now)
}

/// cargo's locks, taken; `None` when a build holds one.
fn locks(target: &Path) -> std::io::Result<Option<Vec<Lock>>> {
    // Of the versions of cargo, each has its own names.
    const NAMES: [&str; 3] = [".cargo-lock", ".cargo-build-lock", ".cargo-artifact-lock"];
    let below = |dir: &Path| -> Vec<PathBuf> {
        let list = kache_os::list(dir).unwrap_or_default().into_iter();
        let dirs = list.filter(|(_, kind)| *kind == FileKind::Dir);
        dirs.map(|(name, _)| dir.join(kache_os::path(&name))).collect()
    };
    // target/PROFILE and target/TRIPLE/PROFILE.
    let first = below(target);
    let second: Vec<PathBuf> = first.iter().flat_map(|dir| below(dir)).collect();
    let mut held = Vec::new();
    for dir in std::iter::once(target.to_path_buf()).chain(first).chain(second) {
        for path in NAMES.map(|name| dir.join(name)) {
            if kache_os::lstat(&path).is_ok_and(|m| m.is_file()) {
                let Some(lock) = kache_os::at(&path, Lock::try_exclusive(&path))? else { return Ok(None) };
                held.push(lock);
            }
        }
    }
    Ok(Some(held))
}

/// `false`: a build uses it now.
fn remove(target: &Target) -> std::io::Result<bool> {
    let Some(_held) = locks(&target.path)? else { return Ok(false) };
    let now = kache_os::lstat(&target.path)?;
    if !now.is_dir() || !now.same_file(&target.meta) || !is_target(&target.path) {
        return Err(std::io::Error::other("is not the directory that was looked at"));
    }
    std::fs::remove_dir_all(&target.path)?;
    Ok(true)
}

fn show(targets: &[Target], start: &Path, out: &mut dyn Write) -> std::io::Result<()> {
    if targets.is_empty() {
        return writeln!(out, "There is no target directory in {}.", start.display());
    }
    let now = Event::now_ms();
    let mut table = Table::new(&[">", ">frees", ">restorable", ">shared", "used", "target directory"]);
    for (n, t) in targets.iter().enumerate() {
        let used = match (t.in_use, &t.error) {
            (true, _) => "in use".into(),
            (false, Some(_)) => "not known".into(),
            (false, None) => ago(now.saturating_sub(t.used_ms)),
        };
        let style = if t.may_go() { PLAIN } else { FAINT };
        let bytes = [t.frees_bytes, t.restorable_bytes, t.linked_bytes].map(size);
        let cells = [vec![(n + 1).to_string()], bytes.to_vec(), vec![used, t.dir.clone()]].concat();
        table.styled(cells.into_iter().map(|c| (c, style)).collect());
    }
    table.write(out)?;
    let sum = |of: fn(&Target) -> u64| size(targets.iter().map(of).sum());
    let (frees, restorable) = (sum(|t| t.frees_bytes), sum(|t| t.restorable_bytes));
    writeln!(out, "{FAINT}{frees} in all; the cache would restore at least {restorable} of it.{FAINT:#}")
}

/// `1 3-5`, `1,3`, `all`, or nothing: which of so many, counted from zero.
fn choice(answer: &str, of: usize) -> Result<Vec<usize>, String> {
    let wrong = |word: &str| format!("{word:?} is none of 1 to {of}: nothing was removed");
    let mut chosen = BTreeSet::new();
    for word in answer.split([' ', ',', '\t', '\n', '\r']).filter(|w| !w.is_empty()) {
        if word == "all" {
            chosen.extend(1..=of);
            continue;
        }
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let number = |text: &str| text.parse().ok().filter(|n| (1..=of).contains(n)).ok_or_else(|| wrong(word));
        let (first, last): (usize, usize) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong(word));
        }
        chosen.extend(first..=last);
    }
    Ok(chosen.into_iter().map(|n| n - 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: only what was named goes; one word that is not understood, and nothing does.
    #[test]
    fn choices_are_read() {
        for (answer, chosen) in
            [("", vec![]), ("\n", vec![]), ("2", vec![1]), ("1, 3-4\n", vec![0, 2, 3]), ("all", vec![0, 1, 2, 3])]
        {
            assert_eq!(choice(answer, 4), Ok(chosen), "{answer:?}");
        }
        for wrong in ["0", "5", "1 x", "3-2", "-1", "1-9", "y", "none"] {
            assert!(choice(wrong, 4).is_err(), "{wrong:?}");
        }
    }
}
