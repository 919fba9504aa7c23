//! Unix (Linux first): bare system calls with typed errors, or the standard library where that does the same.

use crate::{FileKind, Meta, Method, Room, Stamp};
use rustix::fs::{self as rfs, AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// The bytes of a path or argument.
pub fn bytes<T: AsRef<OsStr> + ?Sized>(s: &T) -> &[u8] {
    s.as_ref().as_bytes()
}

/// Bytes as an argument or environment value.
pub fn os_string(b: &[u8]) -> OsString {
    OsString::from_vec(b.to_vec())
}

/// Bytes as a path.
pub fn path(b: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(b))
}

fn stamp(t: rfs::StatxTimestamp) -> Stamp {
    Stamp { sec: t.tv_sec, nsec: t.tv_nsec }
}

fn meta_of(s: &rfs::Statx) -> Meta {
    let kind = match rfs::FileType::from_raw_mode(s.stx_mode.into()) {
        rfs::FileType::RegularFile => FileKind::File,
        rfs::FileType::Directory => FileKind::Dir,
        rfs::FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    };
    Meta {
        kind,
        dev: rfs::makedev(s.stx_dev_major, s.stx_dev_minor),
        ino: s.stx_ino,
        born: if s.stx_mask & StatxFlags::BTIME.bits() != 0 { stamp(s.stx_btime) } else { Stamp::default() },
        size: s.stx_size,
        mtime: stamp(s.stx_mtime),
        ctime: stamp(s.stx_ctime),
        mode: u32::from(s.stx_mode) & 0o7777,
        links: s.stx_nlink.into(),
        blocks: s.stx_blocks,
    }
}

const STATX: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// `stat`: follows symbolic links.
pub fn stat(path: &Path) -> io::Result<Meta> {
    Ok(meta_of(&rfs::statx(CWD, path, AtFlags::empty(), STATX)?))
}

/// `lstat`: the link itself.
pub fn lstat(path: &Path) -> io::Result<Meta> {
    Ok(meta_of(&rfs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, STATX)?))
}

/// A path's directory and the name in it, as bytes: taking apart each component costs more than a system call. `None`: it
/// ends otherwise.
fn split(whole: &Path) -> Option<(&Path, &OsStr)> {
    let at = bytes(whole).iter().rposition(|b| *b == b'/').filter(|at| *at > 0)?;
    let (dir, name) = (&bytes(whole)[..at], &bytes(whole)[at + 1..]);
    (!matches!(name, b"" | b"." | b"..")).then(|| (path(dir), OsStr::from_bytes(name)))
}

/// Looks at many paths, most of them in the directory of the one before: that directory is walked to once.
#[derive(Default)]
pub struct Near {
    parent: PathBuf,
    /// How many paths in it were looked at by their names.
    looked: u8,
    /// Opened at the third path in a row, where it begins to pay, or why it can't be: then nothing in it can be looked at.
    dir: Option<Result<OwnedFd, rustix::io::Errno>>,
    /// The directory's canonical form, once it was asked for.
    real: Option<PathBuf>,
}

impl Near {
    /// To open a directory and to close it takes as long as to look at two deep paths by their names.
    const BY_NAME: u8 = 2;

    /// Whether this is the directory of the path before.
    fn is_there(&mut self, parent: &Path) -> bool {
        let there = bytes(parent) == bytes(&self.parent);
        if !there {
            *self = Near { parent: parent.to_path_buf(), ..Near::default() };
        }
        there
    }

    /// The canonical form of a path whose last part is no link.
    pub fn canonical(&mut self, path: &Path) -> io::Result<PathBuf> {
        let Some((parent, name)) = split(path) else { return std::fs::canonicalize(path) };
        self.is_there(parent);
        let real = match self.real.take() {
            Some(real) => real,
            None => canonical_dir(parent)?,
        };
        Ok(self.real.insert(real).join(name))
    }

    pub fn lstat(&mut self, path: &Path) -> io::Result<Meta> {
        let Some((parent, name)) = split(path) else { return lstat(path) };
        if !self.is_there(parent) || self.looked < Near::BY_NAME {
            self.looked += 1;
            return lstat(path);
        }
        let open = || rfs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        match self.dir.get_or_insert_with(open) {
            Ok(dir) => Ok(meta_of(&rfs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, STATX)?)),
            Err(errno) => Err((*errno).into()),
        }
    }
}

/// Whether it is another user's file in a directory that all may write to.
pub fn is_planted(file: &Path) -> bool {
    const OTHERS_WRITE: u32 = 0o002;
    let open_to_all = || rfs::stat(file.parent()?).ok().map(|dir| dir.st_mode & OTHERS_WRITE != 0);
    let me = rustix::process::geteuid().as_raw();
    rfs::stat(file).is_ok_and(|of| of.st_uid != me) && open_to_all() != Some(false)
}

pub fn fstat(file: &impl AsFd) -> io::Result<Meta> {
    Ok(meta_of(&rfs::statx(file, "", AtFlags::EMPTY_PATH, STATX)?))
}

/// The canonical form of a directory, in a few system calls, where `realpath` takes one for each part of the path.
pub fn canonical_dir(dir: &Path) -> io::Result<PathBuf> {
    let literal = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    let plain = bytes(dir).strip_prefix(b"/").is_some_and(|rest| rest.split(|b| *b == b'/').all(literal));
    let walked = |how| rfs::openat2(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), how);
    if plain && walked(ResolveFlags::NO_SYMLINKS).is_ok() {
        return Ok(dir.to_path_buf());
    }
    let fd = rfs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())) {
        // proc(5): " (deleted)" is appended to what is gone; what lies outside of the root has no leading slash.
        Ok(real) if real.is_absolute() && !bytes(&real).ends_with(b" (deleted)") => Ok(real),
        _ => std::fs::canonicalize(dir),
    }
}

pub fn read_link(path: &Path) -> io::Result<PathBuf> {
    std::fs::read_link(path)
}

/// A whole file, refused when it is larger than `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let size = fstat(&file)?.size;
    if size > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{size} bytes, at most {limit} expected")));
    }
    let mut out = Vec::with_capacity(size as usize + 1);
    (&file).take(limit).read_to_end(&mut out)?;
    Ok(out)
}

/// Names in a directory with their kind, unsorted, without `.` and `..`.
pub fn list(dir: &Path) -> io::Result<Vec<(Vec<u8>, FileKind)>> {
    let fd = rfs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buf = Vec::with_capacity(32 * 1024);
    let mut names = Vec::new();
    let mut entries = rfs::RawDir::new(fd, buf.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let kind = match entry.file_type() {
            rfs::FileType::RegularFile => FileKind::File,
            rfs::FileType::Directory => FileKind::Dir,
            rfs::FileType::Symlink => FileKind::Symlink,
            _ => FileKind::Other,
        };
        names.push((name.to_vec(), kind));
    }
    Ok(names)
}

/// Creates a new file for writing; `mode` is subject to the umask. Fails when it exists.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(File::from(rfs::open(path, flags, Mode::from_raw_mode(mode))?))
}

/// A shared table of fixed size: opened for reading and writing, made sparse with `size` bytes when new.
/// Falls back to read-only where writing is not allowed.
pub fn open_table(path: &Path, size: u64) -> io::Result<File> {
    let rw = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = match rfs::open(path, rw, Mode::from_raw_mode(0o644)) {
        Ok(fd) => File::from(fd),
        Err(Errno::ACCESS | Errno::ROFS | Errno::PERM) => File::open(path)?,
        Err(e) => return Err(e.into()),
    };
    if fstat(&file)?.size != size {
        rfs::ftruncate(&file, size)?;
    }
    Ok(file)
}

pub fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

pub fn write_at(file: &File, buf: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, buf, offset)
}

/// Opens for appending: one `write` of a short line lands whole.
pub fn open_append(path: &Path) -> io::Result<File> {
    std::fs::OpenOptions::new().append(true).create(true).open(path)
}

/// Shares the bytes of `from` with the empty file `to` (reflink), or says that this file system cannot.
pub fn fill_by_clone(from: &File, to: &File) -> io::Result<bool> {
    match rfs::ioctl_ficlone(to, from) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::PERM) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Fills the empty file `to` with `from`: by reflink where the file system can, else by copying in the kernel.
pub fn fill(from: &File, to: &mut File, may_clone: bool) -> io::Result<Method> {
    if may_clone && fill_by_clone(from, to)? {
        return Ok(Method::Reflink);
    }
    copy(from, to)?;
    Ok(Method::Copy)
}

/// Whether the file system at `path` is known to share no bytes between files: no need to try.
pub fn never_clones(path: &Path) -> bool {
    // statfs(2): ext2 to ext4, tmpfs.
    rfs::statfs(path).is_ok_and(|fs| [0xef53, 0x0102_1994].contains(&fs.f_type))
}

/// Copies all of `from` into the empty file `to`. Page by page: larger writes take large folios, an eighth faster where memory is
/// at hand, and ten times slower where a virtual machine's host has taken back what was free.
pub fn copy(from: &File, to: &mut File) -> io::Result<()> {
    // A fifth faster than copy_file_range, where the file system only moves pages (ext4).
    let mut left = fstat(from)?.size;
    while left > 0 {
        match rfs::sendfile(&*to, from, None, left as usize) {
            Ok(0) | Err(Errno::INVAL | Errno::NOSYS) => break,
            Ok(n) => left = left.saturating_sub(n as u64),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    if left == 0 {
        return Ok(());
    }
    // Where sendfile can't, or the file shrank.
    io::copy(&mut &*from, to).map(drop)
}

/// Hard-links; `Ok(false)` when this pair of places cannot be linked (other device, link limit, foreign owner).
pub fn hard_link(from: &Path, to: &Path) -> io::Result<bool> {
    match rfs::linkat(CWD, from, CWD, to, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

pub fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Sets permission bits and modification time of an open file.
pub fn seal(file: &File, mode: u32, mtime: Stamp) -> io::Result<()> {
    rfs::fchmod(file, Mode::from_raw_mode(mode))?;
    set_mtime(file, mtime)
}

pub fn set_mtime(file: &File, mtime: Stamp) -> io::Result<()> {
    let at = |s: Stamp| rfs::Timespec { tv_sec: s.sec, tv_nsec: s.nsec.into() };
    Ok(rfs::futimens(file, &rfs::Timestamps { last_access: at(mtime), last_modification: at(mtime) })?)
}

/// The mask on modes of new files. (It can only be read by setting it; this process makes no files meanwhile.)
pub fn umask() -> u32 {
    let mask = rustix::process::umask(Mode::empty());
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

/// Whether programs may not be loaded from there; from a directory that is yet to be made, no more than from where it will be.
pub fn forbids_execution(dir: &Path) -> bool {
    let there = dir.ancestors().find_map(|dir| rfs::statvfs(dir).ok());
    there.is_some_and(|s| s.f_flag.contains(rfs::StatVfsMountFlags::NOEXEC))
}

pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

/// Opens a file that had another use, if it can pass for a new one of this process: one name, our owner and group, no
/// attributes (capabilities, access lists, labels), and nobody runs it.
pub fn open_as_new(path: &Path) -> io::Result<Option<File>> {
    // open(2): ETXTBSY for a program that runs.
    let file = File::from(rfs::open(path, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
    let stat = rfs::fstat(&file)?;
    let ours = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let bare = match rfs::flistxattr(&file, &mut [0_u8; 0]) {
        Ok(length) => length == 0,
        Err(e) => e == Errno::OPNOTSUPP,
    };
    let plain = rfs::FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_nlink == 1;
    Ok((plain && bare && (stat.st_uid, stat.st_gid) == ours).then_some(file))
}

/// The kernel's "now", as the times of a file.
const NOW: rfs::Timestamps = {
    let now = rfs::Timespec { tv_sec: 0, tv_nsec: rfs::UTIME_NOW };
    rfs::Timestamps { last_access: now, last_modification: now }
};

/// Sets permission bits, and the kernel's "now" as the times.
pub fn renew(file: &File, mode: u32) -> io::Result<()> {
    rfs::fchmod(file, Mode::from_raw_mode(mode))?;
    Ok(rfs::futimens(file, &NOW)?)
}

/// Gives the file the kernel's "now" as its times.
pub fn touch(path: &Path) -> io::Result<()> {
    Ok(rfs::utimensat(CWD, path, &NOW, AtFlags::empty())?)
}

/// The kernel's "now" on the clock that stamps files, read by stamping a memory file (never computed: since Linux 6.13
/// file stamps and clock reads can differ by milliseconds).
pub fn file_clock() -> io::Result<Stamp> {
    let fd = rfs::memfd_create("kache-clock", rfs::MemfdFlags::CLOEXEC)?;
    rfs::futimens(&fd, &NOW)?;
    Ok(fstat(&fd)?.mtime)
}

/// Names this boot of the machine: what was not flushed before another boot is not to be trusted unread.
///
/// Where it can't be told (no `/proc`), each call is a boot of its own: then nothing is trusted unread.
pub fn boot_id() -> String {
    let text = read_bounded(Path::new("/proc/sys/kernel/random/boot_id"), 64).unwrap_or_default();
    match String::from_utf8_lossy(&text).trim() {
        "" => format!("unknown-{}-{:?}", process_id(), file_clock().unwrap_or_default()),
        known => known.to_owned(),
    }
}

/// What `-march=native` looks at: vendor, model, caches and feature flags of the processor.
pub fn cpu_identity() -> Vec<u8> {
    identity_of(&read_bounded(Path::new("/proc/cpuinfo"), 1 << 22).unwrap_or_default())
}

fn identity_of(cpuinfo: &[u8]) -> Vec<u8> {
    const WANTED: &[&str] = &[
        "vendor_id",
        "cpu family",
        "model",
        "stepping",
        "cache size",
        "flags",
        "Features",
        "CPU implementer",
        "CPU part",
    ];
    let first = cpuinfo.split(|b| *b == b'\n').take_while(|line| !line.is_empty());
    first.filter(|line| WANTED.iter().any(|w| line.starts_with(w.as_bytes()))).collect::<Vec<_>>().join(&b'\n')
}

/// What `uname` says: the machine's name, its kernel.
pub fn machine_identity() -> Vec<u8> {
    let it = rustix::system::uname();
    [it.sysname(), it.nodename(), it.release(), it.version(), it.machine()].map(std::ffi::CStr::to_bytes).join(&b'\n')
}

/// An advisory lock on a file; the kernel frees it when its holder dies.
pub struct Lock {
    file: File,
}

impl Lock {
    /// `None` when another process holds it.
    pub fn try_exclusive(path: &Path) -> io::Result<Option<Lock>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let file = File::from(rfs::open(path, flags, Mode::from_raw_mode(0o644))?);
        match rfs::flock(&file, rfs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits up to `limit` for the lock.
    pub fn exclusive_within(path: &Path, limit: Duration) -> io::Result<Option<Lock>> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(lock) = Lock::try_exclusive(path)? {
                return Ok(Some(lock));
            }
            if start.elapsed() >= limit {
                return Ok(None);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    pub fn file(&self) -> &File {
        &self.file
    }
}

/// A process that holds a [`Lock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    pub args: Vec<OsString>,
    pub age: Duration,
}

/// Who holds the locks that lie in `dir`, as far as this user may know. Takes no lock to find out: a build that met it
/// would wait.
pub fn holders(dir: &Path) -> Vec<Holder> {
    const LIMIT: u64 = 1 << 20;
    let read = |path: &str| read_bounded(Path::new(path), LIMIT).unwrap_or_default();
    let Ok(dir) = std::fs::canonicalize(dir) else { return Vec::new() };
    let locks = String::from_utf8_lossy(&read("/proc/locks")).into_owned();
    // `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`; an arrow in the second place marks one that waits.
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "FLOCK", _, "WRITE", pid, ..] => pid.parse::<u32>().ok(),
            _ => None,
        }
    };
    let mut pids: Vec<u32> = locks.lines().filter_map(of_line).collect();
    pids.sort_unstable();
    pids.dedup();
    let first_number = |text: &[u8]| String::from_utf8_lossy(text).split_whitespace().next()?.parse::<f64>().ok();
    let uptime = first_number(&read("/proc/uptime")).unwrap_or_default();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let holder = |pid: u32| {
        let mut files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        files.find(|fd| std::fs::read_link(fd.path()).is_ok_and(|file| file.parent() == Some(&dir)))?;
        let args = read(&format!("/proc/{pid}/cmdline"));
        let args = args.strip_suffix(b"\0").unwrap_or(&args).split(|b| *b == 0).map(os_string).collect();
        let started = process(pid)?.started as f64;
        let age = Duration::try_from_secs_f64(uptime - started / ticks).unwrap_or_default();
        Some(Holder { pid, args, age })
    };
    pids.into_iter().filter_map(holder).collect()
}

/// A process that runs.
#[derive(Clone, Debug)]
pub struct Process {
    pub id: u32,
    pub parent: u32,
    /// The leader of its process group: what a person started as one command.
    pub leader: u32,
    /// Its program's, as far as the kernel keeps it.
    pub name: String,
    /// In clock ticks since the system started: with the number, this is one process only.
    pub started: u64,
}

pub fn process(id: u32) -> Option<Process> {
    let stat = read_bounded(Path::new(&format!("/proc/{id}/stat")), 1 << 16).ok()?;
    // `1234 (NAME) S PARENT GROUP …`: the name may hold anything; the start is the 20th field behind it.
    let stat = String::from_utf8_lossy(&stat);
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let field = |n: usize| rest.split_whitespace().nth(n);
    let number = |n: usize| field(n)?.parse::<u32>().ok();
    Some(Process { id, parent: number(1)?, leader: number(2)?, name: name.into(), started: field(19)?.parse().ok()? })
}

/// The standard error of another process, for a line of our own; only where that can take lines of several: a terminal or
/// a pipe. Whoever does not read makes nobody wait.
pub fn stderr_of(id: u32) -> Option<File> {
    let path = format!("/proc/{id}/fd/2");
    let takes_lines =
        |mode: u32| matches!(rfs::FileType::from_raw_mode(mode), rfs::FileType::Fifo | rfs::FileType::CharacterDevice);
    rfs::stat(&path).ok().filter(|s| takes_lines(s.st_mode))?;
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rfs::open(&path, flags, Mode::empty()).ok().map(File::from)
}

/// Whether another process writes its standard error where this one does.
pub fn same_stderr(id: u32) -> bool {
    let (theirs, ours) = (rfs::stat(format!("/proc/{id}/fd/2")), rfs::fstat(rustix::stdio::stderr()));
    theirs.is_ok_and(|t| ours.is_ok_and(|o| (t.st_dev, t.st_ino) == (o.st_dev, o.st_ino)))
}

/// Replaces this process by the program. Returns only when that failed.
pub fn exec(program: &Path, argv0: &OsStr, args: &[OsString], env: &[(OsString, OsString)]) -> io::Error {
    Command::new(program).arg0(argv0).args(args).envs(env.iter().map(|(k, v)| (k, v))).exec()
}

/// One of the two streams a process writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// A program to start with both streams piped, exactly `env` as its environment and its own `argv[0]`.
pub struct Start<'a> {
    pub program: &'a Path,
    pub argv0: &'a OsStr,
    pub args: &'a [OsString],
    pub env: &'a [(OsString, OsString)],
}

/// How a program ended that was run with its streams piped.
pub struct Ended {
    pub status: ExitStatus,
    /// Nobody can write to its streams any more: no process that it left behind holds them.
    pub silent: bool,
}

/// How long after a program's end what it left behind may take to end as well: `tee` behind a script's output, a linker
/// that gives back its memory.
const LINGER: Duration = Duration::from_millis(500);

/// Runs a child and hands its output to `sink` as it comes, until the child has ended.
///
/// A sink that fails (the reader of our output went away) closes the child's pipes, so the child meets the broken
/// pipe it would have met alone. What a process that outlives the child says later, `cat` carries to where it would have
/// gone without us (and where there is no `cat`, that process meets a broken pipe).
pub fn run_streaming(start: &Start, mut sink: impl FnMut(Stream, &[u8]) -> io::Result<()>) -> io::Result<Ended> {
    let mut command = Command::new(start.program);
    command.arg0(start.argv0).args(start.args).env_clear().envs(start.env.iter().map(|(k, v)| (k, v)));
    let mut child = command.stdin(Stdio::inherit()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pipes = (child.stdout.take(), child.stderr.take());
    let (Some(out), Some(err)) = pipes else { return Ok(Ended { status: child.wait()?, silent: false }) };
    pump(&mut child, out.into(), err.into(), &mut sink)
}

fn pump(
    child: &mut Child,
    out: OwnedFd,
    err: OwnedFd,
    sink: &mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
) -> io::Result<Ended> {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let mut open = vec![(Stream::Out, File::from(out)), (Stream::Err, File::from(err))];
    // As much as a pipe holds.
    let mut buf = vec![0u8; 64 * 1024];
    // Before Linux 5.3 there is none: the child is asked for from time to time.
    let end = Pid::from_raw(child.id() as i32).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut ended: Option<Instant> = None;
    let mut is_last = false;
    while !open.is_empty() && !is_last {
        let left = ended.map(|at| LINGER.saturating_sub(at.elapsed()));
        is_last = left == Some(Duration::ZERO);
        let awaited = end.as_ref().filter(|_| ended.is_none());
        let limit = left.or(awaited.is_none().then_some(Duration::from_millis(20)));
        let limit = limit.map(|l| rfs::Timespec { tv_sec: 0, tv_nsec: l.subsec_nanos().into() });
        let pipes = open.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN));
        let mut fds: Vec<PollFd> = pipes.chain(awaited.map(|end| PollFd::new(end, PollFlags::IN))).collect();
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let told: Vec<PollFlags> = fds.iter().map(PollFd::revents).take(open.len()).collect();
        // Asked before the pipes are read, which then hold all it has said.
        if ended.is_none() && child.try_wait()?.is_some() {
            ended = Some(Instant::now());
        }
        let mut told = told.into_iter();
        open.retain_mut(|(stream, pipe)| {
            let told = told.next().unwrap_or(PollFlags::empty());
            if told.is_empty() {
                return true;
            }
            match pipe.read(&mut buf) {
                // Nobody can write any more, and it did not fill the buffer: that was all.
                Ok(n) => n > 0 && sink(*stream, &buf[..n]).is_ok() && !(told.contains(PollFlags::HUP) && n < buf.len()),
                Err(e) => e.kind() == io::ErrorKind::Interrupted,
            }
        });
    }
    let silent = open.is_empty();
    for (stream, pipe) in open {
        let to = match stream {
            Stream::Out => rustix::stdio::stdout().try_clone_to_owned(),
            Stream::Err => rustix::stdio::stderr().try_clone_to_owned(),
        };
        // Its own group: a signal for the build is not meant for what outlives it.
        let _ =
            to.and_then(|to| Command::new("cat").stdin(pipe).stdout(to).stderr(Stdio::null()).process_group(0).spawn());
    }
    Ok(Ended { status: child.wait()?, silent })
}

/// Ends this process as the child ended: same code, or same signal.
pub fn exit_like(status: ExitStatus) -> ! {
    if let Some(signal) = status.signal() {
        // No second core file for a crash that was the child's.
        let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
        if let Some(signal) = rustix::process::Signal::from_named_raw(signal) {
            let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
        }
        std::process::exit(128 + signal);
    }
    std::process::exit(status.code().unwrap_or(1))
}

/// Standard input is `/dev/null` (what cargo gives its probes), so reading it can tell a program nothing.
pub fn stdin_is_null() -> bool {
    let of = |m: io::Result<rfs::Stat>| m.ok().map(|s| (s.st_mode, s.st_rdev));
    let stdin = of(rfs::fstat(rustix::stdio::stdin()).map_err(Into::into));
    stdin.is_some() && stdin == of(rfs::stat("/dev/null").map_err(Into::into))
}

/// Reads standard input to its end, into memory, or where it is longer than `limit` into a file without a name, and puts
/// that in its place: whoever reads it next finds it whole.
pub fn keep_stdin(limit: u64, temp: &Path) -> io::Result<File> {
    let mut kept = File::from(rfs::memfd_create("kache-stdin", rfs::MemfdFlags::CLOEXEC)?);
    let mut stdin = io::stdin().lock();
    if io::copy(&mut stdin.by_ref().take(limit + 1), &mut kept)? > limit {
        let name = temp.join(format!("kache-stdin-{}", process_id()));
        let mut file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&name)?;
        std::fs::remove_file(&name)?;
        rewind(&kept)?;
        io::copy(&mut kept, &mut file)?;
        io::copy(&mut stdin, &mut file)?;
        kept = file;
    }
    rewind(&kept)?;
    rustix::stdio::dup2_stdin(&kept)?;
    Ok(kept)
}

/// The descriptors above the three streams that something can be read from, or that lead to a file. (Who starts programs
/// often leaves some open: the writing end of a pipe, `/dev/null`.)
pub fn descriptors() -> Vec<u32> {
    const READABLE: u32 = 0o400;
    let null = rfs::stat("/dev/null").map(|null| null.st_rdev);
    let leads_somewhere = |fd: &u32| {
        let link = format!("/proc/self/fd/{fd}");
        // The one that the directory was read by is open no more.
        let (Ok(target), Ok(access)) = (rfs::stat(&link), rfs::lstat(&link)) else { return false };
        rfs::FileType::from_raw_mode(target.st_mode) == rfs::FileType::RegularFile
            || access.st_mode & READABLE != 0 && Ok(target.st_rdev) != null
    };
    let number = |(name, _): (Vec<u8>, FileKind)| String::from_utf8_lossy(&name).parse().ok();
    let open = list(Path::new("/proc/self/fd")).unwrap_or_default();
    let mut open: Vec<u32> = open.into_iter().filter_map(number).filter(|fd| *fd > 2).filter(leads_somewhere).collect();
    open.sort_unstable();
    open
}

/// Puts an empty standard input in the place of this process' own.
pub fn empty_stdin() -> io::Result<()> {
    Ok(rustix::stdio::dup2_stdin(File::open("/dev/null")?)?)
}

/// Back to the beginning; a descriptor duplicated from this one moves along.
pub fn rewind(mut file: &File) -> io::Result<()> {
    io::Seek::rewind(&mut file)
}

pub fn is_terminal_input() -> bool {
    rustix::termios::isatty(rustix::stdio::stdin())
}

pub fn is_terminal(file: impl AsFd) -> bool {
    rustix::termios::isatty(file)
}

/// Writes all of `data` to one of this process' streams, unbuffered.
pub fn write_stream(stream: Stream, data: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Out => write_all(rustix::stdio::stdout(), data),
        Stream::Err => write_all(rustix::stdio::stderr(), data),
    }
}

fn write_all(fd: impl AsFd, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match rustix::io::write(&fd, data) {
            Ok(n) => data = &data[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => std::thread::sleep(Duration::from_millis(1)),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Starts a program that outlives this process and shares none of its streams; it is not waited for.
pub fn start_detached(program: &Path, args: &[&str]) -> io::Result<()> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Its own group, so that an interrupt at the terminal ends the build and not the housekeeping.
    command.process_group(0).spawn().map(drop)
}

/// Waits until the process is gone, at most this long.
pub fn wait_for_process(id: i32, limit: Duration) {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let Some(process) = Pid::from_raw(id).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
    let limit = rustix::event::Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: 0 };
    let _ =
        rustix::event::poll(&mut [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)], Some(&limit));
}

/// Lets every other process go first (nice(2)).
pub fn yield_to_others() {
    let _ = rustix::process::nice(19);
}

/// Gives what the command starts a process group of its own, for [`kill_group`].
pub fn own_group(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Kills a process started with [`own_group`] and all it started.
pub fn kill_group(leader: &std::process::Child) {
    if let Some(pid) = rustix::process::Pid::from_raw(leader.id() as i32) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

/// What a program says when it ends, each stream `limit` bytes at most, within this time: else it is killed, with all it
/// started.
pub fn ask(command: &mut Command, limit: u64, time: Duration) -> io::Result<Output> {
    let memory = || io::Result::Ok(File::from(rfs::memfd_create("kache-said", rfs::MemfdFlags::CLOEXEC)?));
    let said = [memory()?, memory()?];
    command.stdin(Stdio::null()).stdout(said[0].try_clone()?).stderr(said[1].try_clone()?);
    let (mut child, start) = (own_group(command).spawn()?, Instant::now());
    let sizes = || said.each_ref().map(|file| fstat(file).map_or(u64::MAX, |meta| meta.size));
    let ended = loop {
        let ended = child.try_wait()?;
        if sizes().iter().any(|size| *size > limit) {
            break Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it says more than {limit} bytes")));
        } else if let Some(status) = ended {
            break Ok(status);
        } else if start.elapsed() >= time {
            break Err(io::Error::new(io::ErrorKind::TimedOut, format!("it takes more than {} s", time.as_secs())));
        }
        std::thread::sleep(Duration::from_micros(500));
    };
    if ended.is_err() {
        kill_group(&child);
        child.wait()?;
    }
    let status = ended?;
    let read = |file: &File| {
        let mut bytes = vec![0; fstat(file)?.size.min(limit) as usize];
        read_at(file, &mut bytes, 0).map(|()| bytes)
    };
    Ok(Output { status, stdout: read(&said[0])?, stderr: read(&said[1])? })
}

/// What may still be written on the file system of `dir`.
pub fn room(dir: &Path) -> io::Result<Room> {
    let stat = rfs::statvfs(dir)?;
    // File systems that make inodes as they go tell of none at all.
    let inodes = (stat.f_files > 0).then_some(stat.f_favail);
    Ok(Room { bytes: stat.f_bavail * stat.f_frsize, inodes })
}

/// Kills this process at once, as a power cut would: for fault injection.
pub fn kill_self() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

/// An integer that differs between processes alive at one time.
pub fn process_id() -> u32 {
    std::process::id()
}

/// The process that started this one.
pub fn parent_process_id() -> u32 {
    std::os::unix::process::parent_id()
}

/// Where our parent works.
pub fn parent_dir() -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{}/cwd", parent_process_id())).ok()
}

/// A name other processes can open this descriptor by while this process lives.
pub fn fd_path(fd: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()))
}

/// Writes a new file whole; `mode` is subject to the umask.
pub fn write_new(path: &Path, data: &[u8], mode: u32) -> io::Result<File> {
    let mut file = create_new(path, mode)?;
    file.write_all(data)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a process is known by what the kernel says of it, and one that is none is not.
    #[test]
    fn processes() {
        let me = process(process_id()).unwrap();
        let above = process(parent_process_id()).unwrap();
        assert_eq!((me.parent, me.leader > 0), (above.id, true));
        assert!(above.started <= me.started && me.started > 0);
        assert!(process(0).is_none());
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("kache-os-{}-{name}", process_id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::canonicalize(dir).unwrap()
    }

    /// Guards: another processor is another one, and the same one at another speed is not.
    #[test]
    fn processors() {
        let of = |model: &str, mhz: &str, flags: &str| {
            let one = |n: u32| {
                format!(
                    "processor\t: {n}\nmodel name\t: {model}\ncpu MHz\t\t: {mhz}\nflags\t\t: {flags}\nbugs\t: x\n\n"
                )
            };
            identity_of((one(0) + &one(1)).as_bytes())
        };
        let some = of("Some 1", "2400.1", "fpu avx2");
        assert_eq!(some, of("Some 1", "3100.9", "fpu avx2"));
        assert!(some != of("Some 2", "2400.1", "fpu avx2") && some != of("Some 1", "2400.1", "fpu avx2 avx512f"));
        assert!(!cpu_identity().is_empty() && !some.is_empty());
    }

    /// Guards: what a program says comes whole or not at all, and one that goes on is killed with all it started.
    #[test]
    fn answers() {
        let shell =
            |script: &str, limit: u64, time: Duration| ask(Command::new("sh").args(["-c", script]), limit, time);
        let long = Duration::from_secs(600);
        let said = shell("printf out; printf more >&2; exit 3", 4, long).unwrap();
        assert_eq!((said.status.code(), &said.stdout[..], &said.stderr[..]), (Some(3), &b"out"[..], &b"more"[..]));
        for script in ["printf abcde", "printf abcde >&2", "printf abcde; sleep 1000"] {
            assert_eq!(shell(script, 4, long).unwrap_err().kind(), io::ErrorKind::FileTooLarge, "{script}");
        }
        // Both inherit the pipe: there is no end of it while one of them lives.
        let (end, held) = rustix::pipe::pipe().unwrap();
        let unending = shell("sleep 1000 & sleep 1000", 4, Duration::from_millis(300));
        assert_eq!(unending.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(held);
        assert_eq!(File::from(end).read(&mut [0]).unwrap(), 0);
    }

    /// Guards: a copy holds the same bytes, whatever its size.
    #[test]
    fn copies_are_equal() {
        let dir = scratch("copy");
        for size in [0, 1, 4096, (16 << 20) + 4097] {
            let data: Vec<u8> = (0..size).map(|i| (i / 7 + i / 4096) as u8).collect();
            let from = dir.join("from");
            std::fs::write(&from, &data).unwrap();
            let mut to = create_new(&dir.join("to"), 0o600).unwrap();
            copy(&File::open(&from).unwrap(), &mut to).unwrap();
            assert!(std::fs::read(dir.join("to")).unwrap() == data, "{size} bytes");
            std::fs::remove_file(dir.join("to")).unwrap();
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// Guards: whose settings count where all may write, as root meets them.
    #[test]
    fn planted_files() {
        use std::os::unix::fs::{PermissionsExt, chown};
        let dir = scratch("planted");
        let file = dir.join("file");
        std::fs::write(&file, "").unwrap();
        let with = |mode: u32| {
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
            is_planted(&file)
        };
        assert!(!with(0o1777), "our own");
        match chown(&file, Some(65534), None) {
            Ok(()) => assert_eq!([with(0o1777), with(0o755)], [true, false], "another user's"),
            Err(_) => eprintln!("skipped: planted_files: only root can give a file away"),
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// Guards: the short way to a canonical form gives what `realpath` gives.
    #[test]
    fn canonical_forms() {
        let dir = scratch("canonical");
        std::fs::create_dir_all(dir.join(".hidden/..more/x")).unwrap();
        symlink(Path::new(".hidden"), &dir.join("link")).unwrap();
        for rel in
            [".hidden", ".hidden/", ".hidden/..more", "link", "link/..more/x", ".hidden/./..more", "link/../link"]
        {
            let path = dir.join(rel);
            assert_eq!(canonical_dir(&path).unwrap(), std::fs::canonicalize(&path).unwrap(), "{rel}");
            let mut near = Near::default();
            let within = path.join("x");
            if within.is_dir() {
                assert_eq!(near.canonical(&within).unwrap(), std::fs::canonicalize(&within).unwrap(), "{rel}/x");
            }
        }
        assert!(canonical_dir(&dir.join("nothing")).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
