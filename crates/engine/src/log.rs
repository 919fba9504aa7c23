//! The log file: lines of many processes, in two files of which neither grows for ever.
//!
//! Knows nothing about what is logged.

use kache_os::Lock;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// A log file that is met this large becomes `NAME.1`, in the place of the one before.
const LIMIT: u64 = 16 << 20;

/// Adds a line, in one write.
pub fn append(file: &Path, line: &[u8]) -> io::Result<()> {
    let mut log = open(file)?;
    if kache_os::fstat(&log)?.size >= LIMIT {
        // Where it can't be moved, it grows.
        let _ = set_aside(file);
        log = open(file)?;
    }
    log.write_all(line)
}

fn open(file: &Path) -> io::Result<File> {
    kache_os::open_append(file).or_else(|_| {
        file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        kache_os::open_append(file)
    })
}

/// Whoever holds the lock of the very file that lies there may move it: nobody takes the new one for the large one.
fn set_aside(file: &Path) -> io::Result<()> {
    let file = std::fs::canonicalize(file)?;
    let Some(lock) = Lock::try_exclusive(&file)? else { return Ok(()) };
    let (locked, there) = (kache_os::fstat(lock.file())?, kache_os::stat(&file)?);
    if !there.is_file() || !there.same_file(&locked) || there.size < LIMIT {
        return Ok(());
    }
    let mut before = file.clone().into_os_string();
    before.push(".1");
    std::fs::rename(&file, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: of many that meet a large file at once one moves it, once, and no line is lost.
    #[test]
    fn a_large_file_is_moved_once() {
        const LINES: usize = 50;
        let dir = std::env::temp_dir().join(format!("kache-log-{}", std::process::id()));
        let (log, before) = (dir.join("deep/log"), dir.join("deep/log.1"));
        for round in 0..20 {
            append(&log, b"").unwrap();
            File::options().write(true).open(&log).unwrap().set_len(LIMIT).unwrap();
            let write = |writer: usize| {
                (0..LINES).for_each(|n| append(&log, format!("{writer} {n}\n").as_bytes()).unwrap());
            };
            std::thread::scope(|scope| (0..8).for_each(|writer| _ = scope.spawn(move || write(writer))));
            let mut text = std::fs::read(&before).unwrap().split_off(LIMIT as usize);
            let small = std::fs::read(&log).unwrap();
            assert!((small.len() as u64) < LIMIT, "round {round}");
            text.extend(small);
            assert_eq!(text.iter().filter(|b| **b == b'\n').count(), 8 * LINES, "round {round}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
