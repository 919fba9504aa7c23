//! Runs of cargo build scripts, which come here through the launcher: `kache --build-script REAL ARGV0 ARGS…`.
//!
//! A run is an action like any other: what it was seen to read are its inputs, `OUT_DIR` and its streams are its outputs.
//! What cargo sets for a build script always counts.

use super::{add_build, build_root, machine_roots, plain_dir, prefix_maps};
use crate::action::{Action, Kind, Outputs};
use crate::invocation::Invocation;
use crate::pattern::matches;
use crate::reason::{Reason, Why};
use kache_config::Settings;
use kache_key::{Digest, Form, Root, Roots};
use kache_os::bytes;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The argument that names this role.
pub const ROLE: &str = "--build-script";

/// What cargo sets for build scripts (cargo's reference, "Environment variables Cargo sets for build scripts"), as
/// names or beginnings of names.
const SET_BY_CARGO: &[&str] = &[
    "CARGO",
    "CARGO_MANIFEST_*",
    "CARGO_FEATURE_*",
    "CARGO_CFG_*",
    "CARGO_PKG_*",
    "CARGO_ENCODED_RUSTFLAGS",
    "OUT_DIR",
    "TARGET",
    "HOST",
    "OPT_LEVEL",
    "DEBUG",
    "PROFILE",
    "DEP_*",
    "RUSTC",
    "RUSTDOC",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
];

/// Whether cargo sets this variable for build scripts, to a value that counts.
fn set_by_cargo(name: &str) -> bool {
    SET_BY_CARGO.iter().any(|pattern| matches(pattern, name))
}

/// The workspace a package lies in: where `Cargo.lock` is. Packages from cargo's home have none of their own.
fn workspace_of(package: &Path, cargo_home: Option<&Path>) -> Option<PathBuf> {
    if cargo_home.is_some_and(|home| package.starts_with(home)) {
        return None;
    }
    let locked = package.ancestors().find(|d| kache_os::lstat(&d.join("Cargo.lock")).is_ok());
    Some(locked.unwrap_or(package).to_path_buf())
}

/// Describes the run. `args`: path of the real program, its `argv[0]`, its arguments.
pub fn action(
    invocation: &Invocation,
    args: &[OsString],
    settings: &Settings,
    digest_of: &dyn Fn(&Path) -> Option<Digest>,
) -> Result<Action, Why> {
    let real = PathBuf::from(&args[0]);
    let out_dir =
        invocation.path_var("OUT_DIR").ok_or(Why::new(Reason::NoOutputDir, "OUT_DIR is not set"))?.to_path_buf();
    let name = invocation.text_var("CARGO_PKG_NAME").unwrap_or_else(|| "build-script".into());
    if settings.exclude.iter().any(|pattern| matches(pattern, &name)) {
        return Err(Why::new(Reason::Excluded, name));
    }
    if !settings.observe {
        return Err(Why::new(Reason::Blind, "observation is switched off"));
    }
    let unread = || Why::new(Reason::UnknownTool, format!("{} can't be read", real.display()));
    let digest = digest_of(&real).ok_or_else(unread)?;
    let mut roots = Roots::default();
    if let Some(build) = build_root(&out_dir) {
        add_build(&mut roots, &build);
    }
    let out_dir = plain_dir(out_dir);
    if let Some(workspace) = workspace_of(&invocation.cwd, super::cargo_home(invocation).as_deref()) {
        roots.add(Root::Workspace, bytes(&workspace));
    }
    if let Some(toolchain) = invocation.path_var("RUSTC").and_then(|r| r.parent()?.parent()) {
        roots.add(Root::Toolchain, bytes(toolchain));
    }
    machine_roots(&mut roots, invocation, settings);

    let mut fields =
        vec![("program", digest.hex().into_bytes()), ("directory", roots.encode_path(bytes(&invocation.cwd)))];
    for arg in args.iter().skip(2) {
        fields.push(("argument", roots.encode(bytes(arg), Form::Plain)));
    }
    let mut set: Vec<_> = invocation.env.iter().filter(|(k, _)| k.to_str().is_some_and(set_by_cargo)).collect();
    set.sort();
    for (key, value) in set {
        fields.push(("variable", [bytes(key), b"=", &roots.encode(bytes(value), Form::Plain)].concat()));
    }
    // What compilers started by the script write shall name no checkout; ':' and '=' can't be told in the list.
    let maps: Vec<Vec<u8>> = prefix_maps(&roots)
        .into_iter()
        .filter(|(from, _)| !from.iter().any(|b| matches!(b, b':' | b'=')))
        .map(|(from, to)| [&from[..], b"=", to.as_bytes()].concat())
        .collect();
    let mut extra_env = vec![
        // `git status` would rewrite the index, an input of its own.
        ("GIT_OPTIONAL_LOCKS".into(), "0".into()),
    ];
    if !maps.is_empty() {
        extra_env.push((kache_observe::ENV_MAP.into(), kache_os::os_string(&maps.join(&b':'))));
    }
    let unit = out_dir.parent().and_then(Path::file_name).map_or(name.clone(), |n| n.to_string_lossy().into_owned());
    Ok(Action {
        kind: Kind::BuildScript,
        name,
        unit,
        program: real.clone(),
        argv0: args.get(1).cloned().unwrap_or_else(|| real.clone().into()),
        args: args.iter().skip(2).cloned().collect(),
        extra_env,
        cwd: invocation.cwd.clone(),
        roots,
        fields,
        outputs: Outputs::Tree(out_dir),
        ..Action::default()
    })
}

#[cfg(test)]
mod tests {
    use super::set_by_cargo;

    #[test]
    fn variables_of_cargo() {
        assert!(set_by_cargo("OUT_DIR") && set_by_cargo("DEP_Z_ROOT") && set_by_cargo("CARGO_FEATURE_STD"));
        assert!(!set_by_cargo("NUM_JOBS") && !set_by_cargo("CARGO_TARGET_DIR") && !set_by_cargo("CARGO_HOME"));
    }
}
