//! The digest memo: file identity → digest, shared by all processes, without locks.
//!
//! A file of 4,096 pages of 64 slots of 64 bytes:
//! ```text
//! key     16 bytes: BLAKE3 of (kind, device, inode, birth, size, mtime, ctime), cut
//! digest  32 bytes
//! flags    1 byte: OUTPUT
//! zero     3 bytes
//! check   12 bytes: BLAKE3 of the 52 bytes before, cut
//! ```
//! One slot is one `pwrite`; a torn one fails its check and is a miss. Reading and writing by `pread`/`pwrite` rather
//! than a mapping: a full disk is then an error and not a signal.
//!
//! Neighbouring inodes share a page: the files of a toolchain or a package, which were written one after the other, are
//! known after a few reads.
//!
//! Files whose mtime is the seal are known without their ctime, which each link or unlink in another checkout moves.

use crate::blob::SEAL;
use kache_key::Digest;
use kache_os::Meta;
use std::cell::RefCell;
use std::fs::File;
use std::path::Path;

const SLOT: usize = 64;
const SLOTS: usize = 64;
const PAGES: u64 = 1 << 12;
const SIZE: u64 = PAGES * PAGE as u64;
const PAGE: usize = SLOT * SLOTS;
/// So many neighbouring inodes share a page.
const NEIGHBOURS: u64 = 32;

const OUTPUT: u8 = 1;

/// What is known of a file that did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    pub digest: Digest,
    /// kache itself wrote or recorded these bytes: they are final, however new the file is.
    pub output: bool,
}

/// The open table, or nothing.
pub struct Memo {
    file: Option<File>,
    /// Pages read before, of each the slots in use: few are, and fresh memory is slow. What one of them does not know
    /// is looked for in the file again.
    pages: RefCell<Vec<(u64, Vec<u8>)>>,
}

/// What a file is known by.
struct Key {
    id: [u8; 16],
    page: u64,
}

impl Memo {
    /// A memo that can't be opened remembers nothing.
    pub fn open(path: &Path) -> Memo {
        let file = kache_os::open_table(path, SIZE).or_else(|e| {
            let parent = path.parent().filter(|_| e.kind() == std::io::ErrorKind::NotFound).ok_or(e)?;
            std::fs::create_dir_all(parent)?;
            kache_os::open_table(path, SIZE)
        });
        Memo { file: file.ok(), pages: RefCell::default() }
    }

    /// Remembers nothing.
    pub fn none() -> Memo {
        Memo { file: None, pages: RefCell::default() }
    }

    /// Names an inode whatever happened to its times: cargo sets those of `.rmeta` files after `check` builds.
    fn key_of_inode(meta: &Meta) -> Key {
        let none = kache_os::Stamp::default();
        Memo::key(&Meta { mtime: none, ctime: none, ..*meta })
    }

    /// Names a sealed inode: each link or unlink in another checkout moves its ctime.
    fn key_of_sealed(meta: &Meta) -> Option<Key> {
        (meta.mtime == SEAL).then(|| Memo::key(&Meta { ctime: SEAL, ..*meta }))
    }

    fn key(meta: &Meta) -> Key {
        let mut id = [0u8; 96];
        let stamp = |s: kache_os::Stamp| (s.sec as u64, u64::from(s.nsec));
        let (born, mtime, ctime) = (stamp(meta.born), stamp(meta.mtime), stamp(meta.ctime));
        let words = [
            u64::from(meta.is_dir()),
            meta.dev,
            meta.ino,
            meta.size,
            born.0,
            born.1,
            mtime.0,
            mtime.1,
            ctime.0,
            ctime.1,
        ];
        for (i, w) in words.iter().enumerate() {
            id[i * 8..i * 8 + 8].copy_from_slice(&w.to_le_bytes());
        }
        let page = (meta.ino / NEIGHBOURS).wrapping_add(meta.dev.wrapping_mul(0x9e37_79b9)) % PAGES;
        Key { id: first(&Digest::of(&id)), page }
    }

    pub fn get(&self, meta: &Meta) -> Option<Remembered> {
        // Only kache's own outputs are sealed; another file may bear that time by chance.
        let sealed = Memo::key_of_sealed(meta).and_then(|key| self.find(key)).filter(|known| known.output);
        sealed.or_else(|| self.find(Memo::key(meta)))
    }

    /// What kache last recorded as output in this inode. Its times have changed since: whether its bytes have is to be
    /// found out.
    pub fn output_in(&self, meta: &Meta) -> Option<Remembered> {
        self.find(Memo::key_of_inode(meta))
    }

    fn find(&self, key: Key) -> Option<Remembered> {
        let there = |slots: &[u8]| slots.chunks_exact(SLOT).find_map(|slot| read_slot(slot, &key.id));
        let known = self.pages.borrow().iter().find(|(at, _)| *at == key.page).and_then(|(_, page)| there(page));
        known.or_else(|| {
            let page = self.read(key.page)?;
            let used = page.chunks_exact(SLOT).filter(|slot| slot.iter().any(|b| *b != 0));
            let mut pages = self.pages.borrow_mut();
            pages.retain(|(at, _)| *at != key.page);
            pages.push((key.page, used.flatten().copied().collect()));
            there(&page)
        })
    }

    fn read(&self, page: u64) -> Option<[u8; PAGE]> {
        let mut data = [0u8; PAGE];
        kache_os::read_at(self.file.as_ref()?, &mut data[..], page * PAGE as u64).ok()?;
        Some(data)
    }

    /// Remembers the file in this state; an output that is not sealed also by its inode alone.
    pub fn put(&self, meta: &Meta, known: Remembered) {
        match Memo::key_of_sealed(meta).filter(|_| known.output) {
            Some(key) => self.keep(&key, known),
            None => {
                self.keep(&Memo::key(meta), known);
                if known.output {
                    self.keep(&Memo::key_of_inode(meta), known);
                }
            }
        }
    }

    fn keep(&self, key: &Key, known: Remembered) {
        let (Some(file), Some(page)) = (&self.file, self.read(key.page)) else { return };
        let slot = |way: usize| &page[way * SLOT..(way + 1) * SLOT];
        // Each key has its own first choice, so that two processes seldom take the same free slot.
        let choice = usize::from(key.id[2]) % SLOTS;
        let ways = || (0..SLOTS).map(|i| (choice + i) % SLOTS);
        let way = ways()
            .find(|way| slot(*way)[..16] == key.id)
            .or_else(|| ways().find(|way| slot(*way).iter().all(|b| *b == 0)))
            .unwrap_or(choice);
        // A read-only cache remembers nothing new.
        let _ = kache_os::write_at(file, &write_slot(&key.id, known), key.page * PAGE as u64 + (way * SLOT) as u64);
    }
}

fn first<const N: usize>(digest: &Digest) -> [u8; N] {
    let mut out = [0u8; N];
    out.copy_from_slice(&digest.as_bytes()[..N]);
    out
}

fn write_slot(key: &[u8; 16], known: Remembered) -> [u8; SLOT] {
    let mut slot = [0u8; SLOT];
    slot[..16].copy_from_slice(key);
    slot[16..48].copy_from_slice(known.digest.as_bytes());
    slot[48] = if known.output { OUTPUT } else { 0 };
    let check: [u8; 12] = first(&Digest::of(&slot[..52]));
    slot[52..].copy_from_slice(&check);
    slot
}

fn read_slot(slot: &[u8], key: &[u8; 16]) -> Option<Remembered> {
    if &slot[..16] != key || slot[52..] != first::<12>(&Digest::of(&slot[..52])) {
        return None;
    }
    let mut digest = [0u8; 32];
    digest.copy_from_slice(&slot[16..48]);
    Some(Remembered { digest: Digest::from_bytes(digest), output: slot[48] & OUTPUT != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a slot with any changed byte is not believed.
    #[test]
    fn torn_slots_are_not_believed() {
        let known = Remembered { digest: Digest::of(b"x"), output: true };
        let key = [7u8; 16];
        let slot = write_slot(&key, known);
        assert_eq!(read_slot(&slot, &key), Some(known));
        for at in 0..SLOT {
            let mut bad = slot;
            bad[at] ^= 0x40;
            assert_eq!(read_slot(&bad, &key), None, "byte {at}");
        }
    }
}
