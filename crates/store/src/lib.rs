//! The cache directory: blobs, entries, path sets, the digest memo, the event log, locks and eviction.
//!
//! Knows nothing about tools or compilers, nor why something is stored. Every byte read here may have been written by
//! another version, a killed process or a failing disk: it is bounded, checked and at worst a miss.
//!
//! ```text
//! <cache>/v1/
//!   blobs/ab/<digest>     bytes of one output; 0444 or 0555; mtime = SEAL
//!   actions/ab/<weak>     path sets seen under a weak fingerprint, newest first
//!   entries/ab/<strong>   outputs and streams of one action
//!   inputs/ab/<strong>    for people: key fields and input states of that entry
//!   memo                  file identity → digest
//!   locks/<hex>           actions in flight
//!   events/<day>.jsonl    one line per invocation
//!   tools/<digest>/…      programs kache places for others to load
//!   spares/<boot>/<digest> private copies of large blobs, made ahead
//!   spares/kept/<path>    second links to programs in build trees, by the digests of their paths
//!   tmp/                  records, blobs and restored files are written here first and moved
//!   index.db              for people: an index over entries and events, which `kache-cli` makes and mends by itself
//!   gc.lock, gc.stamp     housekeeping: one at a time, and when it was last started
//! ```

mod blob;
mod entry;
pub mod event;
mod gc;
mod memo;
mod record;
mod spare;

pub use blob::{How, Placed, SEAL};
pub use entry::{Data, Entry, Inputs, Output, OutputKind};
pub use event::{Day, Event, Outcome};
pub use gc::{Found, GcReport, KINDS, Limits, SHARDS, Usage, VerifyReport};
pub use memo::{Memo, Remembered};
pub use spare::spare_from;

use kache_key::{Digest, PathSet};
use kache_os::Lock;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

/// Part of the path of everything stored. Raise it when the format of any file changes.
///
/// History: v1, the first.
pub const FORMAT: &str = "v1";

/// Path sets kept under one weak fingerprint.
const PATH_SETS: usize = 8;

/// The store: the one owner of the cache directory's layout.
pub struct Store {
    root: PathBuf,
    serial: AtomicU32,
    /// For fault injection: the number of the step at which to die.
    kill_at: Option<u32>,
    steps: AtomicU32,
    /// Whether build trees can take reflinks of blobs, once tried.
    clones: AtomicU8,
    /// Whether build trees are on the store's device, once looked.
    near: OnceLock<bool>,
}

impl Store {
    /// `dir` is the cache directory; nothing is created or read yet.
    pub fn new(dir: &Path, kill_at: Option<u32>) -> Store {
        Store {
            root: dir.join(FORMAT),
            serial: AtomicU32::new(0),
            kill_at,
            steps: AtomicU32::new(0),
            clones: AtomicU8::new(blob::UNKNOWN),
            near: OnceLock::new(),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn sharded(&self, kind: &str, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let mut path = self.root.join(kind);
        path.push(&hex[..2]);
        path.push(&hex[2..]);
        path
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.sharded("blobs", digest)
    }

    pub fn memo(&self) -> Memo {
        Memo::open(&self.root.join("memo"))
    }

    /// Where unfinished files are.
    pub fn temp_dir(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Where the index for people is. Nothing on the way of a build reads or writes it.
    pub fn index_path(&self) -> PathBuf {
        self.root.join("index.db")
    }

    /// A name below `tmp/` that no other process uses.
    fn temp(&self) -> PathBuf {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        self.temp_dir().join(format!("{}-{serial}", kache_os::process_id()))
    }

    /// Dies here when fault injection asks for it (debug builds only). Called between any two steps whose order
    /// matters.
    pub fn step(&self) {
        if cfg!(debug_assertions) && self.kill_at == Some(self.steps.fetch_add(1, Ordering::Relaxed)) {
            kache_os::kill_self();
        }
    }

    /// Runs `write` and, when a directory was missing, makes it and tries once more.
    fn making_parent<T>(&self, path: &Path, write: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match write() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                write()
            }
            other => other,
        }
    }

    /// Puts a file into its place whole: `stage` makes it in `tmp/`, and it is renamed.
    fn publish(&self, path: &Path, stage: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let temp = self.temp();
        let staged = self.making_parent(&temp, || stage(&temp));
        self.step();
        let done = staged.and_then(|()| self.making_parent(path, || std::fs::rename(&temp, path)));
        // Also after success: renaming one link of an inode onto another leaves both.
        let _ = std::fs::remove_file(&temp);
        self.step();
        kache_os::at(path, done)
    }

    fn publish_bytes(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.publish(path, |temp| kache_os::write_new(temp, data, 0o644).map(drop))
    }

    /// The path sets recorded under a weak fingerprint, newest first. Damaged or missing: none.
    pub fn path_sets(&self, weak: &Digest) -> Vec<PathSet> {
        let path = self.sharded("actions", weak);
        record::read(&path, record::ACTION).unwrap_or_default()
    }

    /// Puts `set` first among the path sets of `weak`, and drops the oldest beyond the bound.
    pub fn add_path_set(&self, weak: &Digest, set: PathSet) -> io::Result<()> {
        let mut sets = self.path_sets(weak);
        if sets.first() == Some(&set) {
            let path = self.sharded("actions", weak);
            return if is_due(&path, std::time::SystemTime::now()) { kache_os::touch(&path) } else { Ok(()) };
        }
        sets.retain(|s| s.inputs != set.inputs);
        sets.insert(0, set);
        sets.truncate(PATH_SETS);
        self.publish_bytes(&self.sharded("actions", weak), &record::encode(record::ACTION, &sets)?)
    }

    /// Damaged or missing: none. Whether its blobs are there is asked by [`Store::check_blob`].
    pub fn entry(&self, strong: &Digest) -> Option<Entry> {
        record::read(&self.sharded("entries", strong), record::ENTRY)
    }

    pub fn put_entry(&self, strong: &Digest, entry: &Entry) -> io::Result<()> {
        self.publish_bytes(&self.sharded("entries", strong), &record::encode(record::ENTRY, entry)?)
    }

    /// For an entry that can't be served: its path set leads nowhere then, and the action runs again.
    pub fn remove_entry(&self, strong: &Digest) {
        let _ = std::fs::remove_file(self.sharded("entries", strong));
    }

    /// Notes that an entry and the path sets it was found by were used, for eviction: at most once an hour, so that a
    /// hit seldom writes.
    pub fn mark_used(&self, weak: &Digest, strong: &Digest, now: std::time::SystemTime) {
        let path = self.sharded("entries", strong);
        if is_due(&path, now) {
            let _ = kache_os::touch(&path).and_then(|()| kache_os::touch(&self.sharded("actions", weak)));
        }
    }

    /// What an entry's key was made of, for people.
    pub fn inputs(&self, strong: &Digest) -> Option<Inputs> {
        record::read(&self.sharded("inputs", strong), record::INPUTS)
    }

    pub fn put_inputs(&self, strong: &Digest, inputs: &Inputs) -> io::Result<()> {
        self.publish_bytes(&self.sharded("inputs", strong), &record::encode(record::INPUTS, inputs)?)
    }

    /// The lock of an action in flight; `Ok(None)` when its holder took longer than `limit`.
    pub fn lock_action(&self, key: &Digest, limit: Duration) -> io::Result<Option<Lock>> {
        let path = self.root.join("locks").join(&key.hex()[..32]);
        self.making_parent(&path, || Lock::exclusive_within(&path, limit))
    }

    /// Places a program that others load or execute, by content, and returns its path. The memo knows the one that is
    /// there.
    pub fn place_tool(&self, memo: &Memo, name: &str, content: &[u8], executable: bool) -> io::Result<PathBuf> {
        let digest = Digest::of(content);
        let path = self.root.join("tools").join(&digest.hex()[..16]).join(name);
        let there = kache_os::stat(&path);
        if there.as_ref().is_ok_and(|meta| memo.get(meta).is_some_and(|known| known.digest == digest)) {
            return Ok(path);
        }
        if kache_os::read_bounded(&path, content.len() as u64).is_ok_and(|there| there == content) {
            if let (Ok(meta), Ok(now)) = (there, kache_os::file_clock())
                && meta.settled(now, 0)
            {
                memo.put(&meta, Remembered { digest, output: false });
            }
            return Ok(path);
        }
        self.publish_bytes(&path, content)?;
        kache_os::set_mode(&path, if executable { 0o755 } else { 0o644 })?;
        Ok(path)
    }
}

/// Whether a record's last use was noted more than an hour ago.
fn is_due(record: &Path, now: std::time::SystemTime) -> bool {
    let now = now.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    kache_os::stat(record).is_ok_and(|m| m.mtime.sec + 3600 < now)
}
