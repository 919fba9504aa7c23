//! Does cargo, and do build systems, reach this kache?

use super::{Finding, note, ok, problem};
use crate::setup::cargo_config;
use crate::{Context, setup, shims};
use kache_os::stat;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The wrapper lies beside this program and is of the same version.
pub fn programs(context: &Context) -> Finding {
    const ABOUT: &str = "programs";
    let wrapper = context.wrapper();
    let (at, here) = (wrapper.display(), concat!("kache ", env!("CARGO_PKG_VERSION")));
    let advice = "install again: cargo install --locked --path . installs both";
    match version_of(&wrapper) {
        Err(e) => problem(ABOUT, format!("the wrapper {at} can't be run: {e}"), advice),
        Ok(other) if other != here => problem(ABOUT, format!("{at} is {other:?}, the commands are of {here}"), advice),
        Ok(_) => match on_path("kache", context).filter(|found| !same_file(found, &wrapper)) {
            Some(found) => {
                let version = version_of(&found).unwrap_or_else(|e| e.to_string());
                let text = format!("{here} in {at}, but first on PATH is {} ({version})", found.display());
                note(ABOUT, text, "remove one of them, or change PATH")
            }
            None => ok(ABOUT, format!("{here} in {at}")),
        },
    }
}

fn version_of(program: &Path) -> std::io::Result<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// Where cargo's wrapper is set, and to what.
#[derive(Debug, PartialEq, Eq)]
struct Wiring {
    place: String,
    wrapper: String,
}

/// What cargo will call: a variable is stronger than a file, a nearer file than a farther one.
fn find_wiring(context: &Context) -> Option<Wiring> {
    let variable = |name: &str| Some(Wiring { place: name.into(), wrapper: context.var(name)?.into() });
    let from_env = ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"].into_iter().find_map(variable);
    from_env.or_else(|| configurations(context).iter().find_map(|file| wiring_in(file)))
}

/// Cargo's configuration files, the strongest first; they need not be there.
fn configurations(context: &Context) -> Vec<PathBuf> {
    let dirs = context.cwd.ancestors().map(|d| d.join(".cargo")).chain(cargo_config::home(context));
    dirs.flat_map(|d| [d.join("config"), d.join("config.toml")]).collect()
}

fn wiring_in(file: &Path) -> Option<Wiring> {
    let wrapper = cargo_config::wrapper_in(&std::fs::read_to_string(file).ok()?).ok()??;
    Some(Wiring { place: file.display().to_string(), wrapper })
}

pub fn cargo(context: &Context) -> Finding {
    const ABOUT: &str = "wiring";
    let how = format!("kache init, or export RUSTC_WRAPPER={}", context.wrapper().display());
    let broken = |file: PathBuf| {
        let why = cargo_config::wrapper_in(&std::fs::read_to_string(&file).ok()?).err()?;
        Some(format!("cargo can't read {}: {why}", file.display()))
    };
    if let Some(text) = configurations(context).into_iter().find_map(broken) {
        return problem(ABOUT, text, "correct that file: cargo builds nothing until then");
    }
    let Some(Wiring { place, wrapper }) = find_wiring(context) else {
        return problem(ABOUT, "cargo is not told to use kache", how);
    };
    if wrapper.is_empty() {
        return problem(ABOUT, format!("{place} is empty, which switches wrappers off"), how);
    }
    if Path::new(&wrapper).file_stem().is_none_or(|stem| stem != "kache") {
        let advice = format!("{how}; to keep {wrapper} for what kache declines, set KACHE_FALLBACK to it");
        return problem(ABOUT, format!("{place} names another wrapper: {wrapper}"), advice);
    }
    let found = if wrapper.contains('/') { Some(PathBuf::from(&wrapper)) } else { on_path(&wrapper, context) };
    match found.filter(|p| p.is_file()) {
        None => problem(ABOUT, format!("{place} names {wrapper}, which is not there"), how),
        Some(found) if !same_file(&found, &context.wrapper()) => {
            note(ABOUT, format!("{place} names {}, not the program beside this one", found.display()), how)
        }
        Some(_) if !Path::new(&wrapper).is_absolute() => {
            let text = format!("{place} names {wrapper} without its place: runs of build scripts are not cached");
            note(ABOUT, text, how)
        }
        Some(_) => ok(ABOUT, format!("{place} names {wrapper}")),
    }
}

fn on_path(name: &str, context: &Context) -> Option<PathBuf> {
    std::env::split_paths(context.var("PATH")?).map(|dir| dir.join(name)).find(|p| p.is_file())
}

fn same_file(a: &Path, b: &Path) -> bool {
    stat(a).is_ok_and(|a| stat(b).is_ok_and(|b| a.same_file(&b)))
}

/// What build systems find by the names of compilers.
pub fn compilers(context: &Context) -> Finding {
    const ABOUT: &str = "compilers";
    let Some(dir) = setup::shims_dir(context) else {
        return note(ABOUT, "HOME is not set, so there are no links", "CC=\"kache cc\" works without");
    };
    let (compilers, links) = (shims::compilers(context, &dir), shims::ours(&dir));
    let lost = links.iter().filter(|l| !same_file(&l.path, &context.wrapper())).count();
    let path: Vec<PathBuf> = std::env::split_paths(context.var("PATH").unwrap_or_default()).collect();
    let at = path.iter().position(|d| *d == dir);
    let before = compilers.values().filter_map(|c| path.iter().position(|d| Some(d.as_path()) == c.parent())).min();
    let shown = dir.display();
    if compilers.is_empty() {
        ok(ABOUT, "no C or C++ compiler on PATH")
    } else if on_path("cc", context).is_some_and(|cc| same_file(&cc, &context.wrapper())) && lost == 0 {
        ok(ABOUT, "cc on PATH is kache")
    } else if links.is_empty() {
        note(ABOUT, "C and C++ builds are cached only where CC names kache", "kache init, or CC=\"kache cc\"")
    } else if lost > 0 {
        note(ABOUT, format!("{lost} of {} links in {shown} do not lead to this kache", links.len()), "kache init")
    } else if at.is_none() {
        note(ABOUT, format!("the links in {shown} are not on PATH"), "kache init, then start another shell")
    } else if at > before {
        note(ABOUT, format!("compilers come before {shown} on PATH"), "put that directory first")
    } else {
        ok(ABOUT, format!("{} links in {shown}, first on PATH", links.len()))
    }
}

/// Stops sccache and removes what it has on this disk: only what looks like its own in the directory it uses.
pub fn purge_sccache(context: &Context) -> Finding {
    const ABOUT: &str = "sccache";
    let used = find_wiring(context).filter(|w| Path::new(&w.wrapper).file_stem().is_some_and(|s| s == "sccache"));
    if let Some(Wiring { place, .. }) = used {
        return problem(
            ABOUT,
            format!("still named by {place}: nothing was removed"),
            "unset it there, then try again",
        );
    }
    let usual = || Some(context.cache_home()?.join("sccache"));
    let Some(dir) = context.absolute_var("SCCACHE_DIR").or_else(usual) else {
        return note(ABOUT, "HOME is not set: its place is not known", "set SCCACHE_DIR");
    };
    if let Some(program) = on_path("sccache", context) {
        let mut stop = Command::new(program);
        let _ = stop.arg("--stop-server").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
    let is_its_own = |name: &[u8]| name == b"preprocessor" || name.len() == 1 && name[0].is_ascii_hexdigit();
    let listed = kache_os::list(&dir).unwrap_or_default();
    let own = listed.iter().filter(|(name, kind)| *kind == kache_os::FileKind::Dir && is_its_own(name));
    let mut removed = 0;
    for (name, _) in own {
        let path = dir.join(kache_os::path(name));
        if let Err(e) = std::fs::remove_dir_all(&path) {
            return problem(ABOUT, format!("{}: {e}", path.display()), "remove it by hand");
        }
        removed += 1;
    }
    let _ = std::fs::remove_dir(&dir);
    match removed {
        0 => ok(ABOUT, format!("nothing of it in {}", dir.display())),
        _ => ok(ABOUT, format!("its cache in {} was removed", dir.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use std::collections::BTreeMap;

    fn context(dir: &Path, env: &[(&str, &str)]) -> Context {
        let env: BTreeMap<_, _> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let mut settings = kache_config::Settings::resolve(&|_| None, &[dir]);
        settings.cache_dir = dir.join("cache");
        let store = kache_store::Store::new(&settings.cache_dir, None);
        Context { env, cwd: dir.join("project"), program: dir.join("bin/kache-cli"), settings, store }
    }

    /// Guards: a variable is stronger than a file, and a nearer file than a farther one.
    #[test]
    fn wiring_is_found_where_cargo_looks() {
        let dir = tempfile::tempdir().unwrap();
        let place = |env: &[(&str, &str)]| find_wiring(&context(dir.path(), env)).map(|w| w.wrapper);
        let home = dir.path().join("home");
        let env = [("CARGO_HOME", home.to_str().unwrap())];
        assert_eq!(place(&env), None);
        for (at, text) in [("home", "kache"), ("project/.cargo", "/opt/kache")] {
            std::fs::create_dir_all(dir.path().join(at)).unwrap();
            std::fs::write(dir.path().join(at).join("config.toml"), format!("[build]\nrustc-wrapper = {text:?}\n"))
                .unwrap();
            assert_eq!(place(&env), Some(text.to_string()));
        }
        assert_eq!(place(&[("RUSTC_WRAPPER", "")]), Some(String::new()));
    }

    /// Guards: every way of not being wired is a problem with advice.
    #[test]
    fn bad_wiring_is_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        for wrapper in [None, Some(""), Some("sccache"), Some("/nowhere/kache")] {
            let env: Vec<_> = wrapper.map(|w| ("RUSTC_WRAPPER", w)).into_iter().collect();
            let finding = cargo(&context(dir.path(), &env));
            assert!(finding.level == Level::Problem && finding.advice.is_some(), "{finding:?}");
        }
    }
}
