//! A directory with the observer in it, programs compiled on the spot, and ways to run them observed.

use kache_observe::{Blind, Kind, Record, Trace, TraceFile, flag};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A capacity no test comes near.
pub const ROOM: usize = 256 << 20;

pub struct World {
    dir: tempfile::TempDir,
}

/// What became of one observed run.
pub struct Observed {
    pub trace: Result<Trace<'static>, Blind>,
    pub output: Output,
}

impl World {
    pub fn new() -> World {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let world = World { dir };
        fs::write(world.preload(), kache_observe::PRELOAD).expect("place the observer");
        fs::create_dir(world.path("w")).expect("make the work directory");
        world
    }

    pub fn preload(&self) -> PathBuf {
        self.dir.path().join("kache-observe.so")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the programs run.
    pub fn cwd(&self) -> PathBuf {
        self.path("w")
    }

    /// A file in the work directory.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.cwd().join(name);
        fs::create_dir_all(path.parent().expect("it is in the world")).expect("make its directory");
        fs::write(&path, text).expect("write a file of the world");
        path
    }

    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
        path
    }

    /// Compiles a C program, outside of any observation.
    pub fn try_c(&self, name: &str, source: &str, flags: &[&str]) -> Result<PathBuf, String> {
        let text = self.path(&format!("{name}.c"));
        fs::write(&text, source).expect("write the source");
        let program = self.path(name);
        let done = Command::new("cc").arg(&text).arg("-o").arg(&program).args(flags).output().expect("tests need cc");
        match done.status.success() {
            true => Ok(program),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }

    pub fn c(&self, name: &str, source: &str) -> PathBuf {
        self.try_c(name, source, &["-lpthread", "-ldl"]).unwrap_or_else(|why| panic!("{name}.c: {why}"))
    }

    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.cwd()).stdin(Stdio::null());
        command.env_remove("KACHE_MAP").env("LC_ALL", "C");
        command
    }

    pub fn observe(&self, command: Command) -> Observed {
        self.observe_with(command, ROOM)
    }

    pub fn observe_with(&self, mut command: Command, capacity: usize) -> Observed {
        // What was read of it is borrowed from it, to the end of the test.
        let trace: &'static TraceFile = Box::leak(Box::new(Trace::create(capacity).expect("memory for a trace")));
        command.env("LD_PRELOAD", self.preload()).env("KACHE_TRACE", trace.env_value());
        let output = command.output().expect("start the program");
        Observed { trace: trace.read(), output }
    }

    pub fn sh(&self, script: &str) -> Observed {
        let mut command = self.command("sh");
        command.arg("-c").arg(script);
        self.observe(command)
    }
}

impl Observed {
    /// The trace of a run that must have succeeded and been seen whole.
    pub fn seen(&self) -> &Trace<'static> {
        assert!(self.output.status.success(), "{}\n{}\n{}", self.output.status, self.stdout(), self.stderr());
        match &self.trace {
            Ok(trace) => trace,
            Err(blind) => panic!("blind: {blind}\n{}", self.stderr()),
        }
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn has(&self, kind: Kind, a: impl AsRef<OsStr>) -> bool {
        find(self.seen(), kind, a).is_some()
    }

    #[track_caller]
    pub fn must_have(&self, kind: Kind, a: impl AsRef<OsStr>) {
        assert!(self.has(kind, a.as_ref()), "no {kind:?} of {:?} in\n{}", a.as_ref(), listing(self.seen()));
    }

    #[track_caller]
    pub fn must_read(&self, path: impl AsRef<Path>) {
        let path = path.as_ref().as_os_str().as_bytes();
        let read = |r: &Record| r.kind == Kind::Open && r.flags & flag::READ != 0 && r.a == path;
        assert!(self.seen().records.iter().any(read), "no read of {path:?} in\n{}", listing(self.seen()));
    }

    /// Which program ran unobserved.
    #[track_caller]
    pub fn escaped(&self) -> PathBuf {
        match &self.trace {
            Err(Blind::EscapedExec { path }) => PathBuf::from(OsStr::from_bytes(path)),
            other => panic!("nobody escaped: {other:?}"),
        }
    }
}

pub fn find<'t>(trace: &'t Trace, kind: Kind, a: impl AsRef<OsStr>) -> Option<&'t Record<'t>> {
    trace.records.iter().find(|r| r.kind == kind && r.a == a.as_ref().as_bytes())
}

pub fn listing(trace: &Trace) -> String {
    let line = |r: &Record| {
        let (a, b) = (String::from_utf8_lossy(r.a), String::from_utf8_lossy(r.b));
        format!("{} {:?} flags {} err {} arg {} {a} {b}\n", r.pid, r.kind, r.flags, r.err, r.arg)
    };
    trace.records.iter().map(line).collect()
}

/// The first file of that name on PATH.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The compiler itself, not rustup's proxy.
pub fn rustc() -> PathBuf {
    let done = Command::new("rustc").args(["--print", "sysroot"]).output().expect("tests need rustc");
    Path::new(String::from_utf8(done.stdout).expect("a path").trim()).join("bin/rustc")
}

/// Says that a test did not run here, and why.
pub fn skipped(name: &str, reason: &str) {
    eprintln!("skipped: {name}: {reason}");
}
