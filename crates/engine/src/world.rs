//! The world as it is now: the state of any input, with the digest memo in between.

use crate::invocation::Invocation;
use crate::pattern::in_table;
use crate::reason::{Reason, Why};
use kache_key::{Digest, Form, Framed, Input, Root, Roots, State};
use kache_os::{FileKind, Meta, Stamp, bytes, path};
use kache_store::{Memo, Remembered};
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What `lstat` said, or its error number.
type Looked = Result<Meta, Option<i32>>;

/// Answers for one action.
pub struct World<'a> {
    pub invocation: &'a Invocation,
    pub roots: &'a Roots,
    pub memo: &'a Memo,
    pub messages: &'a [u8],
    /// Times older than the clock, by this much, are settled: a later write would give others.
    pub margin_ms: u32,
    /// A person gave this very command, and may mean any variable by it.
    by_hand: bool,
    clock: OnceCell<Option<Stamp>>,
    /// What was looked at last. Inputs are sorted: what concerns one path stands together.
    last: RefCell<Option<(PathBuf, Looked)>>,
    near: RefCell<kache_os::Near>,
    /// What is being recorded, in order: its inputs are what they were when they were checked.
    frozen: RefCell<Vec<Frozen>>,
    /// The frozen input behind the one that was asked for last: they are gone through in order.
    next: Cell<usize>,
    /// A digest was taken from a file's bytes, and not from the memo.
    hashed: Cell<bool>,
}

struct Frozen {
    input: Input,
    state: State,
    /// What the state was made of, where that is all: nothing was read since. (Most inputs are absent: these stay small.)
    meta: Option<Box<Meta>>,
}

/// Variables that say nothing about what a program does, for programs that read the whole environment. Each with its reason.
const NOISE: &[(&str, &str)] = &[
    ("PWD", "the shell's own; the working directory is in the key, and its name is an input"),
    ("OLDPWD", "the shell's own"),
    ("SHLVL", "the shell's own"),
    ("_", "the shell's own"),
    ("HISTFILE", "the shell's own"),
    ("TERM_*", "which terminal it is"),
    ("WINDOWID", "which terminal it is"),
    ("VTE_VERSION", "which terminal it is"),
    ("TMUX*", "which terminal it is"),
    ("STY", "which terminal it is"),
    ("SSH_*", "the login"),
    ("XDG_SESSION*", "the login"),
    ("XDG_RUNTIME_DIR", "the login"),
    ("DBUS_SESSION_BUS_ADDRESS", "the login"),
    ("DISPLAY", "the desktop"),
    ("WAYLAND_DISPLAY", "the desktop"),
    ("INVOCATION_ID", "the service manager"),
    ("JOURNAL_STREAM", "the service manager"),
    ("RUST_RECURSION_COUNT", "rustup's own"),
];

/// The same for what a build tool runs; a command that a person gives may be meant to use them.
const OF_BUILDS: &[(&str, &str)] = &[
    ("TERM*", "the terminal; messages only"),
    ("COLORTERM", "the terminal"),
    ("COLUMNS", "the terminal"),
    ("LINES", "the terminal"),
    ("CARGO_TERM_*", "messages only"),
    ("CARGO_TARGET_DIR", "the build directory is a root"),
    ("CARGO_BUILD_*", "cargo's own settings; what they do is in what it passes on"),
];

/// Variables that are how a build is run, to whoever asks for them. Each with its reason.
const PLUMBING: &[(&str, &str)] = &[
    ("LD_PRELOAD", "the observer; what else is in it is in the key"),
    ("LD_LIBRARY_PATH", "in the key, without cargo's own, which hold the target directory"),
    ("KACHE_*", "kache's own"),
];

/// The same, of what a build tool runs.
const PLUMBING_OF_BUILDS: &[(&str, &str)] = &[
    ("MAKEFLAGS", "the jobserver"),
    ("MFLAGS", "the jobserver"),
    ("CARGO_MAKEFLAGS", "the jobserver"),
    ("NUM_JOBS", "how many processes may run"),
    ("GIT_OPTIONAL_LOCKS", "set by kache for build scripts"),
    ("RUSTC_WRAPPER", "kache itself"),
];

/// What make says of itself, without the jobserver: it is another for each build.
fn without_jobserver<'v>(name: &[u8], value: &'v [u8]) -> Cow<'v, [u8]> {
    if !name.ends_with(b"MAKEFLAGS") && name != b"MFLAGS" {
        return value.into();
    }
    let of_jobs = |word: &&[u8]| word.is_empty() || word.starts_with(b"-j") || word.starts_with(b"--jobserver-");
    value.split(|b| *b == b' ').filter(|word| !of_jobs(word)).collect::<Vec<_>>().join(&b' ').into()
}

impl<'a> World<'a> {
    pub fn new(
        invocation: &'a Invocation,
        roots: &'a Roots,
        memo: &'a Memo,
        messages: &'a [u8],
        margin_ms: u32,
        by_hand: bool,
    ) -> Self {
        World {
            invocation,
            roots,
            memo,
            messages,
            margin_ms,
            by_hand,
            clock: OnceCell::new(),
            last: RefCell::default(),
            near: RefCell::default(),
            frozen: RefCell::default(),
            next: Cell::new(0),
            hashed: Cell::new(false),
        }
    }

    /// Whether a variable says nothing to anyone about what a program does.
    pub fn is_plumbing(&self, name: &[u8]) -> bool {
        in_table(PLUMBING, name) || !self.by_hand && in_table(PLUMBING_OF_BUILDS, name)
    }

    /// Whether a variable is noise for programs that read the whole environment.
    pub fn is_noise(&self, name: &[u8]) -> bool {
        in_table(NOISE, name) || self.is_plumbing(name) || !self.by_hand && in_table(OF_BUILDS, name)
    }

    /// Forgets what was seen: the tool has run since.
    pub fn look_again(&self) {
        *self.last.borrow_mut() = None;
        *self.near.borrow_mut() = kache_os::Near::default();
        self.frozen.borrow_mut().clear();
    }

    /// The place of a stored path in this build; `None` when it names a root this action does not have.
    pub fn place(&self, stored: &[u8]) -> Option<PathBuf> {
        self.roots.decode(stored, Form::Plain).map(|p| path(&p).to_path_buf())
    }

    /// These paths count as they were before the action made what is there.
    pub fn were_absent(&self, stored: Vec<Vec<u8>>) {
        let absent = |path| Frozen { input: Input::Path(path), state: State::Absent, meta: None };
        let mut frozen = self.frozen.borrow_mut();
        frozen.extend(stored.into_iter().map(absent));
        // Of two, the newer one.
        frozen.reverse();
        frozen.sort_by(|a, b| a.input.cmp(&b.input));
        frozen.dedup_by(|again, kept| again.input == kept.input);
    }

    /// Takes what the inputs are like now, where that is not known yet, and keeps to it. Whoever checks after this that
    /// nothing changed since a run began knows what the run saw, whatever is edited while its outputs are stored.
    pub fn freeze(&self, mut inputs: Vec<(Input, Option<State>)>) {
        inputs.sort_by(|a, b| a.0.cmp(&b.0));
        inputs.dedup_by(|again, kept| {
            let same = again.0 == kept.0;
            if same && again.1.is_none() {
                kept.1 = None;
            }
            same
        });
        let (mut frozen, mut unread) = (Vec::with_capacity(inputs.len()), Vec::new());
        for (input, known) in inputs {
            let (state, meta) = match known {
                Some(state) => (state, None),
                None => match self.is_unread(&input) {
                    Some(file) => {
                        unread.push((frozen.len(), file));
                        (State::Absent, None)
                    }
                    None => self.taken(&input),
                },
            };
            frozen.push(Frozen { input, state, meta: meta.map(Box::new) });
        }
        self.learn(&unread.iter().map(|(_, file)| file.clone()).collect::<Vec<_>>());
        for (at, _) in unread {
            frozen[at].state = self.state(&frozen[at].input);
        }
        *self.frozen.borrow_mut() = frozen;
    }

    /// What an input is like now, and what that was made of.
    fn taken(&self, input: &Input) -> (State, Option<Meta>) {
        self.hashed.set(false);
        let state = self.state(input);
        let whole = matches!((input, &state), (Input::Path(_), State::File { .. } | State::Dir)) && !self.hashed.get();
        // It was looked at last.
        let meta = self.last.borrow().as_ref().and_then(|(_, looked)| (*looked).ok());
        (state, meta.filter(|m| whole && m.kind != FileKind::Symlink))
    }

    /// What `lstat` said of a frozen path whose state was made of that alone.
    pub fn frozen_meta(&self, input: &Input) -> Option<Meta> {
        self.frozen.borrow().get(self.find_frozen(input)?)?.meta.as_deref().copied()
    }

    fn find_frozen(&self, input: &Input) -> Option<usize> {
        let (frozen, next) = (self.frozen.borrow(), self.next.get());
        let is_it = |at: usize| frozen.get(at).is_some_and(|f| f.input == *input);
        let near = [next, next.wrapping_sub(1)].into_iter().find(|at| is_it(*at));
        let at = near.or_else(|| frozen.binary_search_by(|f| f.input.cmp(input)).ok())?;
        self.next.set(at + 1);
        Some(at)
    }

    /// What an input is like now; what can't be looked at has a state, too.
    pub fn state(&self, input: &Input) -> State {
        if let Some(at) = self.find_frozen(input) {
            return self.frozen.borrow()[at].state.clone();
        }
        match input {
            Input::Path(p) => self.at_place(p, |path| self.followed(path)),
            Input::Link(p) => self.at_place(p, |path| {
                let meta = self.look(path)?;
                if meta.kind != FileKind::Symlink {
                    return self.of_meta(path, &meta);
                }
                let target = kache_os::read_link(path)?;
                Ok(State::Text(self.roots.encode_path(bytes(&target))))
            }),
            Input::Above { root, name } => self.above(*root, name),
            Input::List(p) => self.at_place(p, |path| self.listing(path)),
            Input::Resolve(p) => {
                self.at_place(p, |path| Ok(State::Text(self.roots.encode_path(bytes(&self.canonical(path)?)))))
            }
            Input::Search { name, dirs } => self.search(name, dirs),
            Input::Env(name) | Input::EnvPlace(name) => match self.invocation.value(name) {
                None => State::Absent,
                Some(value) => State::Text(value.to_vec()),
            },
            Input::EnvPortable(name) => match self.invocation.value(name) {
                None => State::Absent,
                Some(value) => State::Text(self.roots.encode(value, Form::Plain)),
            },
            Input::EnvAll => State::Hashed(self.environment()),
            Input::Place(root) => match self.roots.place(*root) {
                None => State::Absent,
                Some(place) => State::Text(place.to_vec()),
            },
            Input::Messages => State::Text(self.messages.to_vec()),
            Input::Machine => State::Hashed(Digest::of(&kache_os::machine_identity())),
            Input::Processor => State::Hashed(Digest::of(&kache_os::cpu_identity())),
            Input::DirectoryName => match self.invocation.directory_name(self.roots) {
                None => State::Absent,
                Some(name) => State::Text(bytes(name).to_vec()),
            },
        }
    }

    fn at_place(&self, stored: &[u8], look: impl Fn(&Path) -> io::Result<State>) -> State {
        // A root we do not have: the path can't be what it was.
        let Some(place) = self.place(stored) else { return State::Failed(-1) };
        look(&place).unwrap_or_else(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => State::Absent,
            _ => State::Failed(e.raw_os_error().unwrap_or(-1)),
        })
    }

    /// The canonical form, with each directory resolved once: rustc asks for that of every file it reads.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        match self.look(path)?.kind {
            FileKind::Symlink => std::fs::canonicalize(path),
            _ => self.near.borrow_mut().canonical(path),
        }
    }

    /// `lstat`, once for each path, and through its directory when that is the one of the path before: a path set is
    /// sorted, and its paths are deep.
    fn look(&self, path: &Path) -> io::Result<Meta> {
        let mut last = self.last.borrow_mut();
        let known = match &*last {
            Some((there, known)) if bytes(there) == bytes(path) => *known,
            _ => {
                let looked = self.near.borrow_mut().lstat(path).map_err(|e| e.raw_os_error());
                *last = Some((path.to_path_buf(), looked));
                looked
            }
        };
        known.map_err(|errno| errno.map_or(io::ErrorKind::Other.into(), io::Error::from_raw_os_error))
    }

    fn followed(&self, path: &Path) -> io::Result<State> {
        match self.look(path)? {
            link if link.kind == FileKind::Symlink => self.of_meta(path, &kache_os::stat(path)?),
            meta => self.of_meta(path, &meta),
        }
    }

    fn of_meta(&self, path: &Path, meta: &Meta) -> io::Result<State> {
        Ok(match meta.kind {
            FileKind::File => State::File { digest: self.digest(path, meta)?, executable: meta.mode & 0o100 != 0 },
            FileKind::Dir => State::Dir,
            FileKind::Symlink | FileKind::Other => State::Other,
        })
    }

    /// A file's digest, from the memo when it did not change since.
    pub fn digest(&self, path: &Path, meta: &Meta) -> io::Result<Digest> {
        if let Some(known) = self.memo.get(meta) {
            return Ok(known.digest);
        }
        self.hashed.set(true);
        let digest = Digest::of_reader(&mut File::open(path)?)?;
        self.remember(meta, digest);
        Ok(digest)
    }

    /// Whether this is a large file whose digest is not known yet.
    fn is_unread(&self, input: &Input) -> Option<(PathBuf, Meta)> {
        const LARGE: u64 = 4 << 20;
        let Input::Path(stored) = input else { return None };
        let file = self.place(stored)?;
        let meta = self.look(&file).ok().filter(|m| m.is_file() && m.size >= LARGE)?;
        self.memo.get(&meta).is_none().then_some((file, meta))
    }

    /// Takes digests of large files, several at a time: before the first compile of all, nothing else can be done while a
    /// toolchain's 300 MB are read.
    fn learn(&self, files: &[(PathBuf, Meta)]) {
        if files.is_empty() {
            return; // How many processors there are takes thirty system calls to find out.
        }
        let next = AtomicUsize::new(0);
        let work = || {
            let taken = std::iter::from_fn(|| files.get(next.fetch_add(1, Ordering::Relaxed)));
            let hashed = taken.map(|(file, meta)| Ok((*meta, Digest::of_reader(&mut File::open(file)?)?)));
            hashed.filter_map(io::Result::ok).collect::<Vec<(Meta, Digest)>>()
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
        std::thread::scope(|scope| {
            let threads: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
            let hashed = work().into_iter().chain(threads.into_iter().filter_map(|t| t.join().ok()).flatten());
            hashed.for_each(|(meta, digest)| self.remember(&meta, digest));
        });
    }

    /// Whether the file holds what kache itself wrote or recorded: that is final, however new its times are.
    fn is_known_output(&self, path: &Path, meta: &Meta) -> bool {
        if self.memo.get(meta).is_some_and(|known| known.output) {
            return true;
        }
        let Some(known) = self.memo.output_in(meta) else { return false };
        let same = File::open(path).and_then(|mut f| Digest::of_reader(&mut f)).is_ok_and(|now| now == known.digest);
        if same {
            self.memo.put(meta, known);
        }
        same
    }

    /// Whether what lies there was the same since `start`, as far as its times tell.
    pub fn unchanged_since(&self, start: Stamp, place: &Path, meta: &Meta) -> bool {
        meta.mtime == kache_store::SEAL || meta.settled(start, self.margin_ms) || self.is_known_output(place, meta)
    }

    /// Whether the files, which were read since `start`, are what was frozen.
    pub fn all_unchanged_since<'f>(
        &self,
        start: Stamp,
        files: impl IntoIterator<Item = &'f PathBuf>,
    ) -> Result<(), Why> {
        for file in files {
            let meta = kache_os::stat(file).map_err(|_| Why::new(Reason::ChangedInput, file.display()))?;
            if !self.unchanged_since(start, file, &meta) {
                return Err(Why::new(Reason::TooNew, file.display()));
            }
        }
        Ok(())
    }

    fn remember(&self, meta: &Meta, digest: Digest) {
        if self.settled(meta) {
            self.memo.put(meta, Remembered { digest, output: false });
        }
    }

    /// Whether a later change would show in the stamps: they are older than what the kernel stamps now.
    fn settled(&self, meta: &Meta) -> bool {
        let clock = self.clock.get_or_init(|| kache_os::file_clock().ok());
        clock.is_some_and(|now| meta.settled(now, self.margin_ms))
    }

    fn listing(&self, path: &Path) -> io::Result<State> {
        let meta = kache_os::stat(path)?;
        if let Some(known) = self.memo.get(&meta) {
            return Ok(State::Hashed(known.digest));
        }
        let mut names = kache_os::list(path)?;
        names.sort_by(|a, b| a.0.cmp(&b.0));
        let mut hash = Framed::new("names");
        for (name, kind) in &names {
            hash.put(name).put(&[*kind as u8]);
        }
        let digest = hash.finish();
        self.remember(&meta, digest);
        Ok(State::Hashed(digest))
    }

    /// What a search upward finds first, and how far up.
    fn above(&self, root: Root, name: &[u8]) -> State {
        let place = self.roots.place(root).map(|p| path(p).to_path_buf()).unwrap_or_default();
        for (level, dir) in place.ancestors().enumerate().skip(1) {
            match self.followed(&dir.join(path(name))) {
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(e) => return State::Failed(e.raw_os_error().unwrap_or(-1)),
                Ok(State::File { digest, .. }) => return State::Text(format!("{level} {digest}").into_bytes()),
                Ok(other) => return State::Text(format!("{level} {}", other.describe()).into_bytes()),
            }
        }
        State::Absent
    }

    fn search(&self, name: &[u8], dirs: &[Vec<u8>]) -> State {
        let on_path = self.invocation.value(b"PATH").unwrap_or_default();
        for dir in dirs {
            // An empty name stands for the directories of PATH.
            let candidates: Vec<Vec<u8>> = if dir.is_empty() {
                on_path.split(|b| *b == b':').map(<[u8]>::to_vec).collect()
            } else {
                self.roots.decode(dir, Form::Plain).into_iter().collect()
            };
            for candidate in candidates {
                let file = path(&candidate).join(path(name));
                let Ok(meta) = kache_os::stat(&file) else { continue };
                if !meta.is_file() || meta.mode & 0o111 == 0 {
                    continue;
                }
                let Ok(digest) = self.digest(&file, &meta) else { continue };
                let place = self.roots.encode_path(bytes(&file));
                return State::Text([&place[..], b" ", digest.hex().as_bytes()].concat());
            }
        }
        State::Absent
    }

    fn environment(&self) -> Digest {
        let mut hash = Framed::new("environment");
        for (name, value) in self.variables() {
            hash.put(name).put(value.as_bytes());
        }
        hash.finish()
    }

    /// What counts for programs that read the whole environment, sorted: names, and digests of values with roots as
    /// placeholders. Digests, because values may be secrets and this is also kept for explanations.
    pub fn variables(&self) -> Vec<(&[u8], Digest)> {
        let counted = self.invocation.env.iter().map(|(k, v)| (bytes(k), bytes(v))).filter(|(k, _)| !self.is_noise(k));
        let digest = |k, v| Digest::of(&self.roots.encode(&without_jobserver(k, v), Form::Plain));
        let mut vars: Vec<_> = counted.map(|(k, v)| (k, digest(k, v))).collect();
        vars.sort();
        vars
    }

    /// Whether a root that moves with the checkout stands in the value.
    pub fn is_placed(&self, value: &[u8]) -> bool {
        self.roots.of_checkout().encode(value, Form::Plain) != value
    }

    /// A value read by a program that may use it in any way: a place in the build directory is portable (what was written
    /// there is stored with placeholders), one in the workspace is not.
    pub fn portable_value(&self, value: &[u8]) -> Vec<u8> {
        if self.holds(value, Root::Workspace) || self.holds(value, Root::Base) {
            return value.to_vec();
        }
        self.roots.encode(value, Form::Plain)
    }

    /// Whether the value names a place in `root` itself (not in a root inside of it).
    pub fn holds(&self, value: &[u8], root: Root) -> bool {
        Roots::names(&self.roots.encode(value, Form::Plain), root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a file that is saved while the result of a run that read it is being stored.
    #[test]
    fn what_is_frozen_is_what_was_checked() {
        let file = std::env::temp_dir().join(format!("kache-frozen-{}", std::process::id()));
        let start = kache_os::file_clock().unwrap();
        std::fs::write(&file, "1").unwrap();
        let (invocation, roots, memo) = (Invocation::snapshot(), Roots::default(), Memo::none());
        let world = World::new(&invocation, &roots, &memo, &[], 0, false);
        let input = Input::Path(bytes(&file).to_vec());
        world.freeze(vec![(input.clone(), None)]);
        let frozen = world.state(&input);
        std::fs::write(&file, "22").unwrap();
        assert_eq!(world.state(&input), frozen);
        // What was written since the start was not what the run read, as far as anyone can tell.
        assert!(world.all_unchanged_since(start, [&file]).is_err());
        world.look_again();
        assert_ne!(world.state(&input), frozen);
        std::fs::remove_file(&file).unwrap();
    }
}
