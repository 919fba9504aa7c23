//! Which compiler a driver's name means: the one a setting names, or the first on `PATH` that is not kache itself.
//!
//! Knows nothing about arguments, but for the maps that an observed build script hands down.

use crate::invocation::Invocation;
use kache_config::Settings;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Names of drivers; a target's prefix (`x86_64-linux-gnu-gcc`) and a version (`gcc-12`) or Debian's name for a thread model
/// (`x86_64-w64-mingw32-gcc-posix`) may stand around them.
const DRIVERS: &[&str] = &["cc", "c++", "gcc", "g++", "clang", "clang++", "clang-cl"];

/// Whether the program is named like a driver.
pub fn is_tool(program: &OsStr) -> bool {
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
    let name = match name.rsplit_once('-') {
        Some((stem, end)) if end.starts_with(|c: char| c.is_ascii_digit()) => stem,
        Some((stem, "posix" | "win32")) => stem,
        _ => &name,
    };
    DRIVERS
        .iter()
        .any(|driver| name.strip_suffix(driver).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('-')))
}

/// The compiler that is meant.
pub struct Compiler {
    pub program: PathBuf,
    pub argv0: OsString,
    /// The name and the `PATH` it was searched by, without the directories where that name is kache; none where a path
    /// names it.
    pub search: Option<(OsString, Vec<u8>)>,
}

/// The one a setting names, or the first of that name on `PATH` that is not kache itself (a shim is a link to kache).
pub fn real_compiler(invocation: &Invocation, program: &OsStr, settings: &Settings) -> Option<Compiler> {
    let me = kache_os::stat(Path::new("/proc/self/exe")).ok();
    let found = |file: &Path| kache_os::stat(file).ok().filter(|m| m.is_file() && m.mode & 0o111 != 0);
    let is_kache = |meta: &kache_os::Meta| me.is_some_and(|me| me.same_file(meta));
    // A shim by its path, as build systems write it down, means what its name means.
    let shim = Path::new(program).components().count() > 1
        && found(&invocation.cwd.join(program)).as_ref().is_some_and(is_kache);
    let name = Path::new(program).file_name().filter(|_| shim).unwrap_or(program);
    let named = match name.to_str() {
        Some("cc") => settings.cc.as_ref(),
        Some("c++") => settings.cxx.as_ref(),
        _ => None,
    };
    let wanted = named.map_or(name, |path| path.as_os_str());
    if Path::new(wanted).components().count() > 1 {
        let file = invocation.cwd.join(wanted);
        let other = found(&file).is_some_and(|meta| !is_kache(&meta));
        return other.then(|| Compiler { program: file, argv0: name.into(), search: None });
    }
    let mut path = Vec::new();
    let mut shadowed = shim;
    let mut first = None;
    for dir in invocation.value(b"PATH").unwrap_or_default().split(|b| *b == b':') {
        let file = invocation.cwd.join(kache_os::path(dir)).join(wanted);
        let there = if first.is_none() { found(&file) } else { None };
        if there.as_ref().is_some_and(is_kache) {
            shadowed = true;
            continue;
        }
        if !path.is_empty() {
            path.push(b':');
        }
        path.extend(dir);
        first = first.or(there.map(|_| file));
    }
    let file = first?;
    // gcc looks for its parts beside what it finds on PATH by its `argv[0]`: that must not be the shim.
    let argv0 = if shadowed { file.clone().into_os_string() } else { program.to_os_string() };
    Some(Compiler { program: file, argv0, search: Some((wanted.to_os_string(), path)) })
}

/// The maps an observed build script's compilers get (`KACHE_MAP`), where the observer has not given them already.
pub fn inherited_maps(invocation: &Invocation, args: &[OsString]) -> Vec<OsString> {
    let maps = invocation.value(kache_observe::ENV_MAP.as_bytes()).unwrap_or_default();
    let flag = |map: &[u8]| kache_os::os_string(&[b"-fdebug-prefix-map=", map].concat());
    let flags: Vec<OsString> = maps.split(|b| *b == b':').filter(|m| !m.is_empty()).map(flag).collect();
    if flags.first().is_some_and(|first| args.first() == Some(first)) { Vec::new() } else { flags }
}

#[cfg(test)]
mod tests {
    use super::is_tool;
    use std::ffi::OsStr;

    #[test]
    fn drivers_by_name() {
        for name in [
            "gcc",
            "/usr/bin/g++-12",
            "x86_64-linux-gnu-gcc-12",
            "clang++",
            "clang-14",
            "c++",
            "i686-w64-mingw32-g++-posix",
            "x86_64-w64-mingw32-gcc-win32",
        ] {
            assert!(is_tool(OsStr::new(name)), "{name}");
        }
        for name in ["rustc", "stats", "gc", "ccache", "gcc-ar", "clang-format", "config"] {
            assert!(!is_tool(OsStr::new(name)), "{name}");
        }
    }
}
