//! Lookup and restore: from a weak fingerprint to outputs in their places and replayed streams.

use crate::action::{Action, Outputs};
use crate::adapter::cc;
use crate::adapter::rustc::is_metadata;
use crate::sources;
use crate::world::World;
use crate::{Ending, Session, spare_limit};
use kache_config::LogLevel;
use kache_key::{Digest, Form};
use kache_os::{Method, Stream};
use kache_store::{Data, Entry, How, OutputKind, Placed, spare_from};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes that came to their places, by method.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    pub linked: u64,
    pub cloned: u64,
    pub copied: u64,
    /// Those that want a spare.
    pub large: Vec<Digest>,
}

impl Restored {
    fn count(&mut self, placed: &Placed) {
        let slot = match placed.method {
            Method::Link => &mut self.linked,
            Method::Reflink => &mut self.cloned,
            Method::Copy => &mut self.copied,
        };
        *slot += placed.meta.size;
    }
}

/// What a stored output comes to here.
enum Ready<'e> {
    Blob { digest: &'e Digest, size: u64, executable: bool, share: bool },
    Bytes { data: Vec<u8>, executable: bool, depfile: bool },
    Symlink(PathBuf),
    Dir,
}

impl Session<'_> {
    /// Serves the action from the store, if it can be: then its outputs are in place and its streams replayed.
    pub(crate) fn look_up(&self, action: &Action, world: &World, weak: &Digest) -> Option<Ending> {
        for set in self.store.path_sets(weak) {
            let strong = set.strong(weak, &mut |input| world.state(input));
            let Some(entry) = self.store.entry(&strong) else {
                let _ = self.note(LogLevel::Debug, &|| {
                    format!("{}: no entry {strong:?} for a path set of {}", action.unit, set.inputs.len())
                });
                continue;
            };
            let entry = match self.trusted(&strong, entry) {
                Some(entry) => entry,
                None => continue,
            };
            let Some(restored) = self.restore(action, world, &entry) else { continue };
            self.store.mark_used(weak, &strong, std::time::SystemTime::now());
            let (weak, key) = (Some(*weak), Some(strong));
            return Some(Ending { stored: true, tool_ms: entry.tool_ms, weak, key, restored, ..Ending::default() });
        }
        self.lift(action, world, weak)
    }

    /// Serves a result of another place that nothing binds but that a source may tell its own path, where the
    /// preprocessor says that none does; from then on it holds everywhere.
    fn lift(&self, action: &Action, world: &World, weak: &Digest) -> Option<Ending> {
        let elsewhere = |set: kache_key::PathSet| {
            let bound = set.bound.as_ref()?;
            let (unbound, entry) = (set.unbound(), bound.entry?);
            (self.now(&unbound, world, weak) == bound.unbound).then_some((unbound, bound.unbound, entry))
        };
        let (set, strong, from) = self.store.path_sets(weak).into_iter().find_map(elsewhere)?;
        let entry = self.trusted(&from, self.store.entry(&from)?)?;
        if !cc::only_tells(&action.probe, self.invocation, self.settings) || sources::tell_their_path(action) {
            return None;
        }
        // It may have read what was written since.
        world.look_again();
        if self.now(&set, world, weak) != strong {
            return None;
        }
        let restored = self.restore(action, world, &entry)?;
        // What can't be stored is asked again.
        let _ = self.store.inputs(&from).map(|about| self.store.put_inputs(&strong, &about));
        let _ = self.store.put_entry(&strong, &entry).and_then(|()| self.store.add_path_set(weak, set));
        let (weak, key) = (Some(*weak), Some(strong));
        Some(Ending { stored: true, tool_ms: entry.tool_ms, weak, key, restored, ..Ending::default() })
    }

    fn now(&self, set: &kache_key::PathSet, world: &World, weak: &Digest) -> Digest {
        set.strong(weak, &mut |input| world.state(input))
    }

    /// The entry, if all its blobs are there and whole. What was written under another boot may never have reached the
    /// disk: it is read once, and then bears this boot's name.
    fn trusted(&self, strong: &Digest, mut entry: Entry) -> Option<Entry> {
        let boot = kache_os::boot_id();
        let stale = entry.boot != boot;
        let reread = stale || self.settings.verify_restores;
        if !entry.blobs().all(|(digest, size)| self.store.check_blob(digest, size, reread)) {
            self.store.remove_entry(strong);
            return None;
        }
        if stale {
            entry.boot = boot;
            let _ = self.store.put_entry(strong, &entry);
        }
        Some(entry)
    }

    /// Outputs to their places, then the streams. `None` leaves the action to be run: whatever was placed is overwritten by it.
    fn restore(&self, action: &Action, world: &World, entry: &Entry) -> Option<Restored> {
        let form = if action.json { Form::Json } else { Form::Plain };
        let stdout = world.roots.decode(&self.bytes_of(&entry.stdout)?, form)?;
        let stderr = world.roots.decode(&self.bytes_of(&entry.stderr)?, form)?;
        let all_sealed = self.may_seal_all(action, entry);
        let mut ready = Vec::with_capacity(entry.outputs.len());
        for output in &entry.outputs {
            let place = world.place(&output.path)?;
            let share = output.shared || all_sealed && is_metadata(&place);
            ready.push((
                place,
                match &output.kind {
                    OutputKind::File { data: Data::Blob { digest, size }, executable } => {
                        Ready::Blob { digest, size: *size, executable: *executable, share }
                    }
                    OutputKind::File { data: Data::Inline(data), executable } => {
                        Ready::Bytes { data: data.clone(), executable: *executable, depfile: false }
                    }
                    OutputKind::Text { data, form, executable } => Ready::Bytes {
                        data: world.roots.decode(&self.bytes_of(data)?, *form)?,
                        executable: *executable,
                        depfile: *form == Form::Make,
                    },
                    OutputKind::Symlink(target) => Ready::Symlink(world.place(target)?),
                    OutputKind::Dir => Ready::Dir,
                },
            ));
        }
        let replaced_anywhere = matches!(action.outputs, Outputs::Below(_));
        let may_replace = |place: &Path| if replaced_anywhere { is_plain(place) } else { !is_special(place) };
        if !ready.iter().all(|(place, _)| may_replace(place)) {
            return None;
        }
        if let Outputs::Tree(dir) = &action.outputs {
            empty(dir, &ready.iter().map(|(p, _)| p.clone()).collect()).ok()?;
        }
        // What has its own inode first: whether that can be a reflink decides what the shared ones become.
        ready.sort_by_key(|(_, what)| matches!(what, Ready::Blob { share: true, .. }));
        let mut restored = Restored::default();
        for (place, what) in &ready {
            if self.put(action, place, what, &mut restored).is_err() {
                // A script would find in its empty OUT_DIR what it is about to make.
                if let Outputs::Tree(dir) = &action.outputs {
                    let _ = empty(dir, &HashSet::new());
                }
                return None;
            }
        }
        if let Some(script) = &action.script {
            self.put_launcher(&script.launcher).ok()?;
        }
        kache_os::write_stream(Stream::Out, &stdout).ok();
        kache_os::write_stream(Stream::Err, &stderr).ok();
        Some(restored)
    }

    /// Whether a library's metadata may be a sealed link, too.
    ///
    /// Cargo calls a unit stale when an output of a dependency is newer than its own newest. The metadata is what keeps
    /// it fresh beside a dependency that was compiled here; where all dependencies bear the seal, it need not. (The run of
    /// a build script, which `OUT_DIR` tells of, is a dependency with a time. A `check` has no library beside the
    /// metadata, and cargo sets the metadata's times then.)
    fn may_seal_all(&self, action: &Action, entry: &Entry) -> bool {
        let sealed = |file: &Path| kache_os::lstat(file).is_ok_and(|m| m.mtime == kache_store::SEAL);
        let both = |file: &Path| sealed(&file.with_extension("rmeta")) && sealed(&file.with_extension("rlib"));
        entry.outputs.iter().any(|o| o.shared && o.path.ends_with(b".rlib"))
            && self.invocation.var("OUT_DIR").is_none()
            && action.externs.iter().all(|file| both(&self.invocation.cwd.join(file)))
    }

    fn put(&self, action: &Action, place: &Path, what: &Ready, restored: &mut Restored) -> io::Result<()> {
        let mut once = || -> io::Result<Option<(Placed, Digest)>> {
            Ok(match what {
                Ready::Blob { digest, size, executable, share } => {
                    let spare = self.settings.spares && !self.settings.verify_restores;
                    // rustc replaces metadata by a rename, but not where a file can't be written to.
                    let how = How { executable: *executable, share: *share, writable: is_metadata(place), spare };
                    let mut placed = self.store.place_blob(digest, *size, place, how)?;
                    if spare && placed.method == Method::Copy {
                        if self.wants_spare(place, digest, *size) {
                            restored.large.push(**digest);
                        }
                        self.keep_program(action, place, *executable);
                        placed.meta = kache_os::lstat(place)?;
                    }
                    Some((placed, **digest))
                }
                // No tool reads it: its digest is not wanted.
                Ready::Bytes { data, executable, depfile: true } => {
                    restored.copied += self.store.place_bytes(data, place, *executable)?.meta.size;
                    None
                }
                Ready::Bytes { data, executable, depfile: false } => {
                    Some((self.store.place_bytes(data, place, *executable)?, Digest::of(data)))
                }
                Ready::Symlink(target) => {
                    let _ = std::fs::remove_file(place);
                    kache_os::symlink(target, place)?;
                    None
                }
                Ready::Dir => {
                    std::fs::create_dir_all(place)?;
                    None
                }
            })
        };
        let placed = match once() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(place.parent().unwrap_or(place))?;
                once()?
            }
            other => other?,
        };
        if let Some((placed, digest)) = placed {
            restored.count(&placed);
            self.remember(action, place, &placed.meta, digest);
        }
        Ok(())
    }

    pub(crate) fn wants_spare(&self, place: &Path, digest: &Digest, size: u64) -> bool {
        let from = if is_metadata(place) { spare_from::AWAITED } else { spare_from::UNAWAITED };
        self.settings.spares
            && size >= from
            && self.store.same_device(place)
            && self.store.wants_spare(digest, size, spare_limit(self.settings))
    }

    /// Keeps a program for when its tree is removed and made anew. Nothing else: what is read as an input must keep its
    /// ctime, which a second link moves.
    pub(crate) fn keep_program(&self, action: &Action, place: &Path, executable: bool) {
        let is_program = executable && place.extension().is_none() && matches!(action.outputs, Outputs::Written(_));
        if is_program && self.settings.spares && self.store.same_device(place) {
            // Without, it is copied.
            let _ = self.store.keep_spare(place, spare_limit(self.settings));
        }
    }

    pub(crate) fn bytes_of(&self, data: &Data) -> Option<Vec<u8>> {
        match data {
            Data::Inline(bytes) => Some(bytes.clone()),
            Data::Blob { digest, size } => self.store.blob_bytes(digest, *size),
        }
    }

    /// The program cargo gets in place of a compiled build script.
    pub(crate) fn put_launcher(&self, place: &Path) -> io::Result<()> {
        self.store.place_bytes(kache_observe::LAUNCHER, place, true).map(drop)
    }
}

/// What a compiler would replace or overwrite without a trace: nothing, or a file of our own with an ordinary mode. Into a
/// pipe, a device, through a link, it would write.
fn is_plain(place: &Path) -> bool {
    let ordinary = |mode: u32| [0o666, 0o777].iter().any(|plain| mode == plain & !kache_os::umask());
    match kache_os::lstat(place) {
        Err(e) => e.kind() == io::ErrorKind::NotFound,
        Ok(meta) => meta.is_file() && meta.links == 1 && ordinary(meta.mode),
    }
}

/// A device, a pipe, a socket: never to be replaced (`rustc -o /dev/null`, by root).
fn is_special(place: &Path) -> bool {
    kache_os::lstat(place).is_ok_and(|meta| meta.kind == kache_os::FileKind::Other)
}

/// A restore makes `OUT_DIR` hold exactly the entry's outputs: what else is there goes.
fn empty(dir: &Path, keep: &HashSet<PathBuf>) -> io::Result<()> {
    let names = match kache_os::list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return std::fs::create_dir_all(dir),
        other => other?,
    };
    for (name, kind) in names {
        let path = dir.join(kache_os::path(&name));
        match kind {
            kache_os::FileKind::Dir if keep.contains(&path) => empty(&path, keep)?,
            kache_os::FileKind::Dir => std::fs::remove_dir_all(&path)?,
            // Also what is to be restored: a link to somewhere else must not be written through.
            _ => std::fs::remove_file(&path)?,
        }
    }
    Ok(())
}
