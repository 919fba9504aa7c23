//! Housekeeping: eviction of what was used least recently, sweep of what nothing refers to, verification.
//!
//! Runs off the build path, one at a time under a lock. Builds never wait for it: whatever it removes between a build's
//! lookup and its restore is a miss there.

use crate::blob::digest_of;
use crate::spare::Spare;
use crate::{Entry, Inputs, Store, record};
use kache_key::{Digest, PathSet};
use kache_os::Lock;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What to keep.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of blobs, entries and what is kept to explain them.
    pub max_size: u64,
    /// Entries not used for longer go.
    pub max_age: Option<Duration>,
    /// These entries go in any case.
    pub unwanted: HashSet<Digest>,
    /// Only say what would go.
    pub dry_run: bool,
    /// What ages are counted from.
    pub now: SystemTime,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    pub entries: u64,
    pub evicted: u64,
    /// Bytes that removing blobs gave back. A blob that build trees still link frees nothing.
    pub freed: u64,
    /// Bytes of evicted blobs that live on in build trees.
    pub still_linked: u64,
    pub orphans: u64,
    /// Bytes of what is counted against the limit, afterwards.
    pub size: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub entries: u64,
    pub blobs: u64,
    /// Of blobs and their spares.
    pub blob_bytes: u64,
    pub record_bytes: u64,
    /// Blob bytes whose inode a build tree shares.
    pub linked_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    pub entries: u64,
    pub blobs: u64,
    pub bytes: u64,
    /// Files that are not what they should be.
    pub damaged: Vec<PathBuf>,
    /// Entries that name a blob that is not there, or damaged.
    pub incomplete: u64,
}

/// A file may be written and not yet referred to for this long (a tool's result being recorded).
const GRACE: i64 = 3600;

/// A file of the store.
pub struct Found {
    pub path: PathBuf,
    pub digest: Option<Digest>,
    pub meta: kache_os::Meta,
}

/// What is spread over [`SHARDS`] directories each.
pub const KINDS: [&str; 4] = ["entries", "blobs", "inputs", "actions"];
pub const SHARDS: u16 = 256;

impl Store {
    /// All files of one kind (`blobs`, `entries`, …).
    fn scan(&self, kind: &str) -> Vec<Found> {
        (0..SHARDS).flat_map(|n| self.shard(kind, n)).collect()
    }

    /// The files in one directory of a kind.
    pub fn shard(&self, kind: &str, number: u16) -> Vec<Found> {
        let first = format!("{number:02x}");
        let files = std::fs::read_dir(self.root().join(kind).join(&first)).into_iter().flatten().flatten();
        let found = files.filter_map(|file| {
            let path = file.path();
            let digest = Digest::from_hex(&format!("{first}{}", file.file_name().to_string_lossy()));
            Some(Found { digest, meta: kache_os::lstat(&path).ok()?, path })
        });
        found.collect()
    }

    /// When a file last came or went there.
    pub fn shard_changed(&self, kind: &str, number: u16) -> Option<kache_os::Stamp> {
        kache_os::stat(&self.root().join(kind).join(format!("{number:02x}"))).ok().map(|m| m.mtime)
    }

    fn housekeeping_lock(&self) -> io::Result<Option<Lock>> {
        let path = self.root().join("gc.lock");
        kache_os::at(&path, self.making_parent(&path, || Lock::try_exclusive(&path)))
    }

    /// What the store takes on the disk, by looking at every file.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for blob in self.scan("blobs") {
            usage.blobs += 1;
            usage.blob_bytes += blob.meta.blocks * 512;
            usage.linked_bytes += if blob.meta.links > 1 { blob.meta.blocks * 512 } else { 0 };
        }
        let entries = self.scan("entries");
        usage.blob_bytes += self.spare_bytes();
        usage.entries = entries.len() as u64;
        let records = self.scan("actions").into_iter().chain(self.scan("inputs")).chain(entries);
        usage.record_bytes = records.map(|f| f.meta.blocks * 512).sum();
        usage
    }

    /// Whether a detached housekeeping run is due: at most one each ten minutes.
    pub fn housekeeping_due(&self) -> bool {
        let stamp = self.root().join("gc.stamp");
        let now = SystemTime::now();
        let fresh = std::fs::metadata(&stamp)
            .and_then(|m| m.modified())
            .is_ok_and(|at| now.duration_since(at).map_or(true, |age| age < Duration::from_secs(600)));
        !fresh && std::fs::write(&stamp, b"").is_ok()
    }

    /// Evicts down to `limits` and sweeps what nothing refers to. `progress` gets (done, total) files. `Ok(None)`:
    /// another run is at it.
    pub fn collect(&self, limits: Limits, mut progress: impl FnMut(u64, u64)) -> io::Result<Option<GcReport>> {
        // Who only looks is in nobody's way, and may do so where nothing can be written.
        let lock = if limits.dry_run { None } else { self.housekeeping_lock()? };
        if lock.is_none() && !limits.dry_run {
            return Ok(None);
        }
        let discard = |path: &Path| {
            if !limits.dry_run {
                let _ = std::fs::remove_file(path);
            }
        };
        let now = limits.now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        let mut report = GcReport::default();
        let blobs: HashMap<Digest, Found> =
            self.scan("blobs").into_iter().filter_map(|f| Some((f.digest?, f))).collect();
        let inputs: HashMap<Digest, Found> =
            self.scan("inputs").into_iter().filter_map(|f| Some((f.digest?, f))).collect();
        let mut entries = self.scan("entries");
        entries.sort_by_key(|f| std::cmp::Reverse(f.meta.mtime));
        let mut kept: HashSet<Digest> = HashSet::new();
        let mut kept_entries: HashSet<Digest> = HashSet::new();
        let mut evicted: HashSet<Digest> = HashSet::new();
        let spares = self.spare_bytes();
        let mut size = spares;
        let (mut done, total) = (0, (entries.len() + blobs.len() + inputs.len()) as u64);
        let mut next = || {
            progress(done, total);
            done += 1;
        };
        for file in &entries {
            next();
            report.entries += 1;
            let Some((strong, entry)) = file.digest.zip(record::read::<Entry>(&file.path, record::ENTRY)) else {
                continue;
            };
            let record_size = file.meta.blocks * 512 + inputs.get(&strong).map_or(0, |f| f.meta.blocks * 512);
            let added: u64 =
                new_blobs(&entry, &kept).iter().filter_map(|d| blobs.get(d)).map(|f| f.meta.blocks * 512).sum();
            let too_old = limits.max_age.is_some_and(|age| file.meta.mtime.sec + (age.as_secs() as i64) < now);
            if too_old || limits.unwanted.contains(&strong) || size + added + record_size > limits.max_size {
                report.evicted += 1;
                evicted.extend(entry.blobs().map(|(d, _)| *d));
                discard(&file.path);
                continue;
            }
            size += added + record_size;
            kept.extend(entry.blobs().map(|(d, _)| *d));
            kept_entries.insert(strong);
        }
        for (digest, file) in &blobs {
            next();
            // A sealed blob's mtime is constant; its ctime tells when it came or was last linked.
            let being_recorded = !evicted.contains(digest) && file.meta.ctime.sec + GRACE > now;
            if kept.contains(digest) || being_recorded {
                continue;
            }
            report.orphans += 1;
            let bytes = file.meta.blocks * 512;
            *(if file.meta.links > 1 { &mut report.still_linked } else { &mut report.freed }) += bytes;
            discard(&file.path);
        }
        for (strong, file) in &inputs {
            next();
            let old = file.meta.mtime.sec + GRACE < now || limits.unwanted.contains(strong);
            if !kept_entries.contains(strong) && old {
                discard(&file.path);
            }
        }
        if !limits.dry_run {
            self.sweep_leftovers(now);
        }
        report.size = size - spares + self.spare_bytes();
        Ok(Some(report))
    }

    /// What killed processes left, spares nobody takes, locks nobody holds, path sets and days of events not written to
    /// for a month.
    fn sweep_leftovers(&self, now: i64) {
        let old = |path: &Path, age: i64| kache_os::lstat(path).is_ok_and(|m| m.mtime.sec.max(m.ctime.sec) + age < now);
        let files =
            |dir: &str| std::fs::read_dir(self.root().join(dir)).into_iter().flatten().flatten().map(|e| e.path());
        for path in files("tmp").filter(|p| old(p, 24 * 3600)) {
            let _ = std::fs::remove_file(path);
        }
        self.sweep_spares(now - 24 * 3600);
        for path in files("locks").filter(|p| old(p, 24 * 3600)) {
            if let Ok(Some(_held)) = Lock::try_exclusive(&path) {
                let _ = std::fs::remove_file(&path);
            }
        }
        for path in files("events").filter(|p| old(p, 30 * 24 * 3600)) {
            let _ = std::fs::remove_file(path);
        }
        for file in self.scan("actions") {
            if file.meta.mtime.sec + 30 * 24 * 3600 < now {
                let _ = std::fs::remove_file(file.path);
            }
        }
    }

    /// Reads every blob and record; `repair` removes what is damaged. `progress` gets (done, total) files.
    pub fn verify(&self, repair: bool, mut progress: impl FnMut(u64, u64)) -> io::Result<VerifyReport> {
        let blobs = self.scan("blobs");
        let kinds = ["entries", "actions", "inputs"].map(|kind| (kind, self.scan(kind)));
        let total = blobs.len() + kinds.iter().map(|(_, files)| files.len()).sum::<usize>();
        let (mut report, mut done) = (VerifyReport::default(), 0);
        let mut bad = HashSet::new();
        let mut damaged = Vec::new();
        for file in blobs {
            report.blobs += 1;
            report.bytes += file.meta.size;
            let read = || digest_of(&File::open(&file.path)?);
            let whole = file.meta.is_file() && file.digest.is_some_and(|d| read().is_ok_and(|is| is == d));
            // Evicted since it was listed?
            if !whole && kache_os::lstat(&file.path).is_ok() {
                bad.extend(file.digest);
                damaged.push(file.path);
            }
            done += 1;
            progress(done, total as u64);
        }
        // What a tree may still write to is read when it is taken.
        for (spare, path) in self.each_spare() {
            let Spare::Ahead(digest) = spare else { continue };
            let Ok(meta) = kache_os::lstat(&path) else { continue };
            let read = || digest_of(&File::open(&path)?);
            // Taken since it was listed?
            if !(meta.is_file() && read().is_ok_and(|is| is == digest)) && kache_os::lstat(&path).is_ok() {
                damaged.push(path);
            }
        }
        let mut incomplete = Vec::new();
        for (kind, files) in kinds {
            for file in files {
                let whole = match kind {
                    "entries" => {
                        report.entries += 1;
                        let entry = record::look::<Entry>(&file.path, record::ENTRY);
                        let there = |(d, size): (&Digest, u64)| {
                            !bad.contains(d) && kache_os::lstat(&self.blob_path(d)).is_ok_and(|m| m.size == size)
                        };
                        if let Ok(Some(entry)) = &entry
                            && !entry.blobs().all(there)
                        {
                            incomplete.push(file.path.clone());
                        }
                        entry.map(|e| e.is_some())
                    }
                    "actions" => record::look::<Vec<PathSet>>(&file.path, record::ACTION).map(|r| r.is_some()),
                    _ => record::look::<Inputs>(&file.path, record::INPUTS).map(|r| r.is_some()),
                };
                if !whole.unwrap_or_else(|e| e.kind() == io::ErrorKind::NotFound) {
                    damaged.push(file.path);
                }
                done += 1;
                progress(done, total as u64);
            }
        }
        report.incomplete = incomplete.len() as u64;
        for path in damaged.iter().chain(&incomplete).filter(|_| repair) {
            gone(path, std::fs::remove_file(path))?;
        }
        report.damaged = damaged;
        Ok(report)
    }

    /// Removes everything that is stored. The tools stay: running builds may still load them. `progress` gets what goes
    /// next.
    pub fn purge(&self, mut progress: impl FnMut(&'static str)) -> io::Result<()> {
        for kind in ["entries", "actions", "inputs", "blobs", "spares", "events", "locks", "tmp"] {
            progress(kind);
            let dir = self.root().join(kind);
            gone(&dir, std::fs::remove_dir_all(&dir))?;
        }
        for file in [self.root().join("memo"), self.index_path()] {
            gone(&file, std::fs::remove_file(&file))?;
        }
        Ok(())
    }
}

/// That something was gone already is no failure to remove it.
fn gone(path: &Path, removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => kache_os::at(path, other),
    }
}

fn new_blobs(entry: &Entry, kept: &HashSet<Digest>) -> HashSet<Digest> {
    entry.blobs().map(|(d, _)| *d).filter(|d| !kept.contains(d)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: what nothing refers to is left for an hour, as an entry may be about to name it, and then goes.
    #[test]
    fn sweeps_what_is_old() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::new(dir.path(), None);
        let digest = Digest::of(b"of no entry");
        store.put_bytes(b"of no entry", &digest).expect("a blob");
        for (minutes, left) in [(0, true), (59, true), (61, false)] {
            let now = SystemTime::now() + Duration::from_secs(minutes * 60);
            let limits = Limits { max_size: u64::MAX, max_age: None, unwanted: HashSet::new(), dry_run: false, now };
            let report = store.collect(limits, |_, _| {}).expect("a lock").expect("nobody else");
            assert_eq!((report.orphans, store.blob_path(&digest).exists()), (u64::from(!left), left), "{minutes}");
        }
    }
}
