//! Declared inputs: the second way to a path set, where observation is off. Inputs are what rustc says it read (dep-info,
//! `# env-dep`) and what the command line names (`--extern`). Only for libraries, and only where no procedural macro can
//! take part: its reads are not declared.

use crate::action::Action;
use crate::reason::{Reason, Why};
use crate::sources::{self, Variables};
use crate::world::World;
use kache_config::Settings;
use kache_key::{Digest, Framed, Input, PathSet};
use kache_os::{Stamp, bytes};
use kache_store::Memo;
use std::collections::BTreeSet;
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

/// Declines actions that a procedural macro may take part in: every `--extern` must be known to be free of them.
pub fn check_externs(action: &Action, memo: &Memo) -> Result<(), Why> {
    for file in &action.externs {
        let meta = kache_os::stat(file).ok();
        let known = meta.and_then(|m| memo.get(&m).or_else(|| memo.output_in(&m)));
        let free = known.is_some_and(|k| k.macro_free);
        if !free {
            return Err(Why::new(Reason::MacroUnknown, file.display()));
        }
    }
    Ok(())
}

/// The path set of a finished compile.
pub fn path_set(action: &Action, world: &World, start: Stamp, settings: &Settings) -> Result<PathSet, Why> {
    let info = sources::dep_info(action).ok_or(Why::new(Reason::Blind, "there is no dep-info"))?;
    let variables = Variables::of(action, settings, world);
    let mut inputs = BTreeSet::new();
    let mut siblings: Vec<PathBuf> = info.files.iter().filter_map(|f| sources::module_siblings(f)).collect();
    siblings.retain(|s| !info.files.contains(s));
    for file in info.files.iter().chain(&action.externs).chain(&siblings) {
        inputs.insert(Input::Path(world.roots.encode_path(bytes(file))));
    }
    for dir in &action.native_dirs {
        let stored = |p: &Path| world.roots.encode_path(bytes(p));
        inputs.insert(Input::List(stored(dir)));
        let libraries =
            kache_os::list(dir).unwrap_or_default().into_iter().map(|(name, _)| dir.join(kache_os::path(&name)));
        inputs.extend(libraries.filter(|p| is_library(p)).map(|p| Input::Path(stored(&p))));
    }
    for name in info.variables {
        let value = world.invocation.value(&name).unwrap_or_default();
        let input = if variables.portable(&name, false) {
            Input::EnvPortable(name)
        } else if world.is_placed(value) {
            Input::EnvPlace(name)
        } else {
            Input::Env(name)
        };
        inputs.insert(input);
    }
    world.freeze(&inputs);
    world.all_unchanged_since(start, info.files.iter().chain(&action.externs))?;
    inputs.extend(action.bound_to.iter().map(|root| Input::Place(*root)));
    Ok(PathSet { inputs: inputs.into_iter().collect(), bound: None })
}

fn is_library(file: &Path) -> bool {
    file.extension().is_some_and(|e| ["a", "o", "so", "lib", "rlib", "rmeta"].iter().any(|known| e == *known))
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
}
