//! Spares: private copies of large blobs, made ahead, so that placing one is a rename.
//!
//! Where the file system can't clone, what a build tree may write to is copied, and a large copy is what a warm build
//! spends most of its time on: the memory it goes to must be found first. So when a large blob was copied into a tree, a
//! detached process makes the copy that the next tree will get. What was restored once is restored again; what is only
//! stored gets no spare.
//!
//! A spare bears the seal until it is taken, and the name of the boot it was made under: nobody waits for it to reach
//! the disk, and after a restart what did is unknown.

use crate::{SEAL, Store};
use kache_key::Digest;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// In bytes. Copying less takes no longer than starting a process that does.
pub const SPARE_FROM: u64 = 8 << 20;

/// Spares take no more than this part of the free disk.
const PART_OF_ROOM: u64 = 16;

impl Store {
    fn spares(&self) -> PathBuf {
        self.root().join("spares")
    }

    /// Moves a blob's spare to `temp`, with these permission bits and the time a tool would have left.
    pub(crate) fn take_spare(&self, digest: &Digest, size: u64, mode: u32, temp: &Path) -> bool {
        let spare = self.spares().join(kache_os::boot_id()).join(digest.hex());
        if size < SPARE_FROM || std::fs::rename(spare, temp).is_err() {
            return false;
        }
        self.step();
        let whole = |file: &Path| {
            let meta = kache_os::lstat(file)?;
            Ok::<_, io::Error>(meta.is_file() && (meta.links, meta.size, meta.mtime) == (1, size, SEAL))
        };
        let taken = whole(temp).and_then(|whole| {
            kache_os::set_mode(temp, mode)?;
            kache_os::touch(temp)?;
            Ok(whole)
        });
        let taken = taken.unwrap_or(false);
        if !taken {
            let _ = std::fs::remove_file(temp);
        }
        taken
    }

    /// Makes the spares of these blobs, as far as all spares together stay below `limit` bytes.
    pub fn make_spares(&self, digests: &[Digest], limit: u64) -> io::Result<()> {
        let dir = self.spares().join(kache_os::boot_id());
        for digest in digests {
            let spare = dir.join(digest.hex());
            let blob = self.blob_path(digest);
            let size = kache_os::lstat(&blob)?.size;
            let room = kache_os::room(self.root())?.bytes / PART_OF_ROOM;
            if kache_os::lstat(&spare).is_ok() || self.spare_bytes() + size > limit.min(room) {
                continue;
            }
            let temp = self.temp();
            let made = self.copy_whole(&blob, digest, &temp).and_then(|()| {
                self.step();
                self.making_parent(&spare, || std::fs::rename(&temp, &spare))
            });
            if made.is_err() {
                let _ = std::fs::remove_file(&temp);
            }
            made?;
        }
        Ok(())
    }

    fn copy_whole(&self, blob: &Path, digest: &Digest, temp: &Path) -> io::Result<()> {
        let mut copy = kache_os::create_new(temp, 0o600)?;
        kache_os::copy(&File::open(blob)?, &mut copy)?;
        // Here nobody waits for it to be read.
        match Digest::of_reader(&mut File::open(temp)?)? == *digest {
            true => kache_os::seal(&copy, 0o600, SEAL),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// What the spares take on the disk.
    pub fn spare_bytes(&self) -> u64 {
        self.each_spare().filter_map(|path| kache_os::lstat(&path).ok()).map(|meta| meta.blocks * 512).sum()
    }

    pub(crate) fn each_spare(&self) -> impl Iterator<Item = PathBuf> {
        let inside = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        inside(self.spares()).flat_map(inside)
    }

    /// Removes spares of other boots, of blobs that are gone, and those that nobody took since the time `since`.
    pub(crate) fn sweep_spares(&self, since: i64) {
        let boot = kache_os::boot_id();
        for path in self.each_spare() {
            let digest = path.file_name().and_then(|name| Digest::from_hex(&name.to_string_lossy()));
            let wanted = digest.is_some_and(|d| self.blob_path(&d).exists())
                && path.parent().is_some_and(|dir| dir.ends_with(&boot))
                && kache_os::lstat(&path).is_ok_and(|meta| meta.ctime.sec >= since);
            if !wanted {
                let _ = std::fs::remove_file(&path);
            }
        }
        for dir in std::fs::read_dir(self.spares()).into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(dir.path());
        }
    }
}
