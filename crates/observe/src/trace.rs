//! The trace: what the preload library writes (`preload.c`) and what is made of it.
//!
//! Knows nothing of what an input is worth: it gives records in the order they were reserved, each with the program it
//! belongs to, or the reason why the trace says less than happened.
//!
//! # Format, version 1
//!
//! Native byte order: writer and reader share one memory. The file is a memfd, which observed programs open by its
//! `/proc/PID/fd/N` name, map, and close.
//!
//! ```text
//! header, 64 bytes
//!   u32 magic 'KTR1'   u32 version
//!   u64 capacity       length of the file
//!   u64 len            end of the records, atomic; the first record is at 64
//!   u32 flags          atomic; 1: a record did not fit, 2: something happened that no record can say
//!   u32 0
//!   u64 path hash      of the PATH that the first program started with (the writers' own use)
//!   24 bytes 0
//! record, at a multiple of 8
//!   u32 size           of all of it; stored last, with release: 0 means unfinished
//!   u8 kind  u8 flags  u16 err   i32 pid   i32 arg
//!   a NUL b NUL        padded with zeros
//! ```
//!
//! A writer reserves by adding to `len`, so records of one process are in the order of its calls, and a record of an
//! earlier cause is before one of its effect, except SPAWN, which may follow the first records of the child.
//! Anything an observed program runs can write here: the reader believes nothing without checking it.
//!
//! # What the kinds say
//!
//! Paths are absolute, without `.` and repeated slashes; `..` stays. An unfilled string is empty.
//! OPEN (reads only), STAT, LSTAT, ABSENT, FAILED, LIST, READLINK, RESOLVE, LOADED, NET, WHERE, MACHINE and GETENV are told once
//! per process and content (more often when there is very much to tell); GETENV of `CARGO_*` and `OUT_DIR`, and everything
//! else, each time.
//!
//! | kind | a | b | else |
//! | --- | --- | --- | --- |
//! | START | `/proc/self/exe` | `argv[0]` | arg: parent's pid |
//! | LOADED | shared object | | also those that `dlopen` brought, at the latest at the process's end |
//! | OPEN | path | | flags: see [`flag`]; arg, for reading only: the low 32 bits of the inode number. mkfifo and mknod: as made by open |
//! | ABSENT | path | | ENOENT or ENOTDIR, of whatever call, and nothing is there |
//! | FAILED | path | | err: another error that says something of the path: EACCES, EEXIST, ELOOP, EISDIR, …; ENOTDIR of what is there |
//! | STAT, LSTAT | path | | it was there: stat, access, statfs, chdir, O_PATH; LSTAT did not follow a link. `readlink` of what is no link is an LSTAT |
//! | LIST | directory | | |
//! | READLINK, RESOLVE | path | answer | |
//! | MKDIR, UNLINK, META | path | | META: mode, owner, times, length, attributes |
//! | RENAME, LINK | from | to | |
//! | SYMLINK | text of the link | its path | |
//! | GETENV | name | object whose code asked; empty: the program | flags: [`flag::UNSET`] |
//! | EXEC | path | name, if it was searched on PATH | [`flag::OTHER_PATH`] and arg 1: not the first program's PATH; a SEARCHPATH follows |
//! | EXECFAIL | path; empty: the search found nothing | name | err; takes back the EXEC before it, or tells of a failed spawn |
//! | SEARCHPATH | the PATH | name | of the EXEC, EXECFAIL or SPAWN of this process before it |
//! | SPAWN | path | name, if it was searched on PATH | arg: the child's pid; flags as EXEC |
//! | CLOCK | | | arg: 1, 2, 3; later reads are not told. [`flag::RENDERED`]: `localtime`; told once |
//! | NET | `inet 127.0.0.1:80`, `inet6 [::1]:80`, `unix /path`, `unix @abstract`, `resolve host` | | |
//! | FORK | | | arg: the process it was copied from |
//! | WHERE | object whose code asked | | getcwd or realpath; told once per object |
//! | NATIVE | argument | | of a program that is about to be started: it ends in `=native` |
//! | MACHINE | object whose code asked | | uname or gethostname; told once per object |
//!
//! A path search is one record: the directories before the one found are known from the name and PATH.
//! Interpreters of scripts (`#!`) are an OPEN by the process that executes.

#[cfg(target_os = "linux")]
use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt;
use std::io;

const MAGIC: u32 = u32::from_le_bytes(*b"KTR1");
const VERSION: u32 = 1;
pub const HEADER: usize = 64;
pub const RECORD: usize = 16;
pub const OVERFLOW: u32 = 1;
const LOST: u32 = 2;

/// Bits of [`Record::flags`].
pub mod flag {
    /// OPEN: for reading.
    pub const READ: u8 = 1;
    /// OPEN: for writing.
    pub const WRITE: u8 = 2;
    /// OPEN: O_CREAT.
    pub const CREATE: u8 = 4;
    /// OPEN: O_TRUNC: nothing of an earlier content counts.
    pub const TRUNCATE: u8 = 8;
    /// OPEN: O_EXCL.
    pub const EXCL: u8 = 16;
    /// OPEN for writing: the file was there before.
    pub const EXISTED: u8 = 32;
    /// OPEN for reading: it is a directory.
    pub const DIRECTORY: u8 = 64;
    /// GETENV: the variable was not set.
    pub const UNSET: u8 = 1;
    /// CLOCK: a time, of the clock or of a file, was put into words of this place (`localtime`).
    pub const RENDERED: u8 = 1;
    /// EXEC, EXECFAIL, SPAWN: the search went by another PATH than the first program's.
    pub const OTHER_PATH: u8 = 1;
}

/// What a record tells; the table is in the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Start = 1,
    Loaded,
    Open,
    Absent,
    Failed,
    Stat,
    Lstat,
    List,
    Readlink,
    Resolve,
    Mkdir,
    Rename,
    Unlink,
    Link,
    Symlink,
    Meta,
    Getenv,
    Exec,
    ExecFail,
    SearchPath,
    Spawn,
    Clock,
    Net,
    Fork,
    Where,
    Native,
    Machine,
}

impl Kind {
    const ALL: [Kind; 27] = [
        Kind::Start,
        Kind::Loaded,
        Kind::Open,
        Kind::Absent,
        Kind::Failed,
        Kind::Stat,
        Kind::Lstat,
        Kind::List,
        Kind::Readlink,
        Kind::Resolve,
        Kind::Mkdir,
        Kind::Rename,
        Kind::Unlink,
        Kind::Link,
        Kind::Symlink,
        Kind::Meta,
        Kind::Getenv,
        Kind::Exec,
        Kind::ExecFail,
        Kind::SearchPath,
        Kind::Spawn,
        Kind::Clock,
        Kind::Net,
        Kind::Fork,
        Kind::Where,
        Kind::Native,
        Kind::Machine,
    ];

    fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

/// One thing that an observed process did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'t> {
    pub pid: i32,
    pub kind: Kind,
    pub flags: u8,
    pub err: u16,
    pub arg: i32,
    pub a: &'t [u8],
    pub b: &'t [u8],
}

/// A program that ran: one START, with the processes forked from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'t> {
    /// Of the process in which it started.
    pub pid: i32,
    /// What `/proc/self/exe` named.
    pub exe: &'t [u8],
    pub argv0: &'t [u8],
}

/// Everything that the processes of one action were seen to do.
#[derive(Clone, Debug, Default)]
pub struct Trace<'t> {
    pub records: Vec<Record<'t>>,
    /// In the order they started; the first is the one that was asked for.
    pub programs: Vec<Program<'t>>,
    /// Of each record, its program.
    owners: Vec<u32>,
}

/// Why a trace does not tell all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blind {
    /// More happened than the trace has room for.
    Overflow,
    /// Something no record can say: a path that is too long, another root directory, an io_uring.
    Lost,
    /// A process was killed in the middle of a record.
    Unfinished,
    /// This program still runs.
    Running { path: Vec<u8> },
    /// This program was started and did not report.
    EscapedExec { path: Vec<u8> },
    /// Nothing reported, or not the program that was started first.
    NoStart,
    /// A record that no observer writes.
    Corrupt { at: usize },
    /// The trace itself could not be read.
    Unreadable(String),
}

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blind::Overflow => write!(f, "it read more than a trace can hold"),
            Blind::Lost => write!(
                f,
                "it used something that cannot be observed (an overlong path, another root directory, an io_uring)"
            ),
            Blind::Unfinished => write!(f, "a process it started was killed"),
            Blind::Running { path } => write!(f, "{} is still running", String::from_utf8_lossy(path)),
            Blind::EscapedExec { path } => write!(
                f,
                "{} ran unobserved (a static, setuid or foreign program, or one that refuses preloaded libraries)",
                String::from_utf8_lossy(path)
            ),
            Blind::NoStart => write!(
                f,
                "it ran unobserved (a static, setuid or foreign program, or one that refuses preloaded libraries)"
            ),
            Blind::Corrupt { at } => write!(f, "its trace is damaged at byte {at}"),
            Blind::Unreadable(why) => write!(f, "its trace cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Blind {}

impl<'t> Trace<'t> {
    /// Makes the shared memory for the trace of one action. Pages that are never written cost nothing.
    #[cfg(target_os = "linux")]
    pub fn create(capacity: usize) -> io::Result<TraceFile> {
        use rustix::fs::MemfdFlags;
        use std::os::fd::OwnedFd;
        use std::os::unix::fs::FileExt;

        let capacity = capacity.max(4096) & !7;
        let memory: OwnedFd = rustix::fs::memfd_create("kache-trace", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&memory, capacity as u64)?;
        let file = std::fs::File::from(memory);
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC.to_ne_bytes());
        header[4..8].copy_from_slice(&VERSION.to_ne_bytes());
        header[8..16].copy_from_slice(&(capacity as u64).to_ne_bytes());
        header[16..24].copy_from_slice(&(HEADER as u64).to_ne_bytes());
        file.write_all_at(&header, 0)?;
        Ok(TraceFile { file, capacity, told: OnceCell::new() })
    }

    #[cfg(not(target_os = "linux"))]
    pub fn create(_capacity: usize) -> io::Result<TraceFile> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The program that the record at `index` belongs to.
    pub fn program_of(&self, index: usize) -> &Program<'t> {
        &self.programs[self.owner_of(index)]
    }

    /// Which of the programs that is.
    pub fn owner_of(&self, index: usize) -> usize {
        self.owners[index] as usize
    }

    /// Reads a trace whose first program was started by process `starter`.
    fn parse(bytes: &'t [u8], starter: i32) -> Result<Trace<'t>, Blind> {
        let records = records(bytes)?;
        let first = records.iter().find(|record| record.kind == Kind::Start);
        if first.is_none_or(|start| start.arg != starter) {
            return Err(Blind::NoStart);
        }
        nobody_escaped(&records)?;
        Ok(attribute(records))
    }
}

/// Whether a trace starts so.
pub fn is_header(start: &[u8; 8]) -> bool {
    start[..4] == MAGIC.to_ne_bytes() && start[4..] == VERSION.to_ne_bytes()
}

fn records(bytes: &[u8]) -> Result<Vec<Record<'_>>, Blind> {
    let word = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_ne_bytes(b.try_into().expect("four bytes")));
    let long = |at: usize| bytes.get(at..at + 8).map(|b| u64::from_ne_bytes(b.try_into().expect("eight bytes")));
    let (Some(MAGIC), Some(VERSION), Some(len), Some(flags)) = (word(0), word(4), long(16), word(24)) else {
        return Err(Blind::Corrupt { at: 0 });
    };
    if flags & OVERFLOW != 0 {
        return Err(Blind::Overflow);
    }
    if flags & LOST != 0 {
        return Err(Blind::Lost);
    }
    let end = usize::try_from(len)
        .ok()
        .filter(|end| (HEADER..=bytes.len()).contains(end))
        .ok_or(Blind::Corrupt { at: 16 })?;

    let mut found = Vec::new();
    let mut at = HEADER;
    while at < end {
        let record = parse_record(&bytes[at..end]).ok_or(Blind::Corrupt { at })?;
        let Some((record, size)) = record else {
            return Err(Blind::Unfinished);
        };
        found.push(record);
        at += size;
    }
    Ok(found)
}

/// The record at the start of `bytes` with its size; `Some(None)` if it is unfinished, `None` if it is none.
fn parse_record(bytes: &[u8]) -> Option<Option<(Record<'_>, usize)>> {
    let head = bytes.get(..RECORD)?;
    let int = |at: usize| i32::from_ne_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let size = usize::try_from(int(0)).ok()?;
    if size == 0 {
        return Some(None);
    }
    if size % 8 != 0 || size < RECORD + 8 {
        return None;
    }
    let text = bytes.get(RECORD..size)?;
    let end_of_a = memchr::memchr(0, text)?;
    let (a, rest) = (&text[..end_of_a], &text[end_of_a + 1..]);
    let b = &rest[..memchr::memchr(0, rest)?];
    let record = Record {
        pid: int(8),
        kind: Kind::from_byte(head[4])?,
        flags: head[5],
        err: u16::from_ne_bytes([head[6], head[7]]),
        arg: int(12),
        a,
        b,
    };
    Some(Some((record, size)))
}

/// Each EXEC that did not fail, and each SPAWN, must be answered by a START of that process.
fn nobody_escaped(records: &[Record]) -> Result<(), Blind> {
    #[derive(Default)]
    struct Process<'a> {
        /// What it was about to become.
        awaited: Option<&'a Record<'a>>,
        /// STARTs whose SPAWN was not yet seen: the child may be faster than its parent's record.
        early: Vec<&'a Record<'a>>,
    }
    let escaped = |record: &Record| Err(Blind::EscapedExec { path: record.a.to_vec() });
    let mut processes: HashMap<i32, Process> = HashMap::new();
    let mut first = true;
    let of_starts = |r: &&Record| matches!(r.kind, Kind::Start | Kind::Spawn | Kind::Exec | Kind::ExecFail);
    for record in records.iter().filter(of_starts) {
        let pid = if record.kind == Kind::Spawn { record.arg } else { record.pid };
        let process = processes.entry(pid).or_default();
        match record.kind {
            Kind::Start if process.awaited.is_some() => {
                // A static program may have run in between, and have become this one.
                if let Some(before) = process.awaited.take().filter(|before| !is_program(before.a, record.a)) {
                    return escaped(before);
                }
            }
            Kind::Start if first => first = false,
            Kind::Start => process.early.push(record),
            Kind::Spawn if !process.early.is_empty() => {
                let start = process.early.remove(0);
                if !is_program(record.a, start.a) {
                    return escaped(record);
                }
            }
            Kind::Exec | Kind::Spawn => {
                if let Some(before) = process.awaited.replace(record) {
                    return escaped(before);
                }
            }
            Kind::ExecFail if !record.a.is_empty() => process.awaited = None,
            _ => {}
        }
    }
    match processes.values().find_map(|process| process.awaited) {
        Some(record) => escaped(record),
        None => Ok(()),
    }
}

/// Whether executing `file` makes a process run `exe`: they are one file, or `file` is a script for it.
pub fn is_program(file: &[u8], exe: &[u8]) -> bool {
    use std::os::unix::{ffi::OsStrExt, fs::MetadataExt};
    let path = |bytes: &[u8]| std::path::PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    let id = |bytes: &[u8]| std::fs::metadata(path(bytes)).ok().map(|m| (m.dev(), m.ino()));
    let mut file = file.to_vec();
    // The kernel follows at most five interpreters (Documentation/admin-guide/binfmt-misc.rst, BINPRM recursion).
    for _ in 0..5 {
        if file == exe || id(&file).is_some_and(|of| Some(of) == id(exe)) {
            return true;
        }
        let parent = |p: &std::path::Path| p.parent().and_then(|d| std::fs::canonicalize(d).ok());
        let (a, b) = (path(&file), path(exe));
        if a.file_name() == b.file_name() && parent(&a).is_some() && parent(&a) == parent(&b) {
            return true;
        }
        // Opening a pipe would wait for who writes to it.
        if !std::fs::metadata(&a).is_ok_and(|m| m.is_file()) {
            return false;
        }
        let mut start = [0; 256];
        let read = std::fs::File::open(&a).and_then(|mut f| io::Read::read(&mut f, &mut start)).unwrap_or(0);
        let Some(line) = start[..read].strip_prefix(b"#!") else { return false };
        let line = line.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii();
        file = line.split(|b| *b == b' ' || *b == b'\t').next().unwrap_or_default().to_vec();
    }
    false
}

/// Gives each record to the program its process ran at that time.
fn attribute(records: Vec<Record<'_>>) -> Trace<'_> {
    let mut trace = Trace::default();
    let mut running: HashMap<i32, u32> = HashMap::new();
    for record in &records {
        match record.kind {
            Kind::Start => {
                running.insert(record.pid, trace.programs.len() as u32);
                trace.programs.push(Program { pid: record.pid, exe: record.a, argv0: record.b });
            }
            Kind::Fork => {
                let parent = running.get(&record.arg).copied().unwrap_or(0);
                running.insert(record.pid, parent);
            }
            _ => {}
        }
        trace.owners.push(running.get(&record.pid).copied().unwrap_or(0));
    }
    trace.records = records;
    trace
}

/// The memory that observed programs write to, in the process that starts them.
#[derive(Debug)]
pub struct TraceFile {
    #[cfg(target_os = "linux")]
    file: std::fs::File,
    #[cfg(target_os = "linux")]
    capacity: usize,
    /// What stood there when it was read.
    #[cfg(target_os = "linux")]
    told: OnceCell<Vec<u8>>,
}

#[cfg(target_os = "linux")]
impl TraceFile {
    /// What to set [`ENV_TRACE`](crate::ENV_TRACE) to. Good while this value and this process live.
    pub fn env_value(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// What was observed: call it when the program has ended; nothing is taken down after that. One trace is for one
    /// program, started by this process, and what that one starts.
    pub fn read(&self) -> Result<Trace<'_>, Blind> {
        use rustix::fs::{SealFlags, fcntl_add_seals};

        let unreadable = |error: io::Error| Blind::Unreadable(error.to_string());
        let mut sealed = Err(rustix::io::Errno::BUSY);
        for _ in 0..200 {
            sealed = fcntl_add_seals(&self.file, SealFlags::WRITE);
            // Somebody can still write to it; or somebody else is looking at the memory of one that has ended (`ps`).
            if sealed != Err(rustix::io::Errno::BUSY) || self.running().is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        match sealed {
            Ok(()) => {
                let told = self.bytes().map_err(unreadable)?;
                Trace::parse(self.told.get_or_init(|| told), std::process::id() as i32)
            }
            Err(rustix::io::Errno::BUSY) => Err(Blind::Running { path: self.running().unwrap_or_default() }),
            Err(error) => Err(unreadable(error.into())),
        }
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        use std::os::unix::fs::FileExt;

        let mut header = [0; HEADER];
        self.file.read_exact_at(&mut header, 0)?;
        let len = u64::from_ne_bytes(header[16..24].try_into().expect("eight bytes"));
        let used = usize::try_from(len).unwrap_or(usize::MAX).clamp(HEADER, self.capacity);
        let mut bytes = vec![0; used];
        self.file.read_exact_at(&mut bytes, 0)?;
        // Who still runs may have reserved more in between.
        bytes[16..24].copy_from_slice(&header[16..24]);
        Ok(bytes)
    }

    /// The program of a process that did not end: for people only.
    fn running(&self) -> Option<Vec<u8>> {
        use std::os::unix::ffi::OsStringExt;

        let bytes = self.bytes().ok()?;
        let records = records(&bytes).ok()?;
        let program = |record: &Record| std::fs::read_link(format!("/proc/{}/exe", record.pid)).ok();
        records.iter().rev().find_map(program).map(|path| path.into_os_string().into_vec())
    }
}

#[cfg(not(target_os = "linux"))]
impl TraceFile {
    /// What to set [`ENV_TRACE`](crate::ENV_TRACE) to.
    pub fn env_value(&self) -> String {
        String::new()
    }

    /// What was observed so far.
    pub fn read(&self) -> Result<Trace<'_>, Blind> {
        Err(Blind::NoStart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTER: i32 = 7;

    fn record(kind: Kind, pid: i32, arg: i32, a: &str) -> Vec<u8> {
        let size = (RECORD + a.len() + 2 + 7) & !7;
        let mut bytes = vec![0; size];
        bytes[..4].copy_from_slice(&(size as u32).to_ne_bytes());
        bytes[4] = kind as u8;
        bytes[8..12].copy_from_slice(&pid.to_ne_bytes());
        bytes[12..16].copy_from_slice(&arg.to_ne_bytes());
        bytes[RECORD..RECORD + a.len()].copy_from_slice(a.as_bytes());
        bytes
    }

    fn trace(records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes.extend(records.concat());
        let len = bytes.len() as u64;
        bytes[..4].copy_from_slice(&MAGIC.to_ne_bytes());
        bytes[4..8].copy_from_slice(&VERSION.to_ne_bytes());
        bytes[16..24].copy_from_slice(&len.to_ne_bytes());
        bytes
    }

    fn escaped(path: &str) -> Blind {
        Blind::EscapedExec { path: path.into() }
    }

    #[test]
    fn each_record_belongs_to_the_program_that_ran_then() {
        let bytes = trace(&[
            record(Kind::Start, 10, STARTER, "/sh"),
            record(Kind::Fork, 11, 10, ""),
            record(Kind::Open, 11, 0, "/by-sh"),
            record(Kind::Exec, 11, 0, "/cat"),
            record(Kind::Start, 11, 10, "/cat"),
            record(Kind::Open, 11, 0, "/by-cat"),
        ]);
        let trace = Trace::parse(&bytes, STARTER).unwrap();
        assert_eq!(trace.program_of(2).exe, b"/sh");
        assert_eq!(trace.program_of(5).exe, b"/cat");
        assert_eq!(trace.programs.len(), 2);
    }

    #[test]
    fn a_start_answers_its_exec_or_spawn_only() {
        let start = || record(Kind::Start, 10, STARTER, "/sh");
        let case = |rest: &[Vec<u8>]| Trace::parse(&trace(&[&[start()], rest].concat()), STARTER).map(|_| ());

        assert_eq!(case(&[record(Kind::Exec, 11, 0, "/x")]), Err(escaped("/x")));
        assert_eq!(case(&[record(Kind::Spawn, 10, 11, "/x")]), Err(escaped("/x")));
        assert_eq!(case(&[record(Kind::Exec, 11, 0, "/x"), record(Kind::ExecFail, 11, 0, "/x")]), Ok(()));
        assert_eq!(case(&[record(Kind::Start, 11, 10, "/x"), record(Kind::Spawn, 10, 11, "/x")]), Ok(()));
        // A fast child that has already become something else, which does not report.
        let fast = [
            record(Kind::Start, 11, 10, "/x"),
            record(Kind::Exec, 11, 0, "/static"),
            record(Kind::Spawn, 10, 11, "/x"),
        ];
        assert_eq!(case(&fast), Err(escaped("/static")));
        // A pid that is used again does not cover for its first holder.
        let reused = [
            record(Kind::Spawn, 10, 11, "/static"),
            record(Kind::Spawn, 10, 11, "/x"),
            record(Kind::Start, 11, 10, "/x"),
        ];
        assert_eq!(case(&reused), Err(escaped("/static")));
    }

    /// Guards: of what a trace names, only files are opened: a pipe would be waited for, or emptied.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_is_no_script() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        use std::io::Write;

        let dir = tempfile::tempdir().unwrap();
        let [file, pipe] = ["file", "pipe"].map(|name| dir.path().join(name));
        std::fs::write(&file, "#!/exe\n").unwrap();
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        // Who opens it both ways waits for nobody, and then nobody waits.
        let mut ends = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
        ends.write_all(b"#!/exe\n").unwrap();
        assert!(is_program(file.as_os_str().as_encoded_bytes(), b"/exe"));
        assert!(!is_program(pipe.as_os_str().as_encoded_bytes(), b"/exe"));
    }

    #[test]
    fn the_program_that_was_asked_for_must_report() {
        assert_eq!(Trace::parse(&trace(&[]), STARTER).map(|_| ()), Err(Blind::NoStart));
        let only_a_child = trace(&[record(Kind::Start, 11, 10, "/x")]);
        assert_eq!(Trace::parse(&only_a_child, STARTER).map(|_| ()), Err(Blind::NoStart));
    }

    #[test]
    fn nothing_that_is_written_there_is_believed() {
        let good = trace(&[record(Kind::Start, 10, STARTER, "/sh"), record(Kind::Open, 10, 0, "/some/file")]);
        for at in 0..good.len() {
            for value in [0, 1, 7, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = Trace::parse(&bad, STARTER); // whatever it says, it must not panic
            }
            let _ = Trace::parse(&good[..at], STARTER);
        }
        let mut torn = good.clone();
        let second = HEADER + record(Kind::Start, 10, STARTER, "/sh").len();
        torn[second..second + 4].fill(0);
        assert_eq!(Trace::parse(&torn, STARTER).map(|_| ()), Err(Blind::Unfinished));
        let mut full = good.clone();
        full[24] = OVERFLOW as u8;
        assert_eq!(Trace::parse(&full, STARTER).map(|_| ()), Err(Blind::Overflow));
        full[24] = LOST as u8;
        assert_eq!(Trace::parse(&full, STARTER).map(|_| ()), Err(Blind::Lost));
    }

    #[test]
    fn kinds_have_the_numbers_of_the_library() {
        for (index, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index + 1);
        }
        let source = include_str!("preload.c");
        let list = source.split("START = 1,").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
        let names: Vec<String> =
            list.split(',').map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty()).collect();
        let ours: Vec<String> = Kind::ALL[1..].iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
        assert_eq!(names, ours);
    }
}
