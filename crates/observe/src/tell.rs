//! How kache itself reports, where an observed program starts it (a build script's `CC="kache gcc"`, or a compiler's name
//! that is a link to kache): it is a static program, which no library can be preloaded into.
//!
//! Knows nothing of compilers: it tells that this process runs, and what it becomes.

use crate::trace::{HEADER, Kind, OVERFLOW, RECORD, flag};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A program that was searched for: by this name, on this `PATH`.
pub struct Search<'a> {
    pub name: &'a [u8],
    pub path: &'a [u8],
}

/// The trace of an observed action, as one of its processes sees it: see the format in `trace.rs`.
struct Shared {
    memory: *mut u8,
    capacity: usize,
}

/// Tells the trace at `place` ([`ENV_TRACE`](crate::ENV_TRACE)) that this process is `me` and becomes `program` now.
pub fn becomes(place: &Path, me: &[u8], program: &[u8], search: Option<&Search>) -> io::Result<()> {
    let shared = Shared::map(place)?;
    let pid = std::process::id() as i32;
    let starter = rustix::process::getppid().map_or(0, |p| p.as_raw_nonzero().get());
    shared.append(pid, Kind::Start, 0, starter, me, b"");
    match search {
        None => shared.append(pid, Kind::Exec, 0, 0, program, b""),
        Some(search) => {
            shared.append(pid, Kind::Exec, flag::OTHER_PATH, 1, program, search.name);
            shared.append(pid, Kind::SearchPath, 0, 0, search.path, search.name);
        }
    }
    Ok(())
}

impl Shared {
    fn map(place: &Path) -> io::Result<Shared> {
        use rustix::mm::{MapFlags, ProtFlags};
        let file = std::fs::File::options().read(true).write(true).open(place)?;
        let capacity = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        let mut magic = [0; 8];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut magic, 0)?;
        if capacity < HEADER || !crate::trace::is_header(&magic) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping of `capacity` bytes of an open file, placed by the kernel.
        let memory = unsafe { rustix::mm::mmap(std::ptr::null_mut(), capacity, access, MapFlags::SHARED, &file, 0)? };
        Ok(Shared { memory: memory.cast(), capacity })
    }

    fn append(&self, pid: i32, kind: Kind, flags: u8, arg: i32, a: &[u8], b: &[u8]) {
        let size = (RECORD + a.len() + b.len() + 2).next_multiple_of(8);
        let mut record = Vec::with_capacity(size);
        record.extend([0; 4]);
        record.extend([kind as u8, flags, 0, 0]);
        record.extend(pid.to_ne_bytes());
        record.extend(arg.to_ne_bytes());
        record.extend(a);
        record.push(0);
        record.extend(b);
        record.resize(size, 0);
        // SAFETY: both words lie in the header, inside the mapping, aligned; other processes use them as atomics too.
        let (len, state) = unsafe {
            (AtomicU64::from_ptr(self.memory.add(16).cast()), AtomicU32::from_ptr(self.memory.add(24).cast()))
        };
        let at = usize::try_from(len.fetch_add(size as u64, Ordering::Relaxed)).unwrap_or(usize::MAX);
        if at.checked_add(size).is_none_or(|end| end > self.capacity) || at % 8 != 0 {
            state.fetch_or(OVERFLOW, Ordering::Relaxed);
            return;
        }
        // SAFETY: `len` gave these bytes to this process alone, and they lie inside the mapping, aligned to 8.
        unsafe {
            std::ptr::copy_nonoverlapping(record[4..].as_ptr(), self.memory.add(at + 4), size - 4);
            AtomicU32::from_ptr(self.memory.add(at).cast()).store(size as u32, Ordering::Release);
        }
    }
}
