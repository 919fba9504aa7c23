//! Where the cache is and where builds are: what their file systems can do, by trying it, and what is left on them.

use super::{Finding, note, ok, problem};
use crate::Context;
use crate::format::size;
use kache_os::{Stamp, stat};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Less than this is about to become a full disk.
const LITTLE_SPACE: u64 = 1 << 30;
const FEW_INODES: u64 = 10_000;

/// Findings, and a directory beside the cache to try things in, as long as it lives.
pub fn look(context: &Context) -> (Vec<Finding>, Option<TempDir>) {
    const ABOUT: &str = "cache directory";
    let dir = context.cache_dir();
    if let Some((fault, advice)) = context.cache_fault() {
        return (vec![problem(ABOUT, fault, advice)], None);
    }
    let there = nearest(dir);
    let probe = match probe_in(&there) {
        Ok(probe) => probe,
        Err(e) => {
            let text = format!("{} can't be written: {e}", dir.display());
            let advice = "correct its owner and mode, or set KACHE_CACHE_DIR to another place";
            return (vec![problem(ABOUT, text, advice)], None);
        }
    };
    let state = if there == dir { "writable" } else { "not there yet, can be made" };
    let findings = vec![
        ok(ABOUT, format!("{}: {state}", dir.display())),
        space(context, &there),
        inodes(&there),
        abilities(probe.path()),
        build_tree(context, probe.path()),
    ];
    (findings, Some(probe))
}

fn probe_in(dir: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(".kache-doctor-").tempdir_in(dir)
}

/// The directory itself, or what of its path is already there.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/")).to_path_buf()
}

fn space(context: &Context, dir: &Path) -> Finding {
    const ABOUT: &str = "free space";
    let advice = "make room, or lower cache.max_size (KACHE_MAX_SIZE) and run kache gc";
    match kache_os::room(dir).map(|room| room.bytes) {
        Err(e) => note(ABOUT, format!("not known: {e}"), "look at the file system of the cache"),
        Ok(free) if free < LITTLE_SPACE => problem(ABOUT, format!("only {}", size(free)), advice),
        Ok(free) => {
            let usage = context.store.usage();
            let grown = context.settings.max_size.saturating_sub(usage.blob_bytes + usage.record_bytes);
            let text = format!("{}; the cache may grow by {}", size(free), size(grown));
            if free < grown { note(ABOUT, text, advice) } else { ok(ABOUT, text) }
        }
    }
}

fn inodes(dir: &Path) -> Finding {
    const ABOUT: &str = "free inodes";
    match kache_os::room(dir).map(|room| room.inodes) {
        Err(e) => note(ABOUT, format!("not known: {e}"), "look at the file system of the cache"),
        Ok(None) => ok(ABOUT, "not limited"),
        Ok(Some(free)) if free < FEW_INODES => problem(
            ABOUT,
            format!("only {free}"),
            "remove small files there, or run kache gc with a smaller --max-size",
        ),
        Ok(Some(free)) => ok(ABOUT, free.to_string()),
    }
}

/// How a restored file can come from `source` to the directory `to`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Reflink,
    Link,
    Copy,
}

fn way(source: &Path, to: &Path) -> io::Result<Way> {
    if kache_os::fill_by_clone(&File::open(source)?, &kache_os::create_new(&to.join("copy"), 0o600)?)? {
        return Ok(Way::Reflink);
    }
    Ok(if kache_os::hard_link(source, &to.join("link"))? { Way::Link } else { Way::Copy })
}

/// What of a file's times is kept, by setting one and reading it back.
fn times(file: &File) -> io::Result<&'static str> {
    let odd = Stamp { sec: 1_000_000_001, nsec: 123_456_789 };
    kache_os::set_mtime(file, odd)?;
    let kept = kache_os::fstat(file)?.mtime;
    Ok(match (kept.sec == odd.sec, kept.nsec) {
        (true, 123_456_789) => "nanoseconds",
        (true, 1..) => "less than nanoseconds",
        (true, 0) => "seconds",
        (false, _) => "less than seconds",
    })
}

fn source_in(dir: &Path) -> io::Result<PathBuf> {
    let source = dir.join("source");
    std::fs::write(&source, [7; 8192])?;
    Ok(source)
}

fn abilities(dir: &Path) -> Finding {
    const ABOUT: &str = "file system";
    let tried = || -> io::Result<(Way, &str)> {
        let source = source_in(dir)?;
        Ok((way(&source, dir)?, times(&File::options().write(true).open(&source)?)?))
    };
    let (way, times) = match tried() {
        Ok(found) => found,
        Err(e) => {
            let advice = "correct it, or set KACHE_CACHE_DIR to another place";
            return problem(ABOUT, format!("files can't be written: {e}"), advice);
        }
    };
    let way = match way {
        Way::Reflink => "reflinks",
        Way::Link => "hard links, no reflinks",
        Way::Copy => "neither reflinks nor hard links",
    };
    let text = format!("of the cache: {way}; times in {times}");
    if kache_os::forbids_execution(dir) {
        let advice = "mount it without noexec, or set KACHE_CACHE_DIR to another place";
        return problem(ABOUT, format!("{text}; nothing may be loaded from there, so inputs are declared"), advice);
    }
    if times == "nanoseconds" {
        ok(ABOUT, text)
    } else {
        note(
            ABOUT,
            text,
            "results of files that were just written can't be stored; move the cache to ext4, btrfs or XFS",
        )
    }
}

/// What restoring can use from the cache to where builds are. A device number is no answer: bind mounts have one, too.
fn build_tree(context: &Context, cache: &Path) -> Finding {
    const ABOUT: &str = "build tree";
    let target = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"].into_iter().find_map(|name| context.var(name));
    let target = nearest(&context.cwd.join(target.unwrap_or("target")));
    let shown = target.display();
    let tried = probe_in(&target).and_then(|probe| way(&source_in(cache)?, probe.path()));
    let same = stat(&target).is_ok_and(|t| stat(cache).is_ok_and(|c| t.dev == c.dev));
    match tried {
        Err(e) => note(ABOUT, format!("{shown} can't be written: {e}"), "run this where you build"),
        Ok(Way::Reflink) => ok(ABOUT, format!("{shown}: reflinks from the cache; restored files cost no space")),
        Ok(Way::Link) => ok(
            ABOUT,
            format!("{shown}: hard links from the cache, no reflinks; libraries are shared, the rest is copied"),
        ),
        Ok(Way::Copy) if same => {
            note(ABOUT, format!("{shown}: neither reflinks nor hard links: all is copied"), "use ext4, btrfs or XFS")
        }
        Ok(Way::Copy) => {
            let advice = "set KACHE_CACHE_DIR to a place on the file system of your projects";
            note(ABOUT, format!("{shown} is on another file system than the cache: all is copied"), advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    /// Guards: looking leaves no trace where the cache would be, nor in the project.
    #[test]
    fn a_missing_cache_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = kache_config::Settings::resolve(&|_| None, &[dir.path()]);
        settings.cache_dir = dir.path().join("cache");
        let store = kache_store::Store::new(&settings.cache_dir, None);
        let cwd = dir.path().join("project");
        let context = Context { env: Default::default(), cwd, program: PathBuf::new(), settings, store };
        let (findings, probe) = look(&context);
        assert!(findings.iter().all(|f| f.level != Level::Problem), "{findings:?}");
        drop(probe);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
