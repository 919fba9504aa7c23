//! The life of one action: look it up, restore it, or run it under observation and record it.
//!
//! Knows nothing of commands for people, nor how anything is presented: what happened goes to the event log.

mod action;
mod adapter;
mod declared;
mod declared_cc;
mod invocation;
mod log;
mod messages;
mod observed;
mod pattern;
mod programs;
mod reason;
mod record;
mod restore;
mod run;
mod scan;
mod sources;
mod warn;
mod world;

pub use adapter::cc_flags::{
    FLAGS as CC_FLAGS, KEY_VARIABLES as CC_VARIABLES, REFUSED_VARIABLES as CC_REFUSED_VARIABLES, Treatment,
};
pub use adapter::command::{Asked, ROLE as RUN_ROLE};
pub use adapter::{compiler::is_tool as is_cc, project_dirs, rustc::is_tool, script::ROLE as BUILD_SCRIPT_ROLE};
pub use invocation::Invocation;
pub use reason::{Reason, Why};

use action::{Action, Kind};
use kache_config::Settings;
use kache_key::{Digest, Recipe, Root, Roots};
use kache_os::bytes;
use kache_store::{Memo, Outcome, Store};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use world::World;

/// Where nothing can be observed, inputs are declared; the observer is loaded from the cache.
pub fn observe_if_possible(settings: &mut Settings) {
    if !settings.observe || settings.disabled {
        return;
    }
    settings.observe = kache_observe::SUPPORTED;
    if settings.observe && kache_os::forbids_execution(&settings.cache_dir) {
        settings.observe = false;
        let place = settings.cache_dir.display();
        settings.warnings.push(format!("{place} forbids execution, so inputs are declared (kache doctor tells more)"));
    }
}

/// One invocation with the cache it uses.
pub struct Session<'a> {
    pub invocation: &'a Invocation,
    pub settings: &'a Settings,
    pub store: Store,
    pub memo: Memo,
    /// What we say on standard error reaches people, also where that is no terminal.
    heard: bool,
}

/// The argument by which a process that makes spares is told from others.
pub const SPARES_ROLE: &str = "--make-spares";

/// Variables by which the loader chooses what a program consists of (ld.so(8)).
const LOADER: [&str; 3] = ["LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT"];

/// How an action ended, for the event log.
#[derive(Default)]
struct Ending {
    why: Option<Why>,
    stored: bool,
    tool_ms: u64,
    weak: Option<Digest>,
    key: Option<Digest>,
    restored: restore::Restored,
}

/// Serves a compiler invocation: `args` are those after the wrapper, the tool first. Does not return.
pub fn compile(invocation: &Invocation, settings: &Settings, args: &[OsString]) -> ! {
    let of_cc = adapter::compiler::is_tool(&args[0]);
    // Cargo swallows what is said while it asks questions, and configure scripts take it for the answer.
    let heard = !of_cc && args.iter().any(|a| a == "--out-dir");
    let session = Session::new(invocation, settings, heard);
    let observed = invocation.var(kache_observe::ENV_TRACE).is_some();
    let real = if of_cc || observed { adapter::compiler::real_compiler(invocation, &args[0], settings) } else { None };
    let (program, argv0) = match &real {
        Some(compiler) => (compiler.program.clone(), compiler.argv0.clone()),
        None if of_cc => session.not_found(Path::new(&args[0])),
        None => (PathBuf::from(&args[0]), args[0].clone()),
    };
    let mut plain = Plain { program, argv0, args: args[1..].to_vec(), compiles: true };
    if observed {
        if of_cc {
            plain.args.splice(0..0, adapter::compiler::inherited_maps(invocation, &args[1..]));
        }
        session.take_part(&plain, real.and_then(|compiler| compiler.search));
    }
    let described = session.allowed().and_then(|()| match real {
        Some(compiler) => adapter::cc::action(invocation, args, compiler, settings),
        None => adapter::rustc::action(invocation, args, settings),
    });
    session.serve(described, plain)
}

/// What a hit starts, detached: makes the spares of these blobs, when the build that it was part of is over.
pub fn make_spares(settings: &Settings, build: &OsString, digests: &[OsString]) -> i32 {
    kache_os::yield_to_others();
    if let Some(build) = build.to_str().and_then(|pid| pid.parse().ok()) {
        kache_os::wait_for_process(build, LONGEST_BUILD);
    }
    let digests: Vec<Digest> = digests.iter().filter_map(|hex| Digest::from_hex(hex.to_str()?)).collect();
    let store = Store::new(&settings.cache_dir, settings.kill_at);
    store.make_spares(&digests, spare_limit(settings)).is_err().into()
}

/// A spare is made beside a build that takes longer.
const LONGEST_BUILD: Duration = Duration::from_secs(60);

/// Bytes. Spares take no more than a twentieth of the cache's size limit.
fn spare_limit(settings: &Settings) -> u64 {
    settings.max_size / 20
}

/// Serves `kache run`. Does not return.
pub fn command(invocation: &Invocation, settings: &Settings, asked: &Asked) -> ! {
    // Before anything is opened here.
    let inherited = adapter::command::no_strangers(invocation);
    let session = Session::new(invocation, settings, true);
    let plain = Plain {
        program: PathBuf::from(&asked.command[0]),
        argv0: asked.command[0].clone(),
        args: asked.command[1..].to_vec(),
        compiles: false,
    };
    if invocation.var(kache_observe::ENV_TRACE).is_some() {
        let real = adapter::compiler::real_compiler(invocation, &plain.argv0, settings);
        session.take_part(&plain, real.and_then(|program| program.search));
    }
    let described =
        session.allowed().and(inherited).and_then(|()| adapter::command::action(invocation, asked, settings));
    session.serve(described, plain)
}

/// Serves a build script's run: `args` are the real program, its `argv[0]` and its arguments. Does not return.
pub fn build_script(invocation: &Invocation, settings: &Settings, args: &[OsString]) -> ! {
    let session = Session::new(invocation, settings, false);
    let argv0 = args.get(1).unwrap_or(&args[0]).clone();
    let plain = Plain {
        program: PathBuf::from(&args[0]),
        argv0,
        args: args.iter().skip(2).cloned().collect(),
        compiles: false,
    };
    let digest_of = |path: &Path| session.digest_of(path);
    let described = session.allowed().and_then(|()| adapter::script::action(invocation, args, settings, &digest_of));
    session.serve(described, plain)
}

/// The tool as it was called: what runs when kache steps aside.
struct Plain {
    program: PathBuf,
    argv0: OsString,
    args: Vec<OsString>,
    /// It is a compiler, which another wrapper may have.
    compiles: bool,
}

impl<'a> Session<'a> {
    fn new(invocation: &'a Invocation, settings: &'a Settings, heard: bool) -> Session<'a> {
        let store = Store::new(&settings.cache_dir, settings.kill_at);
        let memo = if settings.disabled { Memo::none() } else { store.memo() };
        Session { invocation, settings, store, memo, heard }
    }

    fn allowed(&self) -> Result<(), Why> {
        if self.settings.disabled { Err(Reason::Disabled.into()) } else { Ok(()) }
    }

    /// A file's digest, from the memo when it did not change.
    fn digest_of(&self, path: &Path) -> Option<Digest> {
        let roots = Roots::default();
        let world = World::new(self.invocation, &roots, &self.memo, &[], self.settings.too_new_ms, false);
        let meta = kache_os::stat(path).ok().filter(kache_os::Meta::is_file)?;
        world.digest(path, &meta).ok()
    }

    /// The whole story: look up, restore, or run and record.
    fn serve(&self, described: Result<Action, Why>, plain: Plain) -> ! {
        if let Some(warning) = self.settings.warning() {
            self.warn(&warning);
        }
        let mut action = match described {
            Ok(action) => action,
            Err(why) => self.step_aside(&plain, why),
        };
        self.complete_key(&mut action);
        if let Err(why) = self.declare(&mut action) {
            self.step_aside(&plain, why);
        }
        let weak = action.fingerprint();
        let world = World::new(
            self.invocation,
            &action.roots,
            &self.memo,
            &action.messages,
            self.settings.too_new_ms,
            action.kind == Kind::Command,
        );
        if let Some(ending) = self.look_up(&action, &world, &weak) {
            self.finish(&action, Outcome::Hit, ending);
        }
        if !self.settings.observe
            && let Err(why) = declared::check_searched(&action)
        {
            self.step_aside(&plain, why);
        }
        if let Some(why) = self.not_worth_recording(&action) {
            let ending = Ending { why: Some(why), weak: Some(weak), ..Ending::default() };
            self.log(&action, Outcome::Miss, &ending);
            self.become_tool(&action);
        }
        let source = action.source.as_deref().and_then(|p| self.digest_of(p));
        let flight = action.flight(&weak, source);
        let free = self.store.lock_action(&flight, Duration::ZERO).ok().flatten();
        let lock = match free {
            Some(lock) => Some(lock),
            None => {
                let limit = Duration::from_secs(self.settings.lock_seconds);
                let lock = self.store.lock_action(&flight, limit).ok().flatten();
                // Its holder has published by now, if there was anything to publish.
                world.look_again();
                if let Some(ending) = self.look_up(&action, &world, &weak) {
                    self.finish(&action, Outcome::Dup, ending);
                }
                lock
            }
        };
        self.run_and_record(&action, &world, &weak, lock)
    }

    /// Adds the fields that every action has.
    fn complete_key(&self, action: &mut Action) {
        // Configure scripts compile one name with one command and many contents: each has its own path sets.
        if action.kind == Kind::Cc
            && let Some(digest) = action.source.as_deref().and_then(|file| self.digest_of(file))
        {
            action.fields.push(("source", digest.as_bytes().to_vec()));
        }
        // Which compilers a script gets from kache is kache's to say.
        let chosen = [("cc", &self.settings.cc), ("c++", &self.settings.cxx)].into_iter();
        for (name, compiler) in chosen.filter(|_| action.kind == Kind::BuildScript) {
            action.fields.extend(compiler.as_ref().map(|path| (name, bytes(path).to_vec())));
        }
        let loaded: Vec<_> =
            LOADER.iter().filter_map(|name| Some(("loader", self.loaded_first(action, name)?))).collect();
        action.fields.extend(loaded);
        action.fields.push(("salt", self.settings.key_salt.clone().into_bytes()));
        action.fields.push(("inputs", if self.settings.observe { b"observed".to_vec() } else { b"declared".to_vec() }));
        if !self.settings.observe && action.kind != Kind::Cc {
            action
                .fields
                .push(("toolchain", declared::toolchain_identity(&action.program, &|file| self.digest_of(file))));
        }
    }

    /// What a variable of the loader's puts before what programs would load by themselves: what they loaded is an input, but
    /// not what they would load by another value. What cargo names lies in the target directory and the toolchain.
    fn loaded_first(&self, action: &Action, name: &str) -> Option<Vec<u8>> {
        let is_cargos = |entry: &[u8]| {
            let dir = kache_os::path(entry);
            matches!(action.roots.innermost(entry), Some(Root::Build | Root::BuildReal | Root::Toolchain))
                || dir.starts_with(&self.settings.cache_dir)
                || dir.is_absolute() && kache_os::lstat(&dir.join("rustlib")).is_ok()
                // A target directory that is not the one built in (`build.build-dir`).
                || dir.is_absolute() && adapter::build_root(&dir.join("lib")).is_some()
        };
        let value = self.invocation.value(name.as_bytes())?;
        let separators: &[u8] = if name == "LD_PRELOAD" { b" :" } else { b":;" };
        let entries = value.split(|b| separators.contains(b)).filter(|entry| !entry.is_empty() && !is_cargos(entry));
        let stored: Vec<Vec<u8>> = entries.map(|entry| action.roots.encode_path(entry)).collect();
        (!stored.is_empty()).then(|| [name.as_bytes(), b"=", &stored.join(&b':')].concat())
    }

    /// Without observation it must be known which libraries can be loaded.
    fn declare(&self, action: &mut Action) -> Result<(), Why> {
        if !self.settings.observe {
            action.libraries = declared::libraries(action, &self.store, &|file| self.digest_of(file))?;
            // A build script makes them just before.
            action.settles.extend(declared::native_libraries(action).into_iter().chain(action.crate_dirs.clone()));
        }
        Ok(())
    }

    /// The one policy on results that are not worth observing and storing.
    ///
    /// Measured (docs/benchmarks.md): hashing and copying a debug executable costs an edited unit several per cent of its
    /// build, and its result is asked for again only after a revert.
    fn not_worth_recording(&self, action: &Action) -> Option<Why> {
        if action.editing {
            return Some(Reason::Editing.into());
        }
        match &action.outputs {
            // A script that finds files of an earlier run may give something else than from an empty start.
            action::Outputs::Tree(dir) if kache_os::list(dir).is_ok_and(|names| !names.is_empty()) => {
                Some(Reason::Leftovers.into())
            }
            _ => None,
        }
    }

    /// Runs the tool in our place, as if kache were not there.
    fn step_aside(&self, plain: &Plain, why: Why) -> ! {
        let outcome = if why.reason == Reason::Disabled { Outcome::Skipped } else { Outcome::Passthrough };
        let ending = Ending { why: Some(why), ..Ending::default() };
        let mut about = Action { kind: Kind::Rustc, ..Action::default() };
        if outcome == Outcome::Passthrough && adapter::compiler::is_tool(plain.program.as_os_str()) {
            about = adapter::cc::about(self.invocation, &plain.args, self.settings);
        }
        let after = |flag: &str| plain.args.iter().skip_while(|a| *a != flag).nth(1);
        if let Some(dir) = after("--out-dir").and_then(|dir| adapter::build_root(&self.invocation.cwd.join(dir))) {
            about.roots.add(Root::Build, bytes(&dir));
        }
        if about.name.is_empty() {
            let program = plain.program.file_name().unwrap_or_default();
            about.name = after("--crate-name").map_or(program, |n| n).to_string_lossy().into_owned();
            about.unit.clone_from(&about.name);
        }
        self.log(&about, outcome, &ending);
        let fallback = self.settings.fallback.as_ref().filter(|_| plain.compiles && outcome != Outcome::Skipped);
        if let Some(wrapper) = fallback {
            let args: Vec<OsString> =
                std::iter::once(plain.program.clone().into_os_string()).chain(plain.args.iter().cloned()).collect();
            let error = kache_os::exec(wrapper, wrapper.as_os_str(), &args, &[]);
            self.warn(&format!("fallback {}: {error}; running the compiler directly", wrapper.display()));
        }
        self.replace(&plain.program, &plain.argv0, &plain.args, &[])
    }

    /// Runs the action's tool in our place, unobserved. Where it gets maps, its messages still have to be undone.
    fn become_tool(&self, action: &Action) -> ! {
        self.unshare_outputs(action);
        if !action.mapped.maps.is_empty()
            && let Ok(ended) = self.pass_on(action, &self.invocation.env, &mut |_, _| {})
        {
            kache_os::exit_like(ended.status)
        }
        self.replace(&action.program, &action.argv0, &action.args, &[])
    }

    fn replace(&self, program: &Path, argv0: &OsString, args: &[OsString], env: &[(OsString, OsString)]) -> ! {
        let error = kache_os::exec(program, argv0, args, env);
        let _ = kache_os::write_stream(
            kache_os::Stream::Err,
            format!("kache: cannot execute {}: {error}\n", program.display()).as_bytes(),
        );
        std::process::exit(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 })
    }

    /// A part of an action that is being observed: becomes the compiler, and tells so. Where it can't, the action counts as
    /// blind.
    fn take_part(&self, plain: &Plain, search: Option<(OsString, Vec<u8>)>) -> ! {
        #[cfg(target_os = "linux")]
        if let (Some(trace), Ok(me)) = (self.invocation.path_var(kache_observe::ENV_TRACE), std::env::current_exe()) {
            use kache_observe::tell;
            let search = search.as_ref().map(|(name, path)| tell::Search { name: bytes(name), path });
            let _ = tell::becomes(trace, bytes(&me), bytes(&plain.program), search.as_ref());
        }
        self.replace(&plain.program, &plain.argv0, &plain.args, &[])
    }

    /// There is no such compiler but kache itself.
    fn not_found(&self, program: &Path) -> ! {
        let text = format!("kache: no compiler named {} on PATH, beside kache itself\n", program.display());
        let _ = kache_os::write_stream(kache_os::Stream::Err, text.as_bytes());
        std::process::exit(127)
    }

    /// Outputs that share their inode with the store must not be written through.
    fn unshare_outputs(&self, action: &Action) {
        let action::Outputs::Written(expected) = &action.outputs else { return };
        for file in expected.iter().chain(action.script.as_ref().map(|s| &s.real)) {
            if kache_os::lstat(file).is_ok_and(|m| m.is_file() && m.mtime == kache_store::SEAL) {
                let _ = std::fs::remove_file(file);
            }
        }
    }

    fn finish(&self, action: &Action, outcome: Outcome, ending: Ending) -> ! {
        self.log(action, outcome, &ending);
        self.order_spares(&ending.restored.large);
        std::process::exit(0)
    }

    /// The copies that the next tree will get are made when nobody waits for them.
    pub(crate) fn order_spares(&self, large: &[Digest]) {
        if large.is_empty() || !self.settings.spares {
            return;
        }
        if let Ok(me) = std::env::current_exe() {
            let mut args = vec![SPARES_ROLE.to_owned(), kache_os::parent_process_id().to_string()];
            args.extend(large.iter().map(Digest::hex));
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let _ = kache_os::start_detached(&me, &args);
        }
    }
}
