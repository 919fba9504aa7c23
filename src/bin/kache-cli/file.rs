//! Files of people that are edited here: read whole, replaced whole. Knows nothing about what is in them.

use crate::fail::Fail;
use std::io::{self, Write};
use std::path::Path;

/// Nothing of what is edited here is longer.
pub const LIMIT: u64 = 16 << 20;

/// A file's bytes; `None` where there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, Fail> {
    match kache_os::read_bounded(path, LIMIT) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound && kache_os::lstat(path).is_err() => Ok(None),
        Err(e) => Err(Fail::Failed(format!("{}: {e}", path.display()))),
    }
}

/// Into a file beside it, then renamed; where the path is a link, what it leads to is replaced, with its mode.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Fail> {
    let real =
        if kache_os::lstat(path).is_ok() { kache_os::at(path, std::fs::canonicalize(path))? } else { path.into() };
    let parent = real.parent().unwrap_or(Path::new("/"));
    let written = || -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        let mode = kache_os::stat(&real).map_or(0o666 & !kache_os::umask(), |m| m.mode);
        let mut file = builder.prefix(".kache-").tempfile_in(parent)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        kache_os::set_mode(file.path(), mode)?;
        file.persist(&real).map(drop).map_err(|e| e.error)
    };
    Ok(kache_os::at(path, written())?)
}
