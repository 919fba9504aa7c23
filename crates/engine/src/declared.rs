//! Declared inputs: the second way to a path set, where observation is off. Inputs are what rustc says it read (dep-info,
//! `# env-dep`), what the command line names (`--extern`), and the libraries these need. Only for libraries, and only
//! where no procedural macro can take part: its reads are not declared.
//!
//! Which libraries a library needs beside it, no compiler says. kache keeps it of each that it recorded: as a path set,
//! under a fingerprint of the library's content, of names `DIGEST/FILE`.

use crate::action::{Action, Library};
use crate::reason::{Reason, Why};
use crate::sources::{self, Variables};
use crate::world::World;
use kache_config::Settings;
use kache_key::{Digest, Framed, Input, PathSet};
use kache_os::{Stamp, bytes};
use kache_store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// The compiler's identity: the content of every loadable file of its toolchain; `digest_of` knows unchanged ones by stat.
pub fn toolchain_identity(tool: &Path, digest_of: &dyn Fn(&Path) -> Option<Digest>) -> Vec<u8> {
    let mut hash = Framed::new("toolchain");
    let mut add = |dir: &Path| {
        let mut names = kache_os::list(dir).unwrap_or_default();
        names.sort();
        for (name, _) in names {
            let file = dir.join(kache_os::path(&name));
            if let Some(digest) = digest_of(&file) {
                hash.put(&name).put(digest.as_bytes());
            }
        }
    };
    if let Some(root) = tool.parent().and_then(Path::parent) {
        add(&root.join("bin"));
        add(&root.join("lib"));
        let targets = kache_os::list(&root.join("lib/rustlib")).unwrap_or_default();
        let mut targets: Vec<_> = targets.into_iter().filter(|(_, k)| *k == kache_os::FileKind::Dir).collect();
        targets.sort();
        for (name, _) in targets {
            for part in ["bin", "lib", "codegen-backends"] {
                add(&root.join("lib/rustlib").join(kache_os::path(&name)).join(part));
            }
        }
    }
    hash.finish().as_bytes().to_vec()
}

/// The libraries that the compile can load by `--extern`, and those that these were made with, each with its place. Declined
/// is what kache did not record on declared inputs: a procedural macro, or what was made with one.
pub fn libraries(
    action: &Action,
    store: &Store,
    digest_of: &dyn Fn(&Path) -> Option<Digest>,
) -> Result<BTreeMap<Library, PathBuf>, Why> {
    let mut placed: BTreeMap<Library, PathBuf> = BTreeMap::new();
    for file in &action.externs {
        let unknown = || Why::new(Reason::MacroUnknown, file.display());
        let digest = digest_of(file).ok_or_else(unknown)?;
        // The same bytes may have been made with libraries of other bytes and the same meaning.
        let sets: Vec<_> = store.path_sets(&fingerprint(&digest)).iter().filter_map(read_libraries).collect();
        let mut missing = None;
        let found = sets.into_iter().find_map(|libraries| {
            let mut places = Vec::new();
            for library in libraries {
                let place = if library.digest == digest {
                    file.clone()
                } else if let Some(place) = placed.get(&library) {
                    place.clone()
                } else {
                    let mut places = action.search_dirs.iter().map(|dir| dir.join(kache_os::path(&library.name)));
                    let Some(place) = places.find(|place| digest_of(place) == Some(library.digest)) else {
                        missing = Some(library);
                        return None;
                    };
                    place
                };
                places.push((library, place));
            }
            Some(places)
        });
        placed.extend(found.ok_or_else(|| match &missing {
            Some(library) => Why::new(Reason::SearchedCrate, String::from_utf8_lossy(&library.name)),
            None => unknown(),
        })?);
    }
    Ok(placed)
}

/// Declines a compile that could find a crate by its name (`extern crate`) in a directory of `-L`. On a hit there is none:
/// the names and libraries there are inputs.
pub fn check_searched(action: &Action) -> Result<(), Why> {
    for dir in &action.crate_dirs {
        for (name, _) in kache_os::list(dir).unwrap_or_default() {
            let file = dir.join(kache_os::path(&name));
            if is_crate(&file) {
                return Err(Why::new(Reason::SearchedCrate, file.display()));
            }
        }
    }
    Ok(())
}

/// Keeps what a library that was compiled here needs; dependents are compiled as soon as it is there.
pub fn keep_library(store: &Store, action: &Action, file: &Path, digest: Digest) -> io::Result<()> {
    let name = bytes(file.file_name().unwrap_or_default()).to_vec();
    let libraries: BTreeSet<Library> = action.libraries.keys().cloned().chain([Library { digest, name }]).collect();
    let named = libraries.iter().map(|l| Input::Path([l.digest.hex().as_bytes(), b"/", &l.name].concat()));
    store.add_path_set(&fingerprint(&digest), PathSet { inputs: named.collect(), bound: None })
}

fn fingerprint(library: &Digest) -> Digest {
    let mut hash = Framed::new("library");
    hash.put(library.as_bytes());
    hash.finish()
}

/// Of a path set that is none of libraries: nothing.
fn read_libraries(set: &PathSet) -> Option<Vec<Library>> {
    let read = |input: &Input| {
        let Input::Path(path) = input else { return None };
        let at = path.iter().position(|b| *b == b'/')?;
        let name = path[at + 1..].to_vec();
        let digest = Digest::from_hex(std::str::from_utf8(&path[..at]).ok()?)?;
        (!name.is_empty() && !name.contains(&b'/')).then_some(Library { digest, name })
    };
    set.inputs.iter().map(read).collect()
}

/// The libraries of the `-L` directories, as they are now.
pub fn native_libraries(action: &Action) -> Vec<PathBuf> {
    let of_dir = |dir: &PathBuf| {
        let names = kache_os::list(dir).unwrap_or_default().into_iter();
        names.map(|(name, _)| dir.join(kache_os::path(&name))).filter(|file| is_library(file)).collect::<Vec<_>>()
    };
    action.native_dirs.iter().flat_map(of_dir).collect()
}

/// The path set of a finished compile.
pub fn path_set(action: &Action, world: &World, start: Stamp, settings: &Settings) -> Result<PathSet, Why> {
    let info = sources::dep_info(action).ok_or(Why::new(Reason::Blind, "there is no dep-info"))?;
    let variables = Variables::of(action, settings, world);
    let mut inputs = BTreeSet::new();
    let mut siblings: Vec<PathBuf> = info.files.iter().filter_map(|f| sources::module_siblings(f)).collect();
    siblings.retain(|s| !info.files.contains(s));
    let libraries: Vec<PathBuf> =
        action.externs.iter().chain(action.libraries.values()).cloned().chain(native_libraries(action)).collect();
    let stored = |p: &Path| world.roots.encode_path(bytes(p));
    inputs.extend(info.files.iter().chain(&libraries).chain(&siblings).map(|file| Input::Path(stored(file))));
    inputs.extend(action.native_dirs.iter().map(|dir| Input::List(stored(dir))));
    inputs.extend(info.variables.into_iter().map(|name| variables.input(action, world, name, false)));
    world.freeze(inputs.iter().map(|input| (input.clone(), None)).collect());
    let searched = action.crate_dirs.iter().filter(|dir| kache_os::stat(dir).is_ok());
    world.all_unchanged_since(start, info.files.iter().chain(&libraries).chain(searched))?;
    inputs.extend(action.bound_to.iter().map(|root| Input::Place(*root)));
    Ok(PathSet { inputs: inputs.into_iter().collect(), bound: None })
}

fn is_library(file: &Path) -> bool {
    let known = ["a", "o", "lib", "rlib", "rmeta"].iter().chain(DYNAMIC);
    file.extension().is_some_and(|e| known.into_iter().any(|k| e == *k))
}

/// What dynamic libraries are called, of whatever target.
const DYNAMIC: &[&str] = &["so", "dylib", "dll", "wasm"];

/// Whether rustc could take the file for a crate: metadata, or a dynamic library with a section of that.
fn is_crate(file: &Path) -> bool {
    const LIMIT: u64 = 1 << 30;
    let has = |extensions: &[&str]| file.extension().is_some_and(|e| extensions.iter().any(|k| e == *k));
    let holds_metadata = || match kache_os::read_bounded(file, LIMIT) {
        Ok(data) => memchr::memmem::find(&data, b".rustc").is_some(),
        Err(e) => e.kind() == io::ErrorKind::FileTooLarge,
    };
    let is_file = || kache_os::stat(file).is_ok_and(|m| m.is_file());
    has(&["rlib", "rmeta"]) || has(DYNAMIC) && is_file() && holds_metadata()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a changed loadable file is another toolchain.
    #[test]
    fn toolchain_changes_with_its_files() {
        let dir = std::env::temp_dir().join(format!("kache-toolchain-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("bin")).unwrap();
        std::fs::create_dir_all(dir.join("lib/rustlib/t/lib")).unwrap();
        std::fs::write(dir.join("bin/rustc"), "1").unwrap();
        std::fs::write(dir.join("lib/rustlib/t/lib/libstd.rlib"), "1").unwrap();
        let id =
            || Digest::of(&toolchain_identity(&dir.join("bin/rustc"), &|f| Some(Digest::of(&std::fs::read(f).ok()?))));
        let before = id();
        assert_eq!(before, id());
        std::fs::write(dir.join("lib/rustlib/t/lib/libstd.rlib"), "22").unwrap();
        assert_ne!(before, id());
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// Guards: whatever a record of another kind, or of another writer, holds is no library.
    #[test]
    fn only_names_of_libraries_are_read() {
        let digest = Digest::of(b"x");
        let read = |name: &str| {
            let inputs = vec![Input::Path(format!("{}{name}", digest.hex()).into_bytes())];
            read_libraries(&PathSet { inputs, bound: None })
        };
        assert_eq!(read("/libx.rmeta"), Some(vec![Library { name: b"libx.rmeta".to_vec(), digest }]));
        for bad in ["", "/", "/../libx.rmeta", "0/libx.rmeta"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read_libraries(&PathSet { inputs: vec![Input::EnvAll], bound: None }), None);
    }
}
