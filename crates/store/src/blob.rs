//! Blobs: the bytes of outputs, each stored once, and how they come to their places.
//!
//! A blob is immutable. Its mtime is one constant, the *seal*: a build tree may share the inode (a hard link), and a
//! write through such a link moves the mtime, which the next use sees. Shared are cargo's `.rlib`s, the `.rmeta`s of
//! libraries whose dependencies all bear the seal, and the real programs of build scripts: cargo compares a unit's
//! outputs with its dependencies' by mtime, and one constant old time makes every checkout fresh at once. All else gets
//! an inode of its own.

use crate::Store;
use kache_key::Digest;
use kache_os::{Meta, Method, Stamp};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// The modification time of every blob: 2001-09-09 01:46:47 UTC, an odd second that nothing else uses.
pub const SEAL: Stamp = Stamp { sec: 1_000_000_007, nsec: 0 };

/// How a blob comes to its place.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub executable: bool,
    /// The inode may be the store's.
    pub share: bool,
    /// Also then it gets the mode that the umask gives: a tool that would replace it looks whether it may write to it.
    pub writable: bool,
    /// It may be a spare.
    pub spare: bool,
}

/// An output at its place.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    pub method: Method,
    pub meta: Meta,
}

/// Of an open file's bytes, on several threads where there are many.
pub fn digest_of(file: &File) -> io::Result<Digest> {
    Digest::of_parts(kache_os::fstat(file)?.size, &|buf: &mut [u8], at: u64| kache_os::read_at(file, buf, at))
}

fn sealed_mode(executable: bool) -> u32 {
    if executable { 0o555 } else { 0o444 }
}

/// What a plain tool's file would have: the umask decides.
fn plain_mode(executable: bool) -> u32 {
    if executable { 0o777 } else { 0o666 }
}

impl Store {
    /// Takes the file at `from` as a blob: by reflink, else (when `share`) by making the file itself the blob, else by
    /// copying. A shared file gets the seal and loses its write permission.
    ///
    /// A blob that is there already is read before it is taken for this one: its new entry will vouch for it.
    pub fn put_file(&self, from: &Path, digest: &Digest, executable: bool, share: bool) -> io::Result<()> {
        let blob = self.blob_path(digest);
        if self.check_blob(digest, 0, true) {
            return Ok(());
        }
        self.publish(&blob, |temp| {
            let source = File::open(from)?;
            let mut copy = kache_os::create_new(temp, 0o600)?;
            let cloned = kache_os::fill_by_clone(&source, &copy)?;
            if !cloned && share {
                drop(copy);
                std::fs::remove_file(temp)?;
                if kache_os::hard_link(from, temp)? {
                    return kache_os::seal(&source, sealed_mode(executable), SEAL);
                }
                copy = kache_os::create_new(temp, 0o600)?;
            }
            if !cloned {
                kache_os::copy(&source, &mut copy)?;
            }
            kache_os::seal(&copy, sealed_mode(executable), SEAL)
        })
    }

    /// Stores bytes as a blob.
    pub fn put_bytes(&self, data: &[u8], digest: &Digest) -> io::Result<()> {
        let blob = self.blob_path(digest);
        if self.check_blob(digest, 0, true) {
            return Ok(());
        }
        self.publish(&blob, |temp| {
            let file = kache_os::write_new(temp, data, 0o600)?;
            kache_os::seal(&file, sealed_mode(false), SEAL)
        })
    }

    /// Whether the blob is there and whole. Its seal and size tell; where they are off, or with `reread`, its bytes do:
    /// a blob that was only touched is sealed again, a changed one is dropped.
    pub fn check_blob(&self, digest: &Digest, size: u64, reread: bool) -> bool {
        let path = self.blob_path(digest);
        let Ok(meta) = kache_os::lstat(&path) else { return false };
        if !reread && meta.is_file() && meta.size == size && meta.mtime == SEAL {
            return true;
        }
        let rehashed = || {
            let file = File::open(&path)?;
            let same = digest_of(&file)? == *digest;
            if same && meta.mtime != SEAL {
                kache_os::seal(&file, sealed_mode(meta.mode & 0o100 != 0), SEAL)?;
            }
            io::Result::Ok(same)
        };
        let whole = meta.is_file() && rehashed().unwrap_or(false);
        if !whole {
            let _ = std::fs::remove_file(&path);
        }
        whole
    }

    /// The bytes of a blob, checked against its digest.
    pub fn blob_bytes(&self, digest: &Digest, size: u64) -> Option<Vec<u8>> {
        let path = self.blob_path(digest);
        let data = kache_os::read_bounded(&path, size).ok()?;
        if Digest::of(&data) != *digest {
            let _ = std::fs::remove_file(&path);
            return None;
        }
        Some(data)
    }

    /// Puts a checked blob of `size` bytes at `dest`, atomically.
    pub fn place_blob(&self, digest: &Digest, size: u64, dest: &Path, how: How) -> io::Result<Placed> {
        let How { executable, share, writable, spare } = how;
        let (blob, plain) = (self.blob_path(digest), plain_mode(executable));
        let mode = plain & !kache_os::umask();
        // A reflink gives each tree its own inode for nothing; a link is the next best, for those that may share.
        if share && !self.can_clone(&blob, dest)? && self.link(&blob, dest)? {
            let meta = kache_os::lstat(dest)?;
            if !writable || meta.mode == mode || kache_os::set_mode(dest, mode).is_ok() {
                return Ok(Placed { method: Method::Link, meta });
            }
        }
        let method = std::cell::Cell::new(Method::Copy);
        self.write_into(dest, |temp| {
            if spare && self.take_spare(digest, size, mode, temp, dest) {
                return Ok(());
            }
            let source = File::open(&blob)?;
            let mut file = kache_os::create_new(temp, plain)?;
            method.set(kache_os::fill(&source, &mut file, self.clones.load(Ordering::Relaxed) != NO)?);
            self.clones.store(if method.get() == Method::Reflink { YES } else { NO }, Ordering::Relaxed);
            Ok(())
        })?;
        Ok(Placed { method: method.get(), meta: kache_os::lstat(dest)? })
    }

    /// Writes bytes to `dest`, atomically.
    pub fn place_bytes(&self, data: &[u8], dest: &Path, executable: bool) -> io::Result<Placed> {
        self.write_into(dest, |temp| kache_os::write_new(temp, data, plain_mode(executable)).map(drop))?;
        Ok(Placed { method: Method::Copy, meta: kache_os::lstat(dest)? })
    }

    /// Writes a file in `tmp/` and moves it to `dest`; beside `dest`, where that is on another file system.
    ///
    /// In `tmp/` first, not only to be atomic: ext4 looks for a free inode near the directory, and among the many that
    /// `cargo clean` has just freed it passes over each for some seconds (`recently_deleted`), which took a third of a
    /// restore's time.
    fn write_into(&self, dest: &Path, write: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        // On a full disk, what was written would keep the little that is left.
        let or_gone = |at: &Path, done: io::Result<()>| done.inspect_err(|_| drop(std::fs::remove_file(at)));
        if self.same_device(dest) {
            let near = self.temp();
            let written = self.making_parent(&near, || write(&near));
            match or_gone(&near, written.and_then(|()| self.move_to(&near, dest))) {
                Err(e) if must_be_beside(&e) => {}
                other => return kache_os::at(dest, other),
            }
        }
        let beside = self.beside(dest);
        kache_os::at(dest, or_gone(&beside, write(&beside).and_then(|()| self.move_to(&beside, dest))))
    }

    /// Asked once: the outputs of one action lie on one device.
    pub fn same_device(&self, dest: &Path) -> bool {
        let device = |path: &Path| kache_os::lstat(path).ok().map(|m| m.dev);
        let same = || dest.parent().and_then(device).is_some_and(|there| device(self.root()) == Some(there));
        *self.near.get_or_init(same)
    }

    fn move_to(&self, temp: &Path, dest: &Path) -> io::Result<()> {
        self.step();
        // Replacing a file by rename makes ext4 write the new one out at once (auto_da_alloc).
        let _ = std::fs::remove_file(dest);
        let moved = std::fs::rename(temp, dest);
        self.step();
        moved
    }

    fn beside(&self, dest: &Path) -> PathBuf {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        dest.with_file_name(format!(".kache-{}-{serial}", kache_os::process_id()))
    }

    /// Whether `dest`'s file system can clone from the store's: asked once per process, by trying where it may be.
    fn can_clone(&self, blob: &Path, dest: &Path) -> io::Result<bool> {
        if self.clones.load(Ordering::Relaxed) == UNKNOWN && kache_os::never_clones(self.root()) {
            self.clones.store(NO, Ordering::Relaxed);
        }
        if self.clones.load(Ordering::Relaxed) == UNKNOWN {
            let temp = if self.same_device(dest) { self.temp() } else { self.beside(dest) };
            let probe = self.making_parent(&temp, || kache_os::create_new(&temp, 0o600))?;
            let can = kache_os::fill_by_clone(&File::open(blob)?, &probe);
            let _ = std::fs::remove_file(&temp);
            self.clones.store(if can? { YES } else { NO }, Ordering::Relaxed);
        }
        Ok(self.clones.load(Ordering::Relaxed) == YES)
    }

    fn link(&self, blob: &Path, dest: &Path) -> io::Result<bool> {
        match kache_os::hard_link(blob, dest) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other,
        }
        if kache_os::lstat(dest)?.same_file(&kache_os::lstat(blob)?) {
            return Ok(true);
        }
        let temp = self.beside(dest);
        let linked = kache_os::hard_link(blob, &temp)?;
        if linked {
            self.step();
            std::fs::rename(&temp, dest)?;
        }
        Ok(linked)
    }
}

/// The store is elsewhere, or can't be written to.
fn must_be_beside(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), CrossesDevices | PermissionDenied | ReadOnlyFilesystem | StorageFull)
}

/// What is known about reflinks between the store and the build tree.
pub const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;
