//! The one facade over the operating system: file identities, clones and links, locks, clock stamps, processes, signals.
//!
//! Knows nothing about caches or compilers. What differs between systems lives in one file per system behind the same
//! names; nothing outside this crate may assume Unix beyond "paths are bytes", which [`bytes`] and [`path`] convert.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;

use std::io;
use std::path::{Component, Path, PathBuf};

/// A file time: seconds and nanoseconds since the epoch, as the kernel stamped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stamp {
    pub sec: i64,
    pub nsec: u32,
}

impl Stamp {
    /// This stamp moved back by `ms` milliseconds.
    fn minus_ms(self, ms: u32) -> Stamp {
        let total = i128::from(self.sec) * 1_000_000_000 + i128::from(self.nsec) - i128::from(ms) * 1_000_000;
        Stamp { sec: total.div_euclid(1_000_000_000) as i64, nsec: total.rem_euclid(1_000_000_000) as u32 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    File,
    Dir,
    Symlink,
    Other,
}

/// What one `stat` says: enough to tell whether a file is still the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    pub kind: FileKind,
    pub dev: u64,
    pub ino: u64,
    pub born: Stamp,
    pub size: u64,
    pub mtime: Stamp,
    pub ctime: Stamp,
    /// Permission bits (`0o7777`).
    pub mode: u32,
    pub links: u64,
    /// 512-byte blocks in use.
    pub blocks: u64,
}

impl Meta {
    pub fn is_file(&self) -> bool {
        self.kind == FileKind::File
    }
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Dir
    }
    /// Whether a write at the time `at` of the file clock, or later, would show in the times: they are older. Where
    /// ctime has no fraction, the file system keeps seconds, or two of them (ext4 with small inodes, FAT).
    pub fn settled(&self, at: Stamp, margin_ms: u32) -> bool {
        let grain = if self.ctime.nsec == 0 { 2000 } else { 0 };
        self.mtime.max(self.ctime) < at.minus_ms(margin_ms.max(grain))
    }
    /// Whether it is the same file and, as far as its times tell, unchanged.
    pub fn same_content(&self, other: &Meta) -> bool {
        let times = |m: &Meta| (m.size, m.mtime, m.ctime);
        self.same_file(other) && times(self) == times(other)
    }
    pub fn same_file(&self, other: &Meta) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

/// What is free on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub bytes: u64,
    /// Where their number is limited.
    pub inodes: Option<u64>,
}

/// How a file came to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Reflink,
    Link,
    Copy,
}

/// The path without `.` and `..`, by its text alone: for names that people are shown, not for opening.
pub fn lexical(path: &Path) -> PathBuf {
    let mut place = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = place.pop(),
            Component::CurDir => {}
            part => place.push(part),
        }
    }
    place
}

/// Adds the path to an error, which the standard library leaves out.
pub fn at<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}
