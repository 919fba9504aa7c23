//! From a trace to a path set: which of the things an action touched are its inputs, and whether its result may be stored.
//!
//! Knows nothing about how anything is stored.

use crate::action::{Action, Kind, Outputs};
use crate::programs::{self, EnvUse};
use crate::reason::{Reason, Why};
use crate::sources::Variables;
use crate::world::{World, is_noise, is_plumbing};
use kache_key::{Input, PathSet, Root};
use kache_observe::{Kind as Touch, Record, Trace, flag};
use kache_os::{Stamp, bytes, path};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// What a trace says of an action.
pub struct Observed {
    pub path_set: PathSet,
    /// Files and links the run made or changed that are still there, scratch and temporary ones left out.
    pub written: Vec<PathBuf>,
    /// No loaded library lies in the build directory: no procedural macro of this build took part.
    pub macro_free: bool,
}

/// Places whose state says nothing about a result. Each with its reason.
const NOISE: &[(&str, &str)] = &[
    ("/proc/", "the process itself and the machine's load"),
    ("/sys/", "the number of processors, control groups"),
    ("/dev/null", "a device"),
    ("/dev/zero", "a device"),
    ("/dev/full", "a device"),
    ("/dev/tty", "a device"),
    ("/dev/random", "randomness"),
    ("/dev/urandom", "randomness"),
    ("/dev/pts/", "a terminal"),
    ("/dev/ptmx", "a terminal"),
    ("/dev/fd/", "the process' own streams"),
    ("/dev/std", "the process' own streams"),
    ("/etc/ld.so.cache", "what is loaded is an input by itself"),
    ("/etc/ld.so.preload", "what is loaded is an input by itself"),
    ("/usr/share/locale", "translations of messages"),
    ("/usr/lib/locale", "the language of messages"),
    ("/usr/share/locale-langpack", "translations of messages"),
    ("/etc/localtime", "times in messages"),
];

/// Variables that do not reach results of programs which ask by name. Each with its reason.
const ENV_NOISE: &[(&str, &str)] = &[
    ("PATH", "what is searched for on it is an input by itself"),
    ("TMPDIR", "where scratch is"),
    ("TMP", "where scratch is"),
    ("TEMP", "where scratch is"),
    ("COLLECT_*", "set by gcc for its own parts"),
    ("RUST_BACKTRACE", "messages of crashes"),
    ("RUST_LIB_BACKTRACE", "messages of crashes"),
    ("RUST_MIN_STACK", "the size of stacks"),
    ("RUSTC_LOG*", "messages"),
    ("RUSTC_ICE", "messages of crashes"),
    ("NO_COLOR", "how messages look; cargo has them rendered both ways"),
    ("CLICOLOR*", "how messages look"),
    ("FORCE_COLOR", "how messages look"),
    ("LANG", "the language of messages; cargo's tools have one"),
    ("LC_*", "the language of messages"),
    ("LANGUAGE", "the language of messages"),
    ("MALLOC_*", "the allocator"),
    ("RUSTUP_*", "which toolchain is meant; the one that ran is an input"),
];

/// Directories that are the machine's wherever a checkout lies (hier(7)).
const MACHINE: &[&str] = &["/usr", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/bin", "/sbin", "/opt"];

const ENOENT: u16 = 2;
const ENOTDIR: u16 = 20;

fn noisy_path(path: &[u8]) -> bool {
    NOISE.iter().any(|(start, _)| path.starts_with(start.as_bytes()))
}

fn noisy_variable(name: &[u8]) -> bool {
    let text = String::from_utf8_lossy(name);
    is_noise(name) || ENV_NOISE.iter().any(|(pattern, _)| crate::adapter::matches(pattern, &text))
}

/// How one path was first touched, and whether it was written later.
#[derive(Clone, Copy, Debug, Default)]
struct History {
    /// The first touch found it there.
    found: bool,
    /// The first touch found nothing there.
    missed: bool,
    /// Its content was read.
    read: bool,
    /// The file that was opened at first (the low bits of its inode number; 0: not opened), and whether a later opening
    /// found another: a directory on the way was moved.
    opened: i32,
    replaced: bool,
    /// It was opened to be written on, from where it ends: what is there counts, and nothing was.
    continued: bool,
    written: bool,
}

struct Reading<'a> {
    action: &'a Action,
    world: &'a World<'a>,
    paths: HashMap<Vec<u8>, History>,
    /// Directories the action made: what lies below is its own.
    made: Vec<Vec<u8>>,
    inputs: BTreeSet<Input>,
    /// Which inputs look at which path, to drop them when the path turns out to be the action's own.
    of_path: Vec<(Vec<u8>, Input)>,
    /// Names asked for; whether by the user's own program, to which nothing is noise.
    variables: BTreeMap<Vec<u8>, bool>,
    /// How the environment was read beside by name.
    environment: EnvUse,
    /// The user's own code asked for the working directory or a canonical path: it may use it in any way.
    asked_where: bool,
    parents: HashMap<PathBuf, PathBuf>,
    /// This program, which observed ones start in a compiler's place.
    kache: Option<PathBuf>,
}

/// Reads a trace. `start` is the file clock before the action began.
/// `variables`: what sources and settings say of them.
pub fn read(
    action: &Action,
    world: &World,
    trace: &Trace,
    start: Stamp,
    variables: &Variables,
) -> Result<Observed, Why> {
    let mut reading = Reading {
        action,
        world,
        paths: HashMap::new(),
        made: Vec::new(),
        inputs: BTreeSet::new(),
        of_path: Vec::new(),
        variables: BTreeMap::new(),
        environment: EnvUse::ByName,
        asked_where: false,
        parents: HashMap::new(),
        kache: std::env::current_exe().ok(),
    };
    let mut env_uses: HashMap<Vec<u8>, EnvUse> = HashMap::new();
    let mut macros: BTreeSet<Vec<u8>> = BTreeSet::new();
    for (index, record) in trace.records.iter().enumerate() {
        let exe = &trace.program_of(index).exe;
        let traits = programs::traits_of(path(exe));
        match record.kind {
            Touch::Getenv if traits.asks_by_name || env_use_of(exe, &mut env_uses) < EnvUse::Whole => {
                *reading.variables.entry(record.a.clone()).or_default() |= programs::is_rust_binary(path(exe))
                    || action.kind != Kind::BuildScript && reading.in_build(&record.b);
            }
            Touch::Start if !traits.asks_by_name => {
                reading.environment = reading.environment.max(env_use_of(exe, &mut env_uses));
            }
            Touch::Clock if action.allow_clock => {}
            // A compiler puts times into words only for `__DATE__` and its siblings.
            Touch::Clock
                if record.flags & flag::RENDERED != 0 && traits.asks_by_name && traits.clock_reads != programs::ANY =>
            {
                return Err(Why::new(Reason::Clock, path(exe).display()));
            }
            // rustc itself reads the clock once, to name an incremental session.
            Touch::Clock if record.arg as u32 > traits.clock_reads || is_compiler(exe) && action.scratch.is_none() => {
                return Err(Why::new(Reason::Clock, path(exe).display()));
            }
            // What comes in by a stream has no name to look at again. (A source is read and kept by the adapter.)
            Touch::Open if action.kind == Kind::Cc && record.flags & flag::WRITE == 0 && is_stream(&record.a) => {
                return Err(Why::new(Reason::SpecialInput, path(&record.a).display()));
            }
            Touch::Net => return Err(Why::new(Reason::Network, String::from_utf8_lossy(&record.a))),
            Touch::Where if action.kind == Kind::BuildScript => {
                reading.asked_where |= programs::is_rust_binary(path(exe));
            }
            Touch::Where if action.kind == Kind::Command => reading.asked_where |= !traits.asks_by_name,
            Touch::Where => reading.asked_where |= reading.in_build(&record.a),
            Touch::Loaded if action.kind != Kind::BuildScript && reading.in_build(&record.a) => {
                macros.insert(record.a.clone());
            }
            Touch::Open if record.a.starts_with(b"/proc/") && record.a.ends_with(b"/environ") => {
                reading.environment = EnvUse::Whole;
            }
            _ => {}
        }
        if !failed_exec(trace, index) {
            reading.take(record, search_path(trace, index), traits.asks_by_name);
        }
    }
    for file in &macros {
        reading.environment = reading.environment.max(programs::env_use(path(file)));
    }
    if bytes(&action.program).iter().all(|b| *b != b'/') {
        reading.inputs.insert(Input::Search { name: bytes(&action.program).to_vec(), dirs: vec![Vec::new()] });
    }
    reading.finish(start, macros.is_empty(), variables)
}

fn is_stream(file: &[u8]) -> bool {
    file == b"/dev/stdin"
        || file.starts_with(b"/dev/fd/")
        || file.starts_with(b"/proc/") && memchr::memmem::find(file, b"/fd/").is_some()
}

fn is_compiler(exe: &[u8]) -> bool {
    path(exe).file_name().is_some_and(crate::adapter::rustc::is_tool)
}

/// An execution that is taken back at once: only its failure counts.
fn failed_exec(trace: &Trace, index: usize) -> bool {
    let record = &trace.records[index];
    let mut later = trace.records[index + 1..].iter().take(64).filter(|r| r.pid == record.pid);
    record.kind == Touch::Exec && later.next().is_some_and(|r| r.kind == Touch::ExecFail && r.a == record.a)
}

/// The PATH of a search that did not go by the action's own.
fn search_path(trace: &Trace, index: usize) -> Option<&[u8]> {
    let record = &trace.records[index];
    if record.flags & flag::OTHER_PATH == 0 || !matches!(record.kind, Touch::Exec | Touch::Spawn | Touch::ExecFail) {
        return None;
    }
    let later = trace.records[index + 1..].iter();
    later.take(64).find(|r| r.kind == Touch::SearchPath && r.pid == record.pid).map(|r| r.a.as_slice())
}

/// Build scripts' real programs are Rust: their symbols tell. Others that are not in the table may read all.
fn env_use_of(exe: &[u8], known: &mut HashMap<Vec<u8>, EnvUse>) -> EnvUse {
    if !programs::is_rust_binary(path(exe)) {
        return EnvUse::Whole;
    }
    *known.entry(exe.to_vec()).or_insert_with(|| programs::env_use(path(exe)))
}

impl Reading<'_> {
    fn in_build(&self, p: &[u8]) -> bool {
        matches!(self.world.roots.innermost(p), Some(Root::Build | Root::BuildReal))
    }

    /// Nothing of a checkout or of cargo's sources is noise, wherever they are (a target directory in `/dev/shm`).
    fn is_noise(&self, p: &[u8]) -> bool {
        let of_build = |root: Root| root.moves_with_checkout() || root == Root::CargoHome;
        noisy_path(p) && !self.world.roots.innermost(p).is_some_and(of_build)
    }

    /// One name for each file, where `..` would give it several.
    fn plain(&mut self, p: &[u8]) -> Vec<u8> {
        if memchr::memmem::find(p, b"/..").is_none() {
            return p.to_vec();
        }
        let whole = path(p);
        let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else { return p.to_vec() };
        let real = self
            .parents
            .entry(parent.to_path_buf())
            .or_insert_with_key(|dir| std::fs::canonicalize(dir).unwrap_or_else(|_| dir.clone()));
        bytes(&real.join(name)).to_vec()
    }

    fn own(&self, p: &[u8]) -> bool {
        self.made.iter().any(|dir| p.strip_prefix(&dir[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/'))
            || self.scratch(p)
    }

    fn scratch(&self, p: &[u8]) -> bool {
        self.action.scratch.as_deref().is_some_and(|dir| path(p).starts_with(dir))
    }

    fn stored(&self, p: &[u8]) -> Vec<u8> {
        self.world.roots.encode_path(p)
    }

    fn look(&mut self, p: &[u8], found: bool, input: Input) {
        if self.is_noise(p) {
            return;
        }
        let name = self.plain(p);
        let history = self.paths.entry(name.clone()).or_default();
        if !history.found && !history.missed && !history.written {
            history.found = found;
            history.missed = !found;
        }
        if !history.written {
            self.of_path.push((name, input));
        }
    }

    /// Something is removed or changed that this action has not made: it was there.
    fn was_there(&mut self, p: &[u8]) {
        let name = self.plain(p);
        let history = self.paths.entry(name).or_default();
        history.found |= !history.missed && !history.written;
    }

    /// Of a file that is written later, only a content that was read before counts.
    fn read(&mut self, r: &Record) {
        let name = self.plain(&r.a);
        let history = self.paths.entry(name).or_default();
        if !history.written {
            history.read = true;
            history.replaced |= history.opened != 0 && r.arg != 0 && history.opened != r.arg;
            history.opened = if history.opened == 0 { r.arg } else { history.opened };
        }
    }

    fn write(&mut self, p: &[u8]) {
        if self.is_noise(p) {
            return;
        }
        let name = self.plain(p);
        let history = self.paths.entry(name).or_default();
        history.written = true;
    }

    /// `known`: the program that did it is one of the table.
    fn take(&mut self, r: &Record, search_path: Option<&[u8]>, known: bool) {
        let stored = self.stored(&r.a);
        // Shells and drivers search PATH by trying each place: whatever lies directly in one of its directories may have
        // been searched for, and something found in an earlier or a new one would have been taken.
        let tried =
            matches!(r.kind, Touch::Absent | Touch::Stat | Touch::Open | Touch::Exec | Touch::Spawn | Touch::ExecFail);
        if tried && r.b.is_empty() && self.on_path(&r.a) {
            let name = path(&r.a).file_name().map(|n| bytes(n).to_vec()).unwrap_or_default();
            self.inputs.insert(Input::Search { name, dirs: vec![Vec::new()] });
            // What a compiler driver looks for there may be one of its programs, and then the search says it all; it may be
            // a header, too.
            let program = path(&r.a).file_name().is_some_and(|n| programs::traits_of(Path::new(n)).asks_by_name);
            if known && program && r.kind == Touch::Absent {
                return;
            }
        }
        match r.kind {
            Touch::Open => {
                let truncated = r.flags & flag::TRUNCATE != 0;
                if r.flags & flag::WRITE != 0 {
                    if r.flags & (flag::CREATE | flag::EXCL | flag::TRUNCATE | flag::EXISTED) == flag::CREATE {
                        let name = self.plain(&r.a);
                        self.paths.entry(name).or_default().continued = true;
                    }
                    // What was there and is only changed in part, or added to, is also read.
                    if r.flags & flag::EXISTED != 0 && !truncated {
                        self.read(r);
                        self.look(&r.a, true, Input::Path(stored));
                    }
                    self.write(&r.a);
                } else {
                    self.read(r);
                    self.look(&r.a, true, Input::Path(stored));
                }
            }
            Touch::Absent => self.look(&r.a, false, Input::Path(stored)),
            Touch::Stat | Touch::Failed | Touch::Loaded => self.look(&r.a, true, Input::Path(stored)),
            // What was executed, and is an input, led to it: a shim, or a search.
            Touch::Start if self.kache.as_deref() == Some(path(&r.a)) => {}
            Touch::Start => self.look(&r.a, true, Input::Path(stored)),
            Touch::Lstat | Touch::Readlink => self.look(&r.a, true, Input::Link(stored)),
            Touch::List if self.action.search_dirs.iter().any(|d| bytes(d) == &r.a[..]) => {}
            Touch::List => self.look(&r.a, true, Input::List(stored)),
            Touch::Resolve => self.look(&r.a, true, Input::Resolve(stored)),
            Touch::Mkdir => {
                let name = self.plain(&r.a);
                self.made.push(name);
            }
            Touch::Rename => {
                // The old name's going is a change as well; a directory takes what lies below along.
                self.was_there(&r.a);
                self.write(&r.a);
                self.write(&r.b);
                let (from, to) = (self.plain(&r.a), self.plain(&r.b));
                if self.made.contains(&from) {
                    self.made.push(to);
                }
            }
            Touch::Unlink | Touch::Meta => {
                self.was_there(&r.a);
                self.write(&r.a);
            }
            Touch::Link => {
                let from = self.stored(&r.a);
                self.look(&r.a, true, Input::Path(from));
                self.write(&r.b);
            }
            Touch::Symlink => self.write(&r.b),
            Touch::Exec | Touch::Spawn if r.b.is_empty() => self.look(&r.a, true, Input::Path(stored)),
            Touch::Exec | Touch::Spawn => {
                let dirs = self.search_dirs(search_path);
                self.inputs.insert(Input::Search { name: r.b.clone(), dirs });
            }
            // A search that found nothing.
            Touch::ExecFail if r.a.is_empty() => {
                let dirs = self.search_dirs(search_path);
                self.inputs.insert(Input::Search { name: r.b.clone(), dirs });
            }
            Touch::ExecFail => self.look(&r.a, !matches!(r.err, ENOENT | ENOTDIR), Input::Path(stored)),
            Touch::Getenv | Touch::Clock | Touch::Net | Touch::SearchPath | Touch::Fork | Touch::Where => {}
        }
    }

    fn path_dirs(&self) -> &[u8] {
        self.world.invocation.value(b"PATH").unwrap_or_default()
    }

    fn on_path(&self, p: &[u8]) -> bool {
        path(p).parent().is_some_and(|dir| self.path_dirs().split(|b| *b == b':').any(|d| d == bytes(dir)))
    }

    /// The directories a program was looked for in, where that was not the action's own `PATH`: most often some before it.
    fn search_dirs(&self, other: Option<&[u8]>) -> Vec<Vec<u8>> {
        let Some(searched) = other else { return vec![Vec::new()] };
        let before = searched.strip_suffix(self.path_dirs());
        let list = before.unwrap_or(searched).split(|b| *b == b':').filter(|d| !d.is_empty());
        let mut dirs: Vec<Vec<u8>> = list.map(|d| self.stored(d)).collect();
        if before.is_some() {
            dirs.push(Vec::new());
        }
        dirs
    }

    fn finish(mut self, start: Stamp, macro_free: bool, variables: &Variables) -> Result<Observed, Why> {
        self.files(start)?;
        self.environment(variables);
        self.places();
        let written = self.written()?;
        let mut inputs: Vec<Input> = self.inputs.into_iter().collect();
        inputs.extend(self.action.bound_to.iter().map(|root| Input::Place(*root)));
        inputs.sort();
        inputs.dedup();
        Ok(Observed { path_set: PathSet { inputs, bound: None }, written, macro_free })
    }

    /// What an action found around its checkout, it would look for around another one: beside the place itself, which
    /// may have been meant (`../shared/file` and `/home/u/shared/file` look the same here), the same place as seen from
    /// there is an input.
    fn surroundings(&self, name: &[u8], input: &Input) -> Vec<Input> {
        let roots = self.world.roots;
        let of_machine = match roots.innermost(name) {
            None => MACHINE.iter().any(|dir| path(name).starts_with(dir)),
            // Dot files are the user's settings wherever the checkout is.
            Some(Root::Home) => roots.encode_path(name).get(2..4) == Some(b"/."),
            Some(root) => root != Root::Temp,
        };
        if of_machine || self.is_given_kache(name) {
            return Vec::new();
        }
        // What lies in the user's or the temporary directory is around a checkout only if that lies there too.
        let around = roots.innermost(name).and_then(|root| roots.place(root)).map(path);
        let (parent, file) = (path(name).parent(), path(name).file_name());
        let mut found = Vec::new();
        for root in [Root::Workspace, Root::Build] {
            let Some(place) = roots.place(root).map(path) else { continue };
            if around.is_some_and(|outer| !place.starts_with(outer)) {
                continue;
            }
            let upward = parent.is_some_and(|dir| place.starts_with(dir)) && !place.starts_with(path(name));
            match (input, file) {
                (Input::Path(_) | Input::Link(_), Some(file)) if upward => {
                    found.push(Input::Above { root, name: bytes(file).to_vec() });
                }
                (Input::Path(_), _) => found.extend(roots.encode_from(root, name).map(Input::Path)),
                (Input::Link(_), _) => found.extend(roots.encode_from(root, name).map(Input::Link)),
                (Input::List(_), _) => found.extend(roots.encode_from(root, name).map(Input::List)),
                _ => {}
            }
        }
        found
    }

    /// kache, or a shim, by a place that a variable gives (`CC="/home/u/tools/kache gcc"`): no place as seen from the
    /// checkout.
    fn is_given_kache(&self, name: &[u8]) -> bool {
        let mut given = self.world.invocation.env.iter().filter(|(variable, _)| !is_plumbing(bytes(variable)));
        let is_kache = || {
            let [kache, it] = [self.kache.as_deref()?, path(name)].map(|p| kache_os::stat(p).ok());
            Some(kache?.same_file(&it?))
        };
        given.any(|(_, value)| bytes(value).split(|b| *b == b' ').next() == Some(name)) && is_kache() == Some(true)
    }

    /// Of a path of the machine that is not there, the first directory on the way that is missing: one look instead of
    /// one for each file that a linker would have liked to find there.
    fn missing(&self, input: Input) -> Input {
        let Input::Path(stored) = &input else { return input };
        let Some(place) = self.world.place(stored) else { return input };
        if !matches!(self.world.roots.innermost(bytes(&place)), None | Some(Root::Toolchain)) {
            return input;
        }
        let absent = |dir: &&Path| kache_os::stat(dir).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
        match place.ancestors().skip(1).take_while(absent).last() {
            Some(dir) => Input::Path(self.stored(bytes(dir))),
            None => input,
        }
    }

    /// What was looked at and is not the action's own becomes an input, if it is still what was seen.
    fn files(&mut self, start: Stamp) -> Result<(), Why> {
        let outputs: HashSet<&Path> = match &self.action.outputs {
            Outputs::Written(expected) => expected.iter().map(PathBuf::as_path).collect(),
            Outputs::Tree(_) | Outputs::Below(_) => HashSet::new(),
        };
        let out_tree = match &self.action.outputs {
            Outputs::Tree(dir) => Some(dir.as_path()),
            Outputs::Written(_) | Outputs::Below(_) => None,
        };
        let below = matches!(self.action.outputs, Outputs::Below(_));
        let mut checked: HashSet<(Vec<u8>, bool)> = HashSet::new();
        for (name, input) in std::mem::take(&mut self.of_path) {
            let history = self.paths.get(&name).copied().unwrap_or_default();
            let place = path(&name);
            let temporary = self.world.roots.innermost(&name) == Some(Root::Temp);
            if self.own(&name) || outputs.contains(place) {
                continue;
            }
            if out_tree.is_some_and(|dir| place.starts_with(dir) && place != dir) {
                // Below OUT_DIR, which was empty when this is stored, all is the action's own.
                continue;
            }
            if history.written {
                // A tool may look whether its output is there, and replace it.
                if history.found && (history.read || !below) {
                    return Err(Why::new(Reason::ChangedInput, place.display()));
                }
                continue;
            }
            self.inputs.extend(self.surroundings(&name, &input));
            let input = if history.missed { self.missing(input) } else { input };
            if !checked.insert((name.clone(), matches!(input, Input::Link(_)))) {
                self.inputs.insert(input);
                continue;
            }
            let meta = match input {
                Input::Link(_) => kache_os::lstat(place),
                _ => kache_os::stat(place),
            };
            match meta {
                Ok(meta) if history.opened != 0 && !meta.is_file() && meta.kind != kache_os::FileKind::Dir => {
                    return Err(Why::new(Reason::SpecialInput, place.display()));
                }
                Ok(_) if history.missed => return Err(Why::new(Reason::ChangedInput, place.display())),
                // What was read may lie elsewhere since, unchanged, with another in its place.
                Ok(meta) if history.replaced || history.opened != 0 && history.opened != meta.ino as i32 => {
                    return Err(Why::new(Reason::ChangedInput, place.display()));
                }
                Ok(meta) => {
                    let is_list = matches!(input, Input::List(_));
                    let counts = meta.is_file() || is_list;
                    let new = meta.mtime != kache_store::SEAL && !meta.settled(start, self.world.margin_ms);
                    if counts && new && !self.world.is_known_output(place, &meta) {
                        return Err(Why::new(Reason::TooNew, place.display()));
                    }
                }
                // Made and removed by other means than the observed ones, in scratch space.
                Err(_) if history.found && temporary => continue,
                Err(_) if history.found => return Err(Why::new(Reason::ChangedInput, place.display())),
                Err(_) => {}
            }
            self.inputs.insert(input);
        }
        Ok(())
    }

    /// What the user's own code knows of places binds. A script's `OUT_DIR` does not: what it writes of it is stored with
    /// placeholders.
    fn places(&mut self) {
        let roots: &[Root] = match self.action.kind {
            Kind::BuildScript => &[Root::Workspace],
            _ => &[Root::Workspace, Root::Build],
        };
        let known = roots.iter().filter(|root| self.asked_where && self.world.roots.place(**root).is_some());
        self.inputs.extend(known.map(|root| Input::Place(*root)));
    }

    fn environment(&mut self, variables: &Variables) {
        if self.environment > EnvUse::ByName {
            self.inputs.insert(Input::EnvAll);
        }
        if self.environment == EnvUse::Whole {
            // It may use any value in any way: places in the workspace bind.
            let placed = self.world.invocation.env.iter().filter(|(name, value)| {
                !is_noise(bytes(name))
                    && self.world.portable_value(bytes(value)) == bytes(value)
                    && self.world.is_placed(bytes(value))
            });
            self.inputs.extend(placed.map(|(name, _)| Input::EnvPlace(bytes(name).to_vec())));
        }
        for name in &variables.tracked {
            self.variables.entry(name.clone()).or_default();
        }
        for (name, by_user) in std::mem::take(&mut self.variables) {
            // What a user's own code searches there is found by no record.
            // (ld asks for it, too: it looks there for what libraries need.)
            let searches = by_user || self.action.kind == Kind::Cc;
            let counts = variables.tracked.contains(&name) || searches && name == b"LD_LIBRARY_PATH";
            if !counts && (is_plumbing(&name) || !by_user && noisy_variable(&name)) {
                continue;
            }
            let value = self.world.invocation.value(&name).unwrap_or_default();
            // Below the build directory: what a script writes of it is stored with placeholders.
            let of_build = self.action.kind == Kind::BuildScript && self.world.portable_value(value) != value;
            let input = if variables.portable(&name, by_user) || of_build {
                Input::EnvPortable(name)
            } else if self.world.is_placed(value) {
                Input::EnvPlace(name)
            } else {
                Input::Env(name)
            };
            self.inputs.insert(input);
        }
    }

    /// What the run wrote and left behind. Writing outside of the place for outputs, or removing what was there, makes it
    /// uncacheable: a restore would undo what others did there since.
    fn written(&self) -> Result<Vec<PathBuf>, Why> {
        let below = matches!(self.action.outputs, Outputs::Below(_));
        let names_outputs = !matches!(self.action.outputs, Outputs::Tree(_));
        let homes: Vec<&Path> = match &self.action.outputs {
            Outputs::Below(places) => places.iter().map(PathBuf::as_path).collect(),
            Outputs::Tree(dir) => vec![dir],
            Outputs::Written(expected) => expected.first().and_then(|f| f.parent()).into_iter().collect(),
        };
        let at_home = |place: &Path| homes.iter().any(|home| place.starts_with(home));
        let mut written = Vec::new();
        for (name, history) in &self.paths {
            let place = path(name);
            if !history.written || self.scratch(name) {
                continue;
            }
            let there = kache_os::lstat(place).is_ok();
            if at_home(place) {
                // A restore would replace what the tool would have written on.
                if there && below && history.continued {
                    return Err(Why::new(Reason::SpecialOutput, place.display()));
                }
                if there && names_outputs {
                    written.push(place.to_path_buf());
                } else if history.found && below {
                    return Err(Why::new(Reason::WroteElsewhere, place.display()));
                }
            } else if !self.own(name) && (there || history.found) {
                return Err(Why::new(Reason::WroteElsewhere, place.display()));
            }
        }
        let stays = |dir: &&Vec<u8>| !at_home(path(dir)) && !self.scratch(dir) && kache_os::lstat(path(dir)).is_ok();
        if let Some(dir) = self.made.iter().find(stays) {
            return Err(Why::new(Reason::WroteElsewhere, path(dir).display()));
        }
        written.sort();
        Ok(written)
    }
}
