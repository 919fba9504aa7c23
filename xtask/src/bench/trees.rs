//! Trees of files: copies of a subject, their size on disk, and what two target directories have in common.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::system::{Done, about};

/// A copy without build results and history.
pub fn copy(from: &Path, to: &Path) -> Done {
    fs::create_dir_all(to).map_err(|e| about(to.display(), e))?;
    for entry in fs::read_dir(from).map_err(|e| about(from.display(), e))?.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name() == "target" || entry.file_name() == ".git" {
            continue;
        }
        let kind = entry.file_type().map_err(|e| about(source.display(), e))?;
        if kind.is_dir() {
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&source).map_err(|e| about(source.display(), e))?;
            std::os::unix::fs::symlink(link, &target).map_err(|e| about(target.display(), e))?;
        } else {
            fs::copy(&source, &target).map_err(|e| about(source.display(), e))?;
        }
    }
    Ok(())
}

pub fn remove(dir: &Path) -> Done {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(about(dir.display(), e)),
        _ => Ok(()),
    }
}

pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Bytes on disk, each inode once.
pub fn disk_usage(dir: &Path) -> u64 {
    let mut seen = HashSet::new();
    let metas = files(dir).into_iter().filter_map(|p| fs::symlink_metadata(p).ok());
    metas.filter(|m| seen.insert((m.dev(), m.ino()))).map(|m| m.blocks() * 512).sum()
}

/// What the outputs of the second tree have to do with those of the first.
#[derive(Default)]
pub struct Kinship {
    pub equal: usize,
    pub different: Vec<String>,
    /// Outputs of the second that contain the first one's path.
    pub leaks: Vec<String>,
}

/// Compares the outputs of two checkouts of one commit. Incremental state is never reproducible, cargo's fingerprints
/// and dependency files name their checkout by design (but only their own).
pub fn kinship(first: &Path, second: &Path) -> Kinship {
    let mut found = Kinship::default();
    let (ours, theirs) = (second.join("target"), first.join("target"));
    let needle = first.as_os_str().as_encoded_bytes();
    for path in files(&ours) {
        let rel = path.strip_prefix(&ours).expect("below").to_owned();
        let part = |p: &str| rel.components().any(|c| c.as_os_str() == p);
        let own = ["root-output", ".rustc_info.json"].iter().any(|n| rel.ends_with(n));
        if own || part("incremental") || part(".fingerprint") {
            continue;
        }
        let Ok(bytes) = fs::read(&path) else { continue };
        if memchr::memmem::find(&bytes, needle).is_some() {
            found.leaks.push(rel.display().to_string());
        }
        let Ok(other) = fs::read(theirs.join(&rel)) else { continue };
        if bytes == other {
            found.equal += 1;
        } else if rel.extension().is_none_or(|e| e != "d") {
            found.different.push(rel.display().to_string());
        }
    }
    found.different.sort();
    found.leaks.sort();
    found
}
