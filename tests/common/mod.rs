//! A hermetic place for one test, and the means to say what must hold there.
//!
//! A [`Space`] owns a temporary directory with its own home, cargo home, temporary directory and cache; a [`Tree`] is a
//! checkout in it; a [`Run`] is one command with a cleared environment; an [`Outcome`] is all that came of it, and prints
//! itself when an expectation fails. [`Snapshot`] holds what a build left in a target directory, so that a build through
//! kache can be compared with the plain compiler's in the same place and the same state.
//!
//! It knows nothing about how kache works: only the command line, the environment and the event log.

pub mod terminal;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than one tick of any kernel clock: a file older than this is not "too new" for the cache.
const TICK: Duration = Duration::from_millis(20);

/// Nothing here takes minutes; a command that does is stuck.
const STUCK: Duration = Duration::from_secs(120);

// --- the space -----------------------------------------------------------------------------------------------------

pub struct Space {
    root: PathBuf,
    _dir: tempfile::TempDir,
}

impl Space {
    pub fn new() -> Space {
        // Not below this workspace: cargo would read its configuration there.
        Space::inside(&std::env::temp_dir())
    }

    /// A space on another filesystem.
    pub fn inside(parent: &Path) -> Space {
        let dir = tempfile::Builder::new().prefix("space-").tempdir_in(parent).expect("temporary directory");
        let root = fs::canonicalize(dir.path()).expect("canonical path");
        for sub in ["home", "cargo-home", "tmp", "site"] {
            fs::create_dir(root.join(sub)).expect("directory of the space");
        }
        fs::write(root.join("user.toml"), "").expect("user config");
        Space { root, _dir: dir }
    }

    pub fn path(&self, rel: &str) -> PathBuf {
        self.root.join(rel)
    }

    /// What the projects of a test may read: checkouts and their surroundings. [`Space::save`] covers it.
    pub fn site(&self, rel: &str) -> PathBuf {
        self.root.join("site").join(rel)
    }

    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// A checkout at this place below the site.
    pub fn tree(&self, at: &str) -> Tree<'_> {
        let path = self.site(at);
        fs::create_dir_all(&path).expect("directory of the tree");
        Tree { space: self, path }
    }

    pub fn write(&self, rel: &str, text: &str) {
        write_file(&self.site(rel), text);
    }

    /// Remembers the site (without target directories), to be put back by [`Space::put_back`].
    pub fn save(&self, name: &str) {
        let saved = self.root.join("saved").join(name);
        remove(&saved);
        copy_site(&self.root.join("site"), &saved);
    }

    pub fn put_back(&self, name: &str) {
        let site = self.root.join("site");
        remove(&site);
        copy_site(&self.root.join("saved").join(name), &site);
    }

    /// Any command with the space's environment.
    pub fn command(&self, program: impl AsRef<OsStr>, cwd: &Path) -> Run<'_> {
        let mut env = BTreeMap::new();
        for keep in ["PATH", "RUSTUP_TOOLCHAIN", "RUSTUP_HOME"] {
            if let Some(value) = std::env::var_os(keep) {
                env.insert(keep.into(), value);
            }
        }
        if !env.contains_key(OsStr::new("RUSTUP_HOME")) {
            let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".rustup");
            if home.is_dir() {
                env.insert("RUSTUP_HOME".into(), home.into());
            }
        }
        let mut run = Run {
            space: self,
            before: Vec::new(),
            program: program.as_ref().into(),
            args: Vec::new(),
            cwd: cwd.into(),
            env,
            cache: self.cache(),
            mode: Mode::Plain,
            role: Role::Other,
        };
        for (name, value) in [
            ("HOME", self.root.join("home")),
            ("CARGO_HOME", self.root.join("cargo-home")),
            ("TMPDIR", self.root.join("tmp")),
            ("LC_ALL", "C.UTF-8".into()),
            ("CARGO_NET_OFFLINE", "true".into()),
            ("CARGO_TERM_COLOR", "never".into()),
            ("CARGO_INCREMENTAL", "0".into()),
            ("CARGO_BUILD_JOBS", "2".into()),
        ] {
            run = run.env(name, value);
        }
        run
    }

    /// The command line for people.
    pub fn cli(&self, args: &str) -> Run<'_> {
        let mut run = self.command(kache_cli(), &self.root).args(args);
        run.mode = Mode::Observed;
        run
    }
}

fn copy_site(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("directory for a copy");
    for entry in fs::read_dir(from).expect("site").flatten() {
        if entry.file_name() == "target" {
            continue;
        }
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("file type");
        if kind.is_dir() {
            copy_site(&source, &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source).expect("link"), &target).expect("symlink");
        } else {
            fs::copy(&source, &target).expect("copy");
            let meta = fs::metadata(&source).expect("metadata");
            let file = fs::File::options().write(true).open(&target).expect("open the copy");
            file.set_modified(meta.modified().expect("mtime")).expect("set the mtime");
        }
    }
}

pub fn write_file(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("parent")).expect("parent directory");
    fs::write(path, text).expect("write");
}

pub fn write_script(path: &Path, text: &str) {
    write_file(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
}

pub fn remove(path: &Path) {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path).unwrap_or_else(|e| panic!("remove {}: {e}", path.display()));
    } else if path.symlink_metadata().is_ok() {
        fs::remove_file(path).unwrap_or_else(|e| panic!("remove {}: {e}", path.display()));
    }
}

/// All regular files below a directory.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&path)),
            Ok(_) => found.push(path),
            Err(_) => {}
        }
    }
    found.sort();
    found
}

// --- tools ---------------------------------------------------------------------------------------------------------

pub fn kache() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_kache"))
}

pub fn kache_cli() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_kache-cli"))
}

/// The toolchain's own rustc, not a proxy in front of it.
pub fn rustc() -> &'static Path {
    static RUSTC: OnceLock<PathBuf> = OnceLock::new();
    RUSTC.get_or_init(|| sysroot().join("bin/rustc"))
}

pub fn sysroot() -> &'static Path {
    static SYSROOT: OnceLock<PathBuf> = OnceLock::new();
    SYSROOT.get_or_init(|| {
        let out = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc runs");
        PathBuf::from(String::from_utf8(out.stdout).expect("a sysroot in UTF-8").trim())
    })
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

pub fn host() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let out = Command::new(rustc()).arg("-vV").output().expect("rustc runs");
        let text = String::from_utf8(out.stdout).expect("UTF-8");
        text.lines().find_map(|l| l.strip_prefix("host: ")).expect("a host line").to_owned()
    })
}

pub fn on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(tool).is_file())
}

/// Whether clang's library for coverage and profiles is here, a package of its own.
pub fn clang_profiles() -> bool {
    let name = format!("-print-file-name=libclang_rt.profile-{}.a", std::env::consts::ARCH);
    let told = Command::new("clang").arg(name).output();
    told.is_ok_and(|told| Path::new(String::from_utf8_lossy(&told.stdout).trim()).is_file())
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// Waits for what another process does.
#[track_caller]
pub fn until(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < STUCK, "it never comes");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Says, in the form every runner looks for, that a test could not do its work here.
pub fn skip(name: &str, reason: &str) {
    eprintln!("skipped: {name}: {reason}");
}

/// A mount that goes away with the test.
pub struct Mount(PathBuf);

impl Mount {
    pub fn new(args: &[&str], at: &Path) -> Option<Mount> {
        fs::create_dir_all(at).unwrap();
        let out = Command::new("mount").args(args).arg(at).output().ok()?;
        out.status.success().then(|| Mount(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// A directory below which nothing can be written, as long as this lives. Modes don't bind root; a mount does.
pub struct ReadOnly {
    at: PathBuf,
    mount: Option<Mount>,
}

impl ReadOnly {
    pub fn new(at: &Path) -> Option<ReadOnly> {
        let mount = Mount::new(&["--bind", at.to_str().unwrap()], at);
        if mount.is_some() {
            // Housekeeping, which a build started beside it, may have a file open for writing.
            let mut remount = Command::new("mount");
            remount.args(["-o", "remount,bind,ro"]).arg(at);
            let start = Instant::now();
            while !remount.output().unwrap().status.success() {
                assert!(start.elapsed() < Duration::from_secs(60), "{} stays busy", at.display());
                std::thread::sleep(TICK);
            }
        } else if is_root() {
            return None;
        } else {
            assert!(Command::new("chmod").args(["-R", "a-w"]).arg(at).status().unwrap().success());
        }
        Some(ReadOnly { at: at.into(), mount })
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        if self.mount.is_none() {
            let _ = Command::new("chmod").args(["-R", "u+w"]).arg(&self.at).status();
        }
    }
}

/// A C and a C++ compiler of one family.
pub type Compilers = (&'static str, &'static str);
pub const GNU: Compilers = ("gcc", "g++");
pub const LLVM: Compilers = ("clang", "clang++");

/// Those of the families that are here; the missing are named.
pub fn compilers(test: &str) -> Vec<Compilers> {
    let here = |c: &Compilers| on_path(c.0) && on_path(c.1);
    for missing in [GNU, LLVM].iter().filter(|c| !here(c)) {
        skip(test, &format!("no {} or {}", missing.0, missing.1));
    }
    [GNU, LLVM].into_iter().filter(here).collect()
}

// --- trees ---------------------------------------------------------------------------------------------------------

pub struct Tree<'s> {
    pub space: &'s Space,
    pub path: PathBuf,
}

impl<'s> Tree<'s> {
    pub fn files(&self, files: &[(&str, &str)]) {
        for (rel, text) in files {
            self.write(rel, text);
        }
    }

    pub fn write(&self, rel: &str, text: &str) {
        write_file(&self.path.join(rel), text);
    }

    pub fn read(&self, rel: &str) -> String {
        let path = self.path.join(rel);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()))
    }

    /// Replaces text that must be there.
    pub fn edit(&self, rel: &str, from: &str, to: &str) {
        let text = self.read(rel);
        assert!(text.contains(from), "{rel} does not contain {from:?}");
        self.write(rel, &text.replace(from, to));
    }

    pub fn remove(&self, rel: &str) {
        remove(&self.path.join(rel));
    }

    pub fn clean(&self) {
        self.remove("target");
    }

    /// `cargo ARGS` in this tree, through kache.
    pub fn cargo(&self, args: &str) -> Run<'s> {
        let mut run = self.space.command(cargo(), &self.path).args(args);
        run.role = Role::Cargo;
        run.mode = Mode::Observed;
        run
    }

    /// `rustc ARGS` in this tree, through kache, as cargo would call it.
    pub fn rustc(&self, args: &str) -> Run<'s> {
        let mut run = self.space.command(rustc(), &self.path).args(args);
        run.role = Role::Rustc;
        run.mode = Mode::Observed;
        run
    }

    /// `sh -c SCRIPT` in this tree; `$CC` and `$CXX` are these compilers, through kache.
    pub fn shell(&self, (cc, cxx): Compilers, script: &str) -> Run<'s> {
        let mut run = self.space.command("sh", &self.path).arg("-c").arg(script).env("CC", cc).env("CXX", cxx);
        run.role = Role::Shell;
        run.mode = Mode::Observed;
        run
    }

    /// What the build left in `target`.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.path.join("target"))
    }

    /// Runs an executable of the target directory.
    pub fn execute(&self, rel: &str) -> Outcome {
        self.space.command(self.path.join(rel), &self.path).run()
    }

    /// The next build must have nothing to do: not one unit, in cargo's eyes and in kache's.
    pub fn assert_fresh(&self, args: &str) {
        let out = self.cargo(args).run();
        out.ok();
        out.check(out.actions().next().is_none(), "the next build must not call the compiler");
        let built = out.stderr.lines().any(|l| l.starts_with("   Compiling") || l.starts_with("    Checking"));
        out.check(!built, "the next build must have nothing to do");
    }
}

/// A manifest without dependencies, of edition 2024.
pub fn manifest(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n{more}")
}

/// An executable `app` that prints what the library `part` tells it; the smallest project with a dependency and a link.
pub fn app_with_part(tree: &Tree<'_>, part: &str) {
    tree.files(&[
        ("Cargo.toml", &manifest("app", "[dependencies]\npart = { path = \"part\" }\n[workspace]\n")),
        ("src/main.rs", "fn main() { println!(\"{}\", part::tell()); }\n"),
        ("part/Cargo.toml", &manifest("part", "")),
        ("part/src/lib.rs", part),
    ]);
}

/// Of [`app_with_part`]: the library depends on a procedural macro `mac`, whose source the test writes.
pub fn let_part_use_a_macro(tree: &Tree<'_>) {
    tree.write("part/Cargo.toml", &manifest("part", "[dependencies]\nmac = { path = \"../mac\" }\n"));
    tree.write("mac/Cargo.toml", &manifest("mac", "[lib]\nproc-macro = true\n"));
}

/// A program `teller` in the tree that prints the file `data` beside it, and that no library can be preloaded into.
pub fn static_teller(tree: &Tree<'_>) {
    tree.write(
        "teller.c",
        "#include <stdio.h>\nint main(void) { FILE *f = fopen(\"data\", \"r\"); char text[64] = \"\";\n\
         if (!f || !fgets(text, sizeof text, f)) return 1; fputs(text, stdout); return 0; }\n",
    );
    tree.space.command("cc", &tree.path).args("-static teller.c -o teller").run().ok();
}

/// Enough of an interface that its metadata is a blob and does not stand in the entry.
pub fn interface() -> String {
    (0..400)
        .map(|n| format!("pub fn long_name_of_a_function_{n}(text: &str) -> usize {{ text.len() + {n} }}\n"))
        .collect()
}

/// A `rustc` that stops once, `before` or `after` the compile of one crate, until the test lets it go on. Its marks are
/// such that what it runs can be stored: one does not change meanwhile, the other one is its own and gone at the end.
pub struct Pause {
    pub rustc: PathBuf,
    armed: PathBuf,
    stopped: PathBuf,
}

impl Pause {
    pub fn new(space: &Space, name: &str, when: &str) -> Pause {
        let [armed, stopped] = ["armed", "stopped"].map(|mark| space.path(mark));
        let pause = format!(
            "case \"$*\" in *'--crate-name {name} '*) if [ -e {armed} ]; then : > {stopped}; n=0\n\
             while [ -e {stopped} ]; do sleep 0.02; n=$((n+1)); [ $n -lt 3000 ] || exit 9; done; fi ;; esac\n",
            armed = armed.display(),
            stopped = stopped.display(),
        );
        let [before, after] = ["before", "after"].map(|at| if at == when { &*pause } else { "" });
        let rustc = space.path("toolchain/bin/rustc");
        write_script(&rustc, &format!("#!/bin/sh\n{before}{} \"$@\" || exit\n{after}", self::rustc().display()));
        std::os::unix::fs::symlink(sysroot().join("lib"), space.path("toolchain/lib")).expect("the toolchain");
        fs::write(&armed, "").expect("the mark");
        Pause { rustc, armed, stopped }
    }

    /// Starts the command, does this while the compiler stops, and lets it go on.
    pub fn during(&self, run: Run<'_>, act: impl FnOnce()) -> Outcome {
        let mut running = run.spawn();
        while !self.stopped.exists() && running.is_running() {
            std::thread::sleep(Duration::from_millis(2));
        }
        if self.stopped.exists() {
            act();
            remove(&self.stopped);
            let out = running.wait();
            remove(&self.armed);
            return out;
        }
        panic!("the compiler must stop\n{}", running.wait().world())
    }
}

// --- commands ------------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Plain,
    Observed,
    Declared,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Cargo,
    Rustc,
    Shell,
    Other,
}

#[derive(Clone)]
pub struct Run<'s> {
    space: &'s Space,
    before: Vec<OsString>,
    program: OsString,
    args: Vec<OsString>,
    cwd: PathBuf,
    env: BTreeMap<OsString, OsString>,
    cache: PathBuf,
    mode: Mode,
    role: Role,
}

impl<'s> Run<'s> {
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Several arguments, separated by white space.
    pub fn args(mut self, args: &str) -> Self {
        self.args.extend(args.split_whitespace().map(Into::into));
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.into(), value.as_ref().into());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(OsStr::new(name));
        self
    }

    /// Another program than the one named first.
    pub fn compiler(mut self, program: &Path) -> Self {
        self.program = program.into();
        self
    }

    /// Puts a program in front (`strace …`, `sh -c …`).
    pub fn under(mut self, before: &[&str]) -> Self {
        self.before = before.iter().map(Into::into).collect();
        self
    }

    pub fn cwd(mut self, cwd: &Path) -> Self {
        self.cwd = cwd.into();
        self
    }

    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    pub fn plain(self) -> Self {
        self.mode(Mode::Plain)
    }

    pub fn declared(self) -> Self {
        self.mode(Mode::Declared)
    }

    pub fn cache(mut self, cache: &Path) -> Self {
        self.cache = cache.into();
        self
    }

    fn command(&self) -> Command {
        let mut line = self.before.clone();
        if self.role == Role::Rustc && self.mode != Mode::Plain {
            line.push(kache().into());
        }
        line.push(self.program.clone());
        line.extend(self.args.iter().cloned());
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).current_dir(&self.cwd).env_clear().envs(&self.env);
        if self.mode != Mode::Plain {
            if self.role == Role::Cargo {
                command.env("RUSTC_WRAPPER", kache());
            }
            for name in ["CC", "CXX"].iter().filter(|_| self.role == Role::Shell) {
                let compiler = self.env.get(OsStr::new(name)).map(|c| c.to_string_lossy()).unwrap_or_default();
                command.env(name, format!("{} {compiler}", kache().display()));
            }
            for (name, value) in [("KACHE_CACHE_DIR", &self.cache), ("KACHE_CONFIG", &self.space.path("user.toml"))] {
                if !self.env.contains_key(OsStr::new(name)) {
                    command.env(name, value);
                }
            }
        }
        if self.mode == Mode::Declared {
            command.env("KACHE_OBSERVE", "0");
        }
        command
    }

    pub fn run(self) -> Outcome {
        self.spawn().wait()
    }

    /// Starts the command; its streams go to files, so nothing it does can block it.
    pub fn spawn(self) -> Running {
        std::thread::sleep(TICK);
        let mut command = self.command();
        let out = tempfile::NamedTempFile::new_in(&self.space.root).expect("a file for stdout");
        let err = tempfile::NamedTempFile::new_in(&self.space.root).expect("a file for stderr");
        command.stdin(Stdio::null());
        command.stdout(out.reopen().expect("stdout")).stderr(err.reopen().expect("stderr"));
        let mark = Mark::of(&self.cache);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let told = format!("{command:?}\n  in {}", self.cwd.display());
        Running { told, role: self.role, child, out, err, mark }
    }
}

pub struct Running {
    told: String,
    role: Role,
    child: Child,
    out: tempfile::NamedTempFile,
    err: tempfile::NamedTempFile,
    mark: Mark,
}

impl Running {
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn wait(mut self) -> Outcome {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            if start.elapsed() > STUCK {
                self.child.kill().expect("kill");
                panic!("stuck: {}\n{}", self.told, fs::read_to_string(self.err.path()).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let text = |file: &tempfile::NamedTempFile| {
            String::from_utf8_lossy(&fs::read(file.path()).expect("the stream's file")).into_owned()
        };
        let (stdout, stderr) = (text(&self.out), text(&self.err));
        Outcome { told: self.told, role: self.role, status, stdout, stderr, events: self.mark.since() }
    }
}

/// All that came of a command.
#[must_use]
pub struct Outcome {
    told: String,
    role: Role,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub events: Vec<Event>,
}

impl Outcome {
    /// Fails the test with everything there is to know.
    #[track_caller]
    pub fn check(&self, holds: bool, rule: &str) {
        if !holds {
            panic!("{rule}\n{}", self.world());
        }
    }

    pub fn world(&self) -> String {
        let mut text = format!("  {}\n  {}\n", self.told, self.status);
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                write!(text, "--- {name}\n{stream}").expect("to a string");
            }
        }
        text.push_str("--- events\n");
        for event in &self.events {
            writeln!(text, "{}", event.0).expect("to a string");
        }
        text
    }

    #[track_caller]
    pub fn ok(&self) -> &Self {
        self.check(self.status.success(), "the command must succeed");
        self
    }

    #[track_caller]
    pub fn fails(&self) -> &Self {
        self.check(self.status.code().is_some_and(|c| c != 0), "the command must fail");
        self
    }

    /// Everything but questions to the compiler: compilations and build-script runs.
    pub fn actions(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|e| e.action() != "query" && e.reason() != "query")
    }

    pub fn event(&self, name: &str) -> &Event {
        match self.actions().find(|e| e.name() == name) {
            Some(event) => event,
            None => panic!("no event of {name}\n{}", self.world()),
        }
    }

    /// How the compilation of this crate ended.
    pub fn outcome(&self, name: &str) -> &str {
        self.event(name).outcome()
    }

    pub fn count(&self, outcome: &str) -> usize {
        self.actions().filter(|e| e.outcome() == outcome).count()
    }

    /// Something was looked up, and all of it was found.
    #[track_caller]
    pub fn all_hit(&self) -> &Self {
        self.check(self.actions().next().is_some(), "the command must reach kache");
        self.check(self.actions().all(Event::is_hit), "everything must be a hit");
        self
    }

    /// What compilers and people said: without what cargo says differently from run to run, else every byte.
    pub fn said(&self) -> String {
        let status = ["Compiling", "Checking", "Finished", "Fresh", "Dirty", "Blocking", "Running", "Executable"];
        let noise = |line: &str| {
            let line = without_colour(line);
            let word = line.trim_start().split(' ').next().unwrap_or_default();
            self.role == Role::Cargo && line.starts_with("  ") && status.contains(&word)
        };
        self.stderr.split_inclusive('\n').filter(|line| !noise(line)).collect()
    }

    /// The same streams and the same end.
    #[track_caller]
    pub fn same_as(&self, plain: &Outcome) -> &Self {
        let same =
            self.status.code() == plain.status.code() && self.stdout == plain.stdout && self.said() == plain.said();
        if !same {
            panic!("must be as without kache\n{}--- without kache\n{}", self.world(), plain.world());
        }
        self
    }
}

/// A command for people says these words, on either stream.
#[track_caller]
pub fn says(out: &Outcome, words: &[&str]) {
    let all = format!("{}{}", out.stdout, out.stderr);
    for word in words {
        out.check(all.contains(word), &format!("the command must say {word:?}"));
    }
}

#[track_caller]
pub fn exits(out: &Outcome, code: i32) {
    out.check(out.status.code() == Some(code), &format!("the exit code must be {code}"));
}

/// A line without the terminal's escape sequences (`ESC [ … m`).
fn without_colour(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

// --- events --------------------------------------------------------------------------------------------------------

/// One line of the event log.
pub struct Event(Value);

impl Event {
    fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn outcome(&self) -> &str {
        self.text("outcome")
    }

    pub fn action(&self) -> &str {
        self.text("action")
    }

    pub fn name(&self) -> &str {
        self.text("name")
    }

    pub fn unit(&self) -> &str {
        self.text("unit")
    }

    pub fn reason(&self) -> &str {
        self.text("reason")
    }

    pub fn stored(&self) -> bool {
        self.0.get("stored").and_then(Value::as_bool).unwrap_or(false)
    }

    pub fn is_hit(&self) -> bool {
        matches!(self.outcome(), "hit" | "dup")
    }

    pub fn field(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }
}

/// The ends of the event logs at one moment.
pub struct Mark {
    dir: PathBuf,
    sizes: BTreeMap<PathBuf, usize>,
}

impl Mark {
    pub fn of(cache: &Path) -> Mark {
        let dir = cache.join("v1/events");
        let sizes = files_below(&dir).into_iter().map(|p| (p.clone(), fs::read(p).map_or(0, |b| b.len()))).collect();
        Mark { dir, sizes }
    }

    pub fn since(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for path in files_below(&self.dir) {
            let bytes = fs::read(&path).unwrap_or_default();
            let start = self.sizes.get(&path).copied().unwrap_or(0).min(bytes.len());
            let text = String::from_utf8_lossy(&bytes[start..]);
            events.extend(text.lines().filter_map(|line| serde_json::from_str(line).ok()).map(Event));
        }
        events
    }
}

/// A command and what it left in a directory of its own.
pub struct Made {
    pub outcome: Outcome,
    pub files: Snapshot,
}

impl Made {
    /// The directory is empty before.
    pub fn by(run: Run<'_>, dir: &Path) -> Made {
        remove(dir);
        fs::create_dir(dir).expect("a directory for the results");
        let outcome = run.run();
        Made { outcome, files: Snapshot::of(dir) }
    }

    /// The same streams, end, files and modes.
    #[track_caller]
    pub fn same_as(&self, plain: &Made) -> &Outcome {
        self.files.same_bytes(&plain.files);
        self.files.same_modes(&plain.files);
        self.outcome.same_as(&plain.outcome)
    }
}

/// Two runs with kache, one after the other.
pub struct Twice {
    pub first: Outcome,
    pub again: Outcome,
}

/// Plain, then twice with kache: all three the same in streams, end and files of `out`; the last one without a compiler,
/// where the plain one succeeds. `$MAPS` is the map that kache adds, given to the plain compiler.
#[track_caller]
pub fn as_plain(tree: &Tree<'_>, compilers: Compilers, script: &str) -> Twice {
    let build = |mode: Mode, maps: &str| {
        let run = tree.shell(compilers, script).mode(mode).env("MAPS", maps);
        Made::by(run, &tree.path.join("out"))
    };
    let plain = build(Mode::Plain, &format!("-fdebug-prefix-map={}=.", tree.path.display()));
    let first = build(Mode::Observed, "");
    first.same_as(&plain);
    let second = build(Mode::Observed, "");
    let again = second.same_as(&plain);
    if plain.outcome.status.success() {
        again.all_hit();
    } else {
        again.check(again.actions().all(|e| e.is_hit() || !e.stored()), "a failure is never stored");
    }
    Twice { first: first.outcome, again: second.outcome }
}

/// [`as_plain`] with clang, where that is.
#[track_caller]
pub fn clang_as_plain(test: &str, tree: &Tree<'_>, script: &str) {
    if on_path(LLVM.0) {
        as_plain(tree, LLVM, script);
    } else {
        skip(test, "no clang");
    }
}

// --- what a build leaves -------------------------------------------------------------------------------------------

#[derive(PartialEq, Eq, Clone)]
struct File {
    mode: u32,
    size: u64,
    digest: u64,
    /// Kept only of what a person could read in a failure.
    text: Option<String>,
}

/// The files of a target directory, without cargo's own bookkeeping.
#[derive(PartialEq, Eq, Clone)]
pub struct Snapshot(BTreeMap<PathBuf, File>);

impl Snapshot {
    pub fn of(dir: &Path) -> Snapshot {
        let mut files = BTreeMap::new();
        for path in files_below(dir) {
            let rel = path.strip_prefix(dir).expect("below").to_owned();
            if bookkeeping(&rel) {
                continue;
            }
            let bytes = fs::read(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            let mode = fs::metadata(&path).expect("metadata").permissions().mode() & 0o777;
            let text = if bytes.len() < 4096 { String::from_utf8(bytes.clone()).ok() } else { None };
            files.insert(rel, File { mode, size: bytes.len() as u64, digest: hasher.finish(), text });
        }
        Snapshot(files)
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    pub fn has(&self, ending: &str) -> bool {
        self.paths().any(|p| p.to_string_lossy().ends_with(ending))
    }

    /// Only the paths for which this holds.
    pub fn only(&self, keep: impl Fn(&Path) -> bool) -> Snapshot {
        Snapshot(self.0.iter().filter(|(p, _)| keep(p)).map(|(p, f)| (p.clone(), f.clone())).collect())
    }

    /// The same files with the same bytes.
    #[track_caller]
    pub fn same_bytes(&self, plain: &Snapshot) {
        let differ = self.differences(plain, |a, b| a.size == b.size && a.digest == b.digest);
        assert!(differ.is_empty(), "outputs must be as without kache:\n{differ}");
    }

    /// The same files with the same modes; links to a sealed blob, read-only, are the one documented exception.
    #[track_caller]
    pub fn same_modes(&self, plain: &Snapshot) {
        let other = self.only(|p| !sealed(p) || self.0[p].mode != 0o444);
        let differ = other.differences(&plain.only(|p| other.0.contains_key(p)), |a, b| a.mode == b.mode);
        assert!(differ.is_empty(), "modes must be as without kache:\n{differ}");
    }

    /// The same files, whatever is in them.
    #[track_caller]
    pub fn same_names(&self, plain: &Snapshot) {
        let differ = self.differences(plain, |_, _| true);
        assert!(differ.is_empty(), "the files must be those of a build without kache:\n{differ}");
    }

    fn differences(&self, plain: &Snapshot, equal: impl Fn(&File, &File) -> bool) -> String {
        let mut told = String::new();
        for (path, file) in &self.0 {
            match plain.0.get(path) {
                None => writeln!(told, "  only with kache: {}", path.display()),
                Some(other) if equal(file, other) => Ok(()),
                Some(other) => writeln!(
                    told,
                    "  {}: {} bytes, mode {:o} with kache; {} bytes, mode {:o} without\n{}{}",
                    path.display(),
                    file.size,
                    file.mode,
                    other.size,
                    other.mode,
                    file.text.as_deref().unwrap_or_default(),
                    other.text.as_deref().unwrap_or_default(),
                ),
            }
            .expect("to a string");
        }
        for path in plain.0.keys().filter(|p| !self.0.contains_key(*p)) {
            writeln!(told, "  only without kache: {}", path.display()).expect("to a string");
        }
        told
    }
}

/// Files that kache may link read-only.
fn sealed(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "rlib" || e == "rmeta")
}

/// cargo's notes about times and fingerprints, incremental state, and build-script executables (a launcher stands there).
fn bookkeeping(rel: &Path) -> bool {
    let name = rel.file_name().unwrap_or_default().to_string_lossy();
    let part = |p: &str| rel.components().any(|c| c.as_os_str() == p);
    part(".fingerprint")
        || part("incremental")
        || matches!(
            &*name,
            ".cargo-lock"
                | ".cargo-build-lock"
                | ".cargo-artifact-lock"
                | ".rustc_info.json"
                | "CACHEDIR.TAG"
                | "invoked.timestamp"
        )
        || (name.starts_with("build-script-") || name.starts_with("build_script_")) && !name.ends_with(".d")
        || name.ends_with(".real")
}

/// Does any file of this directory contain these bytes?
pub fn files_with(dir: &Path, needle: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| memchr::memmem::find(&fs::read(path).unwrap_or_default(), needle.as_bytes()).is_some();
    files_below(dir).into_iter().filter(holds).collect()
}
