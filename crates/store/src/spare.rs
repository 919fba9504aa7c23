//! Spares: private files with a large blob's bytes, at hand before they are wanted, so that placing one is a rename.
//!
//! Where the file system can't clone, what a build tree may write to is copied, and a large copy is what a warm build
//! spends most of its time on: the memory it goes to must be found first. There are two kinds of spares:
//!
//! - *Made ahead*: when a large blob was copied into a tree, a detached process makes the copy that the next tree will
//!   get. What was restored once is restored again; of what is only stored, metadata gets one. Such a spare bears the
//!   seal until it is taken, and the name of the boot it was made under: nobody waits for it to reach the disk, and
//!   after a restart what did is unknown.
//! - *Kept*: a second link to a program in a tree, by the path it has there. When the tree was removed, what is made
//!   anew at that path gets its old file back. It was the tree's own till then: its bytes are read before it is used.

use crate::blob::digest_of;
use crate::{SEAL, Store};
use kache_key::Digest;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// From how many bytes on spares are worth it.
pub mod spare_from {
    /// Kept, or taken at all: copying less takes hardly longer than looking after a spare.
    pub const ANY: u64 = 1 << 20;
    /// Made ahead of what other actions wait for: they begin sooner.
    pub const AWAITED: u64 = ANY;
    /// Made ahead of all else: copying less takes no longer than starting a process that does.
    pub const UNAWAITED: u64 = 8 << 20;
}

/// The directory of those that trees had. (A boot's name is longer.)
const KEPT: &str = "kept";

/// Spares take no more than this part of the free disk.
const PART_OF_ROOM: u64 = 16;

/// What a file among the spares is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spare {
    Kept,
    /// Made ahead, of this blob, under this boot.
    Ahead(Digest),
    /// Never taken: made under another boot, or nobody's.
    Useless,
}

impl Store {
    fn spares(&self) -> PathBuf {
        self.root().join("spares")
    }

    fn made_ahead(&self) -> PathBuf {
        self.spares().join(kache_os::boot_id())
    }

    fn kept_of(&self, place: &Path) -> PathBuf {
        self.spares().join(KEPT).join(Digest::of(place.as_os_str().as_encoded_bytes()).hex())
    }

    /// Moves a spare of the blob to `temp`, on its way to `dest`, with these permission bits and the time a tool
    /// would have left.
    pub(crate) fn take_spare(&self, digest: &Digest, size: u64, mode: u32, temp: &Path, dest: &Path) -> bool {
        if size < spare_from::ANY {
            return false;
        }
        let take = |spare: PathBuf, whole: &dyn Fn(&File) -> io::Result<bool>| {
            if std::fs::rename(spare, temp).is_err() {
                return false;
            }
            self.step();
            let ready = kache_os::open_as_new(temp).and_then(|file| {
                let Some(file) = file else { return Ok(false) };
                Ok(file.metadata()?.len() == size && whole(&file)? && kache_os::renew(&file, mode).is_ok())
            });
            let ready = ready.unwrap_or(false);
            if !ready {
                let _ = std::fs::remove_file(temp);
            }
            ready
        };
        // Reading takes a little longer than trusting a seal, but nothing has to be copied anew.
        take(self.kept_of(dest), &|file| Ok(digest_of(file)? == *digest))
            || take(self.made_ahead().join(digest.hex()), &|file| Ok(kache_os::fstat(file)?.mtime == SEAL))
    }

    /// Keeps the file at `place`, as far as all spares together stay below `limit` bytes, for what will be restored
    /// there when it is gone.
    pub fn keep_spare(&self, place: &Path, limit: u64) -> io::Result<()> {
        let (kept, meta) = (self.kept_of(place), kache_os::lstat(place)?);
        // One that is nobody's any more is as good; where files are cloned, none is wanted.
        let unused = || kache_os::lstat(&kept).is_ok_and(|kept| kept.links == 1 && kept.size == meta.size);
        if meta.size < spare_from::ANY || !kache_os::never_clones(self.root()) || unused() {
            return Ok(());
        }
        if !self.has_room(meta.size, limit)? {
            return Ok(());
        }
        self.publish(&kept, |temp| match kache_os::hard_link(place, temp)? {
            true => Ok(()),
            false => Err(io::ErrorKind::Unsupported.into()),
        })
    }

    fn has_room(&self, size: u64, limit: u64) -> io::Result<bool> {
        let room = kache_os::room(self.root())?.bytes / PART_OF_ROOM;
        // The kept ones count whole: their trees may go.
        let taken: u64 = self.each_spare().filter_map(|(_, path)| kache_os::lstat(&path).ok()).map(|m| m.size).sum();
        Ok(taken + size <= limit.min(room))
    }

    /// Whether a spare should be made of a blob of `size` bytes: it would have to be copied, there is none, and all
    /// spares together would stay below `limit` bytes.
    pub fn wants_spare(&self, digest: &Digest, size: u64, limit: u64) -> bool {
        kache_os::never_clones(self.root())
            && kache_os::lstat(&self.made_ahead().join(digest.hex())).is_err()
            && self.has_room(size, limit).unwrap_or(false)
    }

    /// Makes the spares of these blobs, where they are wanted.
    pub fn make_spares(&self, digests: &[Digest], limit: u64) -> io::Result<()> {
        for digest in digests {
            let spare = self.made_ahead().join(digest.hex());
            let blob = self.blob_path(digest);
            if self.wants_spare(digest, kache_os::lstat(&blob)?.size, limit) {
                self.publish(&spare, |temp| self.copy_whole(&blob, digest, temp))?;
            }
        }
        Ok(())
    }

    fn copy_whole(&self, blob: &Path, digest: &Digest, temp: &Path) -> io::Result<()> {
        let mut copy = kache_os::create_new(temp, 0o600)?;
        kache_os::copy(&File::open(blob)?, &mut copy)?;
        // Here nobody waits for it to be read.
        match digest_of(&File::open(temp)?)? == *digest {
            true => kache_os::seal(&copy, 0o600, SEAL),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Files that are kept, as (device, inode), with the paths by which they are.
    pub fn kept(&self) -> HashMap<(u64, u64), PathBuf> {
        let all = self.each_spare().filter(|(spare, _)| *spare == Spare::Kept);
        all.filter_map(|(_, path)| kache_os::lstat(&path).ok().map(|m| ((m.dev, m.ino), path))).collect()
    }

    /// Lets go of what is kept of removed trees: who removes them for the space wants that, too.
    pub fn release_kept(&self) {
        for path in self.kept().into_values() {
            if kache_os::lstat(&path).is_ok_and(|m| m.links == 1) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// What the spares take on the disk.
    pub fn spare_bytes(&self) -> u64 {
        let alone = self.each_spare().filter_map(|(_, path)| kache_os::lstat(&path).ok().filter(|m| m.links == 1));
        alone.map(|meta| meta.blocks * 512).sum()
    }

    /// All files among the spares.
    pub(crate) fn each_spare(&self) -> impl Iterator<Item = (Spare, PathBuf)> {
        let inside = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let ahead = self.made_ahead();
        inside(self.spares()).flat_map(inside).map(move |path| {
            let named = path.file_name().and_then(|name| Digest::from_hex(&name.to_string_lossy()));
            let spare = match (path.parent(), named) {
                (Some(dir), Some(_)) if dir.ends_with(KEPT) => Spare::Kept,
                (Some(dir), Some(digest)) if dir == ahead => Spare::Ahead(digest),
                _ => Spare::Useless,
            };
            (spare, path)
        })
    }

    /// Removes useless spares, those of blobs that are gone, and those that nobody has or took since the time `since`.
    pub(crate) fn sweep_spares(&self, since: i64) {
        for (spare, path) in self.each_spare() {
            let Ok(meta) = kache_os::lstat(&path) else { continue };
            let recent = meta.ctime.sec >= since;
            let wanted = match spare {
                Spare::Kept => meta.links > 1 || recent,
                Spare::Ahead(digest) => recent && self.blob_path(&digest).exists(),
                Spare::Useless => false,
            };
            if !wanted {
                let _ = std::fs::remove_file(&path);
            }
        }
        for dir in std::fs::read_dir(self.spares()).into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(dir.path());
        }
    }
}
