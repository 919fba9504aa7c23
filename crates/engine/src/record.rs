//! Recording: from a finished run to blobs, an entry and a path set.

use crate::action::{Action, Kind, Outputs};
use crate::adapter::rustc::is_metadata;
use crate::reason::{Reason, Why};
use crate::run::{Ran, STREAM_LIMIT, said_something};
use crate::scan::Scan;
use crate::sources::{self, Variables};
use crate::world::World;
use crate::{Session, declared, declared_cc, observed};
use kache_key::{Bound, Digest, Form, Input, PathSet, Recipe, Root, Roots, State};
use kache_observe::Blind;
use kache_os::{FileKind, Meta, bytes};
use kache_store::{Data, Entry, Inputs, Output, OutputKind, Remembered, SEAL};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Outputs up to this size stand in the entry itself: one file less to open on a hit.
const INLINE: u64 = 16 * 1024;

/// More of them than this in one entry are better read one by one than with each look at the entry.
const INLINE_ALL: u64 = 8 << 20;

/// Text longer than this is not searched for places; it is stored as bytes (and bound, if it holds one).
const TEXT_LIMIT: u64 = 16 << 20;

/// An output as it is on disk now.
struct Found {
    place: PathBuf,
    output: Output,
}

/// What was taken in so far.
#[derive(Default)]
struct Taken {
    found: Vec<Found>,
    /// The roots whose places stand in it.
    leaked: BTreeSet<Root>,
}

fn failed(error: io::Error) -> Why {
    Why::new(Reason::StoreFailed, error)
}

impl Session<'_> {
    /// Stores the result of a run that succeeded. Returns the entry's key, or why there is none.
    pub(crate) fn record(&self, action: &Action, world: &World, weak: &Digest, ran: &Ran) -> Result<Digest, Why> {
        let (PathSet { mut inputs, .. }, written) = self.seen(action, world, ran)?;
        let same = if action.kind == Kind::Cc { twins(world, &inputs)? } else { Vec::new() };
        self.install_script(action).map_err(failed)?;
        let Taken { found: mut outputs, mut leaked } = self.outputs(action, world, &written, ran)?;
        self.bound_inlined(&mut outputs).map_err(failed)?;
        let entry = self.entry(action, &outputs, ran, &mut leaked).map_err(failed)?;
        inputs.extend(leaked.into_iter().map(Input::Place));
        inputs.extend(same);
        let asks = || match action.kind {
            // It made something all the same, of what its arguments were not seen to name.
            Kind::Query => !outputs.is_empty(),
            _ => sources::ask_for_their_path(world, &inputs),
        };
        let mut may_tell = false;
        if !action.named.is_empty() && asks() {
            may_tell = !action.probe.is_empty() && !inputs.iter().any(Input::binds);
            inputs.extend(action.named.iter().map(|root| Input::Place(*root)));
        }
        if said_something(action, &ran.stderr) {
            inputs.push(Input::Messages);
        }
        inputs.sort();
        inputs.dedup();
        let set = self.bind(weak, world, PathSet { inputs, bound: None }, &entry);
        let strong = self.publish(action, world, weak, set, &entry, may_tell).map_err(failed)?;
        for found in &outputs {
            self.remember_output(action, found);
        }
        Ok(strong)
    }

    /// What the run read, and which files it wrote (as far as it was seen), or why its result is not stored.
    fn seen(&self, action: &Action, world: &World, ran: &Ran) -> Result<(PathSet, Vec<PathBuf>), Why> {
        if ran.stdout.len().max(ran.stderr.len()) > STREAM_LIMIT {
            return Err(Reason::LongStream.into());
        }
        if [&ran.stdout, &ran.stderr].iter().any(|s| s.contains(&kache_key::MARK)) {
            return Err(Why::new(Reason::SpecialOutput, "a zero byte was printed"));
        }
        let left = |blind| match blind {
            Blind::Running { path } => Why::new(Reason::LeftRunning, kache_os::path(&path).display()),
            _ => Why::new(Reason::Blind, blind),
        };
        let trace = ran.trace.as_ref().map(|file| file.read().map_err(left)).transpose()?;
        if !ran.silent {
            return Err(Reason::LeftRunning.into());
        }
        match &trace {
            Some(trace) => {
                let root = trace.programs[0].exe;
                if action.program.is_absolute() && !kache_observe::is_program(bytes(&action.program), root) {
                    return Err(Why::new(Reason::Blind, action.program.display()));
                }
                let variables = Variables::of(action, self.settings, world);
                let seen = observed::read(action, world, trace, ran.started, &variables)?;
                Ok((seen.path_set, seen.written))
            }
            None if self.settings.observe => Err(Why::new(Reason::Blind, "the observer could not be placed")),
            None if action.kind == Kind::Cc => Ok((declared_cc::path_set(action, world, ran.started)?, Vec::new())),
            None => Ok((declared::path_set(action, world, ran.started, self.settings)?, Vec::new())),
        }
    }

    /// The entry of these outputs and what the run said; the roots that the streams name are added to `leaked`.
    fn entry(&self, action: &Action, outputs: &[Found], ran: &Ran, leaked: &mut BTreeSet<Root>) -> io::Result<Entry> {
        let form = if action.json { Form::Json } else { Form::Plain };
        let checkout = action.roots.of_checkout();
        let [stdout, stderr] = [&ran.stdout, &ran.stderr].map(|stream| {
            let stored = checkout.encode(stream, form);
            leaked.extend(scanned(action).leaks(&stored));
            self.keep(stored)
        });
        Ok(Entry {
            outputs: outputs.iter().map(|f| f.output.clone()).collect(),
            stdout: stdout?,
            stderr: stderr?,
            tool_ms: ran.tool_ms,
            boot: kache_os::boot_id(),
        })
    }

    /// Puts the entry under its strong fingerprint, what it came from beside it, and the path set last: who finds that
    /// finds all. `may_tell`: the entry of a bound set may be asked whether it has to be ([`Session::lift`]).
    fn publish(
        &self,
        action: &Action,
        world: &World,
        weak: &Digest,
        mut set: PathSet,
        entry: &Entry,
        may_tell: bool,
    ) -> io::Result<Digest> {
        let mut states: Vec<(String, State)> = Vec::with_capacity(set.inputs.len());
        let strong = set.strong(weak, &mut |input| {
            let state = world.state(input);
            states.push((input.describe(), state.clone()));
            if *input == Input::EnvAll {
                let named = |(name, digest): (&[u8], Digest)| {
                    (format!("variable {}", Roots::readable(name)), State::Hashed(digest))
                };
                states.extend(world.variables().into_iter().map(named));
            }
            state
        });
        if let Some(bound) = set.bound.as_mut().filter(|_| may_tell) {
            bound.entry = Some(strong);
        }
        let about = Inputs {
            name: action.name.clone(),
            unit: action.unit.clone(),
            weak: *weak,
            fields: action.describe(),
            inputs: states,
        };
        self.store.put_inputs(&strong, &about)?;
        self.store.put_entry(&strong, entry)?;
        self.store.add_path_set(weak, set)?;
        Ok(strong)
    }

    /// Of a bound result: notes what it takes to lift the binding, or lifts it, if another place of the roots has given
    /// the same.
    fn bind(&self, weak: &Digest, world: &World, mut set: PathSet, entry: &Entry) -> PathSet {
        if !set.inputs.iter().any(Input::binds) {
            return set;
        }
        let unbound_set = set.unbound();
        let unbound = unbound_set.strong(weak, &mut |input| world.state(input));
        // What can't be compared stays where it is.
        let Some(outputs) = entry.outputs_digest() else { return set };
        let lengths: Vec<(Root, u64)> = world
            .roots
            .iter()
            .filter(|(root, _)| root.moves_with_checkout())
            .map(|(r, place)| (r, place.len() as u64))
            .collect();
        let proven = self.store.path_sets(weak).into_iter().filter_map(|s| s.bound).any(|before| {
            let moved = |(root, length): &(Root, u64)| before.lengths.iter().any(|(r, l)| r == root && l != length);
            let elsewhere = !lengths.is_empty() && lengths.len() == before.lengths.len() && lengths.iter().all(moved);
            before.unbound == unbound && before.outputs == outputs && elsewhere
        });
        if proven {
            return unbound_set;
        }
        set.bound = Some(Bound { unbound, outputs, lengths, entry: None });
        set
    }

    /// Moves a compiled build script aside and puts the launcher in its place.
    fn install_script(&self, action: &Action) -> io::Result<()> {
        let Some(script) = &action.script else { return Ok(()) };
        if !kache_observe::SUPPORTED || kache_os::lstat(&script.launcher).is_err() {
            return Ok(());
        }
        std::fs::rename(&script.launcher, &script.real)?;
        self.store.step();
        if let Err(error) = self.put_launcher(&script.launcher) {
            std::fs::rename(&script.real, &script.launcher)?;
            return Err(error);
        }
        Ok(())
    }

    fn outputs(&self, action: &Action, world: &World, written: &[PathBuf], ran: &Ran) -> Result<Taken, Why> {
        let mut taken = Taken::default();
        match &action.outputs {
            Outputs::Tree(dir) => self.tree(action, world, ran, dir, &mut taken)?,
            Outputs::Below(_) => {
                for place in written {
                    // Through a link, into a pipe: a restore could not do the same.
                    if !kache_os::lstat(place).is_ok_and(|m| m.is_file() && m.links == 1) {
                        return Err(Why::new(Reason::SpecialOutput, place.display()));
                    }
                    if action.kind == Kind::Cc && holds_times(&action.args, place) {
                        return Err(Why::new(Reason::SpecialInput, place.display()));
                    }
                    self.output(action, world, ran, (place.clone(), FileKind::File), &mut taken)?;
                }
            }
            Outputs::Written(expected) => {
                let real = action.script.as_ref().map(|s| (&s.launcher, &s.real));
                let mut places: BTreeSet<PathBuf> = written.iter().cloned().collect();
                places.extend(expected.iter().filter(|p| self.was_written(p, ran)).cloned());
                if let Some((launcher, real)) = real {
                    places.remove(launcher);
                    places.insert(real.clone());
                }
                for place in places {
                    let kind = kache_os::lstat(&place).map(|m| m.kind);
                    self.output(action, world, ran, (place, kind.unwrap_or(FileKind::Other)), &mut taken)?;
                }
            }
        }
        let timed = taken.found.iter().find(|f| !action.allow_clock && is_stamped_image(&f.place, ran));
        timed.map_or(Ok(()), |f| Err(Why::new(Reason::Clock, f.place.display())))?;
        Ok(taken)
    }

    /// Whether this run wrote the file: its inode changed since the start. (rustc's temporary files are written by bare
    /// system calls and renamed, which no interposed function sees.)
    fn was_written(&self, place: &Path, ran: &Ran) -> bool {
        kache_os::lstat(place).is_ok_and(|m| !m.settled(ran.started, self.settings.too_new_ms) && m.mtime != SEAL)
    }

    fn tree(&self, action: &Action, world: &World, ran: &Ran, dir: &Path, taken: &mut Taken) -> Result<(), Why> {
        let mut names = match kache_os::list(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        names.sort();
        for (name, kind) in names {
            let place = dir.join(kache_os::path(&name));
            self.output(action, world, ran, (place.clone(), kind), taken)?;
            if kind == FileKind::Dir {
                self.tree(action, world, ran, &place, taken)?;
            }
        }
        Ok(())
    }

    /// Takes one output into the store.
    fn output(
        &self,
        action: &Action,
        world: &World,
        ran: &Ran,
        (place, kind): (PathBuf, FileKind),
        taken: &mut Taken,
    ) -> Result<(), Why> {
        let path = world.roots.encode_path(bytes(&place));
        let shared = is_shared(action, &place) && !keeps_old_time(&place, ran);
        let kind = match kind {
            FileKind::Dir if self.has_odd_mode(&place, 0o777) => {
                return Err(Why::new(Reason::SpecialOutput, format!("mode of {}", place.display())));
            }
            FileKind::Dir => OutputKind::Dir,
            FileKind::Symlink => {
                OutputKind::Symlink(world.roots.encode_path(bytes(&kache_os::read_link(&place).map_err(failed)?)))
            }
            FileKind::File if !shared && self.has_odd_mode(&place, 0o666) && self.has_odd_mode(&place, 0o777) => {
                return Err(Why::new(Reason::SpecialOutput, format!("mode of {}", place.display())));
            }
            FileKind::File => {
                let before = kache_os::stat(&place).map_err(failed)?;
                let kind = self.file(action, &place, &before, shared, &mut taken.leaked).map_err(failed)?;
                // A process that the tool left behind may write on. (What is shared has the store's own times now.)
                if !shared && !kache_os::stat(&place).is_ok_and(|now| now.same_content(&before)) {
                    return Err(Why::new(Reason::SpecialOutput, format!("{} is being written", place.display())));
                }
                kind
            }
            FileKind::Other => return Err(Why::new(Reason::SpecialOutput, place.display())),
        };
        taken.found.push(Found { place, output: Output { path, kind, shared } });
        Ok(())
    }

    /// A mode that is not what the umask leaves of `plain` is not restored, so it is not stored.
    fn has_odd_mode(&self, place: &Path, plain: u32) -> bool {
        kache_os::lstat(place).is_ok_and(|m| m.mode != plain & !kache_os::umask())
    }

    fn file(
        &self,
        action: &Action,
        place: &Path,
        meta: &Meta,
        shared: bool,
        leaked: &mut BTreeSet<Root>,
    ) -> io::Result<OutputKind> {
        let executable = meta.mode & 0o100 != 0;
        let text = action.texts.iter().find(|(text, _)| text == place);
        let perhaps_text = matches!(action.kind, Kind::BuildScript | Kind::Command) && meta.size <= TEXT_LIMIT;
        if meta.size > INLINE && text.is_none() && !perhaps_text {
            let mut scan = Scan::new(std::fs::File::open(place)?, scanned(action));
            let digest = Digest::of_reader(&mut scan)?;
            leaked.extend(scan.found);
            self.store.put_file(place, &digest, executable, shared)?;
            return Ok(OutputKind::File { data: Data::Blob { digest, size: scan.size }, executable });
        }
        let data = std::fs::read(place)?;
        let checkout = action.roots.of_checkout();
        let form = if let Some((_, form)) = text {
            Some(*form)
        } else if perhaps_text && is_text(&data) && !checkout.leaks(&data).is_empty() {
            Some(Form::Plain)
        } else {
            None
        };
        // Escaped in ways that no placeholder stands for: as it is, and bound by what it holds.
        let awkward =
            |(_, place): (Root, &[u8])| form == Some(Form::Make) && place.iter().any(|b| b"$#%:\\".contains(b));
        if checkout.iter().any(awkward) {
            leaked.extend(checkout.iter().map(|(root, _)| root));
        }
        if let Some(form) = form {
            let stored = checkout.encode(&data, form);
            if form == Form::Plain && checkout.tells_length(&data) {
                leaked.extend(checkout.iter().map(|(root, _)| root));
            }
            leaked.extend(scanned(action).leaks(&stored));
            let data = self.keep(stored)?;
            return Ok(OutputKind::Text { data, form, executable });
        }
        leaked.extend(scanned(action).leaks(&data));
        // Metadata is a blob, however small: others may be sealed links only where it is one.
        if data.len() as u64 <= INLINE && !shared && !is_metadata(place) {
            return Ok(OutputKind::File { data: Data::Inline(data), executable });
        }
        let digest = Digest::of(&data);
        let size = data.len() as u64;
        self.store.put_file(place, &digest, executable, shared)?;
        Ok(OutputKind::File { data: Data::Blob { digest, size }, executable })
    }

    /// Bytes into the entry, or, when they are many, into a blob.
    fn keep(&self, data: Vec<u8>) -> io::Result<Data> {
        if data.len() as u64 <= INLINE {
            return Ok(Data::Inline(data));
        }
        let digest = Digest::of(&data);
        self.store.put_bytes(&data, &digest)?;
        Ok(Data::Blob { digest, size: data.len() as u64 })
    }

    /// Where an entry would hold very many small files, they become blobs after all.
    fn bound_inlined(&self, outputs: &mut [Found]) -> io::Result<()> {
        let inlined = |found: &Found| match &found.output.kind {
            OutputKind::File { data: Data::Inline(data), .. } | OutputKind::Text { data: Data::Inline(data), .. } => {
                data.len() as u64
            }
            _ => 0,
        };
        if outputs.iter().map(inlined).sum::<u64>() <= INLINE_ALL {
            return Ok(());
        }
        for found in outputs {
            let (data, file) = match &mut found.output.kind {
                OutputKind::File { data, executable } => (data, Some(*executable)),
                OutputKind::Text { data, .. } => (data, None),
                OutputKind::Symlink(_) | OutputKind::Dir => continue,
            };
            let Data::Inline(bytes) = &*data else { continue };
            let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
            match file {
                Some(executable) => self.store.put_file(&found.place, &digest, executable, false).map(drop)?,
                None => self.store.put_bytes(bytes, &digest).map(drop)?,
            }
            *data = Data::Blob { digest, size };
        }
        Ok(())
    }

    /// Who reads this output next finds its digest on record, however new it is; without observation also what a library
    /// needs.
    pub(crate) fn remember(&self, action: &Action, place: &Path, meta: &Meta, digest: Digest) {
        self.memo.put(meta, Remembered { digest, output: true });
        if !self.settings.observe && place.extension().is_some_and(|e| e == "rlib" || e == "rmeta") {
            // Where it can't be kept, dependents pass through.
            let _ = declared::keep_library(&self.store, action, place, digest);
        }
    }

    fn remember_output(&self, action: &Action, found: &Found) {
        if let (OutputKind::File { data, executable }, false) = (&found.output.kind, found.output.shared) {
            self.keep_program(action, &found.place, *executable);
            // Metadata that will not be a sealed link is small beside the rest, and others wait for it.
            if let Data::Blob { digest, size } = data
                && is_metadata(&found.place)
                && self.invocation.var("OUT_DIR").is_some()
                && self.wants_spare(&found.place, digest, *size)
            {
                self.order_spares(&[*digest]);
            }
        }
        let digest = match &found.output.kind {
            OutputKind::File { data: Data::Blob { digest, .. }, .. } => *digest,
            OutputKind::File { data: Data::Inline(data), .. } => Digest::of(data),
            OutputKind::Text { form: Form::Make, .. } => return,
            OutputKind::Text { .. } => match std::fs::read(&found.place) {
                Ok(data) => Digest::of(&data),
                Err(_) => return,
            },
            OutputKind::Symlink(_) | OutputKind::Dir => return,
        };
        if let Ok(meta) = kache_os::stat(&found.place) {
            self.remember(action, &found.place, &meta, digest);
        }
    }
}

/// Cargo's `.rlib` and a build script's real program may share their inode: cargo replaces the first and never looks at
/// the second.
fn is_shared(action: &Action, place: &Path) -> bool {
    action.script.as_ref().is_some_and(|s| s.real == place)
        || (matches!(action.kind, Kind::Rustc | Kind::Clippy) && place.extension().is_some_and(|e| e == "rlib"))
}

/// Whether the metadata beside a library has an earlier run's time: rustc links what did not change from its incremental
/// state, which another unit of the crate may have left. Then only the library's own time keeps the unit fresh.
fn keeps_old_time(library: &Path, ran: &Ran) -> bool {
    kache_os::lstat(&library.with_extension("rmeta")).is_ok_and(|m| m.mtime < ran.started)
}

/// Of a compile, files of equal content that may be included once only: the compilers take two for one if they are the
/// same file (clang), or have the same time (gcc). By which links they are the same is an input.
fn twins(world: &World, inputs: &[Input]) -> Result<Vec<Input>, Why> {
    let mut by_content: BTreeMap<Vec<u8>, Vec<(&Vec<u8>, PathBuf)>> = BTreeMap::new();
    for input in inputs {
        let (Input::Path(stored), State::File { digest, .. }) = (input, world.state(input)) else { continue };
        let Some(place) = world.place(stored) else { continue };
        by_content.entry(digest.as_bytes().to_vec()).or_default().push((stored, place));
    }
    let mut found = Vec::new();
    for same in by_content.into_values().filter(|same| same.len() > 1) {
        let text = std::fs::read(&same[0].1).unwrap_or_default();
        let is_object = text.starts_with(b"\x7fELF") || text.starts_with(b"!<");
        if is_object || ![&b"once"[..], b"import"].iter().any(|word| memchr::memmem::find(&text, word).is_some()) {
            continue;
        }
        let mut real = same.iter().map(|(_, place)| std::fs::canonicalize(place).ok());
        let first = real.next().flatten();
        if !real.all(|other| other == first) {
            return Err(Why::new(Reason::SpecialInput, same[0].1.display()));
        }
        found.extend(same.iter().map(|(stored, _)| Input::Resolve(stored.to_vec())));
    }
    Ok(found)
}

/// The roots whose literal places bind. Not `/tmp`, which Rust's standard library itself names, but for C.
fn scanned(action: &Action) -> Roots {
    let mut scanned = Roots::default();
    for (root, place) in action.roots.iter().filter(|(_, place)| action.kind == Kind::Cc || *place != b"/tmp") {
        scanned.add(root, place);
    }
    scanned
}

/// Text may hold placeholders: they start with NUL, which text does not contain.
fn is_text(data: &[u8]) -> bool {
    memchr::memchr(0, data).is_none() && std::str::from_utf8(data).is_ok()
}

/// Whether this is a program or library for Windows with the time of this run in its header: linkers, which read the
/// clock for nothing else, put it there unless they are told not to (`/Brepro`, `--no-insert-timestamp`).
fn is_stamped_image(output: &Path, ran: &Ran) -> bool {
    let Ok(file) = std::fs::File::open(output) else { return false };
    let (mut start, mut header) = ([0; 64], [0; 12]);
    if kache_os::read_at(&file, &mut start, 0).is_err() || !start.starts_with(b"MZ") {
        return false;
    }
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    if kache_os::read_at(&file, &mut header, word(&start[60..]).into()).is_err() || !header.starts_with(b"PE\0\0") {
        return false;
    }
    let took = ran.tool_ms.div_ceil(1000).cast_signed();
    (ran.started.sec..=ran.started.sec.saturating_add(took).saturating_add(1)).contains(&word(&header[8..]).into())
}

/// Whether an output holds the times of what was read, which the compiler compares: clang's precompiled headers do,
/// modules that are made by a command of their own do not.
fn holds_times(args: &[OsString], output: &Path) -> bool {
    const TIMELESS: &[&str] = &["--precompile", "-fno-pch-timestamp", "c++-module", "-emit-module"];
    let mut magic = [0; 4];
    let read = std::fs::File::open(output).and_then(|file| kache_os::read_at(&file, &mut magic, 0));
    read.is_ok()
        && magic == *b"CPCH"
        && !args.iter().any(|arg| TIMELESS.iter().any(|flag| bytes(arg).ends_with(flag.as_bytes())))
}
