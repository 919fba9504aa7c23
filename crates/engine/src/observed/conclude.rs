//! What a run's touches mean once all are known: its inputs, the files it wrote, or why its result is not stored.
//!
//! Knows nothing about records and processes: [`super::Reading`] has gone through them.

use super::{History, Observed, Reading};
use crate::action::{Kind, Outputs};
use crate::pattern::in_table;
use crate::programs::EnvUse;
use crate::reason::{Reason, Why};
use crate::sources::Variables;
use crate::world::World;
use kache_key::{Input, PathSet, Root, State};
use kache_os::{FileKind, Meta, Near, Stamp, bytes, path};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Variables that do not reach results of programs which ask by name. Each with its reason.
const ENV_NOISE: &[(&str, &str)] = &[
    ("PATH", "what is searched for on it is an input by itself"),
    ("TMPDIR", "where scratch is"),
    ("TMP", "where scratch is"),
    ("TEMP", "where scratch is"),
    ("COLLECT_*", "set by gcc for its own parts"),
    ("RUST_MIN_STACK", "the size of stacks"),
    ("MALLOC_*", "the allocator"),
    ("RUSTUP_*", "which toolchain is meant; the one that ran is an input"),
];

/// Variables that shape messages: no results, but of a command that a person gives.
const MESSAGES: &[(&str, &str)] = &[
    ("RUST_BACKTRACE", "messages of crashes"),
    ("RUST_LIB_BACKTRACE", "messages of crashes"),
    ("RUSTC_LOG*", "messages"),
    ("RUSTC_ICE", "messages of crashes"),
    ("NO_COLOR", "how messages look; cargo has them rendered both ways"),
    ("CLICOLOR*", "how messages look"),
    ("FORCE_COLOR", "how messages look"),
    ("LANG", "the language of messages; cargo's tools have one"),
    ("LC_*", "the language of messages"),
    ("LANGUAGE", "the language of messages"),
];

/// Directories that are the machine's wherever a checkout lies (hier(7)).
const MACHINE: &[&str] = &["/usr", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/bin", "/sbin", "/opt"];

impl Reading<'_> {
    pub(super) fn finish(mut self, start: Stamp, variables: &Variables) -> Result<Observed, Why> {
        self.files(start)?;
        self.made_anew();
        self.environment(variables);
        self.places();
        let written = self.written()?;
        let mut inputs: Vec<Input> = self.inputs.into_iter().collect();
        inputs.extend(self.action.bound_to.iter().map(|root| Input::Place(*root)));
        inputs.sort();
        inputs.dedup();
        Ok(Observed { path_set: PathSet { inputs, bound: None }, written })
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
        let is_kache = || {
            let [kache, it] = [self.kache.as_deref()?, path(name)].map(|p| kache_os::stat(p).ok());
            Some(kache?.same_file(&it?))
        };
        let names_it = |value| bytes(value).strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest[0] == b' ');
        let mut given = self.world.invocation.env.iter().filter(|(_, value)| names_it(value));
        given.any(|(variable, _)| !self.world.is_plumbing(bytes(variable))) && is_kache() == Some(true)
    }

    /// Of a path of the machine that is not there, the first directory on the way that is missing: one look instead of
    /// one for each file that a linker would have liked to find there.
    fn missing(&mut self, input: &Input) -> Option<Input> {
        let Input::Path(stored) = input else { return None };
        let place = self.world.place(stored)?;
        if !matches!(self.world.roots.innermost(bytes(&place)), None | Some(Root::Toolchain)) {
            return None;
        }
        let is_absent = |dir: &Path| kache_os::stat(dir).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
        let absent = |dir: &&Path| match self.absent_dirs.get(*dir) {
            Some(known) => *known,
            None => *self.absent_dirs.entry(dir.to_path_buf()).or_insert(is_absent(dir)),
        };
        let first = place.ancestors().skip(1).take_while(absent).last()?;
        Some(Input::Path(self.stored(bytes(first))))
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
        let (mut looked, mut quiet) = (Vec::new(), Quiet { start, margin_ms: self.world.margin_ms, last: None });
        let mut of_path = std::mem::take(&mut self.of_path);
        // In order, so that each directory is walked to once.
        of_path.sort_unstable();
        of_path.dedup();
        for (name, input, around) in of_path {
            let history = self.paths.get(&name).copied().unwrap_or_default();
            let place = path(&name);
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
            if around {
                self.inputs.extend(self.surroundings(&name, &input));
            }
            let missing = if history.missed { self.missing(&input) } else { None };
            let only_missed = history.missed && !history.appeared && matches!(input, Input::Path(_));
            let is_absent = missing.is_some() || only_missed && quiet.is_quiet(place);
            looked.push(Looked { name, history, input: missing.unwrap_or(input), is_absent });
        }
        let known = |l: &Looked| (l.input.clone(), l.is_absent.then_some(State::Absent));
        self.world.freeze(self.inputs.iter().map(|i| (i.clone(), None)).chain(looked.iter().map(known)).collect());
        // In order, so that each directory is walked to once.
        looked.sort_by(|a, b| a.input.cmp(&b.input));
        let mut check = Check { world: self.world, start, near: Near::default(), last: None, resolved: PathBuf::new() };
        let mut seen = Vec::with_capacity(looked.len());
        for looked in looked {
            if check.is_as_seen(&looked)? {
                seen.push(looked.input);
            }
        }
        self.inputs.append(&mut seen.into_iter().collect());
        Ok(())
    }

    /// What a command asked for in vain, and then made, may be somebody's the next time: then it is not made over.
    /// (Compilers and their like replace what they write, whether it is there or not.)
    fn made_anew(&mut self) {
        if self.action.kind != Kind::Command {
            return;
        }
        let missed = self.paths.iter().filter(|(_, history)| history.counts && history.written);
        let made = missed.map(|(name, _)| name).chain(&self.made);
        let within = |name: &[u8]| path(name).parent().is_some_and(|dir| self.own(bytes(dir)));
        let there = made.filter(|name| !within(name) && kache_os::lstat(path(name)).is_ok());
        let names: Vec<Vec<u8>> = there.map(|name| self.stored(name)).collect();
        self.inputs.extend(names.iter().cloned().map(Input::Path));
        self.world.were_absent(names);
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

    /// Whether a variable that a program of the table asked for by its name does not reach results.
    fn is_noisy_variable(&self, name: &[u8]) -> bool {
        let says = self.action.kind != Kind::Command && in_table(MESSAGES, name);
        says || in_table(ENV_NOISE, name) || self.world.is_noise(name)
    }

    fn environment(&mut self, variables: &Variables) {
        let asks_for_pwd = self.variables.contains_key(&b"PWD"[..]);
        if self.environment > EnvUse::ByName {
            self.inputs.insert(Input::EnvAll);
        }
        if self.environment > EnvUse::ByName || asks_for_pwd {
            self.inputs.insert(Input::DirectoryName);
        }
        if self.environment == EnvUse::Whole {
            // It may use any value in any way: places in the workspace bind.
            let placed = self.world.invocation.env.iter().filter(|(name, value)| {
                !self.world.is_noise(bytes(name))
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
            if !counts && (self.world.is_plumbing(&name) || !by_user && self.is_noisy_variable(&name)) {
                continue;
            }
            self.inputs.insert(variables.input(self.action, self.world, name, by_user));
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

/// What the run looked at, what it met there, and the input that this is.
struct Looked {
    name: Vec<u8>,
    history: History,
    input: Input,
    /// So the input is, as is known without another look.
    is_absent: bool,
}

/// Directories in which nothing was made, removed or renamed since the run began: what it looked for in vain in one is
/// still not there.
struct Quiet {
    start: Stamp,
    margin_ms: u32,
    last: Option<(PathBuf, bool)>,
}

impl Quiet {
    /// Paths come in order, or nearly so: only the last directory is kept.
    fn is_quiet(&mut self, place: &Path) -> bool {
        let Some(dir) = place.parent() else { return false };
        if let Some((_, quiet)) = self.last.as_ref().filter(|(last, _)| bytes(last) == bytes(dir)) {
            return *quiet;
        }
        let quiet = match kache_os::stat(dir) {
            Ok(meta) => meta.is_dir() && meta.settled(self.start, self.margin_ms),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        self.last = Some((dir.to_path_buf(), quiet));
        quiet
    }
}

/// Compares what is there now with what the run saw since `start`; the world is frozen by then.
struct Check<'a> {
    world: &'a World<'a>,
    start: Stamp,
    near: Near,
    /// What was found at the place before this one.
    last: Option<(Vec<u8>, Meta)>,
    /// The directory of the last canonical form that was asked for: it still leads there.
    resolved: PathBuf,
}

impl Check<'_> {
    /// Whether the run saw there what was frozen. Not what was made and removed by other means than the observed ones, in
    /// scratch space.
    fn is_as_seen(&mut self, looked: &Looked) -> Result<bool, Why> {
        let (place, history, input) = (path(&looked.name), looked.history, &looked.input);
        let not = |reason| Err(Why::new(reason, place.display()));
        if history.missed {
            // What is still not there has no content that could be another since.
            let is_absent = matches!(self.world.state(input), State::Absent | State::Failed(_));
            return if is_absent { Ok(true) } else { not(Reason::ChangedInput) };
        }
        let meta = match self.looked_before(looked).map_or_else(|| self.near.lstat(place), Ok) {
            Ok(meta) if meta.kind == FileKind::Symlink && !matches!(input, Input::Link(_)) => kache_os::stat(place),
            looked => looked,
        };
        self.last = meta.as_ref().ok().map(|meta| (looked.name.clone(), *meta));
        match meta {
            Ok(meta) if history.opened != 0 && !meta.is_file() && !meta.is_dir() => not(Reason::SpecialInput),
            // What was read may lie elsewhere since, unchanged, with another in its place.
            Ok(meta) if history.replaced || history.opened != 0 && history.opened != meta.ino as i32 => {
                not(Reason::ChangedInput)
            }
            Ok(meta) => {
                // A directory's times count where its names were read, a link's where it was.
                let counts = matches!(meta.kind, FileKind::File | FileKind::Symlink) || matches!(input, Input::List(_));
                if counts && !self.world.unchanged_since(self.start, place, &meta) {
                    return not(Reason::TooNew);
                }
                Ok(true)
            }
            Err(e) if history.failed != 0 && e.raw_os_error() == Some(history.failed) => Ok(true),
            Err(_) if history.found && self.world.roots.innermost(bytes(place)) == Some(Root::Temp) => Ok(false),
            Err(_) if history.found => not(Reason::ChangedInput),
            Err(_) if matches!(self.world.state(input), State::Absent | State::Failed(_)) => Ok(true),
            // It came and went.
            Err(_) => not(Reason::ChangedInput),
        }
    }

    /// What is known of the place without another look: what its state was made of. Of canonical forms, which are those of
    /// their directories, one in each directory is looked at.
    fn looked_before(&mut self, looked: &Looked) -> Option<Meta> {
        if !matches!(looked.input, Input::Resolve(_)) {
            return self.world.frozen_meta(&looked.input);
        }
        let dir = path(&looked.name).parent()?;
        if bytes(dir) != bytes(&self.resolved) {
            self.resolved = dir.to_path_buf();
            return None;
        }
        self.last
            .as_ref()
            .filter(|(name, meta)| *name == looked.name && meta.kind == FileKind::File)
            .map(|(_, meta)| *meta)
    }
}
