//! An action: one run of a tool, as its adapter described it. What follows treats all actions alike.

use crate::messages::Mapped;
use kache_key::{Digest, Form, Recipe, Root, Roots, Sink};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// What runs; part of the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    Rustc,
    Clippy,
    /// A C or C++ compiler driver.
    Cc,
    /// `rustc -vV` and the like: only streams, no outputs.
    #[default]
    Query,
    BuildScript,
    /// `kache run -- COMMAND`.
    Command,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Rustc => "rustc",
            Kind::Clippy => "clippy",
            Kind::Cc => "cc",
            Kind::Query => "query",
            Kind::BuildScript => "build-script",
            Kind::Command => "command",
        }
    }
}

/// Where an action's outputs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// Files the run was seen to write, and these if it wrote them.
    Written(Vec<PathBuf>),
    /// Files the run was seen to write below these places, and nowhere else.
    Below(Vec<PathBuf>),
    /// Everything in a directory.
    Tree(PathBuf),
}

impl Default for Outputs {
    fn default() -> Outputs {
        Outputs::Written(Vec::new())
    }
}

/// The compiled build script, which cargo gets a launcher for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptProgram {
    /// Where rustc writes it and cargo looks for it.
    pub launcher: PathBuf,
    /// Where the compiled program goes.
    pub real: PathBuf,
}

/// A compiled library, as the compiles of its dependents look for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Library {
    /// The file's name.
    pub name: Vec<u8>,
    pub digest: Digest,
}

/// All that lookup, restore, run and record need to know. The default has nothing special.
#[derive(Default)]
pub struct Action {
    pub kind: Kind,
    pub name: String,
    pub unit: String,
    pub program: PathBuf,
    pub argv0: OsString,
    /// As run: kache's own flags included.
    pub args: Vec<OsString>,
    /// Variables set for the run beside the inherited ones.
    pub extra_env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    pub roots: Roots,
    /// The key fields, in stored form.
    pub fields: Vec<(&'static str, Vec<u8>)>,
    /// What only shapes messages; counts for entries that said something.
    pub messages: Vec<u8>,
    pub outputs: Outputs,
    /// The user says that the clock, where it is read, does not reach the outputs.
    pub allow_clock: bool,
    /// Scratch that is neither input nor output (`-C incremental`).
    pub scratch: Option<PathBuf>,
    /// Roots whose places the arguments name: sources that ask for their own path may measure or hash it.
    pub named: Vec<Root>,
    /// The unit has a result in this target directory and compiles incrementally.
    pub editing: bool,
    /// Roots the entry is bound to outright.
    pub bound_to: Vec<Root>,
    /// The main source: with the weak fingerprint, it names the lock of an action in flight.
    pub source: Option<PathBuf>,
    /// What people ask for by its name, where it is one file.
    pub output: Option<PathBuf>,
    pub script: Option<ScriptProgram>,
    /// Directories whose listings are noise (`-L dependency`, where a C compiler keeps its scratch).
    pub search_dirs: Vec<PathBuf>,
    /// What messages are freed of, before they are passed on.
    pub mapped: Mapped,
    /// Streams carry JSON (rustc's `--error-format=json`).
    pub json: bool,
    /// The `.d` file the compiler writes, for declared inputs and `env!`.
    pub dep_info: Option<PathBuf>,
    /// A file made for kache alone, to be removed after the run.
    pub scratch_file: Option<PathBuf>,
    /// Outputs whose text names places, and how they are written there: stored with placeholders.
    pub texts: Vec<(PathBuf, Form)>,
    /// Files made for this action just before it, most likely: what runs waits until their times are settled.
    pub settles: Vec<PathBuf>,
    /// Arguments by which a C compiler tells where it looks for headers (for declared inputs), and the preprocessed source.
    pub probe: Vec<OsString>,
    /// `--extern` files, for declared inputs.
    pub externs: Vec<PathBuf>,
    /// The libraries that a compile on declared inputs can load, and where.
    pub libraries: BTreeMap<Library, PathBuf>,
    /// `-L` directories of other libraries, for declared inputs.
    pub native_dirs: Vec<PathBuf>,
    /// Those of them where rustc looks for crates by name.
    pub crate_dirs: Vec<PathBuf>,
}

impl Recipe for Action {
    fn write(&self, sink: &mut dyn Sink) {
        sink.field("action", self.kind.name().as_bytes());
        for (tag, value) in &self.fields {
            sink.field(tag, value);
        }
    }
}

impl Action {
    /// Names the lock of this action in flight: two commits of one project must not wait for each other.
    pub fn flight(&self, weak: &Digest, source: Option<Digest>) -> Digest {
        let mut hash = kache_key::Framed::new("flight");
        hash.put(weak.as_bytes()).put(source.as_ref().map_or(&[][..], |d| d.as_bytes()));
        hash.finish()
    }
}
