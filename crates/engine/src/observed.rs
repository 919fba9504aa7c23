//! From a trace to a path set: which of the things an action touched are its inputs, and whether its result may be stored.
//!
//! Here the trace is gone through, record by record; `conclude.rs` says what came together means. Knows nothing about how
//! anything is stored.

mod conclude;

use crate::action::{Action, Kind};
use crate::invocation::Invocation;
use crate::programs::{self, EnvUse, Traits};
use crate::reason::{Reason, Why};
use crate::sources::Variables;
use crate::world::World;
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use kache_key::{Input, PathSet, Root, Roots};
use kache_observe::{Kind as Touch, Record, Trace, flag};
use kache_os::{Stamp, bytes, path};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a trace says of an action.
pub struct Observed {
    pub path_set: PathSet,
    /// Files and links the run made or changed that are still there, scratch and temporary ones left out.
    pub written: Vec<PathBuf>,
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

const ENOENT: u16 = 2;
const ENOTDIR: u16 = 20;

fn noisy_path(path: &[u8]) -> bool {
    NOISE.iter().any(|(start, _)| path.starts_with(start.as_bytes()))
}

/// How one path was first touched, and whether it was written later.
#[derive(Clone, Copy, Debug, Default)]
struct History {
    /// The first touch found it there.
    found: bool,
    /// The first touch found nothing there.
    missed: bool,
    /// And a later one something, which the action did not make.
    appeared: bool,
    /// Every touch failed by this error (0: not so), which is no "not there": a directory that may not be searched.
    failed: i32,
    /// So it did for a program that is none of the table: it may do something else where there is something.
    counts: bool,
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
    /// Links the action made, with their text: what lies behind them is not its own.
    links: HashMap<Vec<u8>, Vec<u8>>,
    inputs: BTreeSet<Input>,
    /// Which inputs look at which path, to drop them when the path turns out to be the action's own; and whether it may have
    /// been meant as seen from the checkout.
    of_path: Vec<(Vec<u8>, Input, bool)>,
    /// What `PWD` and `OLDPWD` say and is not where the action is: cargo and many scripts leave them as they were.
    left: Vec<&'a [u8]>,
    /// Names asked for; whether by the user's own program, to which nothing is noise.
    variables: BTreeMap<Vec<u8>, bool>,
    /// How the environment was read beside by name.
    environment: EnvUse,
    /// How Rust programs read it, by their paths.
    env_uses: HashMap<Vec<u8>, EnvUse>,
    /// What the build made and a compiler loaded: the user's own code, too.
    macros: BTreeSet<Vec<u8>>,
    /// The user's own code asked for the working directory or a canonical path: it may use it in any way.
    asked_where: bool,
    parents: HashMap<PathBuf, PathBuf>,
    /// Whether a directory of the machine is missing: many paths are looked for in the same few.
    absent_dirs: HashMap<PathBuf, bool>,
    /// Of the program that did what is gone through now.
    traits: Traits,
    /// This program, which observed ones start in a compiler's place.
    kache: Option<PathBuf>,
    /// The action's own `PATH`.
    path: &'a [u8],
    /// A jobserver that is a pipe with a name: tokens come out of it, no content.
    jobserver: Option<Vec<u8>>,
}

/// What [`Reading::left`] holds.
fn left<'a>(invocation: &'a Invocation, roots: &Roots) -> Vec<&'a [u8]> {
    let leads_here = invocation.directory_name(roots).is_some();
    let pwd = if leads_here { None } else { invocation.path_var("PWD") };
    let named = pwd.into_iter().chain(invocation.path_var("OLDPWD"));
    named.filter(|dir| **dir != invocation.cwd).map(bytes).collect()
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
        paths: HashMap::with_capacity(trace.records.len()),
        made: Vec::new(),
        links: HashMap::new(),
        inputs: BTreeSet::new(),
        of_path: Vec::new(),
        left: left(world.invocation, world.roots),
        variables: BTreeMap::new(),
        environment: EnvUse::ByName,
        env_uses: HashMap::new(),
        macros: BTreeSet::new(),
        asked_where: false,
        parents: HashMap::new(),
        absent_dirs: HashMap::new(),
        traits: programs::traits_of(&action.program),
        kache: std::env::current_exe().ok(),
        path: world.invocation.value(b"PATH").unwrap_or_default(),
        jobserver: jobserver(world),
    };
    let traits: Vec<_> = trace.programs.iter().map(|program| programs::traits_of(path(program.exe))).collect();
    let mut taken: HashSet<Look> = HashSet::with_capacity(trace.records.len());
    for (index, record) in trace.records.iter().enumerate() {
        let traits = traits[trace.owner_of(index)];
        let look = look(record, traits);
        if look.as_ref().is_some_and(|look| taken.contains(look)) {
            continue;
        }
        reading.judge(trace, index, traits)?;
        if !failed_exec(trace, index) && !only_held(trace, index) {
            reading.traits = traits;
            let (a, b) = (reading.by_one_name(record.a), reading.by_one_name(record.b));
            let links = reading.links.len();
            reading.take(&Record { a: &a, b: &b, ..*record }, search_path(trace, index));
            taken.extend(look);
            // Where links lead has changed, and with it what is looked at.
            let moves = || matches!(record.kind, Touch::Symlink | Touch::Rename | Touch::Mkdir);
            if reading.links.len() != links || links > 0 && moves() {
                taken.clear();
            }
        }
    }
    // Nobody saw the first program being started. (Compilers' adapters have it in the key.)
    if action.kind == Kind::Command && action.args.iter().any(|arg| bytes(arg).ends_with(b"=native")) {
        reading.inputs.insert(Input::Processor);
    }
    for file in &reading.macros {
        reading.environment = reading.environment.max(programs::env_use(path(file)));
    }
    if bytes(&action.program).iter().all(|b| *b != b'/') {
        reading.inputs.insert(Input::Search { name: bytes(&action.program).to_vec(), dirs: vec![Vec::new()] });
    }
    reading.finish(start, variables)
}

/// A look at something, by what tells it from another. To look again changes nothing while paths lead where they led: what
/// was first found or not, and read or not, is settled, and what is written since is looked at no more.
type Look<'t> = (Touch, u8, u16, i32, &'t [u8], Traits);

fn look<'t>(r: &Record<'t>, by: Traits) -> Option<Look<'t>> {
    let is_look = match r.kind {
        Touch::Open => r.flags & flag::WRITE == 0,
        Touch::Loaded | Touch::Absent | Touch::Failed | Touch::Stat | Touch::Lstat => true,
        Touch::List | Touch::Readlink | Touch::Resolve => true,
        _ => false,
    };
    is_look.then_some((r.kind, r.flags, r.err, r.arg, r.a, by))
}

/// The last one that make (4.4 and later) names, if it is what it should be.
fn jobserver(world: &World) -> Option<Vec<u8>> {
    let named = [&b"CARGO_MAKEFLAGS"[..], b"MAKEFLAGS"].iter().find_map(|name| {
        let words = world.invocation.value(name)?.rsplit(|b| *b == b' ');
        words.filter_map(|word| word.strip_prefix(b"--jobserver-auth=fifo:")).next()
    })?;
    kache_os::stat(path(named)).is_ok_and(|m| m.kind == kache_os::FileKind::Other).then(|| named.to_vec())
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

/// lld holds its old output open while it removes it, so that the freeing of it takes no time. It reads nothing of it.
fn only_held(trace: &Trace, index: usize) -> bool {
    let record = &trace.records[index];
    let by_lld = || trace.program_of(index).exe.ends_with(b"lld");
    let later = trace.records[index + 1..].iter().take(64).filter(|r| r.pid == record.pid);
    record.kind == Touch::Open
        && record.flags & flag::WRITE == 0
        && by_lld()
        && later.take_while(|r| r.a == record.a).any(|r| r.kind == Touch::Unlink)
}

/// The PATH of a search that did not go by the action's own.
fn search_path<'t>(trace: &Trace<'t>, index: usize) -> Option<&'t [u8]> {
    let record = &trace.records[index];
    if record.flags & flag::OTHER_PATH == 0 || !matches!(record.kind, Touch::Exec | Touch::Spawn | Touch::ExecFail) {
        return None;
    }
    let later = trace.records[index + 1..].iter();
    later.filter(|r| r.pid == record.pid).take(64).find(|r| r.kind == Touch::SearchPath).map(|r| r.a)
}

impl Reading<'_> {
    /// What a record says of the environment, the clock, the network, the machine and places; or that nothing is stored.
    fn judge(&mut self, trace: &Trace, index: usize, traits: Traits) -> Result<(), Why> {
        let (record, exe) = (&trace.records[index], trace.program_of(index).exe);
        match record.kind {
            Touch::Getenv if traits.asks_by_name || self.env_use_of(exe) < EnvUse::Whole => {
                *self.variables.entry(record.a.to_vec()).or_default() |= programs::is_rust_binary(path(exe))
                    || self.action.kind != Kind::BuildScript && self.in_build(record.b);
            }
            Touch::Start if !traits.asks_by_name => {
                self.environment = self.environment.max(self.env_use_of(exe));
            }
            Touch::Clock if self.action.allow_clock => {}
            // A compiler puts times into words only for `__DATE__` and its siblings.
            Touch::Clock
                if record.flags & flag::RENDERED != 0 && traits.asks_by_name && traits.clock_reads != programs::ANY =>
            {
                return Err(Why::new(Reason::Clock, path(exe).display()));
            }
            Touch::Clock if is_compiler(exe) && record.arg as usize <= self.clock_reads_of_rustc(trace, index) => {}
            Touch::Clock if record.arg as u32 > traits.clock_reads => {
                return Err(Why::new(Reason::Clock, path(exe).display()));
            }
            // What comes in by a stream has no name to look at again. (A source is read and kept by the adapter.)
            Touch::Open if self.action.kind == Kind::Cc && record.flags & flag::WRITE == 0 && is_stream(record.a) => {
                return Err(Why::new(Reason::SpecialInput, path(record.a).display()));
            }
            Touch::Native => drop(self.inputs.insert(Input::Processor)),
            Touch::Machine if !programs::asks_for_machine(path(exe)) || self.in_build(record.a) => {
                self.inputs.insert(Input::Machine);
            }
            Touch::Net => return Err(Why::new(Reason::Network, String::from_utf8_lossy(record.a))),
            Touch::Where if self.action.kind == Kind::BuildScript => {
                self.asked_where |= programs::is_rust_binary(path(exe));
            }
            Touch::Where if self.action.kind == Kind::Command => self.asked_where |= !traits.asks_by_name,
            Touch::Where => self.asked_where |= self.in_build(record.a),
            Touch::Loaded if self.action.kind != Kind::BuildScript && self.in_build(record.a) => {
                self.macros.insert(record.a.to_vec());
            }
            Touch::Open if record.a.starts_with(b"/proc/") && record.a.ends_with(b"/environ") => {
                self.environment = EnvUse::Whole;
            }
            _ => {}
        }
        Ok(())
    }

    /// Build scripts' real programs are Rust: their symbols tell. Others that are not in the table may read all.
    fn env_use_of(&mut self, exe: &[u8]) -> EnvUse {
        if !programs::is_rust_binary(path(exe)) {
            return EnvUse::Whole;
        }
        *self.env_uses.entry(exe.to_vec()).or_insert_with(|| programs::env_use(path(exe)))
    }

    fn in_build(&self, p: &[u8]) -> bool {
        matches!(self.world.roots.innermost(p), Some(Root::Build | Root::BuildReal))
    }

    /// Nothing of a checkout or of cargo's sources is noise, wherever they are (a target directory in `/dev/shm`).
    fn is_noise(&self, p: &[u8]) -> bool {
        let of_build = |root: Root| root.moves_with_checkout() || root == Root::CargoHome;
        noisy_path(p) && !self.world.roots.innermost(p).is_some_and(of_build) || self.jobserver.as_deref() == Some(p)
    }

    /// A target directory behind a link is named by the link here, by its real place there: for us, always as cargo was told.
    fn by_one_name<'r>(&self, p: &'r [u8]) -> Cow<'r, [u8]> {
        let places = [Root::BuildReal, Root::Build].map(|root| self.world.roots.place(root));
        let [Some(real), Some(build)] = places else { return p.into() };
        let below = p.strip_prefix(real).filter(|rest| rest.is_empty() || rest[0] == b'/');
        below.map_or(p.into(), |rest| [build, rest].concat().into())
    }

    /// One name for each file, where `..` would give it several. Its directory is not behind a link the action made.
    fn plain(&mut self, p: &[u8]) -> Vec<u8> {
        let p = self.through_links(p, false);
        if memchr::memmem::find(&p, b"/..").is_none() { p.into_owned() } else { self.in_real_dir(&p) }
    }

    fn in_real_dir(&mut self, p: &[u8]) -> Vec<u8> {
        let whole = path(p);
        let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else { return p.to_vec() };
        let real = self
            .parents
            .entry(parent.to_path_buf())
            .or_insert_with_key(|dir| kache_os::canonical_dir(dir).unwrap_or_else(|_| dir.clone()));
        bytes(&real.join(name)).to_vec()
    }

    /// Where a path leads that goes through links the action made; `last`: also if it is one itself.
    fn through_links<'r>(&mut self, p: &'r [u8], last: bool) -> Cow<'r, [u8]> {
        let mut p = Cow::from(p);
        // path_resolution(7): at most forty are followed.
        for _ in 0..40 {
            let Some(next) = self.through_first_link(&p, last) else { break };
            p = next.into();
        }
        p
    }

    fn through_first_link(&mut self, p: &[u8], last: bool) -> Option<Vec<u8>> {
        if self.links.is_empty() {
            return None;
        }
        let mut parts = memchr::memchr_iter(b'/', p).skip(1).chain(last.then_some(p.len()));
        let (link, text) = parts.find_map(|end| {
            let real = self.in_real_dir(&p[..end]);
            Some((&p[..end], self.links.get(&p[..end]).or_else(|| self.links.get(&real))?.clone()))
        })?;
        let (mut dir, mut text) = (path(link).parent().unwrap_or(Path::new("/")), &text[..]);
        // A directory the action made is no link: the one above it, also when it is gone again.
        while let Some(rest) = text.strip_prefix(b"../").filter(|_| self.made.iter().any(|made| made == bytes(dir))) {
            (dir, text) = (dir.parent().unwrap_or(dir), rest);
        }
        Some([bytes(&dir.join(path(text))), &p[link.len()..]].concat())
    }

    /// The links at a path or below it.
    fn take_links(&mut self, p: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let is_at = |link: &[u8]| link.strip_prefix(p).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
        self.links.extract_if(|link, _| is_at(link)).collect()
    }

    fn add_link(&mut self, link: Vec<u8>, text: &[u8]) {
        let real = self.in_real_dir(&link);
        self.links.extend([real, link].map(|name| (name, text.to_vec())));
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

    fn look(&mut self, p: &[u8], found: bool, input: fn(Vec<u8>) -> Input) {
        let follows = !matches!(input(Vec::new()), Input::Link(_));
        let place = self.through_links(p, follows);
        if self.is_noise(&place) {
            return;
        }
        let name = self.plain(&place);
        // By a link that is there only after the run, nothing can be looked at before it.
        let input = input(self.stored(if *place == *p { p } else { &name }));
        let habit = self.traits.looks_at_pwd() && self.left.contains(&p) && !matches!(input, Input::List(_));
        let history = self.paths.entry(name.clone()).or_default();
        history.failed = 0;
        history.appeared |= found && history.missed;
        if !history.found && !history.missed && !history.written {
            history.found = found;
            history.missed = !found;
            history.counts = !found && !self.traits.asks_by_name;
        }
        if !history.written {
            self.of_path.push((name, input, !habit));
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
        let place = self.through_links(r.a, true);
        let name = self.plain(&place);
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

    fn take(&mut self, r: &Record, search_path: Option<&[u8]>) {
        // Shells and drivers search PATH by trying each place: whatever lies directly in one of its directories may have
        // been searched for, and something found in an earlier or a new one would have been taken.
        let tried =
            matches!(r.kind, Touch::Absent | Touch::Stat | Touch::Open | Touch::Exec | Touch::Spawn | Touch::ExecFail);
        if tried && r.b.is_empty() && self.on_path(r.a) {
            let name = path(r.a).file_name().map(|n| bytes(n).to_vec()).unwrap_or_default();
            self.inputs.insert(Input::Search { name, dirs: vec![Vec::new()] });
            // What a compiler driver looks for there may be one of its programs, and then the search says it all; it may be
            // a header, too.
            let program = path(r.a).file_name().is_some_and(|n| programs::traits_of(Path::new(n)).asks_by_name);
            if self.traits.asks_by_name && program && r.kind == Touch::Absent {
                return;
            }
        }
        match r.kind {
            Touch::Open => {
                let truncated = r.flags & flag::TRUNCATE != 0;
                if r.flags & flag::WRITE != 0 {
                    let place = self.through_links(r.a, true);
                    // It would have failed where something is.
                    if r.flags & flag::EXCL != 0 {
                        self.look(r.a, false, Input::Path);
                    }
                    if r.flags & (flag::CREATE | flag::EXCL | flag::TRUNCATE | flag::EXISTED) == flag::CREATE {
                        let name = self.plain(&place);
                        self.paths.entry(name).or_default().continued = true;
                    }
                    // What was there and is only changed in part, or added to, is also read.
                    if r.flags & flag::EXISTED != 0 && !truncated {
                        self.read(r);
                        self.look(r.a, true, Input::Path);
                    }
                    self.write(&place);
                } else {
                    self.read(r);
                    self.look(r.a, true, Input::Path);
                }
            }
            Touch::Absent => self.look(r.a, false, Input::Path),
            Touch::Stat | Touch::Loaded => self.look(r.a, true, Input::Path),
            Touch::Failed => {
                let place = self.through_links(r.a, true);
                let name = self.plain(&place);
                let before = self.paths.get(&name).copied().unwrap_or_default();
                self.look(r.a, true, Input::Path);
                let (first, error) = (!before.found && !before.missed && !before.written, i32::from(r.err));
                if let Some(history) = self.paths.get_mut(&name).filter(|_| first || before.failed == error) {
                    history.failed = error;
                }
            }
            // What was executed, and is an input, led to it: a shim, or a search.
            Touch::Start if self.kache.as_deref() == Some(path(r.a)) => {}
            Touch::Start => self.look(r.a, true, Input::Path),
            Touch::Lstat | Touch::Readlink => self.look(r.a, true, Input::Link),
            Touch::List if self.action.search_dirs.iter().any(|d| d == path(r.a)) => {}
            Touch::List => self.look(r.a, true, Input::List),
            Touch::Resolve => self.look(r.a, true, Input::Resolve),
            Touch::Mkdir => {
                let name = self.plain(r.a);
                self.made.push(name);
            }
            Touch::Rename => {
                // The old name's going is a change as well; a directory takes what lies below along.
                self.was_there(r.a);
                self.write(r.a);
                self.write(r.b);
                let (from, to) = (self.plain(r.a), self.plain(r.b));
                self.take_links(&to);
                for (link, text) in self.take_links(&from) {
                    self.add_link([&to, &link[from.len()..]].concat(), &text);
                }
                if self.made.contains(&from) {
                    self.made.push(to);
                }
            }
            Touch::Unlink | Touch::Meta => {
                self.was_there(r.a);
                self.write(r.a);
                if r.kind == Touch::Unlink {
                    let name = self.plain(r.a);
                    self.take_links(&name);
                }
            }
            Touch::Link => {
                self.look(r.a, true, Input::Path);
                self.write(r.b);
            }
            Touch::Symlink => {
                self.write(r.b);
                let name = self.plain(r.b);
                self.add_link(name, r.a);
            }
            Touch::Exec | Touch::Spawn if r.b.is_empty() => self.look(r.a, true, Input::Path),
            Touch::Exec | Touch::Spawn => {
                let dirs = self.search_dirs(search_path);
                self.inputs.insert(Input::Search { name: r.b.to_vec(), dirs });
            }
            // A search that found nothing.
            Touch::ExecFail if r.a.is_empty() => {
                let dirs = self.search_dirs(search_path);
                self.inputs.insert(Input::Search { name: r.b.to_vec(), dirs });
            }
            Touch::ExecFail => self.look(r.a, !matches!(r.err, ENOENT | ENOTDIR), Input::Path),
            Touch::Getenv
            | Touch::Clock
            | Touch::Net
            | Touch::SearchPath
            | Touch::Fork
            | Touch::Where
            | Touch::Native
            | Touch::Machine => {}
        }
    }

    fn on_path(&self, p: &[u8]) -> bool {
        let parent = memchr::memrchr(b'/', p).map(|end| &p[..end.max(1)]);
        parent.is_some_and(|parent| self.path.split(|b| *b == b':').any(|dir| dir == parent))
    }

    /// How often rustc has read the clock by itself until here: to name an incremental session, and, where unstable
    /// features are allowed, the report of a crash, right after it asked where reports go.
    fn clock_reads_of_rustc(&self, trace: &Trace, index: usize) -> usize {
        let pid = trace.records[index].pid;
        let asks = |r: &Record| r.kind == Touch::Getenv && r.a == b"RUSTC_ICE" && !self.in_build(r.b);
        let of_report = |at: &usize| {
            let mut before = trace.records[..*at].iter().rev().filter(|r| r.pid == pid).take(3);
            before.any(asks)
        };
        let reads = (0..=index).filter(|at| trace.records[*at].kind == Touch::Clock && trace.records[*at].pid == pid);
        usize::from(self.action.scratch.is_some()) + reads.filter(of_report).take(1).count()
    }

    /// The directories a program was looked for in, where that was not the action's own `PATH`: most often some before it.
    fn search_dirs(&self, other: Option<&[u8]>) -> Vec<Vec<u8>> {
        let Some(searched) = other else { return vec![Vec::new()] };
        let before = searched.strip_suffix(self.path);
        let list = before.unwrap_or(searched).split(|b| *b == b':').filter(|d| !d.is_empty());
        let mut dirs: Vec<Vec<u8>> = list.map(|d| self.stored(d)).collect();
        if before.is_some() {
            dirs.push(Vec::new());
        }
        dirs
    }
}
